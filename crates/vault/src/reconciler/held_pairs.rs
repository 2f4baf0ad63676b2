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
use tokenvault_core::policy::{Comparison, compare};
use tokenvault_core::ports::{Created, StoreError, Write};
use tokenvault_core::record::Record;
use tokenvault_core::time::Timestamp;

use crate::services::Services;

/// How often the table is looked through; also the first wait after a write.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);
/// After this long without a newer pair the store is believed.
const KEEP: Duration = Duration::from_mins(30);
/// More are not kept; the oldest go first.
const MOST: usize = 5_000;

/// A record as it was written with the answer to a spend.
struct HeldPair {
    record: Record,
    since: Timestamp,
    look_at: Timestamp,
}

/// The pairs that are held, by job.
#[derive(Default)]
pub(super) struct HeldPairs {
    by_job: Mutex<HashMap<JobKey, HeldPair>>,
}

impl HeldPairs {
    /// Keeps a record, in place of an older one of the same job.
    pub(super) fn keep(&self, record: &Record, now: Timestamp) {
        let mut pairs = self.by_job.lock();
        if pairs.len() >= MOST
            && !pairs.contains_key(&record.key)
            && let Some(oldest) = pairs.values().min_by_key(|pair| pair.since).map(|pair| pair.record.key.clone())
        {
            pairs.remove(&oldest);
        }
        let pair = HeldPair { record: record.clone(), since: now, look_at: now + LOOK_EVERY };
        pairs.insert(record.key.clone(), pair);
    }

    /// The pair that a claimed record should have, where a newer one than its own is held.
    pub(super) fn newer_than(&self, record: &Record) -> Option<Record> {
        let pairs = self.by_job.lock();
        let held = pairs.get(&record.key).map(|pair| &pair.record);
        held.filter(|held| held.generation > record.generation).cloned()
    }

    /// Marks all pairs for a comparison with the store at the next look. The store was away, and may have lost writes.
    pub(super) fn check_all_soon(&self, now: Timestamp) {
        for pair in self.by_job.lock().values_mut() {
            pair.look_at = now;
        }
    }

    /// Seals what is held anew, while the key it was sealed with is still there.
    pub(super) fn seal_anew(&self, services: &Services) {
        for pair in self.by_job.lock().values_mut() {
            pair.record = services.sealer(&pair.record).reseal(&pair.record).record;
        }
    }

    /// Takes the pairs that are to be compared with the store now. A pair is forgotten when a tombstone of its job can have expired: that there
    /// is nothing in the store would not mean that the store has lost it.
    pub(super) fn take_for_check(&self, now: Timestamp, tombstone_ttl: impl Fn(&TenantId) -> Duration) -> Vec<Record> {
        let mut pairs = self.by_job.lock();
        pairs.retain(|key, pair| now.since(pair.since) < KEEP.min(tombstone_ttl(&key.tenant)));
        let mut due: Vec<Record> = Vec::new();
        for pair in pairs.values_mut().filter(|pair| pair.look_at <= now) {
            pair.look_at = now + now.since(pair.since).max(LOOK_EVERY);
            due.push(pair.record.clone());
        }
        due.sort_by(|one, other| one.key.cmp(&other.key));
        due
    }

    fn forget(&self, key: &JobKey, generation: Generation) {
        let mut pairs = self.by_job.lock();
        if pairs.get(key).is_some_and(|pair| pair.record.generation <= generation) {
            pairs.remove(key);
        }
    }

    /// Marks a pair for a comparison with the store at the next look.
    pub(super) fn check_soon(&self, key: &JobKey, now: Timestamp) {
        if let Some(pair) = self.by_job.lock().get_mut(key) {
            pair.look_at = now;
        }
    }
}

impl HeldPairs {
    /// Compares a held record with the store and writes it again where the store has gone back.
    pub(super) async fn restore(&self, services: &Services, held: &Record) -> Result<(), StoreError> {
        let stored = services.store.load(&held.key).await?.map(|stored| stored.record);
        let written = match (compare(held, stored.as_ref(), services.clock.now()), stored) {
            (Comparison::Stored, _) | (Comparison::Lost, None) => return Ok(()),
            (Comparison::Superseded, stored) => {
                self.forget(&held.key, held.generation);
                discard_session(services, held, stored.as_ref()).await;
                return Ok(());
            }
            (Comparison::Lost, Some(stored)) => {
                let after = stored.with_pair_of(held);
                services.write(&Write::between(&stored, &after, services.attempt())).await?.is_done()
            }
            (Comparison::GivenUp(replaces), stored) => {
                let record = stored.map_or_else(|| held.clone(), |stored| stored.with_pair_of(held));
                recreate_job(services, &record, replaces).await?
            }
        };
        if written {
            tracing::warn!(tenant = %held.key.tenant, job = %held.key.job, generation = %held.generation, "the store had an older pair; the newer one was written again");
            services.wake.renewed(&held.key);
        } else {
            self.check_soon(&held.key, services.clock.now());
        }
        Ok(())
    }
}

/// A session of the vault's own that the job does not live in any more is given up.
async fn discard_session(services: &Services, held: &Record, stored: Option<&Record>) {
    let lives_on = stored.is_some_and(|stored| stored.session_key() == held.session_key());
    if held.owns_session() && !lives_on {
        services.discard_session(held).await;
    }
}

/// Creates the record of a job again that has ended or vanished, with its session and user entries first, as at
/// registration. `replaces` is the generation of the tombstone, or `None` if there is none. Answers whether it was created.
async fn recreate_job(services: &Services, record: &Record, replaces: Option<Generation>) -> Result<bool, StoreError> {
    for session in record.session_keys() {
        services.store.enter_session(&session, &record.key.job, record.keep_until).await?;
    }
    services.store.add_to_user(&record.user, &record.key, record.keep_until).await?;
    // It may have been held since before its terms were vouched for.
    let vouched = record.terms.is_none().then(|| services.with_sealed_terms(record));
    let record = vouched.as_ref().unwrap_or(record);
    let created = services.store.create(record, replaces, services.attempt()).await?;
    Ok(matches!(created, Created::Done | Created::AlreadyDone))
}

#[cfg(test)]
mod tests {
    use tokenvault_core::ids::{ClientId, Incarnation, JobId, ModuleName, SessionId, Subject, UserId};
    use tokenvault_core::record::{Acquisition, SessionRef, State};

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

    #[test]
    fn a_newer_pair_of_a_job_that_is_held_makes_no_other_one_go() {
        let held = HeldPairs::default();
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
        let held = HeldPairs::default();
        held.keep(&record(5, State::Active), NOW);
        let after = |seconds| held.take_for_check(NOW + Duration::from_secs(seconds), |_| Duration::from_mins(1)).len();
        assert_eq!((after(1), after(59), after(60)), (1, 1, 0));
    }
}
