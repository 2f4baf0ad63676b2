//! What callers are told when something is refused or fails: the errors of the core's ports, as problems.

use std::time::Duration;

use tokenvault_core::ports::{GrantError, Privilege, Refusal, StoreError};
use tokenvault_core::seal::SealError;
use tokenvault_core::secret::AccessToken;

use crate::problem::{Code, Problem};
use crate::store_news::say;

/// A proof that failed a check.
pub(super) fn rejected(check: &str) -> Problem {
    Problem::new(Code::TokenRejected, format!("A check failed: {check}.")).with("check", check)
}

/// Whether a user may be impersonated, as far as it shows.
pub(super) fn ordinary(privilege: Privilege) -> Result<(), Problem> {
    match privilege {
        Privilege::Ordinary => Ok(()),
        Privilege::Privileged => Err(privileged()),
        Privilege::Unknown => Err(unjudgeable()),
    }
}

pub(super) fn privileged() -> Problem {
    Problem::new(Code::Unsupported, "Service accounts and holders of realm-management roles are not impersonated.")
        .with("reason", Refusal::Privileged.code())
}

fn unjudgeable() -> Problem {
    let detail = "Keycloak shows no role of this user's, so nobody can tell whether the user may administer the realm. \
                  The client that the proof was issued to hides them: it has no full scope.";
    Problem::new(Code::Unsupported, detail).with("reason", "roles_unknown")
}

/// The length of the user's own token.
pub(super) fn too_long(token: &AccessToken) -> Problem {
    let length = token.expose().len();
    tracing::warn!(length, "a user's access token is longer than Keycloak takes for an exchange");
    let detail = format!(
        "The access token has {length} characters, more than Keycloak takes for an exchange (20000; earlier \
         releases of Keycloak 26: 4000). Lightweight access tokens of the client that users log in with do not grow with the user's roles."
    );
    Problem::new(Code::IdpRejected, detail).with("reason", Refusal::TokenTooLong.code()).with("length", length)
}

pub(super) fn grant_problem(error: GrantError) -> Problem {
    match error {
        // What is wrong is the token or its session, not the vault's standing with Keycloak.
        GrantError::Refused(
            refusal @ (Refusal::SubjectInvalid
            | Refusal::SessionNotActive
            | Refusal::UserDisabled
            | Refusal::TokenExpired
            | Refusal::TokenStale),
        ) => rejected(refusal.code()),
        GrantError::Refused(Refusal::Privileged) => privileged(),
        GrantError::Refused(refusal) => {
            tracing::warn!(reason = refusal.code(), "the identity provider refused");
            let detail = match refusal {
                Refusal::AccountUnknown | Refusal::IdentityMissing => {
                    "The vault's client does not map who the user is (keycloak_user_id and the user id claim)."
                }
                Refusal::IdentityMismatch => "Keycloak opened another user's session; it was given up.",
                _ => "The identity provider refused the vault's request.",
            };
            Problem::new(Code::IdpRejected, detail).with("reason", refusal.code())
        }
        GrantError::Unknown(cause) | GrantError::Unsent(cause) => {
            tracing::debug!(%cause, "the identity provider is unavailable");
            Problem::new(Code::IdpUnavailable, "The identity provider did not answer as it should.")
        }
    }
}

/// What a caller is told when something sealed does not open. Where the keyring is in doubt, nothing is wrong with the job: another
/// replica may have the right key, and this one again once it is put back.
pub(super) fn seal_problem(error: SealError, altered: &str) -> Problem {
    match error {
        SealError::KeyInDoubt => key_unavailable("This replica lacks the key that the job is sealed with."),
        SealError::UnknownKey | SealError::Forged | SealError::Malformed => Problem::new(Code::Internal, altered),
    }
}

pub(super) fn key_unavailable(detail: &str) -> Problem {
    Problem::new(Code::KeyUnavailable, detail)
}

/// What a caller is told when the store fails.
pub fn store_problem(error: StoreError) -> Problem {
    match error {
        full if full.is_full() => {
            let detail = "The store is full: nothing new can be begun. What is there is served, renewed and ended.";
            Problem::new(Code::StoreUnavailable, detail)
                .with("reason", "store_full")
                .retry_after(Duration::from_secs(30))
        }
        StoreError::Unavailable(_) => {
            say(&error);
            Problem::new(Code::StoreUnavailable, "The store did not answer.")
        }
        StoreError::Corrupt(what) => {
            tracing::error!(what, "the store holds a record that cannot be read");
            Problem::new(Code::Internal, "The stored record cannot be read.")
        }
        StoreError::Schema { found, known } => {
            tracing::error!(found, known, "the store's schema is not one this version knows");
            Problem::new(Code::StoreUnavailable, "The store's schema is not one this version knows.")
        }
    }
}
