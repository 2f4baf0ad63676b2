//! The demonstration's realm: FOLIO's settings (rotation without any reuse), a UI client, the vault's client, a user. It is
//! written in two forms: for the embedded identity provider, and for Keycloak's admin API.

use std::time::Duration;

use keycloak_double::{ClientConfig, Mapper, RealmConfig, RealmSettings, RoleConfig, ServiceAccountConfig, UserConfig};
use serde_json::{Value, json};
use tokenvault_core::ports::Entropy;
use tokenvault_core::secret::ClientSecret;

/// The vault's own client.
pub(super) const VAULT_CLIENT: &str = "tokenvault";

/// A session outlives every demonstration.
const SESSION: u64 = 86_400;

/// How the realm's tokens look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenShape {
    /// Keycloak's regular ones.
    Regular,
    /// FOLIO's: the UI has lightweight ones with the user's name as `sub`, and the vault's carry no roles.
    Folio,
}

impl TokenShape {
    /// The realm's name in an identity provider of the demonstration's own.
    pub(super) fn tenant(self) -> &'static str {
        match self {
            Self::Regular => "demo",
            Self::Folio => "diku",
        }
    }
}

/// The realm. Its secrets are new in each run.
pub(super) struct DemoRealm {
    pub(super) name: String,
    /// The client users log in with.
    pub(super) ui_client: String,
    pub(super) ui_secret: ClientSecret,
    pub(super) vault_secret: ClientSecret,
    /// The user's name.
    pub(super) user: &'static str,
    pub(super) password: ClientSecret,
    pub(super) shape: TokenShape,
    user_id: String,
    at_ttl: Duration,
}

impl DemoRealm {
    pub(super) fn new(name: String, shape: TokenShape, at_ttl: Duration, entropy: &dyn Entropy) -> Self {
        let secret = || ClientSecret::new(random_hex(entropy, 16));
        Self {
            ui_client: RealmConfig::folio_login_client(&name),
            name,
            ui_secret: secret(),
            vault_secret: secret(),
            user: match shape {
                TokenShape::Regular => "alice",
                TokenShape::Folio => "diku_admin",
            },
            password: secret(),
            shape,
            user_id: random_uuid(entropy),
            at_ttl,
        }
    }

    /// For the embedded identity provider.
    pub(super) fn embedded(&self) -> RealmConfig {
        let realm = match self.shape {
            TokenShape::Regular => self.regular(),
            TokenShape::Folio => self.folio(),
        };
        realm.with_settings(|settings| {
            settings.access_token_lifespan = self.at_ttl.as_secs();
            settings.sso_session_idle = SESSION;
            settings.sso_session_max = SESSION;
        })
    }

    fn regular(&self) -> RealmConfig {
        let ui = ClientConfig::new(&self.ui_client, self.ui_secret.expose())
            .direct_access_grants()
            .audience(VAULT_CLIENT)
            .maps_user_id(true);
        let vault = ClientConfig::new(VAULT_CLIENT, self.vault_secret.expose())
            .token_exchange()
            .service_account(ServiceAccountConfig::Impersonating)
            .audience(VAULT_CLIENT)
            .maps_user_id(true)
            .mapper(Mapper::property("id", "keycloak_user_id"));
        let user = UserConfig::new(self.user, self.password.expose()).user_id(&self.user_id);
        RealmConfig::new(&self.name, RealmSettings::folio_like()).client(ui).client(vault).user(user)
    }

    fn folio(&self) -> RealmConfig {
        let user = UserConfig::new(self.user, self.password.expose()).user_id(&self.user_id);
        RealmConfig::folio_like(&self.name)
            .with_client(&self.ui_client, |client| client.with_secret(self.ui_secret.expose()))
            .with_client(VAULT_CLIENT, |client| client.with_secret(self.vault_secret.expose()))
            .user(user.without_roles().default_roles().role(RoleConfig::realm("adminRole")))
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
