//! How the vault comes to its own pair: exchange, impersonate, adopt.
//!
//! The job joins its client session's entry *before* the exchange: an entry too many is repaired when it is found, a pair
//! whose job is missing from its session could be hurt by a neighbour that does not know of it. An acquisition that failed for
//! certain takes back what its own attempt has entered, and no more: another registration of the same job may rely on it by then.
//!
//! Before a user's access token is sent for exchange, Keycloak is asked about it: one from before its *own* client's session
//! was created anew (the user interface's tokens were reused or revoked, and the user came back with their cookie) is still
//! a good proof by itself, and sent for exchange it would end the user's whole session.

use std::time::Duration;

use tokenvault_core::ids::AccountId;
use tokenvault_core::ports::{Client, Grant, GrantError, Identity, Introspection, Privilege, Proof, Refusal};
use tokenvault_core::record::{Acquisition, OnLogout, SessionRef};
use tokenvault_core::secret::{AccessToken, RefreshToken};
use tokenvault_core::time::Timestamp;

use super::joining::{JoinAttempt, Joining};
use super::refusals::{grant_problem, ordinary, privileged, rejected, store_problem, too_long};
use super::request::CheckedRequest;
use super::{Vault, unverified_jwt};
use crate::own_session;
use crate::problem::{Code, Problem};

/// A granted pair, the instant it was asked for, and the client session it lives in.
pub(super) struct AcquiredPair {
    pub(super) grant: Grant,
    pub(super) asked_at: Timestamp,
    pub(super) session: SessionRef,
    /// How long access tokens of its client live; a deposited one may have had part of its life already.
    pub(super) access_life: Duration,
}

/// A checked proof, and the token that gave it.
#[derive(Clone, Copy)]
pub(super) struct CheckedProof<'a> {
    pub(super) proof: &'a Proof,
    pub(super) token: &'a AccessToken,
}

/// An acquisition that failed.
pub(super) struct AcquisitionFailed {
    pub(super) problem: Problem,
    /// Whether an exchange may still be under way at Keycloak.
    at_work: bool,
}

impl From<Problem> for AcquisitionFailed {
    fn from(problem: Problem) -> Self {
        Self { problem, at_work: false }
    }
}

/// What a registration acquired.
pub(super) struct Acquired {
    pub(super) own: AcquiredPair,
    /// The pair in the user's session, kept where that session is to be watched.
    pub(super) anchor: Option<AcquiredPair>,
    /// A second pair of the same exchange, of which the refresh token is kept unspent: should Keycloak be away until the
    /// first access token is dead, what is spent then can be replaced.
    pub(super) spare: Option<(Grant, Timestamp)>,
    /// Whether the spare's exchange may still be under way at Keycloak.
    pub(super) at_work: bool,
    /// Keycloak's own id of the user, as the exchange in the proof's session said it.
    pub(super) account: Option<AccountId>,
}

impl Vault {
    /// Comes by the pair a registration asks for.
    pub(super) async fn acquire(
        &self,
        wanted: &CheckedRequest<'_>,
        evidence: CheckedProof<'_>,
        deposited: Option<&RefreshToken>,
    ) -> Result<Acquired, Problem> {
        match wanted.acquisition {
            Acquisition::Exchange => {
                let own = self.exchange(wanted, evidence).await?;
                let (spare, at_work) = self.spare(wanted, evidence).await;
                let account = own.grant.account.clone();
                Ok(Acquired { own, anchor: None, spare, at_work, account })
            }
            Acquisition::Impersonate => self.impersonate(wanted, evidence).await,
            Acquisition::Adopt => {
                let own = self.adopt(wanted, evidence, deposited).await?;
                Ok(Acquired { own, anchor: None, spare: None, at_work: false, account: None })
            }
        }
    }

    /// One more pair in the session just exchanged into, and whether its exchange may still be under way. A job does without
    /// where there is none.
    async fn spare(
        &self,
        wanted: &CheckedRequest<'_>,
        evidence: CheckedProof<'_>,
    ) -> (Option<(Grant, Timestamp)>, bool) {
        let asked_at = self.services.clock.now();
        match self.services.idp.exchange(&wanted.way.rules.client, evidence.token).await {
            Ok(granted) => (same_session(granted, evidence.proof).ok().map(|grant| (grant, asked_at)), false),
            Err(error) => (None, matches!(error, GrantError::Unknown(_))),
        }
    }

    /// What Keycloak knows of the user's access token, where it may be sent for exchange without harm.
    pub(super) async fn assert_live(&self, client: &Client, evidence: CheckedProof<'_>) -> Result<Privilege, Problem> {
        let CheckedProof { proof, token } = evidence;
        match self.services.idp.introspect(client, token).await {
            Ok(Introspection::Active(privilege)) => Ok(privilege),
            // By a few seconds, or the proof would have been refused: Keycloak forgives none.
            Ok(Introspection::Inactive) if unverified_jwt::begins_after(token.expose(), self.services.clock.now()) => {
                Err(rejected("not_yet_valid"))
            }
            Ok(Introspection::Inactive)
                if proof.client == client.id || unverified_jwt::is_meant_for(token.expose(), client.id.as_str()) =>
            {
                Err(rejected("token_not_active"))
            }
            // Keycloak tells nobody of a token that was not meant for them, and would not exchange it for them either.
            Ok(Introspection::Inactive) => Err(grant_problem(GrantError::Refused(Refusal::NotAllowed))),
            Err(error) => Err(grant_problem(error.into())),
        }
    }

    pub(super) async fn exchange(
        &self,
        wanted: &CheckedRequest<'_>,
        evidence: CheckedProof<'_>,
    ) -> Result<AcquiredPair, Problem> {
        let client = &wanted.way.rules.client;
        let joining = self.join(wanted.way, client, &evidence.proof.sid).await?;
        let held = match self.assert_live(client, evidence).await {
            Ok(_) => self.exchange_into(wanted, evidence, &joining).await,
            Err(problem) => Err(problem.into()),
        };
        self.or_withdraw(wanted.way, &joining, held).await
    }

    /// What was acquired in a session. Where nothing was, and nothing can come of it any more, the job leaves no trace there.
    async fn or_withdraw<T>(
        &self,
        way: JoinAttempt<'_>,
        joining: &Joining,
        acquired: Result<T, AcquisitionFailed>,
    ) -> Result<T, Problem> {
        match acquired {
            Ok(acquired) => Ok(acquired),
            Err(AcquisitionFailed { problem, at_work }) => {
                if !at_work {
                    self.undo_join(way, &joining.session).await;
                }
                Err(problem)
            }
        }
    }

    /// Exchanges a token that was found live, for a job that has joined its session.
    async fn exchange_into(
        &self,
        wanted: &CheckedRequest<'_>,
        evidence: CheckedProof<'_>,
        joining: &Joining,
    ) -> Result<AcquiredPair, AcquisitionFailed> {
        let asked_at = self.services.clock.now();
        let grant = self.granted(&wanted.way.rules.client, evidence).await?;
        Ok(AcquiredPair { access_life: grant.expires_in, grant, asked_at, session: joining.session.clone() })
    }

    /// Exchanges a token that is found live, for nobody who stays in its session. It is joined meanwhile all the same: the
    /// exchange may create it anew.
    pub(super) async fn exchange_once(
        &self,
        way: JoinAttempt<'_>,
        evidence: CheckedProof<'_>,
    ) -> Result<Grant, Problem> {
        let client = &way.rules.client;
        let joining = self.join(way, client, &evidence.proof.sid).await?;
        let granted = match self.assert_live(client, evidence).await {
            Ok(_) => self.granted(client, evidence).await,
            Err(problem) => Err(problem.into()),
        };
        let grant = self.or_withdraw(way, &joining, granted).await?;
        self.undo_join(way, &joining.session).await;
        Ok(grant)
    }

    async fn granted(
        &self,
        client: &Client,
        CheckedProof { proof, token }: CheckedProof<'_>,
    ) -> Result<Grant, AcquisitionFailed> {
        let granted = self.services.idp.exchange(client, token).await.map_err(|error| match error {
            GrantError::Refused(Refusal::TokenTooLong) => AcquisitionFailed::from(too_long(token)),
            error => {
                AcquisitionFailed { at_work: matches!(error, GrantError::Unknown(_)), problem: grant_problem(error) }
            }
        });
        if granted.is_ok() {
            // A refusal says less: it may be about this user's token.
            self.services.replica.exchange.granted(client);
        }
        let grant = granted.and_then(|grant| same_session(grant, proof).map_err(AcquisitionFailed::from))?;
        self.services.observer.granted(grant.access.expose().len());
        Ok(grant)
    }

    async fn impersonate(&self, wanted: &CheckedRequest<'_>, evidence: CheckedProof<'_>) -> Result<Acquired, Problem> {
        let (client, proof) = (&wanted.way.rules.client, evidence.proof);
        if proof.privileged {
            return Err(privileged());
        }
        let joining = self.join(wanted.way, client, &proof.sid).await?;
        let acquired = self.impersonate_beside(wanted, evidence, &joining).await;
        let acquired = self.or_withdraw(wanted.way, &joining, acquired).await?;
        if acquired.anchor.is_none() {
            // The exchanged pair is dropped, not revoked: a revoke would end its neighbours too.
            self.undo_join(wanted.way, &joining.session).await;
        }
        Ok(acquired)
    }

    /// Impersonates the user of a session that the job has joined.
    async fn impersonate_beside(
        &self,
        wanted: &CheckedRequest<'_>,
        evidence: CheckedProof<'_>,
        joining: &Joining,
    ) -> Result<Acquired, AcquisitionFailed> {
        let (client, proof) = (&wanted.way.rules.client, evidence.proof);
        // The proof's own client shows the user's roles; the vault's may well hide them.
        ordinary(self.assert_live(client, evidence).await?)?;
        // Impersonation succeeds for a user who has logged out; the exchange proves that the session lives. It also says who
        // the user is to Keycloak: never a name, and never what the proof's client maps onto `sub`.
        let proven = self.exchange_into(wanted, evidence, joining).await?;
        let account = proven.grant.account.clone();
        let unknown = || grant_problem(GrantError::Refused(Refusal::AccountUnknown));
        let own = self.own_session(wanted, proof, &account.clone().ok_or_else(unknown)?).await?;
        let anchor = (wanted.on_logout == OnLogout::Revoke).then_some(proven);
        Ok(Acquired { own, anchor, spare: None, at_work: false, account })
    }

    async fn own_session(
        &self,
        wanted: &CheckedRequest<'_>,
        proof: &Proof,
        account: &AccountId,
    ) -> Result<AcquiredPair, Problem> {
        let client = &wanted.way.rules.client;
        let opened = own_session::open(&self.services, client, &proof.user, account).await.map_err(grant_problem)?;
        let own_session::Opened { grant, sid, asked_at } = opened;
        self.services.observer.granted(grant.access.expose().len());
        // Nobody else exchanges in a session of the vault's own.
        let entered =
            self.services.store.enter_session(&client.session(&sid), &wanted.way.key.job, wanted.way.keep_until).await;
        match entered {
            Ok(incarnation) => {
                let session = SessionRef { sid, client: client.id.clone(), incarnation };
                Ok(AcquiredPair { access_life: grant.expires_in, grant, asked_at, session })
            }
            Err(error) => {
                // A session that no job has entered is nobody's.
                let _ = self.services.idp.revoke(client, &grant.refresh).await;
                Err(store_problem(error))
            }
        }
    }

    async fn adopt(
        &self,
        wanted: &CheckedRequest<'_>,
        CheckedProof { proof, token }: CheckedProof<'_>,
        deposited: Option<&RefreshToken>,
    ) -> Result<AcquiredPair, Problem> {
        let Some(refresh) = deposited else {
            return Err(Problem::new(Code::InvalidRequest, "adopt needs the refresh_token that is to be adopted."));
        };
        if !wanted.way.rules.adopt_clients.contains(&proof.client) {
            return Err(Problem::new(
                Code::Unsupported,
                "The credentials of this token's client are not configured for adoption.",
            ));
        }
        let client = Client { tenant: wanted.way.key.tenant.clone(), id: proof.client.clone() };
        let asked_at = self.services.clock.now();
        let deposit = Deposit::read(refresh, (proof, token), asked_at)?;
        let joining = self.join(wanted.way, &client, &proof.sid).await?;
        let adopted = match self.services.idp.probe(&client, refresh).await {
            Ok(true) => {
                let grant = deposit.grant(token, refresh, proof, asked_at);
                let access_life = whole_life(token, proof).unwrap_or(grant.expires_in);
                Ok(AcquiredPair { grant, asked_at, session: joining.session.clone(), access_life })
            }
            Ok(false) => Err(rejected("refresh_token_not_active").into()),
            Err(error) => Err(grant_problem(error.into()).into()),
        };
        self.or_withdraw(wanted.way, &joining, adopted).await
    }
}

/// A deposited refresh token, as far as it can be read without its key; Keycloak's probe has the last word.
struct Deposit {
    life: Option<Duration>,
}

impl Deposit {
    fn read(refresh: &RefreshToken, (proof, access): (&Proof, &AccessToken), now: Timestamp) -> Result<Self, Problem> {
        let claims = unverified_jwt::claims(refresh.expose()).ok_or_else(|| rejected("refresh_token_malformed"))?;
        let text = |name: &str| claims.get(name).and_then(serde_json::Value::as_str);
        // `sub` may be a name, and the user have another by now.
        let belongs = match text("sid") {
            Some(sid) => sid == proof.sid.as_str(),
            None => text("sub").is_some_and(|sub| unverified_jwt::text(access.expose(), "sub").as_deref() == Some(sub)),
        };
        if !belongs {
            return Err(rejected("refresh_token_mismatch"));
        }
        let instant = |name: &str| claims.get(name).and_then(serde_json::Value::as_u64).map(Timestamp::from_secs);
        let whole = |end: Timestamp| instant("iat").map_or(Duration::MAX, |issued_at| end.since(issued_at));
        let expires_at = instant("exp").filter(|end| *end > Timestamp::from_secs(0));
        // Keycloak's clock may be ahead: no token has more of its life left than it was given.
        Ok(Self { life: expires_at.map(|end| end.since(now).min(whole(end))) })
    }

    fn grant(self, access: &AccessToken, refresh: &RefreshToken, proof: &Proof, now: Timestamp) -> Grant {
        Grant {
            access: access.clone(),
            expires_in: proof.expires_at.since(now).min(whole_life(access, proof).unwrap_or(Duration::MAX)),
            refresh: refresh.clone(),
            refresh_expires_in: self.life,
            scope: proof.scope.clone(),
            account: None,
            user: Some(proof.user.clone()),
            sid: Some(proof.sid.clone()),
            privileged: proof.privileged,
        }
    }
}

/// From a verified access token's `iat` to its `exp`.
fn whole_life(token: &AccessToken, proof: &Proof) -> Option<Duration> {
    let issued_at = unverified_jwt::claims(token.expose())?.get("iat")?.as_u64()?;
    Some(proof.expires_at.since(Timestamp::from_secs(issued_at)))
}

/// The pair, if it is in the proof's session and of the proof's user.
fn same_session(grant: Grant, proof: &Proof) -> Result<Grant, Problem> {
    let elsewhere = grant.sid.as_ref().is_some_and(|sid| *sid != proof.sid);
    let (reason, detail) = match grant.identity_in_session(&proof.user, &proof.sid) {
        Identity::Same => return Ok(grant),
        // Keycloak keeps the session in a standard exchange; should that change, nothing the vault knows would hold.
        _ if elsewhere => ("session_mismatch", "The exchanged token belongs to another session."),
        Identity::Missing => (
            Refusal::IdentityMissing.code(),
            "The vault's client does not map the user id claim into its access tokens.",
        ),
        // One session has one user.
        Identity::Another => (
            Refusal::IdentityMismatch.code(),
            "In the same session the vault's client maps another value of the user id claim than the proof's client.",
        ),
    };
    Err(Problem::new(Code::IdpRejected, detail).with("reason", reason))
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::{Value, json};
    use tokenvault_core::ids::{ClientId, SessionId, Subject, UserId};

    use super::*;

    const NOW: u64 = 1_000_000;

    fn jwt(claims: &Value) -> String {
        format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims.to_string()))
    }

    /// What is left of a pair deposited now, of which Keycloak's clock says that it was issued then: access and refresh token.
    fn left(issued_at: u64) -> (Duration, Option<Duration>) {
        let access = AccessToken::new(jwt(&json!({ "sid": "s", "iat": issued_at, "exp": issued_at + 300 })));
        let refresh = RefreshToken::new(jwt(&json!({ "sid": "s", "iat": issued_at, "exp": issued_at + 1800 })));
        let proof = Proof {
            subject: Subject::parse("u").unwrap(),
            user: UserId::parse("u").unwrap(),
            sid: SessionId::parse("s").unwrap(),
            client: ClientId::parse("ui").unwrap(),
            expires_at: Timestamp::from_secs(issued_at + 300),
            scope: String::new(),
            privileged: false,
        };
        let now = Timestamp::from_secs(NOW);
        let grant = Deposit::read(&refresh, (&proof, &access), now).unwrap().grant(&access, &refresh, &proof, now);
        (grant.expires_in, grant.refresh_expires_in)
    }

    #[test]
    fn a_deposited_pair_has_no_more_left_than_it_was_given_though_keycloaks_clock_is_ahead() {
        let seconds = Duration::from_secs;
        assert_eq!(left(NOW - 100), (seconds(200), Some(seconds(1700))));
        assert_eq!(left(NOW), (seconds(300), Some(seconds(1800))));
        assert_eq!(left(NOW + 25), (seconds(300), Some(seconds(1800))));
    }
}
