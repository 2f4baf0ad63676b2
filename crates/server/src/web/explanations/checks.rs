//! `check`: what the proof failed, a user's access token or the refresh token that is to be adopted.

use tokenvault_vault::problem::Code;

use super::explanation::{Explanation, Responsible};

const fn check(word: &'static str, means: &'static str, by: Responsible, how: &'static str) -> Explanation {
    Explanation { codes: &[Code::TokenRejected], member: "check", word, means, by, how }
}

pub(super) const CHECKS: &[Explanation] = &[
    check(
        "malformed",
        "The text is not a JSON Web Token, or a part of it cannot be read.",
        Responsible::Module,
        "Send the user's access token as it came, without `Bearer ` before it. In FOLIO that is the value of x-okapi-token; a reference that begins with `tv.` is none.",
    ),
    check(
        "algorithm_not_allowed",
        "The token is signed in a way that is not on the vault's list: RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA. `none` and shared secrets (HS256 and the like) never are.",
        Responsible::Module,
        "Send an access token and not a refresh token: Keycloak signs those with a shared secret. If the realm signs access tokens that way, its administrator must choose another algorithm.",
    ),
    check(
        "key_not_supported",
        "The realm has the key that signed the token, but the vault cannot verify with it: a key on the curve Ed448, or an RSA key of less than 2048 bits.",
        Responsible::Realm,
        "Give the realm a key of another kind for this algorithm, with a higher priority: Ed25519 for EdDSA, 2048 bits or more for RSA. Tokens that are issued from then on are good; the old key stays as passive until the others are over.",
    ),
    check(
        "bad_signature",
        "None of the realm's published keys verifies the token.",
        Responsible::Module,
        "Send the token unchanged, and to the tenant it was issued in. If every token fails, the operator looks whether the tenant's `issuer` and `base_url` lead to the same Keycloak.",
    ),
    check(
        "wrong_issuer",
        "`iss` is not the issuer that is configured for this tenant.",
        Responsible::Operator,
        "Compare the tenant's `issuer` with the token's `iss`, character by character: scheme, host, port and realm. Where Keycloak is reached by several names, its frontend URL decides. A module that sends another tenant's token names the wrong x-okapi-tenant.",
    ),
    check(
        "expired",
        "The token's life is over.",
        Responsible::Module,
        "Register while the user's token lives: at the start of the job, not when it is first needed. A part of a job that starts hours later names its `parent_job_id` and needs no token.",
    ),
    check(
        "too_old",
        "The token was issued longer ago than `max_proof_age` allows.",
        Responsible::Operator,
        "Where `max_proof_age` is set, it must not be below the life of the user interface's access tokens: FOLIO's renews them only when they are over. Without it, a token's own life counts, up to an hour.",
    ),
    check(
        "not_yet_valid",
        "The token counts only from a moment that lies ahead by the vault's clock: it was issued then (`iat`), or is not to be used before (`nbf`).",
        Responsible::Operator,
        "Compare the clocks of Keycloak, of Redis, which the vault goes by, and of the machines: they may differ by 30 seconds (`tokenvault doctor`: clock-keycloak). Where they agree, the token has an `nbf` of its own, which a mapper at Keycloak makes: the module registers when that moment has come, or the realm's administrator takes the mapper out.",
    ),
    check(
        "wrong_type",
        "`typ` is not `Bearer`: an ID token, a refresh token or a logout token proves no consent.",
        Responsible::Module,
        "Send the user's access token.",
    ),
    check(
        "client_not_accepted",
        "The token was issued to a client (`azp`) that is not among the tenant's `accepted_clients`, or to the vault's own.",
        Responsible::Operator,
        "Add the client that users log in with to `accepted_clients`, in FOLIO `<tenant>-login-application`. Never add the vault's client: its tokens prove nothing.",
    ),
    check(
        "claim_missing",
        "`sub`, `sid` or the claim that the tenant knows its users by (`user_id_claim`) is missing.",
        Responsible::Realm,
        "Run deploy/keycloak/setup.sh for the realm, with the options it was run with. Lightweight access tokens, as FOLIO's are, carry a mapped claim only where the mapper says so (`lightweight.claim`). A service account's token has no `sid` and is no proof.",
    ),
    check(
        "unknown_tenant",
        "The tenant is not configured in this vault.",
        Responsible::Operator,
        "Configure it; `tokenvault check-config` lists the tenants there are.",
    ),
    check(
        "user_id_mismatch",
        "`user_id` in the request is not what the token says.",
        Responsible::Module,
        "Leave `user_id` out: the token says whose it is. If it is given, it is the value of the claim the tenant knows its users by, in FOLIO the user's UUID.",
    ),
    check(
        "parent_of_another_user",
        "The parent job belongs to another user than the token.",
        Responsible::Module,
        "Register the child with a token of the parent's user, or without a token.",
    ),
    check(
        "token_not_active",
        "Keycloak says that the token is not active: its user has logged out, or its client's session ended and was made anew since.",
        Responsible::User,
        "Log in again and start the job again. The module sends the newest token it was given.",
    ),
    check(
        "session_not_active",
        "The user's session has ended.",
        Responsible::User,
        "Log in again and start the job again.",
    ),
    check(
        "subject_invalid",
        "Keycloak refused the exchange with \"Invalid token\". It has this answer for many causes: the session has ended, the user is disabled or gone, the token or its key is not valid any more, or was declared void.",
        Responsible::User,
        "Log in again and start the job again. If that does not help, the realm's administrator looks at the user and at Keycloak's log.",
    ),
    check("user_disabled", "The user is disabled.", Responsible::Realm, "Enable the user, if they may work again."),
    check(
        "token_expired",
        "Keycloak says that the token has expired, though by the vault's clock it lives: perhaps by seconds.",
        Responsible::Module,
        "Register earlier in the token's life. If it happens often, the operator compares the clocks of Keycloak and the vault.",
    ),
    check(
        "token_stale",
        "The token was declared void (not-before), or a newer one has taken its place.",
        Responsible::User,
        "Log in again and start the job again.",
    ),
    check(
        "refresh_token_malformed",
        "The refresh token that is to be adopted is not a JSON Web Token.",
        Responsible::Module,
        "Send Keycloak's refresh token as it came.",
    ),
    check(
        "refresh_token_mismatch",
        "The refresh token that is to be adopted is another user's or another session's than the access token.",
        Responsible::Module,
        "Send both tokens of one answer.",
    ),
    check(
        "refresh_token_not_active",
        "Keycloak says that the refresh token that is to be adopted is spent, or that its session has ended.",
        Responsible::Module,
        "Deposit a refresh token that nobody has used and nobody else keeps.",
    ),
];
