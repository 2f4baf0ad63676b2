//! What the provider asks for, in which order, and what it remembers.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokenvault_core::secret::ClientSecret;

use super::*;
use crate::assertion::SigningKey;
use crate::testing::{Bench, answer, rsa_pem, tenant};

fn service_token(name: &str) -> HttpResult {
    answer(200, json!({ "access_token": name, "expires_in": 100, "refresh_expires_in": 0 }))
}

fn pair() -> HttpResult {
    answer(200, json!({ "access_token": "at", "expires_in": 60, "refresh_token": "rt", "refresh_expires_in": 600 }))
}

fn no(status: u16, error: &str, description: &str) -> HttpResult {
    answer(status, json!({ "error": error, "error_description": description }))
}

fn account() -> AccountId {
    AccountId::parse("s-1").unwrap()
}

fn param(bench: &Bench, request: usize, name: &str) -> Option<String> {
    let asked = bench.script.asked.lock();
    asked[request].form.iter().find(|param| param.name == name).map(|param| param.expose().to_owned())
}

#[tokio::test]
async fn a_service_token_serves_until_four_fifths_of_its_life() {
    let bench = Bench::new([service_token("svc-1"), pair(), pair(), service_token("svc-2"), pair()]);

    for _ in 0..2 {
        bench.provider.impersonate(&bench.client, &account()).await.unwrap();
        bench.clock.advance(Duration::from_secs(79));
    }
    bench.clock.advance(Duration::from_secs(1));
    bench.provider.impersonate(&bench.client, &account()).await.unwrap();

    assert_eq!(param(&bench, 1, "subject_token").as_deref(), Some("svc-1"));
    assert_eq!(param(&bench, 4, "subject_token").as_deref(), Some("svc-2"));
    assert_eq!(bench.asked(), 5);
}

#[tokio::test]
async fn many_impersonations_at_once_share_one_service_token() {
    let answers = std::iter::once(service_token("svc")).chain((0..16).map(|_| pair()));
    let bench = Arc::new(Bench::new(answers));
    let all = (0..16).map(|_| {
        let bench = bench.clone();
        tokio::spawn(async move { bench.provider.impersonate(&bench.client, &account()).await.is_ok() })
    });
    for task in all.collect::<Vec<_>>() {
        assert!(task.await.unwrap());
    }
    assert_eq!(bench.asked(), 17);
}

#[tokio::test]
async fn a_service_token_that_keycloak_does_not_accept_is_forgotten_and_says_nothing_about_the_user() {
    let stale = no(400, "invalid_request", "Invalid token");
    let bench = Bench::new([service_token("svc-1"), stale, service_token("svc-2"), pair()]);

    let first = bench.provider.impersonate(&bench.client, &account()).await.err();
    let second = bench.provider.impersonate(&bench.client, &account()).await;

    assert_eq!(first, Some(GrantError::Refused(Refusal::ClientRejected)));
    assert!(second.is_ok());
    assert_eq!(param(&bench, 3, "subject_token").as_deref(), Some("svc-2"));
}

#[tokio::test]
async fn an_impersonation_that_never_got_to_be_asked_was_not_sent() {
    let bench = Bench::new([answer(500, "")]);
    let error = bench.provider.impersonate(&bench.client, &account()).await.err();
    assert_eq!(error, Some(GrantError::Unsent(tokenvault_core::ports::Cause::ServerError)));
    assert_eq!(bench.asked(), 1);
}

#[tokio::test]
async fn nothing_is_retried() {
    let bench = Bench::new([answer(500, ""), pair()]);
    assert!(bench.provider.refresh(&bench.client, &RefreshToken::new("rt")).await.is_err());
    assert_eq!(bench.asked(), 1);
}

#[tokio::test]
async fn a_client_the_vault_does_not_speak_for_is_refused_without_asking() {
    let bench = Bench::new([]);
    let elsewhere = Client { tenant: TenantId::parse("elsewhere").unwrap(), ..bench.client.clone() };
    let stranger = Client { id: ClientId::parse("stranger").unwrap(), ..bench.client.clone() };
    for client in [elsewhere, stranger] {
        let error = bench.provider.refresh(&client, &RefreshToken::new("rt")).await.err();
        assert_eq!(error, Some(GrantError::Refused(Refusal::ClientRejected)), "{client:?}");
    }
    assert_eq!(bench.asked(), 0);
}

#[tokio::test]
async fn an_adopted_client_proves_itself_by_its_own_secret() {
    let mut tenant = tenant();
    let legacy = ClientId::parse("legacy").unwrap();
    tenant.adopt_clients.insert(legacy.clone(), Credentials::Secret(ClientSecret::new("its-own")));
    let bench = Bench::with(tenant, [pair()]);
    let client = Client { id: legacy, ..bench.client.clone() };

    bench.provider.refresh(&client, &RefreshToken::new("rt")).await.unwrap();

    assert_eq!(param(&bench, 0, "client_id").as_deref(), Some("legacy"));
    assert_eq!(param(&bench, 0, "client_secret").as_deref(), Some("its-own"));
}

#[tokio::test]
async fn every_request_has_an_assertion_of_its_own_that_lives_at_most_a_minute() {
    let mut tenant = tenant();
    let key = SigningKey::from_pem(&ClientSecret::new(rsa_pem()), None, Some("key-7".to_owned())).unwrap();
    tenant.credentials = Credentials::PrivateKeyJwt(key);
    let bench = Bench::with(tenant, [service_token("svc"), pair(), pair()]);

    bench.provider.impersonate(&bench.client, &account()).await.unwrap();
    bench.provider.refresh(&bench.client, &RefreshToken::new("rt")).await.unwrap();

    let assertions: Vec<_> = (0..3).filter_map(|request| param(&bench, request, "client_assertion")).collect();
    let claims: Vec<_> = assertions.iter().filter_map(|jwt| crate::claims::unverified(jwt)).collect();
    assert_eq!(claims.len(), 3);
    for (claims, jwt) in claims.iter().zip(&assertions) {
        assert_eq!(
            (&claims["iss"], &claims["sub"], &claims["aud"]),
            (&json!("vault"), &json!("vault"), &json!(crate::testing::ISSUER))
        );
        assert!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap() <= 60);
        let header = crate::claims::decode(jwt.split('.').next().unwrap()).unwrap();
        assert_eq!((&header["alg"], &header["kid"]), (&json!("RS256"), &json!("key-7")));
    }
    let mut ids: Vec<&Value> = claims.iter().map(|claims| &claims["jti"]).collect();
    ids.sort_by_key(ToString::to_string);
    ids.dedup();
    assert_eq!(ids.len(), 3);
    assert_eq!(param(&bench, 0, "client_secret"), None);
}

#[derive(Default)]
struct Counter(Mutex<Vec<(&'static str, &'static str, Duration)>>);

impl CallObserver for Counter {
    fn call(&self, _: &str, call: &'static str, outcome: &'static str, elapsed: Duration) {
        self.0.lock().push((call, outcome, elapsed));
    }
}

#[tokio::test]
async fn an_observer_hears_of_every_call_and_how_it_went() {
    let counter = Arc::new(Counter::default());
    let disabled = no(400, "invalid_grant", "User disabled");
    let mut bench = Bench::new([pair(), disabled, answer(503, ""), answer(200, json!({ "active": true }))]);
    bench.provider = bench.provider.observed_by(counter.clone());
    let token = RefreshToken::new("rt");

    for _ in 0..3 {
        drop(bench.provider.refresh(&bench.client, &token).await);
    }
    bench.provider.probe(&bench.client, &token).await.unwrap();

    let heard: Vec<_> = counter.0.lock().iter().map(|(call, outcome, _)| (*call, *outcome)).collect();
    let expected = [("refresh", "ok"), ("refresh", "user_disabled"), ("refresh", "server_error"), ("probe", "ok")];
    assert_eq!(heard, expected);
}

#[test]
fn a_key_says_its_algorithm() {
    let rsa = ClientSecret::new(rsa_pem());
    let algorithm = |name| SigningKey::from_pem(&rsa, name, None).map(|key| key.algorithm());
    assert_eq!(algorithm(None).as_deref(), Ok("RS256"));
    assert_eq!(algorithm(Some("PS384")).as_deref(), Ok("PS384"));
    assert_eq!(algorithm(Some("ES256")), Err(crate::InvalidKey::Mismatch));
    assert_eq!(algorithm(Some("HS256")), Err(crate::InvalidKey::Mismatch));
    assert_eq!(algorithm(Some("none")), Err(crate::InvalidKey::Mismatch));
    let garbage = SigningKey::from_pem(&ClientSecret::new("-----BEGIN"), None, None);
    assert_eq!(garbage.err(), Some(crate::InvalidKey::Unreadable));
    for (signing, name) in [
        (&aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING, "ES256"),
        (&aws_lc_rs::signature::ECDSA_P384_SHA384_FIXED_SIGNING, "ES384"),
    ] {
        let random = aws_lc_rs::rand::SystemRandom::new();
        let pkcs8 = aws_lc_rs::signature::EcdsaKeyPair::generate_pkcs8(signing, &random).unwrap();
        let pem = ClientSecret::new(crate::testing::pem(pkcs8.as_ref()));
        assert_eq!(SigningKey::from_pem(&pem, None, None).unwrap().algorithm(), name);
    }
}
