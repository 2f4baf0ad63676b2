//! What becomes of a job whose answer was cut, at every byte offset: the renewal machine on its own parts, with the
//! stand-in for Keycloak behind the proxy and time that is moved by hand.

use std::time::Duration;

use tokenvault_core::record::{Acquisition, EndReason, State};
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::process::{SOON, wait_until};
use tokenvault_tests::harness::proxy::Fault;

use super::stage::{LIFE, Stage, Tokens};

const REFRESH: &str = "grant_type=refresh_token";
const EXCHANGE: &str = "requested_token_type";
/// Longer than the quarantine.
const QUARANTINE: Duration = Duration::from_secs(121);
/// Lets a request pass.
const PASS: Fault = Fault::Delay(Duration::ZERO);
/// So many jobs are renewed at a time.
const AT_ONCE: usize = 8;
/// So many jobs share one login.
const PER_LOGIN: usize = 100;

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("job-{number}")).collect()
}

/// Registers jobs; each login gives so many of them their proof.
async fn register(stage: &Stage, jobs: &[String], acquisition: Acquisition) -> Result<()> {
    let share = if acquisition == Acquisition::Adopt { 1 } else { PER_LOGIN };
    for jobs in jobs.chunks(share) {
        let login: Tokens = stage.login().await?;
        for job in jobs {
            stage.register(job, &login, acquisition).await;
        }
    }
    Ok(())
}

async fn all_are_served(stage: &Stage, jobs: &[String]) {
    for job in jobs {
        let token = stage.read(job).await;
        assert!(token.is_ok(), "{job}: {token:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_exchange_answer_is_cut_at_any_byte_exchanges_again() -> Result<()> {
    let stage = Stage::set(true, AT_ONCE).await?;
    let length = stage.answer_length("tokenvault", false).await?;
    let jobs = names(100);
    register(&stage, &jobs, Acquisition::Exchange).await?;

    stage.proxy.strike_each((0..=length).map(Fault::CutAnswerAfter), EXCHANGE);
    stage.pass(LIFE.mul_f64(0.6));
    stage.until_all(&jobs, |record| record.generation.0 >= 2).await;

    // Those that succeeded early left offsets to the others, so that none is left at the end.
    assert_eq!((stage.proxy.struck(), stage.heard.count("exchange:unknown")), (length + 1, length));
    assert_eq!(stage.heard.count("exchange:ok"), jobs.len());
    assert_eq!(stage.keycloak.journal().distinct_refresh_tokens(), 0, "no refresh token was ever sent");
    all_are_served(&stage, &jobs).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_refresh_answer_is_cut_at_any_byte_goes_on_with_its_spare() -> Result<()> {
    let stage = Stage::set(true, 1).await?;
    let length = stage.answer_length("tokenvault", true).await?;
    let jobs = names(length + 1);
    register(&stage, &jobs, Acquisition::Exchange).await?;
    stage.pass(LIFE.mul_f64(0.6));
    stage.until_all(&jobs, |record| record.generation.0 >= 2).await;

    let sent = stage.keycloak.journal().distinct_refresh_tokens();
    stage.proxy.strike_each((0..=length).flat_map(pass_the_second), REFRESH);
    stage.pass(LIFE * 2); // nothing is left but to spend
    stage.until_all(&jobs, |record| record.generation.0 >= 3).await;

    assert_eq!((stage.heard.count("ambiguous"), stage.heard.count("spend:ok")), (length, length + 1));
    let journal = stage.keycloak.journal();
    assert_eq!((journal.distinct_refresh_tokens() - sent, journal.most_sends()), (2 * length + 1, 1));
    all_are_served(&stage, &jobs).await;
    Ok(())
}

/// The answer to the first spend is cut, the one to the spare's passes; the last of all needs no spare. One job is renewed at
/// a time, so that requests come in this order.
fn pass_the_second(offset: usize) -> [Fault; 2] {
    [Fault::CutAnswerAfter(offset), PASS]
}

/// The one loss that nothing can prevent: the only token there was, was in the answer that never arrived. It must be
/// told as that, not before the quarantine is over, and without a second send.
#[tokio::test(flavor = "multi_thread")]
async fn an_adopted_job_whose_answer_is_cut_at_any_byte_ends_as_lost_and_sends_nothing_twice() -> Result<()> {
    let stage = Stage::set(false, AT_ONCE).await?;
    let length = stage.answer_length("login-app", true).await?;
    let jobs = names(length + 1);
    register(&stage, &jobs, Acquisition::Adopt).await?;

    let sent = stage.keycloak.journal().distinct_refresh_tokens();
    stage.proxy.strike_each((0..=length).map(Fault::CutAnswerAfter), REFRESH);
    stage.pass(LIFE.mul_f64(0.6));
    stage.until_all(&jobs, |record| record.intent.is_some() || record.generation.0 == 2 || record.pair.is_none()).await;
    assert_eq!(stage.heard.count("ended:spend_lost"), 0, "nobody gives up before the quarantine is over");
    all_are_served(&stage, &jobs).await;

    stage.pass(QUARANTINE);
    stage.until_all(&jobs, |record| record.intent.is_none()).await;

    assert_eq!(stage.heard.count("ambiguous"), length);
    let all_told = || async { stage.heard.count("ended:spend_lost") == length }; // told after it is written
    wait_until("the metrics", SOON, all_told).await?;
    let mut survivors = 0;
    for job in &jobs {
        match stage.record(job).await.state {
            State::Active => survivors += 1,
            other => {
                assert_eq!(other, State::Ended(EndReason::SpendLost), "{job}");
                let told = stage.read(job).await.expect_err("a job that ended");
                assert_eq!(
                    (told.code.as_str(), told.members["reason"].as_str()),
                    ("reauth_required", Some("spend_lost"))
                );
            }
        }
    }
    assert_eq!(survivors, 1, "the one whose answer came through whole");
    let journal = stage.keycloak.journal();
    assert_eq!((journal.distinct_refresh_tokens() - sent, journal.most_sends()), (length + 1, 1));
    Ok(())
}

/// A request that never arrived looks the same from here; after the quarantine the probe tells the difference.
#[tokio::test(flavor = "multi_thread")]
async fn an_adopted_job_whose_request_was_lost_sends_it_again_after_the_quarantine() -> Result<()> {
    let stage = Stage::set(false, AT_ONCE).await?;
    let jobs = names(20);
    register(&stage, &jobs, Acquisition::Adopt).await?;

    stage.proxy.strike(Fault::DropRequest, jobs.len(), REFRESH);
    stage.pass(LIFE.mul_f64(0.6));
    stage.until_all(&jobs, |record| record.intent.is_some()).await;
    all_are_served(&stage, &jobs).await;
    assert_eq!(stage.keycloak.journal().distinct_refresh_tokens(), 0);

    stage.pass(QUARANTINE);
    stage.until_all(&jobs, |record| record.generation.0 == 2).await;
    let journal = stage.keycloak.journal();
    assert_eq!((journal.distinct_refresh_tokens(), journal.most_sends()), (jobs.len(), 1));
    assert_eq!(stage.heard.count("ambiguous"), jobs.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_impersonated_job_whose_refresh_answer_is_cut_at_any_byte_comes_by_a_new_session() -> Result<()> {
    let stage = Stage::set(true, AT_ONCE).await?;
    let length = stage.answer_length("tokenvault", true).await?;
    let jobs = names(length + 1);
    register(&stage, &jobs, Acquisition::Impersonate).await?;

    let sent = stage.keycloak.journal().distinct_refresh_tokens();
    stage.proxy.strike_each((0..=length).map(Fault::CutAnswerAfter), REFRESH);
    stage.pass(LIFE * 2); // too late for an exchange, and there is no spare yet
    stage.until_all(&jobs, |record| record.intent.is_some() || record.generation.0 == 2 || record.pair.is_none()).await;
    stage.pass(QUARANTINE);
    stage.until_all(&jobs, |record| record.generation.0 == 2 && record.intent.is_none()).await;

    assert_eq!((stage.heard.count("ambiguous"), stage.heard.count("spend:ok")), (length, 1));
    assert_eq!(stage.heard.count("impersonate:ok"), length);
    let journal = stage.keycloak.journal();
    assert_eq!((journal.distinct_refresh_tokens() - sent, journal.most_sends()), (length + 1, 1));
    all_are_served(&stage, &jobs).await;
    Ok(())
}
