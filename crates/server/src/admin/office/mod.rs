//! What the vault does for operators, through the core's ports. Nothing here opens a token, and nothing renews one:
//! a renewal that is asked for makes the job due, and the reconciler does it.

mod jobs;
mod keys;
mod revoke;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokenvault_core::ids::{JobKey, ReplicaId, Shard, TenantId, UserId};
use tokenvault_core::ports::{Event, Pause, Resealing, Stored};
use tokenvault_vault::jobs::store_problem;
use tokenvault_vault::journal::Journal;
use tokenvault_vault::problem::Problem;
use tokenvault_vault::services::Services;

use super::acts::{Acts, By, JobsPage, JobsQuery, Keys, Renewal, Revoked, Status};

/// The use cases on their services.
pub struct Office {
    services: Services,
    replica: ReplicaId,
}

impl Office {
    /// Puts them there; the replica's name is the one it announces.
    pub fn new(services: Services, replica: ReplicaId) -> Self {
        Self { services, replica }
    }

    /// Where acts are told.
    pub fn journal(&self) -> Arc<dyn Journal> {
        Arc::clone(&self.services.journal)
    }

    /// Lets those who watch know. What cannot be told is in the journal all the same.
    async fn tell(&self, kind: &str, reason: Option<String>) {
        let event = Event {
            id: String::new(),
            at: self.services.clock.now(),
            kind: kind.to_owned(),
            tenant: None,
            job: None,
            reason,
            replica: self.replica.clone(),
        };
        if let Err(error) = self.services.fleet.publish(&event).await {
            tracing::warn!(%error, kind, "an event cannot be told");
        }
    }

    async fn due(&self) -> Result<u64, Problem> {
        let now = self.services.clock.now();
        let mut due = 0;
        for shard in Shard::all() {
            due += self.services.store.count_due(shard, now).await.map_err(store_problem)?;
        }
        Ok(due)
    }
}

#[async_trait]
impl Acts for Office {
    async fn status(&self) -> Result<Status, Problem> {
        let fleet = &self.services.fleet;
        Ok(Status {
            replica: self.replica.clone(),
            now: self.services.clock.now(),
            replicas: fleet.replicas().await.map_err(store_problem)?,
            records: fleet.estimate().await.map_err(store_problem)?,
            census: fleet.census().await.map_err(store_problem)?,
            due: self.due().await?,
            promoted_key: fleet.promoted_key().await.map_err(store_problem)?,
            pause: fleet.paused().await.map_err(store_problem)?,
            resealing: fleet.resealing().await.map_err(store_problem)?,
        })
    }

    async fn jobs(&self, query: &JobsQuery) -> Result<JobsPage, Problem> {
        self.page(query).await
    }

    async fn job(&self, key: &JobKey) -> Result<Stored, Problem> {
        self.load(key).await
    }

    async fn renew(&self, key: &JobKey) -> Result<Renewal, Problem> {
        self.hasten(key).await
    }

    async fn revoke(&self, by: &By, key: &JobKey) -> Result<Stored, Problem> {
        self.end(by, key).await
    }

    async fn revoke_user(&self, by: &By, tenant: &TenantId, user: &UserId) -> Result<Revoked, Problem> {
        self.end_all(by, tenant, user).await
    }

    async fn keys(&self, count: bool) -> Result<Keys, Problem> {
        self.held(count).await
    }

    async fn promote(&self, key: &str) -> Result<bool, Problem> {
        self.make_primary(key).await
    }

    async fn reseal(&self) -> Result<Resealing, Problem> {
        self.start_resealing().await
    }

    async fn resealing(&self) -> Result<Option<Resealing>, Problem> {
        self.services.fleet.resealing().await.map_err(store_problem)
    }

    async fn pause(&self, by: &By, time: Duration, reason: &str) -> Result<Pause, Problem> {
        let now = self.services.clock.now();
        let pause = Pause { since: now, until: now + time, by: by.operator.clone(), reason: reason.to_owned() };
        self.services.fleet.pause(&pause).await.map_err(store_problem)?;
        self.tell("paused", Some(format!("by {} for {}: {reason}", by.operator, in_words(time)))).await;
        Ok(pause)
    }

    async fn resume(&self, by: &By) -> Result<bool, Problem> {
        let resumed = self.services.fleet.resume().await.map_err(store_problem)?;
        if resumed {
            self.tell("resumed", Some(format!("by {}", by.operator))).await;
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
