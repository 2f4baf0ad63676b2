//! Which clients may exchange their own access tokens, as Keycloak was last heard to say.
//!
//! A client is believed to, until it is refused. Then nobody asks for a while, and refresh tokens are spent. After that
//! one job asks; what it hears, or what a registration hears, holds for all of them.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokenvault_core::ids::{ClientId, TenantId};
use tokenvault_core::ports::Client;
use tokenvault_core::time::Timestamp;

/// How long a client that was refused is not asked for again.
const BAR: Duration = Duration::from_mins(10);
/// How long the others wait for what the one that asks will hear.
const ASKING: Duration = Duration::from_secs(30);

/// Clients that were refused, and until when nobody is to ask.
#[derive(Debug, Default)]
pub struct ExchangeRights(Mutex<HashMap<(TenantId, ClientId), Timestamp>>);

impl ExchangeRights {
    /// Whether an exchange may be planned.
    pub fn may(&self, client: &Client, now: Timestamp) -> bool {
        self.0.lock().get(&key(client)).is_none_or(|until| *until <= now)
    }

    /// Whether one may be sent. Where it is to be found out anew, only the first to ask is told so.
    pub fn ask(&self, client: &Client, now: Timestamp) -> bool {
        let mut barred = self.0.lock();
        let Some(until) = barred.get_mut(&key(client)) else { return true };
        let over = *until <= now;
        if over {
            *until = now + ASKING;
        }
        over
    }

    /// The client was refused.
    pub fn refused(&self, client: &Client, now: Timestamp) {
        self.0.lock().insert(key(client), now + BAR);
        tracing::warn!(tenant = %client.tenant, client = %client.id, "the client may not exchange its own access tokens; refresh tokens will be spent instead");
    }

    /// The client was not refused.
    pub fn granted(&self, client: &Client) {
        if self.0.lock().remove(&key(client)).is_some() {
            tracing::info!(tenant = %client.tenant, client = %client.id, "the client may exchange access tokens again");
        }
    }
}

fn key(client: &Client) -> (TenantId, ClientId) {
    (client.tenant.clone(), client.id.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000);

    fn client(tenant: &str) -> Client {
        Client { tenant: TenantId::parse(tenant).expect("a tenant"), id: ClientId::parse("vault").expect("a client") }
    }

    #[test]
    fn who_was_refused_is_not_asked_for_until_the_bar_is_over_and_then_by_one_job() {
        let (rights, client) = (ExchangeRights::default(), client("a"));
        assert!(rights.may(&client, NOW) && rights.ask(&client, NOW));
        rights.refused(&client, NOW);
        let late = NOW + BAR - Duration::from_millis(1);
        assert!(!rights.may(&client, late) && !rights.ask(&client, late));
        assert!(rights.may(&self::client("b"), NOW), "another tenant's client is another one");

        let over = NOW + BAR;
        assert!(rights.may(&client, over) && rights.may(&client, over), "planning asks nobody");
        assert!(rights.ask(&client, over));
        assert!(!rights.ask(&client, over) && !rights.may(&client, over), "one asks, the others wait");
        assert!(rights.ask(&client, over + ASKING), "the one that asked never came back");
    }

    #[test]
    fn what_one_hears_holds_for_all() {
        let (rights, client) = (ExchangeRights::default(), client("a"));
        rights.refused(&client, NOW);
        assert!(rights.ask(&client, NOW + BAR));
        rights.refused(&client, NOW + BAR);
        assert!(!rights.may(&client, NOW + BAR + ASKING));
        rights.granted(&client);
        assert!(rights.may(&client, NOW) && rights.ask(&client, NOW) && rights.ask(&client, NOW));
    }
}
