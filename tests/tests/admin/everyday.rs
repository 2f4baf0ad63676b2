//! What operators do with jobs, and what it does to them.

use std::time::Duration;

use serde_json::json;
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::process::wait_until;

use crate::stage::Stage;

const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_module_registers_and_an_operator_lists_shows_renews_and_revokes() -> Result<()> {
    let mut stage = Stage::set(600, 1).await?;
    let (tenant, alice) = (stage.realm.name().to_owned(), stage.realm.user("alice")?.user_id.clone());
    let (of_alice, of_bob) = (stage.login("alice").await?, stage.login("bob").await?);
    stage.register("exchanged", &of_alice, json!({})).await?;
    stage.register("impersonated", &of_alice, json!({"acquisition": "impersonate"})).await?;
    stage.register("of-bob", &of_bob, json!({})).await?;
    let module = stage.module()?;
    let own = module.get("impersonated").await?.expect_status(200)?;

    let listed = stage.admin(&["jobs", "list", "--tenant", &tenant, "--output", "json"])?.done()?.json()?;
    let names: Vec<_> = listed["jobs"].as_array().into_iter().flatten().map(|job| job["job_id"].clone()).collect();
    assert_eq!(names, [json!("exchanged"), json!("impersonated"), json!("of-bob")]);
    let shown = stage.job("exchanged")?;
    assert_eq!((&shown["generation"], &shown["user_id"]), (&json!(1), &json!(alice)));
    for token in [&of_alice.access_token, own.access_token()] {
        assert!(!shown.to_string().contains(token) && !listed.to_string().contains(token));
    }

    stage.admin(&["jobs", "renew", &tenant, "exchanged", "--wait", "20"])?.done()?;
    assert_eq!(module.get("exchanged").await?.expect_status(200)?.body["generation"], 2);

    stage.admin(&["jobs", "revoke", &tenant, "impersonated"])?.done()?;
    let told = module.get("impersonated").await?.expect_status(410)?;
    assert_eq!((told.code(), &told.body["reason"]), ("job_ended", &json!("revoked")));
    // A session of the vault's own is revoked at Keycloak, and with it the token that somebody may still hold.
    wait_until("the revocation at Keycloak", SOON, || async {
        stage.realm.is_active(own.access_token()).await.is_ok_and(|active| !active)
    })
    .await?;
    assert!(stage.realm.is_active(&of_alice.access_token).await?, "the user's own session lives");

    stage.admin(&["users", "revoke", &tenant, &alice, "--yes"])?.done()?;
    assert_eq!(module.get("exchanged").await?.expect_status(410)?.body["reason"], "revoked");
    module.get("of-bob").await?.expect_status(200)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_is_paused_nothing_is_renewed_and_reads_go_on() -> Result<()> {
    // Renewed after six seconds; a pause is heard of within two.
    let mut stage = Stage::set(12, 2).await?;
    let tenant = stage.realm.name().to_owned();
    let proof = stage.login("alice").await?;
    stage.admin(&["pause", "--for", "5m", "--reason", "Keycloak is being upgraded", "--yes"])?.done()?;
    stage.register("job", &proof, json!({})).await?;
    let module = stage.module()?;

    tokio::time::sleep(Duration::from_secs(8)).await;
    let read = module.get_with("job", "wait=0&min_ttl=1").await?.expect_status(200)?;
    assert_eq!((&read.body["generation"], &stage.job("job")?["generation"]), (&json!(1), &json!(1)));
    let asked = stage.admin(&["jobs", "renew", &tenant, "job"])?.done()?;
    assert!(asked.out.contains("renewal is paused until"), "{asked:?}");
    let status = stage.admin(&["status"])?.done()?;
    assert!(status.out.contains("by operator-operate: Keycloak is being upgraded"), "{status:?}");
    for replica in stage.vault.replicas() {
        assert!(replica.metric("tokenvault_paused", "").await? > 0.5);
    }

    stage.admin(&["resume"])?.done()?;
    wait_until("the renewal", SOON, || async {
        module.get_with("job", "wait=0&min_ttl=1").await.is_ok_and(|read| read.body["generation"].as_u64() > Some(1))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_list_is_shown_whole_page_by_page_and_each_job_once() -> Result<()> {
    let mut stage = Stage::set(600, 1).await?;
    let proof = stage.login("alice").await?;
    stage.register("parent", &proof, json!({})).await?;
    for n in 0..39 {
        stage.register(&format!("child-{n:02}"), &proof, json!({"parent_job_id": "parent"})).await?;
    }
    let (tenant, user) = (stage.realm.name().to_owned(), stage.realm.user("alice")?.user_id.clone());
    let viewer = stage.vault.operator("view", 0)?;
    for question in [format!("tenant={tenant}"), format!("tenant={tenant}&user_id={user}")] {
        let (mut seen, mut after) = (std::collections::BTreeSet::new(), String::new());
        for _ in 0..200 {
            let path = format!("/admin/v1/jobs?{question}&limit=7{after}");
            let page = viewer.call(reqwest::Method::GET, &path, None).await?.expect_status(200)?.body;
            seen.extend(page["jobs"].as_array().into_iter().flatten().map(|job| job["job_id"].to_string()));
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
        assert_eq!(seen.len(), 40, "{question}");
    }
    let some = stage.admin(&["jobs", "list", "--limit", "5"])?.done()?;
    assert!(some.out.contains("5 jobs; there are more"), "{some:?}");
    let all = stage.admin(&["jobs", "list", "--limit", "0"])?.done()?;
    assert!(all.out.ends_with("\n40 jobs\n"), "{all:?}");
    Ok(())
}
