//! The layer: that it answers over HTTP, that the world can verify its tokens, and that it misbehaves as told.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::time::Duration;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use keycloak_double::{Double, DoubleConfig, Endpoint, Fault, ManualClock, Moment, RealmConfig};
use serde_json::Value;

use super::lab;

async fn start() -> Double {
    let realm = RealmConfig::lab("lab").signing_key(lab::key());
    Double::start(DoubleConfig::new().clock(ManualClock::new(1_800_000_000_000)).realm(realm)).await.unwrap()
}

fn client() -> reqwest::Client {
    // Whoever was first has installed it already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().unwrap()
}

async fn login(double: &Double) -> reqwest::Result<(u16, String)> {
    let url = format!("{}/realms/lab/protocol/openid-connect/token", double.base_url());
    let form = [
        ("client_id", "login-app"),
        ("client_secret", "login-app-secret"),
        ("grant_type", "password"),
        ("username", "alice"),
        ("password", "alice-password"),
    ];
    let answer = client().post(url).form(&form).send().await?;
    Ok((answer.status().as_u16(), answer.text().await?))
}

async fn get(double: &Double, path: &str) -> Value {
    let answer = client().get(format!("{}/realms/lab/{path}", double.base_url())).send().await.unwrap();
    serde_json::from_str(&answer.text().await.unwrap()).unwrap()
}

#[tokio::test]
async fn anybody_can_verify_an_access_token_with_what_discovery_says() {
    let double = start().await;
    let discovery = get(&double, ".well-known/openid-configuration").await;
    assert_eq!(discovery["issuer"], format!("{}/realms/lab", double.base_url()));
    let (_, body) = login(&double).await.unwrap();
    let body: Value = serde_json::from_str(&body).unwrap();
    let token = body["access_token"].as_str().unwrap();

    let keys: JwkSet = serde_json::from_value(get(&double, "protocol/openid-connect/certs").await).unwrap();
    let kid = jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
    let key = DecodingKey::from_jwk(keys.find(&kid).unwrap()).unwrap();
    let mut rules = Validation::new(Algorithm::RS256);
    rules.validate_exp = false;
    rules.set_audience(&["tokenvault"]);
    rules.set_issuer(&[discovery["issuer"].as_str().unwrap()]);
    let claims = jsonwebtoken::decode::<Value>(token, &key, &rules).unwrap().claims;
    assert_eq!(claims["typ"], "Bearer");
}

#[tokio::test]
async fn a_dropped_connection_shows_whether_the_request_was_carried_out() {
    let double = start().await;
    let sessions = || double.handle().with(|kc, _| kc.sessions("lab", "alice").unwrap().len());
    double.faults().next(Endpoint::Login, Fault::Drop(Moment::Before));
    assert!(login(&double).await.is_err());
    assert_eq!(sessions(), 0);
    double.faults().next(Endpoint::Login, Fault::Drop(Moment::After));
    assert!(login(&double).await.is_err());
    assert_eq!(sessions(), 1);
    assert_eq!(login(&double).await.unwrap().0, 200);
    assert_eq!(double.journal().requests(Endpoint::Login), 3);
    assert_eq!(double.handle().processed().requests(Endpoint::Login), 2);
}

#[tokio::test]
async fn a_cut_answer_ends_in_the_middle() {
    let double = start().await;
    double.faults().next(Endpoint::Login, Fault::Cut(40));
    let error = login(&double).await.unwrap_err();
    assert!(error.is_body() || error.is_decode(), "the head came, the body did not: {error:?}");
}

#[tokio::test]
async fn errors_and_pages_come_in_place_of_answers_as_often_as_told() {
    let double = start().await;
    double.faults().next_n(Endpoint::Login, 2, Fault::Status(Moment::After, 500));
    double.faults().next(Endpoint::Login, Fault::Html(Moment::Before, 502));
    assert_eq!(login(&double).await.unwrap().0, 500);
    assert_eq!(login(&double).await.unwrap().0, 500);
    let (status, body) = login(&double).await.unwrap();
    assert_eq!((status, body.starts_with("<html>")), (502, true));
    assert_eq!(login(&double).await.unwrap().0, 200);
}

#[tokio::test]
async fn a_late_answer_is_late() {
    let double = start().await;
    double.faults().every(Endpoint::Login, Fault::Delay(Duration::from_mins(1)));
    let waited = tokio::time::timeout(Duration::from_millis(200), login(&double)).await;
    assert!(waited.is_err());
    double.faults().clear();
    assert_eq!(login(&double).await.unwrap().0, 200);
}

#[tokio::test]
async fn after_shutdown_nobody_answers() {
    let double = start().await;
    let url = double.base_url().to_owned();
    double.shutdown().await;
    assert!(client().get(url).send().await.is_err());
}
