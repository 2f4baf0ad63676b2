//! What the vault does for operators, through the core's ports.
//!
//! Nothing here may open a token or renew one. A renewal that is asked for makes the job due, and the reconciler renews it.

mod events;
mod jobs;
mod keys;
mod revoke;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use events::publish;
use tokenvault_core::ids::{JobKey, ReplicaId, TenantId, UserId};
use tokenvault_core::ports::{Event, Pause, Resealing, Stored};
use tokenvault_vault::jobs::store_problem;
use tokenvault_vault::journal::Journal;
use tokenvault_vault::problem::Problem;
use tokenvault_vault::services::Services;

use super::commands::{
    AdminCommands, JobsPage, JobsQuery, KeyOverview, OperatorCall, RequestedRenewal, RevokedJobs, VaultStatus,
};
use crate::due_count::count_due;

/// Carries out what operators ask for.
pub struct AdminService {
    services: Services,
    replica: ReplicaId,
}

impl AdminService {
    /// A service that publishes its events under the replica's name.
    pub fn new(services: Services, replica: ReplicaId) -> Self {
        Self { services, replica }
    }

    /// Where changes are recorded.
    pub fn journal(&self) -> Arc<dyn Journal> {
        Arc::clone(&self.services.journal)
    }
}

#[async_trait]
impl AdminCommands for AdminService {
    async fn status(&self) -> Result<VaultStatus, Problem> {
        let fleet = &self.services.fleet;
        Ok(VaultStatus {
            replica: self.replica.clone(),
            now: self.services.clock.now(),
            replicas: fleet.replicas().await.map_err(store_problem)?,
            records: fleet.estimate().await.map_err(store_problem)?,
            census: fleet.census().await.map_err(store_problem)?,
            due: count_due(&self.services).await.map_err(store_problem)?,
            promoted_key: fleet.promoted_key().await.map_err(store_problem)?,
            pause: fleet.paused().await.map_err(store_problem)?,
            resealing: fleet.resealing().await.map_err(store_problem)?,
        })
    }

    async fn jobs(&self, query: &JobsQuery) -> Result<JobsPage, Problem> {
        jobs::list(&self.services, query).await
    }

    async fn job(&self, key: &JobKey) -> Result<Stored, Problem> {
        jobs::load(&self.services, key).await
    }

    async fn renew(&self, key: &JobKey) -> Result<RequestedRenewal, Problem> {
        jobs::renew(&self.services, key).await
    }

    async fn revoke(&self, by: &OperatorCall, key: &JobKey) -> Result<Stored, Problem> {
        revoke::job(&self.services, by, key).await
    }

    async fn revoke_user(&self, by: &OperatorCall, tenant: &TenantId, user: &UserId) -> Result<RevokedJobs, Problem> {
        revoke::all_of_user(&self.services, by, tenant, user).await
    }

    async fn keys(&self, count: bool) -> Result<KeyOverview, Problem> {
        keys::list(&self.services, count).await
    }

    async fn promote(&self, key: &str) -> Result<bool, Problem> {
        keys::promote(&self.services, &self.replica, key).await
    }

    async fn reseal(&self) -> Result<Resealing, Problem> {
        keys::reseal(&self.services, &self.replica).await
    }

    async fn resealing(&self) -> Result<Option<Resealing>, Problem> {
        self.services.fleet.resealing().await.map_err(store_problem)
    }

    async fn pause(&self, by: &OperatorCall, time: Duration, reason: &str) -> Result<Pause, Problem> {
        let now = self.services.clock.now();
        let pause = Pause { since: now, until: now + time, by: by.operator.clone(), reason: reason.to_owned() };
        self.services.fleet.pause(&pause).await.map_err(store_problem)?;
        publish(
            &self.services,
            &self.replica,
            "paused",
            Some(format!("by {} for {}: {reason}", by.operator, in_words(time))),
        )
        .await;
        Ok(pause)
    }

    async fn resume(&self, by: &OperatorCall) -> Result<bool, Problem> {
        let resumed = self.services.fleet.resume().await.map_err(store_problem)?;
        if resumed {
            publish(&self.services, &self.replica, "resumed", Some(format!("by {}", by.operator))).await;
            self.services.wake.due();
        }
        Ok(resumed)
    }

    async fn events(&self, after: Option<&str>, count: usize) -> Result<Vec<Event>, Problem> {
        self.services.fleet.events(after, count).await.map_err(store_problem)
    }
}

/// A time in the largest unit in which it is whole: `90 s`, `10 m`, `2 h`.
fn in_words(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds > 0 && seconds.is_multiple_of(3600) => format!("{} h", seconds / 3600),
        seconds if seconds > 0 && seconds.is_multiple_of(60) => format!("{} m", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_in_the_largest_unit_that_fits() {
        for (seconds, words) in
            [(1, "1 s"), (90, "90 s"), (600, "10 m"), (7200, "2 h"), (5400, "90 m"), (86_400, "24 h")]
        {
            assert_eq!(in_words(Duration::from_secs(seconds)), words);
        }
    }
}
