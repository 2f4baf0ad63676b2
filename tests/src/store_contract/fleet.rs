//! Rules about what replicas and operators tell each other.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokenvault_core::ids::{JobKey, TenantId, UserId};
use tokenvault_core::ports::{Census, Event, Filter, KeyProof, Pause, Promoted, ReplicaStatus, Resealing};
use tokenvault_core::record::{Record, State, Suspension};
use tokenvault_core::time::Timestamp;

use super::bench::{Bench, replica};
use super::samples::{NOW, after, ended, job, key, record, releasing, tenant};
use crate::harness::{Failure, Result};

const LONG: Duration = Duration::from_mins(10);
const SHORT: Duration = Duration::from_secs(2);

fn status(name: &str, keys: &[(&str, &str)]) -> ReplicaStatus {
    ReplicaStatus {
        id: replica(name),
        version: "0.1.0".to_owned(),
        schema: 1,
        started_at: NOW,
        seen_at: Timestamp::default(),
        primary: "k1".to_owned(),
        keys: keys.iter().map(|(id, check)| ((*id).to_owned(), (*check).to_owned())).collect::<BTreeMap<_, _>>(),
        wrong: BTreeSet::from(["k0".to_owned()]),
        renewing: 3,
        clock_ahead_ms: -300_000,
    }
}

async fn names(bench: &Bench) -> Result<Vec<String>> {
    Ok(bench.fleet.replicas().await?.into_iter().map(|status| status.id.to_string()).collect())
}

fn event(kind: &str) -> Event {
    Event {
        id: String::new(),
        at: NOW,
        kind: kind.to_owned(),
        tenant: Some(tenant()),
        job: Some(job("j")),
        reason: None,
        replica: replica("r1"),
    }
}

fn work(key: &str, started_at: Timestamp) -> Resealing {
    Resealing {
        key: key.to_owned(),
        started_at,
        finished_at: None,
        total: 7,
        seen: 0,
        resealed: 0,
        failed: 0,
        cursor: None,
        worker: None,
    }
}

pub async fn replicas_are_known_while_they_tell_of_themselves(bench: &Bench) -> Result<()> {
    let before = bench.expiry_clock();
    bench.fleet.announce(&status("b", &[("k1", "c1")]), LONG).await?;
    bench.fleet.announce(&status("a", &[]), LONG).await?;
    bench.fleet.announce(&status("silent", &[]), SHORT).await?;
    let newer = ReplicaStatus { renewing: 9, ..status("b", &[("k1", "c1")]) };
    bench.fleet.announce(&newer, LONG).await?;

    let told = bench.fleet.replicas().await?;

    assert_eq!(told.iter().map(|status| status.id.as_str()).collect::<Vec<_>>(), ["a", "b", "silent"]);
    assert!(told[1].seen_at + Duration::from_millis(5) >= before, "{}", told[1].seen_at);
    assert_eq!(ReplicaStatus { seen_at: newer.seen_at, ..told[1].clone() }, newer);
    bench.until("the silent one is forgotten", async || Ok(names(bench).await? == ["a", "b"])).await?;
    bench.fleet.depart(&replica("a")).await?;
    bench.fleet.depart(&replica("never-there")).await?;
    assert_eq!(names(bench).await?, ["b"]);
    Ok(())
}

pub async fn a_key_is_promoted_when_every_live_replica_holds_it(bench: &Bench) -> Result<()> {
    let fleet = &bench.fleet;
    assert_eq!(fleet.promote("k2").await?, Promoted::Missing(Vec::new()), "nobody is known to hold it");
    fleet.announce(&status("a", &[("k1", "c1"), ("k2", "c2")]), LONG).await?;
    fleet.announce(&status("b", &[("k1", "c1")]), SHORT).await?;

    assert_eq!(fleet.promote("k2").await?, Promoted::Missing(vec![replica("b")]));
    assert_eq!(fleet.promoted_key().await?, None);
    fleet.announce(&status("b", &[("k1", "c1"), ("k2", "other")]), SHORT).await?;
    assert_eq!(fleet.promote("k2").await?, Promoted::Differs(vec![replica("a"), replica("b")]));
    assert_eq!(fleet.promoted_key().await?, None);
    fleet.announce(&status("b", &[("k1", "c1"), ("k2", "c2")]), SHORT).await?;
    assert_eq!(fleet.promote("k2").await?, Promoted::Done);

    assert_eq!(fleet.promoted_key().await?.as_deref(), Some("k2"));
    assert_eq!(fleet.promote("k2").await?, Promoted::Already);
    Ok(())
}

pub async fn a_key_is_vouched_for_once(bench: &Bench) -> Result<()> {
    let fleet = &bench.fleet;
    assert_eq!(fleet.key_checks().await?, BTreeMap::new());

    assert_eq!(fleet.vouch_for_key("k1", "c1", KeyProof::Opened).await?, "c1");
    assert_eq!(fleet.vouch_for_key("k1", "c1", KeyProof::Unused).await?, "c1", "said again");
    for proof in [KeyProof::Opened, KeyProof::Unused] {
        assert_eq!(fleet.vouch_for_key("k1", "other", proof).await?, "c1", "{proof:?}");
    }
    assert_eq!(fleet.vouch_for_key("k2", "c2", KeyProof::Unused).await?, "c2");

    let both = BTreeMap::from([("k1", "c1"), ("k2", "c2")].map(|(id, check)| (id.to_owned(), check.to_owned())));
    assert_eq!(fleet.key_checks().await?, both);
    Ok(())
}

pub async fn an_unused_key_is_not_vouched_for_while_a_live_replica_holds_another_one(bench: &Bench) -> Result<()> {
    let fleet = &bench.fleet;
    fleet.announce(&status("older", &[("k1", "theirs")]), LONG).await?;

    assert_eq!(fleet.vouch_for_key("k1", "ours", KeyProof::Unused).await?, "theirs");
    assert_eq!(fleet.key_checks().await?, BTreeMap::new());
    assert_eq!(fleet.vouch_for_key("k1", "theirs", KeyProof::Unused).await?, "theirs");
    assert_eq!(fleet.key_checks().await?.len(), 1);

    // What has opened something is right, whatever others hold.
    fleet.announce(&status("older", &[("k2", "theirs")]), LONG).await?;
    assert_eq!(fleet.vouch_for_key("k2", "ours", KeyProof::Opened).await?, "ours");
    Ok(())
}

pub async fn of_two_that_vouch_at_once_one_is_first_and_both_are_told_which(bench: &Bench) -> Result<()> {
    let fleet = &bench.fleet;
    for round in 0..20 {
        let id = format!("k{round}");
        let (one, other) = tokio::join!(
            fleet.vouch_for_key(&id, "one", KeyProof::Unused),
            fleet.vouch_for_key(&id, "other", KeyProof::Unused)
        );
        assert_eq!(one?, other?);
    }
    Ok(())
}

pub async fn a_key_is_not_promoted_that_is_another_one_than_was_vouched_for(bench: &Bench) -> Result<()> {
    let fleet = &bench.fleet;
    fleet.vouch_for_key("k2", "c2", KeyProof::Opened).await?;
    fleet.announce(&status("a", &[("k2", "other")]), LONG).await?;

    assert_eq!(fleet.promote("k2").await?, Promoted::Differs(vec![replica("a")]));
    assert_eq!(fleet.promoted_key().await?, None);
    fleet.announce(&status("a", &[("k2", "c2")]), LONG).await?;
    assert_eq!(fleet.promote("k2").await?, Promoted::Done);
    Ok(())
}

pub async fn a_replica_that_fell_silent_holds_up_no_promotion(bench: &Bench) -> Result<()> {
    bench.fleet.announce(&status("a", &[("k2", "c2")]), LONG).await?;
    bench.fleet.announce(&status("gone", &[]), SHORT).await?;
    bench.fleet.announce(&status("stopped", &[]), LONG).await?;
    bench.fleet.depart(&replica("stopped")).await?;

    bench.until("the silent one is forgotten", async || Ok(bench.fleet.promote("k2").await? == Promoted::Done)).await
}

pub async fn a_pause_ends_when_it_is_lifted_and_by_itself(bench: &Bench) -> Result<()> {
    let fleet = &bench.fleet;
    let until = |until| Pause { since: NOW, until, by: "alice".to_owned(), reason: "a test".to_owned() };
    assert_eq!(fleet.paused().await?, None);
    assert!(!fleet.resume().await?);

    let long = until(bench.expiry_clock() + LONG);
    fleet.pause(&long).await?;
    assert_eq!(fleet.paused().await?, Some(long));
    assert!(fleet.resume().await?);
    assert_eq!(fleet.paused().await?, None);

    fleet.pause(&until(bench.expiry_clock() + SHORT)).await?;
    assert!(fleet.paused().await?.is_some());
    bench.until("it ends by itself", async || Ok(fleet.paused().await?.is_none())).await?;
    fleet.pause(&until(Timestamp::from_secs(1))).await?;
    assert_eq!(fleet.paused().await?, None, "its end had passed");
    Ok(())
}

pub async fn a_resealing_under_way_is_not_started_again(bench: &Bench) -> Result<()> {
    let fleet = &bench.fleet;
    assert_eq!(fleet.resealing().await?, None);
    let first = fleet.start_resealing(&work("k2", after(1))).await?;
    assert_eq!(first, work("k2", after(1)));

    assert_eq!(fleet.start_resealing(&work("k2", after(2))).await?, first);
    let other = fleet.start_resealing(&work("k3", after(3))).await?;
    assert_eq!(other, work("k3", after(3)), "another key has been promoted since");
    fleet.take_resealing(&replica("a"), after(4), after(9)).await?;
    let done = Resealing { finished_at: Some(after(5)), seen: 7, ..other };
    assert!(fleet.note_resealing(&replica("a"), &done).await?);

    assert_eq!(fleet.take_resealing(&replica("b"), after(99), after(199)).await?, None, "nothing is left of it");
    assert_eq!(fleet.start_resealing(&work("k3", after(6))).await?, work("k3", after(6)));
    Ok(())
}

pub async fn a_resealing_has_one_worker_and_is_taken_up_where_it_was_left(bench: &Bench) -> Result<()> {
    let (fleet, a, b) = (&bench.fleet, replica("a"), replica("b"));
    assert_eq!(fleet.take_resealing(&a, NOW, after(10)).await?, None, "there is none");
    fleet.start_resealing(&work("k2", after(1))).await?;

    let taken = fleet.take_resealing(&a, NOW, after(10)).await?.expect("it is free");
    assert_eq!(taken.worker, Some((a.clone(), after(10))));
    assert_eq!(fleet.take_resealing(&b, after(9), after(20)).await?, None);
    let progress =
        Resealing { seen: 3, resealed: 2, failed: 1, cursor: Some("here".to_owned()), worker: None, ..taken };
    assert!(fleet.note_resealing(&a, &progress).await?);
    assert!(fleet.note_resealing(&a, &progress).await?, "an answer may be lost");
    assert!(fleet.take_resealing(&a, after(9), after(12)).await?.is_some(), "it is kept");
    assert_eq!(fleet.take_resealing(&b, after(11), after(20)).await?, None);

    let left = fleet.take_resealing(&b, after(12), after(20)).await?.expect("its worker has vanished");

    assert_eq!(left, Resealing { worker: Some((b.clone(), after(20))), ..progress.clone() });
    assert!(!fleet.note_resealing(&a, &progress).await?, "it is not theirs any more");
    assert!(!fleet.note_resealing(&b, &Resealing { started_at: after(5), ..progress }).await?, "it is another one");
    Ok(())
}

async fn walk(bench: &Bench, filter: &Filter, count: usize) -> Result<Vec<JobKey>> {
    let (mut found, mut from) = (BTreeSet::new(), None);
    for _ in 0..1000 {
        let page = bench.fleet.walk(filter, from.as_deref(), count).await?;
        assert_eq!(page.unreadable, 0);
        found.extend(page.records.into_iter().map(|stored| stored.record.key));
        from = page.next;
        if from.is_none() {
            return Ok(found.into_iter().collect());
        }
    }
    Err(Failure::new("the walk does not end"))
}

pub async fn a_walk_comes_by_every_record(bench: &Bench) -> Result<()> {
    let mut all: Vec<JobKey> = (0..300).map(|n| key(&format!("j{n}"))).collect();
    for key in &all {
        bench.create(&record(key, after(1))).await?;
        bench.store.add_to_user(&UserId::parse(format!("u}}:job:{key}"))?, key, after(5)).await?;
    }
    bench.create(&ended(&record(&key("over"), after(1)))).await?;
    all.push(key("over"));
    all.sort();

    for count in [0, 1, 7, 100, 100_000] {
        assert_eq!(walk(bench, &Filter::default(), count).await?, all, "{count} at a time");
    }
    let page = bench.fleet.walk(&Filter::default(), None, 20).await?;
    assert!((20..60).contains(&page.records.len()), "{}", page.records.len());
    for junk in ["", "junk", "1:", "17", "0000000000000001-5", "-"] {
        let page = bench.fleet.walk(&Filter::default(), Some(junk), 1000).await?;
        assert_eq!(page.records.len(), all.len(), "{junk:?} begins anew");
    }
    assert_eq!(bench.fleet.estimate().await?, 300, "one has ended");
    Ok(())
}

pub async fn a_walk_shows_what_is_asked_for(bench: &Bench) -> Result<()> {
    let elsewhere = JobKey::new(TenantId::parse("other")?, job("elsewhere"));
    let theirs = Record { user: UserId::parse("user-2")?, ..record(&key("theirs"), NOW) };
    let waiting = Record { state: State::Suspended(Suspension::UserDisabled), ..record(&key("waiting"), NOW) };
    let mut brief = record(&key("brief"), NOW);
    brief.pair.as_mut().expect("a sample has a pair").access_expires_at = after(5);
    for record in [record(&elsewhere, NOW), theirs, waiting, brief, releasing(&record(&key("going"), NOW), NOW)] {
        bench.create(&record).await?;
    }
    let by = |change: fn(&mut Filter)| {
        let mut filter = Filter { tenant: Some(tenant()), ..Filter::default() };
        change(&mut filter);
        filter
    };

    for (filter, expected) in [
        (by(|_| {}), vec!["brief", "going", "theirs", "waiting"]),
        (by(|filter| filter.user = UserId::parse("user-2").ok()), vec!["theirs"]),
        (by(|filter| filter.state = Some("suspended")), vec!["waiting"]),
        (by(|filter| filter.expiring_before = Some(after(6))), vec!["brief"]),
        (by(|filter| filter.expiring_before = Some(after(5))), vec![]),
    ] {
        let found = walk(bench, &filter, 10).await?;
        assert_eq!(found, expected.into_iter().map(key).collect::<Vec<_>>(), "{filter:?}");
    }
    Ok(())
}

pub async fn records_are_counted_by_state_and_the_count_is_shared(bench: &Bench) -> Result<()> {
    let waiting = Record { state: State::Suspended(Suspension::UserDisabled), ..record(&key("waiting"), NOW) };
    for record in [
        record(&key("one"), NOW),
        record(&key("two"), NOW),
        waiting,
        releasing(&record(&key("going"), NOW), NOW),
        ended(&record(&key("over"), NOW)),
    ] {
        bench.create(&record).await?;
    }

    let census = bench.fleet.count_states().await?;

    assert_eq!(census, Census { active: 2, suspended: 1, releasing: 1, counted_at: None });
    let census = Census { counted_at: Some(Timestamp::from_secs(1_800_000_000)), ..census };
    assert_eq!(bench.fleet.census().await?, None);
    bench.fleet.share_census(&census, SHORT).await?;
    assert_eq!(bench.fleet.census().await?, Some(census));
    bench.until("it is too old", async || Ok(bench.fleet.census().await?.is_none())).await
}

pub async fn events_are_told_in_order_from_any_place(bench: &Bench) -> Result<()> {
    let fleet = &bench.fleet;
    assert!(fleet.events(None, 9).await?.is_empty());
    for kind in ["one", "two", "three", "four"] {
        fleet.publish(&event(kind)).await?;
    }
    let kinds = |events: Vec<Event>| events.into_iter().map(|event| event.kind).collect::<Vec<_>>();

    let all = fleet.events(None, 100).await?;

    assert_eq!(Event { id: String::new(), ..all[0].clone() }, event("one"));
    assert_eq!(kinds(all.clone()), ["one", "two", "three", "four"]);
    assert_eq!(kinds(fleet.events(None, 2).await?), ["three", "four"], "the last ones");
    assert_eq!(kinds(fleet.events(Some(&all[0].id), 2).await?), ["two", "three"], "the first ones after it");
    assert!(fleet.events(Some(&all[3].id), 2).await?.is_empty());
    assert!(fleet.events(None, 0).await?.is_empty());
    for junk in ["", "junk", "-", "1", "+1-1", "99999999999999999999-0"] {
        assert_eq!(kinds(fleet.events(Some(junk), 1).await?), ["four"], "{junk:?}");
    }
    Ok(())
}
