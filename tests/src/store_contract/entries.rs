//! Rules about the entries that gather jobs by session, by user and by parent.

use std::collections::BTreeMap;
use std::time::Duration;

use tokenvault_core::ids::{AttemptId, Incarnation, JobId, JobKey, ModuleName, SessionKey, TenantId};
use tokenvault_core::ports::{Join, Joined, MOST_JOINING, MOST_JOINING_OF_ONE, SessionEntry};
use tokenvault_core::time::Timestamp;

use super::bench::Bench;
use super::samples::{after, job, key, record, session, tenant, user};
use crate::harness::Result;

fn entry(incarnation: u64, jobs: &[&str]) -> SessionEntry {
    let joining = BTreeMap::new();
    SessionEntry { incarnation: Incarnation(incarnation), jobs: jobs.iter().copied().map(job).collect(), joining }
}

/// The entry without since when its jobs have been joining, which is the store's own time.
pub(super) fn untimed(entry: SessionEntry) -> SessionEntry {
    let joining = entry.joining.into_keys().map(|job| (job, Timestamp::default())).collect();
    SessionEntry { joining, ..entry }
}

async fn enter(bench: &Bench, session: &SessionKey, name: &str) -> Result<()> {
    bench.store.enter_session(session, &job(name), after(1)).await?;
    Ok(())
}

/// Joins a job of one module, by an attempt.
async fn join(bench: &Bench, session: &SessionKey, name: &str, attempt: u64) -> Result<Joined> {
    join_as(bench, session, (name, "mod-a"), attempt).await
}

async fn join_as(bench: &Bench, session: &SessionKey, (name, module): (&str, &str), attempt: u64) -> Result<Joined> {
    let (job, by) = (job(name), ModuleName::parse(module).expect("a module"));
    let attempt = AttemptId::from_bits(attempt);
    let join = Join { session, job: &job, attempt, by: &by, keep_until: after(1), most_jobs: 20 };
    Ok(bench.store.join_session(&join).await?)
}

/// Who is joining by now.
async fn joining(bench: &Bench, session: &SessionKey) -> Result<Vec<JobId>> {
    let entry = bench.store.session(session).await?.expect("an entry");
    Ok(entry.joining.into_keys().collect())
}

async fn jobs(bench: &Bench, session: &SessionKey) -> Result<Vec<JobId>> {
    Ok(bench.store.session(session).await?.map(|entry| entry.jobs).unwrap_or_default())
}

const ONE: AttemptId = AttemptId::from_bits(1);
const TWO: AttemptId = AttemptId::from_bits(2);
const IN: Joined = Joined::In(Incarnation(0));

pub async fn a_job_is_joining_its_session_until_it_is_settled(bench: &Bench) -> Result<()> {
    let session = session("s1", "vault");
    assert_eq!(join(bench, &session, "a", 1).await?, IN);
    assert_eq!(join(bench, &session, "b", 2).await?, IN);

    bench.store.finish_join(&session, &job("a"), ONE).await?;
    bench.store.finish_join(&session, &job("stranger"), ONE).await?;

    assert_eq!(jobs(bench, &session).await?, [job("a"), job("b")]);
    assert_eq!(joining(bench, &session).await?, [job("b")]);
    join(bench, &session, "a", 3).await?;
    assert_eq!(joining(bench, &session).await?.len(), 2, "who joins again is joining again");
    Ok(())
}

pub async fn a_withdrawn_attempt_leaves_nothing_behind(bench: &Bench) -> Result<()> {
    let session = session("s1", "vault");
    join(bench, &session, "refused", 1).await?;
    bench.store.cancel_join(&session, &job("refused"), ONE).await?;
    assert_eq!(bench.store.session(&session).await?, None, "not even the entry");

    bench.store.enter_session(&session, &job("lives"), after(1)).await?;
    for attempt in 1..200 {
        join(bench, &session, &format!("refused-{attempt}"), attempt).await?;
        let attempt = AttemptId::from_bits(attempt);
        bench.store.cancel_join(&session, &job(&format!("refused-{attempt}")), attempt).await?;
    }
    join(bench, &session, "refused", 1).await?;
    bench.store.cancel_join(&session, &job("refused"), ONE).await?;
    bench.store.cancel_join(&session, &job("refused"), ONE).await?;
    let entry = bench.store.session(&session).await?.expect("an entry");
    assert!(!entry.jobs.contains(&job("refused")) && !entry.joining.contains_key(&job("refused")), "{entry:?}");
    Ok(())
}

pub async fn a_withdrawn_attempt_takes_nothing_from_another_one(bench: &Bench) -> Result<()> {
    let session = session("s1", "vault");
    join(bench, &session, "a", 1).await?;
    join(bench, &session, "a", 2).await?;
    bench.store.cancel_join(&session, &job("a"), ONE).await?;
    assert_eq!(joining(bench, &session).await?, [job("a")], "the other one is on its way");
    bench.store.finish_join(&session, &job("a"), TWO).await?;
    assert!(joining(bench, &session).await?.is_empty());

    // One that lives there is tried again, and refused.
    join(bench, &session, "a", 3).await?;
    assert_eq!(joining(bench, &session).await?, [job("a")]);
    bench.store.cancel_join(&session, &job("a"), AttemptId::from_bits(3)).await?;
    assert!(joining(bench, &session).await?.is_empty());
    assert_eq!(jobs(bench, &session).await?, [job("a")], "it lives there as before");

    // The first of two settles, and the second is withdrawn.
    join(bench, &session, "b", 4).await?;
    join(bench, &session, "b", 5).await?;
    bench.store.finish_join(&session, &job("b"), AttemptId::from_bits(4)).await?;
    assert_eq!(joining(bench, &session).await?, [job("b")]);
    bench.store.cancel_join(&session, &job("b"), AttemptId::from_bits(5)).await?;
    assert_eq!(jobs(bench, &session).await?, [job("a"), job("b")]);
    Ok(())
}

pub async fn who_leaves_while_another_attempt_joins_stays_in_for_that(bench: &Bench) -> Result<()> {
    let session = session("s1", "vault");
    bench.store.enter_session(&session, &job("a"), after(1)).await?;
    join(bench, &session, "a", 1).await?;
    bench.store.leave_session(&session, &job("a")).await?;
    assert_eq!(jobs(bench, &session).await?, [job("a")]);
    bench.store.cancel_join(&session, &job("a"), ONE).await?;
    assert!(jobs(bench, &session).await?.is_empty(), "then nothing of it is left");
    Ok(())
}

pub async fn so_many_join_a_session_at_a_time(bench: &Bench) -> Result<()> {
    let session = session("s1", "vault");
    let most = u64::try_from(MOST_JOINING_OF_ONE)?;
    for attempt in 0..most {
        assert_eq!(join(bench, &session, "a", attempt).await?, IN);
    }
    assert_eq!(join(bench, &session, "a", 0).await?, IN, "one that is in, is in");
    assert_eq!(join(bench, &session, "b", most).await?, Joined::Busy);
    for attempt in most..u64::try_from(MOST_JOINING)? {
        let module = format!("mod-{}", attempt / most);
        assert_eq!(join_as(bench, &session, ("b", &module), attempt).await?, IN, "{attempt}");
    }
    assert_eq!(join_as(bench, &session, ("b", "mod-z"), 1000).await?, Joined::Busy);
    assert!(!jobs(bench, &session).await?.contains(&job("z")));
    bench.store.cancel_join(&session, &job("a"), ONE).await?;
    assert_eq!(join_as(bench, &session, ("b", "mod-z"), 1000).await?, IN);
    Ok(())
}

pub async fn a_session_takes_so_many_jobs(bench: &Bench) -> Result<()> {
    let session = session("s1", "vault");
    for n in 0..20 {
        bench.store.enter_session(&session, &job(&format!("j{n}")), after(1)).await?;
    }
    join(bench, &session, "j1", 1).await?;
    // The entry has fields of its own; a few jobs more may be in.
    let full = async || -> Result<bool> {
        for n in 20..25 {
            if join(bench, &session, &format!("j{n}"), 100 + n).await? == Joined::Full {
                return Ok(true);
            }
        }
        Ok(false)
    };
    assert!(full().await?);
    assert_eq!(join(bench, &session, "j2", 2).await?, IN, "one that is in stays in");
    Ok(())
}

pub async fn a_renewal_sees_whether_somebody_has_joined_or_is_joining(bench: &Bench) -> Result<()> {
    let session = session("s1", "vault");
    let look = async || bench.store.look_at_session(&session, &job("a"), false).await;
    assert_eq!(look().await?, None);
    bench.store.enter_session(&session, &job("a"), after(1)).await?;
    let before = look().await?.expect("an entry");
    assert_eq!((before.incarnation, before.joining), (Incarnation(0), false));
    assert_eq!(look().await?.as_ref(), Some(&before), "a look changes nothing");

    join(bench, &session, "b", 1).await?;
    let during = look().await?.expect("an entry");
    assert!(during.joining && during.joins != before.joins);
    assert!(!bench.store.look_at_session(&session, &job("b"), false).await?.expect("an entry").joining, "itself");
    bench.store.finish_join(&session, &job("b"), ONE).await?;
    let after = look().await?.expect("an entry");
    assert!(!after.joining && after.joins != before.joins, "it shows who came and went in between");

    bench.store.supersede_session(&session, Incarnation(0)).await?;
    assert_eq!(look().await?.map(|look| look.incarnation), Some(Incarnation(1)));
    Ok(())
}

pub async fn newcomers_wait_for_a_renewal_that_waits_and_are_let_in_after_it(bench: &Bench) -> Result<()> {
    let session = session("s1", "vault");
    bench.store.enter_session(&session, &job("a"), after(1)).await?;
    let look = async |exchanges| bench.store.look_at_session(&session, &job("a"), exchanges).await;
    look(true).await?;
    assert_eq!(join(bench, &session, "b", 1).await?, IN, "a renewal that need not wait holds nobody up");
    assert!(look(false).await?.is_some_and(|look| look.joining));
    assert_eq!(join(bench, &session, "c", 2).await?, IN, "nor does one that exchanges nothing");

    assert!(look(true).await?.is_some_and(|look| look.joining));
    assert_eq!(join(bench, &session, "d", 3).await?, Joined::Held);
    assert_eq!(join(bench, &session, "b", 1).await?, IN, "who was on the way goes on");
    assert!(!jobs(bench, &session).await?.contains(&job("d")));
    bench.store.finish_join(&session, &job("b"), ONE).await?;
    bench.store.cancel_join(&session, &job("c"), TWO).await?;
    assert!(look(true).await?.is_some_and(|look| !look.joining), "the renewal has its turn");
    assert_eq!(join(bench, &session, "d", 3).await?, Joined::Held, "and goes ahead");

    let let_in = async || -> Result<bool> {
        // A busy session is looked at all the time.
        look(true).await?;
        Ok(join(bench, &session, "d", 3).await? == IN)
    };
    bench.until("newcomers are let in", let_in).await?;
    assert!(look(true).await?.is_some_and(|look| look.joining));
    assert_eq!(join(bench, &session, "e", 4).await?, IN, "the next hold leaves them a gap");
    Ok(())
}

pub async fn a_session_gathers_its_jobs(bench: &Bench) -> Result<()> {
    let session = session("s1", "vault");
    assert_eq!(bench.store.session(&session).await?, None);

    enter(bench, &session, "b").await?;
    assert_eq!(bench.store.session(&session).await?.map(untimed), Some(entry(0, &["b"])));
    enter(bench, &session, "a").await?;
    assert_eq!(bench.store.session(&session).await?.map(untimed), Some(entry(0, &["a", "b"])));
    enter(bench, &session, "a").await?;
    assert_eq!(bench.store.session(&session).await?.map(untimed), Some(entry(0, &["a", "b"])));
    // A job may have any name.
    enter(bench, &session, "inc").await?;
    assert_eq!(bench.store.session(&session).await?.map(untimed), Some(entry(0, &["a", "b", "inc"])));

    bench.store.leave_session(&session, &job("b")).await?;
    bench.store.leave_session(&session, &job("b")).await?;
    assert_eq!(bench.store.session(&session).await?.map(untimed), Some(entry(0, &["a", "inc"])));
    Ok(())
}

pub async fn a_session_outlives_its_jobs(bench: &Bench) -> Result<()> {
    let session = session("s1", "vault");
    enter(bench, &session, "a").await?;
    bench.store.supersede_session(&session, Incarnation(0)).await?;

    bench.store.leave_session(&session, &job("a")).await?;

    assert_eq!(bench.store.session(&session).await?.map(untimed), Some(entry(1, &[])));
    enter(bench, &session, "c").await?;
    assert_eq!(bench.store.session(&session).await?.map(untimed), Some(entry(1, &["c"])));
    Ok(())
}

pub async fn a_session_that_everybody_has_left_leaves_no_entry(bench: &Bench) -> Result<()> {
    let session = session("s1", "vault");
    enter(bench, &session, "a").await?;
    join(bench, &session, "b", 1).await?;
    bench.store.finish_join(&session, &job("b"), ONE).await?;
    bench.store.leave_session(&session, &job("a")).await?;
    assert_eq!(jobs(bench, &session).await?, [job("b")]);
    bench.store.leave_session(&session, &job("b")).await?;
    assert_eq!(bench.store.session(&session).await?, None);

    enter(bench, &session, "a").await?;
    join(bench, &session, "b", 2).await?;
    bench.store.leave_session(&session, &job("a")).await?;
    assert_eq!(joining(bench, &session).await?, [job("b")], "who is on the way finds it as it was");
    Ok(())
}

pub async fn a_session_is_superseded_once_for_each_life(bench: &Bench) -> Result<()> {
    let session = session("s1", "vault");
    enter(bench, &session, "a").await?;

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

    enter(bench, &session, "a").await?;
    assert_eq!(bench.store.session(&session).await?.map(untimed), Some(entry(5, &["a"])));
    Ok(())
}

pub async fn sessions_with_colons_do_not_run_into_each_other(bench: &Bench) -> Result<()> {
    // Enough pairs that some share a shard, where only the rest of the name keeps them apart.
    for n in 0..200 {
        let (a, b) = (session(&format!("s{n}:x"), "y"), session(&format!("s{n}"), "x:y"));
        enter(bench, &a, "a").await?;
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

pub async fn a_module_takes_so_many_records_and_gets_them_back(bench: &Bench) -> Result<()> {
    let (tenant, module, other) = (tenant(), ModuleName::parse("mod-a")?, ModuleName::parse("mod-b")?);
    let (soon, late) = (bench.expiry_clock() + Duration::from_hours(1), bench.expiry_clock() + Duration::from_hours(9));
    let take = async |module: &ModuleName, until| bench.store.take_share(&tenant, module, until, 2).await;

    assert!(take(&module, soon).await? && take(&module, late).await?);
    assert!(!take(&module, late).await?);
    assert!(take(&other, late).await?, "each has its own");
    bench.store.move_share(&tenant, &module, late, Some(soon)).await?;
    bench.store.move_share(&tenant, &module, late, None).await?;
    assert!(!take(&module, late).await?, "what has ended counts, and what was never counted gives nothing back");
    bench.store.move_share(&tenant, &module, soon, None).await?;
    assert!(take(&module, late).await?);
    bench.store.move_share(&tenant, &module, soon, Some(bench.expiry_clock() - Duration::from_hours(1))).await?;
    assert!(take(&module, late).await?, "what is forgotten counts no more");
    Ok(())
}
