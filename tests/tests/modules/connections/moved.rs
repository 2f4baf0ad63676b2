//! A name for Redis that leads elsewhere: the server at the other end of the connections that stand is no longer the one
//! that takes writes. It is left for reads too, and nobody hears from it that a live job is not there.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::process::{SOON, wait_until};
use tokenvault_tests::harness::redis::Redis;

use crate::connections::stage::{Stage, job_id};

const ROUNDS: usize = 50;
const JOBS: usize = 20;
/// Three seconds, and some more for a machine that is busy.
const LEFT: Duration = Duration::from_secs(6);
/// Where no server answers: the port for what is to be discarded.
const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9);
/// How long a failover by the servers themselves may take.
const FAILOVER: Duration = Duration::from_secs(30);

/// Two servers, one of which follows the other, and takes its place in turns.
struct Pair {
    servers: [Redis; 2],
    primary: usize,
}

impl Pair {
    fn primary(&self) -> &Redis {
        &self.servers[self.primary]
    }

    /// The other server takes over, and loses nothing of what was acknowledged; the one that was there follows it.
    async fn turn(&mut self) -> Result<()> {
        let (old, new) = (&self.servers[self.primary], &self.servers[1 - self.primary]);
        follow(new, old.address()).await?;
        // The one that is followed takes a moment longer to know it.
        wait_until("the other server to follow", SOON, async || {
            replication(new).await.is_ok_and(|info| info.contains("master_link_status:up")) && old.replicas().await > 0
        })
        .await?;
        let address = new.address();
        let mut failover = redis::cmd("FAILOVER");
        failover.arg("TO").arg(address.ip().to_string()).arg(address.port());
        failover.query_async::<()>(&mut old.connection().await?).await?;
        wait_until("the servers to change places", FAILOVER, async || {
            let (old, new) = (replication(old).await, replication(new).await);
            old.is_ok_and(|info| info.contains("role:slave")) && new.is_ok_and(|info| info.contains("role:master"))
        })
        .await?;
        self.primary = 1 - self.primary;
        // What the new one gets, the old one does not: as where a network parts them, or one lags.
        follow(old, NOBODY).await
    }
}

async fn follow(server: &Redis, leader: SocketAddr) -> Result<()> {
    let mut follow = redis::cmd("REPLICAOF");
    follow.arg(leader.ip().to_string()).arg(leader.port());
    Ok(follow.query_async(&mut server.connection().await?).await?)
}

async fn replication(server: &Redis) -> Result<String> {
    Ok(redis::cmd("INFO").arg("replication").query_async(&mut server.connection().await?).await?)
}

/// What modules were told, beside "200" and "201".
#[derive(Default)]
struct Told {
    stop: AtomicBool,
    /// How often each status.
    answers: Mutex<BTreeMap<u16, u64>>,
    /// Answers that no module may hear.
    wrong: Mutex<Vec<String>>,
    /// Jobs whose registration was acknowledged.
    registered: Mutex<Vec<String>>,
}

impl Told {
    fn ended(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn note(&self, status: u16, job: &str, code: &str) {
        *self.answers.lock().expect("no panic").entry(status).or_default() += 1;
        if !matches!(status, 200 | 201 | 503) {
            self.wrong.lock().expect("no panic").push(format!("{job}: {status} {code}"));
        }
    }

    fn registered(&self) -> Vec<String> {
        self.registered.lock().expect("no panic").clone()
    }
}

/// Reads every job that was ever registered, the newest first.
async fn read(stage: &Stage, told: &Told) -> Result<()> {
    let client = stage.client()?;
    while !told.ended() {
        for job in told.registered().iter().rev().take(JOBS) {
            let answer = client.get_with(job, "min_ttl=0&wait=0").await?;
            told.note(answer.status.as_u16(), job, answer.code());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    Ok(())
}

/// Registers one job after the other, and reads each as soon as it is there.
async fn register(stage: &Stage, told: &Told) -> Result<()> {
    let client = stage.client()?;
    for number in 0.. {
        if told.ended() {
            break;
        }
        let job = format!("late-{number}");
        let answer = client.put(&job, &json!({ "access_token": stage.login().await? })).await?;
        told.note(answer.status.as_u16(), &job, answer.code());
        if answer.status.is_success() {
            told.registered.lock().expect("no panic").push(job.clone());
            let answer = client.get_with(&job, "min_ttl=0&wait=0").await?;
            told.note(answer.status.as_u16(), &job, answer.code());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}

/// The stage, and a second server that follows its store.
async fn stage(at_ttl: u64) -> Result<(Stage, Pair)> {
    let mut stage = Stage::with(at_ttl, &["h2"], |vault| Ok(vault.set("redis.response_timeout", 30))).await?;
    let follower = Redis::options().replica_of(&stage.store).start().await?;
    let servers = [std::mem::replace(&mut stage.store, Redis::start().await?), follower];
    Ok((stage, Pair { servers, primary: 0 }))
}

/// How long it took at most until the vault was unready, and until it was well again.
async fn take_turns(stage: &Stage, pair: &mut Pair, management: &str) -> Result<[Duration; 2]> {
    let (http, readyz) = (reqwest::Client::builder().no_proxy().build()?, format!("{management}/readyz"));
    let is_ready = async || http.get(&readyz).send().await.is_ok_and(|answer| answer.status().is_success());
    let mut slowest = [Duration::ZERO; 2];
    for round in 0..ROUNDS {
        let before = stage.generations(JOBS).await?;
        wait_until("a renewal", SOON, async || {
            stage.generations(JOBS).await.is_ok_and(|now| now.iter().zip(&before).any(|(now, before)| now > before))
        })
        .await?;
        pair.turn().await?;
        // In every other round, the name leads to the demoted server for a while: readiness says so.
        if round % 2 == 0 {
            let demoted = Instant::now();
            wait_until("the vault to be unready", LEFT, async || !is_ready().await).await?;
            slowest[0] = slowest[0].max(demoted.elapsed());
        }
        stage.redis.lead_to(pair.primary().address().to_string());
        let moved = Instant::now();
        wait_until("the vault to read where it writes", LEFT, async || {
            is_ready().await && stage.generations(JOBS).await.is_ok_and(|now| now.iter().all(Option::is_some))
        })
        .await?;
        slowest[1] = slowest[1].max(moved.elapsed());
    }
    Ok(slowest)
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_times_a_demoted_server_is_left_and_nobody_hears_that_a_live_job_is_gone() -> Result<()> {
    let (mut stage, mut pair) = stage(20).await?;
    stage.register(JOBS, Duration::ZERO).await?;
    let told = Told::default();
    told.registered.lock().expect("no panic").extend((0..JOBS).map(job_id));
    let before = stage.generations(JOBS).await?;
    let ready = stage.vault.replica().management_url();
    let turns = async {
        let slowest = take_turns(&stage, &mut pair, &ready).await;
        told.stop.store(true, Ordering::SeqCst);
        slowest
    };

    let (slowest, (), ()) = tokio::try_join!(turns, read(&stage, &told), register(&stage, &told))?;

    println!("unready {:?} after the turn at most, well {:?} after the move at most", slowest[0], slowest[1]);
    println!("answers: {:?}", told.answers.lock().expect("no panic"));
    assert_eq!(*told.wrong.lock().expect("no panic"), Vec::<String>::new());
    let all = told.registered();
    assert!(all.len() > JOBS, "none was registered meanwhile");
    stage.renewed_since(&before, SOON).await?;
    for job in &all {
        let client = stage.client()?;
        let read = async || client.get(job).await.is_ok_and(|answer| answer.status == 200);
        wait_until("a token of each job", SOON, read).await?;
    }
    assert!(stage.vault.replica().metric("tokenvault_jobs_ended_total", "").await? < 1.0, "a job has ended");
    Ok(())
}

async fn has(server: &Redis, job: &str) -> Result<bool> {
    let name = format!("tv:*:job:*{job}");
    let keys: Vec<String> = redis::cmd("KEYS").arg(name).query_async(&mut server.connection().await?).await?;
    Ok(!keys.is_empty())
}

/// Closes the connections over which only reads go.
async fn close_reads(server: &Redis) -> Result<()> {
    let mut connection = server.connection().await?;
    let list: String = redis::cmd("CLIENT").arg("LIST").query_async(&mut connection).await?;
    let of_others = ["cmd=evalsha", "cmd=script", "cmd=client", "cmd=replconf", "cmd=psync"];
    for client in list.lines().filter(|client| of_others.iter().all(|other| !client.contains(other))) {
        let id = client.split(' ').find_map(|field| field.strip_prefix("id=")).unwrap_or_default();
        redis::cmd("CLIENT").arg(&["KILL", "ID", id]).query_async::<u64>(&mut connection).await?;
    }
    Ok(())
}

/// As when a DNS name is given to a new server that was filled from the old one, and the old one is left running. Answers with the
/// stage when whatever is registered is on the new one.
async fn given_to_another(closes_reads: bool) -> Result<Stage> {
    let (stage, pair) = stage(300).await?;
    stage.register(1, Duration::ZERO).await?;
    let [old, new] = &pair.servers;
    wait_until("the other server to have the job", SOON, async || has(new, &job_id(0)).await.is_ok_and(|there| there))
        .await?;
    redis::cmd("REPLICAOF").arg("NO").arg("ONE").query_async::<()>(&mut new.connection().await?).await?;
    stage.redis.lead_to(new.address().to_string());
    if closes_reads {
        close_reads(old).await?;
    }
    let mut jobs = 1..;
    wait_until("a job to be registered with the new server", LEFT, || {
        let (stage, job) = (&stage, job_id(jobs.next().unwrap_or_default()));
        async move {
            let put = async { stage.client()?.put(&job, &json!({ "access_token": stage.login().await? })).await };
            put.await.is_ok_and(|answer| answer.status == 201) && has(new, &job).await.is_ok_and(|there| there)
        }
    })
    .await?;
    Ok(stage)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_given_to_another_server_is_followed_though_the_old_one_takes_writes_still() -> Result<()> {
    let mut stage = given_to_another(false).await?;
    assert!(stage.said(&["\"level\":\"WARN\"", "the name leads to another Redis server"]));
    Ok(())
}

/// One connection that is made anew leads to the new server: the others must not stay with the old one.
#[tokio::test(flavor = "multi_thread")]
async fn writes_follow_a_name_where_only_the_connection_for_reads_was_closed() -> Result<()> {
    given_to_another(true).await.map(drop)
}
