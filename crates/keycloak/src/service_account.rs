//! The service accounts' access tokens, each kept until four fifths of its life have passed.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokenvault_core::ids::ClientId;
use tokenvault_core::ports::{Clock, GrantError};
use tokenvault_core::secret::AccessToken;
use tokenvault_core::time::Timestamp;
use url::Url;

use crate::answer::ServiceToken;
use crate::flight::Flight;

#[derive(Clone)]
struct CachedToken {
    token: AccessToken,
    good_until: Timestamp,
}

#[derive(Default)]
struct Account {
    kept: Mutex<Option<CachedToken>>,
    flight: Flight<Result<AccessToken, GrantError>>,
}

/// Every service account's token, by token endpoint and client.
#[derive(Default)]
pub(crate) struct ServiceAccounts {
    accounts: Mutex<HashMap<(Url, ClientId), Arc<Account>>>,
}

impl ServiceAccounts {
    /// The account's token: the kept one, or a new one from `fetch`.
    pub(crate) async fn token<F>(
        &self,
        endpoint: &Url,
        client: &ClientId,
        clock: &dyn Clock,
        fetch: impl FnOnce() -> F,
    ) -> Result<AccessToken, GrantError>
    where
        F: Future<Output = Result<ServiceToken, GrantError>>,
    {
        let account = self.account(endpoint, client);
        let ticket = account.flight.ticket();
        if let Some(kept) = account.kept.lock().as_ref().filter(|kept| clock.now() < kept.good_until) {
            return Ok(kept.token.clone());
        }
        let fly = async {
            // Counted from before the request: the token's life began somewhere in between.
            let asked_at = clock.now();
            let ServiceToken { access, expires_in } = fetch().await?;
            let good_until = asked_at + expires_in.mul_f64(0.8);
            *account.kept.lock() = Some(CachedToken { token: access.clone(), good_until });
            Ok(access)
        };
        account.flight.board(ticket, fly).await
    }

    /// Forgets a token that Keycloak did not accept, unless there is a newer one already.
    pub(crate) fn forget(&self, endpoint: &Url, client: &ClientId, token: &AccessToken) {
        let account = self.account(endpoint, client);
        let mut kept = account.kept.lock();
        if kept.as_ref().is_some_and(|kept| kept.token.expose() == token.expose()) {
            *kept = None;
        }
    }

    fn account(&self, endpoint: &Url, client: &ClientId) -> Arc<Account> {
        Arc::clone(self.accounts.lock().entry((endpoint.clone(), client.clone())).or_default())
    }
}
