//! The same realm in the words of Keycloak's admin API, so that what runs on the stand-in can be set up on a real
//! Keycloak as well.

use serde_json::{Value, json};

use crate::config::{ClientConfig, RealmConfig, RealmSettings, ServiceAccount, UserConfig};

impl RealmConfig {
    /// The body of `POST /admin/realms`.
    pub fn representation(&self) -> Value {
        let mut realm = self.settings().representation();
        realm["realm"] = json!(self.name());
        realm["enabled"] = json!(true);
        realm["sslRequired"] = json!("none");
        realm["clients"] = self.clients().iter().map(ClientConfig::representation).collect();
        let accounts = self.clients().iter().filter_map(ClientConfig::service_account_representation);
        realm["users"] = self.users().iter().map(UserConfig::representation).chain(accounts).collect();
        realm["components"] = json!({"org.keycloak.userprofile.UserProfileProvider": [user_profile()]});
        realm
    }
}

/// A fresh realm drops attributes it does not know, `user_id` among them, unless its user profile allows them.
fn user_profile() -> Value {
    let attributes: Vec<_> = ["username", "email", "firstName", "lastName"]
        .iter()
        .map(|name| json!({"name": name, "permissions": {"view": ["admin", "user"], "edit": ["admin"]}}))
        .collect();
    let profile = json!({"unmanagedAttributePolicy": "ADMIN_EDIT", "attributes": attributes}).to_string();
    json!({"providerId": "declarative-user-profile", "config": {"kc.user.profile.config": [profile]}})
}

impl RealmSettings {
    /// The members of a realm that these settings are, as for `PUT /admin/realms/{realm}`.
    pub fn representation(&self) -> Value {
        json!({
            "accessTokenLifespan": self.access_token_lifespan,
            "ssoSessionIdleTimeout": self.sso_session_idle,
            "ssoSessionMaxLifespan": self.sso_session_max,
            "revokeRefreshToken": self.revoke_refresh_token,
            "refreshTokenMaxReuse": self.refresh_token_max_reuse,
        })
    }
}

impl ClientConfig {
    /// The client as `POST /admin/realms/{realm}/clients` takes it.
    pub fn representation(&self) -> Value {
        let mut mappers: Vec<Value> = self.audiences.iter().map(|a| audience_mapper(a)).collect();
        if self.maps_user_id {
            mappers.push(user_id_mapper());
        }
        let refresh = if self.exchange_refresh_tokens { "SAME_SESSION" } else { "NO" };
        json!({
            "clientId": self.client_id(),
            "secret": self.secret(),
            "enabled": self.enabled,
            "publicClient": false,
            "directAccessGrantsEnabled": self.direct_access_grants,
            "serviceAccountsEnabled": self.service_account != ServiceAccount::None,
            "consentRequired": self.consent_required,
            "redirectUris": ["*"],
            "attributes": {
                "standard.token.exchange.enabled": self.standard_token_exchange.to_string(),
                "standard.token.exchange.enableRefreshRequestedTokenType": refresh,
                "client.use.lightweight.access.token.enabled": self.lightweight.to_string(),
            },
            "protocolMappers": mappers,
        })
    }

    fn service_account_representation(&self) -> Option<Value> {
        (self.service_account != ServiceAccount::None).then(|| {
            let impersonates = self.service_account == ServiceAccount::Impersonating;
            json!({
                "username": format!("service-account-{}", self.client_id()),
                "enabled": true,
                "serviceAccountClientId": self.client_id(),
                "clientRoles": if impersonates { json!({"realm-management": ["impersonation"]}) } else { json!({}) },
            })
        })
    }
}

impl UserConfig {
    /// The user as a realm import takes it.
    pub fn representation(&self) -> Value {
        let mut user = json!({
            "username": self.username(),
            "enabled": self.enabled,
            "email": format!("{}@example.org", self.username()),
            "emailVerified": true,
            "firstName": self.username(),
            "lastName": "Example",
            "credentials": [{"type": "password", "value": self.password(), "temporary": false}],
            "realmRoles": ["offline_access"],
        });
        if let Some(id) = &self.id {
            user["id"] = json!(id);
        }
        if let Some(id) = &self.user_id {
            user["attributes"] = json!({"user_id": [id]});
        }
        if self.realm_management {
            user["clientRoles"] = json!({"realm-management": ["manage-users"]});
        }
        user
    }
}

fn audience_mapper(client: &str) -> Value {
    json!({
        "name": format!("audience {client}"),
        "protocol": "openid-connect",
        "protocolMapper": "oidc-audience-mapper",
        "config": {"included.client.audience": client, "access.token.claim": "true"},
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
            "id.token.claim": "true",
            "introspection.token.claim": "true",
        },
    })
}
