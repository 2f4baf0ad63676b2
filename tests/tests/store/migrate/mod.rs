//! The store is moved from schema to schema while replicas of the version before serve, renew and are asked to change jobs;
//! then they are replaced one after the other, and it is finished.

mod command;
mod previous;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokenvault::migration::{MigrateError, Migration};
use tokenvault_core::ids::{AttemptId, JobKey, ModuleName, ReplicaId};
use tokenvault_core::pair::TermsSeal;
use tokenvault_core::ports::{Created, InventoryStore as _, JobStore as _, Write, Written};
use tokenvault_core::record::{Fields, NAMES, PACKED, Record, unpack};
use tokenvault_core::secret::AccessToken;
use tokenvault_redis::{RedisStore, SCHEMA};
use tokenvault_server::entropy::OsEntropy;
use tokenvault_tests::harness::process::{SOON, wait_until};
use tokenvault_tests::harness::redis::{Redis, unhurried};
use tokenvault_tests::harness::{Failure, Result};
use tokenvault_tests::replicas::{Noticed, REGISTRAR, Replica};
use tokenvault_tests::reseal::{job, keyring_file, record, user};
use tokenvault_tests::store_contract::samples::tenant;
use tokenvault_vault::jobs::{Caller, Registration};
use tokenvault_vault::problem::Code;

const JOBS: u64 = 600;
const RHYTHM: Duration = Duration::from_millis(100);

struct Stage {
    redis: Redis,
    file: PathBuf,
    noticed: Arc<Noticed>,
    dir: tempfile::TempDir,
}

impl Stage {
    async fn set() -> Result<Self> {
        let redis = Redis::start().await?;
        let (dir, file) = keyring_file()?;
        Ok(Self { redis, file, noticed: Arc::new(Noticed::default()), dir })
    }

    async fn replica(&self, name: &str, schema: u32) -> Result<Replica> {
        Replica::speaking(schema, name, &self.redis.url(), &self.file, RHYTHM, &self.noticed).await
    }

    /// How many records have a seal on their terms.
    async fn vouched(&self) -> Result<u64> {
        let mut redis = self.redis.connection().await?;
        let mut count = 0;
        for number in 0..JOBS {
            let key = JobKey::new(tenant(), job(number));
            let name = format!("tv:{{{}}}:job:{key}", key.shard());
            count += redis::cmd("HEXISTS").arg(name).arg("terms").query_async::<u64>(&mut redis).await?;
        }
        Ok(count)
    }

    fn migration(&self, replica: &Replica, name: &str) -> Result<Migration> {
        Ok(Migration {
            store: Arc::new(RedisStore::connect(&unhurried(self.redis.url()))?),
            keyring: replica.services.keyring.current(),
            entropy: Arc::new(OsEntropy),
            name: name.to_owned(),
        })
    }
}

async fn fill(old: &Replica) -> Result<()> {
    let now = old.services.clock.now();
    for number in 0..JOBS {
        let due_at = now + Duration::from_millis(20) * u32::try_from(number)?;
        let record = record(old, number, (now, due_at), (false, 8));
        assert_eq!(old.services.store.create(&record, None, AttemptId::from_bits(number + 1)).await?, Created::Done);
    }
    Ok(())
}

/// The registrar asks again, with an earlier end: the terms change, and a version of the first schema does not vouch.
async fn amend(replica: &Replica, number: u64) {
    let module = |name: &str| ModuleName::parse(name).expect("these names are fit for modules");
    let caller = Caller { module: module(REGISTRAR), tenant: tenant(), acquisitions: BTreeSet::new(), reads: true };
    let request = Registration {
        access_token: Some(AccessToken::new("not looked at")),
        user_id: Some(user(number)),
        refresh_token: None,
        acquisition: None,
        parent_job_id: None,
        readers: None,
        on_logout: None,
        expires_at: Some(stored(replica, number).await.expect("a record").expires_at - Duration::from_mins(1)),
    };
    let answer = replica.vault.register(&caller, job(number), request).await;
    assert!(answer.is_ok(), "{answer:?}");
}

async fn stored(replica: &Replica, number: u64) -> Result<Record> {
    let key = JobKey::new(tenant(), job(number));
    Ok(replica.services.store.load(&key).await?.expect("it is there").record)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_of_the_first_schema_serve_while_the_second_is_prepared_and_reached() -> Result<()> {
    let stage = Stage::set().await?;
    let (one, two) = (stage.replica("old-1", 1).await?, stage.replica("old-2", 1).await?);
    fill(&one).await?;
    wait_until("both are heard of", SOON, async || one.services.fleet.replicas().await.is_ok_and(|all| all.len() == 2))
        .await?;
    let (over, reads, failed) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let reading = async {
        let mut number = 0;
        while !over.load(Ordering::Relaxed) {
            let replica = if number % 2 == 0 { &one } else { &two };
            let well = replica.read(&job(number % JOBS)).await.is_ok();
            reads.fetch_add(1, Ordering::Relaxed);
            failed.fetch_add(u64::from(!well), Ordering::Relaxed);
            number += 7;
        }
    };
    let migrating = async {
        let dry = stage.migration(&one, "dry")?.run(true, |_| {}).await?;
        assert_eq!((dry, stage.vouched().await?), (1, 0), "a dry run changes nothing");
        // One is killed in the middle of its work; its lock keeps the next one out for a while.
        let killed = stage.migration(&one, "killed")?;
        let cut = tokio::time::timeout(Duration::from_millis(150), killed.run(false, |_| {})).await;
        let next = stage.migration(&one, "next")?;
        if cut.is_err() {
            assert!(matches!(next.run(false, |_| {}).await, Err(MigrateError::Locked)));
            killed.store.unlock_migration("killed").await?;
        }
        amend(&one, 3).await;
        let refused = next.run(false, |_| {}).await;
        let old = [ReplicaId::parse("old-1")?, ReplicaId::parse("old-2")?];
        assert!(matches!(&refused, Err(MigrateError::OldReplicas(found)) if *found == old), "{refused:?}");
        assert_eq!(stage.vouched().await?, JOBS, "everything is prepared");
        amend(&two, 5).await;
        over.store(true, Ordering::Relaxed);
        Result::<()>::Ok(())
    };
    let ((), migrated) = tokio::join!(reading, migrating);
    migrated?;
    assert_eq!(failed.load(Ordering::Relaxed), 0, "of {} reads", reads.load(Ordering::Relaxed));

    // One after the other is replaced.
    let new = stage.replica("new-1", SCHEMA).await?;
    one.stop().await;
    assert_eq!(new.read_as(REGISTRAR, &job(5), SOON).await.map(|token| token.job_id).ok(), Some(job(5)));
    let refused = stage.migration(&new, "third")?.run(false, |_| {}).await;
    assert!(matches!(&refused, Err(MigrateError::OldReplicas(found)) if found.len() == 1), "{refused:?}");
    two.stop().await;
    assert_eq!(stage.migration(&new, "fourth")?.run(false, |_| {}).await?, SCHEMA);

    wait_until("the second schema to be demanded", SOON, async || new.services.replica.schema.demands_terms()).await?;
    for number in 0..JOBS {
        let record = stored(&new, number).await?;
        assert_eq!(new.services.sealer(&record).check_terms(&record), Ok(TermsSeal::Valid), "job {number}");
        assert!(new.read(&job(number)).await.is_ok(), "job {number}");
    }
    assert!(new.read_as(REGISTRAR, &job(3), SOON).await.is_ok());
    let strange = new.read_as("mod-late", &job(3), Duration::ZERO).await.err().map(|problem| problem.code);
    assert_eq!(strange, Some(Code::JobNotFound));
    assert_eq!(stage.migration(&new, "again")?.run(false, |_| {}).await?, SCHEMA);
    assert_eq!(stage.noticed.seal_failures.load(Ordering::Relaxed), 0);
    Ok(())
}

/// The accounts that a job's record and the store's own fields of it say.
async fn accounts(stage: &Stage, replica: &Replica, number: u64) -> Result<(Option<String>, Option<String>)> {
    let record = stored(replica, number).await?;
    let name = format!("tv:{{{}}}:job:{}", record.key.shard(), record.key);
    let mut redis = stage.redis.connection().await?;
    let mut fields: Fields = redis::cmd("HGETALL").arg(name).query_async(&mut redis).await?;
    unpack(&mut fields).map_err(|error| Failure::new(error.to_string()))?;
    let field = fields.remove("account").and_then(|value| String::from_utf8(value).ok());
    Ok((record.account.map(|account| account.to_string()), field))
}

/// The names of a record's fields.
async fn field_names(stage: &Stage, number: u64) -> Result<BTreeSet<String>> {
    let key = JobKey::new(tenant(), job(number));
    let name = format!("tv:{{{}}}:job:{key}", key.shard());
    Ok(redis::cmd("HKEYS").arg(name).query_async(&mut stage.redis.connection().await?).await?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_packed_when_no_replica_of_the_third_schema_is_left_and_not_before() -> Result<()> {
    let stage = Stage::set().await?;
    let old = stage.replica("old", 3).await?;
    let now = old.services.clock.now();
    for number in 0..3 {
        let record = record(&old, number, (now, now), (true, 8));
        assert_eq!(old.services.store.create(&record, None, AttemptId::from_bits(number + 1)).await?, Created::Done);
    }
    let new = stage.replica("new", SCHEMA).await?;
    wait_until("both are heard of", SOON, async || new.services.fleet.replicas().await.is_ok_and(|all| all.len() == 2))
        .await?;
    for number in 0..2 {
        renewed(&new, number).await?;
        assert!(old.read(&job(number)).await.is_ok() && new.read(&job(number)).await.is_ok());
        assert!(!field_names(&stage, number).await?.contains(PACKED), "an older replica would not find whose it is");
    }
    // This one does not hear of the new schema by itself.
    let deaf = RedisStore::connect(&unhurried(stage.redis.url()))?;
    let before = deaf.load(&JobKey::new(tenant(), job(2))).await?.expect("a record").record;
    let refused = stage.migration(&new, "early")?.run(false, |_| {}).await;
    assert!(matches!(&refused, Err(MigrateError::OldReplicas(found)) if found.len() == 1), "{refused:?}");
    old.stop().await;

    assert_eq!(stage.migration(&new, "late")?.run(false, |_| {}).await?, SCHEMA);

    for number in 0..3 {
        let fields = field_names(&stage, number).await?;
        assert!(fields.contains(PACKED) && !NAMES.iter().any(|name| fields.contains(*name)), "{fields:?}");
        assert!(new.read(&job(number)).await.is_ok());
        renewed(&new, number).await?;
    }
    assert_eq!(stage.noticed.seal_failures.load(Ordering::Relaxed), 0);
    // Who has read a record before it was packed undoes nothing, and does it right when it has read it again.
    let key = JobKey::new(tenant(), job(2));
    let other = ModuleName::parse("mod-other").map_err(|error| Failure::new(error.to_string()))?;
    let shared = async |before: Record, attempt| {
        let after = Record { readers: BTreeSet::from([other.clone()]), ..before.clone() };
        deaf.write(&Write::between(&before, &after, AttemptId::from_bits(attempt))).await
    };
    let late = Record { generation: stored(&new, 2).await?.generation, ..before };
    assert_eq!(shared(late, 91).await?, Written::Conflict);
    let again = deaf.load(&key).await?.expect("a record").record;
    assert_eq!(shared(again, 92).await?, Written::Done);
    assert!(!field_names(&stage, 2).await?.contains("readers"));
    assert_eq!(stored(&new, 2).await?.readers, BTreeSet::from([other]));
    // Run again, there is nothing to do.
    let mut said = Vec::new();
    stage.migration(&new, "again")?.run(false, |event| said.push(event.to_string())).await?;
    assert_eq!(said, [format!("schema {SCHEMA}: nothing to do")]);
    Ok(())
}

/// Until a job has had another renewal.
async fn renewed(replica: &Replica, number: u64) -> Result<()> {
    let before = stored(replica, number).await?.generation;
    let key = JobKey::new(tenant(), job(number));
    let now = replica.services.clock.now();
    replica.services.store.make_due(&key, now, now).await?;
    replica.services.wake.due();
    wait_until("a renewal", SOON, async || stored(replica, number).await.is_ok_and(|record| record.generation > before))
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_are_learnt_when_no_replica_of_the_second_schema_is_left_and_not_before() -> Result<()> {
    let stage = Stage::set().await?;
    let old = stage.replica("old", 2).await?;
    let now = old.services.clock.now();
    for number in 0..2 {
        let record = record(&old, number, (now, now), (false, 8));
        assert_eq!(old.services.store.create(&record, None, AttemptId::from_bits(number + 1)).await?, Created::Done);
    }
    let new = stage.replica("new", SCHEMA).await?;
    wait_until("both are heard of", SOON, async || new.services.fleet.replicas().await.is_ok_and(|all| all.len() == 2))
        .await?;

    // Both serve and renew what the other wrote, and nothing is written that the old one would take for forged.
    for number in 0..2 {
        renewed(&new, number).await?;
        assert_eq!(accounts(&stage, &new, number).await?, (None, None));
        assert!(old.read(&job(number)).await.is_ok() && new.read(&job(number)).await.is_ok());
    }
    let refused = stage.migration(&new, "early")?.run(false, |_| {}).await;
    assert!(matches!(&refused, Err(MigrateError::OldReplicas(found)) if found.len() == 1), "{refused:?}");
    assert_eq!(RedisStore::connect(&unhurried(stage.redis.url()))?.schema().await?, 2);
    old.stop().await;

    assert_eq!(stage.migration(&new, "late")?.run(false, |_| {}).await?, SCHEMA);
    wait_until("the third schema to be heard of", SOON, async || new.services.replica.schema.keeps_accounts()).await?;
    for number in 0..2 {
        renewed(&new, number).await?;
        let account = Some(format!("account-user-{number}"));
        assert_eq!(accounts(&stage, &new, number).await?, (account.clone(), account));
        let record = stored(&new, number).await?;
        assert_eq!(new.services.sealer(&record).check_terms(&record), Ok(TermsSeal::Valid));
        assert!(new.read(&job(number)).await.is_ok());
    }
    assert_eq!(stage.noticed.seal_failures.load(Ordering::Relaxed), 0);
    Ok(())
}

#[tokio::test]
async fn a_schema_nobody_knows_is_left_alone() -> Result<()> {
    let stage = Stage::set().await?;
    let new = stage.replica("new", SCHEMA).await?;
    let mut redis = stage.redis.connection().await?;
    redis::cmd("SET").arg("tv:schema").arg(99).query_async::<()>(&mut redis).await?;

    let refused = stage.migration(&new, "m")?.run(false, |_| {}).await;

    assert!(matches!(refused, Err(MigrateError::Store(_))), "{refused:?}");
    let found: String = redis::cmd("GET").arg("tv:schema").query_async(&mut redis).await?;
    assert_eq!(found, "99");
    assert_eq!(RedisStore::connect(&unhurried(stage.redis.url()))?.schema().await.ok(), None);
    Ok(())
}
