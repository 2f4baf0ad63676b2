//! The same entries as events for operators who watch: best effort, never on the way of a read, never waited for.

use tokenvault_core::ids::{JobKey, ReplicaId};
use tokenvault_core::ports::{Event, Fleet};
use tokenvault_core::time::Timestamp;
use tokio::sync::mpsc;

use super::{Act, Entry};

/// Events on their way to the store; with more than that, some are left out.
const QUEUE: usize = 1024;

/// Where entries become events.
pub(super) struct Teller {
    replica: ReplicaId,
    queue: mpsc::Sender<Event>,
}

/// What is to be published.
pub struct Events(mpsc::Receiver<Event>);

impl Teller {
    pub(super) fn new(replica: ReplicaId) -> (Self, Events) {
        let (queue, events) = mpsc::channel(QUEUE);
        (Self { replica, queue }, Events(events))
    }

    pub(super) fn tell(&self, entry: &Entry, at: Timestamp) {
        if let Some(event) = event_of(entry, at, &self.replica) {
            // Whoever watches can do without one.
            drop(self.queue.try_send(event));
        }
    }
}

impl Events {
    /// Publishes what comes, for as long as it is polled.
    pub async fn publish(mut self, fleet: &dyn Fleet) {
        while let Some(event) = self.0.recv().await {
            if let Err(error) = fleet.publish(&event).await {
                tracing::debug!(%error, "an event was not published");
            }
        }
    }
}

fn event_of(entry: &Entry, at: Timestamp, replica: &ReplicaId) -> Option<Event> {
    if entry.act == Act::Reload {
        return reloaded(entry, at, replica);
    }
    let kind = match entry.act {
        Act::Register if entry.outcome == "ok" => "registered",
        Act::Renew => "renewed",
        Act::Suspend => "suspended",
        Act::End => "ended",
        _ => return None,
    };
    let JobKey { tenant, job } = entry.job.clone()?;
    let reason = matches!(entry.act, Act::Suspend | Act::End).then(|| entry.outcome.to_owned());
    Some(Event {
        id: String::new(),
        at,
        kind: kind.to_owned(),
        tenant: Some(tenant),
        job: Some(job),
        reason,
        replica: replica.clone(),
    })
}

/// A file is not a job's: which one it is stands in the reason.
fn reloaded(entry: &Entry, at: Timestamp, replica: &ReplicaId) -> Option<Event> {
    let kind = match entry.outcome {
        "refused" => "reload_refused",
        "rights_removed" => "rights_removed",
        _ => return None,
    };
    Some(Event {
        id: String::new(),
        at,
        kind: kind.to_owned(),
        tenant: None,
        job: None,
        reason: entry.detail.clone(),
        replica: replica.clone(),
    })
}

#[cfg(test)]
mod tests {
    use tokenvault_core::ids::{JobId, TenantId};

    use super::*;
    use crate::journal::Actor;

    #[test]
    fn a_file_that_is_refused_or_takes_rights_away_is_an_event() {
        let (teller, mut events) = Teller::new(ReplicaId::parse("r").expect("a name"));
        for outcome in ["refused", "rights_removed"] {
            let entry = Entry::new(Act::Reload, Actor::Vault, outcome).detail("policy: mod-x: read");
            teller.tell(&entry, Timestamp::from_secs(1));
        }
        for kind in ["reload_refused", "rights_removed"] {
            let event = events.0.try_recv().expect("an event");
            assert_eq!((event.kind.as_str(), event.reason.as_deref()), (kind, Some("policy: mod-x: read")));
        }
    }

    #[test]
    fn what_becomes_of_a_job_is_an_event_and_who_reads_is_not() {
        let (teller, mut events) = Teller::new(ReplicaId::parse("r").expect("a name"));
        let key = JobKey::new(TenantId::parse("diku").expect("a tenant"), JobId::parse("j").expect("a job"));
        let outcomes = [
            (Act::Register, "ok"),
            (Act::Register, "token_rejected"),
            (Act::Amend, "ok"),
            (Act::Read, "ok"),
            (Act::List, "ok"),
            (Act::Renew, "ok"),
            (Act::Suspend, "user_disabled"),
            (Act::Release, "ok"),
            (Act::End, "released"),
            (Act::Admin, "ok"),
        ];
        for (act, outcome) in outcomes {
            teller.tell(&Entry::new(act, Actor::Vault, outcome).of(&key), Timestamp::from_secs(1));
        }
        let mut told = Vec::new();
        while let Ok(event) = events.0.try_recv() {
            told.push((event.kind, event.reason));
        }
        let of = |kind: &str, reason: Option<&str>| (kind.to_owned(), reason.map(str::to_owned));
        let expected = [
            of("registered", None),
            of("renewed", None),
            of("suspended", Some("user_disabled")),
            of("ended", Some("released")),
        ];
        assert_eq!(told, expected);
    }
}
