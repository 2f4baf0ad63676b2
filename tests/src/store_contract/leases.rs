//! Rules about leases and the due index.

use std::collections::BTreeMap;

use tokenvault_core::ids::{Fence, JobKey, ModuleName, Shard};
use tokenvault_core::ports::{Write, Written};
use tokenvault_core::record::Record;

use super::bench::{Bench, LEASE, claim, replica};
use super::samples::{NOW, after, ended, key, neighbours, record, releasing, rotated};
use crate::harness::Result;

pub async fn a_due_record_is_claimed_once(bench: &Bench) -> Result<()> {
    let record = record(&key("j"), after(10));
    bench.create(&record).await?;
    assert!(bench.claim(&key("j"), after(9)).await?.is_empty(), "it is not due yet");

    let claimed = bench.claim_one(&key("j"), after(12)).await?;

    assert_eq!((claimed.record, claimed.due_at), (record, after(10)));
    let fence = Fence(after(12).as_millis());
    assert_eq!((claimed.lease.fence, claimed.lease.until), (fence, after(12) + LEASE));
    assert!(bench.claim(&key("j"), after(12)).await?.is_empty(), "it is leased");
    let stored = bench.load(&key("j")).await?;
    assert_eq!((stored.fence, stored.leased_until), (fence, Some(after(12) + LEASE)));
    Ok(())
}

pub async fn the_longest_due_are_claimed_first_up_to_the_limit(bench: &Bench) -> Result<()> {
    let keys = neighbours("n", 4);
    for (key, due) in keys.iter().zip([40, 10, 30, 20]) {
        bench.create(&record(key, after(due))).await?;
    }
    let jobs = async |limit| -> Result<Vec<JobKey>> {
        let claimed = bench.store.claim(keys[0].shard(), &claim(&replica("r1"), after(100), limit)).await?;
        Ok(claimed.into_iter().map(|claimed| claimed.record.key).collect())
    };

    assert!(jobs(0).await?.is_empty());
    assert_eq!(jobs(3).await?, [keys[1].clone(), keys[3].clone(), keys[2].clone()]);
    assert_eq!(jobs(3).await?, [keys[0].clone()]);
    Ok(())
}

pub async fn a_claim_reaches_one_shard_only(bench: &Bench) -> Result<()> {
    bench.create(&record(&key("j"), NOW)).await?;

    for shard in Shard::all().filter(|shard| *shard != key("j").shard()) {
        assert_eq!(bench.store.count_due(shard, after(1)).await?, 0);
        assert!(bench.store.claim(shard, &claim(&replica("r1"), after(1), 10)).await?.is_empty());
    }

    assert_eq!(bench.store.count_due(key("j").shard(), after(1)).await?, 1);
    Ok(())
}

pub async fn one_claim_reaches_all_shards_that_it_names(bench: &Bench) -> Result<()> {
    let keys: Vec<JobKey> = ["j", "k", "l", "m"].map(key).into();
    for key in &keys {
        bench.create(&record(key, NOW)).await?;
    }
    let mut expected: BTreeMap<Shard, usize> = BTreeMap::new();
    for key in &keys {
        *expected.entry(key.shard()).or_default() += 1;
    }
    assert!(expected.len() > 1, "they are of several shards");

    let due = bench.store.due_shards(after(1)).await?;

    assert_eq!(due.iter().copied().collect::<BTreeMap<_, _>>(), expected);
    assert!(bench.store.due_shards(NOW - LEASE).await?.is_empty(), "nothing is due yet");
    let claimed = bench.store.claim_each(&due[1..], &claim(&replica("r1"), after(1), 10)).await?;
    assert!(
        claimed.iter().all(|claimed| claimed.lease.key.shard() != due[0].0 && claimed.lease.until == after(1) + LEASE)
    );
    assert_eq!(claimed.len(), keys.len() - due[0].1);
    assert_eq!(bench.store.due_shards(after(1)).await?, due[..1]);
    assert!(bench.store.claim_each(&[(due[0].0, 0)], &claim(&replica("r1"), after(1), 10)).await?.is_empty());
    Ok(())
}

pub async fn two_claimers_never_hold_the_same_record(bench: &Bench) -> Result<()> {
    let keys = neighbours("n", 60);
    for key in &keys {
        bench.create(&record(key, NOW)).await?;
    }
    let replicas = [replica("r1"), replica("r2"), replica("r3"), replica("r4")];
    let work = replicas.iter().map(async |replica| -> Result<Vec<JobKey>> {
        let mut mine = Vec::new();
        loop {
            let claimed = bench.store.claim(keys[0].shard(), &claim(replica, after(1), 4)).await?;
            if claimed.is_empty() {
                return Ok(mine);
            }
            mine.extend(claimed.into_iter().map(|claimed| claimed.record.key));
        }
    });

    let taken = futures::future::try_join_all(work).await?;

    let mut holders = BTreeMap::new();
    for key in taken.into_iter().flatten() {
        *holders.entry(key).or_insert(0) += 1;
    }
    assert_eq!(holders, keys.into_iter().map(|key| (key, 1)).collect());
    Ok(())
}

pub async fn the_records_of_a_vanished_holder_come_up_again(bench: &Bench) -> Result<()> {
    bench.create(&record(&key("j"), NOW)).await?;
    let lost = bench.claim_one(&key("j"), NOW).await?.lease;
    let just_before = after(u64::try_from(LEASE.as_millis())? - 1);
    assert!(bench.claim(&key("j"), just_before).await?.is_empty());

    let found = bench.claim_one(&key("j"), lost.until).await?;

    assert_eq!((found.lease.fence, found.due_at), (Fence(lost.until.as_millis()), lost.until));
    Ok(())
}

pub async fn an_old_fence_cannot_write(bench: &Bench) -> Result<()> {
    let before = record(&key("j"), NOW);
    bench.create(&before).await?;
    let old = bench.claim_one(&key("j"), NOW).await?.lease;
    let new = bench.claim_one(&key("j"), old.until).await?.lease;
    let renewed = rotated(&before, after(300_000));

    let late = Write::between(&before, &renewed, bench.attempt()).under(&old).releasing();
    assert_eq!(bench.store.write(&late).await?, Written::Conflict);

    assert!(bench.store.holds(&new).await?, "a late holder must not end its successor's lease");
    bench.done(&Write::between(&before, &renewed, bench.attempt()).under(&new)).await
}

pub async fn a_writer_without_a_lease_can_insist_that_nobody_claimed_since(bench: &Bench) -> Result<()> {
    let before = record(&key("j"), after(300_000));
    bench.create(&before).await?;
    let read = bench.load(&key("j")).await?;
    let mut changed = before.clone();
    changed.readers.insert(ModuleName::parse("mod-other").expect("a module"));
    bench.store.make_due(&key("j"), after(2), after(2)).await?;

    bench.done(&Write::between(&before, &changed, bench.attempt()).unclaimed_since(&read)).await?;
    assert_eq!(bench.due_from(&key("j")).await?, Some(after(2)), "it proves no lease, and undoes no hastening");
    let lease = bench.claim_one(&key("j"), after(2)).await?.lease;
    let late = Write::between(&changed, &before, bench.attempt()).unclaimed_since(&read);
    assert_eq!(bench.store.write(&late).await?, Written::Conflict);

    let read = bench.load(&key("j")).await?;
    bench.done(&Write::between(&changed, &before, bench.attempt()).unclaimed_since(&read).releasing()).await?;
    assert!(bench.store.holds(&lease).await?);
    assert_eq!(bench.due_from(&key("j")).await?, Some(lease.until));
    Ok(())
}

pub async fn a_lease_is_held_until_it_is_given_back_or_succeeded(bench: &Bench) -> Result<()> {
    let before = record(&key("j"), NOW);
    bench.create(&before).await?;
    let first = bench.claim_one(&key("j"), NOW).await?.lease;
    assert!(bench.store.holds(&first).await?);
    let second = bench.claim_one(&key("j"), first.until).await?.lease;
    assert!(!bench.store.holds(&first).await?);
    assert!(bench.store.holds(&second).await?);
    let rested = Record { due_at: Some(after(500)), ..before.clone() };

    bench.done(&Write::between(&before, &rested, bench.attempt()).under(&second).releasing()).await?;

    assert!(!bench.store.holds(&second).await?);
    assert_eq!(bench.load(&key("j")).await?.leased_until, None);
    assert_eq!(bench.due_from(&key("j")).await?, Some(after(500)));
    Ok(())
}

pub async fn a_kept_lease_keeps_the_due_entry_at_its_end(bench: &Bench) -> Result<()> {
    let before = record(&key("j"), NOW);
    bench.create(&before).await?;
    let lease = bench.claim_one(&key("j"), NOW).await?.lease;
    let renewed = rotated(&before, after(300_000));

    bench.done(&Write::between(&before, &renewed, bench.attempt()).under(&lease)).await?;

    assert_eq!(bench.due_from(&key("j")).await?, Some(lease.until));
    assert_eq!(bench.load(&key("j")).await?.record.due_at, Some(after(300_000)));
    assert!(bench.store.holds(&lease).await?);
    bench.done(&Write::between(&renewed, &renewed, bench.attempt()).under(&lease).releasing()).await?;
    assert_eq!(bench.due_from(&key("j")).await?, Some(after(300_000)));
    Ok(())
}

pub async fn a_write_beside_a_lease_leaves_the_due_entry_at_its_end(bench: &Bench) -> Result<()> {
    let before = record(&key("j"), NOW);
    bench.create(&before).await?;
    let lease = bench.claim_one(&key("j"), NOW).await?.lease;
    let earlier = Record { due_at: Some(after(1)), ..before.clone() };

    // `releasing` without a fence proves no lease, and gives none back.
    bench.done(&Write::between(&before, &earlier, bench.attempt()).releasing()).await?;

    assert_eq!(bench.due_from(&key("j")).await?, Some(lease.until));
    assert_eq!(bench.load(&key("j")).await?.record.due_at, Some(after(1)));
    assert!(bench.store.holds(&lease).await?);
    Ok(())
}

pub async fn a_release_beside_a_lease_is_due_now_and_ends_the_lease(bench: &Bench) -> Result<()> {
    let before = record(&key("j"), NOW);
    bench.create(&before).await?;
    let lease = bench.claim_one(&key("j"), NOW).await?.lease;
    let released = releasing(&before, after(5));

    bench.done(&Write::between(&before, &released, bench.attempt())).await?;

    assert!(!bench.store.holds(&lease).await?);
    let claimed = bench.claim_one(&key("j"), after(5)).await?;
    assert_eq!(claimed.record, released);
    // Whoever revokes now is not disturbed by a second release.
    bench.done(&Write::between(&released, &released, bench.attempt())).await?;
    assert!(bench.store.holds(&claimed.lease).await?);
    assert_eq!(bench.due_from(&key("j")).await?, Some(claimed.lease.until));
    Ok(())
}

pub async fn a_holder_who_begins_a_release_keeps_its_lease(bench: &Bench) -> Result<()> {
    let before = record(&key("j"), NOW);
    bench.create(&before).await?;
    let lease = bench.claim_one(&key("j"), NOW).await?.lease;

    bench.done(&Write::between(&before, &releasing(&before, NOW), bench.attempt()).under(&lease)).await?;

    assert!(bench.store.holds(&lease).await?);
    assert_eq!(bench.due_from(&key("j")).await?, Some(lease.until));
    Ok(())
}

pub async fn a_tombstone_is_never_due(bench: &Bench) -> Result<()> {
    for (name, keeps_lease) in [("by-its-holder", true), ("beside-its-holder", false)] {
        let before = record(&key(name), NOW);
        bench.create(&before).await?;
        let lease = bench.claim_one(&key(name), NOW).await?.lease;
        let write = Write::between(&before, &ended(&before), bench.attempt());

        bench.done(&if keeps_lease { write.under(&lease) } else { write }).await?;

        assert_eq!(bench.due_from(&key(name)).await?, None);
        assert!(!bench.store.holds(&lease).await?);
        assert_eq!(bench.load(&key(name)).await?.leased_until, None);
    }
    Ok(())
}

pub async fn hastening_makes_a_record_due_now(bench: &Bench) -> Result<()> {
    let live = record(&key("live"), after(300_000));
    let waiting = releasing(&record(&key("waiting"), NOW), after(300_000));
    for record in [live, waiting] {
        bench.create(&record).await?;

        bench.store.make_due(&record.key, after(7), after(7)).await?;

        assert_eq!(bench.due_from(&record.key).await?, Some(after(7)));
        assert_eq!(bench.claim_one(&record.key, after(7)).await?.record.due_at, Some(after(7)));
    }
    Ok(())
}

pub async fn hastening_for_a_look_leaves_the_renewal_to_a_time_of_its_own(bench: &Bench) -> Result<()> {
    let renewal = Record { renew_at: Some(after(200_000)), ..record(&key("j"), after(300_000)) };
    bench.create(&renewal).await?;

    bench.store.make_due(&key("j"), after(7), after(50_000)).await?;

    assert_eq!(bench.due_from(&key("j")).await?, Some(after(7)));
    let claimed = bench.claim_one(&key("j"), after(7)).await?.record;
    assert_eq!((claimed.renew_at, claimed.due_at), (Some(after(50_000)), Some(after(7))));
    Ok(())
}

pub async fn hastening_never_postpones(bench: &Bench) -> Result<()> {
    bench.create(&record(&key("j"), after(3))).await?;

    bench.store.make_due(&key("j"), after(7), after(7)).await?;

    assert_eq!(bench.due_from(&key("j")).await?, Some(after(3)));
    assert_eq!(bench.load(&key("j")).await?.record.due_at, Some(after(3)));
    Ok(())
}

pub async fn hastening_a_leased_record_is_heard_of_by_whoever_claims_it_next(bench: &Bench) -> Result<()> {
    bench.create(&record(&key("leased"), NOW)).await?;
    let lease = bench.claim_one(&key("leased"), after(10)).await?.lease;

    bench.store.make_due(&key("leased"), after(11), after(11)).await?;

    assert!(bench.store.holds(&lease).await?);
    assert_eq!(bench.due_from(&key("leased")).await?, Some(lease.until));
    let next = bench.claim_one(&key("leased"), lease.until).await?.record;
    assert_eq!((next.renew_at, next.due_at), (Some(after(11)), Some(NOW)));
    Ok(())
}

pub async fn an_announced_end_is_noted_and_takes_a_lease_back(bench: &Bench) -> Result<()> {
    bench.create(&record(&key("leased"), NOW)).await?;
    let lease = bench.claim_one(&key("leased"), NOW).await?.lease;
    bench.store.announce_logout(&key("leased"), after(9), after(11), after(50_000)).await?;
    assert!(!bench.store.holds(&lease).await?, "who has it in hand sends nothing any more");
    assert_eq!(bench.due_from(&key("leased")).await?, Some(after(11)));
    assert_eq!(bench.load(&key("leased")).await?.record.announced_at, Some(after(9)));
    bench.store.announce_logout(&key("absent"), after(9), after(11), after(50_000)).await?;
    assert!(bench.store.load(&key("absent")).await?.is_none());
    Ok(())
}

pub async fn hastening_leaves_ended_and_absent_records_alone(bench: &Bench) -> Result<()> {
    bench.create(&ended(&record(&key("ended"), NOW))).await?;

    for name in ["ended", "absent"] {
        bench.store.make_due(&key(name), after(1), after(1)).await?;
    }

    assert_eq!(bench.due_from(&key("ended")).await?, None);
    assert_eq!(bench.due_from(&key("absent")).await?, None);
    Ok(())
}

pub async fn a_write_that_had_not_seen_a_hastening_does_not_undo_it(bench: &Bench) -> Result<()> {
    let before = record(&key("j"), after(300_000));
    bench.create(&before).await?;
    let mut tightened = before.clone();
    tightened.readers.insert(ModuleName::parse("mod-other").expect("a module"));
    bench.store.make_due(&key("j"), after(2), after(2)).await?;

    bench.done(&Write::between(&before, &tightened, bench.attempt())).await?;

    assert_eq!(bench.due_from(&key("j")).await?, Some(after(2)));
    let hastened = Record { renew_at: Some(after(2)), due_at: Some(after(2)), ..tightened };
    assert_eq!(bench.load(&key("j")).await?.record, hastened);
    Ok(())
}
