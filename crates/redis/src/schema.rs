//! The schema's number, and the lock under which it is moved on.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokenvault_core::ids::{AttemptId, JobKey};
use tokenvault_core::ports::{JobStore as _, StoreError, Write, Written};
use tokenvault_core::record::{FieldsChange, NAMES, PACKED, Record, encode};

use crate::link::{Query, Repeat};
use crate::store::{OLDEST_SCHEMA, RedisStore, SCHEMA};
use crate::{keys, scripts};

impl RedisStore {
    /// A store that knows and writes no newer schema than this, as an older version would: what a migration must leave
    /// working while it runs.
    #[must_use]
    pub fn speaking(mut self, schema: u32) -> Self {
        self.speaks = schema;
        self
    }

    async fn found_schema(&self) -> Result<Option<String>, StoreError> {
        self.servers.read(redis::cmd("GET").arg(keys::SCHEMA)).await
    }

    /// The schema, which must be one that this store speaks. An empty database is of whichever schema finds it first.
    pub(crate) async fn known_schema(&self) -> Result<u32, StoreError> {
        let mut schema = self.found_schema().await?;
        if schema.is_none() {
            let mut set = redis::cmd("SET");
            set.arg(keys::SCHEMA).arg(self.speaks).arg("NX");
            let _ = self.servers.write::<Option<String>>(Query::Command(&set), Repeat::Once, None).await?;
            schema = self.found_schema().await?;
        }
        let found = schema.unwrap_or_default();
        let known = found.parse().ok().filter(|number| (OLDEST_SCHEMA..=self.speaks).contains(number));
        self.schema.fetch_max(known.unwrap_or_default(), Ordering::Relaxed);
        known.ok_or(StoreError::Schema { found, known: self.speaks })
    }

    /// Takes the lock under which the schema is moved on, or keeps it; whether it is `who`'s. It is free again after `keep`.
    pub async fn lock_migration(&self, who: &str, keep: Duration) -> Result<bool, StoreError> {
        let millis = u64::try_from(keep.as_millis()).unwrap_or(u64::MAX);
        let mut call = scripts::at(&scripts::LOCK, keys::MIGRATION);
        call.arg(who).arg(millis.max(1));
        self.servers.write(Query::Script(&call), Repeat::Once, None).await.map(|sent| sent.answer)
    }

    /// Gives that lock back.
    pub async fn unlock_migration(&self, who: &str) -> Result<(), StoreError> {
        let mut call = scripts::at(&scripts::UNLOCK, keys::MIGRATION);
        call.arg(who);
        self.servers.write::<i64>(Query::Script(&call), Repeat::Once, None).await.map(drop)
    }

    /// Notes that records may have to be packed, before the schema is moved on to the one that packs.
    pub async fn expect_unpacked(&self) -> Result<(), StoreError> {
        let mut set = redis::cmd("SET");
        set.arg(keys::UNPACKED).arg(1);
        self.servers.write::<()>(Query::Command(&set), Repeat::Once, None).await.map(drop)
    }

    /// Whether that was noted, and nobody has noted since that all are.
    pub async fn expects_unpacked(&self) -> Result<bool, StoreError> {
        self.servers.read(redis::cmd("EXISTS").arg(keys::UNPACKED)).await
    }

    /// Notes that all records are packed.
    pub async fn all_are_packed(&self) -> Result<(), StoreError> {
        self.remove(redis::cmd("DEL").arg(keys::UNPACKED)).await
    }

    /// Whether a record keeps as one field what schema 4 keeps so; a record that is not there does.
    pub async fn is_packed(&self, key: &JobKey) -> Result<bool, StoreError> {
        let mut ask = redis::cmd("HMGET");
        ask.arg(keys::job(key)).arg(PACKED).arg("state");
        let (packed, state): (Option<Vec<u8>>, Option<String>) = self.servers.read(&ask).await?;
        Ok(packed.is_some() || state.is_none())
    }

    /// Packs a record that stands as it was read, once this store has found the schema that does. Changes nothing else of it, and nothing of one that has ended.
    pub async fn pack(&self, before: &Record, attempt: AttemptId) -> Result<Written, StoreError> {
        let set = encode(before).into_iter().filter(|(name, _)| NAMES.contains(&name.as_str())).collect();
        let change = FieldsChange { set, remove: Vec::new() };
        let unchanged = Write::between(before, before, attempt).on_terms_of(before);
        self.write(&Write { change, ..unchanged }).await
    }

    /// Moves the schema's number on by one, to the newest; whether it is there now.
    pub async fn advance_schema(&self, from: u32) -> Result<bool, StoreError> {
        let mut call = scripts::at(&scripts::ADVANCE, keys::SCHEMA);
        call.arg(from).arg((from + 1).min(SCHEMA));
        self.change(&call).await
    }
}
