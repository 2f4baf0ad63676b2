//! A Redis that is full (`maxmemory`, `noeviction`): what begins something new is refused, and what ends or renews something
//! goes on. And what little is left of what has ended.

use std::time::Duration;

use tokenvault_core::ids::{AttemptId, Incarnation, ModuleName};
use tokenvault_core::ports::{Join, Pause, StoreCause, StoreError, Write, Written};
use tokenvault_core::record::Record;
use tokenvault_core::time::Timestamp;
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::redis::Redis;
use tokenvault_tests::store_contract::bench::Bench;
use tokenvault_tests::store_contract::samples::{
    NOW, after, ended, job, key, record, releasing, rotated, session, user,
};

const FULL: StoreError = StoreError::Unavailable(StoreCause::OutOfMemory);

async fn fill(redis: &Redis) -> Result<()> {
    let mut connection = redis.connection().await?;
    let mut set = redis::cmd("CONFIG");
    Ok(set.arg("SET").arg("maxmemory").arg(1).query_async(&mut connection).await?)
}

#[tokio::test]
async fn a_full_redis_refuses_what_is_new_and_lets_jobs_be_renewed_and_ended() -> Result<()> {
    let mut bench = Bench::redis().await?;
    let names = ["released", "renewed", "revoked"];
    for name in names {
        bench.create(&record(&key(name), NOW)).await?;
        bench.store.enter_session(&session("s1", "vault"), &job(name), after(1)).await?;
        bench.store.add_to_user(&user(), &key(name), after(1)).await?;
    }
    bench.store.add_child(&key("renewed"), &job("child"), 5).await?;
    bench.store.ready().await?;
    fill(bench.server()?).await?;
    let store = &bench.store;

    assert_eq!(store.ready().await, Err(FULL));
    assert_eq!(store.create(&record(&key("new"), NOW), None, bench.attempt()).await.err(), Some(FULL));
    let (by, s1, new) = (ModuleName::parse("mod-a")?, session("s1", "vault"), job("new"));
    let attempt = AttemptId::from_bits(1);
    let join = Join { session: &s1, job: &new, attempt, by: &by, keep_until: after(1), most_jobs: 9 };
    assert_eq!(store.join_session(&join).await.err(), Some(FULL));
    assert_eq!(store.reserve_for_user(&user(), &key("new"), after(1), 9).await.err(), Some(FULL));

    let released = record(&key("released"), NOW);
    bench.done(&Write::between(&released, &ended(&released), bench.attempt())).await?;
    let revoked = record(&key("revoked"), NOW);
    bench.done(&Write::between(&revoked, &releasing(&revoked, NOW), bench.attempt())).await?;
    let claimed = bench.claim_one(&key("renewed"), NOW).await?;
    assert!(store.look_at_session(&s1, &job("renewed"), true).await?.is_some());
    let renewal = Write::between(&claimed.record, &rotated(&claimed.record, after(9)), bench.attempt());
    bench.done(&renewal.under(&claimed.lease).releasing()).await?;
    store.make_due(&key("renewed"), after(2), after(2)).await?;
    store.leave_session(&s1, &job("released")).await?;
    store.remove_from_user(&user(), &key("released")).await?;
    store.remove_child(&key("renewed"), &job("child")).await?;
    store.supersede_session(&s1, Incarnation(0)).await?;
    let pause = Pause { since: NOW, until: after(1), by: "alice".to_owned(), reason: "it is full".to_owned() };
    bench.fleet.pause(&pause).await?;
    assert_eq!(store.jobs_of_user(&user_tenant(), &user(), None, 9).await?, [job("renewed"), job("revoked")]);
    Ok(())
}

fn user_tenant() -> tokenvault_core::ids::TenantId {
    key("a").tenant
}

/// A child of a job, whose terms were vouched for.
fn child(name: &str) -> Record {
    let terms = Some(tokenvault_core::seal::Sealed::from_bytes(vec![7; 140]));
    let (session, pair) = (None, None);
    Record { parent: Some(job("parent")), terms, session, pair, ..record(&key(name), NOW + Duration::from_hours(1)) }
}

#[tokio::test]
async fn what_is_left_of_an_ended_job_is_small_and_of_a_child_smaller() -> Result<()> {
    let mut bench = Bench::redis().await?;
    let (own, part) =
        (record(&key("11111111-2222-3333-4444-555555555555"), NOW), child("22222222-2222-3333-4444-555555555555"));
    for before in [&own, &part] {
        bench.create(before).await?;
        bench.done(&Write::between(before, &ended(before), bench.attempt())).await?;
        let again = Write::between(before, &ended(before), bench.attempt());
        assert_eq!(bench.store.write(&again).await?, Written::Conflict, "it is over");
    }
    let mut connection = bench.server()?.connection().await?;
    for (record, most) in [(&own, 900), (&part, 700)] {
        let name: Vec<String> =
            redis::cmd("KEYS").arg(format!("*:job:{}", record.key)).query_async(&mut connection).await?;
        let bytes: usize = redis::cmd("MEMORY").arg("USAGE").arg(&name[0]).query_async(&mut connection).await?;
        assert!(bytes <= most, "{bytes} bytes of {}", record.key);
    }
    let stored = bench.load(&part.key).await?.record;
    assert!(stored.readers.is_empty() && stored.terms.is_none() && stored.registrar == part.registrar);
    assert!(stored.keep_until > Timestamp::default());
    Ok(())
}
