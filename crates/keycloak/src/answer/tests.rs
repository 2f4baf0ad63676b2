//! Every kind of answer, and what it means.

use serde_json::json;

use super::*;
use crate::testing::{KEY, NOON, answer, tenant};

fn refusal_of(operation: Operation, status: u16, error: &str, description: &str) -> Result<Grant, GrantError> {
    granted(operation, answer(status, json!({ "error": error, "error_description": description })))
}

/// As the provider reads it: the refresh token that was sent is "sent".
fn granted(operation: Operation, given: HttpResult) -> Result<Grant, GrantError> {
    match operation {
        Operation::Refresh => refreshed(given, &RefreshToken::new("sent"), &tenant()),
        _ => grant(operation, given, &tenant()),
    }
}

fn outcome(operation: Operation, given: HttpResult) -> GrantError {
    granted(operation, given).err().unwrap()
}

fn pair() -> Value {
    let claims = json!({ "sub": "s-1", "sid": "sid-1", "iat": 1, "exp": 301 });
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
    use Operation::{Exchange, Impersonate, Refresh, ServiceAccount};
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
        (
            Exchange,
            400,
            "invalid_request",
            "Standard token exchange is not enabled for the requested client",
            R::NotAllowed,
        ),
        (Exchange, 400, "invalid_request", "Scope offline_access not allowed for token exchange", R::NotAllowed),
        (Exchange, 403, "access_denied", "Client is not within the token audience", R::NotMeant),
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
            let found = outcome(Operation::Refresh, answer(status, body));
            assert_eq!(found, GrantError::Unknown(Cause::Unintelligible), "{status} {body}");
        }
    }
}

#[test]
fn other_statuses_leave_the_outcome_open_even_with_oauths_words() {
    let words = json!({ "error": "invalid_grant", "error_description": "Session not active" });
    for status in [204, 301, 302, 404, 405, 408, 413] {
        let found = outcome(Operation::Refresh, answer(status, &words));
        assert_eq!(found, GrantError::Unknown(Cause::Unintelligible), "{status}");
    }
    for status in [500, 502, 503, 504] {
        assert_eq!(
            outcome(Operation::Refresh, answer(status, &words)),
            GrantError::Unknown(Cause::ServerError),
            "{status}"
        );
    }
    for error in ["server_error", "temporarily_unavailable", "unknown_error"] {
        let found = refusal_of(Operation::Refresh, 400, error, "").err();
        assert_eq!(found, Some(GrantError::Unknown(Cause::ServerError)), "{error}");
    }
}

#[test]
fn what_was_not_looked_at_was_not_sent() {
    assert_eq!(outcome(Operation::Exchange, answer(429, "")), GrantError::Unsent(Cause::Throttled));
    assert_eq!(outcome(Operation::Refresh, Err(TransportFailure::Connect)), GrantError::Unsent(Cause::Connect));
}

#[test]
fn what_may_have_left_is_unknown() {
    for (failure, cause) in [
        (TransportFailure::Timeout, Cause::Timeout),
        (TransportFailure::Interrupted, Cause::Interrupted),
        (TransportFailure::TooLong, Cause::Unintelligible),
    ] {
        assert_eq!(outcome(Operation::Refresh, Err(failure)), GrantError::Unknown(cause));
    }
}

#[test]
fn a_pair_is_read_with_its_lives_and_identities() {
    let grant = grant(Operation::Refresh, answer(200, pair()), &tenant()).unwrap();
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
        let grant = grant(Operation::Exchange, answer(200, &body), &tenant).unwrap();
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
        let found = outcome(Operation::Refresh, answer(200, &whole[..length]));
        assert_eq!(found, GrantError::Unknown(Cause::Unintelligible), "cut at {length}");
    }
}

#[test]
fn without_an_access_token_there_is_no_pair() {
    for change in [None, Some(json!("")), Some(json!(null)), Some(json!(7))] {
        let body = changed("access_token", change);
        assert_eq!(
            outcome(Operation::Refresh, answer(200, &body)),
            GrantError::Unknown(Cause::Unintelligible),
            "{body}"
        );
    }
}

/// The answer with a member put in, or taken out.
fn changed(member: &str, value: Option<Value>) -> Value {
    let mut body = pair();
    match value {
        Some(value) => body[member] = value,
        None => drop(body.as_object_mut().unwrap().remove(member)),
    }
    body
}

/// RFC 6749 §5.1: all but two members are optional. Whatever call it is, a legal answer is a pair with the lives it says.
#[test]
fn every_optional_member_may_be_absent_or_say_what_the_standards_allow() {
    let table: [(&str, Option<Value>, u64); 16] = [
        ("expires_in", None, 300),
        ("expires_in", Some(json!(null)), 300),
        ("expires_in", Some(json!(0)), 300),
        ("expires_in", Some(json!("600")), 600),
        ("expires_in", Some(json!(600.0)), 600),
        ("expires_in", Some(json!("soon")), 300),
        ("token_type", None, 600),
        ("token_type", Some(json!("bearer")), 600),
        ("token_type", Some(json!("BEARER")), 600),
        ("scope", None, 600),
        ("issued_token_type", Some(json!("urn:ietf:params:oauth:token-type:refresh_token")), 600),
        ("issued_token_type", Some(json!("urn:ietf:params:oauth:token-type:access_token")), 600),
        ("id_token", Some(json!("a.b.c")), 600),
        ("not-before-policy", Some(json!(0)), 600),
        ("authorization_details", Some(json!([{ "type": "x" }])), 600),
        ("later", Some(json!({ "any": [1, null] })), 600),
    ];
    for (member, value, life) in table {
        for call in [Operation::Exchange, Operation::Impersonate, Operation::Refresh] {
            let body = changed(member, value.clone());
            let grant = granted(call, answer(200, &body)).unwrap_or_else(|error| panic!("{error}: {body}"));
            assert_eq!(grant.expires_in, Duration::from_secs(life), "{call:?} {member} {value:?}");
            assert_eq!(grant.refresh_expires_in, Some(Duration::from_mins(30)), "{call:?} {member} {value:?}");
            assert_eq!(grant.refresh.expose(), "opaque");
        }
        let account = service_token(answer(200, changed(member, value))).unwrap();
        assert_eq!(account.expires_in, Duration::from_secs(life));
    }
}

#[test]
fn a_life_that_nobody_says_is_short_and_one_that_cannot_be_is_bounded() {
    let mut body = changed("expires_in", None);
    body["access_token"] = json!("opaque");
    assert_eq!(granted(Operation::Refresh, answer(200, &body)).unwrap().expires_in, Duration::from_mins(1));
    for (said, life) in [(json!(-5), Duration::from_mins(5)), (json!(1e300), Duration::from_hours(24 * 365 * 100))] {
        let body = changed("expires_in", Some(said.clone()));
        assert_eq!(granted(Operation::Refresh, answer(200, &body)).unwrap().expires_in, life, "{said}");
    }
}

/// A clock of Keycloak's that is off by a day changes no life.
#[test]
fn lives_are_lengths_of_time_whatever_the_clock_of_who_says_them() {
    for off in [0, 86_400, -86_400] {
        let now = NOON.as_secs().checked_add_signed(off).unwrap();
        let mut body = changed("expires_in", None);
        body["access_token"] = json!(KEY.sign(&json!({ "iat": now, "exp": now + 300 })));
        body["refresh_token"] = json!(KEY.sign(&json!({ "iat": now, "exp": now + 1800 })));
        body.as_object_mut().unwrap().remove("refresh_expires_in");
        let grant = granted(Operation::Refresh, answer(200, &body)).unwrap();
        assert_eq!(grant.expires_in, Duration::from_mins(5), "{off}");
        assert_eq!(grant.refresh_expires_in, Some(Duration::from_mins(30)), "{off}");
    }
}

/// RFC 6749 §6: the refresh token that was sent goes on being the one to use, for what is left of its life.
#[test]
fn a_refresh_without_a_new_refresh_token_keeps_the_one_that_was_sent() {
    let issued = NOON.as_secs();
    let sent = RefreshToken::new(KEY.sign(&json!({ "typ": "Refresh", "iat": issued - 600, "exp": issued + 1200 })));
    for refresh_expires_in in [None, Some(json!(0)), Some(json!(1800))] {
        for none in [None, Some(json!("")), Some(json!(null))] {
            let mut body = changed("refresh_expires_in", refresh_expires_in.clone());
            body["access_token"] = json!(KEY.sign(&json!({ "iat": issued, "exp": issued + 300 })));
            match none {
                None => drop(body.as_object_mut().unwrap().remove("refresh_token")),
                Some(none) => body["refresh_token"] = none,
            }
            let grant = refreshed(answer(200, &body), &sent, &tenant()).unwrap();
            assert_eq!(grant.refresh.expose(), sent.expose());
            assert_eq!(grant.refresh_expires_in, Some(Duration::from_mins(20)), "{body}");
        }
    }
    let offline = RefreshToken::new(KEY.sign(&json!({ "typ": "Offline" })));
    let body = changed("refresh_token", None);
    assert_eq!(refreshed(answer(200, &body), &offline, &tenant()).unwrap().refresh_expires_in, None);
}

#[test]
fn an_exchange_that_gives_no_refresh_token_says_nothing_about_the_client() {
    for call in [Operation::Exchange, Operation::Impersonate] {
        let found = outcome(call, answer(200, changed("refresh_token", None)));
        assert_eq!(found, GrantError::Refused(Refusal::NoRefreshToken));
    }
}

#[test]
fn a_token_that_is_bound_to_a_key_is_refused_for_that_where_nothing_was_spent() {
    for kind in ["DPoP", "dpop", "N_A", "mac"] {
        let body = changed("token_type", Some(json!(kind)));
        for call in [Operation::Exchange, Operation::Impersonate] {
            assert_eq!(outcome(call, answer(200, &body)), GrantError::Refused(Refusal::NotBearer), "{kind}");
        }
        assert!(granted(Operation::Refresh, answer(200, &body)).is_ok(), "{kind}: the only pair there is");
    }
}

#[test]
fn a_scope_that_is_not_said_is_the_tokens_or_the_one_that_was_asked_for() {
    let mut tenant = tenant();
    let scope =
        |body: &Value, tenant: &TenantConfig| grant(Operation::Exchange, answer(200, body), tenant).unwrap().scope;
    let mut body = changed("scope", None);
    assert_eq!(scope(&body, &tenant), "");
    tenant.exchange_scope = Some("openid asked".to_owned());
    assert_eq!(scope(&body, &tenant), "openid asked");
    body["access_token"] = json!(KEY.sign(&json!({ "scope": "openid granted" })));
    assert_eq!(scope(&body, &tenant), "openid granted");
}

/// What is learnt of a client holds for all its jobs (`Refusal::NotAllowed`, `Refusal::ClientRejected`).
#[test]
fn a_client_is_judged_only_by_words_that_can_mean_nothing_else() {
    let own_session = "Refresh token not valid as requested_token_type because creating a new session is needed";
    let table = [
        (400, "invalid_request", own_session, Refusal::NotExchangeable),
        (400, "invalid_request", "DPoP proof is missing", Refusal::NotExchangeable),
        (
            400,
            "invalid_request",
            "Sender-constrained token exchange rejected as the token was not issued for the requesting client",
            Refusal::NotExchangeable,
        ),
        (
            400,
            "invalid_request",
            "The size of OIDC parameter 'subject_token' is longer than allowed.",
            Refusal::TokenTooLong,
        ),
        (
            400,
            "invalid_request",
            "Parameter 'subject_token' required for standard token exchange",
            Refusal::TokenTooLong,
        ),
        (400, "invalid_request", "Words from a later version", Refusal::Other),
        (400, "invalid_request", "", Refusal::Other),
        (400, "invalid_scope", "Words from a later version", Refusal::Other),
        (400, "invalid_target", "", Refusal::Other),
        (400, "invalid_grant", "Account is not fully set up", Refusal::Other),
        (400, "interaction_required", "", Refusal::Other),
        (403, "access_denied", "Client is not within the token audience", Refusal::NotMeant),
        (403, "access_denied", "Client is not the holder of the token", Refusal::NotMeant),
        (403, "access_denied", "", Refusal::NotMeant),
        (403, "insufficient_scope", "", Refusal::Other),
    ];
    for (status, error, description, meaning) in table {
        let found = refusal_of(Operation::Exchange, status, error, description).err();
        assert_eq!(found, Some(GrantError::Refused(meaning)), "{status} {error} {description}");
    }
    for status in [413, 414, 431] {
        let found = outcome(Operation::Exchange, answer(status, "<html>"));
        assert_eq!(found, GrantError::Refused(Refusal::TokenTooLong), "{status}");
        let found = outcome(Operation::Refresh, answer(status, "<html>"));
        assert_eq!(found, GrantError::Unknown(Cause::Unintelligible), "{status}");
    }
}

#[test]
fn an_error_needs_no_description_nor_one_that_is_a_text() {
    for description in [None, Some(json!(null)), Some(json!({ "de": "nein" })), Some(json!(7))] {
        let mut body = json!({ "error": "invalid_grant", "error_uri": "https://kc.example/errors" });
        if let Some(description) = description {
            body["error_description"] = description;
        }
        for status in [400, 401, 403] {
            let found = outcome(Operation::Refresh, answer(status, &body));
            assert_eq!(found, GrantError::Refused(Refusal::Other), "{status} {body}");
        }
    }
}

#[test]
fn an_access_token_that_cannot_be_read_does_not_lose_the_pair() {
    let mut body = pair();
    body["access_token"] = json!("opaque");
    let grant = granted(Operation::Refresh, answer(200, &body)).unwrap();
    assert!(grant.account.is_none() && grant.user.is_none() && grant.sid.is_none());
    assert_eq!(grant.refresh.expose(), "opaque");
}

#[test]
fn a_life_of_zero_means_without_end_unless_the_token_has_an_end() {
    let mut body = pair();
    body["refresh_expires_in"] = json!(0);
    assert_eq!(grant(Operation::Refresh, answer(200, &body), &tenant()).unwrap().refresh_expires_in, None);
    body["refresh_token"] = json!(KEY.sign(&json!({ "typ": "Refresh", "exp": 1 })));
    assert_eq!(
        grant(Operation::Refresh, answer(200, &body), &tenant()).unwrap().refresh_expires_in,
        Some(Duration::ZERO)
    );
}

#[test]
fn a_probe_is_answered_only_by_a_clear_yes_or_no() {
    assert_eq!(probe(answer(200, json!({ "active": true, "sub": "x" }))), Ok(true));
    assert_eq!(probe(answer(200, json!({ "active": true }))), Ok(true));
    assert_eq!(probe(answer(200, json!({ "active": false }))), Ok(false));
    assert_eq!(probe(answer(200, json!({ "active": false, "sub": null, "aud": ["a"], "later": 1 }))), Ok(false));
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
    assert_eq!(revoked(answer(200, "OK")), Ok(()), "the body does not matter (RFC 7009 §2.2)");
    let unsupported = answer(400, json!({ "error": "unsupported_token_type" }));
    assert_eq!(revoked(unsupported), Err(CallError::Refused(Refusal::Other)));
    assert_eq!(revoked(answer(503, "")), Err(CallError::NoAnswer(Cause::ServerError)), "to be asked again");
    let foreign = answer(400, json!({ "error": "invalid_request", "error_description": "Unmatching clients" }));
    assert_eq!(revoked(foreign), Err(CallError::Refused(Refusal::TokenInvalid)));
    assert_eq!(revoked(answer(200, "<html>")), Err(CallError::NoAnswer(Cause::Unintelligible)));
    let page = HttpAnswer { status: 200, content_type: Some("text/html".to_owned()), body: Bytes::new() };
    assert_eq!(revoked(Ok(page)), Err(CallError::NoAnswer(Cause::Unintelligible)));
}

/// RFC 9701: the answer as a signed token, where a client is registered for that.
#[test]
fn an_introspection_may_be_answered_as_a_token() {
    let given = |content_type: &str, body: String| {
        let body = Bytes::from(body);
        Ok(HttpAnswer { status: 200, content_type: Some(content_type.to_owned()), body })
    };
    for content_type in ["application/token-introspection+jwt", "Application/Token-Introspection+JWT; charset=utf-8"] {
        for active in [true, false] {
            let claims = json!({ "iss": "x", "aud": "vault", "token_introspection": { "active": active } });
            assert_eq!(probe(given(content_type, KEY.sign(&claims))), Ok(active));
        }
        for other in [KEY.sign(&json!({ "active": true })), "a.b.c.d.e".to_owned(), "{}".to_owned()] {
            let found = probe(given(content_type, other.clone()));
            assert_eq!(found, Err(CallError::NoAnswer(Cause::Unintelligible)), "{other}");
        }
    }
}

#[test]
fn introspection_may_show_no_more_than_that_a_token_lives() {
    let tenant = tenant();
    let found = |body: Value| introspection(answer(200, body), &tenant);
    assert_eq!(found(json!({ "active": true })), Ok(Introspection::Active(tokenvault_core::ports::Privilege::Unknown)));
    for aud in [json!("vault"), json!(["vault", "account"]), json!(null)] {
        assert!(matches!(found(json!({ "active": true, "aud": aud })), Ok(Introspection::Active(_))));
    }
}
