//! Opening a session of the vault's own for a user, at registration and whenever one is needed anew.
//!
//! It is asked for by the identity provider's own id of the user and judged before anybody sees a token of it. A name will
//! not do, for users choose theirs; nor will the user id claim alone, for it may be an attribute that users write
//! themselves. A session that must not be is given up at once: nobody else lives in it.

use std::time::Duration;

use tokenvault_core::ids::{AccountId, SessionId, UserId};
use tokenvault_core::ports::{
    CallError, Client, Grant, GrantError, Identity, IdentityProvider, Introspection, Privilege, Refusal,
};
use tokenvault_core::time::Timestamp;

use crate::services::Services;

/// How long to wait after each try to revoke.
const REVOKE_PAUSES: [Duration; 3] = [Duration::from_millis(200), Duration::from_millis(800), Duration::ZERO];

/// A session that was opened, and is the user's.
pub(crate) struct Opened {
    pub(crate) grant: Grant,
    pub(crate) sid: SessionId,
    /// The instant before it was asked for.
    pub(crate) asked_at: Timestamp,
}

/// Opens a session for a user.
pub(crate) async fn open(
    services: &Services,
    client: &Client,
    user: &UserId,
    account: &AccountId,
) -> Result<Opened, GrantError> {
    let asked_at = services.clock.now();
    let grant = services.idp.impersonate(client, account).await?;
    match judge(&*services.idp, client, &grant, user, account).await {
        Ok(sid) => Ok(Opened { grant, sid, asked_at }),
        Err(error) => {
            give_up(services, client, &grant).await;
            Err(error)
        }
    }
}

/// Revokes a session that must not be. Keycloak may be troubled at that very moment, and nobody else will ever know of it.
async fn give_up(services: &Services, client: &Client, grant: &Grant) {
    for pause in REVOKE_PAUSES {
        match services.idp.revoke(client, &grant.refresh).await {
            Err(CallError::NoAnswer(_)) => tokio::time::sleep(pause).await,
            // The tenant was taken out, or its client's secret is not right any more.
            Err(CallError::Refused(Refusal::ClientRejected)) => break,
            Ok(()) | Err(CallError::Refused(_)) => return,
        }
    }
    tracing::warn!(tenant = %client.tenant, "a session that was opened for nobody could not be revoked; it ends by itself");
}

/// Whether it is the user's, who may not administer the realm. The new token is introspected, for a lightweight one shows no
/// roles; that it shows none even then proves nothing here, since the vault's own client does well to hide them.
async fn judge(
    idp: &dyn IdentityProvider,
    client: &Client,
    grant: &Grant,
    user: &UserId,
    account: &AccountId,
) -> Result<SessionId, GrantError> {
    match grant.identity_of_account(user, account) {
        Identity::Same => {}
        Identity::Missing => return Err(GrantError::Refused(Refusal::IdentityMissing)),
        Identity::Another => return Err(GrantError::Refused(Refusal::IdentityMismatch)),
    }
    let sid = grant.sid.clone().ok_or(GrantError::Refused(Refusal::IdentityMissing))?;
    let shown = idp.introspect(client, &grant.access).await?;
    if grant.privileged || shown == Introspection::Active(Privilege::Privileged) {
        return Err(GrantError::Refused(Refusal::Privileged));
    }
    Ok(sid)
}
