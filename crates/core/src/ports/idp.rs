//! The identity provider as the vault uses it: verify a proof, come by a pair, renew it, probe, revoke.

use std::time::Duration;

use async_trait::async_trait;

use crate::ids::{AccountId, ClientId, SessionId, SessionKey, Subject, TenantId, UserId};
use crate::secret::{AccessToken, RefreshToken};
use crate::time::Timestamp;

/// A tenant's client, whose credentials the provider knows from its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// The tenant.
    pub tenant: TenantId,
    /// The client.
    pub id: ClientId,
}

impl Client {
    /// The failure domain of this client's pairs in a user session.
    pub fn session(&self, sid: &SessionId) -> SessionKey {
        SessionKey { tenant: self.tenant.clone(), sid: sid.clone(), client: self.id.clone() }
    }
}

/// What a verified access token proves.
#[derive(Debug, Clone)]
pub struct Proof {
    /// The `sub` claim.
    pub subject: Subject,
    /// The claim the tenant knows its users by.
    pub user: UserId,
    /// The user session (`sid`).
    pub sid: SessionId,
    /// The client it was issued to (`azp`).
    pub client: ClientId,
    /// Its `exp`.
    pub expires_at: Timestamp,
    /// Its `scope`.
    pub scope: String,
    /// Whether the token itself shows that impersonating this user is out of the question: a service account, or a holder
    /// of realm-management roles. That it shows nothing proves nothing: a lightweight token has no roles in it.
    pub privileged: bool,
}

/// What is known of a user's rights over the realm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Privilege {
    /// Roles are shown, and none over the realm is among them.
    Ordinary,
    /// A service account, or a holder of realm-management roles.
    Privileged,
    /// No role at all is shown: the client that the token was issued to hides them.
    Unknown,
}

/// What introspection (RFC 7662) says of an access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Introspection {
    /// Nothing takes it, or the asking client is not in its audience.
    Inactive,
    /// It lives; and this is what its user may do.
    Active(Privilege),
}

/// Which check a proof failed. The code goes to the caller; the token never does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Not a JWT, or a part of it cannot be read.
    #[error("malformed")]
    Malformed,
    /// `alg` is not on the allow-list (`none` and HMAC never are).
    #[error("algorithm_not_allowed")]
    Algorithm,
    /// The tenant's JWKS has the key, but it is of a kind that cannot be used here (Ed448), or too weak.
    #[error("key_not_supported")]
    Key,
    /// No key of the tenant's JWKS verifies it.
    #[error("bad_signature")]
    Signature,
    /// `iss` is not the tenant's.
    #[error("wrong_issuer")]
    Issuer,
    /// `exp` has passed.
    #[error("expired")]
    Expired,
    /// `iat` is further back than `max_proof_age`.
    #[error("too_old")]
    TooOld,
    /// `iat` or `nbf` lies in the future, by more than clocks may differ.
    #[error("not_yet_valid")]
    NotYetValid,
    /// `typ` is not `Bearer`.
    #[error("wrong_type")]
    Type,
    /// `azp` is not among the tenant's accepted clients, or is the vault's own.
    #[error("client_not_accepted")]
    Client,
    /// `sub`, `sid` or the user id claim is missing.
    #[error("claim_missing")]
    ClaimMissing,
    /// The keys to check it with could not be had.
    #[error("keys_unavailable")]
    KeysUnavailable,
    /// The tenant is not configured.
    #[error("unknown_tenant")]
    UnknownTenant,
}

/// A pair as the token endpoint answered it.
#[derive(Debug, Clone)]
pub struct Grant {
    /// The access token.
    pub access: AccessToken,
    /// Its life (`expires_in`).
    pub expires_in: Duration,
    /// The refresh token: a new one, or after a refresh that brought none, the one that was sent (RFC 6749 §6).
    pub refresh: RefreshToken,
    /// Its life (`refresh_expires_in`); `None` if it does not expire (an offline token).
    pub refresh_expires_in: Option<Duration>,
    /// The granted scope.
    pub scope: String,
    /// The identity provider's own id of the user, if the access token has it.
    pub account: Option<AccountId>,
    /// The user id claim of the access token, if it has one.
    pub user: Option<UserId>,
    /// The `sid` of the access token, if it has one.
    pub sid: Option<SessionId>,
    /// As in [`Proof::privileged`].
    pub privileged: bool,
}

/// What a new access token says of whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Identity {
    /// The user's of the proof.
    Same,
    /// What has to be compared is not in it: a mapper of the client's was taken out. Nobody else is named.
    Missing,
    /// Somebody else's.
    Another,
}

impl Identity {
    fn compare<T: PartialEq>(said: Option<&T>, known: &T) -> Self {
        match said {
            None => Self::Missing,
            Some(said) if said == known => Self::Same,
            Some(_) => Self::Another,
        }
    }

    /// Of two comparisons the worse.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Another, _) | (_, Self::Another) => Self::Another,
            (Self::Missing, _) | (_, Self::Missing) => Self::Missing,
            (Self::Same, Self::Same) => Self::Same,
        }
    }
}

impl Grant {
    /// Whether the access token is this user's, granted in the session it was asked for in. A session belongs to one user
    /// for all its life, so `sub` is not asked: a user interface may map the user's name onto it, and users are renamed.
    pub fn identity_in_session(&self, user: &UserId, sid: &SessionId) -> Identity {
        Identity::compare(self.sid.as_ref(), sid).and(Identity::compare(self.user.as_ref(), user))
    }

    /// Whether the access token of a new session is this user's. The user id claim does not suffice, for it may be an
    /// attribute that users write themselves, and a name does not, for users choose theirs.
    pub fn identity_of_account(&self, user: &UserId, account: &AccountId) -> Identity {
        Identity::compare(self.account.as_ref(), account).and(Identity::compare(self.user.as_ref(), user))
    }
}

/// A definite no: the identity provider understood the request and did not do it. Nothing was consumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// "Session not active", "Session … expired".
    SessionNotActive,
    /// "Session doesn't have required client".
    ClientSessionGone,
    /// "Maximum allowed refresh token reuse exceeded".
    TokenReused,
    /// "Stale token".
    TokenStale,
    /// "Token is not active": it expired.
    TokenExpired,
    /// "User disabled".
    UserDisabled,
    /// `invalid_scope`: the user's consent is missing.
    ConsentMissing,
    /// The subject token of an exchange was refused ("Invalid token"): one answer for many causes.
    SubjectInvalid,
    /// The subject token of an exchange has more characters than the identity provider takes.
    TokenTooLong,
    /// This client may not do that, whatever the token: exchange not enabled, no refresh tokens, role missing.
    NotAllowed,
    /// This client may not do that with this token: it is not in the token's audience.
    NotMeant,
    /// The subject token of an exchange cannot give a pair: its session is an offline one, or it is bound to a key.
    NotExchangeable,
    /// An exchange gave an access token alone.
    NoRefreshToken,
    /// An exchange gave a token that is not for whoever bears it (`token_type`).
    NotBearer,
    /// The client's own credentials were refused.
    ClientRejected,
    /// The token is not one of this client's, or not a refresh token at all.
    TokenInvalid,
    /// A pair was granted, but its access token does not say whose it is: the client lacks a mapper.
    IdentityMissing,
    /// A session was opened, and it is another user's: it was given up at once.
    IdentityMismatch,
    /// The identity provider's own id of the user was never learnt, so no session can be asked for: the client lacks a mapper.
    AccountUnknown,
    /// The user may administer the realm, and is not impersonated.
    Privileged,
    /// Some other definite no.
    Other,
}

impl Refusal {
    /// The stable code, for metrics, logs and problem details.
    pub fn code(self) -> &'static str {
        match self {
            Self::SessionNotActive => "session_not_active",
            Self::ClientSessionGone => "client_session_gone",
            Self::TokenReused => "token_reused",
            Self::TokenStale => "token_stale",
            Self::TokenExpired => "token_expired",
            Self::UserDisabled => "user_disabled",
            Self::ConsentMissing => "consent_missing",
            Self::SubjectInvalid => "subject_invalid",
            Self::TokenTooLong => "token_too_long",
            Self::NotAllowed | Self::NotMeant => "not_allowed",
            Self::NotExchangeable => "not_exchangeable",
            Self::NoRefreshToken => "no_refresh_token",
            Self::NotBearer => "not_bearer",
            Self::ClientRejected => "client_rejected",
            Self::TokenInvalid => "token_invalid",
            Self::IdentityMissing => "identity_missing",
            Self::IdentityMismatch => "identity_mismatch",
            Self::AccountUnknown => "account_unknown",
            Self::Privileged => "privileged",
            Self::Other => "refused",
        }
    }
}

/// Why there was no answer, or none that can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Cause {
    /// The connection could not be made.
    #[error("connect")]
    Connect,
    /// No answer in time.
    #[error("timeout")]
    Timeout,
    /// The connection broke in the middle of the request or the answer.
    #[error("interrupted")]
    Interrupted,
    /// A 5xx.
    #[error("server_error")]
    ServerError,
    /// An answer that is not what the protocol says (HTML, half a JSON, a missing member).
    #[error("unintelligible")]
    Unintelligible,
    /// Turned away before it was looked at (429).
    #[error("throttled")]
    Throttled,
}

/// How a token request failed. The distinction is the heart of crash safety: after `Unknown` the token may be spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Hash)]
pub enum GrantError {
    /// A definite no.
    #[error("refused: {}", .0.code())]
    Refused(Refusal),
    /// It may have been done: never repeat blindly.
    #[error("outcome unknown: {0}")]
    Unknown(Cause),
    /// It certainly did not reach the identity provider.
    #[error("not sent: {0}")]
    Unsent(Cause),
}

/// How a call that consumes nothing failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Hash)]
pub enum CallError {
    /// A definite no.
    #[error("refused: {}", .0.code())]
    Refused(Refusal),
    /// No usable answer; may be repeated.
    #[error("no answer: {0}")]
    NoAnswer(Cause),
}

impl From<CallError> for GrantError {
    /// Where a question comes before a grant and was not answered, nothing was sent that a grant hangs on.
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused(refusal) => Self::Refused(refusal),
            CallError::NoAnswer(cause) => Self::Unsent(cause),
        }
    }
}

/// The identity provider. No method retries, and no method takes longer than the configured time-outs.
#[async_trait]
pub trait IdentityProvider: Send + Sync {
    /// Checks a user's access token without asking Keycloak about it (its keys may have to be fetched).
    async fn verify(&self, tenant: &TenantId, token: &AccessToken) -> Result<Proof, ProofError>;

    /// Standard token exchange (RFC 8693) of an access token for a pair of `client`'s. Consumes nothing.
    async fn exchange(&self, client: &Client, subject: &AccessToken) -> Result<Grant, GrantError>;

    /// The refresh grant (RFC 6749 §6). Spends the token.
    async fn refresh(&self, client: &Client, token: &RefreshToken) -> Result<Grant, GrantError>;

    /// A session of the vault's own for a user, through its service account. The answer may be another user's, one whose
    /// *name* is that id: it has to be compared.
    async fn impersonate(&self, client: &Client, account: &AccountId) -> Result<Grant, GrantError>;

    /// Introspection (RFC 7662) with the refresh-token hint: whether the token is active. Harmless.
    async fn probe(&self, client: &Client, token: &RefreshToken) -> Result<bool, CallError>;

    /// Introspection (RFC 7662) of an access token: whether its session still stands as it did when the token was issued,
    /// and what its user may do. Harmless, where an exchange of a token from before its client session was created anew ends
    /// the user's whole session. Inactive also where `client` is not in the token's audience.
    async fn introspect(&self, client: &Client, token: &AccessToken) -> Result<Introspection, CallError>;

    /// Revocation (RFC 7009) of a refresh token: ends the client session it belongs to.
    async fn revoke(&self, client: &Client, token: &RefreshToken) -> Result<(), CallError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(user: Option<&str>, sid: Option<&str>, account: Option<&str>) -> Grant {
        Grant {
            access: AccessToken::new("at"),
            expires_in: Duration::from_mins(1),
            refresh: RefreshToken::new("rt"),
            refresh_expires_in: None,
            scope: String::new(),
            account: account.and_then(|text| AccountId::parse(text).ok()),
            user: user.and_then(|text| UserId::parse(text).ok()),
            sid: sid.and_then(|text| SessionId::parse(text).ok()),
            privileged: false,
        }
    }

    #[test]
    fn in_a_session_its_id_and_the_user_id_claim_are_compared_and_nothing_else() {
        let (user, sid) = (UserId::parse("u").unwrap(), SessionId::parse("s").unwrap());
        let says = |said_user, said_sid| grant(said_user, said_sid, Some("k")).identity_in_session(&user, &sid);
        assert_eq!(says(Some("u"), Some("s")), Identity::Same);
        assert_eq!(says(None, Some("s")), Identity::Missing);
        assert_eq!(says(Some("u"), None), Identity::Missing);
        assert_eq!(says(Some("v"), None), Identity::Another);
        assert_eq!(says(None, Some("t")), Identity::Another);
    }

    #[test]
    fn of_a_new_session_the_account_is_compared_as_well_as_the_user_id_claim() {
        let (user, account) = (UserId::parse("u").unwrap(), AccountId::parse("k").unwrap());
        let says = |said_user, said| grant(said_user, Some("s"), said).identity_of_account(&user, &account);
        assert_eq!(says(Some("u"), Some("k")), Identity::Same);
        assert_eq!(says(Some("u"), None), Identity::Missing, "the user id claim may be one that users write");
        assert_eq!(says(Some("u"), Some("l")), Identity::Another);
        assert_eq!(says(None, Some("k")), Identity::Missing);
        assert_eq!(says(Some("v"), Some("k")), Identity::Another);
    }
}
