//! Tokens that must lead to nothing, made of the ones that Keycloak really sent; and the store away.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::courier::{Courier, hand_over};
use tokenvault_tests::harness::process::{SOON, poll};
use tokenvault_tests::harness::realm::{LOGIN_APP, LabRealm, Tokens, claims};
use tokenvault_tests::harness::redis::Redis;

use super::{Stage, are_untouched, configured, dues, ends};

/// Another claim in a token that was signed without it.
fn altered(token: &str, claim: &str, value: &str) -> String {
    let mut said = claims(token);
    said[claim] = json!(value);
    let parts: Vec<&str> = token.split('.').collect();
    [parts[0], &URL_SAFE_NO_PAD.encode(said.to_string()), parts[2]].join(".")
}

/// The session ends, and the vault does not hear of it: the token is kept.
async fn kept_token(stage: &Stage, ui: &Tokens) -> Result<String> {
    stage.realm.logout(LOGIN_APP, ui.refresh()).await?;
    Ok(stage.courier.last()?.token())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keycloak_did_not_send_to_this_vault_leads_to_nothing() -> Result<()> {
    let stage = Stage::set().await?;
    let (gone, staying) = (stage.login().await?, stage.login().await?);
    let module = stage.module()?;
    stage.register("gone", &gone, json!({})).await?;
    stage.register("staying", &staying, json!({})).await?;
    let before = dues(&stage, &["gone", "staying"]).await?;
    let token = kept_token(&stage, &gone).await?;
    let id_token = id_token(&stage.realm).await?;
    let idp = stage.vault.idp_client(0)?;
    let unsigned = format!("{}.", token.rsplit_once('.').map(|(signed, _)| signed).unwrap_or_default());

    for (what, bad, reason) in [
        ("the user's access token", staying.access_token.clone(), "wrong_type"),
        ("an ID token", id_token, "wrong_type"),
        ("a refresh token", staying.refresh().to_owned(), "algorithm_not_allowed"),
        ("another session's name", altered(&token, "sid", &staying.sid()), "bad_signature"),
        ("another issuer's name", altered(&token, "iss", "https://elsewhere"), "wrong_issuer"),
        ("another audience's name", altered(&token, "aud", "account"), "wrong_audience"),
        ("no signature", unsigned, "bad_signature"),
    ] {
        let (status, answer) = hand_over(&idp, stage.realm.name(), format!("logout_token={bad}")).await?;
        let answer: Value = serde_json::from_str(&answer)?;
        let told = answer["error_description"].as_str().unwrap_or_default();
        assert_eq!((status, &answer["error"]), (400, &json!("invalid_request")), "{what}");
        assert!(told.contains(reason), "{what}: {told}");
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    are_untouched(&stage, &["gone", "staying"], &before).await?;

    // The token itself is a good one.
    assert_eq!(hand_over(&idp, stage.realm.name(), format!("logout_token={token}")).await?, (200, String::new()));
    ends(&module, "gone").await?;
    are_untouched(&stage, &["staying"], &before[1..]).await
}

/// An ID token for the user interface; Keycloak gives one with every login that asks for `openid`.
async fn id_token(realm: &LabRealm) -> Result<String> {
    let login = realm.login("alice").await?;
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", LOGIN_APP),
        ("client_secret", realm.secret(LOGIN_APP)),
        ("refresh_token", login.refresh()),
    ];
    let answer = reqwest::Client::builder().no_proxy().build()?.post(realm.token_endpoint()).form(&form).send().await?;
    let answer: Value = answer.error_for_status()?.json().await?;
    Ok(answer["id_token"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_used_or_is_another_tenants_leads_to_nothing() -> Result<()> {
    let mut stage = Stage::delivering().await?;
    let other = LabRealm::builder().create().await?;
    let other_courier = Courier::of(&other, &[LOGIN_APP]).await?;
    let ui = stage.login().await?;
    let module = stage.module()?;
    stage.register("gone", &ui, json!({})).await?;
    stage.realm.logout(LOGIN_APP, ui.refresh()).await?;
    ends(&module, "gone").await?;

    let idp = stage.vault.idp_client(1)?;
    for delivery in stage.courier.delivered() {
        let (status, answer) = hand_over(&idp, stage.realm.name(), delivery.form).await?;
        assert!(status == 400 && answer.contains("replayed"), "{status} {answer}");
    }
    assert!(stage.vault.replicas()[1].metric("tokenvault_backchannel_logouts_total", "replayed").await? >= 1.0);

    let foreign = other.login("alice").await?;
    other.logout(LOGIN_APP, foreign.refresh()).await?;
    let foreign = other_courier.last()?.form;
    let (status, answer) = hand_over(&idp, stage.realm.name(), foreign.clone()).await?;
    assert!(status == 400 && answer.contains("wrong_issuer"), "{status} {answer}");
    assert_eq!(hand_over(&idp, other.name(), foreign).await?.0, 404, "no tenant of this vault");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_store_away_a_logout_is_answered_503_and_taken_when_it_comes_again() -> Result<()> {
    let mut stage = Stage::set().await?;
    let ui = stage.login().await?;
    let module = stage.module()?;
    stage.register("gone", &ui, json!({})).await?;
    let form = format!("logout_token={}", kept_token(&stage, &ui).await?);
    let idp = stage.vault.idp_client(0)?;
    stage.redis.kill().await?;

    assert_eq!(hand_over(&idp, stage.realm.name(), form.clone()).await?.0, 503);

    stage.redis.restart().await?;
    let taken = || async {
        let answer = hand_over(&idp, stage.realm.name(), form.clone()).await;
        answer.ok().filter(|(status, _)| *status == 200)
    };
    poll("the store to be found again", SOON, taken).await?;
    ends(&module, "gone").await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_section_there_is_no_such_listener_and_on_the_modules_one_no_such_route() -> Result<()> {
    let stage = Stage::set().await?;
    // A vault with a keyring of its own has a store of its own.
    let redis = Redis::start().await?;
    let mut vault = configured(&stage.realm, &redis)?.start().await?;
    let url = vault.replica().idp_url();
    assert!(reqwest::Client::builder().no_proxy().build()?.get(url).send().await.is_err());
    let path = format!("/backchannel-logout/{}", stage.realm.name());
    let answer = vault.client(super::MODULE)?.call(reqwest::Method::POST, &path, None).await?;
    assert_eq!((answer.status.as_u16(), answer.code()), (404, "not_found"));
    Ok(())
}
