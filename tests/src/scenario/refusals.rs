//! Requests that are wrong in themselves, and what everybody may read.

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;

use super::lab::{EXCHANGE, Lab};
use super::{STRANGER, UI, VAULT};
use crate::harness::Result;

/// Who is asking is checked at each endpoint; introspection has words of its own.
pub async fn clients_prove_themselves(lab: &mut Lab) -> Result<()> {
    let grant = [("grant_type", "refresh_token"), ("refresh_token", "garbage"), ("token", "garbage")];
    for endpoint in ["token", "token/introspect", "revoke", "logout"] {
        let url = lab.url(&format!("protocol/openid-connect/{endpoint}"));
        let unknown = "401 invalid_client: Invalid client or Invalid client credentials";
        let wrong = match endpoint {
            "token/introspect" => "401 invalid_client: Client authentication failed.",
            _ => "401 unauthorized_client: Invalid client or Invalid client credentials",
        };
        for (what, credentials, words) in [
            ("an unknown client", &[("client_id", "nobody"), ("client_secret", "x")][..], unknown),
            ("a wrong secret", &[("client_id", VAULT), ("client_secret", "x")], wrong),
            ("no secret", &[("client_id", VAULT)], wrong),
            ("no client", &[], unknown),
        ] {
            let answer = lab.post_to(&url, &[credentials, &grant].concat()).await?;
            lab.expect(&format!("{endpoint}: {what}"), &answer, words);
        }
    }
    let basic = lab.post_basic("token", VAULT, &[("grant_type", "client_credentials")]).await?;
    lab.expect("the secret in the header", &basic, "200");
    Ok(())
}

/// Tokens that are none, and forms that lack what is needed or have it twice.
pub async fn forms_are_checked(lab: &mut Lab) -> Result<()> {
    let form = [("refresh_token", "garbage"), ("token", "garbage")];
    for (endpoint, words) in [
        ("token", "400 invalid_request: Missing form parameter: grant_type"),
        ("revoke", "200 invalid_token: Invalid token"),
        ("logout", "400 invalid_grant: Invalid refresh token"),
    ] {
        let answer = lab.post(endpoint, VAULT, &form).await?;
        lab.expect(&format!("{endpoint}: garbage"), &answer, words);
    }
    let answer = lab.post("revoke", VAULT, &[]).await?;
    lab.expect("revocation of nothing", &answer, "400 invalid_request: Token not provided");
    let answer = lab.post("logout", VAULT, &[]).await?;
    lab.fact("logout without a token asks the browser", answer.status == 200 && answer.body.is_string());
    for (grant, words) in [
        ("refresh_token", "400 invalid_request: No refresh token"),
        ("nonsense", "400 unsupported_grant_type: Unsupported grant_type"),
        (EXCHANGE, "500 unknown_error: For more on this error consult the server log."),
    ] {
        let answer = lab.post("token", VAULT, &[("grant_type", grant)]).await?;
        lab.expect(&format!("only grant_type={grant}"), &answer, words);
    }
    let answer = lab.refresh(VAULT, "garbage").await?;
    lab.expect("refresh of garbage", &answer, "400 invalid_grant: Invalid refresh token");
    let ui = lab.login().await?;
    let answer = lab.refresh(UI, ui.access()).await?;
    lab.expect("refresh of an access token", &answer, "400 invalid_grant: Invalid refresh token");
    let twice = [("grant_type", "refresh_token"), ("refresh_token", "x"), ("refresh_token", "y")];
    let answer = lab.post("token", UI, &twice).await?;
    lab.expect("a field that comes twice", &answer, "400 invalid_request: duplicated parameter");
    let scoped = [("grant_type", "refresh_token"), ("refresh_token", ui.refresh()), ("scope", "nonsense")];
    let answer = lab.post("token", UI, &scoped).await?;
    lab.expect("refresh for an unknown scope", &answer, "400 invalid_scope: Invalid scopes: nonsense");
    let scoped = [("grant_type", "refresh_token"), ("refresh_token", ui.refresh()), ("scope", "email")];
    let answer = lab.post("token", UI, &scoped).await?;
    lab.expect("refresh for less scope", &answer, "200");
    Ok(())
}

/// Logins that fail, and clients that may not.
pub async fn logins_are_refused(lab: &mut Lab) -> Result<()> {
    let login = |username, password| [("grant_type", "password"), ("username", username), ("password", password)];
    for (username, password) in [("alice", "wrong"), ("nobody", "wrong"), ("service-account-tokenvault", "x")] {
        let answer = lab.post("token", UI, &login(username, password)).await?;
        lab.expect(&format!("login of {username}"), &answer, "400 invalid_grant: Invalid user credentials");
    }
    let answer = lab.post("token", UI, &[("grant_type", "password")]).await?;
    lab.expect("login of no one", &answer, "401 invalid_request: Missing parameter: username");
    let answer = lab.login_with(UI, "nonsense").await?;
    lab.expect("login for an unknown scope", &answer, "400 invalid_scope: Invalid scopes: nonsense");
    let answer = lab.login_with(STRANGER, "openid").await?;
    let words = "400 unauthorized_client: Client not allowed for direct access grants";
    lab.expect("login by a client that may not", &answer, words);
    let answer = lab.post("token", STRANGER, &[("grant_type", "client_credentials")]).await?;
    let words = "401 unauthorized_client: Client not enabled to retrieve service account";
    lab.expect("client credentials of a client without a service account", &answer, words);
    let answer = lab.post("token", VAULT, &[("grant_type", "client_credentials")]).await?;
    lab.expect("client credentials", &answer, "200");
    Ok(())
}

/// Wrong ways.
pub async fn there_is_nothing_elsewhere(lab: &mut Lab) -> Result<()> {
    let nowhere = format!("{}/realms/nowhere/protocol/openid-connect/", lab.admin().base_url());
    let answer = lab.get(&format!("{nowhere}certs")).await?;
    lab.expect("keys of an unknown realm", &answer, "404 Realm does not exist");
    let answer = lab.post_to(&format!("{nowhere}token"), &[("client_id", VAULT)]).await?;
    lab.expect("tokens of an unknown realm", &answer, "404 Realm does not exist");
    let answer = lab.get(&lab.url("protocol/openid-connect/nonsense")).await?;
    lab.expect("an unknown path", &answer, "404 HTTP 404 Not Found");
    let answer = lab.get(&lab.url("protocol/openid-connect/token")).await?;
    lab.expect("the wrong method", &answer, "405 HTTP 405 Method Not Allowed");
    Ok(())
}

/// With what discovery says, anybody can find the endpoints and verify an access token.
pub async fn discovery_leads_to_the_keys(lab: &mut Lab) -> Result<()> {
    let realm = lab.url("");
    let realm = realm.trim_end_matches('/');
    let discovery = lab.get(&format!("{realm}/.well-known/openid-configuration")).await?.body;
    lab.fact("the issuer is the realm's URL", discovery["issuer"] == realm);
    for (name, path) in [
        ("token_endpoint", "token"),
        ("introspection_endpoint", "token/introspect"),
        ("revocation_endpoint", "revoke"),
        ("end_session_endpoint", "logout"),
        ("jwks_uri", "certs"),
    ] {
        let expected = format!("{realm}/protocol/openid-connect/{path}");
        lab.fact(&format!("{name} is where it is expected"), discovery[name] == expected);
    }
    let keys = lab.get(discovery["jwks_uri"].as_str().unwrap_or_default()).await?.body;
    let keys: JwkSet = serde_json::from_value(keys)?;
    let ui = lab.login().await?;
    for (what, token) in [("the access token", ui.access()), ("the ID token", text(&ui.body["id_token"]))] {
        let header = jsonwebtoken::decode_header(token)?;
        lab.note(&format!("{what} is signed with"), format!("{:?}", header.alg));
        let key = header.kid.and_then(|kid| keys.find(&kid).cloned());
        let mut rules = Validation::new(Algorithm::RS256);
        rules.set_issuer(&[realm]);
        rules.validate_aud = false;
        let verified =
            key.and_then(|key| jsonwebtoken::decode::<Value>(token, &DecodingKey::from_jwk(&key).ok()?, &rules).ok());
        lab.fact(&format!("{what} verifies"), verified.is_some());
    }
    let header = jsonwebtoken::decode_header(ui.refresh())?;
    lab.note("the refresh token is signed with", format!("{:?}", header.alg));
    Ok(())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
