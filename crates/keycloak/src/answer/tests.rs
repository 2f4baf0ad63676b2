//! Every kind of answer, and what it means.

use serde_json::json;

use super::*;
use crate::testing::{KEY, answer, tenant};

fn refusal_of(call: Call, status: u16, error: &str, description: &str) -> Result<Grant, GrantError> {
    grant(call, answer(status, json!({ "error": error, "error_description": description })), &tenant())
}

fn outcome(call: Call, given: Answer) -> GrantError {
    grant(call, given, &tenant()).err().unwrap()
}

fn pair() -> Value {
    let claims = json!({ "sub": "s-1", "sid": "sid-1", "exp": 1 });
    json!({
        "access_token": KEY.sign(&claims),
        "expires_in": 600,
        "refresh_token": "opaque",
        "refresh_expires_in": 1800,
        "scope": "openid profile",
    })
}

#[test]
fn each_of_keycloaks_words_has_its_meaning() {
    use Call::{Exchange, Impersonate, Refresh, ServiceAccount};
    use Refusal as R;
    let bad_client = "Invalid client or Invalid client credentials";
    let table = [
        (Refresh, 400, "invalid_grant", "Session not active", R::SessionNotActive),
        (Refresh, 400, "invalid_grant", "Session doesn't have required client", R::ClientSessionGone),
        (Refresh, 400, "invalid_grant", "Maximum allowed refresh token reuse exceeded", R::TokenReused),
        (Refresh, 400, "invalid_grant", "Stale token", R::TokenStale),
        (Refresh, 400, "invalid_grant", "Token is not active", R::TokenExpired),
        (Refresh, 400, "invalid_grant", "User disabled", R::UserDisabled),
        (Refresh, 400, "invalid_grant", "Invalid refresh token", R::TokenInvalid),
        (
            Refresh,
            400,
            "invalid_grant",
            "Invalid refresh token. Token client and authorized client don't match",
            R::TokenInvalid,
        ),
        (Refresh, 400, "invalid_scope", "Client no longer has requested consent from user", R::ConsentMissing),
        (Refresh, 400, "invalid_grant", "Words from a later version", R::Other),
        (Exchange, 400, "invalid_scope", "Missing consents for Token Exchange in client vault", R::ConsentMissing),
        (Exchange, 400, "invalid_scope", "Invalid scopes: nope", R::NotAllowed),
        (Exchange, 400, "invalid_request", "Invalid token", R::SubjectInvalid),
        (Exchange, 400, "invalid_request", "requested_token_type unsupported", R::NotAllowed),
        (Exchange, 403, "access_denied", "Client is not within the token audience", R::NotAllowed),
        (Impersonate, 400, "invalid_request", "Invalid token", R::ClientRejected),
        (Impersonate, 403, "access_denied", "Client not allowed to exchange", R::NotAllowed),
        (Refresh, 401, "unauthorized_client", bad_client, R::ClientRejected),
        (Exchange, 401, "invalid_client", bad_client, R::ClientRejected),
        (Refresh, 403, "access_denied", "Realm not enabled", R::ClientRejected),
        (ServiceAccount, 401, "unauthorized_client", "Client not enabled to retrieve service account", R::NotAllowed),
    ];
    for (call, status, error, description, meaning) in table {
        let found = refusal_of(call, status, error, description).err();
        assert_eq!(found, Some(GrantError::Refused(meaning)), "{call:?} {status} {error} {description}");
    }
}

#[test]
fn a_refusal_that_is_not_in_oauths_words_is_none() {
    for body in [
        r#"{"error":"Realm does not exist"}"#,
        r#"{"timestamp":1,"status":400,"error":"Bad Request"}"#,
        r#"{"message":"no"}"#,
        "<html>Forbidden</html>",
        r#"{"error":"invalid_gra"#,
        "",
    ] {
        for status in [400, 401, 403] {
            let found = outcome(Call::Refresh, answer(status, body));
            assert_eq!(found, GrantError::Unknown(Cause::Unintelligible), "{status} {body}");
        }
    }
}

#[test]
fn other_statuses_leave_the_outcome_open_even_with_oauths_words() {
    let words = json!({ "error": "invalid_grant", "error_description": "Session not active" });
    for status in [204, 301, 302, 404, 405, 408, 413] {
        let found = outcome(Call::Refresh, answer(status, &words));
        assert_eq!(found, GrantError::Unknown(Cause::Unintelligible), "{status}");
    }
    for status in [500, 502, 503, 504] {
        assert_eq!(outcome(Call::Refresh, answer(status, &words)), GrantError::Unknown(Cause::ServerError), "{status}");
    }
    for error in ["server_error", "temporarily_unavailable", "unknown_error"] {
        let found = refusal_of(Call::Refresh, 400, error, "").err();
        assert_eq!(found, Some(GrantError::Unknown(Cause::ServerError)), "{error}");
    }
}

#[test]
fn what_was_not_looked_at_was_not_sent() {
    assert_eq!(outcome(Call::Exchange, answer(429, "")), GrantError::Unsent(Cause::Throttled));
    assert_eq!(outcome(Call::Refresh, Err(TransportFailure::Connect)), GrantError::Unsent(Cause::Connect));
}

#[test]
fn what_may_have_left_is_unknown() {
    for (failure, cause) in [
        (TransportFailure::Timeout, Cause::Timeout),
        (TransportFailure::Interrupted, Cause::Interrupted),
        (TransportFailure::TooLong, Cause::Unintelligible),
    ] {
        assert_eq!(outcome(Call::Refresh, Err(failure)), GrantError::Unknown(cause));
    }
}

#[test]
fn a_pair_is_read_with_its_lives_and_identities() {
    let grant = grant(Call::Refresh, answer(200, pair()), &tenant()).unwrap();
    assert_eq!(grant.expires_in, Duration::from_mins(10));
    assert_eq!(grant.refresh_expires_in, Some(Duration::from_mins(30)));
    assert_eq!((grant.refresh.expose(), grant.scope.as_str()), ("opaque", "openid profile"));
    assert_eq!(grant.user.unwrap().as_str(), "s-1");
    assert_eq!(grant.sid.unwrap().as_str(), "sid-1");
    assert_eq!(grant.account.unwrap().as_str(), "s-1", "where users are known by sub");
    assert!(!grant.privileged);
}

#[test]
fn the_account_is_what_is_mapped_as_such_and_a_sub_only_where_users_are_known_by_it() {
    let account = |user_id_claim: &str, claims: Value| {
        let mut tenant = tenant();
        user_id_claim.clone_into(&mut tenant.user_id_claim);
        let mut body = pair();
        body["access_token"] = json!(KEY.sign(&claims));
        let grant = grant(Call::Exchange, answer(200, &body), &tenant).unwrap();
        grant.account.map(|account| account.to_string())
    };
    let both = json!({ "sub": "a-name", "keycloak_user_id": "k-1", "user_id": "u-1" });
    assert_eq!(account("user_id", both.clone()).as_deref(), Some("k-1"));
    assert_eq!(account("sub", both).as_deref(), Some("k-1"));
    assert_eq!(account("sub", json!({ "sub": "s-1" })).as_deref(), Some("s-1"));
    assert_eq!(account("user_id", json!({ "sub": "a-name", "user_id": "u-1" })), None, "sub may be a name");
}

#[test]
fn a_pair_cut_anywhere_is_unknown_and_never_a_pair() {
    let whole = pair().to_string();
    for length in 0..whole.len() {
        let found = outcome(Call::Refresh, answer(200, &whole[..length]));
        assert_eq!(found, GrantError::Unknown(Cause::Unintelligible), "cut at {length}");
    }
}

#[test]
fn a_pair_without_one_of_its_members_is_unknown() {
    for member in ["access_token", "expires_in", "refresh_token", "refresh_expires_in"] {
        let mut body = pair();
        body.as_object_mut().unwrap().remove(member);
        assert_eq!(outcome(Call::Refresh, answer(200, &body)), GrantError::Unknown(Cause::Unintelligible), "{member}");
    }
    for member in ["access_token", "refresh_token"] {
        let mut body = pair();
        body[member] = json!("");
        assert_eq!(outcome(Call::Refresh, answer(200, &body)), GrantError::Unknown(Cause::Unintelligible), "{member}");
    }
}

#[test]
fn an_exchange_that_gives_no_refresh_token_is_not_allowed_one() {
    let mut body = pair();
    body.as_object_mut().unwrap().remove("refresh_token");
    for call in [Call::Exchange, Call::Impersonate] {
        assert_eq!(outcome(call, answer(200, &body)), GrantError::Refused(Refusal::NotAllowed));
    }
}

#[test]
fn an_access_token_that_cannot_be_read_does_not_lose_the_pair() {
    let mut body = pair();
    body["access_token"] = json!("opaque");
    let grant = grant(Call::Refresh, answer(200, &body), &tenant()).unwrap();
    assert!(grant.account.is_none() && grant.user.is_none() && grant.sid.is_none());
    assert_eq!(grant.refresh.expose(), "opaque");
}

#[test]
fn a_life_of_zero_means_without_end_unless_the_token_has_an_end() {
    let mut body = pair();
    body["refresh_expires_in"] = json!(0);
    assert_eq!(grant(Call::Refresh, answer(200, &body), &tenant()).unwrap().refresh_expires_in, None);
    body["refresh_token"] = json!(KEY.sign(&json!({ "typ": "Refresh", "exp": 1 })));
    assert_eq!(grant(Call::Refresh, answer(200, &body), &tenant()).unwrap().refresh_expires_in, Some(Duration::ZERO));
}

#[test]
fn a_probe_is_answered_only_by_a_clear_yes_or_no() {
    assert_eq!(probe(answer(200, json!({ "active": true, "sub": "x" }))), Ok(true));
    assert_eq!(probe(answer(200, json!({ "active": false }))), Ok(false));
    for body in ["", "{}", r#"{"active":"true"}"#, "<html>", "[]"] {
        assert_eq!(probe(answer(200, body)), Err(CallError::NoAnswer(Cause::Unintelligible)), "{body}");
    }
    let detached = json!({ "error": "invalid_request", "error_description": "Failed to introspect token." });
    assert_eq!(probe(answer(400, detached)), Ok(false), "a detached session of the vault's own");
    let rejected = answer(401, json!({ "error": "invalid_client" }));
    assert_eq!(probe(rejected), Err(CallError::Refused(Refusal::ClientRejected)));
    assert_eq!(probe(answer(503, "")), Err(CallError::NoAnswer(Cause::ServerError)));
    assert_eq!(probe(Err(TransportFailure::Connect)), Err(CallError::NoAnswer(Cause::Connect)));
}

#[test]
fn revoking_what_keycloak_does_not_know_is_done() {
    assert_eq!(revoked(answer(200, "")), Ok(()));
    assert_eq!(revoked(answer(200, json!({ "error": "invalid_token", "error_description": "Invalid token" }))), Ok(()));
    let foreign = answer(400, json!({ "error": "invalid_request", "error_description": "Unmatching clients" }));
    assert_eq!(revoked(foreign), Err(CallError::Refused(Refusal::TokenInvalid)));
    assert_eq!(revoked(answer(200, "<html>")), Err(CallError::NoAnswer(Cause::Unintelligible)));
    let page = HttpAnswer { status: 200, content_type: Some("text/html".to_owned()), body: Bytes::new() };
    assert_eq!(revoked(Ok(page)), Err(CallError::NoAnswer(Cause::Unintelligible)));
}
