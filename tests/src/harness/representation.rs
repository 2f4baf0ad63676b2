//! A lab realm's parts as Keycloak's admin API wants them. The same set-up in prose is deploy/keycloak/README.md.

use serde_json::{Value, json};

use super::realm::{LOGIN_APP, MODULE, VAULT};

pub(super) fn random_text() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

pub(super) fn user(username: &str) -> Value {
    json!({
        "username": username,
        "enabled": true,
        "email": format!("{username}@example.org"),
        "emailVerified": true,
        "firstName": username,
        "lastName": "Lab",
        "attributes": { "user_id": [uuid::Uuid::new_v4().to_string()] },
        "credentials": [{ "type": "password", "value": random_text() }],
        "realmRoles": ["offline_access", "uma_authorization"],
    })
}

/// Gives the users of a realm to be imported what every user gets whom Keycloak makes itself, unless their roles are said: an
/// import gives them nothing, and nobody can tell what a user may who shows no role at all.
pub(super) fn give_default_roles(realm: &mut Value) {
    let role = default_role(realm["realm"].as_str().unwrap_or_default());
    for user in realm["users"].as_array_mut().into_iter().flatten() {
        if !user["credentials"].is_null() && user["realmRoles"].is_null() {
            user["realmRoles"] = json!([role]);
        }
    }
}

/// The role that holds a realm's default roles.
pub(super) fn default_role(realm: &str) -> String {
    format!("default-roles-{}", realm.to_lowercase())
}

/// The UI's, the vault's and a module's, each with a secret of its own.
pub(super) fn clients() -> [Value; 3] {
    [login_app(&random_text()), vault_client(&random_text()), module(&random_text())]
}

fn login_app(secret: &str) -> Value {
    json!({
        "clientId": LOGIN_APP,
        "enabled": true,
        "secret": secret,
        "directAccessGrantsEnabled": true,
        "redirectUris": ["http://localhost/*"],
        "protocolMappers": [audience_mapper(VAULT), user_id_mapper()],
    })
}

fn vault_client(secret: &str) -> Value {
    json!({
        "clientId": VAULT,
        "enabled": true,
        "secret": secret,
        "standardFlowEnabled": false,
        "serviceAccountsEnabled": true,
        "attributes": {
            "standard.token.exchange.enabled": "true",
            "standard.token.exchange.enableRefreshRequestedTokenType": "SAME_SESSION",
        },
        "protocolMappers": [audience_mapper(VAULT), user_id_mapper(), account_mapper()],
    })
}

fn module(secret: &str) -> Value {
    json!({
        "clientId": MODULE,
        "enabled": true,
        "secret": secret,
        "standardFlowEnabled": false,
        "serviceAccountsEnabled": true,
    })
}

fn audience_mapper(client: &str) -> Value {
    json!({
        "name": format!("audience {client}"),
        "protocol": "openid-connect",
        "protocolMapper": "oidc-audience-mapper",
        "config": {
            "included.client.audience": client,
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

/// Keycloak's own id of the user.
fn account_mapper() -> Value {
    json!({
        "name": "keycloak_user_id",
        "protocol": "openid-connect",
        "protocolMapper": "oidc-usermodel-property-mapper",
        "config": {
            "user.attribute": "id",
            "claim.name": "keycloak_user_id",
            "jsonType.label": "String",
            "access.token.claim": "true",
            "introspection.token.claim": "true",
        },
    })
}

/// Each login takes a twentieth of a second of the processor's time with Keycloak's own hash, which no test is about.
pub(super) const CHEAP_PASSWORDS: &str = "hashAlgorithm(pbkdf2-sha256) and hashIterations(1)";

/// The user profile, and Keycloak's own keys but the one for encrypted tokens: to make it takes a fifth of a second.
pub(super) fn components() -> Value {
    let key =
        |name: &str, provider: &str, config: Value| json!({ "name": name, "providerId": provider, "config": config });
    let priority = || json!({ "priority": ["100"] });
    let hmac = json!({ "priority": ["100"], "algorithm": ["HS512"] });
    json!({
        "org.keycloak.userprofile.UserProfileProvider": [user_profile()],
        "org.keycloak.keys.KeyProvider": [
            key("rsa-generated", "rsa-generated", priority()),
            key("hmac-generated-hs512", "hmac-generated", hmac),
            key("aes-generated", "aes-generated", priority()),
        ],
    })
}

/// Keycloak 24 and later drop attributes that the user profile does not know, unless they are allowed in
/// general. Only administrators may edit them: who can change their own `user_id` can become anybody.
fn user_profile() -> Value {
    let attributes = ["username", "email", "firstName", "lastName"]
        .map(|name| json!({ "name": name, "permissions": { "view": ["admin", "user"], "edit": ["admin", "user"] } }));
    let profile = json!({ "unmanagedAttributePolicy": "ADMIN_EDIT", "attributes": attributes });
    json!({
        "providerId": "declarative-user-profile",
        "config": { "kc.user.profile.config": [profile.to_string()] },
    })
}
