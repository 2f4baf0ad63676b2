//! The main job on real parts: Keycloak with rotation and no reuse, Redis, two `tokenvault serve` processes.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::try_join_all;
use futures::try_join;
use serde_json::json;
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::process::{SOON, poll, wait_until};
use tokenvault_tests::harness::realm::{LOGIN_APP, VAULT};
use tokenvault_tests::stage::{Stage, check_live, repeat};

const AT_TTL: u64 = 6;
const PAUSE: Duration = Duration::from_millis(250);

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_every_acquisition_outlive_twenty_access_tokens() -> Result<()> {
    let stage = Stage::set(AT_TTL, 2).await?;
    let user = stage.realm.user("alice")?.user_id.clone();
    let (mut ui, deposited) = (stage.login().await?, stage.login().await?);
    let adopted = json!({"acquisition": "adopt", "refresh_token": deposited.refresh()});
    // At once: a proof lives no longer than any other token.
    try_join!(
        stage.registered("exchanged", &ui, json!({})),
        stage.registered("impersonated", &ui, json!({"acquisition": "impersonate"})),
        stage.registered("adopted", &deposited, adopted),
    )?;
    let readers = [stage.registrar(0)?, stage.registrar(1)?, stage.reader(0)?, stage.reader(1)?];
    let jobs = ["exchanged", "impersonated", "adopted"];

    let mut generations = BTreeSet::new();
    let mut reads = 0;
    for lifetime in 0..20 {
        // The user interface goes on refreshing its own pair all the while.
        ui = stage.ui_refreshes(&ui).await?;
        reads += repeat(stage.at_ttl(), PAUSE, || async {
            for (job, reader) in jobs.iter().zip(readers.iter().cycle().skip(lifetime)) {
                check_live(&reader.get(job).await?, &user)?;
            }
            Ok(())
        })
        .await?;
        for job in jobs {
            let answer = readers[lifetime % 4].get(job).await?;
            assert_eq!(stage.save_record(answer.access_token()).await?, 200, "{job} in lifetime {lifetime}");
            generations.insert((job, answer.body["generation"].as_u64()));
        }
    }
    assert!(reads > 100, "only {reads} rounds of reads");
    for job in jobs {
        let seen = generations.iter().filter(|(of, _)| *of == job).count();
        assert!(seen >= 19, "{job} had only {seen} generations");
    }
    for client in [VAULT, LOGIN_APP] {
        let sent = stage.refresh_tokens_sent(client).await?;
        let distinct: BTreeSet<_> = sent.iter().collect();
        assert_eq!(sent.len(), distinct.len(), "{client}: a refresh token was sent twice");
        // The user interface refreshed once a lifetime, so a realm that notes nothing would be noticed.
        assert!(client == VAULT || sent.len() >= 20, "{client} sent only {}", sent.len());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchanged_job_ends_with_the_users_logout_and_says_why() -> Result<()> {
    let stage = Stage::set(AT_TTL, 2).await?;
    let ui = stage.login().await?;
    stage.registered("exchanged", &ui, json!({})).await?;
    stage.ui_logs_out(&ui).await?;
    let reader = stage.reader(1)?;
    // The next renewal is due at half of the life; the end must be known within five seconds of it.
    let within = stage.at_ttl() / 2 + Duration::from_secs(5);
    let ended = poll("the end of the job", within, || async {
        reader.get_with("exchanged", "wait=0").await.ok().filter(|answer| answer.status == 410)
    })
    .await?;
    assert_eq!((ended.code(), ended.body["reason"].as_str()), ("session_ended", Some("session_not_active")));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_impersonated_job_survives_the_users_logout() -> Result<()> {
    let stage = Stage::set(2 * AT_TTL, 2).await?;
    let user = stage.realm.user("alice")?.user_id.clone();
    let ui = stage.login().await?;
    let on_logout = |what: &str| json!({"acquisition": "impersonate", "on_logout": what});
    try_join!(
        stage.registered("goes-on", &ui, on_logout("continue")),
        stage.registered("ends", &ui, on_logout("revoke")),
    )?;
    stage.ui_logs_out(&ui).await?;
    let reader = stage.reader(0)?;
    repeat(stage.at_ttl() * 4, PAUSE, || async { check_live(&reader.get("goes-on").await?, &user) }).await?;
    let ended = reader.get("ends").await?.expect_status(410)?;
    assert_eq!((ended.code(), ended.body["reason"].as_str()), ("session_ended", Some("session_not_active")));
    let sub = &stage.realm.user("alice")?.sub;
    wait_until("the revocation of the ended job's session", SOON, || async {
        stage.realm.admin().sessions(stage.realm.name(), sub).await.is_ok_and(|sessions| sessions.len() == 1)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn release_and_a_new_registration_leave_the_users_session_alive() -> Result<()> {
    let stage = Stage::set(AT_TTL, 2).await?;
    let user = stage.realm.user("alice")?.user_id.clone();
    let mut ui = stage.login().await?;
    let registrar = stage.registrar(1)?;
    for (job, acquisition) in [("a", "exchange"), ("b", "impersonate"), ("c", "exchange")] {
        stage.registered(job, &ui, json!({"acquisition": acquisition})).await?;
        registrar.delete(job).await?.expect_status(204)?;
        registrar.delete(job).await?.expect_status(204)?;
        assert_eq!(registrar.get(job).await?.code(), "job_ended");
        ui = stage.ui_refreshes(&ui).await?;
    }
    // A client session that was left behind by a release and joined again more than two seconds later is the case in
    // which an exchange with an older token would end the user's whole session.
    tokio::time::sleep(Duration::from_millis(2_200)).await;
    ui = stage.ui_refreshes(&ui).await?;
    stage.registered("d", &ui, json!({})).await?;
    repeat(stage.at_ttl() * 3, PAUSE, || async { check_live(&registrar.get("d").await?, &user) }).await?;
    stage.ui_refreshes(&ui).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_readers_of_an_expired_token_cost_one_renewal() -> Result<()> {
    let mut stage = Stage::set(2 * AT_TTL, 1).await?;
    let ui = stage.login().await?;
    stage.registered("job", &ui, json!({})).await?;
    // The only replica is stopped until the token is long dead, then a crowd asks.
    stage.vault.replica().process().pause()?;
    tokio::time::sleep(stage.at_ttl() + Duration::from_secs(1)).await;
    let reader = stage.reader(0)?;
    let crowd = futures::future::join_all((0..40).map(|_| reader.get_with("job", "wait=10")));
    let resumed = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        stage.vault.replica().process().resume()
    };
    let (answers, resumed) = tokio::join!(crowd, resumed);
    resumed?;
    for answer in answers {
        assert_eq!(answer?.expect_status(200)?.body["generation"], 2);
    }
    assert_eq!(stage.refresh_tokens_sent(VAULT).await?.len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_dies_is_missed_by_nobody() -> Result<()> {
    // A lease of two seconds and a token of twelve: half of its life is left to take over what the dead replica had leased.
    let mut stage = Stage::with(2 * AT_TTL, 2, &[("renewal.lease", 2.into())]).await?;
    let user = stage.realm.user("alice")?.user_id.clone();
    let ui = stage.login().await?;
    let jobs: Vec<String> = (0..10).map(|n| format!("job-{n}")).collect();
    // At once: one proof stands for all of them, and it lives no longer than any other token.
    try_join_all(jobs.iter().map(|job| stage.registered(job, &ui, json!({})))).await?;
    stage.vault.replica().kill();
    let reader = stage.reader(1)?;
    repeat(stage.at_ttl() * 4, PAUSE, || async {
        for job in &jobs {
            check_live(&reader.get(job).await?, &user)?;
        }
        Ok(())
    })
    .await?;
    let status = stage.vault.replicas()[1].terminate(SOON).await?;
    assert!(status.success(), "a graceful stop ends with 0: {status}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn children_read_their_parents_token_from_every_replica() -> Result<()> {
    let stage = Stage::set(2 * AT_TTL, 2).await?;
    let user = stage.realm.user("alice")?.user_id.clone();
    let ui = stage.login().await?;
    stage.registered("parent", &ui, json!({})).await?;
    let children: Vec<String> = (0..20).map(|n| format!("child-{n}")).collect();
    let of_parent = || json!({"parent_job_id": "parent"});
    try_join_all(children.iter().map(|child| stage.registered(child, &ui, of_parent()))).await?;
    let reader = stage.reader(1)?;
    repeat(stage.at_ttl() * 2, PAUSE, || async {
        for child in &children {
            check_live(&reader.get(child).await?, &user)?;
        }
        Ok(())
    })
    .await?;
    stage.registrar(0)?.delete("parent").await?.expect_status(204)?;
    assert_eq!(reader.get("child-7").await?.code(), "job_ended");
    Ok(())
}
