//! All records together: a walk for operators' lists and for re-sealing, and the census.
//!
//! `SCAN` shows every key that is there from a walk's beginning to its end at least once, as long as the server keeps its
//! table; a restarted one has another. So a cursor carries the store's life, and one of an earlier life begins anew.

use std::time::Duration;

use async_trait::async_trait;
use redis::Pipeline;
use tokenvault_core::ids::Shard;
use tokenvault_core::ports::{Census, Filter, InventoryStore, LARGEST_PAGE, RecordPage, ServerStore, StoreError};
use tokenvault_core::record::Fields;

use crate::json::{json, parse};
use crate::keys;
use crate::link::{Query, Repeat};
use crate::records::stored;
use crate::store::RedisStore;
use crate::units::span;

/// Other keys lie between the records: at most so many steps are made for one page.
const STEPS: usize = 16;
/// Fewer keys are not asked for in one step.
const LEAST_STEP: usize = 16;
/// Records asked for in one go, so that a read never waits behind many.
const BATCH: usize = 64;
/// Keys looked at in one step of a census.
const CENSUS_STEP: usize = 512;

#[async_trait]
impl InventoryStore for RedisStore {
    async fn schema(&self) -> Result<u32, StoreError> {
        self.known_schema().await
    }

    async fn walk(&self, filter: &Filter, from: Option<&str>, count: usize) -> Result<RecordPage, StoreError> {
        let life = format!("{:016x}-", self.epoch().await?.0);
        let count = count.clamp(1, LARGEST_PAGE);
        let known = from.and_then(|from| from.strip_prefix(&life)).and_then(|cursor| cursor.parse().ok());
        let mut cursor: u64 = known.unwrap_or_default();
        let mut page = RecordPage { records: Vec::new(), unreadable: 0, next: None };
        for _ in 0..STEPS {
            let left = count.saturating_sub(page.records.len());
            let (next, names) = self.scan(cursor, left.max(LEAST_STEP)).await?;
            for names in names.chunks(BATCH) {
                self.show(names, filter, &mut page).await?;
            }
            cursor = next;
            if cursor == 0 || page.records.len() >= count {
                break;
            }
        }
        page.next = (cursor != 0).then(|| format!("{life}{cursor}"));
        Ok(page)
    }

    async fn estimate(&self) -> Result<u64, StoreError> {
        let mut count = Pipeline::new();
        for shard in Shard::all() {
            count.cmd("ZCARD").arg(keys::due(shard));
        }
        let counts: Vec<u64> = self.reads.all(&count).await?;
        Ok(counts.into_iter().sum())
    }

    async fn count_states(&self) -> Result<Census, StoreError> {
        let (mut census, mut cursor) = (Census::default(), 0);
        loop {
            let (next, names) = self.scan(cursor, CENSUS_STEP).await?;
            let mut load = Pipeline::new();
            for name in &names {
                load.cmd("HGET").arg(name).arg("state");
            }
            let states: Vec<Option<String>> = if names.is_empty() { Vec::new() } else { self.reads.all(&load).await? };
            states.iter().flatten().for_each(|state| census.count(state));
            cursor = next;
            if cursor == 0 {
                return Ok(census);
            }
        }
    }

    async fn share_census(&self, census: &Census, keep: Duration) -> Result<(), StoreError> {
        let mut set = redis::cmd("SET");
        set.arg(keys::CENSUS).arg(json(census)).arg("PX").arg(span(keep).max(1));
        self.writes.call::<()>(Query::Command(&set), Repeat::Once, None).await.map(drop)
    }

    async fn census(&self) -> Result<Option<Census>, StoreError> {
        let text: Option<String> = self.reads.call(redis::cmd("GET").arg(keys::CENSUS)).await?;
        text.map(|text| parse(&text, "the census")).transpose()
    }
}

impl RedisStore {
    async fn scan(&self, cursor: u64, count: usize) -> Result<(u64, Vec<String>), StoreError> {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(keys::ANY_JOB).arg("COUNT").arg(count);
        self.reads.call(&scan).await
    }

    async fn show(&self, names: &[String], filter: &Filter, page: &mut RecordPage) -> Result<(), StoreError> {
        let mut load = Pipeline::new();
        for name in names {
            load.cmd("HGETALL").arg(name);
        }
        let records: Vec<Fields> = self.reads.all(&load).await?;
        for (name, fields) in names.iter().zip(records) {
            if fields.is_empty() {
                continue; // it has expired
            }
            match stored(fields) {
                Ok(stored) if keys::job(&stored.record.key) != *name => page.unreadable += 1,
                Ok(stored) if filter.admits(&stored) => page.records.push(stored),
                Ok(_) => {}
                Err(_) => page.unreadable += 1,
            }
        }
        Ok(())
    }
}
