//! The thread that writes the audit file: it takes what waits, writes it with one call, and tells who waits for it.
//!
//! What has happened and cannot be written is kept, up to a bound, and written once it can be; the first line after a gap
//! tells how much is missing. What somebody is only about to hand out is refused instead.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tokenvault_core::ports::Clock;
use tokenvault_core::time::Timestamp;
use tokenvault_vault::journal::{Entry, NotRecorded};
use tokio::sync::oneshot;

use super::file::LogFile;
use super::line::LineFormatter;
use crate::telemetry::metrics::Metrics;

/// Entries that are written with one call.
const AT_ONCE: usize = 256;
/// Entries that are kept while they cannot be written.
const KEPT: usize = 10_000;
/// How often a file that cannot be written is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(250);

/// What the writer is told.
pub(super) enum Message {
    /// To be written.
    Entry(Box<PendingEntry>),
    /// All that came before has been dealt with.
    Flush(oneshot::Sender<()>),
    /// The file was moved away.
    Reopen,
}

/// An entry on its way.
pub(super) struct PendingEntry {
    pub(super) entry: Entry,
    pub(super) at: Timestamp,
    /// Who waits for it; nobody, where it has happened already.
    pub(super) waiting: Option<oneshot::Sender<Result<(), NotRecorded>>>,
}

/// What the writer shares with those who tell it something.
pub(super) struct Health {
    well: AtomicBool,
    /// Somebody has waited for the writer in vain, and it has done nothing since.
    hangs: AtomicBool,
    /// Entries that are in no line, and not told of by one yet.
    lost: AtomicU64,
    metrics: Arc<Metrics>,
}

impl Health {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        let health =
            Self { well: AtomicBool::new(true), hangs: AtomicBool::new(false), lost: AtomicU64::new(0), metrics };
        health.set(true);
        health
    }

    pub(super) fn is_well(&self) -> bool {
        self.well.load(Ordering::Acquire) && !self.hangs.load(Ordering::Acquire)
    }

    /// The writer was waited for in vain: a disk or a pipe takes nothing, and says nothing of it either. It is to be told
    /// something after this, so that it can show that it works again.
    pub(super) fn hang(&self) {
        if !self.hangs.swap(true, Ordering::AcqRel) {
            tracing::error!(
                "the audit file does not take what is written; nothing that needs a line is done meanwhile"
            );
        }
        self.metrics.process.audit_well(false);
    }

    /// The writer has come back from its file.
    fn moves(&self) {
        if self.hangs.swap(false, Ordering::AcqRel) {
            tracing::info!("the audit file takes what is written again");
            self.metrics.process.audit_well(self.is_well());
        }
    }

    /// An entry will never be written. Nothing more is promised until a line has told so.
    pub(super) fn lose(&self) {
        self.lost.fetch_add(1, Ordering::AcqRel);
        self.metrics.process.audit_entries("lost", 1);
        self.set(false);
    }

    fn set(&self, well: bool) {
        self.well.store(well, Ordering::Release);
        self.metrics.process.audit_well(self.is_well());
    }
}

/// The thread's state.
pub(super) struct AuditWriter {
    pub(super) file: LogFile,
    pub(super) scribe: LineFormatter,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) health: Arc<Health>,
    pub(super) messages: Receiver<Message>,
    /// Lines written so far.
    pub(super) seq: u64,
    pub(super) trouble: Option<Trouble>,
}

/// The file cannot be written.
pub(super) struct Trouble {
    kept: Vec<PendingEntry>,
    tried_at: Timestamp,
}

impl AuditWriter {
    /// Works until nobody can tell it anything any more.
    pub(super) fn run(mut self) {
        loop {
            let message = match self.trouble {
                None => self.messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(_) => self.messages.recv_timeout(TRY_AGAIN),
            };
            match message {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => self.recover(),
                Err(RecvTimeoutError::Disconnected) => {
                    if self.trouble.is_some() {
                        self.recover();
                    }
                    return;
                }
            }
        }
    }

    /// Deals with a message and what waits behind it.
    fn take(&mut self, first: Message) {
        let mut batch = Vec::new();
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Entry(told) => batch.push(*told),
                Message::Flush(done) => {
                    self.write(std::mem::take(&mut batch));
                    let _ = done.send(());
                }
                Message::Reopen => {
                    if let Err(error) = self.file.reopen() {
                        self.fall(&error);
                    }
                }
            }
            next = if batch.len() < AT_ONCE { self.messages.try_recv().ok() } else { None };
        }
        self.write(batch);
        self.health.moves();
    }

    fn write(&mut self, mut batch: Vec<PendingEntry>) {
        // Who has stopped waiting has handed nothing out.
        batch.retain(|told| told.waiting.as_ref().is_none_or(|waiting| !waiting.is_closed()));
        if self.trouble.as_ref().is_some_and(|trouble| self.clock.now().since(trouble.tried_at) >= TRY_AGAIN) {
            self.recover();
        }
        if batch.is_empty() {
            return;
        }
        if self.trouble.is_none() {
            match self.append(&batch, false) {
                Ok(()) => {
                    for waiting in batch.into_iter().filter_map(|told| told.waiting) {
                        // Who has stopped waiting handed nothing out, and has a line too many.
                        let _ = waiting.send(Ok(()));
                    }
                    return;
                }
                Err(error) => self.fall(&error),
            }
        }
        self.keep(batch);
    }

    /// Writes entries, after the line about a gap where there was one.
    fn append(&mut self, batch: &[PendingEntry], resumed: bool) -> std::io::Result<()> {
        let mut lines = Vec::with_capacity(batch.len() * 320);
        let mut seq = self.seq;
        let lost = self.health.lost.load(Ordering::Acquire);
        if resumed || lost > 0 {
            seq += 1;
            self.scribe.write_gap(lost, self.clock.now(), seq, &mut lines);
        }
        for told in batch {
            seq += 1;
            self.scribe.write(&told.entry, told.at, seq, &mut lines);
        }
        self.file.append(&lines)?;
        self.seq = seq;
        if lost > 0 {
            self.health.lost.fetch_sub(lost, Ordering::AcqRel);
            self.health.set(true);
        }
        self.health.metrics.process.audit_entries("written", batch.len());
        Ok(())
    }

    /// Nothing can be written: what has happened is kept, who waits is refused.
    fn keep(&mut self, batch: Vec<PendingEntry>) {
        let Some(trouble) = &mut self.trouble else { return };
        for told in batch {
            match told.waiting {
                Some(waiting) => {
                    self.health.metrics.process.audit_entries("refused", 1);
                    let _ = waiting.send(Err(NotRecorded));
                }
                None if trouble.kept.len() < KEPT => trouble.kept.push(told),
                None => self.health.lose(),
            }
        }
    }

    fn fall(&mut self, error: &std::io::Error) {
        if self.trouble.is_none() {
            tracing::error!(%error, "the audit file cannot be written; it is tried again and again");
            self.trouble = Some(Trouble { kept: Vec::new(), tried_at: self.clock.now() });
        }
        self.health.set(false);
    }

    /// Tries to write again: that there was a gap, and what was kept.
    fn recover(&mut self) {
        let Some(mut trouble) = self.trouble.take() else { return };
        let mut resumed = true;
        while resumed || !trouble.kept.is_empty() {
            let now = trouble.kept.len().min(AT_ONCE);
            if self.append(&trouble.kept[..now], resumed).is_err() {
                trouble.tried_at = self.clock.now();
                self.trouble = Some(trouble);
                return self.health.set(false);
            }
            resumed = false;
            trouble.kept.drain(..now);
        }
        tracing::info!("the audit file can be written again");
        self.health.set(true);
    }
}
