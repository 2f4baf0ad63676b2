//! Whoever can write to Redis without a key of the vault's gains no token: what they change is noticed, counted, and never
//! served.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use tokenvault_core::ids::{AttemptId, Generation, JobKey, TenantId, UserId};
use tokenvault_core::pair::{PairKind, Sealer};
use tokenvault_core::policy::{Ask, Serve, serve};
use tokenvault_core::ports::{Created, StoreError, Write};
use tokenvault_core::record::{
    Fields, NAMES, PACKED, ReadView, Record, RefreshSlot, Slot, decode, encode, pack, unpack,
};
use tokenvault_core::time::Timestamp;
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::redis::Redis;
use tokenvault_tests::replicas::{LIFE, Noticed, REGISTRAR, Replica, grant};
use tokenvault_tests::reseal::{job, keyring_file, record};
use tokenvault_tests::store_contract::samples::tenant;
use tokenvault_vault::problem::Code;
use tokenvault_vault::services::Services;

/// The sealed fields of a rich record.
const SEALED: [&str; 8] = ["at", "rt", "spare", "spare2", "spare3", "anchor_at", "anchor_rt", "terms"];
/// The fields that a read hands nothing out of (of `pair`, what it says of the refresh token): some change of them leaves
/// the token, its expiry and its scope as they were.
const BORNE: [&str; 20] = [
    "anchor_at",
    "anchor_pair",
    "anchor_rt",
    "anchor_session",
    "client",
    "due",
    "failures",
    "inc",
    "keep",
    "life",
    "pair",
    "renew",
    "rt",
    "sid",
    "spare",
    "spare2",
    "spare2_meta",
    "spare3",
    "spare3_meta",
    "spare_meta",
];
/// A module that may read nothing.
const STRANGER: &str = "mod-stranger";
const NO_WAIT: Duration = Duration::ZERO;

struct Stage {
    replica: Replica,
    redis: Redis,
    noticed: Arc<Noticed>,
    _dir: tempfile::TempDir,
}

impl Stage {
    async fn set() -> Result<Self> {
        let redis = Redis::start().await?;
        let (dir, file) = keyring_file()?;
        let noticed = Arc::new(Noticed::default());
        let replica = Replica::start("r", &redis.url(), &file, Duration::from_millis(100), &noticed).await?;
        Ok(Self { replica, redis, noticed, _dir: dir })
    }

    /// A job that is not due for long, with everything a record can have.
    async fn job(&self, number: u64) -> Result<Record> {
        let now = self.replica.services.clock.now();
        let record = record(&self.replica, number, (now, now + Duration::from_hours(5)), (true, 8));
        let created = self.replica.services.store.create(&record, None, AttemptId::from_bits(number + 1)).await?;
        assert_eq!(created, Created::Done);
        Ok(record)
    }

    async fn connection(&self) -> Result<MultiplexedConnection> {
        self.redis.connection().await
    }

    fn failures(&self) -> u64 {
        self.noticed.seal_failures.load(Ordering::Relaxed)
    }

    /// The access token as the sealer has it, or why not; as the vault would read it.
    async fn refused(&self, module: &str, number: u64) -> Option<Code> {
        self.replica.read_as(module, &job(number), NO_WAIT).await.err().map(|problem| problem.code)
    }
}

fn name(number: u64) -> String {
    let key = JobKey::new(tenant(), job(number));
    format!("tv:{{{}}}:job:{key}", key.shard())
}

async fn hset(redis: &mut MultiplexedConnection, number: u64, field: &str, value: &[u8]) -> Result<()> {
    Ok(redis::cmd("HSET").arg(name(number)).arg(field).arg(value).query_async(redis).await?)
}

async fn hget(redis: &mut MultiplexedConnection, number: u64, field: &str) -> Result<Vec<u8>> {
    Ok(redis::cmd("HGET").arg(name(number)).arg(field).query_async(redis).await?)
}

/// Whether one sealed field of a stored record opens at its place.
fn opens(sealer: &Sealer<'_>, fields: &Fields, name: &str) -> bool {
    let Ok(record) = decode(fields) else { return false };
    let in_reserve = |number: usize| {
        let spare: Option<RefreshSlot> = record.reserve.get(number).cloned();
        spare.is_some() && sealer.open_refresh(&Record { spare, ..record.clone() }, Slot::Spare).is_ok()
    };
    match name {
        "at" => sealer.open_access(&record).is_ok(),
        "rt" => sealer.open_refresh(&record, Slot::Current).is_ok(),
        "spare" => sealer.open_refresh(&record, Slot::Spare).is_ok(),
        "spare2" => in_reserve(0),
        "spare3" => in_reserve(1),
        "anchor_at" => sealer.open_subject(&record, Slot::Anchor).is_ok(),
        "anchor_rt" => sealer.open_refresh(&record, Slot::Anchor).is_ok(),
        _ => sealer.check_terms(&record).is_ok(),
    }
}

#[tokio::test]
async fn every_flipped_bit_and_every_truncation_of_every_sealed_field_is_noticed() -> Result<()> {
    let stage = Stage::set().await?;
    let record = stage.job(1).await?;
    let sealer = stage.replica.services.sealer(&record);
    let fields = encode(&record);
    for name in SEALED {
        assert!(opens(&sealer, &fields, name), "{name} opens untouched");
        let whole = &fields[name];
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let fields = with(&fields, name, flipped);
            assert!(!opens(&sealer, &fields, name), "bit {bit} of {name}");
        }
        for length in 0..whole.len() {
            let fields = with(&fields, name, whole[..length].to_vec());
            assert!(!opens(&sealer, &fields, name), "{length} bytes of {name}");
        }
        for other in SEALED.into_iter().filter(|other| *other != name) {
            let fields = with(&fields, name, fields[other].clone());
            assert!(!opens(&sealer, &fields, name), "{other} in the place of {name}");
        }
    }
    Ok(())
}

/// What a read of a stored record would hand out.
#[derive(Debug, PartialEq)]
struct HandedOut {
    token: String,
    expires_at: Timestamp,
    scope: String,
    user: UserId,
    generation: Generation,
}

/// The same checks as a read makes, on fields as they stand in Redis under this name.
fn handed_out(services: &Services, key: &JobKey, fields: &Fields) -> Option<HandedOut> {
    let record = decode(fields).ok().filter(|record| record.key == *key)?;
    services.verify_terms(&record).ok()?;
    let ask = Ask { min_ttl: None, default_min_ttl: Duration::from_secs(1) };
    let Serve::Token(_) = serve(&ReadView::of(&record, None), &ask, services.clock.now()) else { return None };
    let token = services.sealer(&record).open_access(&record).ok()?.expose().to_owned();
    let pair = record.pair?;
    let (expires_at, scope) = (pair.access_expires_at, pair.scope);
    Some(HandedOut { token, expires_at, scope, user: record.user, generation: record.generation })
}

#[tokio::test]
async fn no_flipped_or_cut_field_of_a_record_makes_it_hand_out_another_token_expiry_or_scope() -> Result<()> {
    let stage = Stage::set().await?;
    let record = stage.job(1).await?;
    let services = &stage.replica.services;
    let fields = encode(&record);
    let whole = handed_out(services, &record.key, &fields).expect("untouched, it is served");
    let mut borne = BTreeSet::new();
    for (name, value) in &fields {
        let flips = (0..value.len() * 8).map(|bit| {
            let mut flipped = value.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            flipped
        });
        let cuts = (0..value.len()).map(|length| value[..length].to_vec());
        for changed in flips.chain(cuts) {
            match handed_out(services, &record.key, &with(&fields, name, changed)) {
                None => {}
                Some(told) => {
                    assert_eq!(told, whole, "{name}");
                    borne.insert(name.as_str());
                }
            }
        }
    }
    // What says nothing of the token that is served; the sealed ones among them do not open, as the test above shows.
    assert_eq!(borne.into_iter().collect::<Vec<_>>(), BORNE);
    Ok(())
}

#[tokio::test]
async fn a_token_is_served_in_no_other_tenants_users_jobs_or_generations_record() -> Result<()> {
    let stage = Stage::set().await?;
    let record = stage.job(1).await?;
    let services = &stage.replica.services;
    let fields = encode(&record);
    let other_tenant = JobKey::new(TenantId::parse("other")?, record.key.job.clone());
    let other_job = JobKey::new(record.key.tenant.clone(), job(2));
    let other_user = UserId::parse("somebody-else")?;
    let now = services.clock.now();
    let sid = &record.session.as_ref().expect("it has a session").sid;
    let (generation, before, after) =
        (record.generation, Generation(record.generation.0 - 1), record.generation.next());
    for (what, key, user, generation) in [
        ("tenant", &other_tenant, &record.user, generation),
        ("job", &other_job, &record.user, generation),
        ("user", &record.key, &other_user, generation),
        ("earlier generation", &record.key, &record.user, before),
        ("later generation", &record.key, &record.user, after),
    ] {
        let sealer = Sealer { key, user, ..services.sealer(&record) };
        let pair = sealer.seal(&grant(user, sid, LIFE, 8), PairKind::Own, generation, now);
        let foreign = encode(&Record { pair: Some(pair), ..record.clone() });
        let mut swapped = fields.clone();
        for name in ["at", "rt", "pair"] {
            swapped.insert(name.to_owned(), foreign[name].clone());
        }
        assert_eq!(handed_out(services, &record.key, &swapped), None, "another {what}");
        if pair_of_another(what) {
            assert!(
                services.sealer(&record).open_refresh(&decode(&swapped)?, Slot::Current).is_err(),
                "another {what}"
            );
        }
    }
    Ok(())
}

/// A refresh token says by itself of which generation it is: an earlier one is a spare.
fn pair_of_another(what: &str) -> bool {
    !what.ends_with("generation")
}

fn with(fields: &Fields, name: &str, value: Vec<u8>) -> Fields {
    let mut fields = fields.clone();
    fields.insert(name.to_owned(), value);
    fields
}

#[tokio::test]
async fn a_damaged_token_in_redis_is_counted_and_not_served() -> Result<()> {
    let stage = Stage::set().await?;
    stage.job(1).await?;
    assert_eq!(stage.refused(REGISTRAR, 1).await, None);
    let mut redis = stage.connection().await?;
    for field in ["at", "terms"] {
        let sealed = hget(&mut redis, 1, field).await?;
        let last = sealed.len() - 1;
        for at in [0, 3, 4, 7, 20, last / 2, last] {
            let mut damaged = sealed.clone();
            damaged[at] ^= 4;
            let before = stage.failures();
            hset(&mut redis, 1, field, &damaged).await?;
            assert_eq!(stage.refused(REGISTRAR, 1).await, Some(Code::Internal), "byte {at} of {field}");
            hset(&mut redis, 1, field, &sealed[..at]).await?;
            assert_eq!(stage.refused(REGISTRAR, 1).await, Some(Code::Internal), "{at} bytes of {field}");
            assert_eq!(stage.failures(), before + 2, "each is counted");
        }
        hset(&mut redis, 1, field, &sealed).await?;
        assert_eq!(stage.refused(REGISTRAR, 1).await, None, "put right again");
    }
    Ok(())
}

#[tokio::test]
async fn what_a_record_says_of_itself_cannot_be_rewritten() -> Result<()> {
    let stage = Stage::set().await?;
    let (first, second) = (stage.job(1).await?, stage.job(2).await?);
    let mut redis = stage.connection().await?;
    let later = (first.expires_at + Duration::from_hours(100)).as_millis().to_string();
    let earlier = (first.created_at - Duration::from_hours(100)).as_millis().to_string();
    let mine = format!("[\"{STRANGER}\"]");
    for (field, value) in [
        ("registrar", STRANGER),
        ("readers", mine.as_str()),
        ("user", second.user.as_str()),
        ("sub", second.subject.as_str()),
        ("expires", later.as_str()),
        ("created", earlier.as_str()),
        ("acquisition", "\"impersonate\""),
        ("on_logout", "\"continue\""),
        ("gen", "4"),
        ("gen", "6"),
        ("tenant", "other"),
        ("job", "job-2"),
        ("parent", "job-2"),
    ] {
        // What is packed is rewritten where it is; a field of its own beside that says nothing.
        let packed = NAMES.contains(&field);
        let place = if packed { PACKED } else { field };
        let was = hget(&mut redis, 1, place).await?;
        let mut fields = Fields::from([(place.to_owned(), was.clone())]);
        unpack(&mut fields)?;
        fields.insert(field.to_owned(), value.as_bytes().to_vec());
        pack(&mut fields);
        hset(&mut redis, 1, place, &fields[place]).await?;
        for module in [REGISTRAR, STRANGER] {
            let refused = stage.refused(module, 1).await;
            assert!(refused.is_some(), "{field} = {value} gives {module} a token");
        }
        hset(&mut redis, 1, place, &was).await?;
        assert_eq!(stage.refused(REGISTRAR, 1).await, None, "{field} put right again");
        if packed {
            hset(&mut redis, 1, field, value.as_bytes()).await?;
            assert!(stage.refused(STRANGER, 1).await.is_some(), "{field} beside what is packed");
            redis::cmd("HDEL").arg(name(1)).arg(field).query_async::<()>(&mut redis).await?;
        }
    }
    assert_eq!(stage.refused(STRANGER, 1).await, Some(Code::JobNotFound));
    Ok(())
}

#[tokio::test]
async fn a_record_without_the_seal_on_its_terms_is_refused() -> Result<()> {
    let stage = Stage::set().await?;
    stage.job(1).await?;
    let mut redis = stage.connection().await?;

    redis::cmd("HDEL").arg(name(1)).arg("terms").query_async::<()>(&mut redis).await?;
    assert_eq!(stage.refused(REGISTRAR, 1).await, Some(Code::Internal));
    // Nor does it help to make the store look older than it is while a replica runs.
    redis::cmd("SET").arg("tv:schema").arg(1).query_async::<()>(&mut redis).await?;
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(stage.refused(REGISTRAR, 1).await, Some(Code::Internal));
    assert!(stage.failures() >= 2);
    Ok(())
}

#[tokio::test]
async fn a_record_or_a_token_that_is_put_in_anothers_place_is_refused() -> Result<()> {
    let stage = Stage::set().await?;
    let (first, _) = (stage.job(1).await?, stage.job(2).await?);
    let mut redis = stage.connection().await?;
    let own = hget(&mut redis, 2, "at").await?;
    let foreign = hget(&mut redis, 1, "at").await?;
    hset(&mut redis, 2, "at", &foreign).await?;
    assert_eq!(stage.refused(REGISTRAR, 2).await, Some(Code::Internal), "another job's token");
    hset(&mut redis, 2, "at", &own).await?;

    let copy: Vec<u8> = redis::cmd("DUMP").arg(name(1)).query_async(&mut redis).await?;
    redis::cmd("RESTORE").arg(name(2)).arg(0).arg(copy).arg("REPLACE").query_async::<()>(&mut redis).await?;
    assert_eq!(stage.refused(REGISTRAR, 2).await, Some(Code::Internal), "another job's whole record");
    let loaded = stage.replica.services.store.load(&JobKey::new(tenant(), job(2))).await;
    assert!(matches!(loaded, Err(StoreError::Corrupt(_))), "{loaded:?}");
    assert_eq!(stage.refused(REGISTRAR, 1).await, None);
    assert_eq!(stage.replica.services.store.load(&first.key).await?.map(|stored| stored.record), Some(first));
    Ok(())
}

#[tokio::test]
async fn an_old_record_put_back_is_renewed_before_it_is_served() -> Result<()> {
    let stage = Stage::set().await?;
    let first = stage.job(1).await?;
    let mut redis = stage.connection().await?;
    let old: Vec<u8> = redis::cmd("DUMP").arg(name(1)).query_async(&mut redis).await?;
    let now = stage.replica.services.clock.now();
    stage.replica.services.store.make_due(&first.key, now, now).await?;
    let newest = loop {
        let token = stage.replica.read(&job(1)).await.expect("it is live");
        if token.generation > first.generation {
            break token.generation;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let written = stage.replica.services.store.load(&first.key).await?.expect("it is there");

    redis::cmd("RESTORE").arg(name(1)).arg(0).arg(old).arg("REPLACE").query_async::<()>(&mut redis).await?;
    assert_eq!(stage.refused(REGISTRAR, 1).await, Some(Code::TokenNotReady), "not before it is renewed");
    let token = stage.replica.read(&job(1)).await.expect("it is renewed while the reader waits");

    assert!(token.generation >= newest, "{} was served after {newest}", token.generation);
    assert!(stage.noticed.rollbacks.load(Ordering::Relaxed) > 0, "it is counted");
    // And what was written meanwhile, by a holder of the newer record, is still a conflict.
    let late = Write::between(&written.record, &written.record, AttemptId::from_bits(99)).unclaimed_since(&written);
    assert!(!stage.replica.services.store.write(&late).await?.is_done());
    Ok(())
}
