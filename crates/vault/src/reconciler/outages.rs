//! Outages of Keycloak: for each tenant, the jobs that got no answer, or whose client Keycloak rejected.
//!
//! Each of them asks again by itself, more and more seldom. So that they are not late when Keycloak has been well for long,
//! one of them is made due every other second while it is away, and all of them with its first good answer. Whoever is made
//! due still enters the lane ([`super::tenant_limiter`]), and what this replica has forgotten comes up by itself.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use parking_lot::Mutex;
use tokenvault_core::ids::{JobKey, TenantId};
use tokenvault_core::policy::KeycloakReply;
use tokenvault_core::ports::StoreError;
use tokenvault_core::time::Timestamp;

use crate::services::Services;

/// How often one of a tenant's jobs finds out whether Keycloak is back.
const ASK_EVERY: Duration = Duration::from_millis(1_500);
/// The same where it answers, and refuses the client: somebody has to put that right.
const ASK_A_REFUSAL_EVERY: Duration = Duration::from_secs(3);
/// A trouble must last this long to count as an outage. After a shorter one the jobs' own pauses are still short. And a single
/// job that fails while others succeed keeps its own pauses.
const SHORTEST_OUTAGE: Duration = Duration::from_secs(3);
/// More jobs are not remembered; they come up by themselves.
const MOST: usize = 50_000;
/// So many are made due with one look, so that looking does not wait for them.
const AT_ONCE: usize = 256;
const HASTENED_AT_ONCE: usize = 8;

/// The outages of all tenants.
#[derive(Default)]
pub(super) struct Outages(Mutex<OutageLog>);

/// What is remembered of them.
#[derive(Default)]
struct OutageLog {
    current: HashMap<TenantId, Outage>,
    remembered: usize,
    /// When the last outage of each was over.
    ended_at: HashMap<TenantId, Timestamp>,
    /// Those whose Keycloak is back, and who are not due yet.
    to_hasten: VecDeque<JobKey>,
}

struct Outage {
    since: Timestamp,
    asked_at: Timestamp,
    pace: Duration,
    jobs: BTreeSet<JobKey>,
    /// The job that asked last.
    last: Option<JobKey>,
}

impl Outage {
    /// The job that is to ask next: each in its turn.
    fn next(&mut self) -> Option<JobKey> {
        let after = self.last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.jobs.range((after, Bound::Unbounded)).next().or_else(|| self.jobs.first()).cloned();
        self.last.clone_from(&next);
        next
    }
}

impl Outages {
    /// Notes how a job's round went; `late`: when the round began, where the pair should have been renewed by then.
    pub(super) fn note(&self, job: &JobKey, reply: KeycloakReply, late: Option<Timestamp>, now: Timestamp) {
        let pace = match reply {
            KeycloakReply::NotAsked => return,
            KeycloakReply::Answered => return self.0.lock().end_outage(&job.tenant, now),
            KeycloakReply::NoAnswer => ASK_EVERY,
            KeycloakReply::ClientRejected => ASK_A_REFUSAL_EVERY,
        };
        if let Some(began) = late {
            self.0.lock().failed(job, pace, began, now);
        }
    }

    /// Takes the jobs to make due now: those whose Keycloak is back, and one of each tenant whose Keycloak is still away,
    /// so that it asks again. At most [`AT_ONCE`].
    fn take_due(&self, now: Timestamp) -> Vec<JobKey> {
        let mut state = self.0.lock();
        let most = state.to_hasten.len().min(AT_ONCE);
        let mut due: Vec<JobKey> = state.to_hasten.drain(..most).collect();
        for outage in state.current.values_mut() {
            // An instant in the future: the clock was set back.
            let rests = now >= outage.asked_at && now.since(outage.asked_at) < outage.pace;
            if due.len() < AT_ONCE && !rests {
                outage.asked_at = now;
                due.extend(outage.next());
            }
        }
        due
    }

    /// Queues jobs again that the store did not make due.
    fn queue_again(&self, jobs: Vec<JobKey>) {
        self.0.lock().to_hasten.extend(jobs);
    }
}

impl OutageLog {
    fn failed(&mut self, job: &JobKey, pace: Duration, began: Timestamp, now: Timestamp) {
        let room = self.remembered + self.to_hasten.len() < MOST;
        if room && self.ended_at.get(&job.tenant).is_some_and(|over| began <= *over) {
            // It had begun before Keycloak was back, and so it is still the outage that has held it up.
            return self.to_hasten.push_back(job.clone());
        }
        let fresh = || Outage { since: now, asked_at: now, pace, jobs: BTreeSet::new(), last: None };
        let outage = self.current.entry(job.tenant.clone()).or_insert_with(fresh);
        outage.pace = pace;
        if room && outage.jobs.insert(job.clone()) {
            self.remembered += 1;
        }
    }

    /// Ends the tenant's outage and queues its jobs to be made due. A trouble shorter than [`SHORTEST_OUTAGE`] queues nothing.
    fn end_outage(&mut self, tenant: &TenantId, now: Timestamp) {
        let Some(outage) = self.current.remove(tenant) else { return };
        self.remembered -= outage.jobs.len();
        if now.since(outage.since) < SHORTEST_OUTAGE {
            return;
        }
        self.ended_at.insert(tenant.clone(), now);
        tracing::info!(%tenant, jobs = outage.jobs.len(), "Keycloak answers again: jobs that failed meanwhile are renewed now");
        self.to_hasten.extend(outage.jobs);
    }
}

impl Outages {
    /// Makes the jobs due that an outage has held up, as far as it is time. What fails comes up by itself.
    pub(super) async fn follow(&self, services: &Services) {
        let now = services.clock.now();
        let due = self.take_due(now);
        if due.is_empty() {
            return;
        }
        let hasten = |job: JobKey| async move { hasten_if_late(services, &job, now).await };
        let hastened = futures::stream::iter(due.iter().cloned().map(hasten)).buffer_unordered(HASTENED_AT_ONCE);
        if let Err(error) = hastened.try_collect::<()>().await {
            tracing::debug!(%error, "jobs that an outage of Keycloak has held up are made due later");
            self.queue_again(due);
        }
    }
}

/// Makes a job due, unless it has been renewed meanwhile: by its own next attempt, or by another replica.
async fn hasten_if_late(services: &Services, job: &JobKey, now: Timestamp) -> Result<(), StoreError> {
    let late = services.store.load(job).await?.is_some_and(|stored| {
        stored.record.due_at.is_some() && stored.record.renew_at.is_none_or(|renew_at| renew_at <= now)
    });
    if late { services.store.make_due(job, now, now).await } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use tokenvault_core::ids::JobId;

    use super::*;

    const START: Timestamp = Timestamp::from_secs(1_000);

    fn job(of: &str, name: &str) -> JobKey {
        let tenant = TenantId::parse(of).expect("a tenant");
        JobKey::new(tenant, JobId::parse(name).expect("a job"))
    }

    fn after(millis: u64) -> Timestamp {
        START + Duration::from_millis(millis)
    }

    fn away(jobs: &[&str]) -> Outages {
        let outages = Outages::default();
        for name in jobs {
            outages.note(&job("a", name), KeycloakReply::NoAnswer, Some(START), START);
        }
        outages
    }

    #[test]
    fn while_keycloak_is_away_one_job_after_the_other_finds_out() {
        let outages = away(&["one", "two"]);
        assert_eq!(outages.take_due(after(1_499)), []);
        assert_eq!(outages.take_due(after(1_500)), [job("a", "one")]);
        assert_eq!(outages.take_due(after(2_900)), []);
        assert_eq!(outages.take_due(after(3_000)), [job("a", "two")]);
        assert_eq!(outages.take_due(after(60_000)), [job("a", "one")]);
    }

    #[test]
    fn the_first_answer_brings_forward_what_failed_in_its_tenant_and_only_once() {
        let outages = away(&["one", "two"]);
        outages.note(&job("b", "three"), KeycloakReply::NoAnswer, Some(START), START);
        outages.take_due(after(39_000));
        outages.note(&job("a", "other"), KeycloakReply::Answered, Some(after(39_100)), after(39_100));
        assert_eq!(outages.take_due(after(39_200)), [job("a", "one"), job("a", "two")]);
        outages.note(&job("a", "one"), KeycloakReply::Answered, Some(after(39_300)), after(39_300));
        assert_eq!(outages.take_due(after(39_400)), []);
        assert_eq!(outages.take_due(after(41_000)), [job("b", "three")], "its Keycloak is away still");
    }

    #[test]
    fn who_was_under_way_when_keycloak_came_back_and_failed_after_all_is_brought_forward_as_well_once() {
        let outages = away(&["one"]);
        outages.note(&job("a", "one"), KeycloakReply::Answered, Some(after(39_000)), after(39_100));
        assert_eq!(outages.take_due(after(39_150)), [job("a", "one")]);
        outages.note(&job("a", "slow"), KeycloakReply::NoAnswer, Some(after(39_050)), after(39_200));
        assert_eq!(outages.take_due(after(39_250)), [job("a", "slow")]);
        outages.note(&job("a", "slow"), KeycloakReply::NoAnswer, Some(after(39_300)), after(39_400));
        assert_eq!(outages.take_due(after(39_450)), [], "by now it is its own trouble");
    }

    #[test]
    fn a_job_that_fails_among_others_that_do_not_keeps_its_pauses() {
        let outages = Outages::default();
        for second in 0..60 {
            outages.note(
                &job("a", "poison"),
                KeycloakReply::NoAnswer,
                Some(after(second * 1_000)),
                after(second * 1_000),
            );
            outages.note(
                &job("a", "well"),
                KeycloakReply::Answered,
                Some(after(second * 1_000 + 900)),
                after(second * 1_000 + 900),
            );
            assert_eq!(outages.take_due(after(second * 1_000 + 950)), []);
        }
    }

    #[test]
    fn a_refused_client_is_asked_for_less_often_and_its_jobs_are_brought_forward_as_well() {
        let outages = Outages::default();
        outages.note(&job("a", "one"), KeycloakReply::ClientRejected, Some(START), START);
        assert_eq!(outages.take_due(after(2_999)), []);
        assert_eq!(outages.take_due(after(3_000)), [job("a", "one")]);
        outages.note(&job("a", "one"), KeycloakReply::Answered, Some(after(5_100)), after(5_100));
        assert_eq!(outages.take_due(after(5_200)), [job("a", "one")]);
    }

    #[test]
    fn who_is_not_late_is_not_hurried_and_no_more_are_remembered_than_there_is_room_for() {
        let outages = Outages::default();
        outages.note(&job("a", "early"), KeycloakReply::NoAnswer, None, START);
        assert_eq!(outages.take_due(after(10_000)), []);
        for number in 0..=MOST {
            outages.note(&job("a", &format!("j{number}")), KeycloakReply::NoAnswer, Some(START), START);
        }
        outages.note(&job("a", "j0"), KeycloakReply::Answered, Some(after(10_000)), after(10_000));
        let mut due = 0;
        while let more @ 1.. = outages.take_due(after(10_000)).len() {
            assert!(more <= AT_ONCE);
            due += more;
        }
        assert_eq!(due, MOST);
    }

    #[test]
    fn what_the_store_did_not_take_is_offered_again() {
        let outages = away(&["one"]);
        outages.note(&job("a", "one"), KeycloakReply::Answered, Some(after(5_000)), after(5_000));
        let due = outages.take_due(after(5_000));
        outages.queue_again(due.clone());
        assert_eq!(outages.take_due(after(5_001)), due);
    }
}
