//! This replica as a member of the fleet: it tells the others what it is, follows what operators have decided (which key
//! seals, whether renewal is paused), takes part in re-sealing and lets one count for all.
//!
//! Nothing a reader or a renewal needs depends on it: where the store cannot be asked, what was heard last holds.

mod census;
mod exchange;
mod proof;
mod reseal;
mod standing;

use std::sync::Arc;
use std::time::Duration;

use tokenvault_core::ids::ReplicaId;
use tokenvault_core::ports::{ReplicaStatus, StoreError};
use tokenvault_core::time::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::parts::Parts;
use crate::reload;
use crate::telemetry::metrics::{Metrics, Reloaded};
use crate::telemetry::store::not_done;

pub use exchange::ExchangeRights;
pub use standing::{InHand, Stand, Standing, Unwritten};

/// How often it asks until it was answered once.
const IMPATIENT: Duration = Duration::from_millis(200);
/// How long to try to say good-bye.
const FAREWELL: Duration = Duration::from_millis(500);

/// How fast the fleet moves.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How often a replica tells of itself, asks what was decided, and looks for work.
    pub rhythm: Duration,
    /// A replica that was not heard of for so long is not alive.
    pub keep: Duration,
    /// How long a re-sealing is taken at a time: much longer than a page of it takes, held records included.
    pub lease: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { rhythm: Duration::from_secs(2), keep: Duration::from_secs(15), lease: Duration::from_mins(1) }
    }
}

/// This replica as a member of the fleet.
#[derive(Clone)]
pub struct Member {
    parts: Parts,
    metrics: Arc<Metrics>,
    id: ReplicaId,
    schema: u32,
    started_at: Timestamp,
    pace: Pace,
}

impl Member {
    /// A member that the others have not heard of yet.
    pub fn new(parts: Parts, metrics: Arc<Metrics>, id: ReplicaId, schema: u32) -> Self {
        let started_at = parts.clock.now();
        Self { parts, metrics, id, schema, started_at, pace: Pace::default() }
    }

    /// At another pace.
    #[must_use]
    pub fn at(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// Follows what was decided.
    pub async fn hear(&self) -> Result<(), StoreError> {
        let (fleet, now) = (&self.parts.fleet, self.parts.clock.now());
        self.parts.standing.hear_schema(fleet.schema().await?);
        self.parts.keyring.hear_checks(fleet.key_checks().await?);
        if let Some(key) = fleet.promoted_key().await? {
            self.parts.keyring.follow(&key);
        }
        self.parts.standing.hear_pause(fleet.paused().await?.map(|pause| pause.until));
        self.metrics.set_paused(self.parts.standing.is_paused(now));
        Ok(())
    }

    /// Tells the others what this replica is. Follows first, so that what it tells is what it does.
    async fn announce(&self) -> Result<(), StoreError> {
        self.hear().await?;
        let keyring = self.parts.keyring.current();
        let status = ReplicaStatus {
            id: self.id.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            schema: self.schema,
            started_at: self.started_at,
            seen_at: Timestamp::default(),
            primary: keyring.primary().to_owned(),
            keys: self.parts.keyring.checks(),
            wrong: self.parts.keyring.wrong().into_keys().collect(),
            renewing: self.parts.standing.renewing(),
            clock_ahead_ms: self.parts.clock.ahead_of_store_ms(),
        };
        self.parts.fleet.announce(&status, self.pace.keep).await
    }

    /// Keeps at it until told to stop, then says good-bye.
    pub async fn run(self, stop: CancellationToken) {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.keep_up() => {}
            () = self.prove_keys() => {}
            () = self.reseal_what_is_asked() => {}
            () = self.count() => {}
        }
        drop(tokio::time::timeout(FAREWELL, self.parts.fleet.depart(&self.id)).await);
    }

    fn show_keys(&self) {
        let (ring, wrong) = (self.parts.keyring.current(), self.parts.keyring.wrong());
        self.metrics.set_wrong_keys(ring.ids().map(|id| (id, wrong.contains_key(id))));
    }

    async fn keep_up(&self) {
        let mut heard = false;
        let (mut silent, mut full) = (false, false);
        let mut refused: Option<String> = None;
        loop {
            let keyring = Arc::clone(&self.parts.keyring);
            // Where it panicked, the error would tell what it said.
            if tokio::task::spawn_blocking(move || keyring.refresh()).await.is_err() {
                tracing::error!("the look at the keyring failed");
            }
            let problem = self.parts.keyring.problem();
            self.metrics.set_keyring_refused(problem.is_some());
            if let Some(problem) = problem.as_deref().filter(|_| refused.is_none()) {
                self.parts.journal.record(reload::refused(Reloaded::Keyring, problem));
            }
            refused = problem;
            let told = self.announce().await;
            self.show_keys();
            match (&told, silent) {
                (Err(error), false) => not_done(error, "the other replicas cannot be told of this one"),
                (Ok(()), true) => tracing::info!("the other replicas are told of this one again"),
                _ => {}
            }
            silent = told.is_err();
            let writable = self.parts.store.ready().await;
            if full && writable.is_ok() {
                tracing::info!("the store takes writes again");
            }
            full = writable.is_err_and(|error| error.is_refusal_to_write());
            self.metrics.set_store_refuses_writes(full);
            heard |= told.is_ok();
            self.metrics.set_paused(self.parts.standing.is_paused(self.parts.clock.now()));
            let untried = self.parts.keyring.unvouched().into_values().any(|untried| untried);
            tokio::time::sleep(if heard && !untried { self.pace.rhythm } else { IMPATIENT }).await;
        }
    }
}
