//! Rules about creating records.

use tokenvault_core::ids::{Fence, Generation};
use tokenvault_core::ports::{Created, Stored, Write};

use super::bench::Bench;
use super::samples::{NOW, after, declared, ended, key, record, releasing};
use crate::harness::Result;

pub async fn a_created_record_is_read_back_as_it_was(bench: &Bench) -> Result<()> {
    let mut record = declared(&record(&key("j"), after(5)), bench.attempt());
    record.spare = record.pair.as_ref().map(|pair| pair.refresh.clone());

    bench.create(&record).await?;

    let expected = Stored { record, fence: Fence(0), leased_until: None };
    assert_eq!(bench.load(&key("j")).await?, expected);
    assert_eq!(bench.due_from(&key("j")).await?, Some(after(5)));
    Ok(())
}

pub async fn a_record_that_was_never_created_is_not_found(bench: &Bench) -> Result<()> {
    assert_eq!(bench.store.load(&key("j")).await?, None);
    Ok(())
}

pub async fn repeating_a_creation_changes_nothing(bench: &Bench) -> Result<()> {
    let (first, attempt) = (record(&key("j"), NOW), bench.attempt());
    assert_eq!(bench.store.create(&first, None, attempt).await?, Created::Done);
    let claimed = bench.claim_one(&key("j"), NOW).await?;

    assert_eq!(bench.store.create(&first, None, attempt).await?, Created::AlreadyDone);

    assert!(bench.store.holds(&claimed.lease).await?, "a repeated creation must not undo what came after the first");
    assert_eq!(bench.due_from(&key("j")).await?, Some(claimed.lease.until));
    Ok(())
}

pub async fn a_name_that_is_taken_is_answered_with_what_stands_there(bench: &Bench) -> Result<()> {
    let (first, second) = (record(&key("j"), after(1)), record(&key("j"), after(2)));
    bench.create(&first).await?;
    let standing = bench.load(&key("j")).await?;

    let answer = bench.store.create(&second, None, bench.attempt()).await?;

    assert_eq!(answer, Created::Exists(Box::new(standing.clone())));
    assert_eq!(bench.load(&key("j")).await?, standing);
    assert_eq!(bench.due_from(&key("j")).await?, Some(after(1)));
    Ok(())
}

pub async fn only_an_ended_record_of_the_expected_generation_is_replaced(bench: &Bench) -> Result<()> {
    let old = record(&key("j"), NOW);
    let mut new = record(&key("j"), after(9));
    new.generation = Generation(2);
    bench.create(&old).await?;
    let refused = async |replaces| -> Result<()> {
        let answer = bench.store.create(&new, replaces, bench.attempt()).await?;
        assert!(matches!(answer, Created::Exists(_)), "{answer:?}");
        Ok(())
    };

    refused(Some(Generation(1))).await?;
    bench.done(&Write::between(&old, &releasing(&old, NOW), bench.attempt())).await?;
    refused(Some(Generation(1))).await?;
    bench.done(&Write::between(&releasing(&old, NOW), &ended(&old), bench.attempt())).await?;
    refused(None).await?;
    refused(Some(Generation(2))).await?;

    assert_eq!(bench.store.create(&new, Some(Generation(1)), bench.attempt()).await?, Created::Done);
    assert_eq!(bench.load(&key("j")).await?.record, new);
    assert_eq!(bench.due_from(&key("j")).await?, Some(after(9)));
    Ok(())
}

pub async fn fences_and_attempts_go_on_in_a_replacement(bench: &Bench) -> Result<()> {
    let (old, first_attempt) = (record(&key("j"), NOW), bench.attempt());
    bench.store.create(&old, None, first_attempt).await?;
    let stale = bench.claim_one(&key("j"), NOW).await?.lease;
    bench.done(&Write::between(&old, &ended(&old), bench.attempt())).await?;
    let mut new = record(&key("j"), NOW);
    new.generation = Generation(2);
    bench.store.create(&new, Some(Generation(1)), bench.attempt()).await?;

    let fresh = bench.claim_one(&key("j"), NOW).await?.lease;

    assert!(fresh.fence > stale.fence);
    assert!(!bench.store.holds(&stale).await?);
    assert_eq!(bench.store.create(&old, None, first_attempt).await?, Created::AlreadyDone);
    assert_eq!(bench.load(&key("j")).await?.record.generation, Generation(2));
    Ok(())
}
