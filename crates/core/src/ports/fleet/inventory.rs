//! All records together: their schema, a walk over them for operators' lists and for re-sealing, and how many there are.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::super::error::StoreError;
use super::super::store::Stored;
use crate::ids::{TenantId, UserId};
use crate::time::Timestamp;

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
pub struct RecordPage {
    /// Records; one may come twice in a walk, and one that came or went meanwhile may or may not be there.
    pub records: Vec<Stored>,
    /// Records that cannot be read.
    pub unreadable: u64,
    /// Where to go on; `None` at the end.
    pub next: Option<String>,
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
pub const NEWEST_SCHEMA: u32 = 4;

/// The most records looked at for one page of a walk.
pub const LARGEST_PAGE: usize = 1_000;

/// Tells about all records together. All methods are safe to repeat.
#[async_trait]
pub trait InventoryStore: Send + Sync {
    /// The number of the store's schema.
    async fn schema(&self) -> Result<u32, StoreError>;

    /// Shows records in no order, about `count` at a time (up to [`LARGEST_PAGE`]), from where the last page ended. A page
    /// may be short or empty though others follow. Where `from` is not what this store answered in its present life, the
    /// walk begins anew.
    async fn walk(&self, filter: &Filter, from: Option<&str>, count: usize) -> Result<RecordPage, StoreError>;

    /// How many records there are about that have not ended.
    async fn estimate(&self) -> Result<u64, StoreError>;

    /// Counts the records by their state. Looks at all of them: for one replica, now and then. Does not say when.
    async fn count_states(&self) -> Result<Census, StoreError>;

    /// Lets the other replicas know what was counted, for as long as `keep`.
    async fn share_census(&self, census: &Census, keep: Duration) -> Result<(), StoreError>;

    /// What was counted last, unless that is too long ago.
    async fn census(&self) -> Result<Option<Census>, StoreError>;
}
