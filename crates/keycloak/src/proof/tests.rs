//! Bad proofs of every kind, and the good one they differ from by one thing.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokenvault_core::ports::ProofError;

use crate::signature::Algorithm;
use crate::testing::{Bench, KEY, NOON, OTHER_KEY, TestKey, good_claims, key_set, tenant, unsigned};

async fn verdict(token: &str) -> Option<ProofError> {
    Bench::new([key_set([KEY.jwk()])]).verify(token).await.err()
}

fn with(name: &str, value: Value) -> String {
    let mut claims = good_claims();
    claims[name] = value;
    KEY.sign(&claims)
}

fn without(name: &str) -> String {
    let mut claims = good_claims();
    claims.as_object_mut().unwrap().remove(name);
    KEY.sign(&claims)
}

fn ago(seconds: u64) -> Value {
    json!(NOON.as_secs() - seconds)
}

fn ahead(seconds: u64) -> Value {
    json!(NOON.as_secs() + seconds)
}

#[tokio::test]
async fn a_good_proof_tells_who_and_until_when() {
    let bench = Bench::new([key_set([KEY.jwk()])]);

    let proof = bench.verify(&KEY.sign(&good_claims())).await.unwrap();

    assert_eq!((proof.subject.as_str(), proof.user.as_str()), ("s-1", "s-1"));
    assert_eq!((proof.sid.as_str(), proof.client.as_str(), proof.scope.as_str()), ("sid-1", "ui", "openid"));
    assert_eq!(proof.expires_at, NOON + Duration::from_mins(5));
    assert!(!proof.privileged);
}

#[tokio::test]
async fn where_users_are_known_by_another_claim_a_name_in_sub_may_have_any_characters() {
    let mut tenant = tenant();
    tenant.user_id_claim = "user_id".to_owned();
    let bench = Bench::with(tenant, [key_set([KEY.jwk()])]);
    for (name, subject) in [("diku_admin", "diku_admin"), ("jörg", "u-1"), ("Anna Schmidt", "u-1"), ("名前", "u-1")]
    {
        let mut claims = good_claims();
        (claims["user_id"], claims["sub"]) = (json!("u-1"), json!(name));

        let proof = bench.verify(&KEY.sign(&claims)).await.unwrap();

        assert_eq!((proof.user.as_str(), proof.subject.as_str()), ("u-1", subject), "{name}");
    }
    // Where `sub` is what users are known by, it stands in keys and in paths.
    assert_eq!(verdict(&with("sub", json!("jörg"))).await, Some(ProofError::ClaimMissing));
}

#[tokio::test]
async fn a_bad_claim_is_named() {
    use ProofError as E;
    let table = [
        ("iss", json!("https://kc.example/realms/other"), E::Issuer),
        ("iss", json!("https://kc.example/realms/lab/"), E::Issuer),
        ("exp", ago(0), E::Expired),
        ("exp", ago(1), E::Expired),
        ("exp", json!("soon"), E::Malformed),
        ("exp", json!(-1), E::Malformed),
        ("iat", ago(3601), E::TooOld),
        ("iat", ahead(31), E::NotYetValid),
        ("iat", ahead(35), E::NotYetValid),
        ("nbf", ahead(31), E::NotYetValid),
        ("typ", json!("ID"), E::Type),
        ("typ", json!("Refresh"), E::Type),
        ("typ", json!("DPoP"), E::Type),
        ("typ", json!("bearer"), E::Type),
        ("azp", json!("stranger"), E::Client),
        ("azp", json!("vault"), E::Client),
        ("azp", json!(["ui"]), E::Client),
        ("sub", json!(""), E::ClaimMissing),
        ("sub", json!(7), E::ClaimMissing),
        ("sid", json!(null), E::ClaimMissing),
    ];
    for (name, value, error) in table {
        assert_eq!(verdict(&with(name, value.clone())).await, Some(error), "{name} = {value}");
    }
}

#[tokio::test]
async fn a_missing_claim_is_named() {
    use ProofError as E;
    let table = [
        ("iss", E::Issuer),
        ("exp", E::ClaimMissing),
        ("iat", E::ClaimMissing),
        ("typ", E::Type),
        ("azp", E::Client),
        ("sub", E::ClaimMissing),
        ("sid", E::ClaimMissing),
    ];
    for (name, error) in table {
        assert_eq!(verdict(&without(name)).await, Some(error), "{name}");
    }
}

#[tokio::test]
async fn a_clock_that_differs_a_little_is_forgiven() {
    for (name, value) in [("iat", ahead(30)), ("nbf", ahead(30)), ("exp", ahead(1))] {
        assert_eq!(verdict(&with(name, value.clone())).await, None, "{name} = {value}");
    }
}

/// A proof that was issued so many seconds ago and lives for so many.
fn aged(age: u64, life: u64) -> String {
    let mut claims = good_claims();
    let issued_at = NOON.as_secs() - age;
    claims["iat"] = json!(issued_at);
    claims["exp"] = json!(issued_at + life);
    KEY.sign(&claims)
}

#[tokio::test]
async fn a_proof_may_be_as_old_as_it_lives_and_no_older_than_an_hour() {
    use ProofError as E;
    for (age, life, expected) in [
        (0, 60, None),
        (599, 600, None),
        (600, 600, Some(E::Expired)),
        (3600, 7200, None),
        (3601, 7200, Some(E::TooOld)),
    ] {
        assert_eq!(verdict(&aged(age, life)).await, expected, "{age} s of {life} s");
    }
}

#[tokio::test]
async fn an_age_that_is_configured_holds_whatever_the_proof_lives() {
    use ProofError as E;
    for (most, age, life, expected) in [
        (300, 300, 600, None),
        (300, 301, 600, Some(E::TooOld)),
        (7200, 3601, 9000, None),
        (7200, 600, 600, Some(E::Expired)),
    ] {
        let mut tenant = tenant();
        tenant.max_proof_age = Some(Duration::from_secs(most));
        let found = Bench::with(tenant, [key_set([KEY.jwk()])]).verify(&aged(age, life)).await.err();
        assert_eq!(found, expected, "{age} s of {life} s, {most} s allowed");
    }
}

#[tokio::test]
async fn a_token_without_a_signature_or_with_hmac_is_refused_before_any_key_is_looked_at() {
    let public_key = KEY.jwk();
    let modulus = jsonwebtoken::EncodingKey::from_secret(public_key["n"].as_str().unwrap().as_bytes());
    let whole_key = jsonwebtoken::EncodingKey::from_secret(public_key.to_string().as_bytes());
    let hmac = |key| {
        let header = jsonwebtoken::Header { kid: Some("k1".to_owned()), ..Default::default() };
        jsonwebtoken::encode(&header, &good_claims(), key).unwrap()
    };
    let unsigned = |algorithm| unsigned(&json!({ "alg": algorithm, "kid": "k1" }), &good_claims());
    let tokens = [
        unsigned("none"),
        unsigned("None"),
        unsigned("NONE"),
        unsigned(""),
        unsigned("HS256"),
        unsigned("rs256"),
        unsigned("RSA-OAEP"),
        hmac(&modulus),
        hmac(&whole_key),
    ];
    let bench = Bench::new([]);
    for token in tokens {
        assert_eq!(bench.verify(&token).await.err(), Some(ProofError::Algorithm), "{token}");
    }
    assert_eq!(bench.asked(), 0);
}

#[tokio::test]
async fn a_signature_must_be_the_named_keys_own() {
    let good = KEY.sign(&good_claims());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let other_claims = with("sub", json!("s-2"));
    let swapped = format!("{}.{signature}", other_claims.rsplit_once('.').unwrap().0);
    let header = jsonwebtoken::Header {
        kid: Some("k1".to_owned()),
        ..jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS256)
    };
    let by_other_key = jsonwebtoken::encode(&header, &good_claims(), &OTHER_KEY.key).unwrap();
    let no_kid =
        jsonwebtoken::encode(&jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS256), &good_claims(), &KEY.key)
            .unwrap();
    let empty = format!("{signed}.");
    let cut = good[..good.len() - 4].to_owned();
    for token in [swapped, by_other_key, no_kid, empty, cut, OTHER_KEY.sign(&good_claims())] {
        assert_eq!(verdict(&token).await, Some(ProofError::Signature), "{token}");
    }
}

#[tokio::test]
async fn a_key_is_used_with_its_own_algorithm_only() {
    let mut jwk = KEY.jwk();
    jwk["alg"] = json!("PS256");
    let bench = Bench::new([key_set([jwk])]);
    assert_eq!(bench.verify(&KEY.sign(&good_claims())).await.err(), Some(ProofError::Signature));
}

/// A key for each algorithm that Keycloak offers for access tokens, but for those that are shared secrets.
fn a_key_for_each_algorithm() -> Vec<TestKey> {
    let rsa = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"].map(named).map(|it| KEY.signing_with(it));
    let ec = ["ES256", "ES384", "ES512"].map(named).map(TestKey::ec);
    rsa.into_iter().chain(ec).chain([TestKey::ed()]).collect()
}

fn named(name: &str) -> Algorithm {
    Algorithm::named(name).unwrap()
}

#[tokio::test]
async fn every_algorithm_that_keycloak_offers_verifies_with_its_kind_of_key_and_no_other() {
    let keys = a_key_for_each_algorithm();
    for key in &keys {
        let (token, name) = (key.sign(&good_claims()), key.algorithm.name());
        let bench = Bench::new([key_set([key.jwk()])]);
        assert!(bench.verify(&token).await.is_ok(), "{name}");
        let (signed, _) = token.rsplit_once('.').unwrap();
        let other = key.sign(&json!({ "sub": "s-2" }));
        let swapped = format!("{signed}.{}", other.rsplit_once('.').unwrap().1);
        assert_eq!(bench.verify(&swapped).await.err(), Some(ProofError::Signature), "{name}");

        for stranger in keys.iter().chain([&*OTHER_KEY]).filter(|stranger| stranger.kid != key.kid) {
            let mut jwk = stranger.jwk();
            jwk["kid"] = json!(key.kid);
            jwk.as_object_mut().unwrap().remove("alg");
            let bench = Bench::new([key_set([jwk])]);
            assert_eq!(bench.verify(&token).await.err(), Some(ProofError::Signature), "{name}");
        }
    }
}

#[tokio::test]
async fn a_key_that_does_not_say_its_algorithm_is_used_with_those_of_its_kind() {
    for key in a_key_for_each_algorithm() {
        let mut jwk = key.jwk();
        for optional in ["alg", "use"] {
            jwk.as_object_mut().unwrap().remove(optional);
        }
        jwk["x5c"] = json!(["MIIC"]);
        jwk["x5t"] = json!("x");
        jwk["later"] = json!({ "any": 1 });
        let bench = Bench::new([key_set([jwk])]);
        assert!(bench.verify(&key.sign(&good_claims())).await.is_ok(), "{}", key.algorithm.name());
    }
}

#[tokio::test]
async fn ed25519_goes_by_its_newer_name_as_well() {
    let key = TestKey::ed();
    let mut jwk = key.jwk();
    jwk["alg"] = json!("Ed25519");
    let token = key.sign_with(&json!({ "alg": "Ed25519", "kid": key.kid }), &good_claims());
    assert!(Bench::new([key_set([jwk])]).verify(&token).await.is_ok());
}

/// A realm's key of these kinds is not somebody else's, and its tokens are not forged.
#[tokio::test]
async fn a_key_that_the_vault_cannot_use_is_told_from_a_bad_signature() {
    let weak = json!({ "kty": "RSA", "n": URL_SAFE_NO_PAD.encode([255; 128]), "e": "AQAB", "alg": "RS256" });
    let table = [
        ("EdDSA", json!({ "kty": "OKP", "crv": "Ed448", "alg": "EdDSA", "x": "AAAA" })),
        ("ES256", json!({ "kty": "EC", "crv": "secp256k1", "x": "AAAA", "y": "AAAA" })),
        ("RS256", weak),
    ];
    for (algorithm, mut jwk) in table {
        (jwk["kid"], jwk["use"]) = (json!("odd"), json!("sig"));
        let token = unsigned(&json!({ "alg": algorithm, "kid": "odd" }), &good_claims());
        let bench = Bench::new([key_set([jwk.clone(), KEY.jwk()])]);
        assert_eq!(bench.verify(&token).await.err(), Some(ProofError::Key), "{jwk}");
        assert!(bench.verify(&KEY.sign(&good_claims())).await.is_ok(), "{jwk}");

        let alone = Bench::new([key_set([jwk.clone()])]);
        assert_eq!(alone.verify(&token).await.err(), Some(ProofError::Key), "{jwk}, and nothing else");
    }
}

#[tokio::test]
async fn what_is_no_jwt_is_malformed() {
    let critical = unsigned(&json!({ "alg": "RS256", "kid": "k1", "crit": ["exp"] }), &good_claims());
    let good = KEY.sign(&good_claims());
    for token in ["", "abc", "a.b", "a.b.c", &format!("{good}.x"), &critical] {
        assert_eq!(verdict(token).await, Some(ProofError::Malformed), "{token}");
    }
}

#[tokio::test]
async fn the_user_is_who_the_tenants_claim_says() {
    let mut tenant = tenant();
    tenant.user_id_claim = "user_id".to_owned();
    let bench = Bench::with(tenant, [key_set([KEY.jwk()])]);
    let proof = bench.verify(&with("user_id", json!("u-1"))).await.unwrap();
    assert_eq!((proof.subject.as_str(), proof.user.as_str()), ("s-1", "u-1"));
    assert_eq!(bench.verify(&KEY.sign(&good_claims())).await.err(), Some(ProofError::ClaimMissing));
}

#[tokio::test]
async fn a_client_whose_pairs_may_be_deposited_proves_nothing_by_that_alone() {
    let mut tenant = tenant();
    let credentials = tenant.credentials.clone();
    tenant.adopt_clients.insert(tokenvault_core::ids::ClientId::parse("legacy").unwrap(), credentials);
    let bench = Bench::with(tenant, [key_set([KEY.jwk()])]);
    assert_eq!(bench.verify(&with("azp", json!("legacy"))).await.err(), Some(ProofError::Client));
}

#[tokio::test]
async fn a_service_account_is_privileged() {
    let bench = Bench::new([key_set([KEY.jwk()])]);
    assert!(bench.verify(&with("client_id", json!("ui"))).await.unwrap().privileged);
}
