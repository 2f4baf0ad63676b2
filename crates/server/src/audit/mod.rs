//! The audit log. Entries go to a thread that writes them, so that no disk holds up the runtime.
//!
//! Where recording is required, an answer that hands something out waits for its line. The line about something that has
//! happened already is not waited for: it is written as soon as it can be. A renewal must never be held up or lost for the
//! sake of its line.

mod file;
mod line;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use async_trait::async_trait;
use tokenvault_core::ports::Clock;
use tokenvault_core::secret::ClientSecret;
use tokio::sync::oneshot;

use tokenvault_vault::journal::{Act, Entry, Journal, NotRecorded};

use self::file::LogFile;
use self::line::{LineFormatter, Pseudonyms};
use self::writer::{AuditWriter, Health, Message, PendingEntry};
use crate::config::AuditSection;
use crate::telemetry::metrics::Metrics;

/// Entries on their way to the writer. Where there are more, its disk has hung.
const QUEUE: usize = 16 * 1024;
/// How long a line is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// The audit log of this process.
pub struct AuditLog {
    messages: SyncSender<Message>,
    health: Arc<Health>,
    clock: Arc<dyn Clock>,
    reads: bool,
    required: bool,
}

impl AuditLog {
    /// Opens the file and starts its writer. `replica` names this process in every line.
    pub fn open(
        file: &Path,
        settings: &AuditSection,
        hash_key: &ClientSecret,
        replica: String,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<Self> {
        let log = LogFile::open(file, settings.sync)?;
        let health = Arc::new(Health::new(metrics));
        let (messages, told) = sync_channel(QUEUE);
        let writer = AuditWriter {
            file: log,
            scribe: LineFormatter { replica, pseudonyms: Pseudonyms::new(hash_key) },
            clock: Arc::clone(&clock),
            health: Arc::clone(&health),
            messages: told,
            seq: 0,
            trouble: None,
        };
        std::thread::Builder::new().name("audit".to_owned()).spawn(move || writer.run())?;
        Ok(Self { messages, health, clock, reads: settings.reads, required: settings.required })
    }

    fn wants(&self, entry: &Entry) -> bool {
        self.reads || !matches!(entry.act, Act::Read | Act::List)
    }

    fn tell(&self, entry: Entry, waiting: Option<oneshot::Sender<Result<(), NotRecorded>>>) -> Result<(), NotRecorded> {
        let told = Box::new(PendingEntry { entry, at: self.clock.now(), waiting });
        self.messages.try_send(Message::Entry(told)).map_err(|_| {
            self.health.lose();
            NotRecorded
        })
    }

    /// Whether all that was told has been dealt with, within the time one may wait for it.
    async fn written(&self) -> bool {
        let (done, flushed) = oneshot::channel();
        let told = self.messages.try_send(Message::Flush(done)).is_ok();
        told && matches!(tokio::time::timeout(PATIENCE, flushed).await, Ok(Ok(())))
    }

    fn hangs(&self) -> NotRecorded {
        self.health.hang();
        // Once the writer comes to this, or to what fills the queue, it is well again.
        drop(self.messages.try_send(Message::Flush(oneshot::channel().0)));
        NotRecorded
    }
}

#[async_trait]
impl Journal for AuditLog {
    fn ready(&self) -> Result<(), NotRecorded> {
        if !self.required || self.health.is_well() { Ok(()) } else { Err(NotRecorded) }
    }

    async fn note(&self, entry: Entry) -> Result<(), NotRecorded> {
        if !self.wants(&entry) {
            return Ok(());
        }
        if !self.required {
            self.record(entry);
            return Ok(());
        }
        self.ready()?;
        let (waiting, written) = oneshot::channel();
        self.tell(entry, Some(waiting))?;
        match tokio::time::timeout(PATIENCE, written).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(NotRecorded),
            Err(_) => Err(self.hangs()),
        }
    }

    fn record(&self, entry: Entry) {
        if self.wants(&entry) {
            // Counted as lost where it cannot be told.
            let _ = self.tell(entry, None);
        }
    }

    async fn settled(&self) -> Result<(), NotRecorded> {
        if self.required && !self.written().await {
            return Err(self.hangs());
        }
        self.ready()
    }

    async fn flush(&self) {
        self.written().await;
    }

    fn reopen(&self) {
        // A full queue is written soon, and the writer looks for its file by name before each call anyway.
        drop(self.messages.try_send(Message::Reopen));
    }
}

#[cfg(test)]
mod tests;
