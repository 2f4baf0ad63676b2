//! What operators do with jobs, and what it does to them.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::process::{SOON, wait_until};
use tokenvault_tests::harness::realm::TokenError;

use crate::admin::stage::Stage;

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
    // A session of the vault's own is revoked at Keycloak, and nobody gets another token for the one they may still hold.
    // Whether introspection calls that one active hangs on whether Keycloak removed the session or only detached the client.
    let viewer = stage.vault.operator("view", 0)?;
    wait_until("the revocation at Keycloak", SOON, || async {
        let shown = viewer.call(Method::GET, &format!("/admin/v1/jobs/{tenant}/impersonated"), None).await;
        shown.is_ok_and(|shown| shown.body["state"] == "ended")
    })
    .await?;
    let refused = stage.realm.exchange(own.access_token()).await;
    assert!(matches!(refused, Err(TokenError::Refused { status: 400, .. })), "{refused:?}");
    assert!(stage.realm.is_active(&of_alice.access_token).await?, "the user's own session lives");

    stage.admin(&["users", "revoke", &tenant, &alice, "--yes"])?.done()?;
    assert_eq!(module.get("exchanged").await?.expect_status(410)?.body["reason"], "revoked");
    module.get("of-bob").await?.expect_status(200)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_ends_with_its_renewal_is_not_told_to_be_renewed() -> Result<()> {
    let mut stage = Stage::set(600, 1).await?;
    let tenant = stage.realm.name().to_owned();
    for (job, user) in [("job", "alice"), ("other", "bob")] {
        let proof = stage.login(user).await?;
        stage.register(job, &proof, json!({})).await?;
        // Under its claim the next token names somebody else: that pair is the job's last.
        let path = format!("/{tenant}/users/{}", stage.realm.user(user)?.sub);
        let admin = stage.realm.admin();
        let mut known = admin.call(Method::GET, &path, None).await?;
        known["attributes"]["user_id"] = json!(["another-id"]);
        admin.call(Method::PUT, &path, Some(&known)).await?;
    }

    let said = stage.admin(&["jobs", "renew", &tenant, "job", "--wait", "20"])?;
    assert_eq!((said.status, said.out.as_str()), (1, ""), "{said:?}");
    assert!(said.err.contains("job has ended: identity_changed"), "{said:?}");
    assert_eq!(stage.job("job")?["generation"], 2, "a pair was had all the same");

    let said = stage.admin(&["jobs", "renew", &tenant, "other", "--wait", "20", "--output", "json"])?;
    let told = &said.json()?["jobs"][0];
    assert_eq!((said.status, &told["state"], &told["reason"]), (1, &json!("ended"), &json!("identity_changed")));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_promises_nothing_for_a_job_that_is_over() -> Result<()> {
    let mut stage = Stage::set(600, 1).await?;
    let tenant = stage.realm.name().to_owned();
    let proof = stage.login("alice").await?;
    for (job, more) in [("live", json!({})), ("parent", json!({})), ("part", json!({"parent_job_id": "parent"}))] {
        stage.register(job, &proof, more).await?;
    }
    stage.module()?.delete("parent").await?.expect_status(204)?;

    for over in ["parent", "part"] {
        let said = stage.admin(&["jobs", "renew", &tenant, over, "--dry-run"])?;
        assert_eq!((said.status, said.out.as_str()), (1, ""), "{said:?}");
        assert!(said.err.contains("parent is over: released"), "{said:?}");
    }
    let said = stage.admin(&["jobs", "revoke", &tenant, "parent", "live", "--dry-run"])?.done()?;
    assert_eq!(said.out, "parent: had ended before: released\nlive: would be revoked\n");
    let said = stage.admin(&["jobs", "renew", &tenant, "live", "--dry-run"])?.done()?;
    assert_eq!(said.out, "live: would be renewed\n");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_line_of_the_status_tells_of_one_count_and_of_when() -> Result<()> {
    let mut stage = Stage::set(600, 1).await?;
    let proof = stage.login("alice").await?;
    // What is registered after a count is not in it, in none of its figures.
    let viewer = stage.vault.operator("view", 0)?;
    wait_until("the first count", SOON, || async {
        let status = viewer.call(Method::GET, "/admin/v1/status", None).await;
        status.is_ok_and(|status| status.body["states"].is_object())
    })
    .await?;
    for job in ["one", "two", "three"] {
        stage.register(job, &proof, json!({})).await?;
    }
    let status = stage.admin(&["status", "--output", "json"])?.done()?.json()?;
    let count = &status["states"];
    let figures = ["active", "suspended", "releasing"].map(|state| count[state].as_u64().unwrap_or_default());
    assert_eq!((&status["jobs"], count["total"].as_u64()), (&json!(3), Some(figures.iter().sum())), "{status}");
    assert!(count["counted_at"].as_str() <= status["now"].as_str(), "{status}");
    let status = stage.admin(&["status"])?.done()?.out;
    let line = status.lines().find(|line| line.starts_with("jobs")).unwrap_or_default();
    assert!(line.contains(", as of ") && line.ends_with(" s ago"), "{line}");
    let figures: Vec<u64> = line.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect();
    assert_eq!(figures[0], figures[1..4].iter().sum::<u64>(), "{line}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_is_paused_nothing_is_renewed_and_reads_go_on() -> Result<()> {
    // Renewed after ten seconds; a pause is heard of within two.
    let mut stage = Stage::set(20, 2).await?;
    let tenant = stage.realm.name().to_owned();
    let proof = stage.login("alice").await?;
    stage.admin(&["pause", "--for", "5m", "--reason", "Keycloak is being upgraded", "--yes"])?.done()?;
    stage.register("job", &proof, json!({})).await?;
    let module = stage.module()?;

    tokio::time::sleep(Duration::from_secs(12)).await;
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
