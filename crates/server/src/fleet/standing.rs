//! What this replica knows of the fleet and of the records it has seen, for those who ask often.
//!
//! Nothing is taken back that was learnt here once: a store that suddenly knows less is not believed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use parking_lot::RwLock;
use tokenvault_core::ids::{Generation, JobKey};
use tokenvault_core::record::Record;
use tokenvault_core::time::Timestamp;
use tokio::sync::watch;

use super::exchange::ExchangeRights;

/// The first schema in which every record's terms are vouched for.
const WITH_TERMS: u32 = 2;
/// The first schema in which the identity provider's own id of the user is one of the terms. A replica that does not know it
/// would take such terms for forged.
const WITH_ACCOUNTS: u32 = 3;
/// What was seen is kept in so many parts, that readers do not wait for each other.
const PARTS: usize = 16;
/// So many jobs' generations are remembered in each; then it is begun anew.
const MOST_SEEN: usize = 100_000 / PARTS;

type Seen = HashMap<JobKey, Stand>;

/// How far a job is: which of the jobs of its id it is, by when that one began, and at which generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stand(Timestamp, Generation);

impl Stand {
    /// Where a record stands.
    pub fn of(record: &Record) -> Self {
        Self(record.created_at, record.generation)
    }
}

/// Shared by the member of the fleet, which hears, and by the use cases and the reconciler, which ask.
#[derive(Debug, Default)]
pub struct Standing {
    paused_until: AtomicU64,
    renewing: AtomicU32,
    /// Spends that were sent, or answered, and are not in the store yet.
    spends: watch::Sender<usize>,
    schema: AtomicU32,
    exchange: ExchangeRights,
    seen: [RwLock<Seen>; PARTS],
}

/// A renewal in hand, as long as this lives.
pub struct InHand<'a>(&'a Standing);

/// A spend whose answer is not in the store yet, as long as this lives.
pub struct Unwritten<'a>(&'a Standing);

impl Standing {
    /// Hears until when renewal is paused; `None` where it is not.
    pub fn hear_pause(&self, until: Option<Timestamp>) {
        self.paused_until.store(until.map_or(0, Timestamp::as_millis), Ordering::Relaxed);
    }

    /// Whether nothing is to be claimed now. A pause ends at its limit even where the store cannot be asked.
    pub fn is_paused(&self, now: Timestamp) -> bool {
        now.as_millis() < self.paused_until.load(Ordering::Relaxed)
    }

    /// Takes a renewal in hand.
    pub fn take_in_hand(&self) -> InHand<'_> {
        self.renewing.fetch_add(1, Ordering::Relaxed);
        InHand(self)
    }

    /// How many renewals are in hand.
    pub fn renewing(&self) -> u32 {
        self.renewing.load(Ordering::Relaxed)
    }

    /// Takes a spend in hand: what Keycloak answers may be the only live refresh token there is.
    pub fn take_spend(&self) -> Unwritten<'_> {
        self.spends.send_modify(|spends| *spends += 1);
        Unwritten(self)
    }

    /// How many spends are in hand.
    pub fn spends(&self) -> usize {
        *self.spends.borrow()
    }

    /// Until no spend is in hand.
    pub async fn until_spends_are_written(&self) {
        let mut spends = self.spends.subscribe();
        // Its sender lives as long as this.
        let _ = spends.wait_for(|spends| *spends == 0).await;
    }

    /// Which clients may exchange.
    pub fn exchange(&self) -> &ExchangeRights {
        &self.exchange
    }

    /// Hears the store's schema.
    pub fn hear_schema(&self, schema: u32) {
        self.schema.fetch_max(schema, Ordering::Relaxed);
    }

    /// Whether a record without a seal on its terms was tampered with.
    pub fn demands_terms(&self) -> bool {
        self.schema.load(Ordering::Relaxed) >= WITH_TERMS
    }

    /// Whether a record may say the identity provider's own id of its user.
    pub fn keeps_accounts(&self) -> bool {
        self.schema.load(Ordering::Relaxed) >= WITH_ACCOUNTS
    }

    /// Remembers at which generation a record stands, unless it was seen at a newer one.
    pub fn note(&self, record: &Record) {
        let stands = Stand::of(record);
        let part = self.part(&record.key);
        // Most reads find what the one before them left.
        if part.read().get(&record.key).is_some_and(|newest| *newest >= stands) {
            return;
        }
        let mut seen = part.write();
        if seen.len() >= MOST_SEEN {
            seen.clear();
        }
        let newest = seen.entry(record.key.clone()).or_insert(stands);
        *newest = stands.max(*newest);
    }

    /// Where a job stood that was seen here, if that is further than this record of it.
    pub fn further_than(&self, record: &Record) -> Option<Stand> {
        let seen = self.part(&record.key).read().get(&record.key).copied();
        seen.filter(|newest| *newest > Stand::of(record))
    }

    fn part(&self, key: &JobKey) -> &RwLock<Seen> {
        let sum =
            key.job.as_str().bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
        &self.seen[sum % PARTS]
    }
}

impl Drop for Unwritten<'_> {
    fn drop(&mut self) {
        self.0.spends.send_modify(|spends| *spends -= 1);
    }
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        self.0.renewing.fetch_sub(1, Ordering::Relaxed);
    }
}
