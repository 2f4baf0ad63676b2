//! Somebody who joins a session again and again keeps nobody's token in it from being renewed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokenvault_tests::harness::realm::{LabRealm, Tokens};
use tokenvault_tests::harness::{Failure, Result};

use crate::isolation::stage::{Stage, body};

const LIFE: u64 = 24;
/// Long enough for three renewals.
const TIME: Duration = Duration::from_secs(LIFE * 2);

/// Reads the good module's job for a while, without ever waiting; answers how many generations it saw.
async fn read_all_the_while(stage: &Stage, job: &str) -> Result<u64> {
    let (end, mut generations) = (Instant::now() + TIME, Vec::new());
    while Instant::now() < end {
        let answer = stage.good.get_with(job, "wait=0").await?.expect_status(200)?;
        generations.push(answer.body["generation"].as_u64().unwrap_or_default());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(generations.last().copied().unwrap_or_default())
}

/// Holds the user's token fresh and does something with it until told to stop.
async fn while_it_reads(
    stage: &mut Stage,
    proof: Tokens,
    worst: impl AsyncFn(&Stage, &Tokens, usize) -> Result<()>,
) -> Result<(u64, usize)> {
    let (stop, acts) = (AtomicBool::new(false), AtomicUsize::new(0));
    let stage = &*stage;
    let act = async |worker: usize| -> Result<()> {
        let mut proof = proof.clone();
        let mut renewed = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            if worker == 0 && renewed.elapsed() > Duration::from_secs(LIFE / 2) {
                let refreshed = stage.realm.refresh(tokenvault_tests::harness::realm::LOGIN_APP, proof.refresh()).await;
                proof = refreshed.map_err(|error| Failure::new(format!("{error:?}")))?;
                renewed = Instant::now();
            }
            worst(stage, &proof, acts.fetch_add(1, Ordering::Relaxed)).await?;
        }
        Ok(())
    };
    let read = async {
        let seen = read_all_the_while(stage, "good-job").await;
        stop.store(true, Ordering::Relaxed);
        seen
    };
    let (seen, acted) = tokio::join!(read, act(0));
    acted?;
    Ok((seen?, acts.load(Ordering::Relaxed)))
}

#[tokio::test]
async fn a_module_whose_registrations_are_refused_again_and_again_delays_no_renewal() -> Result<()> {
    let realm = LabRealm::builder().at_ttl(LIFE).without_impersonation();
    let mut stage = Stage::set(realm).await?;
    let proof = stage.login().await?;
    stage.good.put("good-job", &body(&proof, "exchange")).await?.expect_status(201)?;

    let (generation, _) = while_it_reads(&mut stage, proof, async |stage, proof, n| {
        // It was not granted to the vault's client at Keycloak, which is heard of after the job has joined the session.
        stage.bad.put(&format!("refused-{n}"), &body(proof, "impersonate")).await?.expect_status(502)?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(())
    })
    .await?;

    assert!(generation >= 3, "only {generation} generations");
    assert!(stage.spends().await? < 0.5, "a refresh token was spent");
    Ok(())
}

#[tokio::test]
async fn a_module_that_registers_and_releases_in_a_loop_delays_no_renewal_and_gets_on_itself() -> Result<()> {
    let mut stage = Stage::set(LabRealm::builder().at_ttl(LIFE)).await?;
    let proof = stage.login().await?;
    stage.good.put("good-job", &body(&proof, "exchange")).await?.expect_status(201)?;

    let (generation, acts) = while_it_reads(&mut stage, proof, async |stage, proof, n| {
        let several = (0..6).map(async |one| -> Result<()> {
            let job = format!("loop-{n}-{one}");
            let told = stage.bad.put(&job, &body(proof, "exchange")).await?;
            if told.status == 429 && !told.header("retry-after").is_empty() {
                return Ok(());
            }
            told.expect_status(201)?;
            stage.bad.delete(&job).await?.expect_status(204).map(drop)
        });
        futures::future::try_join_all(several).await.map(drop)
    })
    .await?;

    assert!(generation >= 3, "only {generation} generations");
    assert!(stage.spends().await? < 0.5, "a refresh token was spent");
    assert!(acts > 10, "the registrations get on as well: only {acts} rounds");
    Ok(())
}
