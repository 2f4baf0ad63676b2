//! Access tokens that prove nothing, each refused by the check it fails, before anything is written.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokenvault_tests::harness::process::{SOON, wait_until};
use tokenvault_tests::harness::realm::{LOGIN_APP, LabRealm, MODULE, Tokens, VAULT};
use tokenvault_tests::harness::{Failure, Result};

use crate::bad_input::stage::{Stage, assert_check, assert_no_record, assert_problem, new_job, proof, stage, with};

/// Registers with a token as proof and asserts that this check refuses it and that nothing is left of it.
async fn assert_refused(stage: &Stage, token: &str, check: &str) -> Result<()> {
    let job = new_job();
    let answer = stage.client("mod-di")?.put(&job, &json!({ "access_token": token })).await?;
    assert_check(&answer, check);
    stage.assert_untouched(&job).await
}

fn header_of(token: &str) -> Value {
    let head = token.split('.').next().unwrap_or_default();
    URL_SAFE_NO_PAD.decode(head).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn unix_now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[tokio::test]
async fn an_expired_token_proves_nothing() -> Result<()> {
    let stage = stage().await?;
    let tokens = stage.short_lived().await?;
    let expires_at = tokens.claims()["exp"].as_u64().unwrap_or_default();
    wait_until("the token's end", SOON, async || unix_now() > expires_at).await?;

    assert_refused(&stage, &tokens.access_token, "expired").await
}

#[tokio::test]
async fn a_token_issued_too_long_ago_proves_nothing() -> Result<()> {
    let stage = stage().await?;
    let tokens = stage.realm.login("alice").await?;
    let issued_at = tokens.claims()["iat"].as_u64().unwrap_or_default();
    wait_until("the proof to age", SOON, async || unix_now() > issued_at + 2).await?;
    let job = new_job();

    let answer = stage.client("mod-aged")?.register(&job, &tokens).await?;

    assert_check(&answer, "too_old");
    stage.assert_untouched(&job).await
}

#[tokio::test]
async fn a_token_of_another_realm_proves_nothing() -> Result<()> {
    let stage = stage().await?;
    let foreign = stage.other.login("alice").await?;
    assert_refused(&stage, &foreign.access_token, "bad_signature").await
}

#[tokio::test]
async fn a_token_that_was_tampered_with_proves_nothing() -> Result<()> {
    let stage = stage().await?;
    let token = stage.realm.login("alice").await?.access_token;
    let bob = stage.realm.login("bob").await?.access_token;
    let [head, payload, signature] = parts(&token)?;
    let [_, bobs_payload, _] = parts(&bob)?;
    let mut claims = tokenvault_tests::harness::realm::claims(&token);
    claims["exp"] = json!(4_000_000_000_u64);
    let swapped = if signature.starts_with('A') { "B" } else { "A" };
    let head_with = |name: &str, value: Value| {
        let mut header = header_of(&token);
        header[name] = value;
        part(&header)
    };
    let (no_kid, other_kid) = (head_with("kid", Value::Null), head_with("kid", json!("unknown")));
    for forged in [
        format!("{head}.{payload}.{swapped}{}", &signature[1..]),
        format!("{head}.{payload}.{}", &signature[..signature.len() - 8]),
        format!("{head}.{payload}."),
        format!("{head}.{bobs_payload}.{signature}"),
        format!("{head}.{}.{signature}", part(&claims)),
        format!("{no_kid}.{payload}.{signature}"),
        format!("{other_kid}.{payload}.{signature}"),
    ] {
        assert_refused(&stage, &forged, "bad_signature").await?;
    }
    let critical = head_with("crit", json!(["exp"]));
    assert_refused(&stage, &format!("{critical}.{payload}.{signature}"), "malformed").await
}

#[tokio::test]
async fn a_token_signed_with_somebody_elses_key_proves_nothing() -> Result<()> {
    let stage = stage().await?;
    let token = stage.realm.login("alice").await?.access_token;
    let claims = tokenvault_tests::harness::realm::claims(&token);
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256)?.serialize_pem();
    let key = EncodingKey::from_rsa_pem(key.as_bytes())?;
    let own = jsonwebtoken::jwk::Jwk::from_encoding_key(&key, Algorithm::RS256)?;
    let mut header = Header::new(Algorithm::RS256);
    header.kid = header_of(&token)["kid"].as_str().map(str::to_owned);
    assert_refused(&stage, &jsonwebtoken::encode(&header, &claims, &key)?, "bad_signature").await?;
    header.jwk = Some(own);
    assert_refused(&stage, &jsonwebtoken::encode(&header, &claims, &key)?, "bad_signature").await?;
    header.jku = Some(format!("{}/keys", stage.realm.base_url()));
    assert_refused(&stage, &jsonwebtoken::encode(&header, &claims, &key)?, "bad_signature").await
}

#[tokio::test]
async fn an_algorithm_that_needs_no_key_or_a_shared_one_is_not_allowed() -> Result<()> {
    let stage = stage().await?;
    let token = stage.realm.login("alice").await?.access_token;
    let [_, payload, signature] = parts(&token)?;
    let kid = header_of(&token)["kid"].clone();
    for name in ["none", "None", "NONE", "nOnE", "", "rs256", "HS256", "ES256K"] {
        let head = part(&json!({ "alg": name, "typ": "JWT", "kid": kid }));
        for signature in ["", signature] {
            assert_refused(&stage, &format!("{head}.{payload}.{signature}"), "algorithm_not_allowed").await?;
        }
    }
    assert_refused(&stage, &format!("{}.{payload}.{signature}", part(&json!({ "kid": kid }))), "algorithm_not_allowed")
        .await
}

#[tokio::test]
async fn the_public_key_is_never_taken_for_a_shared_one() -> Result<()> {
    let stage = stage().await?;
    let token = stage.realm.login("alice").await?.access_token;
    let claims = tokenvault_tests::harness::realm::claims(&token);
    let kid = header_of(&token)["kid"].as_str().map(str::to_owned);
    for secret in public_key_forms(&stage.realm).await? {
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            let mut header = Header::new(algorithm);
            header.kid.clone_from(&kid);
            let forged = jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(&secret))?;
            assert_refused(&stage, &forged, "algorithm_not_allowed").await?;
        }
    }
    Ok(())
}

/// The realm's public key in the forms somebody could take for a secret: DER, base64, PEM with and without line ends.
async fn public_key_forms(realm: &LabRealm) -> Result<Vec<Vec<u8>>> {
    let about: Value = reqwest::get(realm.issuer()).await?.error_for_status()?.json().await?;
    let text = about["public_key"].as_str().ok_or_else(|| Failure::new("the realm shows no public key"))?;
    let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----", lines.join("\n"));
    Ok(vec![STANDARD.decode(text)?, text.as_bytes().to_vec(), format!("{pem}\n").into_bytes(), pem.into_bytes()])
}

#[tokio::test]
async fn another_users_token_proves_nothing_for_the_user_who_was_named() -> Result<()> {
    let stage = stage().await?;
    let (job, bob) = (new_job(), stage.realm.login("bob").await?);
    let alice = stage.realm.user("alice")?;
    let client = stage.client("mod-di")?;
    for named in [&alice.user_id, &alice.sub, &stage.realm.user("bob")?.sub] {
        assert_check(&client.put(&job, &with(proof(&bob), "user_id", named.as_str())).await?, "user_id_mismatch");
    }
    stage.assert_untouched(&job).await
}

#[tokio::test]
async fn the_token_of_a_user_who_has_logged_out_buys_nothing() -> Result<()> {
    let stage = stage().await?;
    for body in [json!({}), json!({ "acquisition": "impersonate" })] {
        let tokens = stage.realm.login("alice").await?;
        stage.realm.logout(LOGIN_APP, tokens.refresh()).await?;
        let job = new_job();

        let answer = stage.client("mod-all")?.put(&job, &with(body, "access_token", tokens.access_token)).await?;

        assert_check(&answer, "token_not_active");
        stage.assert_no_record(&job).await?;
        assert_problem(&stage.client("mod-all")?.get(&job).await?, 404, "job_not_found");
    }
    Ok(())
}

#[tokio::test]
async fn a_token_of_a_client_that_is_not_accepted_proves_nothing() -> Result<()> {
    let stage = stage().await?;
    let own = stage.realm.exchange(&stage.realm.login("alice").await?.access_token).await?;
    assert_refused(&stage, &own.access_token, "client_not_accepted").await?;
    for client in [VAULT, MODULE] {
        let account = stage.realm.service_token(client).await?;
        assert_refused(&stage, &account.access_token, "client_not_accepted").await?;
    }
    Ok(())
}

#[tokio::test]
async fn no_other_token_than_an_access_token_is_a_proof() -> Result<()> {
    let stage = stage().await?;
    let tokens = stage.realm.login("alice").await?;
    assert_refused(&stage, tokens.refresh(), "algorithm_not_allowed").await?;
    assert_refused(&stage, &id_token(&stage.realm, &tokens).await?, "wrong_type").await
}

/// An ID token, which the harness's own answers leave out.
async fn id_token(realm: &LabRealm, tokens: &Tokens) -> Result<String> {
    let form = [
        ("client_id", LOGIN_APP),
        ("client_secret", realm.secret(LOGIN_APP)),
        ("grant_type", "refresh_token"),
        ("refresh_token", tokens.refresh()),
        ("scope", "openid"),
    ];
    let answer = reqwest::Client::new().post(realm.token_endpoint()).form(&form).send().await?;
    let answer: Value = answer.error_for_status()?.json().await?;
    answer["id_token"].as_str().map(str::to_owned).ok_or_else(|| Failure::new("no id_token"))
}

#[tokio::test]
async fn garbage_is_malformed() -> Result<()> {
    let stage = stage().await?;
    let token = stage.realm.login("alice").await?.access_token;
    let [head, payload, signature] = parts(&token)?;
    for garbage in [
        "garbage".to_owned(),
        ".".to_owned(),
        "..".to_owned(),
        "a.b.c".to_owned(),
        "💥.💥.💥".to_owned(),
        "x".repeat(60_000),
        format!("{head}.{payload}"),
        format!("{token}.{signature}"),
        format!("Bearer {token}"),
        format!(" {token}"),
        format!("{}.{payload}.{signature}", STANDARD.encode("{\"alg\":\"RS256\" }")),
        format!("{}.{payload}.{signature}", URL_SAFE_NO_PAD.encode("[]")),
    ] {
        assert_refused(&stage, &garbage, "malformed").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_refusal_by_keycloak_is_told_as_one_and_leaves_no_record() -> Result<()> {
    let stage = stage().await?;
    let (job, tokens) = (new_job(), stage.other.login("alice").await?);
    let client = stage.client("mod-many")?.for_tenant(stage.other.name())?;

    let answer = client.put(&job, &with(proof(&tokens), "acquisition", "impersonate")).await?;

    assert_problem(&answer, 502, "idp_rejected");
    assert_eq!(answer.body["reason"], "not_allowed", "the service account has no such role");
    assert_no_record(&stage.redis, &job).await?;
    client.register(&job, &tokens).await?.expect_status(201)?;
    Ok(())
}

fn parts(token: &str) -> Result<[&str; 3]> {
    let parts: Vec<&str> = token.split('.').collect();
    parts.try_into().map_err(|_| Failure::new("not a JWT"))
}
