//! Jobs that wait until the tenants change: those of a tenant that is not configured (any more), and those whose client
//! Keycloak refuses until somebody has put its secret right.
//!
//! The former are neither renewed nor ended before their time: the tenant may come back. Both are looked at again by
//! themselves; those that this replica remembers are looked at as soon as the tenants have changed.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use parking_lot::Mutex;
use tokenvault_core::ids::{JobKey, TenantId};
use tokenvault_core::policy::longest_pause;
use tokenvault_core::ports::{Lease, Write};
use tokenvault_core::record::{EndReason, Record};
use tokenvault_core::time::Timestamp;

use crate::ending::{Ending, end};
use crate::jitter::roll;
use crate::journal::Actor;
use crate::services::Services;
use crate::store_news::not_done;

/// How long a job of a tenant that is not configured is left alone, more or less.
const PUT_OFF: Duration = Duration::from_mins(2);
/// The same while its access token lives: another replica may know the tenant already, and is not to come too late.
const PUT_OFF_BRIEFLY: Duration = Duration::from_secs(5);
/// How often it is said that there are such jobs, of one tenant.
const SAY_EVERY: Duration = Duration::from_hours(1);
/// More are not remembered; they come up by themselves.
const MOST: usize = 10_000;

/// The jobs that are remembered, and what was said of them.
#[derive(Default)]
pub(super) struct WaitingJobs {
    jobs: Mutex<BTreeSet<JobKey>>,
    /// The version of the tenants that they wait for the end of.
    version: Mutex<u64>,
    said: Mutex<HashMap<TenantId, Timestamp>>,
}

impl WaitingJobs {
    /// Remembers a job until the tenants change.
    pub(super) fn add(&self, job: &JobKey) {
        let mut jobs = self.jobs.lock();
        if jobs.len() < MOST {
            jobs.insert(job.clone());
        }
    }

    /// The jobs that a change of the tenants concerns: those whose tenant is there by now. The others go on waiting.
    fn take(&self, version: u64, is_there: impl Fn(&TenantId) -> bool) -> Vec<JobKey> {
        if std::mem::replace(&mut *self.version.lock(), version) == version {
            return Vec::new();
        }
        self.said.lock().retain(|tenant, _| !is_there(tenant));
        let mut jobs = self.jobs.lock();
        let (found, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut *jobs).into_iter().partition(|job| is_there(&job.tenant));
        jobs.extend(others);
        found
    }

    /// Whether it is to be said (again) that a tenant's jobs wait.
    fn is_warning_due(&self, tenant: &TenantId, now: Timestamp) -> bool {
        let mut said = self.said.lock();
        let due = said.get(tenant).is_none_or(|at| now.since(*at) >= SAY_EVERY);
        if due {
            said.insert(tenant.clone(), now);
        }
        due
    }

    /// Makes the jobs due that have waited for the tenants to change. What fails comes up by itself.
    pub(super) async fn follow_tenants(&self, services: &Services) {
        let tenants = &services.tenants;
        let found = self.take(tenants.version(), |tenant| tenants.get(tenant).is_some());
        for job in found {
            let now = services.clock.now();
            if let Err(error) = services.store.hasten(&job, now, now).await {
                return tracing::debug!(%error, "jobs that waited for a change of the tenants come up by themselves");
            }
        }
    }

    /// Gives back a job whose tenant is not configured. At its end it ends as any other does; a session of the vault's own
    /// is revoked when the tenant is back.
    pub(super) async fn put_off(&self, services: &Services, record: &Record, lease: &Lease) {
        let (key, now) = (&record.key, services.clock.now());
        if record.state.is_live() && now >= record.expires_at {
            let settings = services.tenants.settings(&key.tenant);
            let ending = Ending { key, reason: EndReason::Expired, actor: Actor::Vault, request_id: None };
            if let Err(error) = end(services, &settings, ending, |found| now >= found.expires_at).await {
                not_done(&error, "a job of a tenant that is not configured could not be ended");
            }
            return;
        }
        if self.is_warning_due(&key.tenant, now) {
            tracing::warn!(tenant = %key.tenant, "there are jobs of a tenant that is not configured: they are kept, and neither served nor renewed");
        }
        self.add(key);
        let pause = longest_pause(record, now).map_or(PUT_OFF, |longest| longest.clamp(PUT_OFF_BRIEFLY, PUT_OFF));
        let later = now + pause.mul_f64(0.5 + roll(&*services.entropy));
        let due_at = if record.state.is_live() { later.min(record.expires_at) } else { later };
        let after = Record { due_at: Some(due_at), ..record.clone() };
        let write = Write::between(record, &after, services.attempt()).under(lease).releasing();
        if let Err(error) = services.write(&write).await {
            not_done(&error, "a record could not be given back; it comes up again when its lease ends");
        }
    }
}

#[cfg(test)]
mod tests {
    use tokenvault_core::ids::JobId;

    use super::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::parse(name).expect("a tenant")
    }

    fn job(of: &str, name: &str) -> JobKey {
        JobKey::new(tenant(of), JobId::parse(name).expect("a job"))
    }

    #[test]
    fn jobs_wait_until_the_tenants_change_and_theirs_is_there() {
        let waiting = WaitingJobs::default();
        waiting.add(&job("diku", "one"));
        waiting.add(&job("gone", "two"));
        let is_there = |id: &TenantId| *id == tenant("diku");

        assert_eq!(waiting.take(0, is_there), [], "nothing has changed yet");
        assert_eq!(waiting.take(1, is_there), [job("diku", "one")]);
        assert_eq!(waiting.take(2, is_there), []);
        assert_eq!(waiting.take(3, |_| true), [job("gone", "two")]);
    }

    #[test]
    fn that_a_tenant_is_missing_is_said_once_an_hour_and_again_after_it_came_back() {
        let (waiting, gone, start) = (WaitingJobs::default(), tenant("gone"), Timestamp::from_secs(1_000));
        assert!(waiting.is_warning_due(&gone, start));
        assert!(!waiting.is_warning_due(&gone, start + Duration::from_mins(59)));
        assert!(waiting.is_warning_due(&gone, start + Duration::from_hours(1)));
        waiting.take(1, |_| true);
        assert!(waiting.is_warning_due(&gone, start + Duration::from_hours(1)));
    }

    #[test]
    fn no_more_jobs_are_remembered_than_there_is_room_for() {
        let waiting = WaitingJobs::default();
        for number in 0..=MOST {
            waiting.add(&job("gone", &format!("j{number}")));
        }
        assert_eq!(waiting.take(1, |_| true).len(), MOST);
    }
}
