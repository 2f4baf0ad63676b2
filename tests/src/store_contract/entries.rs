//! Rules about the entries that gather jobs by session, by user and by parent.

use std::collections::BTreeMap;

use tokenvault_core::ids::{Incarnation, JobId, JobKey, TenantId};
use tokenvault_core::ports::SessionEntry;

use super::bench::Bench;
use super::samples::{after, job, key, record, session, tenant, user};
use crate::harness::Result;

fn entry(incarnation: u64, jobs: &[&str]) -> SessionEntry {
    let joining = BTreeMap::new();
    SessionEntry { incarnation: Incarnation(incarnation), jobs: jobs.iter().copied().map(job).collect(), joining }
}

/// The entry without since when its jobs have been joining, which is the store's own time.
pub(super) fn untimed(entry: SessionEntry) -> SessionEntry {
    SessionEntry { joining: BTreeMap::new(), ..entry }
}

pub async fn a_job_is_joining_its_session_until_it_is_settled(bench: &Bench) -> Result<()> {
    let session = session("s1", "vault");
    bench.store.join_session(&session, &job("a"), after(1)).await?;
    bench.store.join_session(&session, &job("b"), after(1)).await?;

    bench.store.settle_session(&session, &job("a")).await?;
    bench.store.settle_session(&session, &job("stranger")).await?;

    let entry = bench.store.session(&session).await?.expect("an entry");
    assert_eq!(entry.jobs, [job("a"), job("b")]);
    assert_eq!(entry.joining.keys().collect::<Vec<_>>(), [&job("b")]);
    let again = bench.store.join_session(&session, &job("a"), after(1)).await?;
    assert_eq!(again.joining.len(), 2, "who joins again is joining again");
    Ok(())
}

pub async fn a_session_gathers_its_jobs(bench: &Bench) -> Result<()> {
    let session = session("s1", "vault");
    assert_eq!(bench.store.session(&session).await?, None);

    assert_eq!(untimed(bench.store.join_session(&session, &job("b"), after(1)).await?), entry(0, &["b"]));
    assert_eq!(untimed(bench.store.join_session(&session, &job("a"), after(1)).await?), entry(0, &["a", "b"]));
    assert_eq!(untimed(bench.store.join_session(&session, &job("a"), after(1)).await?), entry(0, &["a", "b"]));
    // A job may have any name.
    assert_eq!(untimed(bench.store.join_session(&session, &job("inc"), after(1)).await?), entry(0, &["a", "b", "inc"]));

    bench.store.leave_session(&session, &job("b")).await?;
    bench.store.leave_session(&session, &job("b")).await?;
    assert_eq!(bench.store.session(&session).await?.map(untimed), Some(entry(0, &["a", "inc"])));
    Ok(())
}

pub async fn a_session_outlives_its_jobs(bench: &Bench) -> Result<()> {
    let session = session("s1", "vault");
    bench.store.join_session(&session, &job("a"), after(1)).await?;
    bench.store.supersede_session(&session, Incarnation(0)).await?;

    bench.store.leave_session(&session, &job("a")).await?;

    assert_eq!(bench.store.session(&session).await?.map(untimed), Some(entry(1, &[])));
    assert_eq!(untimed(bench.store.join_session(&session, &job("c"), after(1)).await?), entry(1, &["c"]));
    Ok(())
}

pub async fn a_session_is_superseded_once_for_each_life(bench: &Bench) -> Result<()> {
    let session = session("s1", "vault");
    bench.store.join_session(&session, &job("a"), after(1)).await?;

    // Two replicas notice the same end.
    assert_eq!(bench.store.supersede_session(&session, Incarnation(0)).await?, Incarnation(1));
    assert_eq!(bench.store.supersede_session(&session, Incarnation(0)).await?, Incarnation(1));
    assert_eq!(bench.store.supersede_session(&session, Incarnation(1)).await?, Incarnation(2));
    assert_eq!(bench.store.supersede_session(&session, Incarnation(0)).await?, Incarnation(2));

    assert_eq!(bench.store.session(&session).await?.map(untimed), Some(entry(2, &["a"])));
    Ok(())
}

pub async fn a_lost_session_is_superseded_all_the_same(bench: &Bench) -> Result<()> {
    let session = session("s1", "vault");

    assert_eq!(bench.store.supersede_session(&session, Incarnation(4)).await?, Incarnation(5));

    assert_eq!(untimed(bench.store.join_session(&session, &job("a"), after(1)).await?), entry(5, &["a"]));
    Ok(())
}

pub async fn sessions_with_colons_do_not_run_into_each_other(bench: &Bench) -> Result<()> {
    // Enough pairs that some share a shard, where only the rest of the name keeps them apart.
    for n in 0..200 {
        let (a, b) = (session(&format!("s{n}:x"), "y"), session(&format!("s{n}"), "x:y"));
        bench.store.join_session(&a, &job("a"), after(1)).await?;
        assert_eq!(bench.store.session(&b).await?, None);
        bench.store.leave_session(&b, &job("a")).await?;
        assert_eq!(bench.store.session(&a).await?.map(untimed), Some(entry(0, &["a"])));
    }
    Ok(())
}

pub async fn a_users_jobs_are_listed_in_order_and_in_pages(bench: &Bench) -> Result<()> {
    let page = async |after: Option<&JobId>, limit| -> Result<Vec<JobId>> {
        Ok(bench.store.jobs_of_user(&tenant(), &user(), after, limit).await?)
    };
    assert!(page(None, 10).await?.is_empty());
    for name in ["c", "a", "d", "B", "a"] {
        bench.store.add_to_user(&user(), &key(name), after(1)).await?;
    }

    assert_eq!(page(None, 10).await?, ["B", "a", "c", "d"].map(job));
    assert_eq!(page(None, 2).await?, ["B", "a"].map(job));
    assert_eq!(page(Some(&job("a")), 2).await?, ["c", "d"].map(job));
    assert_eq!(page(Some(&job("b")), 1).await?, ["c"].map(job), "the job to go on after may be gone");
    assert!(page(Some(&job("d")), 2).await?.is_empty());

    bench.store.remove_from_user(&user(), &key("c")).await?;
    bench.store.remove_from_user(&user(), &key("c")).await?;
    assert_eq!(page(None, 10).await?, ["B", "a", "d"].map(job));
    Ok(())
}

pub async fn a_user_takes_so_many_jobs(bench: &Bench) -> Result<()> {
    let reserve = async |name: &str| bench.store.reserve_for_user(&user(), &key(name), after(1), 2).await;

    assert!(reserve("a").await?);
    assert!(reserve("b").await?);
    assert!(!reserve("c").await?);
    assert!(reserve("b").await?, "one that is in stays in");
    bench.store.add_to_user(&user(), &key("d"), after(1)).await?;
    bench.store.remove_from_user(&user(), &key("a")).await?;
    assert!(!reserve("c").await?, "what was entered without asking counts");
    bench.store.remove_from_user(&user(), &key("b")).await?;
    assert!(reserve("c").await?);
    assert_eq!(bench.store.jobs_of_user(&tenant(), &user(), None, 9).await?, ["c", "d"].map(job));
    Ok(())
}

pub async fn users_of_two_tenants_do_not_meet(bench: &Bench) -> Result<()> {
    let other = TenantId::parse("other").expect("a tenant");
    bench.store.add_to_user(&user(), &key("a"), after(1)).await?;
    bench.store.add_to_user(&user(), &JobKey::new(other.clone(), job("b")), after(1)).await?;

    assert_eq!(bench.store.jobs_of_user(&tenant(), &user(), None, 9).await?, [job("a")]);
    assert_eq!(bench.store.jobs_of_user(&other, &user(), None, 9).await?, [job("b")]);
    Ok(())
}

pub async fn a_parent_takes_so_many_children(bench: &Bench) -> Result<()> {
    bench.create(&record(&key("parent"), after(1))).await?;
    let add = async |name: &str| bench.store.add_child(&key("parent"), &job(name), 2).await;

    assert!(add("a").await?);
    assert!(add("b").await?);
    assert!(!add("c").await?);
    assert!(add("b").await?, "one that is in stays in");
    bench.store.remove_child(&key("parent"), &job("a")).await?;
    bench.store.remove_child(&key("parent"), &job("a")).await?;
    assert!(add("c").await?);
    assert!(!add("a").await?);
    Ok(())
}
