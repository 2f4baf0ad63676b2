//! Rules about what is forgotten, and when. These alone live in the present.

use std::time::Duration;

use tokenvault_core::ports::{Created, Write, Written};
use tokenvault_core::record::Record;
use tokenvault_core::time::Timestamp;

use super::bench::Bench;
use super::samples::{NOW, job, key, record, session, tenant, user};
use crate::harness::Result;

fn soon(bench: &Bench) -> Timestamp {
    bench.expiry_clock() + Duration::from_secs(2)
}

fn late(bench: &Bench) -> Timestamp {
    bench.expiry_clock() + Duration::from_hours(1)
}

fn kept(name: &str, keep_until: Timestamp) -> Record {
    Record { keep_until, ..record(&key(name), NOW) }
}

async fn until_gone(bench: &Bench, name: &str) -> Result<()> {
    bench.until("the record expires", async || Ok(bench.store.load(&key(name)).await?.is_none())).await
}

pub async fn a_record_expires_and_its_due_entry_goes_with_the_next_claim(bench: &Bench) -> Result<()> {
    let record = kept("j", soon(bench));
    bench.create(&record).await?;
    until_gone(bench, "j").await?;
    assert_eq!(bench.store.write(&Write::between(&record, &record, bench.attempt())).await?, Written::Gone);

    assert!(bench.claim(&key("j"), NOW).await?.is_empty());

    assert_eq!(bench.due_from(&key("j")).await?, None);
    assert_eq!(bench.store.create(&kept("j", late(bench)), None, bench.attempt()).await?, Created::Done);
    Ok(())
}

pub async fn a_write_moves_the_expiry(bench: &Bench) -> Result<()> {
    for (name, kept_until, until) in [("longer", soon(bench), late(bench)), ("shorter", late(bench), soon(bench))] {
        let before = kept(name, kept_until);
        bench.create(&before).await?;
        bench.done(&Write::between(&before, &kept(name, until), bench.attempt())).await?;
    }

    until_gone(bench, "shorter").await?;

    assert!(bench.store.load(&key("longer")).await?.is_some());
    Ok(())
}

pub async fn an_entry_lives_as_long_as_its_longest_member(bench: &Bench) -> Result<()> {
    let (lasting, brief) = (session("lasting", "vault"), session("brief", "vault"));
    let (soon, late) = (soon(bench), late(bench));
    bench.store.enter_session(&lasting, &job("a"), late).await?;
    bench.store.enter_session(&lasting, &job("b"), soon).await?;
    bench.store.enter_session(&brief, &job("a"), soon).await?;
    bench.store.add_to_user(&user(), &key("a"), late).await?;
    bench.store.add_to_user(&user(), &key("b"), soon).await?;

    bench.until("the brief session expires", async || Ok(bench.store.session(&brief).await?.is_none())).await?;

    assert_eq!(bench.store.session(&lasting).await?.map(|entry| entry.jobs), Some(vec![job("a"), job("b")]));
    assert_eq!(bench.store.jobs_of_user(&tenant(), &user(), None, 9).await?, [job("a"), job("b")]);
    Ok(())
}

pub async fn children_expire_with_their_parent(bench: &Bench) -> Result<()> {
    let before = kept("parent", late(bench));
    bench.create(&before).await?;
    bench.store.add_child(&key("parent"), &job("child"), 1).await?;

    bench.done(&Write::between(&before, &kept("parent", soon(bench)), bench.attempt())).await?;

    until_gone(bench, "parent").await?;
    bench
        .until("there is room for another child", async || {
            Ok(bench.store.add_child(&key("parent"), &job("other"), 1).await?)
        })
        .await
}
