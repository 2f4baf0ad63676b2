//! The realm the stage plays in: FOLIO's settings (rotation without any reuse), a UI client, the vault's client, a user.
//! As the embedded identity provider takes it, and as Keycloak's admin API does.

use std::time::Duration;

use keycloak_double::{ClientConfig, RealmConfig, RealmSettings, ServiceAccount, UserConfig};
use serde_json::{Value, json};
use tokenvault_core::ports::Entropy;
use tokenvault_core::secret::ClientSecret;

/// The client users log in with.
pub(super) const UI_CLIENT: &str = "login-app";
/// The vault's own client.
pub(super) const VAULT_CLIENT: &str = "tokenvault";
/// The user.
pub(super) const USER: &str = "alice";

/// A session outlives every demonstration.
const SESSION: u64 = 86_400;

/// A realm of the stage's own, its secrets fresh.
pub(super) struct Realm {
    pub(super) name: String,
    pub(super) ui_secret: ClientSecret,
    pub(super) vault_secret: ClientSecret,
    pub(super) password: ClientSecret,
    user_id: String,
    at_ttl: Duration,
}

impl Realm {
    pub(super) fn new(name: String, at_ttl: Duration, entropy: &dyn Entropy) -> Self {
        let secret = || ClientSecret::new(random_hex(entropy, 16));
        Self {
            name,
            ui_secret: secret(),
            vault_secret: secret(),
            password: secret(),
            user_id: random_uuid(entropy),
            at_ttl,
        }
    }

    /// For the embedded identity provider.
    pub(super) fn embedded(&self) -> RealmConfig {
        let settings = RealmSettings {
            access_token_lifespan: self.at_ttl.as_secs(),
            sso_session_idle: SESSION,
            sso_session_max: SESSION,
            ..RealmSettings::folio_like()
        };
        let ui = ClientConfig::new(UI_CLIENT, self.ui_secret.expose())
            .direct_access_grants()
            .audience(VAULT_CLIENT)
            .maps_user_id(true);
        let vault = ClientConfig::new(VAULT_CLIENT, self.vault_secret.expose())
            .token_exchange()
            .service_account(ServiceAccount::Impersonating)
            .audience(VAULT_CLIENT)
            .maps_user_id(true);
        let user = UserConfig::new(USER, self.password.expose()).user_id(&self.user_id);
        RealmConfig::new(&self.name, settings).client(ui).client(vault).user(user)
    }

    /// The same for Keycloak's admin API.
    pub(super) fn representation(&self) -> Value {
        let mut realm = self.embedded().representation();
        realm["displayName"] = json!("tokenvault demo, to be deleted");
        realm
    }
}

/// So many random bytes in hexadecimal.
pub(super) fn random_hex(entropy: &dyn Entropy, bytes: usize) -> String {
    use std::fmt::Write as _;
    let mut buffer = vec![0; bytes];
    entropy.fill(&mut buffer);
    buffer.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}

/// A random UUID (RFC 9562 §5.4).
pub(super) fn random_uuid(entropy: &dyn Entropy) -> String {
    let hex = random_hex(entropy, 16);
    format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
}
