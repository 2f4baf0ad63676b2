//! The same realm in the words of Keycloak's admin API, so that what runs on the stand-in can be set up on a real
//! Keycloak as well.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::config::{
    ClientConfig, Mapper, RealmConfig, RealmSettings, RoleConfig, ServiceAccountConfig, Source, UserConfig,
    default_roles,
};

impl RealmConfig {
    /// The body of `POST /admin/realms`.
    pub fn representation(&self) -> Value {
        let mut realm = self.settings().representation();
        realm["realm"] = json!(self.name());
        realm["enabled"] = json!(true);
        realm["sslRequired"] = json!("none");
        realm["clients"] = self.clients().iter().map(ClientConfig::representation).collect();
        let users = self.users().iter().map(|user| user.representation_in(self.name()));
        let accounts = self.clients().iter().filter_map(ClientConfig::service_account_representation);
        realm["users"] = users.chain(accounts).collect();
        realm["roles"] = json!({"realm": self.roles.iter().map(|(name, of)| composite(name, of)).collect::<Vec<_>>()});
        let group = |(name, roles): (&String, &Vec<RoleConfig>)| with_roles(json!({"name": name}), roles);
        realm["groups"] = self.groups.iter().map(group).collect();
        realm["scopeMappings"] = scope_mappings(self.clients(), None);
        let clients = self.clients().iter().flat_map(|c| &c.scope_mappings).filter_map(|role| match role {
            RoleConfig::Client(client, _) => Some(client),
            RoleConfig::Realm(_) => None,
        });
        let clients: BTreeSet<&String> = clients.collect();
        realm["clientScopeMappings"] =
            clients.into_iter().map(|id| (id.clone(), scope_mappings(self.clients(), Some(id)))).collect();
        realm["editUsernameAllowed"] = json!(self.users_edit_themselves);
        let profile = user_profile(self.users_edit_themselves);
        realm["components"] = json!({"org.keycloak.userprofile.UserProfileProvider": [profile]});
        realm
    }
}

/// A fresh realm drops attributes it does not know, `user_id` among them, unless its user profile allows them.
fn user_profile(users_edit_themselves: bool) -> Value {
    let edit = if users_edit_themselves { json!(["admin", "user"]) } else { json!(["admin"]) };
    let attributes: Vec<_> = ["username", "email", "firstName", "lastName"]
        .iter()
        .map(|name| json!({"name": name, "permissions": {"view": ["admin", "user"], "edit": edit}}))
        .collect();
    let policy = if users_edit_themselves { "ENABLED" } else { "ADMIN_EDIT" };
    let profile = json!({"unmanagedAttributePolicy": policy, "attributes": attributes}).to_string();
    json!({"providerId": "declarative-user-profile", "config": {"kc.user.profile.config": [profile]}})
}

/// The roles that clients without full scope have in it: those of the realm, or of a client.
fn scope_mappings(clients: &[ClientConfig], of: Option<&String>) -> Value {
    let mappings = clients.iter().filter_map(|client| {
        let roles = client.scope_mappings.iter().filter_map(|role| match (role, of) {
            (RoleConfig::Realm(name), None) => Some(name),
            (RoleConfig::Client(id, name), Some(of)) if id == of => Some(name),
            _ => None,
        });
        let roles: Vec<_> = roles.collect();
        (!roles.is_empty()).then(|| json!({"client": client.client_id(), "roles": roles}))
    });
    mappings.collect()
}

fn composite(name: &str, contains: &[RoleConfig]) -> Value {
    let (realm, client) = by_owner(contains);
    json!({"name": name, "composite": !contains.is_empty(), "composites": {"realm": realm, "client": client}})
}

/// A user or a group with its roles.
fn with_roles(mut holder: Value, roles: &[RoleConfig]) -> Value {
    let (realm, client) = by_owner(roles);
    holder["realmRoles"] = json!(realm);
    holder["clientRoles"] = json!(client);
    holder
}

fn by_owner(roles: &[RoleConfig]) -> (Vec<&str>, BTreeMap<&str, Vec<&str>>) {
    let (mut realm, mut clients) = (Vec::new(), BTreeMap::<_, Vec<_>>::new());
    for role in roles {
        match role {
            RoleConfig::Realm(name) => realm.push(name.as_str()),
            RoleConfig::Client(client, name) => clients.entry(client.as_str()).or_default().push(name.as_str()),
        }
    }
    (realm, clients)
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
        let mappers: Vec<Value> = self.mappers.iter().map(Mapper::representation).collect();
        let pairwise = self.mappers.iter().any(|mapper| mapper.source == Source::PairwiseSubject);
        // Keycloak makes pairwise subjects for a host.
        let redirect = if pairwise { format!("https://{}.example.org/*", self.client_id()) } else { "*".to_owned() };
        let refresh = if self.exchange_refresh_tokens { "SAME_SESSION" } else { "NO" };
        json!({
            "clientId": self.client_id(),
            "secret": self.secret(),
            "enabled": self.enabled,
            "publicClient": false,
            "directAccessGrantsEnabled": self.direct_access_grants,
            "serviceAccountsEnabled": self.service_account != ServiceAccountConfig::None,
            "consentRequired": self.consent_required,
            "fullScopeAllowed": self.full_scope,
            "redirectUris": [redirect],
            "attributes": {
                "standard.token.exchange.enabled": self.standard_token_exchange.to_string(),
                "standard.token.exchange.enableRefreshRequestedTokenType": refresh,
                "client.use.lightweight.access.token.enabled": self.lightweight.to_string(),
            },
            "protocolMappers": mappers,
        })
    }

    fn service_account_representation(&self) -> Option<Value> {
        (self.service_account != ServiceAccountConfig::None).then(|| {
            let impersonates = self.service_account == ServiceAccountConfig::Impersonating;
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
    pub fn representation_in(&self, realm: &str) -> Value {
        let mut user = json!({
            "username": self.username(),
            "enabled": self.enabled,
            "email": format!("{}@example.org", self.username()),
            "emailVerified": true,
            "firstName": self.username(),
            "lastName": "Example",
            "credentials": [{"type": "password", "value": self.password(), "temporary": false}],
            "groups": self.groups.iter().map(|group| format!("/{group}")).collect::<Vec<_>>(),
        });
        if let Some(id) = &self.id {
            user["id"] = json!(id);
        }
        if !self.attributes.is_empty() {
            user["attributes"] = self.attributes.iter().map(|(name, value)| (name.clone(), json!([value]))).collect();
        }
        let default = self.default_roles.then(|| RoleConfig::realm(default_roles(realm)));
        with_roles(user, &self.roles.iter().cloned().chain(default).collect::<Vec<_>>())
    }
}

impl Mapper {
    fn representation(&self) -> Value {
        let mut config = json!({
            "access.token.claim": self.access_token.to_string(),
            "lightweight.claim": self.lightweight.to_string(),
            "introspection.token.claim": "true",
        });
        let mut from = |source: &str, claim: &str| {
            config["user.attribute"] = json!(source);
            config["claim.name"] = json!(claim);
            config["jsonType.label"] = json!("String");
            config["id.token.claim"] = json!("true");
        };
        let (name, kind) = match &self.source {
            Source::Property { property, claim } => {
                from(property, claim);
                (format!("{claim} from the property {property}"), "oidc-usermodel-property-mapper")
            }
            Source::Attribute { attribute, claim } => {
                from(attribute, claim);
                (claim.clone(), "oidc-usermodel-attribute-mapper")
            }
            Source::Subject => ("sub".to_owned(), "oidc-sub-mapper"),
            Source::PairwiseSubject => {
                config["pairwiseSubAlgorithmSalt"] = json!("the salt of a realm for tests");
                ("pairwise sub".to_owned(), "oidc-sha256-pairwise-sub-mapper")
            }
            Source::Audience(client) => {
                config["included.client.audience"] = json!(client);
                (format!("audience {client}"), "oidc-audience-mapper")
            }
        };
        json!({"name": name, "protocol": "openid-connect", "protocolMapper": kind, "config": config})
    }
}
