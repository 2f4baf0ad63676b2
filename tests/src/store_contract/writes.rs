//! Rules about changing records.

use tokenvault_core::ids::{AttemptId, Fence, Generation, Incarnation, ModuleName};
use tokenvault_core::ports::{TermsGuard, Write, WriteGuard, Written};
use tokenvault_core::record::{Record, State, Suspension};
use tokenvault_core::seal::Sealed;

use super::bench::Bench;
use super::samples::{NOW, after, declared, ended, key, record, releasing, rotated};
use crate::harness::Result;

pub async fn a_write_changes_the_fields_it_names_and_no_others(bench: &Bench) -> Result<()> {
    let before = record(&key("j"), NOW);
    bench.create(&before).await?;
    let mut tightened = before.clone();
    tightened.readers.insert(ModuleName::parse("mod-other").expect("a module"));
    let failed = Record { failures: 3, ..before.clone() };

    // Two writers who both saw `before`.
    bench.done(&Write::between(&before, &tightened, bench.attempt())).await?;
    bench.done(&Write::between(&before, &failed, bench.attempt())).await?;

    let expected = Record { failures: 3, ..tightened };
    assert_eq!(bench.load(&key("j")).await?.record, expected);
    Ok(())
}

pub async fn an_intent_that_takes_the_place_of_another_is_written_whole(bench: &Bench) -> Result<()> {
    let first = record(&key("j"), NOW);
    bench.create(&first).await?;
    let (one, other) = (declared(&first, bench.attempt()), declared(&first, bench.attempt()));
    bench.done(&Write::between(&first, &one, bench.attempt())).await?;
    bench.done(&Write::between(&one, &first, bench.attempt())).await?;

    // By one who has seen the intent that is no longer there.
    bench.done(&Write::between(&one, &other, bench.attempt())).await?;

    assert_eq!(bench.load(&key("j")).await?.record, other);
    Ok(())
}

pub async fn repeating_a_write_changes_nothing(bench: &Bench) -> Result<()> {
    let before = record(&key("j"), NOW);
    bench.create(&before).await?;
    let (second, third) = (rotated(&before, after(10)), rotated(&rotated(&before, after(10)), after(20)));
    let write = Write::between(&before, &second, bench.attempt());
    bench.done(&write).await?;
    assert_eq!(bench.store.write(&write).await?, Written::AlreadyDone);
    bench.done(&Write::between(&second, &third, bench.attempt())).await?;

    assert_eq!(bench.store.write(&write).await?, Written::AlreadyDone);

    assert_eq!(bench.load(&key("j")).await?.record, third);
    assert_eq!(bench.due_from(&key("j")).await?, Some(after(20)));
    Ok(())
}

pub async fn the_last_sixteen_attempts_are_remembered(bench: &Bench) -> Result<()> {
    let record = record(&key("j"), NOW);
    bench.create(&record).await?;
    let attempts: Vec<AttemptId> = (0..17).map(|_| bench.attempt()).collect();
    for attempt in &attempts {
        bench.done(&Write::between(&record, &record, *attempt)).await?;
    }

    for attempt in attempts.iter().rev().take(16) {
        let again = Write::between(&record, &record, *attempt);
        assert_eq!(bench.store.write(&again).await?, Written::AlreadyDone);
    }
    let forgotten = Write::between(&record, &record, attempts[0]);
    assert_eq!(bench.store.write(&forgotten).await?, Written::Done);
    Ok(())
}

pub async fn a_refused_attempt_may_be_made_again(bench: &Bench) -> Result<()> {
    let before = record(&key("j"), NOW);
    bench.create(&before).await?;
    let mut write = Write::between(&before, &rotated(&before, NOW), bench.attempt());
    write.guard.generation = Generation(7);
    assert_eq!(bench.store.write(&write).await?, Written::Conflict);

    write.guard.generation = before.generation;

    assert_eq!(bench.store.write(&write).await?, Written::Done);
    Ok(())
}

pub async fn a_write_to_nothing_is_gone(bench: &Bench) -> Result<()> {
    let before = record(&key("j"), NOW);

    let answer = bench.store.write(&Write::between(&before, &rotated(&before, NOW), bench.attempt())).await?;

    assert_eq!(answer, Written::Gone);
    assert_eq!(bench.store.load(&key("j")).await?, None);
    assert!(!bench.is_due(&key("j"), after(1_000_000)).await?);
    Ok(())
}

pub async fn a_guard_that_does_not_hold_changes_nothing(bench: &Bench) -> Result<()> {
    let (first, spend) = (record(&key("j"), NOW), bench.attempt());
    bench.create(&first).await?;
    let before = declared(&first, spend);
    bench.done(&Write::between(&first, &before, bench.attempt())).await?;
    let claimed = bench.claim_one(&key("j"), NOW).await?;
    let stored = bench.load(&key("j")).await?;
    let holds = WriteGuard {
        generation: Generation(1),
        state: Some("active"),
        seen: None,
        fence: Some(claimed.lease.fence),
        intent: Some(spend),
        incarnation: Some(Incarnation(0)),
        terms: Some(TermsGuard::Unsealed),
    };
    let attempt = bench.attempt();
    let write = |guard: WriteGuard| Write { guard, ..Write::between(&before, &rotated(&before, after(50)), attempt) };

    for guard in [
        WriteGuard { generation: Generation(2), ..holds.clone() },
        WriteGuard { state: Some("suspended"), ..holds.clone() },
        WriteGuard { fence: Some(Fence(claimed.lease.fence.0 - 1)), ..holds.clone() },
        WriteGuard { fence: Some(claimed.lease.fence.next()), ..holds.clone() },
        WriteGuard { intent: Some(attempt), ..holds.clone() },
        WriteGuard { incarnation: Some(Incarnation(1)), ..holds.clone() },
        WriteGuard { terms: Some(TermsGuard::Sealed(Sealed::from_bytes(vec![1, 2]))), ..holds.clone() },
    ] {
        assert_eq!(bench.store.write(&write(guard.clone())).await?, Written::Conflict, "{guard:?}");
    }

    assert_eq!(bench.load(&key("j")).await?, stored);
    assert_eq!(bench.due_from(&key("j")).await?, Some(claimed.lease.until));
    assert_eq!(bench.store.write(&write(holds)).await?, Written::Done);
    Ok(())
}

/// Leases the record, declares a spend under that lease, and lets the lease lapse so that another replica takes over.
async fn spend_and_lose_the_lease(bench: &Bench) -> Result<Record> {
    let first = record(&key("j"), NOW);
    bench.create(&first).await?;
    let lease = bench.claim_one(&key("j"), NOW).await?.lease;
    let before = declared(&first, bench.attempt());
    bench.done(&Write::between(&first, &before, bench.attempt()).under(&lease)).await?;
    let successor = bench.claim_one(&key("j"), lease.until).await?.lease;
    assert!(successor.fence > lease.fence);
    Ok(before)
}

pub async fn an_intent_commits_after_the_lease_moved_on(bench: &Bench) -> Result<()> {
    let before = spend_and_lose_the_lease(bench).await?;
    let renewed = rotated(&before, after(300_000));
    let answer = Write::between(&before, &renewed, bench.attempt()).answering(&before);

    assert_eq!(bench.store.write(&answer).await?, Written::Done);

    assert_eq!(bench.load(&key("j")).await?.record, renewed);
    let second = Write::between(&before, &renewed, bench.attempt()).answering(&before);
    assert_eq!(bench.store.write(&second).await?, Written::Conflict, "an intent is answered once");
    Ok(())
}

pub async fn an_intent_does_not_commit_after_a_release(bench: &Bench) -> Result<()> {
    let before = spend_and_lose_the_lease(bench).await?;
    bench.done(&Write::between(&before, &releasing(&before, NOW), bench.attempt())).await?;
    let released = bench.load(&key("j")).await?;

    let answer = Write::between(&before, &rotated(&before, after(9)), bench.attempt()).answering(&before);

    assert_eq!(bench.store.write(&answer).await?, Written::Conflict);
    assert_eq!(bench.load(&key("j")).await?, released);
    Ok(())
}

pub async fn a_released_job_is_not_revived(bench: &Bench) -> Result<()> {
    let before = record(&key("j"), NOW);
    bench.create(&before).await?;
    let lease = bench.claim_one(&key("j"), NOW).await?.lease;
    bench.done(&Write::between(&before, &ended(&before), bench.attempt())).await?;
    let tombstone = bench.load(&key("j")).await?;
    let suspended = Record { state: State::Suspended(Suspension::UserDisabled), ..before.clone() };

    for late in [rotated(&before, NOW), suspended, releasing(&before, NOW)] {
        let write = Write::between(&before, &late, bench.attempt());
        assert_eq!(bench.store.write(&write).await?, Written::Conflict);
        assert_eq!(bench.store.write(&write.under(&lease).releasing()).await?, Written::Conflict);
    }

    // Not even by a writer who has seen the tombstone.
    let revived = Write::between(&tombstone.record, &before, bench.attempt());
    assert_eq!(bench.store.write(&revived).await?, Written::Conflict);

    assert_eq!(bench.load(&key("j")).await?, tombstone);
    assert_eq!(tombstone.record.pair, None);
    assert_eq!(bench.due_from(&key("j")).await?, None);
    Ok(())
}
