//! FOLIO's realm as one body for Keycloak's admin API: what its tenant manager, its users' and its roles' modules make by
//! many calls. Names, descriptions and mappers are theirs.

use serde_json::{Value, json};

use super::FolioRealmBuilder;
use crate::harness::representation::{default_role, random_text};

/// The client of FOLIO's schedulers and consortia, which opens sessions in users' names.
pub const IMPERSONATION_CLIENT: &str = "impersonation-client";
/// The client of calls from module to module.
pub const SIDECAR_CLIENT: &str = "sidecar-module-access-client";
/// The client of password resets.
const PASSWORD_RESET_CLIENT: &str = "password-reset-client";
/// The role of FOLIO's administrators. It has nothing to do with Keycloak's own administration.
pub const ADMIN_ROLE: &str = "adminRole";

const METHODS: [&str; 6] = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"];
const RESOURCES: [&str; 3] = ["/inventory/items", "/data-import/uploadDefinitions", "/users/{id}"];

/// The realm's roles by name, and the id of the first one, which its policy is named after.
pub(super) struct Roles {
    admin_id: String,
    few: Vec<String>,
    many: Vec<String>,
}

impl Roles {
    pub(super) fn new(builder: &FolioRealmBuilder) -> Self {
        let migrated = (1..builder.roles).map(|n| format!("Migrated role {} {}", &random_text()[..10], n - 1));
        Self {
            admin_id: uuid(),
            few: std::iter::once(ADMIN_ROLE.to_owned()).chain(migrated).collect(),
            many: (0..builder.many).map(|_| format!("default-migrated-role-{}", uuid())).collect(),
        }
    }

    fn representation(&self, login_client: &str) -> Value {
        let described = [
            ("System", "System role for module-to-module communication"),
            ("Password Reset", "A role with access to password reset endpoints"),
        ];
        let described = described.map(|(name, description)| json!({ "name": name, "description": description }));
        let admin = json!({ "name": ADMIN_ROLE, "id": self.admin_id });
        let rest = self.few[1..].iter().chain(&self.many).map(|name| json!({ "name": name }));
        // Keycloak makes it for each client with authorisation, but not in an import.
        let uma = json!([{ "name": "uma_protection" }]);
        json!({
            "realm": described.into_iter().chain([admin]).chain(rest).collect::<Vec<_>>(),
            "client": { login_client: uma, IMPERSONATION_CLIENT: uma, SIDECAR_CLIENT: uma },
        })
    }

    /// Those of `diku_admin`, `diku_many`, and everybody else.
    fn of(&self, username: &str) -> Vec<&str> {
        let (few, many) = (self.few.iter(), self.many.iter());
        match username {
            "diku_admin" => few.map(String::as_str).collect(),
            "diku_many" => few.take(1).chain(many).map(String::as_str).collect(),
            "second" => few.take(2).map(String::as_str).collect(),
            _ => vec![ADMIN_ROLE],
        }
    }
}

/// The body of `POST /admin/realms`.
pub(super) fn realm(builder: &FolioRealmBuilder) -> Value {
    let roles = Roles::new(builder);
    let mut realm = json!({
        "id": uuid(),
        "realm": builder.name,
        "enabled": true,
        "duplicateEmailsAllowed": true,
        "loginWithEmailAllowed": false,
        "editUsernameAllowed": true,
        "accessCodeLifespan": 600,
        "attributes": { "parRequestUriLifespan": "600" },
        "revokeRefreshToken": true,
        "refreshTokenMaxReuse": 0,
        "accessTokenLifespan": 600,
        "ssoSessionIdleTimeout": 86_400,
        "ssoSessionMaxLifespan": 86_400,
        "clientSessionIdleTimeout": 86_400,
        "clientSessionMaxLifespan": 86_400,
        "components": user_profile(),
        "roles": roles.representation(&builder.login_client()),
        "clients": clients(builder, &roles),
        "users": users(builder, &roles),
    });
    for (name, value) in &builder.settings {
        realm[name] = value.clone();
    }
    realm
}

/// With unmanaged attributes: users may write what they like into their own, `user_id` included.
fn user_profile() -> Value {
    let permissions = json!({ "view": ["admin", "user"], "edit": ["admin", "user"] });
    let attribute = |name: &str| json!({ "name": name, "displayName": format!("${{{name}}}"), "permissions": permissions, "multivalued": false });
    let required = ["email", "firstName", "lastName"].map(|name| {
        let mut required = attribute(name);
        required["validations"] = json!({ "length": { "max": 255 } });
        required["required"] = json!({ "roles": ["user"] });
        required
    });
    let profile = json!({
        "attributes": std::iter::once(attribute("username")).chain(required).collect::<Vec<_>>(),
        "groups": [{
            "name": "user-metadata",
            "displayHeader": "User metadata",
            "displayDescription": "Attributes, which refer to user metadata",
        }],
        "unmanagedAttributePolicy": "ENABLED",
    });
    json!({
        "org.keycloak.userprofile.UserProfileProvider": [{
            "providerId": "declarative-user-profile",
            "config": { "kc.user.profile.config": [profile.to_string()] },
        }],
    })
}

fn clients(builder: &FolioRealmBuilder, roles: &Roles) -> [Value; 4] {
    let user = [username_mapper(builder), user_id_mapper(builder), sub_mapper(builder)];
    let module = [sub_mapper(builder)];
    let mut login = client(builder, &builder.login_client(), "Client for login operations", &user);
    login["authorizationSettings"] = authorization(roles);
    let impersonation = "Client for impersonating user (used for scheduling jobs and in consortia)";
    let sidecar = "Client for module-to-module communication";
    let mut reset = client(builder, PASSWORD_RESET_CLIENT, "Client for password reset operations", &module);
    reset["authorizationServicesEnabled"] = json!(false);
    reset["attributes"]["access.token.lifespan"] = json!("86400");
    reset["attributes"]["use.refresh.tokens"] = json!("false");
    [
        client(builder, IMPERSONATION_CLIENT, impersonation, &user),
        login,
        client(builder, SIDECAR_CLIENT, sidecar, &module),
        reset,
    ]
}

fn client(builder: &FolioRealmBuilder, id: &str, description: &str, mappers: &[Value]) -> Value {
    json!({
        "name": id,
        "clientId": id,
        "description": description,
        "enabled": true,
        "directAccessGrantsEnabled": true,
        "frontchannelLogout": true,
        "secret": random_text(),
        "clientAuthenticatorType": "client-secret",
        "serviceAccountsEnabled": true,
        "authorizationServicesEnabled": true,
        "webOrigins": ["/*"],
        "redirectUris": ["/*"],
        "attributes": {
            "oidc.ciba.grant.enabled": "false",
            "oauth2.device.authorization.grant.enabled": "false",
            "backchannel.logout.session.required": "true",
            "backchannel.logout.revoke.offline.tokens": "false",
            "client.use.lightweight.access.token.enabled": builder.lightweight.to_string(),
        },
        "defaultClientScopes": ["web-origins", "service_account", "acr", "profile", "roles", "basic", "email"],
        "optionalClientScopes": ["address", "phone", "offline_access", "organization", "microprofile-jwt"],
        "protocolMappers": mappers,
    })
}

fn mapper(builder: &FolioRealmBuilder, name: &str, kind: &str, source: Option<(&str, &str)>) -> Value {
    let mut config = json!({
        "id.token.claim": "true",
        "access.token.claim": "true",
        "userinfo.token.claim": "true",
        "lightweight.claim": builder.lightweight.to_string(),
    });
    if let Some((source, claim)) = source {
        config["user.attribute"] = json!(source);
        config["claim.name"] = json!(claim);
        config["jsonType.label"] = json!("String");
    }
    json!({ "name": name, "protocol": "openid-connect", "protocolMapper": kind, "config": config })
}

fn sub_mapper(builder: &FolioRealmBuilder) -> Value {
    mapper(builder, "Subject (sub)", "oidc-sub-mapper", None)
}

fn username_mapper(builder: &FolioRealmBuilder) -> Value {
    mapper(builder, "username", "oidc-usermodel-property-mapper", Some(("username", "sub")))
}

fn user_id_mapper(builder: &FolioRealmBuilder) -> Value {
    mapper(builder, "user_id mapper", "oidc-usermodel-attribute-mapper", Some(("user_id", "user_id")))
}

/// Who may call which of a module's routes. The sidecar has Keycloak decide it (UMA).
fn authorization(roles: &Roles) -> Value {
    let scopes = METHODS.map(|method| json!({ "name": method, "iconUri": method, "displayName": method }));
    let names = METHODS.map(|method| json!({ "name": method }));
    let resources = RESOURCES.map(|path| json!({ "name": path, "scopes": names, "uris": [path] }));
    let admin_policy = format!("Policy for role: {}", roles.admin_id);
    let mut policies = vec![
        role_policy("System role policy", "System"),
        role_policy("Password Reset policy", "Password Reset"),
        role_policy(&admin_policy, ADMIN_ROLE),
        permission("System role permission", &METHODS, "System role policy", None),
    ];
    policies.extend(RESOURCES.map(|path| {
        let name = format!("GET,POST,PUT access for role {} to {path}", roles.admin_id);
        permission(&name, &METHODS[..3], &admin_policy, Some(path))
    }));
    json!({
        "decisionStrategy": "AFFIRMATIVE",
        "policyEnforcementMode": "ENFORCING",
        "allowRemoteResourceManagement": true,
        "scopes": scopes,
        "resources": resources,
        "policies": policies,
    })
}

fn role_policy(name: &str, role: &str) -> Value {
    let roles = json!([{ "id": role, "required": false }]).to_string();
    policy(name, "role", &json!({ "roles": roles, "fetchRoles": "true" }))
}

fn permission(name: &str, scopes: &[&str], decides: &str, resource: Option<&str>) -> Value {
    let mut config = json!({ "scopes": json!(scopes).to_string(), "applyPolicies": json!([decides]).to_string() });
    if let Some(resource) = resource {
        config["resources"] = json!(json!([resource]).to_string());
    }
    policy(name, "scope", &config)
}

fn policy(name: &str, kind: &str, config: &Value) -> Value {
    json!({
        "type": kind,
        "name": name,
        "logic": "POSITIVE",
        "decisionStrategy": "UNANIMOUS",
        "config": config,
    })
}

fn users(builder: &FolioRealmBuilder, roles: &Roles) -> Vec<Value> {
    let default = default_role(&builder.name);
    let account = |client: &str, role: Option<&str>, uma: bool| {
        let roles: Vec<&str> = std::iter::once(default.as_str()).chain(role).collect();
        json!({
            "username": format!("service-account-{client}"),
            "enabled": true,
            "serviceAccountClientId": client,
            "realmRoles": roles,
            "clientRoles": if uma { json!({ client: ["uma_protection"] }) } else { json!({}) },
        })
    };
    let accounts = [
        account(&builder.login_client(), None, true),
        account(IMPERSONATION_CLIENT, None, true),
        account(SIDECAR_CLIENT, Some("System"), true),
        account(PASSWORD_RESET_CLIENT, Some("Password Reset"), false),
    ];
    let users = builder.users.iter().map(|name| {
        let mut user = user(&builder.name, name);
        user["realmRoles"] = json!(std::iter::once(default.as_str()).chain(roles.of(name)).collect::<Vec<_>>());
        user
    });
    users.chain(accounts).collect()
}

/// A user as FOLIO's users' module makes them, without roles.
pub(super) fn user(realm: &str, username: &str) -> Value {
    json!({
        "username": username,
        "firstName": username,
        "lastName": "Admin",
        "email": format!("{username}@example.org"),
        "emailVerified": false,
        "enabled": true,
        "attributes": {
            "user_id": [uuid()],
            "tenant_name": [realm],
            "external_system_id": [format!("ext-{username}")],
            "barcode": [&random_text()[..9]],
        },
        "credentials": [{ "type": "password", "value": random_text(), "temporary": false }],
    })
}

fn uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}
