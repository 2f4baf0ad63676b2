//! Key promotion and re-sealing while jobs are read and renewed: two replicas, as many records as wanted, one of the
//! replicas killed in the middle of the work, and at the end the old key taken away.

use std::fmt::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt as _;
use serde::Serialize;
use tokenvault_core::ids::{AttemptId, ClientId, Generation, Incarnation, JobId, JobKey, SessionId, Subject, UserId};
use tokenvault_core::pair::{PairKind, Sealer};
use tokenvault_core::ports::{Created, Entropy as _, Filter, Promoted, Resealing};
use tokenvault_core::record::{Anchor, Record, SessionRef};
use tokenvault_core::time::Timestamp;
use tokenvault_server::entropy::OsEntropy;
use tokenvault_vault::replica::Progression;

use crate::harness::process::{SOON, wait_until};
use crate::harness::redis::Redis;
use crate::harness::{Failure, Result};
use crate::replicas::{AS_LARGE_AS_KEYCLOAKS, LIFE, Noticed, Replica, account_of, grant, token_of};
use crate::store_contract::samples;

/// The records are due over this long, so that some are renewed while others are sealed anew.
const DUE_WITHIN: Duration = Duration::from_mins(10);
/// Every so many records have a spare, a reserve and a watched pair too.
const RICH: u64 = 10;
/// Records created, or read, at a time.
const AT_ONCE: usize = 32;
/// Readers at a time.
const READERS: u64 = 8;

/// What was counted.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Records there were.
    pub records: u64,
    /// Records that were noted as sealed anew.
    pub resealed: u64,
    /// Records that could not be.
    pub failed: u64,
    /// Whether the work was taken up again after its worker had been killed.
    pub taken_up: bool,
    /// Sealed values that were left under the old key.
    pub left: u64,
    /// Pairs that were renewed meanwhile.
    pub renewed: u64,
    /// Reads while it went on.
    pub reads: u64,
    /// Reads of all records after the old key was taken away.
    pub reads_after: u64,
    /// Reads, of either kind, that brought no token, or another user's.
    pub failed_reads: u64,
    /// Seals that did not open.
    pub seal_failures: u64,
    /// Microseconds to see that a record's terms are the vault's and that it is no older than it was: what a read takes for it.
    pub check_micros: f64,
    /// From the promotion to the last record, the kill and its aftermath included.
    pub seconds: f64,
}

impl Report {
    /// Whether nothing was lost.
    pub fn is_good(&self) -> bool {
        self.failed + self.left + self.failed_reads + self.seal_failures == 0
            && self.taken_up
            && self.reads_after == self.records
    }
}

/// Fresh keys of these names, for a keyring file.
pub struct Keys(Vec<(String, String)>);

impl Keys {
    /// Makes them.
    pub fn fresh(names: &[&str]) -> Self {
        let key = |name: &&str| {
            let mut bytes = [0; 32];
            OsEntropy.fill(&mut bytes);
            ((*name).to_owned(), STANDARD.encode(bytes))
        };
        Self(names.iter().map(key).collect())
    }

    /// Puts a keyring of some of them in a file's place.
    pub fn write(&self, file: &Path, primary: &str, names: &[&str]) -> Result<()> {
        let mut text = format!("primary = \"{primary}\"\n[keys]\n");
        for (name, key) in self.0.iter().filter(|(name, _)| names.contains(&name.as_str())) {
            let _ = writeln!(text, "{name} = \"{key}\"");
        }
        let next = file.with_extension("next");
        let mut out = std::fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&next)?;
        std::io::Write::write_all(&mut out, text.as_bytes())?;
        Ok(std::fs::rename(next, file)?)
    }
}

/// A file with a keyring of one fresh key, `k1`, in a directory of its own.
pub fn keyring_file() -> Result<(tempfile::TempDir, PathBuf)> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("keyring.toml");
    Keys::fresh(&["k1"]).write(&file, "k1", &["k1"])?;
    Ok((dir, file))
}

/// The job of a number.
pub fn job(number: u64) -> JobId {
    samples::job(&format!("job-{number}"))
}

/// The user of a number.
pub fn user(number: u64) -> UserId {
    UserId::parse(format!("user-{number}")).expect("a user")
}

/// An active record, sealed with what a replica seals with now; a rich one has a spare, a reserve and an anchor too.
pub fn record(
    replica: &Replica,
    number: u64,
    (now, due_at): (Timestamp, Timestamp),
    (rich, padding): (bool, usize),
) -> Record {
    let key = JobKey::new(samples::tenant(), job(number));
    let user = user(number);
    let session = |sid: &str| SessionRef {
        sid: SessionId::parse(format!("{sid}-{number}")).expect("a session"),
        client: ClientId::parse("vault").expect("a client"),
        incarnation: Incarnation(0),
    };
    let keyring = replica.services.keyring.current();
    let sealer = Sealer { keyring, entropy: &OsEntropy, key: &key, user: &user, binds: true };
    let seal = |kind, generation| {
        let sid = session(if kind == PairKind::Anchor { "anchor" } else { "sid" }).sid;
        sealer.seal(&grant(&user, &sid, LIFE, padding), kind, Generation(generation), now)
    };
    let record = Record {
        subject: Subject::parse(format!("sub-{user}")).expect("a subject"),
        account: rich.then(|| account_of(&user)).flatten(),
        created_at: now,
        expires_at: now + Duration::from_hours(10),
        keep_until: now + Duration::from_hours(20),
        generation: Generation(5),
        session: Some(session("sid")),
        pair: Some(seal(PairKind::Own, 5)),
        spare: rich.then(|| seal(PairKind::Own, 4).refresh),
        reserve: if rich { vec![seal(PairKind::Own, 3).refresh, seal(PairKind::Own, 2).refresh] } else { Vec::new() },
        anchor: rich.then(|| Anchor { session: session("anchor"), pair: seal(PairKind::Anchor, 4) }),
        access_life: LIFE,
        user: user.clone(),
        ..samples::record(&key, due_at)
    };
    replica.services.with_sealed_terms(&record)
}

async fn fill(replica: &Replica, records: u64) -> Result<()> {
    let now = replica.services.clock.now();
    let apart = DUE_WITHIN / u32::try_from(records.max(1))?;
    let mut creations = futures::stream::iter(0..records)
        .map(async |number| {
            let due_at = now + apart * u32::try_from(number).unwrap_or(u32::MAX);
            let record = record(replica, number, (now, due_at), (number.is_multiple_of(RICH), AS_LARGE_AS_KEYCLOAKS));
            replica.services.store.create(&record, None, AttemptId::from_bits(number + 1)).await
        })
        .buffer_unordered(AT_ONCE);
    while let Some(created) = creations.next().await {
        if created? != Created::Done {
            return Err(Failure::new("a record was there already"));
        }
    }
    Ok(())
}

/// Whether a job's token is there, and its user's.
async fn reads_well(replica: &Replica, number: u64) -> bool {
    replica
        .read(&job(number))
        .await
        .is_ok_and(|token| token.access_token.expose().starts_with(&token_of(&user(number))))
}

#[derive(Default)]
struct Reading {
    over: AtomicBool,
    reads: AtomicU64,
    failed: AtomicU64,
}

/// Reads jobs here and there until it is over.
async fn keep_reading(replica: &Replica, records: u64, seed: u64, reading: &Reading) {
    let mut at = seed;
    while !reading.over.load(Ordering::Relaxed) {
        at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let well = reads_well(replica, (at >> 33) % records).await;
        reading.reads.fetch_add(1, Ordering::Relaxed);
        reading.failed.fetch_add(u64::from(!well), Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Waits for the end of the re-sealing. The victim, who has the work, is killed when a third of it is done.
async fn finished(steady: &Replica, victim: Replica, records: u64) -> Result<(Resealing, bool)> {
    let (fleet, mut victim, mut killed_at_work) = (&steady.services.fleet, Some(victim), false);
    let began = Instant::now();
    loop {
        let work = fleet.resealing().await?.ok_or_else(|| Failure::new("the re-sealing is forgotten"))?;
        if work.finished_at.is_some() {
            return Ok((work, killed_at_work));
        }
        let worker = work.worker.as_ref().map(|(replica, _)| replica);
        let is_working = victim.as_ref().is_some_and(|victim| worker == Some(&victim.id));
        if is_working && work.seen * 3 >= records {
            victim.take().into_iter().for_each(Replica::kill);
            killed_at_work = true;
        }
        if began.elapsed() > Duration::from_mins(30) {
            return Err(Failure::new("the re-sealing does not end"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn left_under(key: &str, replica: &Replica) -> Result<u64> {
    let (mut left, mut from) = (0, None);
    loop {
        let page = replica.services.fleet.walk(&Filter::default(), from.as_deref(), 500).await?;
        for stored in &page.records {
            let record = &stored.record;
            let pairs = record.pair.iter().chain(record.anchor.as_ref().map(|anchor| &anchor.pair));
            let sealed =
                pairs.map(|pair| &pair.access).chain(record.tokens().map(|token| &token.sealed)).chain(&record.terms);
            left += sealed.filter(|sealed| sealed.key_id() == Some(key)).count() as u64;
        }
        from = page.next;
        if from.is_none() {
            return Ok(left);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few thousand")]
async fn check_micros(replica: &Replica) -> Result<f64> {
    const TIMES: u32 = 5_000;
    let key = JobKey::new(samples::tenant(), job(0));
    let stored = replica.services.store.load(&key).await?.ok_or_else(|| Failure::new("a record is gone"))?;
    let began = Instant::now();
    for _ in 0..TIMES {
        let well = replica.services.verify_terms(&stored.record).is_ok()
            && replica
                .services
                .replica
                .seen
                .further_than(&stored.record.key, Progression::of(&stored.record))
                .is_none();
        replica.services.replica.seen.note(&stored.record.key, Progression::of(&stored.record));
        if !well {
            return Err(Failure::new("a record is not believed"));
        }
    }
    Ok(began.elapsed().as_micros() as f64 / f64::from(TIMES))
}

/// Fills a Redis, promotes a key and seals all anew while it is read.
pub async fn run(records: u64, tell: impl Fn(&str)) -> Result<Report> {
    let redis = Redis::start().await?;
    let dir = tempfile::tempdir()?;
    let keys = Keys::fresh(&["k1", "k2"]);
    let files = [dir.path().join("a.toml"), dir.path().join("b.toml")];
    for file in &files {
        keys.write(file, "k1", &["k1"])?;
    }
    let noticed = Arc::new(Noticed::default());
    let steady = Replica::start("steady", &redis.url(), &files[0], Duration::from_secs(1), &noticed).await?;
    tell("creating records");
    fill(&steady, records).await?;
    let victim = Replica::start("victim", &redis.url(), &files[1], Duration::from_millis(100), &noticed).await?;
    let reading = Reading::default();
    let (fleet, steady) = (Arc::clone(&steady.services.fleet), &steady);
    let work = async {
        keys.write(&files[0], "k1", &["k1", "k2"])?;
        wait_until("the replicas to be heard of", SOON, async || {
            fleet.replicas().await.is_ok_and(|all| all.len() == 2 && all.iter().any(|one| one.keys.contains_key("k2")))
        })
        .await?;
        let early = fleet.promote("k2").await?;
        if early != Promoted::Missing(vec![victim.id.clone()]) {
            return Err(Failure::new(format!("one replica does not hold the key, and yet: {early:?}")));
        }
        keys.write(&files[1], "k1", &["k1", "k2"])?;
        wait_until("the key to be promoted", SOON, async || fleet.promote("k2").await == Ok(Promoted::Done)).await?;
        let began = Instant::now();
        tell("sealing anew");
        let asked = Resealing {
            key: "k2".to_owned(),
            started_at: steady.services.clock.now(),
            finished_at: None,
            total: fleet.estimate().await?,
            seen: 0,
            resealed: 0,
            failed: 0,
            cursor: None,
            worker: None,
        };
        fleet.start_resealing(&asked).await?;
        let (done, taken_up) = finished(steady, victim, records).await?;
        let seconds = began.elapsed().as_secs_f64();
        tell("taking the old key away");
        let left = left_under("k1", steady).await?;
        keys.write(&files[0], "k2", &["k2"])?;
        wait_until("the old key to be gone", SOON, async || steady.services.keyring.checks().len() == 1).await?;
        reading.over.store(true, Ordering::Relaxed);
        Ok((done, taken_up, left, seconds))
    };
    let readers = futures::future::join_all((0..READERS).map(|seed| keep_reading(steady, records, seed, &reading)));
    let work = async {
        let outcome = work.await;
        reading.over.store(true, Ordering::Relaxed);
        outcome
    };
    let (outcome, _) = tokio::join!(work, readers);
    let (done, taken_up, left, seconds) = outcome?;
    tell("reading all");
    let all = futures::stream::iter(0..records).map(|number| reads_well(steady, number)).buffer_unordered(AT_ONCE);
    let (mut reads_after, mut failed_after) = (0, 0);
    let mut all = std::pin::pin!(all);
    while let Some(well) = all.next().await {
        reads_after += 1;
        failed_after += u64::from(!well);
    }
    let check_micros = check_micros(steady).await?;
    Ok(Report {
        records,
        check_micros,
        resealed: done.resealed,
        failed: done.failed,
        taken_up,
        left,
        renewed: noticed.renewals.load(Ordering::Relaxed),
        reads: reading.reads.load(Ordering::Relaxed),
        reads_after,
        failed_reads: reading.failed.load(Ordering::Relaxed) + failed_after,
        seal_failures: noticed.seal_failures.load(Ordering::Relaxed),
        seconds,
    })
}
