//! The records of jobs.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use redis::{Value, from_redis_value};
use tokenvault_core::ids::{AttemptId, Fence, Generation, JobId, JobKey, Shard};
use tokenvault_core::ports::{
    Claim, Claimed, Created, JobStore, Lease, StoreCause, StoreError, Stored, TermsGuard, Write, Written,
};
use tokenvault_core::record::{Fields, NAMES, PACKED, READ_FIELDS, ReadView, Record, decode, encode, pack, unpack};
use tokenvault_core::time::Timestamp;

use crate::error::unavailable;
use crate::link::{Query, Repeat, ScriptCall};
use crate::store::{RedisStore, Unreadable};
use crate::units::{ORPHAN_KEEP, millis, span};
use crate::{keys, scripts};

/// The field that schema 2 has brought.
const TERMS: &str = "terms";
/// The first schema that has it.
const TERMS_SINCE: u32 = 2;
const ACCOUNT: &str = "account";
const ACCOUNT_SINCE: u32 = 3;
/// The first schema that keeps whose a job is and who may read it as one field.
const PACKED_SINCE: u32 = 4;

/// How often the write of a spend's answer is made at most, until enough replicas have acknowledged it: it holds the only
/// live refresh token there is.
const INSIST: u32 = 10;

/// Said of a record that stands under another's name.
const MISPLACED: &str = "a stored record is not the one its key names";

/// What a claim answers for one record: its name, its fence, its due time and its fields.
type Row = (String, u64, String, Fields);

fn optional_millis(at: Option<Timestamp>) -> String {
    at.map(|at| millis(at).to_string()).unwrap_or_default()
}

fn text(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn field<T: std::str::FromStr>(fields: &Fields, name: &'static str) -> Result<Option<T>, StoreError> {
    let Some(value) = fields.get(name) else { return Ok(None) };
    let parsed = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    parsed.map(Some).ok_or_else(|| StoreError::Corrupt(format!("the stored field {name} is malformed")))
}

pub(crate) fn stored(mut fields: Fields) -> Result<Stored, StoreError> {
    let record = unpack(&mut fields).and_then(|()| decode(&fields));
    let record = record.map_err(|error| StoreError::Corrupt(error.to_string()))?;
    let fence = Fence(field(&fields, "fence")?.unwrap_or_default());
    let leased_until = field(&fields, "lease_until")?.map(Timestamp::from_millis);
    Ok(Stored { record, fence, leased_until })
}

#[async_trait]
impl JobStore for RedisStore {
    async fn load(&self, key: &JobKey) -> Result<Option<Stored>, StoreError> {
        let fields: Fields = self.servers.read(redis::cmd("HGETALL").arg(keys::job(key))).await?;
        if fields.is_empty() { Ok(None) } else { self.stored_as(key, fields).map(Some) }
    }

    /// One short reply. A server that was a primary a moment ago is believed when it shows a live job; anything else is asked for
    /// once more, of a server that says in the same breath that it is one.
    async fn read(&self, key: &JobKey) -> Result<Option<ReadView>, StoreError> {
        if !self.packs() {
            return self.read_whole(key).await;
        }
        let mut command = redis::cmd("HMGET");
        command.arg(keys::job(key)).arg(&READ_FIELDS[..]);
        let view = self.view_as(key, self.servers.read_trusting(&command).await?)?;
        match view {
            Some(view) if view.state.end().is_none() => Ok(Some(view)),
            _ => match self.view_as(key, self.servers.read(&command).await?)? {
                Some(view) => Ok(Some(view)),
                None => self.read_whole(key).await,
            },
        }
    }

    async fn create(
        &self,
        record: &Record,
        replaces: Option<Generation>,
        attempt: AttemptId,
    ) -> Result<Created, StoreError> {
        let mut call = scripts::at(&scripts::CREATE, keys::job(&record.key));
        call.key(keys::due(record.key.shard()))
            .arg(attempt.to_string())
            .arg(record.key.to_string())
            .arg(text(replaces))
            .arg(optional_millis(record.due_at))
            .arg(millis(record.keep_until));
        for (name, value) in self.packed(encode(record)) {
            call.arg(name).arg(value);
        }
        let answer: Vec<Value> = self.change(&call).await?;
        let mut answer = answer.into_iter();
        match verdict(answer.next())?.as_str() {
            "done" => Ok(Created::Done),
            "already" => Ok(Created::AlreadyDone),
            "exists" => {
                let fields: BTreeMap<String, Vec<u8>> =
                    from_redis_value(Value::Array(answer.collect())).map_err(|_| unavailable(StoreCause::Protocol))?;
                self.stored_as(&record.key, fields).map(|stored| Created::Exists(Box::new(stored)))
            }
            _ => Err(unavailable(StoreCause::Protocol)),
        }
    }

    async fn write(&self, write: &Write<'_>) -> Result<Written, StoreError> {
        let times = if write.guard.intent.is_some() { INSIST } else { 1 };
        let answer: String = self.change_insisting(&self.write_call(write), times).await?;
        match answer.as_str() {
            "done" => Ok(Written::Done),
            "already" => Ok(Written::AlreadyDone),
            "conflict" => Ok(Written::Conflict),
            "gone" => Ok(Written::Gone),
            _ => Err(unavailable(StoreCause::Protocol)),
        }
    }

    async fn claim(&self, shard: Shard, claim: &Claim<'_>) -> Result<Vec<Claimed>, StoreError> {
        self.claim_each(&[(shard, claim.limit)], claim).await
    }

    /// One script a shard, for each shard has a hash tag of its own; all of them in one packet.
    async fn claim_each(&self, shards: &[(Shard, usize)], claim: &Claim<'_>) -> Result<Vec<Claimed>, StoreError> {
        let until = claim.now + claim.lease;
        let calls: Vec<_> = shards.iter().map(|(shard, limit)| claim_call(*shard, claim, (*limit, until))).collect();
        let (mut claimed, mut failed) = (Vec::new(), None);
        for answer in self.servers.run_each_once(&calls).await {
            let rows = answer
                .and_then(|rows| from_redis_value::<Vec<Row>>(rows).map_err(|_| unavailable(StoreCause::Protocol)));
            match rows {
                Ok(rows) => claimed.extend(rows.into_iter().filter_map(|row| self.claimed(row, until))),
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) if claimed.is_empty() => Err(error),
            _ => Ok(claimed),
        }
    }

    async fn holds(&self, lease: &Lease) -> Result<bool, StoreError> {
        let mut read = redis::cmd("HMGET");
        read.arg(keys::job(&lease.key)).arg("fence").arg("lease_until");
        let found: (Option<u64>, Option<u64>) = self.servers.read(&read).await?;
        // The deadline tells leases apart that have one number because a failover lost the first of them.
        Ok(found == (Some(lease.fence.0), Some(millis(lease.until))))
    }

    async fn make_due(&self, key: &JobKey, due: Timestamp, renew: Timestamp) -> Result<(), StoreError> {
        self.bring_forward(key, (due, renew), None).await
    }

    async fn announce_logout(
        &self,
        key: &JobKey,
        heard_at: Timestamp,
        due: Timestamp,
        renew: Timestamp,
    ) -> Result<(), StoreError> {
        self.bring_forward(key, (due, renew), Some(heard_at)).await
    }

    async fn count_due(&self, shard: Shard, now: Timestamp) -> Result<u64, StoreError> {
        self.servers.read(redis::cmd("ZCOUNT").arg(keys::due(shard)).arg("-inf").arg(millis(now))).await
    }

    async fn due_shards(&self, now: Timestamp) -> Result<Vec<(Shard, usize)>, StoreError> {
        let mut counts = redis::pipe();
        for shard in Shard::all() {
            counts.zcount(keys::due(shard), "-inf", millis(now));
        }
        let counts: Vec<usize> = self.servers.read_all(&counts).await?;
        Ok(Shard::all().zip(counts).filter(|(_, due)| *due > 0).collect())
    }

    async fn add_child(&self, parent: &JobKey, child: &JobId, max: usize) -> Result<bool, StoreError> {
        let mut call = scripts::at(&scripts::ADD_CHILD, keys::children(parent));
        call.key(keys::job(parent)).arg(child.as_str()).arg(max).arg(span(ORPHAN_KEEP));
        self.change(&call).await
    }

    async fn remove_child(&self, parent: &JobKey, child: &JobId) -> Result<(), StoreError> {
        self.remove(redis::cmd("SREM").arg(keys::children(parent)).arg(child.as_str())).await
    }
}

impl RedisStore {
    /// Makes a record due; `announced_at`: when its session's end was announced, if it was.
    async fn bring_forward(
        &self,
        key: &JobKey,
        (due, renew): (Timestamp, Timestamp),
        announced_at: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        let mut call = scripts::at(&scripts::MAKE_DUE, keys::job(key));
        call.key(keys::due(key.shard())).arg(key.to_string()).arg(millis(due)).arg(millis(renew));
        if let Some(at) = announced_at {
            call.arg(millis(at));
        }
        self.servers.write::<i64>(Query::Script(&call), Repeat::Once, None).await.map(drop)
    }

    fn write_call(&self, write: &Write<'_>) -> ScriptCall<'static> {
        let set = self.packed(write.change.set.clone());
        // A field of its own that the packed one replaces.
        let replaced = if set.contains_key(PACKED) { &NAMES[..] } else { &[] };
        let touches_due = write.change.set.contains_key("due") || write.change.remove.iter().any(|name| name == "due");
        let mut call = scripts::at(&scripts::WRITE, keys::job(write.key));
        call.key(keys::due(write.key.shard()))
            .key(keys::children(write.key))
            .arg(write.attempt.to_string())
            .arg(write.key.to_string())
            .arg(write.guard.generation.to_string())
            .arg(text(write.guard.state))
            .arg(text(write.guard.fence.or(write.guard.seen)))
            .arg(text(write.guard.intent))
            .arg(text(write.guard.incarnation))
            .arg(match &write.guard.terms {
                _ if self.speaks < TERMS_SINCE => b"".as_slice(),
                None => b"",
                // No seal looks like this.
                Some(TermsGuard::Unsealed) => b"-".as_slice(),
                Some(TermsGuard::Sealed(sealed)) => sealed.as_bytes(),
            })
            .arg(optional_millis(write.due_at))
            .arg(match (write.guard.fence, write.release_lease) {
                (None, _) => "",
                (Some(_), false) => "kept",
                (Some(_), true) => "back",
            })
            .arg(u8::from(touches_due))
            .arg(u8::from(NAMES.iter().any(|name| set.contains_key(*name))))
            .arg(set.len());
        for (name, value) in &set {
            call.arg(name).arg(value.as_slice());
        }
        for name in write.change.remove.iter().map(String::as_str).chain(replaced.iter().copied()) {
            call.arg(name);
        }
        call
    }

    /// The record of a store of an older schema, or one that was not packed yet.
    async fn read_whole(&self, key: &JobKey) -> Result<Option<ReadView>, StoreError> {
        let stored = self.load(key).await?;
        Ok(stored.map(|stored| ReadView::of(&stored.record, stored.leased_until)))
    }

    /// What a read sees of the record of that name: one that was copied elsewhere is not believed.
    fn view_as(&self, key: &JobKey, values: Vec<Option<Vec<u8>>>) -> Result<Option<ReadView>, StoreError> {
        let values = values.try_into().map_err(|_| unavailable(StoreCause::Protocol))?;
        let view = ReadView::decode(key, values, &self.terms).map_err(|error| {
            self.unreadable(Unreadable::Malformed);
            StoreError::Corrupt(error.to_string())
        })?;
        match view {
            Some(view) if view.terms.key != *key => {
                self.unreadable(Unreadable::Misplaced);
                Err(StoreError::Corrupt(MISPLACED.to_owned()))
            }
            view => Ok(view),
        }
    }

    /// Whether the store has the schema that packs.
    fn packs(&self) -> bool {
        self.schema.load(Ordering::Relaxed) >= PACKED_SINCE
    }

    /// The fields as the store keeps them.
    fn packed(&self, fields: Fields) -> Fields {
        let mut fields = self.known(fields);
        if self.packs() {
            pack(&mut fields);
        }
        fields
    }

    /// The record of that name: one that was copied elsewhere is not believed.
    fn stored_as(&self, key: &JobKey, fields: Fields) -> Result<Stored, StoreError> {
        let stored = stored(self.known(fields)).inspect_err(|_| self.unreadable(Unreadable::Malformed))?;
        if stored.record.key == *key {
            return Ok(stored);
        }
        self.unreadable(Unreadable::Misplaced);
        Err(StoreError::Corrupt(MISPLACED.to_owned()))
    }

    /// One that cannot be read keeps its lease, so that it blocks nobody, and is left out.
    fn claimed(&self, (name, fence, due, fields): Row, until: Timestamp) -> Option<Claimed> {
        let mut fields = self.known(fields);
        let record = match unpack(&mut fields).and_then(|()| decode(&fields)) {
            Ok(record) => record,
            Err(error) => {
                tracing::error!(%error, "a due record cannot be read");
                self.unreadable(Unreadable::Malformed);
                return None;
            }
        };
        if record.key.to_string() != name {
            tracing::error!("a due record cannot be read: {MISPLACED}");
            self.unreadable(Unreadable::Misplaced);
            return None;
        }
        let due_at = Timestamp::from_millis(due.parse().unwrap_or_default());
        Some(Claimed { lease: Lease { key: record.key.clone(), fence: Fence(fence), until }, record, due_at })
    }

    /// The fields that the schema this store speaks has.
    fn known(&self, mut fields: Fields) -> Fields {
        if fields.contains_key(PACKED) {
            self.schema.fetch_max(PACKED_SINCE, Ordering::Relaxed);
        }
        if self.speaks < TERMS_SINCE {
            fields.remove(TERMS);
        }
        if self.speaks < ACCOUNT_SINCE {
            fields.remove(ACCOUNT);
        }
        fields
    }
}

fn claim_call(shard: Shard, claim: &Claim<'_>, (limit, until): (usize, Timestamp)) -> ScriptCall<'static> {
    let mut call = scripts::at(&scripts::CLAIM, keys::due(shard));
    call.arg(keys::job_prefix(shard))
        .arg(millis(claim.now))
        .arg(millis(until))
        .arg(claim.replica.as_str())
        .arg(claim.limit.min(limit));
    call
}

fn verdict(value: Option<Value>) -> Result<String, StoreError> {
    value.and_then(|value| from_redis_value(value).ok()).ok_or_else(|| unavailable(StoreCause::Protocol))
}
