//! All records together: a walk for operators' lists and for re-sealing, and the census.
//!
//! `SCAN` shows every key that is there from a walk's beginning to its end at least once, as long as the server keeps its
//! table; a restarted one has another. So a cursor carries the store's life, and one of an earlier life begins anew. In a cluster
//! the servers are walked one after the other, and records that move between them meanwhile may be shown twice or not at all: what
//! must see every record walks once more.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use redis::Pipeline;
use tokenvault_core::ids::Shard;
use tokenvault_core::ports::{Census, Filter, InventoryStore, LARGEST_PAGE, RecordPage, ServerStore, StoreError};
use tokenvault_core::record::Fields;

use crate::json::{json, parse};
use crate::keys;
use crate::link::{Node, Query, Repeat};
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

/// Where a walk is: at which of the servers, and at which cursor of its.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Place {
    server: usize,
    cursor: u64,
}

impl Place {
    /// Without a server it is the first, as where there is one.
    fn parse(text: &str) -> Option<Self> {
        match text.split_once('.') {
            Some((server, cursor)) => Some(Self { server: server.parse().ok()?, cursor: cursor.parse().ok()? }),
            None => Some(Self { server: 0, cursor: text.parse().ok()? }),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.server {
            0 => write!(f, "{}", self.cursor),
            server => write!(f, "{server}.{}", self.cursor),
        }
    }
}

#[async_trait]
impl InventoryStore for RedisStore {
    async fn schema(&self) -> Result<u32, StoreError> {
        self.known_schema().await
    }

    async fn walk(&self, filter: &Filter, from: Option<&str>, count: usize) -> Result<RecordPage, StoreError> {
        let life = format!("{:016x}-", self.epoch().await?.0);
        let count = count.clamp(1, LARGEST_PAGE);
        let known = from.and_then(|from| from.strip_prefix(&life)).and_then(Place::parse);
        let mut place = known.unwrap_or_default();
        let servers = self.servers.all().await?;
        let mut page = RecordPage { records: Vec::new(), unreadable: 0, next: None };
        for _ in 0..STEPS * servers.len() {
            let Some(node) = servers.get(place.server) else { break };
            let left = count.saturating_sub(page.records.len());
            let (next, names) = self.scan(node, place.cursor, left.max(LEAST_STEP)).await?;
            for names in names.chunks(BATCH) {
                self.show(names, filter, &mut page).await?;
            }
            let server = if next == 0 { place.server + 1 } else { place.server };
            place = Place { server, cursor: next };
            if page.records.len() >= count {
                break;
            }
        }
        page.next = (place.server < servers.len()).then(|| format!("{life}{place}"));
        Ok(page)
    }

    async fn estimate(&self) -> Result<u64, StoreError> {
        let mut count = Pipeline::new();
        for shard in Shard::all() {
            count.cmd("ZCARD").arg(keys::due(shard));
        }
        let counts: Vec<u64> = self.servers.read_all(&count).await?;
        Ok(counts.into_iter().sum())
    }

    async fn count_states(&self) -> Result<Census, StoreError> {
        let mut census = Census::default();
        for node in self.servers.all().await? {
            let mut cursor = 0;
            loop {
                let (next, names) = self.scan(&node, cursor, CENSUS_STEP).await?;
                let mut load = Pipeline::new();
                for name in &names {
                    load.cmd("HGET").arg(name).arg("state");
                }
                let states: Vec<Option<String>> =
                    if names.is_empty() { Vec::new() } else { self.servers.read_all(&load).await? };
                states.iter().flatten().for_each(|state| census.count(state));
                cursor = next;
                if cursor == 0 {
                    break;
                }
            }
        }
        Ok(census)
    }

    async fn share_census(&self, census: &Census, keep: Duration) -> Result<(), StoreError> {
        let mut set = redis::cmd("SET");
        set.arg(keys::CENSUS).arg(json(census)).arg("PX").arg(span(keep).max(1));
        self.servers.write::<()>(Query::Command(&set), Repeat::Once, None).await.map(drop)
    }

    async fn census(&self) -> Result<Option<Census>, StoreError> {
        let text: Option<String> = self.servers.read(redis::cmd("GET").arg(keys::CENSUS)).await?;
        text.map(|text| parse(&text, "the census")).transpose()
    }
}

impl RedisStore {
    async fn scan(&self, node: &Node, cursor: u64, count: usize) -> Result<(u64, Vec<String>), StoreError> {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(keys::ANY_JOB).arg("COUNT").arg(count);
        self.servers.read_of(node, &scan).await
    }

    async fn show(&self, names: &[String], filter: &Filter, page: &mut RecordPage) -> Result<(), StoreError> {
        let mut load = Pipeline::new();
        for name in names {
            load.cmd("HGETALL").arg(name);
        }
        let records: Vec<Fields> = self.servers.read_all(&load).await?;
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
