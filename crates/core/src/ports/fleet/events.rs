//! What happened lately.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::super::error::StoreError;
use crate::ids::{JobId, ReplicaId, TenantId};
use crate::time::Timestamp;

/// Something that happened, for operators who watch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its place among all events, given by the store: events are told in this order. Empty until then.
    #[serde(default)]
    pub id: String,
    /// When.
    pub at: Timestamp,
    /// What: `registered`, `renewed`, `suspended`, `ended`, `paused`, `resumed`, `promoted`, `reseal_started`,
    /// `reseal_finished`, `reload_refused`, `rights_removed`.
    pub kind: String,
    /// Whose tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Which job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// The reason or the detail: a code; of an operator's act words; of a file which one it is and what is refused, or from whom
    /// what is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Which replica told it.
    pub replica: ReplicaId,
}

/// Reads an event's id: a time and a number, as Redis numbers the entries of a stream.
pub fn event_place(id: &str) -> Option<(u64, u64)> {
    let (time, number) = id.split_once('-')?;
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok()).flatten();
    Some((digits(time)?, digits(number)?))
}

/// Keeps what happened, for operators who watch.
#[async_trait]
pub trait EventStore: Send + Sync {
    /// Tells what happened. The last ten thousand or so are kept; published twice, it is told twice.
    async fn publish(&self, event: &Event) -> Result<(), StoreError>;

    /// The first `count` that happened after an event; without one, or with one this store cannot have told, the last
    /// `count`. Oldest first.
    async fn events(&self, after: Option<&str>, count: usize) -> Result<Vec<Event>, StoreError>;
}
