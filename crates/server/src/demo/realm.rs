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

    /// For Keycloak's admin API.
    pub(super) fn representation(&self) -> Value {
        json!({
            "realm": self.name,
            "displayName": "tokenvault demo, to be deleted",
            "enabled": true,
            "sslRequired": "none",
            "revokeRefreshToken": true,
            "refreshTokenMaxReuse": 0,
            "accessTokenLifespan": self.at_ttl.as_secs(),
            "ssoSessionIdleTimeout": SESSION,
            "ssoSessionMaxLifespan": SESSION,
            "clients": [{
                "clientId": UI_CLIENT,
                "enabled": true,
                "secret": self.ui_secret.expose(),
                "directAccessGrantsEnabled": true,
                "redirectUris": ["http://localhost/*"],
                "protocolMappers": [audience_mapper(), user_id_mapper()],
            }, {
                "clientId": VAULT_CLIENT,
                "enabled": true,
                "secret": self.vault_secret.expose(),
                "standardFlowEnabled": false,
                "serviceAccountsEnabled": true,
                "attributes": {
                    "standard.token.exchange.enabled": "true",
                    "standard.token.exchange.enableRefreshRequestedTokenType": "SAME_SESSION",
                },
                "protocolMappers": [audience_mapper(), user_id_mapper()],
            }],
            "users": [{
                "username": USER,
                "enabled": true,
                "email": "alice@example.org",
                "emailVerified": true,
                "firstName": "Alice",
                "lastName": "Demo",
                "attributes": { "user_id": [self.user_id] },
                "credentials": [{ "type": "password", "value": self.password.expose() }],
            }],
            "components": user_profile(),
        })
    }
}

fn audience_mapper() -> Value {
    json!({
        "name": "audience of the vault",
        "protocol": "openid-connect",
        "protocolMapper": "oidc-audience-mapper",
        "config": {
            "included.client.audience": VAULT_CLIENT,
            "access.token.claim": "true",
            "introspection.token.claim": "true",
        },
    })
}

fn user_id_mapper() -> Value {
    json!({
        "name": "user_id",
        "protocol": "openid-connect",
        "protocolMapper": "oidc-usermodel-attribute-mapper",
        "config": {
            "user.attribute": "user_id",
            "claim.name": "user_id",
            "jsonType.label": "String",
            "access.token.claim": "true",
            "introspection.token.claim": "true",
        },
    })
}

/// Keycloak drops attributes that its user profile does not know, unless they are allowed in general; only
/// administrators may edit them, for who can change their own `user_id` can become anybody.
fn user_profile() -> Value {
    let attributes = ["username", "email", "firstName", "lastName"]
        .map(|name| json!({ "name": name, "permissions": { "view": ["admin", "user"], "edit": ["admin", "user"] } }));
    let profile = json!({ "unmanagedAttributePolicy": "ADMIN_EDIT", "attributes": attributes });
    json!({
        "org.keycloak.userprofile.UserProfileProvider": [{
            "providerId": "declarative-user-profile",
            "config": { "kc.user.profile.config": [profile.to_string()] },
        }],
    })
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
