//! Keycloak's words: the one table from what it says to what that means.
//!
//! OAuth's error codes say too little (`invalid_grant` is a logout, a reuse and a disabled user), so the descriptions are
//! read as well. They are no contract; each row was seen on Keycloak 26.7 and is asked for again by the outer tests,
//! unless it says otherwise. What is in no row still falls under its error code.

use tokenvault_core::ports::Refusal;

use crate::operation::Operation;

/// What a refusal's description must be like.
enum Says {
    /// Anything, or nothing.
    Any,
    /// Exactly this.
    Is(&'static str),
    /// Something that starts like this.
    Starts(&'static str),
}

struct ErrorRule {
    operations: &'static [Operation],
    status: u16,
    error: &'static str,
    says: Says,
    means: Refusal,
}

const fn rule(
    operations: &'static [Operation],
    status: u16,
    error: &'static str,
    says: Says,
    means: Refusal,
) -> ErrorRule {
    ErrorRule { operations, status, error, says, means }
}

const ALL: &[Operation] = &[
    Operation::Exchange,
    Operation::Refresh,
    Operation::Impersonate,
    Operation::ServiceAccount,
    Operation::Probe,
    Operation::Introspect,
    Operation::Revoke,
];
const REFRESH: &[Operation] = &[Operation::Refresh];
const EXCHANGE: &[Operation] = &[Operation::Exchange];
const IMPERSONATE: &[Operation] = &[Operation::Impersonate];
const EITHER_EXCHANGE: &[Operation] = &[Operation::Exchange, Operation::Impersonate];
const INTROSPECTION: &[Operation] = &[Operation::Probe, Operation::Introspect];
const REVOKE: &[Operation] = &[Operation::Revoke];

/// More than 20 000 characters.
const SUBJECT_TOO_LONG: &str = "The size of OIDC parameter 'subject_token' is longer than allowed.";
/// What is always sent was too long for an earlier 26.x: more than 4 000 characters.
const SUBJECT_DROPPED: &str = "Parameter 'subject_token' required for standard token exchange";
/// The subject token's session is an offline one, or a service account's.
const OTHER_SESSION: &str = "Refresh token not valid as requested_token_type because creating a new session is needed";
/// The client session was re-created after the token had been issued.
const ISSUED_BEFORE: &str = "refresh token issued before the client session started";

/// The first row that fits counts.
static RULES: &[ErrorRule] = {
    use Refusal as R;
    use Says::{Any, Is, Starts};
    &[
        // About the client, whatever was asked. A realm that is switched off, or that wants HTTPS, says nothing about
        // the token either.
        rule(ALL, 401, "unauthorized_client", Is("Client not enabled to retrieve service account"), R::NotAllowed),
        rule(ALL, 401, "unauthorized_client", Any, R::ClientRejected),
        rule(ALL, 401, "invalid_client", Any, R::ClientRejected),
        rule(ALL, 403, "access_denied", Is("Realm not enabled"), R::ClientRejected),
        rule(ALL, 403, "invalid_request", Is("HTTPS required"), R::ClientRejected), // read in the source
        rule(EITHER_EXCHANGE, 400, "invalid_client", Is("Client requires user consent"), R::NotAllowed), // source
        rule(ALL, 400, "invalid_client", Any, R::ClientRejected),
        // Keycloak goes by another name than when the token was issued; put right again, the token is good again.
        rule(REFRESH, 400, "invalid_grant", Starts("Invalid token issuer"), R::ClientRejected), // read in the source
        // The refresh grant.
        rule(REFRESH, 400, "invalid_grant", Is("Session not active"), R::SessionNotActive),
        rule(REFRESH, 400, "invalid_grant", Is("Offline session not active"), R::SessionNotActive), // source
        rule(REFRESH, 400, "invalid_grant", Is("Offline user session not found"), R::SessionNotActive), // source
        rule(REFRESH, 400, "invalid_grant", Is("Session doesn't have required client"), R::ClientSessionGone),
        rule(REFRESH, 400, "invalid_grant", Is(ISSUED_BEFORE), R::ClientSessionGone),
        rule(REFRESH, 400, "invalid_grant", Is("Maximum allowed refresh token reuse exceeded"), R::TokenReused),
        rule(REFRESH, 400, "invalid_grant", Is("Stale token"), R::TokenStale),
        rule(REFRESH, 400, "invalid_grant", Is("Token is not active"), R::TokenExpired),
        rule(REFRESH, 400, "invalid_grant", Is("User disabled"), R::UserDisabled),
        rule(REFRESH, 400, "invalid_grant", Starts("Invalid refresh token"), R::TokenInvalid),
        rule(REFRESH, 400, "invalid_grant", Is("Unmatching clients"), R::TokenInvalid), // source
        rule(REFRESH, 400, "invalid_scope", Starts("Client no longer has requested consent"), R::ConsentMissing),
        // Token exchange, standard and legacy. What is learnt of a client holds for all its jobs, so only words that can mean
        // nothing but the client say so; what is in no row concerns the token that was sent.
        rule(EXCHANGE, 400, "invalid_request", Starts("Standard token exchange is not enabled"), R::NotAllowed),
        rule(EXCHANGE, 400, "invalid_request", Is("requested_token_type unsupported"), R::NotAllowed),
        rule(EXCHANGE, 400, "invalid_request", Starts("Scope offline_access not allowed"), R::NotAllowed),
        rule(EXCHANGE, 400, "invalid_scope", Starts("Missing consents"), R::ConsentMissing),
        // What is asked for is what the tenant's configuration says.
        rule(EITHER_EXCHANGE, 400, "invalid_scope", Starts("Invalid scopes"), R::NotAllowed),
        rule(EXCHANGE, 400, "invalid_request", Is("Invalid token"), R::SubjectInvalid),
        rule(EXCHANGE, 400, "invalid_request", Is(SUBJECT_TOO_LONG), R::TokenTooLong),
        rule(EXCHANGE, 400, "invalid_request", Is(SUBJECT_DROPPED), R::TokenTooLong), // source
        rule(EXCHANGE, 400, "invalid_request", Is(OTHER_SESSION), R::NotExchangeable),
        rule(
            EXCHANGE,
            400,
            "invalid_request",
            Starts("Sender-constrained token exchange rejected"),
            R::NotExchangeable,
        ),
        rule(EXCHANGE, 400, "invalid_request", Is("DPoP proof is missing"), R::NotExchangeable), // source
        rule(EXCHANGE, 400, "invalid_request", Starts("Client certificate missing"), R::NotExchangeable), // source
        rule(EXCHANGE, 403, "access_denied", Any, R::NotMeant),
        // Here the subject token is the service account's: the client's own credential, not the user's.
        rule(IMPERSONATE, 400, "invalid_request", Is("Invalid token"), R::ClientRejected),
        // A feature that is off; or no role, no such user, a disabled user: deliberately the same words for all of them.
        rule(IMPERSONATE, 400, "invalid_request", Any, R::NotAllowed),
        rule(IMPERSONATE, 400, "invalid_scope", Any, R::NotAllowed),
        rule(IMPERSONATE, 403, "access_denied", Any, R::NotAllowed),
        // What the probe says of a session of the vault's own once its client session is detached.
        rule(INTROSPECTION, 400, "invalid_request", Is("Failed to introspect token."), R::TokenInvalid),
        // A token of another client's.
        rule(REVOKE, 400, "invalid_request", Is("Unmatching clients"), R::TokenInvalid),
        rule(ALL, 400, "unauthorized_client", Any, R::NotAllowed),
        rule(ALL, 400, "unsupported_grant_type", Any, R::NotAllowed),
    ]
};

/// The error codes that OAuth's documents know for these endpoints, extensions included (RFC 6749 §5.2 and §8.5, 6750, 7009,
/// 8693, 9396, 9449, 9470, `OpenID` Connect Core §3.1.2.6). Another word in `error` is some proxy's, or Keycloak's own
/// `{"error":"HTTP 405 Method Not Allowed"}`: no answer to what was asked.
const OAUTH_ERRORS: &[&str] = &[
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "access_denied",
    "invalid_target",
    "invalid_token",
    "insufficient_scope",
    "invalid_authorization_details",
    "invalid_dpop_proof",
    "use_dpop_nonce",
    "insufficient_user_authentication",
    "interaction_required",
    "login_required",
    "consent_required",
    "expired_token",
    "unsupported_token_type",
];

/// What a refusal means; `None` if it is none in OAuth's words.
pub(crate) fn meaning(operation: Operation, status: u16, error: &str, description: &str) -> Option<Refusal> {
    let fits = |rule: &&ErrorRule| {
        rule.status == status
            && rule.error == error
            && rule.operations.contains(&operation)
            && match rule.says {
                Says::Any => true,
                Says::Is(text) => description == text,
                Says::Starts(text) => description.starts_with(text),
            }
    };
    match RULES.iter().find(fits) {
        Some(rule) => Some(rule.means),
        None => OAUTH_ERRORS.contains(&error).then_some(Refusal::Other),
    }
}
