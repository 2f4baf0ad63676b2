//! Hostile logout tokens, and the good one they differ from by one thing.

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokenvault_core::ids::ClientId;
use tokenvault_core::ports::ProofError;

use super::{LogoutError, LogoutToken};
use crate::testing::{Bench, ISSUER, KEY, NOON, OTHER_KEY, TestKey, answer, good_claims, key_set, tenant, unsigned};

/// As Keycloak 26.7 makes them.
fn claims() -> Value {
    json!({
        "iat": NOON.as_secs(),
        "exp": NOON.as_secs() + 120,
        "jti": "dc92223f-b198-d59f-f4f0-a10b410adfbd",
        "iss": ISSUER,
        "aud": "vault",
        "sub": "s-1",
        "typ": "Logout",
        "sid": "sid-1",
        "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
    })
}

fn sign_as(typ: Option<&str>, key: &TestKey, claims: &Value) -> String {
    let mut header = json!({ "alg": key.algorithm.name(), "kid": key.kid });
    if let Some(typ) = typ {
        header["typ"] = json!(typ);
    }
    key.sign_with(&header, claims)
}

fn sign(claims: &Value) -> String {
    sign_as(Some("logout+jwt"), &KEY, claims)
}

fn with(name: &str, value: Value) -> String {
    let mut claims = claims();
    claims[name] = value;
    sign(&claims)
}

fn without(names: &[&str]) -> String {
    let mut claims = claims();
    for name in names {
        claims.as_object_mut().unwrap().remove(*name);
    }
    sign(&claims)
}

async fn verdict_at(bench: &Bench, token: &str) -> Result<LogoutToken, LogoutError> {
    bench.provider.verify_logout(&bench.lab, token).await
}

async fn verdict(token: &str) -> Option<LogoutError> {
    verdict_at(&Bench::new([key_set([KEY.jwk()])]), token).await.err()
}

fn ago(seconds: u64) -> Value {
    json!(NOON.as_secs() - seconds)
}

fn ahead(seconds: u64) -> Value {
    json!(NOON.as_secs() + seconds)
}

#[tokio::test]
async fn a_good_token_tells_whose_session_is_over_and_how_long_its_id_matters() {
    let bench = Bench::new([key_set([KEY.jwk()])]);

    let token = verdict_at(&bench, &sign(&claims())).await.unwrap();

    assert_eq!(token.id, "dc92223f-b198-d59f-f4f0-a10b410adfbd");
    assert_eq!(token.sid.unwrap().as_str(), "sid-1");
    assert_eq!(token.subject.unwrap().as_str(), "s-1");
    assert_eq!(token.stale_at, NOON + Duration::from_mins(2));
}

#[tokio::test]
async fn once_its_id_may_be_forgotten_a_token_is_refused_for_its_age() {
    for (exp, error) in [(ahead(120), ProofError::Expired), (ahead(86_400), ProofError::TooOld)] {
        let bench = Bench::new([key_set([KEY.jwk()])]);
        let token = with("exp", exp);
        let good = verdict_at(&bench, &token).await.unwrap();
        bench.clock.advance((good.stale_at - Duration::from_millis(1)).since(NOON));
        assert!(verdict_at(&bench, &token).await.is_ok());
        bench.clock.advance(Duration::from_millis(1));
        assert_eq!(verdict_at(&bench, &token).await.err(), Some(error.into()));
    }
}

#[tokio::test]
async fn the_type_may_be_spelt_as_media_types_may() {
    for typ in ["logout+jwt", "LOGOUT+JWT", "application/logout+jwt", "Application/Logout+JWT"] {
        assert_eq!(verdict(&sign_as(Some(typ), &KEY, &claims())).await, None, "{typ}");
    }
}

#[tokio::test]
async fn another_type_is_refused() {
    for typ in [Some(""), Some("at+jwt"), Some("logout"), Some("logout+jwt ")] {
        let error = verdict(&sign_as(typ, &KEY, &claims())).await;
        assert_eq!(error, Some(ProofError::Type.into()), "{typ:?}");
    }
}

/// The standard (§2.4) recommends the type and does not demand it.
#[tokio::test]
async fn a_token_without_a_type_of_its_own_is_one_unless_its_claims_call_it_something_else() {
    for typ in [None, Some("JWT"), Some("jwt"), Some("application/jwt")] {
        assert_eq!(verdict(&sign_as(typ, &KEY, &claims())).await, None, "{typ:?}");
        let mut untyped = claims();
        untyped.as_object_mut().unwrap().remove("typ");
        assert_eq!(verdict(&sign_as(typ, &KEY, &untyped)).await, None, "{typ:?}");
        for other in [json!("Bearer"), json!("ID"), json!("Refresh"), json!(7)] {
            let mut claims = claims();
            claims["typ"] = other.clone();
            let error = verdict(&sign_as(typ, &KEY, &claims)).await;
            assert_eq!(error, Some(ProofError::Type.into()), "{typ:?} {other}");
        }
    }
}

#[tokio::test]
async fn a_logout_token_may_be_signed_as_access_tokens_may() {
    use crate::signature::Algorithm;
    let ec = ["ES256", "ES384", "ES512"].map(|name| TestKey::ec(Algorithm::named(name).unwrap()));
    for key in ec.into_iter().chain([TestKey::ed()]) {
        let bench = Bench::new([key_set([key.jwk()])]);
        let found = verdict_at(&bench, &sign_as(Some("logout+jwt"), &key, &claims())).await;
        assert!(found.is_ok(), "{}", key.algorithm.name());
    }
}

#[tokio::test]
async fn an_access_token_or_an_id_token_is_no_logout_token_even_under_its_type() {
    let mut id_token = good_claims();
    (id_token["typ"], id_token["aud"], id_token["jti"]) = (json!("ID"), json!("vault"), json!("j"));
    let mut access_token = good_claims();
    (access_token["aud"], access_token["jti"]) = (json!(["vault"]), json!("j"));
    for claims in [id_token, access_token] {
        assert_eq!(verdict(&KEY.sign(&claims)).await, Some(ProofError::Type.into()));
        assert_eq!(verdict(&sign(&claims)).await, Some(LogoutError::Event));
    }
}

#[tokio::test]
async fn a_bad_claim_is_named() {
    use ProofError as P;
    let token = LogoutError::Token;
    let table = [
        ("iss", json!("https://kc.example/realms/other"), token(P::Issuer)),
        ("iss", json!("https://kc.example/realms/lab/"), token(P::Issuer)),
        ("iss", json!([ISSUER]), token(P::Issuer)),
        ("aud", json!("ui"), LogoutError::Audience),
        ("aud", json!("vault2"), LogoutError::Audience),
        ("aud", json!(["ui", "account"]), LogoutError::Audience),
        ("aud", json!([]), LogoutError::Audience),
        ("aud", json!({ "vault": true }), LogoutError::Audience),
        ("exp", ago(0), token(P::Expired)),
        ("exp", ago(100), token(P::Expired)),
        ("exp", json!("never"), token(P::Malformed)),
        ("exp", json!(-5), token(P::Malformed)),
        ("iat", ahead(31), token(P::NotYetValid)),
        ("iat", ago(301), token(P::TooOld)),
        ("iat", json!(null), token(P::Malformed)),
        ("nbf", ahead(31), token(P::NotYetValid)),
        ("events", json!("http://schemas.openid.net/event/backchannel-logout"), LogoutError::Event),
        ("events", json!(["http://schemas.openid.net/event/backchannel-logout"]), LogoutError::Event),
        ("events", json!({ "http://schemas.openid.net/event/backchannel-logout": true }), LogoutError::Event),
        ("events", json!({ "http://schemas.openid.net/event/frontchannel-logout": {} }), LogoutError::Event),
        ("events", json!({}), LogoutError::Event),
        ("nonce", json!("n"), LogoutError::Nonce),
        ("nonce", json!(null), LogoutError::Nonce),
        ("jti", json!(""), token(P::ClaimMissing)),
        ("jti", json!(7), token(P::ClaimMissing)),
        ("jti", json!("j".repeat(256)), token(P::Malformed)),
        ("sid", json!(""), token(P::Malformed)),
        ("sid", json!("a b"), token(P::Malformed)),
        ("sid", json!(["sid-1"]), token(P::Malformed)),
        ("sub", json!({ "id": "s-1" }), token(P::Malformed)),
    ];
    for (name, value, error) in table {
        assert_eq!(verdict(&with(name, value.clone())).await, Some(error), "{name} = {value}");
    }
}

#[tokio::test]
async fn a_missing_claim_is_named() {
    let table: [(&[&str], LogoutError); 7] = [
        (&["iss"], ProofError::Issuer.into()),
        (&["aud"], LogoutError::Audience),
        (&["exp"], ProofError::ClaimMissing.into()),
        (&["iat"], ProofError::ClaimMissing.into()),
        (&["events"], LogoutError::Event),
        (&["jti"], ProofError::ClaimMissing.into()),
        (&["sid", "sub"], ProofError::ClaimMissing.into()),
    ];
    for (names, error) in table {
        assert_eq!(verdict(&without(names)).await, Some(error), "{names:?}");
    }
}

#[tokio::test]
async fn a_session_or_a_subject_alone_is_enough() {
    for name in ["sid", "sub"] {
        assert_eq!(verdict(&without(&[name])).await, None, "without {name}");
        assert_eq!(verdict(&with(name, json!(null))).await, None, "{name} is null");
    }
}

#[tokio::test]
async fn clocks_that_differ_a_little_and_other_harmless_differences_are_forgiven() {
    let other_event = json!({
        "http://schemas.openid.net/event/backchannel-logout": { "more": 1 },
        "revoke_offline_access": true,
    });
    for (name, value) in [
        ("iat", ahead(30)),
        ("iat", ago(300)),
        ("aud", json!(["ui", "vault"])),
        ("events", other_event),
        ("nbf", ahead(30)),
        ("sub", json!("Jörg Müller")),
    ] {
        assert_eq!(verdict(&with(name, value.clone())).await, None, "{name} = {value}");
    }
}

#[tokio::test]
async fn a_client_whose_pairs_may_be_deposited_is_an_audience_too() {
    let mut tenant = tenant();
    tenant.adopt_clients.insert(ClientId::parse("legacy").unwrap(), tenant.credentials.clone());
    let bench = Bench::with(tenant, [key_set([KEY.jwk()])]);
    assert!(verdict_at(&bench, &with("aud", json!("legacy"))).await.is_ok());
}

#[tokio::test]
async fn an_unsigned_token_and_one_signed_with_the_public_key_never_reach_a_key() {
    let public = KEY.jwk();
    let hmac = |secret: &[u8]| {
        let header =
            Header { kid: Some("k1".to_owned()), typ: Some("logout+jwt".to_owned()), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, &claims(), &EncodingKey::from_secret(secret)).unwrap()
    };
    let none = |alg: &str| unsigned(&json!({ "alg": alg, "kid": "k1", "typ": "logout+jwt" }), &claims());
    let bench = Bench::new([]);
    for token in [
        none("none"),
        none("None"),
        none("HS256"),
        none(""),
        hmac(public["n"].as_str().unwrap().as_bytes()),
        hmac(public.to_string().as_bytes()),
    ] {
        assert_eq!(verdict_at(&bench, &token).await.err(), Some(ProofError::Algorithm.into()), "{token}");
    }
    assert_eq!(bench.asked(), 0);
}

#[tokio::test]
async fn what_the_realm_did_not_sign_is_refused() {
    let good = sign(&claims());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let other = with("sid", json!("sid-2"));
    let swapped = format!("{}.{signature}", other.rsplit_once('.').unwrap().0);
    let mut forger = OTHER_KEY.signing_with(crate::signature::Algorithm::named("RS256").unwrap());
    forger.kid = "k1";
    let by_forger = sign_as(Some("logout+jwt"), &forger, &claims());
    let header = json!({ "alg": "RS256", "typ": "logout+jwt", "kid": "k1", "jwk": OTHER_KEY.jwk() });
    for token in [swapped, by_forger, format!("{signed}."), format!("{signed}.AAAA"), unsigned(&header, &claims())] {
        assert_eq!(verdict(&token).await, Some(ProofError::Signature.into()), "{token}");
    }
}

#[tokio::test]
async fn of_a_member_given_twice_the_last_counts_in_the_check_and_nowhere_else() {
    // A signature covers the bytes, so the realm alone could write such a token; it must not mean two things.
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
    let header = B64.encode(r#"{"alg":"RS256","kid":"k1","typ":"JWT","typ":"logout+jwt","alg":"none"}"#);
    let token = format!("{header}.{}.AAAA", B64.encode(claims().to_string()));
    assert_eq!(verdict(&token).await, Some(ProofError::Algorithm.into()));

    let twice = claims().to_string().replacen('{', r#"{"aud":"vault","iss":"https://elsewhere","#, 1);
    let twice = format!(r#"{},"aud":"ui"}}"#, twice.strip_suffix('}').unwrap());
    let header = B64.encode(r#"{"alg":"RS256","kid":"k1","typ":"logout+jwt"}"#);
    let signed = format!("{header}.{}", B64.encode(twice));
    let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &KEY.key, Algorithm::RS256).unwrap();
    assert_eq!(verdict(&format!("{signed}.{signature}")).await, Some(LogoutError::Audience));
}

#[tokio::test]
async fn what_is_no_jwt_is_malformed() {
    let critical = json!({ "alg": "RS256", "kid": "k1", "typ": "logout+jwt", "crit": ["exp"] });
    let good = sign(&claims());
    let array = unsigned(&json!({ "alg": "RS256", "kid": "k1", "typ": "logout+jwt" }), &json!(["iss"]));
    for token in ["", "a.b.c", "....", &good[1..], &format!("{good}.x"), &unsigned(&critical, &claims()), &array] {
        assert_eq!(verdict(token).await, Some(ProofError::Malformed.into()), "{token}");
    }
}

#[tokio::test]
async fn a_token_that_says_the_wrong_thing_costs_no_request_for_keys() {
    let bench = Bench::new([]);
    for token in [with("iss", json!("x")), with("aud", json!("ui")), with("exp", ago(1)), with("events", json!({}))] {
        assert!(verdict_at(&bench, &token).await.is_err());
    }
    assert_eq!(bench.asked(), 0);
}

#[tokio::test]
async fn a_flood_of_unknown_keys_asks_keycloak_once() {
    let bench = Bench::new([key_set([KEY.jwk()])]);
    for number in 0..200 {
        let header = json!({ "alg": "RS256", "kid": format!("made-up-{number}"), "typ": "logout+jwt" });
        let error = verdict_at(&bench, &unsigned(&header, &claims())).await.err();
        assert_eq!(error, Some(ProofError::Signature.into()));
    }
    assert_eq!(bench.asked(), 1);
    assert!(verdict_at(&bench, &sign(&claims())).await.is_ok(), "the realm's own token must still pass");
    assert_eq!(bench.asked(), 1);
}

#[tokio::test]
async fn without_keys_nothing_is_believed_and_nothing_is_called_false() {
    let bench = Bench::new([answer(503, json!({}))]);
    let error = verdict_at(&bench, &sign(&claims())).await.err();
    assert_eq!(error, Some(ProofError::KeysUnavailable.into()));
}

#[tokio::test]
async fn another_tenants_token_is_refused_in_this_one() {
    let mut other = tenant();
    other.accepted_clients.clear();
    let bench = Bench::with(other, [key_set([OTHER_KEY.jwk()])]);
    assert_eq!(verdict_at(&bench, &sign(&claims())).await.err(), Some(ProofError::Signature.into()));
    let nobody = tokenvault_core::ids::TenantId::parse("nobody").unwrap();
    let unknown = bench.provider.verify_logout(&nobody, &sign(&claims())).await.err();
    assert_eq!(unknown, Some(ProofError::UnknownTenant.into()));
}

#[test]
fn a_code_says_what_the_error_says() {
    use ProofError as P;
    let all = [P::Malformed, P::Algorithm, P::Key, P::Signature, P::Issuer, P::Expired, P::TooOld, P::NotYetValid];
    let more = [P::Type, P::ClaimMissing, P::KeysUnavailable, P::UnknownTenant];
    let all = all.into_iter().chain(more).map(LogoutError::Token);
    for error in all.chain([LogoutError::Audience, LogoutError::Event, LogoutError::Nonce]) {
        assert_eq!(error.code(), error.to_string());
    }
}
