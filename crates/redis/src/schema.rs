//! The schema's number, and the lock under which it is moved on.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokenvault_core::ports::StoreError;

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

    /// Moves the schema's number on by one, to the newest; whether it is there now.
    pub async fn advance_schema(&self, from: u32) -> Result<bool, StoreError> {
        let mut call = scripts::at(&scripts::ADVANCE, keys::SCHEMA);
        call.arg(from).arg((from + 1).min(SCHEMA));
        self.change(&call).await
    }
}
