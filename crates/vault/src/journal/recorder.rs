//! The journal of a running vault: the audit log, where one is kept, and the events.

use std::sync::Arc;

use async_trait::async_trait;
use tokenvault_core::ids::ReplicaId;
use tokenvault_core::ports::Clock;

use super::events::{Events, Teller};
use super::{Entry, Journal, NotRecorded};

/// Tells both.
pub struct Recorder {
    log: Option<Box<dyn Journal>>,
    teller: Teller,
    clock: Arc<dyn Clock>,
}

impl Recorder {
    /// A recorder, and the events that somebody must publish.
    pub fn new(log: Option<Box<dyn Journal>>, replica: ReplicaId, clock: Arc<dyn Clock>) -> (Self, Events) {
        let (teller, events) = Teller::new(replica);
        (Self { log, teller, clock }, events)
    }
}

#[async_trait]
impl Journal for Recorder {
    fn ready(&self) -> Result<(), NotRecorded> {
        self.log.as_ref().map_or(Ok(()), |log| log.ready())
    }

    fn keeps_notes(&self) -> bool {
        self.log.is_some()
    }

    async fn note(&self, entry: Entry) -> Result<(), NotRecorded> {
        match &self.log {
            Some(log) => log.note(entry).await,
            None => Ok(()),
        }
    }

    fn record(&self, entry: Entry) {
        self.teller.tell(&entry, self.clock.now());
        if let Some(log) = &self.log {
            log.record(entry);
        }
    }

    async fn settled(&self) -> Result<(), NotRecorded> {
        match &self.log {
            Some(log) => log.settled().await,
            None => Ok(()),
        }
    }

    async fn flush(&self) {
        if let Some(log) = &self.log {
            log.flush().await;
        }
    }

    fn reopen(&self) {
        if let Some(log) = &self.log {
            log.reopen();
        }
    }
}
