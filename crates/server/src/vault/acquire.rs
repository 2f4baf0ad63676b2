//! How the vault comes to its own pair: exchange, impersonate, adopt.
//!
//! The job joins its client session's entry *before* the exchange: an entry too many is repaired when it is found, a pair
//! whose job is missing from its session could be hurt by a neighbour that does not know of it. For the same reason a
//! failed acquisition does not take its entry back: another registration of the same job may rely on it by then.
//!
//! Before a user's access token is sent for exchange, Keycloak is asked about it: one from before its *own* client's session
//! was created anew (the user interface's tokens were reused or revoked, and the user came back with their cookie) is still
//! a good proof by itself, and sent for exchange it would end the user's whole session.

use std::time::Duration;

use tokenvault_core::ids::{JobKey, SessionId};
use tokenvault_core::ports::{CallError, Client, Grant, GrantError, Identity, Proof, Refusal};
use tokenvault_core::record::{Acquisition, OnLogout, SessionRef};
use tokenvault_core::secret::{AccessToken, RefreshToken};
use tokenvault_core::time::Timestamp;

use super::register::Wanted;
use super::{Registration, Vault, peek, store_problem};
use crate::problem::{Code, Problem};

/// A granted pair, the instant it was asked for, and the client session it lives in.
pub(super) struct Held {
    pub(super) grant: Grant,
    pub(super) asked_at: Timestamp,
    pub(super) session: SessionRef,
    /// How long access tokens of its client live; a deposited one may have had part of its life already.
    pub(super) access_life: Duration,
}

/// What a registration acquired.
pub(super) struct Acquired {
    pub(super) own: Held,
    /// The pair in the user's session, kept where that session is to be watched.
    pub(super) anchor: Option<Held>,
    /// A second pair of the same exchange, of which the refresh token is kept unspent: should Keycloak be away until the
    /// first access token is dead, what is spent then can be replaced.
    pub(super) spare: Option<(Grant, Timestamp)>,
}

impl Vault {
    /// Comes by the pair a registration asks for.
    pub(super) async fn acquire(
        &self,
        wanted: &Wanted<'_>,
        proof: &Proof,
        request: &Registration,
    ) -> Result<Acquired, Problem> {
        match wanted.acquisition {
            Acquisition::Exchange => {
                let own = self.exchange(wanted, proof, request).await?;
                Ok(Acquired { own, anchor: None, spare: self.spare(wanted, proof, request).await })
            }
            Acquisition::Impersonate => self.impersonate(wanted, proof, request).await,
            Acquisition::Adopt => {
                Ok(Acquired { own: self.adopt(wanted, proof, request).await?, anchor: None, spare: None })
            }
        }
    }

    /// One more pair in the session just exchanged into. A job does without where there is none.
    async fn spare(&self, wanted: &Wanted<'_>, proof: &Proof, request: &Registration) -> Option<(Grant, Timestamp)> {
        let asked_at = self.parts.clock.now();
        let granted = self.parts.idp.exchange(&wanted.rules.client, request.token().ok()?).await.ok()?;
        let grant = same_user(granted, proof).ok()?;
        grant.sid.as_ref().is_none_or(|sid| *sid == proof.sid).then_some((grant, asked_at))
    }

    /// Whether the user's access token may be sent for exchange without harm.
    async fn assert_live(&self, client: &Client, proof: &Proof, token: &AccessToken) -> Result<(), Problem> {
        match self.parts.idp.is_live(client, token).await {
            Ok(true) => Ok(()),
            Ok(false) if proof.client == client.id || peek::is_meant_for(token.expose(), client.id.as_str()) => {
                Err(rejected("token_not_active"))
            }
            // Keycloak tells nobody of a token that was not meant for them, and would not exchange it for them either.
            Ok(false) => Err(grant_problem(GrantError::Refused(Refusal::NotAllowed))),
            Err(error) => Err(unanswered(error)),
        }
    }

    pub(super) async fn exchange(
        &self,
        wanted: &Wanted<'_>,
        proof: &Proof,
        request: &Registration,
    ) -> Result<Held, Problem> {
        let client = &wanted.rules.client;
        let session = self.join(wanted, client, &proof.sid).await?;
        self.assert_live(client, proof, request.token()?).await?;
        let asked_at = self.parts.clock.now();
        let granted = self.parts.idp.exchange(client, request.token()?).await.map_err(grant_problem);
        if granted.is_ok() {
            // A refusal says less: it may be about this user's token.
            self.parts.standing.exchange().granted(client);
        }
        match granted.and_then(|grant| same_user(grant, proof)) {
            // Keycloak keeps the session in a standard exchange; should that change, nothing the vault knows would hold.
            Ok(grant) if grant.sid.as_ref().is_none_or(|sid| *sid == proof.sid) => {
                Ok(Held { access_life: grant.expires_in, grant, asked_at, session })
            }
            Ok(_) => Err(Problem::new(Code::IdpRejected, "The exchanged token belongs to another session.")
                .with("reason", "session_mismatch")),
            Err(problem) => Err(problem),
        }
    }

    async fn impersonate(
        &self,
        wanted: &Wanted<'_>,
        proof: &Proof,
        request: &Registration,
    ) -> Result<Acquired, Problem> {
        if proof.privileged {
            return Err(privileged());
        }
        // Impersonation succeeds for a user who has logged out; the exchange proves that the session lives.
        let proven = self.exchange(wanted, proof, request).await?;
        let own = self.own_session(wanted, proof).await;
        if own.is_ok() && wanted.on_logout == OnLogout::Continue {
            // The exchanged pair is dropped, not revoked: a revoke would end its neighbours too.
            self.leave(wanted.key, &wanted.rules.client, &proof.sid).await;
        }
        let anchor = (wanted.on_logout == OnLogout::Revoke).then_some(proven);
        Ok(Acquired { own: own?, anchor, spare: None })
    }

    async fn own_session(&self, wanted: &Wanted<'_>, proof: &Proof) -> Result<Held, Problem> {
        let client = &wanted.rules.client;
        let asked_at = self.parts.clock.now();
        let grant = self.parts.idp.impersonate(client, &proof.subject).await.map_err(grant_problem)?;
        let refresh = grant.refresh.clone();
        let checked = same_user(grant, proof).and_then(|grant| match (&grant.sid, grant.privileged) {
            (_, true) => Err(privileged()),
            (None, _) => {
                Err(Problem::new(Code::IdpRejected, "The new session has no id.").with("reason", "sid_missing"))
            }
            (Some(sid), false) => Ok((sid.clone(), grant)),
        });
        let (sid, grant) = match checked {
            Ok(checked) => checked,
            Err(problem) => {
                // A session of the vault's own that must not be: nobody else lives in it.
                let _ = self.parts.idp.revoke(client, &refresh).await;
                return Err(problem);
            }
        };
        let session = self.join(wanted, client, &sid).await?;
        Ok(Held { access_life: grant.expires_in, grant, asked_at, session })
    }

    async fn adopt(&self, wanted: &Wanted<'_>, proof: &Proof, request: &Registration) -> Result<Held, Problem> {
        let Some(refresh) = &request.refresh_token else {
            return Err(Problem::new(Code::InvalidRequest, "adopt needs the refresh_token that is to be adopted."));
        };
        if !wanted.rules.adopt_clients.contains(&proof.client) {
            return Err(Problem::new(
                Code::Unsupported,
                "The credentials of this token's client are not configured for adoption.",
            ));
        }
        let client = Client { tenant: wanted.key.tenant.clone(), id: proof.client.clone() };
        let asked_at = self.parts.clock.now();
        let deposit = Deposit::read(refresh, proof, asked_at)?;
        let session = self.join(wanted, &client, &proof.sid).await?;
        match self.parts.idp.probe(&client, refresh).await {
            Ok(true) => {
                let token = request.token()?;
                let grant = deposit.grant(token, refresh, proof, asked_at);
                let access_life = whole_life(token, proof).unwrap_or(grant.expires_in);
                Ok(Held { grant, asked_at, session, access_life })
            }
            Ok(false) => Err(rejected("refresh_token_not_active")),
            Err(error) => Err(unanswered(error)),
        }
    }

    async fn join(&self, wanted: &Wanted<'_>, client: &Client, sid: &SessionId) -> Result<SessionRef, Problem> {
        let joined = self.parts.store.join_session(&client.session(sid), &wanted.key.job, wanted.keep_until).await;
        let entry = joined.map_err(store_problem)?;
        Ok(SessionRef { sid: sid.clone(), client: client.id.clone(), incarnation: entry.incarnation })
    }

    /// Takes a job out of a session it did not come to live in. What fails here is an entry too many.
    async fn leave(&self, key: &JobKey, client: &Client, sid: &SessionId) {
        let _ = self.parts.store.leave_session(&client.session(sid), &key.job).await;
    }
}

/// A deposited refresh token, as far as it can be read without its key; Keycloak's probe has the last word.
struct Deposit {
    life: Option<Duration>,
}

impl Deposit {
    fn read(token: &RefreshToken, proof: &Proof, now: Timestamp) -> Result<Self, Problem> {
        let claims = peek::claims(token.expose()).ok_or_else(|| rejected("refresh_token_malformed"))?;
        let text = |name: &str| claims.get(name).and_then(serde_json::Value::as_str);
        let belongs =
            text("sub") == Some(proof.subject.as_str()) && text("sid").is_none_or(|sid| sid == proof.sid.as_str());
        if !belongs {
            return Err(rejected("refresh_token_mismatch"));
        }
        let expires_at = claims.get("exp").and_then(serde_json::Value::as_u64).filter(|exp| *exp > 0);
        Ok(Self { life: expires_at.map(|exp| Timestamp::from_secs(exp).since(now)) })
    }

    fn grant(self, token: &AccessToken, refresh: &RefreshToken, proof: &Proof, now: Timestamp) -> Grant {
        Grant {
            access: token.clone(),
            expires_in: proof.expires_at.since(now),
            refresh: refresh.clone(),
            refresh_expires_in: self.life,
            scope: proof.scope.clone(),
            subject: Some(proof.subject.clone()),
            user: Some(proof.user.clone()),
            sid: Some(proof.sid.clone()),
            privileged: proof.privileged,
        }
    }
}

/// From a verified access token's `iat` to its `exp`.
fn whole_life(token: &AccessToken, proof: &Proof) -> Option<Duration> {
    let issued_at = peek::claims(token.expose())?.get("iat")?.as_u64()?;
    Some(proof.expires_at.since(Timestamp::from_secs(issued_at)))
}

fn same_user(grant: Grant, proof: &Proof) -> Result<Grant, Problem> {
    let detail = match grant.identity(&proof.subject, &proof.user) {
        Identity::Same => return Ok(grant),
        Identity::Missing => "The vault's client does not map sub or the user id claim into its access tokens.",
        Identity::Another => "The identity provider answered with another user's token.",
    };
    Err(Problem::new(Code::IdpRejected, detail).with("reason", "identity_mismatch"))
}

/// A proof that failed a check.
pub(super) fn rejected(check: &str) -> Problem {
    Problem::new(Code::TokenRejected, format!("A check failed: {check}.")).with("check", check)
}

fn privileged() -> Problem {
    Problem::new(Code::Unsupported, "Service accounts and holders of realm-management roles are not impersonated.")
}

/// A question that Keycloak did not answer.
fn unanswered(error: CallError) -> Problem {
    grant_problem(match error {
        CallError::Refused(refusal) => GrantError::Refused(refusal),
        CallError::NoAnswer(cause) => GrantError::Unsent(cause),
    })
}

fn grant_problem(error: GrantError) -> Problem {
    match error {
        // What is wrong is the token or its session, not the vault's standing with Keycloak.
        GrantError::Refused(
            refusal @ (Refusal::SubjectInvalid
            | Refusal::SessionNotActive
            | Refusal::UserDisabled
            | Refusal::TokenExpired
            | Refusal::TokenStale),
        ) => rejected(refusal.code()),
        GrantError::Refused(refusal) => {
            tracing::warn!(reason = refusal.code(), "the identity provider refused");
            Problem::new(Code::IdpRejected, "The identity provider refused the vault's request.")
                .with("reason", refusal.code())
        }
        GrantError::Unknown(cause) | GrantError::Unsent(cause) => {
            tracing::warn!(%cause, "the identity provider is unavailable");
            Problem::new(Code::IdpUnavailable, "The identity provider did not answer as it should.")
        }
    }
}
