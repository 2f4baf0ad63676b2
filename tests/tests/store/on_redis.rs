//! The store on Redis through what happens to a Redis: it is away, freezes, restarts, asks for a password, has replicas.
#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    reason = "tests watch a real process by the real clock, and may panic"
)]

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokenvault_core::ids::{AttemptId, Incarnation, ReplicaId};
use tokenvault_core::ports::{Claim, Created, JobStore, ReplicaStatus, ServerStore, StoreError, Write, Written};
use tokenvault_core::record::{Intent, Record, Slot};
use tokenvault_core::secret::ClientSecret;
use tokenvault_redis::{RedisConfig, RedisStore, SCHEMA, Unreadable};
use tokenvault_tests::harness::certs::TestCa;
use tokenvault_tests::harness::ports::free_address;
use tokenvault_tests::harness::process::{SOON, poll, wait_until};
use tokenvault_tests::harness::proxy::{Fault, Proxy};
use tokenvault_tests::harness::redis::{Redis, unhurried};
use tokenvault_tests::harness::{Result, install_tls_provider};
use tokenvault_tests::store_contract::bench::Bench;
use tokenvault_tests::store_contract::samples::{NOW, after, ended, job, key, record, rotated, session, user};
use tokenvault_tests::store_contract::{creation, entries, leases};
use tokio::net::{TcpListener, TcpStream};

/// Redis keeps what it was told in a file before it answers.
async fn durable() -> Result<Bench> {
    Bench::on(Redis::options().append_only().start().await?)
}

fn kind(error: Option<StoreError>) -> &'static str {
    match error {
        Some(StoreError::Unavailable(cause)) => cause.code(),
        other => panic!("expected the store to be unavailable, got {other:?}"),
    }
}

async fn ask(redis: &Redis, command: &str, args: &[&str]) -> Result<redis::Value> {
    Ok(redis::cmd(command).arg(args).query_async(&mut redis.connection().await?).await?)
}

#[tokio::test]
async fn a_store_can_be_made_while_redis_is_away_and_works_once_it_is_there() -> Result<()> {
    let mut redis = Redis::start().await?;
    redis.kill().await?;
    let store = RedisStore::connect(&unhurried(redis.url()))?;

    assert_eq!(kind(store.ready().await.err()), "refused");
    redis.restart().await?;

    store.ready().await?;
    assert_eq!(store.load(&key("j")).await?, None);
    Ok(())
}

#[tokio::test]
async fn while_redis_is_away_everything_is_unavailable_and_fails_fast() -> Result<()> {
    let mut bench = Bench::redis().await?;
    let record = record(&key("j"), NOW);
    bench.create(&record).await?;
    let lease = bench.claim_one(&key("j"), NOW).await?.lease;
    bench.server()?.kill().await?;
    let store = &bench.store;

    let began = Instant::now();
    let write = Write::between(&record, &record, bench.attempt());
    let session = session("s1", "vault");
    for error in [
        store.ready().await.err(),
        store.load(&key("j")).await.err(),
        store.create(&record, None, bench.attempt()).await.err(),
        store.write(&write).await.err(),
        bench.store.count_due(key("j").shard(), NOW).await.err(),
        store.holds(&lease).await.err(),
        store.make_due(&key("j"), NOW, NOW).await.err(),
        store.enter_session(&session, &job("j"), NOW).await.err(),
        store.leave_session(&session, &job("j")).await.err(),
        store.look_at_session(&session, &job("j"), true).await.err(),
        store.session(&session).await.err(),
        store.supersede_session(&session, Incarnation(0)).await.err(),
        store.add_to_user(&user(), &key("j"), NOW).await.err(),
        store.add_child(&key("j"), &job("child"), 3).await.err(),
    ] {
        assert_eq!(kind(error), "refused");
    }
    assert!(bench.claim(&key("j"), after(60_000)).await.is_err());
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    Ok(())
}

#[tokio::test]
async fn a_restarted_redis_has_kept_everything_and_is_used_again_at_once() -> Result<()> {
    let mut bench = durable().await?;
    let before = record(&key("j"), NOW);
    bench.create(&before).await?;
    let lease = bench.claim_one(&key("j"), NOW).await?.lease;
    let renewed = rotated(&before, after(300_000));
    let write = Write::between(&before, &renewed, bench.attempt()).under(&lease);
    bench.done(&write).await?;
    bench.store.enter_session(&session("s1", "vault"), &job("j"), after(1)).await?;
    bench.store.add_to_user(&user(), &key("j"), after(1)).await?;
    let stored = bench.load(&key("j")).await?;

    bench.server()?.kill().await?;
    bench.server()?.restart().await?;

    // The very first calls: idle connections that died with the server are replaced without anybody noticing.
    assert_eq!(bench.store.write(&write).await?, Written::AlreadyDone);
    assert_eq!(bench.load(&key("j")).await?, stored);
    assert!(bench.store.holds(&lease).await?);
    assert_eq!(bench.due_from(&key("j")).await?, Some(lease.until));
    assert_eq!(bench.store.session(&session("s1", "vault")).await?.map(|entry| entry.jobs), Some(vec![job("j")]));
    bench.done(&Write::between(&renewed, &renewed, bench.attempt()).under(&lease).releasing()).await
}

#[tokio::test]
async fn a_crowd_of_writers_survives_restarts_without_losing_or_doubling_a_write() -> Result<()> {
    let mut bench = durable().await?;
    let mut server = bench.redis.take().expect("it is on Redis");
    let jobs: Vec<_> = (0..24).map(|n| record(&key(&format!("j{n}")), after(n))).collect();
    let bench = &bench;
    let writers = futures::future::join_all(jobs.iter().map(async |first| -> Result<()> {
        let attempt = bench.attempt();
        while bench.store.create(first, None, attempt).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut before = first.clone();
        for _ in 0..150 {
            let next = rotated(&before, after(1));
            let write = Write::between(&before, &next, bench.attempt());
            let began = Instant::now();
            // Whatever the outage does to an answer, the same attempt must end in the write having been done once.
            loop {
                match bench.store.write(&write).await {
                    Ok(written) => {
                        assert!(written.is_done(), "{written:?}");
                        break;
                    }
                    Err(_) if began.elapsed() < SOON => tokio::time::sleep(Duration::from_millis(20)).await,
                    Err(error) => return Err(error.into()),
                }
            }
            before = next;
        }
        // The last outage may not be over yet.
        let kept = poll("the store to answer", SOON, async || bench.load(&first.key).await.ok()).await?;
        assert_eq!(kept.record, before);
        Ok(())
    }));
    let outages = async {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(150)).await;
            server.kill().await?;
            server.restart().await?;
        }
        Result::<()>::Ok(())
    };

    let (outcomes, outages) = tokio::join!(writers, outages);

    outages?;
    outcomes.into_iter().collect()
}

#[tokio::test]
async fn a_frozen_redis_is_given_up_in_time_and_used_again_when_it_thaws() -> Result<()> {
    let redis = Redis::start().await?;
    let config = RedisConfig {
        connect_timeout: Duration::from_secs(1),
        response_timeout: Duration::from_secs(1),
        pool_size: 2,
        ..unhurried(redis.url())
    };
    let store = RedisStore::connect(&config)?;
    let mut redis = redis;
    let record = record(&key("j"), NOW);
    let attempt = AttemptId::from_bits(1);
    store.ready().await?;
    store.make_due(&key("j"), NOW, NOW).await?;
    redis.pause().await?;

    let began = Instant::now();
    assert_eq!(kind(store.load(&key("j")).await.err()), "timeout");
    for _ in 0..4 {
        // More than the pool has places: none may stay taken.
        assert!(store.create(&record, None, attempt).await.is_err());
    }
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    redis.resume().await?;

    wait_until("the store to answer", SOON, async || store.load(&key("j")).await.is_ok()).await?;
    // The frozen server may have carried the creation out when it thawed.
    let created = store.create(&record, None, attempt).await?;
    assert!(matches!(created, Created::Done | Created::AlreadyDone), "{created:?}");
    assert_eq!(store.load(&key("j")).await?.map(|stored| stored.record), Some(record));
    Ok(())
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_recognised_when_it_is_repeated() -> Result<()> {
    let redis = Redis::start().await?;
    let proxy = Proxy::to(redis.address().to_string()).await?;
    let config = RedisConfig { response_timeout: Duration::from_secs(5), ..unhurried(proxy.url("redis")) };
    let store = RedisStore::connect(&config)?;
    let attempt = AttemptId::from_bits;
    let before = record(&key("j"), NOW);
    assert_eq!(store.create(&before, None, attempt(1)).await?, Created::Done);
    // The script is loaded now, so that the requests below are the ones that carry the change out.
    assert_eq!(store.write(&Write::between(&before, &before, attempt(9))).await?, Written::Done);
    let renewed = rotated(&before, after(9));
    let write = Write::between(&before, &renewed, attempt(2));

    // The connection is closed in the middle of the answer: the store asks again by itself.
    proxy.strike(Fault::CutAnswerAfter(1), 1, "0000000000000002");
    assert_eq!(store.write(&write).await?, Written::AlreadyDone);
    let last = rotated(&renewed, after(9));
    let write = Write::between(&renewed, &last, attempt(3));

    // The answer never comes: that is told, and the caller's repetition is recognised.
    proxy.strike(Fault::SwallowAnswer, 1, "0000000000000003");
    assert_eq!(kind(store.write(&write).await.err()), "timeout");
    assert_eq!(store.write(&write).await?, Written::AlreadyDone);

    assert_eq!(proxy.struck(), 2);
    assert_eq!(store.load(&key("j")).await?.map(|stored| stored.record), Some(last));
    Ok(())
}

#[tokio::test]
async fn an_empty_database_becomes_the_known_schema_and_a_foreign_one_is_refused() -> Result<()> {
    let redis = Redis::start().await?;
    let store = RedisStore::connect(&unhurried(redis.url()))?;

    store.ready().await?;
    assert_eq!(ask(&redis, "GET", &["tv:schema"]).await?, redis::Value::BulkString(SCHEMA.to_string().into_bytes()));
    store.ready().await?;

    ask(&redis, "SET", &["tv:schema", "99"]).await?;
    let refused = store.ready().await;
    assert_eq!(refused, Err(StoreError::Schema { found: "99".to_owned(), known: SCHEMA }));
    Ok(())
}

#[tokio::test]
async fn a_password_is_needed_where_redis_asks_for_one() -> Result<()> {
    let redis = Redis::options().password("hunter2").start().await?;
    let open = RedisStore::connect(&unhurried(redis.url()))?;
    let with = |password: &str| RedisConfig { password: Some(ClientSecret::new(password)), ..unhurried(redis.url()) };

    assert_eq!(kind(open.ready().await.err()), "authentication");
    assert_eq!(kind(RedisStore::connect(&with("wrong"))?.ready().await.err()), "authentication");
    RedisStore::connect(&with("hunter2"))?.ready().await?;
    Ok(())
}

/// Ends TLS in front of a Redis; answers with its port.
async fn tls_in_front_of(redis: &Redis, ca: &TestCa) -> Result<u16> {
    let server = ca.server()?;
    let chain = CertificateDer::pem_file_iter(&server.cert)?.collect::<Result<Vec<_>, _>>()?;
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(&server.key)?)?;
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (port, upstream) = (listener.local_addr()?.port(), redis.address());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let Ok(mut upstream) = TcpStream::connect(upstream).await else { return };
                drop(tokio::io::copy_bidirectional(&mut stream, &mut upstream).await);
            });
        }
    });
    Ok(port)
}

#[tokio::test]
async fn over_tls_only_the_given_ca_is_trusted() -> Result<()> {
    install_tls_provider();
    let (redis, ca, foreign) = (Redis::start().await?, TestCa::new()?, TestCa::new()?);
    let port = tls_in_front_of(&redis, &ca).await?;
    let store = |host: &str, ca_file: Option<PathBuf>| {
        RedisStore::connect(&RedisConfig { ca_file, ..unhurried(format!("rediss://{host}:{port}")) })
    };

    store("localhost", Some(ca.cert_file()))?.ready().await?;
    let trusting = store("127.0.0.1", Some(ca.cert_file()))?;
    assert_eq!(trusting.create(&record(&key("j"), NOW), None, AttemptId::from_bits(1)).await?, Created::Done);

    assert!(matches!(store("localhost", Some(foreign.cert_file()))?.ready().await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store("localhost", None)?.ready().await, Err(StoreError::Unavailable(_))));
    Ok(())
}

#[tokio::test]
async fn a_write_waits_for_replicas_and_counts_where_they_are_too_few() -> Result<()> {
    let primary = Redis::start().await?;
    let mut replica = Redis::options().replica_of(&primary).start().await?;
    let config = RedisConfig {
        ack_replicas: 1,
        ack_timeout: Duration::from_millis(1500),
        response_timeout: Duration::from_secs(1),
        ..unhurried(primary.url())
    };
    let store = RedisStore::connect(&config)?;
    let attempt = AttemptId::from_bits;
    wait_until("the replica to follow", SOON, async || {
        let state = ask(&replica, "INFO", &["replication"]).await;
        state.is_ok_and(|state| format!("{state:?}").contains("master_link_status:up"))
    })
    .await?;

    assert_eq!(store.create(&record(&key("a"), NOW), None, attempt(1)).await?, Created::Done);
    assert_eq!(store.short_acks(), 0);
    let copied =
        ask(&replica, "EXISTS", &["tv:{NN}:job:diku:a".replace("NN", &key("a").shard().to_string()).as_str()]).await?;
    assert_eq!(copied, redis::Value::Int(1), "acknowledged means that the replica has it");

    replica.pause().await?;
    let began = Instant::now();
    assert_eq!(store.create(&record(&key("b"), NOW), None, attempt(2)).await?, Created::Done);
    assert!(began.elapsed() >= Duration::from_millis(1400), "the response time-out must not cut the wait short");
    assert_eq!(store.short_acks(), 1);
    // Nor is a write taken for acknowledged when it is repeated on a connection that had written nothing yet.
    let other = RedisStore::connect(&config)?;
    assert_eq!(other.create(&record(&key("b"), NOW), None, attempt(2)).await?, Created::AlreadyDone);
    let unchanged = record(&key("b"), NOW);
    let write = Write::between(&unchanged, &unchanged, attempt(3));
    assert_eq!(store.write(&write).await?, Written::Done);
    let another = RedisStore::connect(&config)?;
    assert_eq!(another.write(&write).await?, Written::AlreadyDone);
    assert_eq!((store.short_acks(), other.short_acks(), another.short_acks()), (2, 1, 1));
    replica.resume().await
}

#[tokio::test]
async fn the_answer_to_a_spend_is_written_until_a_replica_has_it_but_not_for_ever() -> Result<()> {
    let primary = Redis::start().await?;
    let config = RedisConfig { ack_replicas: 1, ack_timeout: Duration::from_millis(50), ..unhurried(primary.url()) };
    let told = Arc::new(AtomicU64::new(0));
    let counting = Arc::clone(&told);
    let store = RedisStore::connect(&config)?.on_short_ack(move || {
        counting.fetch_add(1, Ordering::Relaxed);
    });
    let before = record(&key("a"), NOW);
    assert_eq!(store.create(&before, None, AttemptId::from_bits(1)).await?, Created::Done);
    let intent = Intent {
        attempt: AttemptId::from_bits(2),
        slot: Slot::Current,
        hash: before.pair.as_ref().expect("a pair").refresh.hash,
        deadline: NOW + Duration::from_secs(30),
        learning: false,
    };
    let declared = Record { intent: Some(intent), ..before.clone() };
    let declare = Write::between(&before, &declared, AttemptId::from_bits(2));
    assert_eq!((store.write(&declare).await?, told.swap(0, Ordering::Relaxed)), (Written::Done, 2));

    let answered = Record { intent: None, generation: declared.generation.next(), ..declared.clone() };
    let write = Write::between(&declared, &answered, AttemptId::from_bits(3)).answering(&declared);
    assert!(store.write(&write).await?.is_done());
    assert_eq!(told.swap(0, Ordering::Relaxed), 10, "no replica is there");

    let later = Record { intent: Some(Intent { attempt: AttemptId::from_bits(4), ..intent }), ..answered.clone() };
    store.write(&Write::between(&answered, &later, AttemptId::from_bits(4))).await?;
    told.store(0, Ordering::Relaxed);
    let last = Record { intent: None, generation: later.generation.next(), ..later.clone() };
    let write = Write::between(&later, &last, AttemptId::from_bits(5)).answering(&later);
    let (written, replica) = tokio::join!(store.write(&write), async {
        wait_until("the write to be repeated", SOON, async || told.load(Ordering::Relaxed) > 1).await?;
        Redis::options().replica_of(&primary).start().await
    });
    assert!(written?.is_done());
    drop(replica?);
    Ok(())
}

#[tokio::test]
async fn every_key_but_the_due_sets_and_the_schema_expires() -> Result<()> {
    let mut bench = Bench::redis().await?;
    let (live, gone) = (record(&key("live"), after(5)), record(&key("gone"), after(5)));
    bench.store.ready().await?;
    bench.create(&live).await?;
    bench.create(&gone).await?;
    bench.done(&Write::between(&gone, &ended(&gone), bench.attempt())).await?;
    bench.store.enter_session(&session("s1", "vault"), &job("live"), after(1)).await?;
    bench.store.supersede_session(&session("s2", "vault"), Incarnation(0)).await?;
    bench.store.add_to_user(&user(), &key("live"), after(1)).await?;
    bench.store.add_child(&key("live"), &job("child"), 1).await?;
    bench.store.add_child(&key("absent"), &job("child"), 1).await?;

    let mut connection = bench.server()?.connection().await?;
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut connection).await?;
    assert_eq!(keys.len(), 10, "{keys:?}");
    for key in keys {
        let left: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut connection).await?;
        assert_eq!(left > 0, key != "tv:schema" && !key.ends_with(":due"), "{key}: {left}");
    }
    Ok(())
}

#[tokio::test]
async fn a_record_that_cannot_be_read_blocks_nobody() -> Result<()> {
    let mut bench = Bench::redis().await?;
    let keys = tokenvault_tests::store_contract::samples::neighbours("n", 2);
    for key in &keys {
        bench.create(&record(key, NOW)).await?;
    }
    let name = format!("tv:{{{}}}:job:{}", keys[0].shard(), keys[0]);
    ask(bench.server()?, "HSET", &[&name, "state", "nonsense"]).await?;

    let claimed = bench.claim_one(&keys[1], NOW).await?;

    assert_eq!(claimed.record.key, keys[1]);
    assert!(matches!(bench.store.load(&keys[0]).await, Err(StoreError::Corrupt(_))));
    assert!(!bench.is_due(&keys[0], after(1)).await?, "it waits until the lease's end like any other");
    Ok(())
}

#[tokio::test]
async fn every_record_that_cannot_be_read_is_told_of_when_it_is_met() -> Result<()> {
    let mut bench = Bench::redis().await?;
    let keys = tokenvault_tests::store_contract::samples::neighbours("n", 3);
    bench.create(&record(&keys[0], NOW)).await?;
    bench.create(&record(&keys[1], NOW)).await?;
    let name = |at: usize| format!("tv:{{{}}}:job:{}", keys[at].shard(), keys[at]);
    let due = format!("tv:{{{}}}:due", keys[2].shard());
    ask(bench.server()?, "COPY", &[&name(1), &name(2)]).await?;
    ask(bench.server()?, "ZADD", &[&due, &NOW.as_millis().to_string(), &keys[2].to_string()]).await?;
    ask(bench.server()?, "HSET", &[&name(0), "state", "nonsense"]).await?;
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    let store = RedisStore::connect(&unhurried(bench.server()?.url()))?
        .telling(Arc::new(move |why| heard.lock().expect("nobody panics").push(why)));

    assert!(store.load(&keys[0]).await.is_err() && store.load(&keys[2]).await.is_err());
    assert_eq!(
        std::mem::take(&mut *told.lock().expect("nobody panics")),
        [Unreadable::Malformed, Unreadable::Misplaced]
    );

    let replica = ReplicaId::parse("r1")?;
    let claim = Claim { replica: &replica, now: NOW, lease: Duration::from_secs(15), limit: 9 };
    let claimed = store.claim(keys[0].shard(), &claim).await?;
    assert_eq!(claimed.iter().map(|claimed| &claimed.record.key).collect::<Vec<_>>(), [&keys[1]]);
    let mut told = std::mem::take(&mut *told.lock().expect("nobody panics"));
    told.sort_by_key(|why| why.code());
    assert_eq!(told, [Unreadable::Malformed, Unreadable::Misplaced]);
    Ok(())
}

#[tokio::test]
async fn the_scripts_are_loaded_again_after_they_were_flushed() -> Result<()> {
    let mut bench = Bench::redis().await?;
    bench.create(&record(&key("a"), NOW)).await?;

    ask(bench.server()?, "SCRIPT", &["FLUSH"]).await?;

    bench.create(&record(&key("b"), NOW)).await?;
    assert_eq!(bench.load(&key("b")).await?.record, record(&key("b"), NOW));
    Ok(())
}

#[tokio::test]
async fn every_script_keeps_to_one_slot_of_a_cluster() -> Result<()> {
    // One node that owns every slot: it answers like a standalone server, but refuses to cross slots.
    let bus = format!("cluster-port {}", free_address()?.port());
    let redis = Redis::options().line("cluster-enabled yes").line(&bus).start().await?;
    ask(&redis, "CLUSTER", &["ADDSLOTSRANGE", "0", "16383"]).await?;
    wait_until("the cluster to stand", SOON, async || {
        ask(&redis, "CLUSTER", &["INFO"]).await.is_ok_and(|info| format!("{info:?}").contains("cluster_state:ok"))
    })
    .await?;
    let bench = Bench::on(redis)?;

    bench.store.ready().await?;
    creation::fences_and_attempts_go_on_in_a_replacement(&bench).await?;
    leases::hastening_makes_a_record_due_now(&bench).await?;
    entries::a_session_outlives_its_jobs(&bench).await?;
    entries::a_users_jobs_are_listed_in_order_and_in_pages(&bench).await?;
    entries::a_parent_takes_so_many_children(&bench).await
}

/// What a replica of a version without marks does: it writes the time into the job's field, and tells nothing of marks.
#[tokio::test]
async fn who_joins_by_an_older_replica_is_seen_while_there_may_be_one() -> Result<()> {
    let mut bench = Bench::redis().await?;
    let (s1, mine) = (session("s1", "vault"), job("mine"));
    bench.store.enter_session(&s1, &mine, after(1)).await?;
    let store = Arc::clone(&bench.store);
    let look = async || store.look_at_session(&s1, &mine, false).await.map(|look| look.expect("an entry"));
    let mut connection = bench.server()?.connection().await?;
    let keys: Vec<String> = redis::cmd("KEYS").arg("*:session:*").query_async(&mut connection).await?;
    let (seconds, _): (u64, u64) = redis::cmd("TIME").query_async(&mut connection).await?;
    let before = look().await?;
    let mut join = redis::cmd("HSET");
    join.arg(&keys[0]).arg("job:theirs").arg(seconds * 1000).exec_async(&mut connection).await?;

    let during = look().await?;
    assert!(during.joining && during.joins != before.joins, "nothing is known of the fleet");

    bench.fleet.announce(&status("new"), LONG).await?;
    assert!(!look().await?.joining, "all leave marks");
    let told = format!("{} {{\"id\":\"old\",\"keys\":{{}}}}", seconds * 1000);
    redis::cmd("HSET").arg("tv:{fleet}:replicas").arg("old").arg(told).exec_async(&mut connection).await?;
    let alive = (seconds + 60) * 1000;
    redis::cmd("ZADD").arg("tv:{fleet}:alive").arg(alive).arg("old").exec_async(&mut connection).await?;
    bench.fleet.announce(&status("new"), LONG).await?;
    assert!(look().await?.joining, "an older one was heard of");
    bench.fleet.depart(&ReplicaId::parse("old")?).await?;
    bench.fleet.announce(&status("new"), LONG).await?;
    assert!(look().await?.joining, "and what it began may be under way for a while");
    Ok(())
}

const LONG: Duration = Duration::from_mins(10);

fn status(name: &str) -> ReplicaStatus {
    ReplicaStatus {
        id: ReplicaId::parse(name).expect("a replica"),
        version: "0.1.0".to_owned(),
        schema: SCHEMA,
        started_at: NOW,
        seen_at: NOW,
        primary: "k1".to_owned(),
        keys: std::collections::BTreeMap::new(),
        wrong: std::collections::BTreeSet::new(),
        renewing: 0,
        clock_ahead_ms: 0,
    }
}
