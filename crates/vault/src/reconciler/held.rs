//! The pairs that refresh tokens were spent for, kept in memory until the store is certain to have them for good.
//!
//! A store may lose writes it has acknowledged: a failover, a restart from an older snapshot. A pair that was come by
//! through an exchange is no loss then, for the older one still works. One that a refresh token was spent for is the only
//! one there is: whoever wrote it looks again, a second later and then ever less often, and writes it again where the store
//! has gone back. The same brings back a job that others gave up for lost while its answer was held by a replica that was
//! paused, or cut off from the store.
//!
//! It must never undo what somebody decided: a job that was released, revoked or registered anew stays as it is.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokenvault_core::ids::{Generation, JobKey, TenantId};
use tokenvault_core::ports::{Created, StoreError, Stored, Write};
use tokenvault_core::record::{EndReason, Record, State};
use tokenvault_core::time::Timestamp;
use tokio_util::sync::CancellationToken;

use super::Reconciler;
use crate::services::Services;

/// How often the table is looked through; also the first wait after a write.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// After this long without a newer pair the store is believed.
const KEEP: Duration = Duration::from_mins(30);
/// More are not kept; the oldest go first.
const MOST: usize = 5_000;

/// A record as it was written with the answer to a spend.
struct Kept {
    record: Record,
    since: Timestamp,
    look_at: Timestamp,
}

/// What is kept, by job.
#[derive(Default)]
pub(super) struct Held {
    kept: Mutex<HashMap<JobKey, Kept>>,
}

impl Held {
    /// Keeps a record, in place of an older one of the same job.
    pub(super) fn keep(&self, record: &Record, now: Timestamp) {
        let mut kept = self.kept.lock();
        if kept.len() >= MOST
            && !kept.contains_key(&record.key)
            && let Some(oldest) = kept.values().min_by_key(|kept| kept.since).map(|kept| kept.record.key.clone())
        {
            kept.remove(&oldest);
        }
        let entry = Kept { record: record.clone(), since: now, look_at: now + LOOK_EVERY };
        kept.insert(record.key.clone(), entry);
    }

    /// The pair that a claimed record should have, where a newer one than its own is held.
    pub(super) fn newer_than(&self, record: &Record) -> Option<Record> {
        let kept = self.kept.lock();
        kept.get(&record.key).map(|kept| &kept.record).filter(|kept| kept.generation > record.generation).cloned()
    }

    /// The store was away: it may have come back with less than it had.
    pub(super) fn doubt(&self, now: Timestamp) {
        for kept in self.kept.lock().values_mut() {
            kept.look_at = now;
        }
    }

    /// Seals what is held anew, while the key it was sealed with is still there.
    fn seal_anew(&self, services: &Services) {
        for kept in self.kept.lock().values_mut() {
            kept.record = services.sealer(&kept.record).reseal(&kept.record).record;
        }
    }

    /// What is to be compared with the store. A pair is forgotten when a tombstone of its job can have expired: that there
    /// is nothing in the store would not mean that the store has lost it.
    fn take_due(&self, now: Timestamp, tombstone_ttl: impl Fn(&TenantId) -> Duration) -> Vec<Record> {
        let mut kept = self.kept.lock();
        kept.retain(|key, kept| now.since(kept.since) < KEEP.min(tombstone_ttl(&key.tenant)));
        let mut due: Vec<Record> = Vec::new();
        for kept in kept.values_mut().filter(|kept| kept.look_at <= now) {
            kept.look_at = now + now.since(kept.since).max(LOOK_EVERY);
            due.push(kept.record.clone());
        }
        due.sort_by(|one, other| one.key.cmp(&other.key));
        due
    }

    fn forget(&self, key: &JobKey, generation: Generation) {
        let mut kept = self.kept.lock();
        if kept.get(key).is_some_and(|kept| kept.record.generation <= generation) {
            kept.remove(key);
        }
    }

    fn look_again(&self, key: &JobKey, now: Timestamp) {
        if let Some(kept) = self.kept.lock().get_mut(key) {
            kept.look_at = now;
        }
    }
}

/// What is to be done about a held record, seeing what the store has.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// The store has it.
    Keep,
    /// Something newer, or somebody's decision, stands there.
    Forget,
    /// The store has gone back: write it again.
    Rewrite,
    /// The job was given up for lost, or its record is gone altogether.
    Revive(Option<Generation>),
}

fn judge(held: &Record, stored: Option<&Stored>, now: Timestamp) -> Verdict {
    let Some(stored) = stored.map(|stored| &stored.record) else {
        return if now < held.expires_at { Verdict::Revive(None) } else { Verdict::Forget };
    };
    let same_job = stored.created_at == held.created_at && stored.subject == held.subject && stored.user == held.user;
    let elsewhere = stored.generation == held.generation && stored.session != held.session;
    if !same_job || stored.generation > held.generation || elsewhere {
        return Verdict::Forget;
    }
    match stored.state {
        State::Ended(EndReason::SpendLost | EndReason::SessionLost | EndReason::SessionRecreated)
            if stored.generation < held.generation =>
        {
            Verdict::Revive(Some(stored.generation))
        }
        State::Ended(_) | State::Releasing(_) => Verdict::Forget,
        _ if stored.generation < held.generation => Verdict::Rewrite,
        _ => Verdict::Keep,
    }
}

impl Reconciler {
    /// Looks after what is held, and which life the store is in, until told to stop.
    pub(super) async fn watch_held(&self, stop: CancellationToken) {
        let mut sealing = String::new();
        while !stop.is_cancelled() {
            let keyring = self.services.keyring.current();
            if keyring.primary() != sealing {
                keyring.primary().clone_into(&mut sealing);
                self.held.seal_anew(&self.services);
            }
            if let Ok(epoch) = self.services.store.epoch().await {
                *self.epoch.lock() = Some(epoch);
            }
            let tombstone_ttl = |tenant: &TenantId| self.services.tenants.settings(tenant).tombstone_ttl;
            for record in self.held.take_due(self.services.clock.now(), tombstone_ttl) {
                if let Err(error) = self.restore(&record).await {
                    tracing::debug!(%error, "a held pair could not be compared with the store");
                    self.held.look_again(&record.key, self.services.clock.now());
                    break;
                }
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Compares a held record with the store and writes it again where the store has gone back.
    pub(super) async fn restore(&self, held: &Record) -> Result<(), StoreError> {
        let services = &self.services;
        let stored = services.store.load(&held.key).await?;
        let written = match (judge(held, stored.as_ref(), services.clock.now()), &stored) {
            (Verdict::Keep, _) | (Verdict::Rewrite, None) => return Ok(()),
            (Verdict::Forget, _) => {
                self.held.forget(&held.key, held.generation);
                self.drop_session(held, stored.as_ref()).await;
                return Ok(());
            }
            (Verdict::Rewrite, Some(stored)) => {
                let after = stored.record.with_pair_of(held);
                services.write(&Write::between(&stored.record, &after, services.attempt())).await?.is_done()
            }
            (Verdict::Revive(replaces), stored) => {
                let record = stored.as_ref().map_or_else(|| held.clone(), |stored| stored.record.with_pair_of(held));
                revive(services, &record, replaces).await?
            }
        };
        if written {
            tracing::warn!(tenant = %held.key.tenant, job = %held.key.job, generation = %held.generation, "the store had an older pair; the newer one was written again");
            services.wake.renewed(&held.key);
        } else {
            self.held.look_again(&held.key, services.clock.now());
        }
        Ok(())
    }

    /// A session of the vault's own that the job does not live in any more is given up.
    async fn drop_session(&self, held: &Record, stored: Option<&Stored>) {
        let lives_on = stored.is_some_and(|stored| stored.record.session_key() == held.session_key());
        if held.owns_session() && !lives_on {
            self.services.abandon(held).await;
        }
    }
}

/// Puts a job back that has ended or vanished: its session and its user's list first, as at registration.
async fn revive(services: &Services, record: &Record, replaces: Option<Generation>) -> Result<bool, StoreError> {
    for session in record.session_keys() {
        services.store.enter_session(&session, &record.key.job, record.keep_until).await?;
    }
    services.store.add_to_user(&record.user, &record.key, record.keep_until).await?;
    // It may have been held since before its terms were vouched for.
    let vouched = record.terms.is_none().then(|| services.vouched(record));
    let record = vouched.as_ref().unwrap_or(record);
    let created = services.store.create(record, replaces, services.attempt()).await?;
    Ok(matches!(created, Created::Done | Created::AlreadyDone))
}

#[cfg(test)]
mod tests {
    use tokenvault_core::ids::{ClientId, Fence, Incarnation, JobId, ModuleName, SessionId, Subject, UserId};
    use tokenvault_core::record::{Acquisition, SessionRef};

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000);

    fn record(generation: u64, state: State) -> Record {
        let text = "the names parse";
        Record {
            acquisition: Acquisition::Adopt,
            expires_at: NOW + Duration::from_hours(1),
            keep_until: NOW + Duration::from_hours(2),
            state,
            generation: Generation(generation),
            session: Some(SessionRef {
                sid: SessionId::parse("sid").expect(text),
                client: ClientId::parse("vault").expect(text),
                incarnation: Incarnation(0),
            }),
            access_life: Duration::from_mins(1),
            ..Record::new(
                JobKey::new(TenantId::parse("t").expect(text), JobId::parse("j").expect(text)),
                UserId::parse("u").expect(text),
                Subject::parse("s").expect(text),
                ModuleName::parse("m").expect(text),
                NOW,
            )
        }
    }

    fn verdict_on(stored: Record) -> Verdict {
        let stored = Stored { record: stored, fence: Fence(1), leased_until: None };
        judge(&record(5, State::Active), Some(&stored), NOW)
    }

    #[test]
    fn what_the_store_has_lost_is_written_again_and_what_was_given_up_comes_back() {
        assert_eq!(verdict_on(record(5, State::Active)), Verdict::Keep);
        assert_eq!(verdict_on(record(4, State::Active)), Verdict::Rewrite);
        for reason in [EndReason::SpendLost, EndReason::SessionLost, EndReason::SessionRecreated] {
            assert_eq!(verdict_on(record(4, State::Ended(reason))), Verdict::Revive(Some(Generation(4))));
            assert_eq!(verdict_on(record(5, State::Ended(reason))), Verdict::Forget, "it ended after the held pair");
        }
        assert_eq!(judge(&record(5, State::Active), None, NOW), Verdict::Revive(None));
    }

    #[test]
    fn a_newer_pair_of_a_job_that_is_held_makes_no_other_one_go() {
        let held = Held::default();
        let of = |number: usize, generation| {
            let mut record = record(generation, State::Active);
            record.key.job = JobId::parse(format!("j{number}")).expect("a job");
            record
        };
        for number in 0..MOST {
            held.keep(&of(number, 2), NOW + Duration::from_millis(number as u64));
        }
        held.keep(&of(7, 3), NOW + Duration::from_mins(1));
        assert!(held.newer_than(&of(0, 1)).is_some(), "the oldest is still there");
        assert_eq!(held.newer_than(&of(7, 2)).map(|kept| kept.generation), Some(Generation(3)));
        held.keep(&of(MOST, 2), NOW + Duration::from_mins(2));
        assert!(held.newer_than(&of(0, 1)).is_none(), "one more, and the oldest goes");
    }

    #[test]
    fn a_pair_is_held_no_longer_than_its_jobs_tombstone_would_be() {
        let held = Held::default();
        held.keep(&record(5, State::Active), NOW);
        let after = |seconds| held.take_due(NOW + Duration::from_secs(seconds), |_| Duration::from_mins(1)).len();
        assert_eq!((after(1), after(59), after(60)), (1, 1, 0));
    }

    #[test]
    fn what_somebody_decided_stays() {
        for reason in [EndReason::Released, EndReason::Revoked, EndReason::Expired, EndReason::SessionNotActive] {
            assert_eq!(verdict_on(record(4, State::Ended(reason))), Verdict::Forget);
            assert_eq!(verdict_on(record(4, State::Releasing(reason))), Verdict::Forget);
        }
        assert_eq!(verdict_on(record(6, State::Active)), Verdict::Forget);
        let registered_anew = Record { created_at: NOW + Duration::from_secs(1), ..record(1, State::Active) };
        assert_eq!(verdict_on(registered_anew), Verdict::Forget);
        let over = judge(&record(5, State::Active), None, NOW + Duration::from_hours(1));
        assert_eq!(over, Verdict::Forget);
    }
}
