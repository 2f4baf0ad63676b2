//! Records to try things on.

use std::collections::BTreeSet;
use std::time::Duration;

use tokenvault_core::ids::{AttemptId, ClientId, Generation, Incarnation, JobId, JobKey, ModuleName, SessionId};
use tokenvault_core::ids::{SessionKey, Subject, TenantId, UserId};
use tokenvault_core::record::{EndReason, Intent, Pair, Record, RefreshSlot, SessionRef};
use tokenvault_core::record::{Slot, State};
use tokenvault_core::seal::Sealed;
use tokenvault_core::secret::RefreshToken;
use tokenvault_core::time::Timestamp;

/// "Now" in most rules: in the year 2096, where no key of these tests has expired.
pub const NOW: Timestamp = Timestamp::from_millis(4_000_000_000_000);

/// An instant after [`NOW`].
pub fn after(millis: u64) -> Timestamp {
    NOW + Duration::from_millis(millis)
}

/// A tenant's name.
pub fn tenant() -> TenantId {
    TenantId::parse("diku").expect("a tenant")
}

/// A user.
pub fn user() -> UserId {
    UserId::parse("user-1").expect("a user")
}

/// A job.
pub fn job(name: &str) -> JobId {
    JobId::parse(name).expect("these names are fit for jobs")
}

/// A job of the tenant.
pub fn key(name: &str) -> JobKey {
    JobKey::new(tenant(), job(name))
}

/// A client session.
pub fn session(sid: &str, client: &str) -> SessionKey {
    SessionKey {
        tenant: tenant(),
        sid: SessionId::parse(sid).expect("a session"),
        client: ClientId::parse(client).expect("a client"),
    }
}

/// The jobs `prefix-0`, `prefix-1`, … that live in the same shard as the first of them.
pub fn neighbours(prefix: &str, count: usize) -> Vec<JobKey> {
    let shard = key(&format!("{prefix}-0")).shard();
    (0..).map(|n| key(&format!("{prefix}-{n}"))).filter(|key| key.shard() == shard).take(count).collect()
}

/// An active record that is due at an instant.
pub fn record(key: &JobKey, due_at: Timestamp) -> Record {
    let module = ModuleName::parse("mod-data-import").expect("a module");
    Record {
        readers: BTreeSet::from([module.clone()]),
        expires_at: NOW + Duration::from_hours(24),
        keep_until: NOW + Duration::from_hours(48),
        session: Some(SessionRef {
            sid: SessionId::parse("sid-1").expect("a session"),
            client: ClientId::parse("vault").expect("a client"),
            incarnation: Incarnation(0),
        }),
        pair: Some(pair(1)),
        access_life: Duration::from_mins(10),
        renew_at: Some(due_at),
        due_at: Some(due_at),
        ..Record::new(key.clone(), user(), Subject::parse("sub-1").expect("a subject"), module, NOW)
    }
}

/// A pair as of a generation; sealed bytes may be any bytes.
pub fn pair(generation: u64) -> Pair {
    let byte = u8::try_from(generation % 256).unwrap_or_default();
    Pair {
        access: Sealed::from_bytes(vec![0, 255, byte, b'\r', b'\n']),
        access_expires_at: after(600_000),
        issued_at: NOW,
        scope: "openid".to_owned(),
        rotated: false,
        epoch: None,
        refresh: RefreshSlot {
            sealed: Sealed::from_bytes(vec![254, 0, byte]),
            hash: RefreshToken::new(format!("refresh {generation}")).hash(),
            generation: Generation(generation),
            expires_at: Some(after(86_400_000)),
            sends: 0,
        },
    }
}

/// The record with the next generation's pair.
pub fn rotated(before: &Record, due_at: Timestamp) -> Record {
    let generation = before.generation.next();
    let pair = Some(pair(generation.0));
    Record { generation, pair, intent: None, due_at: Some(due_at), ..before.clone() }
}

/// The record with a spend declared.
pub fn declared(before: &Record, attempt: AttemptId) -> Record {
    let hash = before.pair.as_ref().expect("a sample has a pair").refresh.hash;
    let intent = Intent { attempt, slot: Slot::Current, hash, deadline: after(30_000), learning: false };
    Record { intent: Some(intent), ..before.clone() }
}

/// The record waiting for its session to be revoked.
pub fn releasing(before: &Record, due_at: Timestamp) -> Record {
    Record { state: State::Releasing(EndReason::Released), intent: None, due_at: Some(due_at), ..before.clone() }
}

/// The record as a tombstone.
pub fn ended(before: &Record) -> Record {
    let mut after = Record { state: State::Ended(EndReason::Released), due_at: None, ..before.clone() };
    after.bury();
    after
}
