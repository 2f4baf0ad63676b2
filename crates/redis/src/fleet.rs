//! What replicas and operators tell each other: who is alive, which key seals, a pause, a re-sealing, events.
//!
//! All of it carries one hash tag, so that each script finds what it compares on one node of a cluster.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use tokenvault_core::ids::ReplicaId;
use tokenvault_core::ports::{
    Event, EventStore, JOINING, KeyProof, KeyStore, Pause, PauseStore, Promoted, ReplicaStatus, ReplicaStore,
    Resealing, ResealingStore, StoreCause, StoreError, event_place,
};
use tokenvault_core::time::Timestamp;

use crate::error::unavailable;
use crate::json::{json, parse};
use crate::link::{Query, Repeat, ScriptCall};
use crate::store::RedisStore;
use crate::units::{millis, span};
use crate::{keys, scripts};

/// How many events are kept, more or less.
const EVENTS: usize = 10_000;
/// How long events are kept when nothing more happens.
const EVENTS_KEEP: Duration = Duration::from_hours(7 * 24);
/// How long a re-sealing is remembered after its last note.
const RESEALING_KEEP: Duration = Duration::from_hours(30 * 24);

/// What a replica tells, and that it leaves marks when it joins a session.
#[derive(Serialize)]
struct Announcement<'a> {
    #[serde(flatten)]
    status: &'a ReplicaStatus,
    joins: Marks,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Marks {
    Marked,
}

/// How that looks.
const LEAVES_MARKS: &str = r#""joins":"marked""#;

/// An entry of the stream of events.
type StreamEntry = (String, BTreeMap<String, String>);

fn status(told: &str) -> Result<ReplicaStatus, StoreError> {
    let what = "what a replica told of itself";
    let (seen_at, text) = told.split_once(' ').unwrap_or_default();
    let status: ReplicaStatus = parse(text, what)?;
    Ok(ReplicaStatus { seen_at: Timestamp::from_millis(seen_at.parse().unwrap_or_default()), ..status })
}

fn resealing(fields: &BTreeMap<String, String>) -> Result<Option<Resealing>, StoreError> {
    if fields.is_empty() {
        return Ok(None);
    }
    let read = || {
        let text = |name: &str| fields.get(name).cloned();
        let number = |name: &str| fields.get(name)?.parse::<u64>().ok();
        let worker = || Some((ReplicaId::parse(text("worker")?).ok()?, Timestamp::from_millis(number("until")?)));
        Some(Resealing {
            key: text("key")?,
            started_at: Timestamp::from_millis(number("started")?),
            finished_at: number("finished").map(Timestamp::from_millis),
            total: number("total")?,
            seen: number("seen")?,
            resealed: number("resealed")?,
            failed: number("failed")?,
            cursor: text("cursor"),
            worker: worker(),
        })
    };
    read().map(Some).ok_or_else(|| StoreError::Corrupt("the re-sealing cannot be read".to_owned()))
}

fn counts(resealing: &Resealing) -> [(&'static str, u64); 3] {
    [("seen", resealing.seen), ("resealed", resealing.resealed), ("failed", resealing.failed)]
}

impl RedisStore {
    async fn run<T: redis::FromRedisValue + Send>(&self, script: &ScriptCall<'_>) -> Result<T, StoreError> {
        self.servers.write(Query::Script(script), Repeat::Once, None).await.map(|sent| sent.answer)
    }
}

#[async_trait]
impl ReplicaStore for RedisStore {
    async fn announce(&self, status: &ReplicaStatus, keep: Duration) -> Result<(), StoreError> {
        let mut call = scripts::at(&scripts::ANNOUNCE, keys::REPLICAS);
        call.key(keys::REPLICAS_ALIVE).key(keys::OLDER_REPLICAS).arg(status.id.as_str());
        call.arg(json(&Announcement { status, joins: Marks::Marked }))
            .arg(span(keep))
            .arg(LEAVES_MARKS)
            .arg(span(JOINING));
        self.older_replicas.store(self.run(&call).await?, Ordering::Relaxed);
        Ok(())
    }

    async fn depart(&self, replica: &ReplicaId) -> Result<(), StoreError> {
        let mut call = scripts::at(&scripts::DEPART, keys::REPLICAS);
        call.key(keys::REPLICAS_ALIVE).arg(replica.as_str());
        self.run::<i64>(&call).await.map(drop)
    }

    async fn replicas(&self) -> Result<Vec<ReplicaStatus>, StoreError> {
        let mut call = scripts::at(&scripts::LIVE_REPLICAS, keys::REPLICAS);
        call.key(keys::REPLICAS_ALIVE);
        let told: Vec<String> = self.run(&call).await?;
        told.iter().map(|told| status(told)).collect()
    }
}

#[async_trait]
impl KeyStore for RedisStore {
    async fn promoted_key(&self) -> Result<Option<String>, StoreError> {
        self.servers.read(redis::cmd("GET").arg(keys::PROMOTED)).await
    }

    async fn key_checks(&self) -> Result<BTreeMap<String, String>, StoreError> {
        self.servers.read(redis::cmd("HGETALL").arg(keys::KEY_CHECKS)).await
    }

    async fn vouch_for_key(&self, id: &str, check: &str, proof: KeyProof) -> Result<String, StoreError> {
        let mut call = scripts::at(&scripts::VOUCH_FOR_KEY, keys::REPLICAS);
        call.key(keys::REPLICAS_ALIVE).key(keys::KEY_CHECKS).arg(id).arg(check);
        call.arg(if proof == KeyProof::Unused { "unused" } else { "opened" });
        self.change(&call).await
    }

    async fn promote(&self, key: &str) -> Result<Promoted, StoreError> {
        let mut call = scripts::at(&scripts::PROMOTE, keys::REPLICAS);
        call.key(keys::REPLICAS_ALIVE).key(keys::PROMOTED).key(keys::KEY_CHECKS).arg(key);
        let answer: Vec<String> = self.change(&call).await?;
        let (verdict, replicas) = answer.split_first().ok_or_else(|| unavailable(StoreCause::Protocol))?;
        let replicas = || replicas.iter().filter_map(|id| ReplicaId::parse(id.as_str()).ok()).collect();
        match verdict.as_str() {
            "done" => Ok(Promoted::Done),
            "already" => Ok(Promoted::Already),
            "missing" => Ok(Promoted::Missing(replicas())),
            "differs" => Ok(Promoted::Differs(replicas())),
            _ => Err(unavailable(StoreCause::Protocol)),
        }
    }
}

#[async_trait]
impl PauseStore for RedisStore {
    async fn pause(&self, pause: &Pause) -> Result<(), StoreError> {
        let mut call = scripts::at(&scripts::KEEP_UNTIL, keys::PAUSE);
        call.arg(json(pause)).arg(millis(pause.until));
        self.change::<i64>(&call).await.map(drop)
    }

    async fn resume(&self) -> Result<bool, StoreError> {
        let mut delete = redis::cmd("DEL");
        delete.arg(keys::PAUSE);
        self.servers.write(Query::Command(&delete), Repeat::Once, None).await.map(|sent| sent.answer)
    }

    async fn paused(&self) -> Result<Option<Pause>, StoreError> {
        let text: Option<String> = self.servers.read(redis::cmd("GET").arg(keys::PAUSE)).await?;
        text.map(|text| parse(&text, "the pause")).transpose()
    }
}

#[async_trait]
impl ResealingStore for RedisStore {
    async fn start_resealing(&self, asked: &Resealing) -> Result<Resealing, StoreError> {
        let mut call = scripts::at(&scripts::START_RESEALING, keys::RESEALING);
        call.arg(asked.key.as_str()).arg(span(RESEALING_KEEP));
        call.arg("key").arg(asked.key.as_str()).arg("started").arg(millis(asked.started_at));
        call.arg("total").arg(asked.total);
        for (name, count) in counts(asked) {
            call.arg(name).arg(count);
        }
        let fields = self.change(&call).await?;
        resealing(&fields)?.ok_or_else(|| unavailable(StoreCause::Protocol))
    }

    async fn resealing(&self) -> Result<Option<Resealing>, StoreError> {
        resealing(&self.servers.read(redis::cmd("HGETALL").arg(keys::RESEALING)).await?)
    }

    async fn take_resealing(
        &self,
        replica: &ReplicaId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Resealing>, StoreError> {
        let mut call = scripts::at(&scripts::TAKE_RESEALING, keys::RESEALING);
        call.arg(replica.as_str()).arg(millis(now)).arg(millis(until));
        resealing(&self.run(&call).await?)
    }

    async fn note_resealing(&self, replica: &ReplicaId, progress: &Resealing) -> Result<bool, StoreError> {
        let mut call = scripts::at(&scripts::NOTE_RESEALING, keys::RESEALING);
        call.arg(replica.as_str()).arg(progress.key.as_str()).arg(millis(progress.started_at));
        call.arg(span(RESEALING_KEEP));
        call.arg(progress.finished_at.map(|at| millis(at).to_string()).unwrap_or_default());
        call.arg(progress.cursor.as_deref().unwrap_or_default());
        for (name, count) in counts(progress) {
            call.arg(name).arg(count);
        }
        self.run(&call).await
    }
}

#[async_trait]
impl EventStore for RedisStore {
    async fn publish(&self, event: &Event) -> Result<(), StoreError> {
        let mut call = scripts::at(&scripts::PUBLISH, keys::EVENTS);
        call.arg(json(event)).arg(EVENTS).arg(span(EVENTS_KEEP));
        // Sent twice, it would be told twice.
        self.servers.write::<i64>(Query::Script(&call), Repeat::Never, None).await.map(drop)
    }

    async fn events(&self, after: Option<&str>, count: usize) -> Result<Vec<Event>, StoreError> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let place = after.and_then(event_place);
        let mut range = redis::cmd(if place.is_some() { "XRANGE" } else { "XREVRANGE" });
        range.arg(keys::EVENTS);
        match place {
            Some((time, number)) => range.arg(format!("({time}-{number}")).arg("+"),
            None => range.arg("+").arg("-"),
        };
        let mut entries: Vec<StreamEntry> = self.servers.read(range.arg("COUNT").arg(count)).await?;
        if place.is_none() {
            entries.reverse();
        }
        let event = |(id, fields): StreamEntry| {
            let event: Event = parse(fields.get("event").map_or("", String::as_str), "an event")?;
            Ok(Event { id, ..event })
        };
        entries.into_iter().map(event).collect()
    }
}
