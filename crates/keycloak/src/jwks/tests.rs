//! When keys are fetched, when not, and which of them count.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokenvault_core::ports::ProofError;

use super::RealmKey;
use crate::http::TransportFailure;
use crate::testing::{Bench, KEY, OTHER_KEY, answer, good_claims, key_set};

/// A proof that lives long enough for a test to let time pass.
fn long_lived(key: &crate::testing::TestKey) -> String {
    let mut claims = good_claims();
    claims["exp"] = json!(crate::testing::NOON.as_secs() + 1_000_000);
    key.sign(&claims)
}

fn bench(answers: impl IntoIterator<Item = crate::http::HttpResult>) -> Bench {
    let mut tenant = crate::testing::tenant();
    tenant.max_proof_age = Some(Duration::from_hours(24));
    Bench::with(tenant, answers)
}

#[tokio::test]
async fn keys_are_fetched_once_and_kept() {
    let bench = bench([key_set([KEY.jwk()])]);
    for _ in 0..3 {
        assert!(bench.verify(&long_lived(&KEY)).await.is_ok());
        bench.clock.advance(Duration::from_mins(3));
    }
    assert_eq!(bench.asked(), 1);
}

#[tokio::test]
async fn an_unknown_key_is_asked_for_but_not_more_often_than_the_floor_allows() {
    let bench = bench([key_set([KEY.jwk()]), key_set([KEY.jwk(), OTHER_KEY.jwk()])]);
    assert!(bench.verify(&long_lived(&KEY)).await.is_ok());

    assert_eq!(bench.verify(&long_lived(&OTHER_KEY)).await.err(), Some(ProofError::Signature));
    assert_eq!(bench.asked(), 1, "the last fetch is too short a time ago");

    bench.clock.advance(Duration::from_secs(10));
    assert!(bench.verify(&long_lived(&OTHER_KEY)).await.is_ok());
    assert_eq!(bench.asked(), 2);
}

#[tokio::test]
async fn many_who_need_the_keys_at_once_wait_for_one_fetch() {
    let bench = Arc::new(bench([key_set([KEY.jwk()])]));
    let token = long_lived(&KEY);
    let all = (0..32).map(|_| {
        let (bench, token) = (bench.clone(), token.clone());
        tokio::spawn(async move { bench.verify(&token).await.is_ok() })
    });
    for task in all.collect::<Vec<_>>() {
        assert!(task.await.unwrap());
    }
    assert_eq!(bench.asked(), 1);
}

#[tokio::test]
async fn a_withdrawn_key_is_forgotten_after_the_next_fetch() {
    let bench = bench([key_set([KEY.jwk(), OTHER_KEY.jwk()]), key_set([OTHER_KEY.jwk()])]);
    assert!(bench.verify(&long_lived(&KEY)).await.is_ok());
    bench.clock.advance(Duration::from_mins(10));
    assert_eq!(bench.verify(&long_lived(&KEY)).await.err(), Some(ProofError::Signature));
    assert!(bench.verify(&long_lived(&OTHER_KEY)).await.is_ok());
}

#[tokio::test]
async fn known_keys_are_kept_while_keycloak_is_away() {
    let page = answer(200, "<html>");
    let none = key_set([]);
    let away = Err(TransportFailure::Connect);
    let bench = bench([key_set([KEY.jwk()]), away, answer(503, ""), page, none]);
    assert!(bench.verify(&long_lived(&KEY)).await.is_ok());
    for failures in 1..=4 {
        bench.clock.advance(Duration::from_mins(10));
        assert!(bench.verify(&long_lived(&KEY)).await.is_ok());
        assert_eq!(bench.asked(), 1 + failures);
    }
    let unknown = bench.verify(&long_lived(&OTHER_KEY)).await.err();
    assert_eq!(unknown, Some(ProofError::KeysUnavailable), "nobody can say that this key is not the realm's");
}

#[tokio::test]
async fn without_keys_nothing_is_said_about_a_proof() {
    let bench = bench([]);
    assert_eq!(bench.verify(&long_lived(&KEY)).await.err(), Some(ProofError::KeysUnavailable));
    assert_eq!(bench.verify(&long_lived(&KEY)).await.err(), Some(ProofError::KeysUnavailable));
    assert_eq!(bench.asked(), 1, "and Keycloak is not asked at every call");
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(bench.verify(&long_lived(&KEY)).await.err(), Some(ProofError::KeysUnavailable));
    assert_eq!(bench.asked(), 2, "but soon again");
}

#[tokio::test]
async fn one_unreadable_key_does_not_hide_the_others() {
    let odd = json!({ "kid": "odd", "kty": "RSA", "n": "?", "e": "AQAB" });
    let bench = bench([key_set([odd, json!({ "kty": "LATER" }), json!(7), KEY.jwk()])]);
    assert!(bench.verify(&long_lived(&KEY)).await.is_ok());
}

#[test]
fn keys_that_could_be_misused_are_not_read() {
    let usable = |jwk: &serde_json::Value| RealmKey::read(jwk).is_some_and(|key| key.verifying.is_some());
    assert!(usable(&KEY.jwk()));
    let changed = |name: &str, value: serde_json::Value| {
        let mut jwk = KEY.jwk();
        jwk[name] = value;
        jwk
    };
    for jwk in [
        json!({ "kty": "oct", "kid": "k1", "alg": "HS256", "k": "c2VjcmV0" }),
        changed("use", json!("enc")),
        changed("alg", json!("HS256")),
        changed("alg", json!("RSA-OAEP")),
        changed("alg", json!("ES256")),
        changed("key_ops", json!(["encrypt"])),
        changed("n", json!("AQAB")),
        changed("kid", json!(null)),
        changed("kty", json!("EC")),
    ] {
        assert!(!usable(&jwk), "{jwk}");
    }
}

#[test]
fn a_coordinate_may_lack_the_zeros_it_begins_with_and_not_be_too_long() {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    assert_eq!(super::number(&URL_SAFE_NO_PAD.encode([7]), 3), Some(vec![0, 0, 7]));
    assert_eq!(super::number(&URL_SAFE_NO_PAD.encode([0, 7]), 1), None);
}
