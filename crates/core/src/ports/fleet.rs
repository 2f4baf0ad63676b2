//! What replicas and operators tell each other through the store: who is alive and holds which keys, which key seals,
//! whether renewal is paused, how far a re-sealing has come, and what happened lately. And the walk over all records that
//! operators' lists and re-sealing need.
//!
//! Nothing here holds a token or a key: a key is known by its id, and told from another of that id by a check value.
//! Time is the store's own, except where a re-sealing is taken up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{StoreError, Stored};
use crate::ids::{JobId, ReplicaId, TenantId, UserId};
use crate::time::Timestamp;

/// What a replica tells about itself every few seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaStatus {
    /// Its name.
    pub id: ReplicaId,
    /// The version it runs.
    pub version: String,
    /// The newest schema it knows.
    pub schema: u32,
    /// When it started.
    pub started_at: Timestamp,
    /// When it told this; set by the store.
    pub seen_at: Timestamp,
    /// The id of the key it seals with.
    pub primary: String,
    /// The ids of the keys it uses, each with what tells it from another key of the same id
    /// ([`Keyring::check`](crate::seal::Keyring::check)).
    pub keys: BTreeMap<String, String>,
    /// The ids of keys in its file that are not the ones of those ids; it uses none of them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub wrong: BTreeSet<String>,
    /// Renewals it has in hand.
    pub renewing: u32,
    /// How far its time is ahead of the store's clock, which it approaches ([`Clock`](super::Clock)).
    #[serde(default)]
    pub clock_ahead_ms: i64,
}

/// Renewal stands still until a moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Since when.
    pub since: Timestamp,
    /// Until when at most.
    pub until: Timestamp,
    /// The operator who asked for it.
    pub by: String,
    /// Why, in the operator's words.
    pub reason: String,
}

/// What became of a promotion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Promoted {
    /// The key seals from now on.
    Done,
    /// It was the primary already.
    Already,
    /// These live replicas do not hold the key. None are named where no replica is alive.
    Missing(Vec<ReplicaId>),
    /// All of these, the live replicas, hold a key of this id, but not all the same one, or not the one the store knows.
    Differs(Vec<ReplicaId>),
}

/// What a replica goes by when it vouches for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyProof {
    /// The key has opened something that is stored under its id.
    Opened,
    /// Nothing is stored under its id.
    Unused,
}

/// A re-sealing of all records with the primary key. It can be taken up by any replica where another one left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resealing {
    /// The key that everything is sealed with in the end.
    pub key: String,
    /// When it was asked for.
    pub started_at: Timestamp,
    /// When the last record was done.
    pub finished_at: Option<Timestamp>,
    /// How many records there were about when it started, ended ones left out.
    pub total: u64,
    /// Records looked at, ended ones left out.
    pub seen: u64,
    /// Records that were sealed anew. Those that another replica had done between its last note and its end are not
    /// among them.
    pub resealed: u64,
    /// Records that could not be opened; they are left as they are.
    pub failed: u64,
    /// Where to go on: what [`Fleet::walk`] answered last.
    pub cursor: Option<String>,
    /// Who is at it, and until when that holds.
    pub worker: Option<(ReplicaId, Timestamp)>,
}

/// Which records a walk is to show. What is not given does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this tenant.
    pub tenant: Option<TenantId>,
    /// Of this user.
    pub user: Option<UserId>,
    /// In this state, by its code.
    pub state: Option<&'static str>,
    /// Whose access token expires before this moment.
    pub expiring_before: Option<Timestamp>,
}

impl Filter {
    /// Whether a record is to be shown.
    pub fn admits(&self, stored: &Stored) -> bool {
        let record = &stored.record;
        let expires = record.pair.as_ref().map(|pair| pair.access_expires_at);
        self.tenant.as_ref().is_none_or(|tenant| *tenant == record.key.tenant)
            && self.user.as_ref().is_none_or(|user| *user == record.user)
            && self.state.is_none_or(|state| state == record.state.code())
            && self.expiring_before.is_none_or(|moment| expires.is_some_and(|expires| expires < moment))
    }
}

/// Part of a walk.
#[derive(Debug)]
pub struct Page {
    /// Records; one may come twice in a walk, and one that came or went meanwhile may or may not be there.
    pub records: Vec<Stored>,
    /// Records that cannot be read.
    pub unreadable: u64,
    /// Where to go on; `None` at the end.
    pub next: Option<String>,
}

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

/// How many records are in each state that has not ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Census {
    /// Renewed and served.
    pub active: u64,
    /// Waiting for the user or the administrator.
    pub suspended: u64,
    /// Released, to be revoked at the identity provider still.
    pub releasing: u64,
    /// When it was begun to count them; an older replica does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted_at: Option<Timestamp>,
}

impl Census {
    /// How many there are in all.
    pub fn total(&self) -> u64 {
        self.active + self.suspended + self.releasing
    }

    /// Counts one more record, by its state's code ([`State::code`](crate::record::State::code)).
    pub fn count(&mut self, state: &str) {
        match state {
            "active" => self.active += 1,
            "suspended" => self.suspended += 1,
            "releasing" => self.releasing += 1,
            _ => {}
        }
    }
}

/// The schema in which every record's terms are vouched for.
pub const NEWEST_SCHEMA: u32 = 3;

/// The most records looked at for one page of a walk.
pub const LARGEST_PAGE: usize = 1_000;

/// What is told through the store. All methods are safe to repeat.
#[async_trait]
pub trait Fleet: Send + Sync {
    /// Tells what this replica is; forgotten after `keep` unless told again.
    async fn announce(&self, status: &ReplicaStatus, keep: Duration) -> Result<(), StoreError>;

    /// Forgets a replica that stops.
    async fn depart(&self, replica: &ReplicaId) -> Result<(), StoreError>;

    /// The number of the store's schema.
    async fn schema(&self) -> Result<u32, StoreError>;

    /// The live replicas, by name.
    async fn replicas(&self) -> Result<Vec<ReplicaStatus>, StoreError>;

    /// The key that was promoted, if one ever was; before that each replica seals with its file's primary.
    async fn promoted_key(&self) -> Result<Option<String>, StoreError>;

    /// The check value of the key of each id, as far as somebody has vouched for one.
    async fn key_checks(&self) -> Result<BTreeMap<String, String>, StoreError>;

    /// Vouches for the key of an id, unless somebody has vouched for one before; compares and sets in one step, and never
    /// changes what is there. A key that was not used yet is not vouched for while a live replica holds another one of its
    /// id: one of an older version seals without asking. Answers with the check value that stands.
    async fn vouch_for_key(&self, id: &str, check: &str, proof: KeyProof) -> Result<String, StoreError>;

    /// Makes a key the one that seals, if every live replica holds it, and the same one, and it is the one that was vouched
    /// for, if any was; compares and sets in one step.
    async fn promote(&self, key: &str) -> Result<Promoted, StoreError>;

    /// Stops renewal until the pause's end, or changes the pause there is.
    async fn pause(&self, pause: &Pause) -> Result<(), StoreError>;

    /// Goes on; whether there was a pause.
    async fn resume(&self) -> Result<bool, StoreError>;

    /// The pause, if one is in force.
    async fn paused(&self) -> Result<Option<Pause>, StoreError>;

    /// Asks for a re-sealing, unless one to the same key is under way; answers with the one that stands.
    async fn start_resealing(&self, resealing: &Resealing) -> Result<Resealing, StoreError>;

    /// The last re-sealing.
    async fn resealing(&self) -> Result<Option<Resealing>, StoreError>;

    /// Takes the work of a re-sealing up, or keeps it, until `until`: only where nobody else has it at `now`. Answers with
    /// where it stands.
    async fn take_resealing(
        &self,
        replica: &ReplicaId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Resealing>, StoreError>;

    /// Notes how far it has come; `false` if somebody else has the work, or it is another one, by now. Who is at it is
    /// not changed.
    async fn note_resealing(&self, replica: &ReplicaId, progress: &Resealing) -> Result<bool, StoreError>;

    /// Shows records in no order, about `count` at a time (up to [`LARGEST_PAGE`]), from where the last page ended. A page
    /// may be short or empty though others follow. Where `from` is not what this store answered in its present life, the
    /// walk begins anew.
    async fn walk(&self, filter: &Filter, from: Option<&str>, count: usize) -> Result<Page, StoreError>;

    /// How many records there are about that have not ended.
    async fn estimate(&self) -> Result<u64, StoreError>;

    /// Counts the records by their state. Looks at all of them: for one replica, now and then. Does not say when.
    async fn count_states(&self) -> Result<Census, StoreError>;

    /// Lets the other replicas know what was counted, for as long as `keep`.
    async fn share_census(&self, census: &Census, keep: Duration) -> Result<(), StoreError>;

    /// What was counted last, unless that is too long ago.
    async fn census(&self) -> Result<Option<Census>, StoreError>;

    /// Tells what happened. The last ten thousand or so are kept; published twice, it is told twice.
    async fn publish(&self, event: &Event) -> Result<(), StoreError>;

    /// The first `count` that happened after an event; without one, or with one this store cannot have told, the last
    /// `count`. Oldest first.
    async fn events(&self, after: Option<&str>, count: usize) -> Result<Vec<Event>, StoreError>;
}
