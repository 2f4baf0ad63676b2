//! The state machine: realms in, requests in, answers out. It has no clock, no network and no chance of its own: the
//! time comes with each request and the entropy with the machine, so a simulation can run it and repeat it.

use std::collections::BTreeMap;

use crate::admin::AdminError;
use crate::answer::{Answer, RefusedRequest, Request};
use crate::config::{ClientConfig, Features, RealmConfig, RoleConfig, Roles, ServiceAccountConfig, UserConfig};
use crate::entropy::{DoubleEntropy, uuid};
use crate::issue::Issuer;
use crate::journal::RequestJournal;
use crate::keys::{DoubleSigningKey, RealmSecret};
use crate::state::{Realm, User};
use crate::{discovery, grants, introspection, logout, revocation};

/// How often expired sessions are forgotten.
const SWEEP_EVERY_MS: u64 = 60_000;

/// A Keycloak without a network.
pub struct Keycloak {
    base_url: String,
    pub(crate) features: Features,
    pub(crate) entropy: Box<dyn DoubleEntropy>,
    pub(crate) realms: BTreeMap<String, Realm>,
    journal: RequestJournal,
    swept_ms: u64,
}

impl std::fmt::Debug for Keycloak {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keycloak")
            .field("base_url", &self.base_url)
            .field("realms", &self.realms.keys())
            .finish_non_exhaustive()
    }
}

impl Keycloak {
    /// A server without realms. `base_url` (no slash at the end) is what issuers begin with.
    pub fn new(base_url: impl Into<String>, features: Features, entropy: impl DoubleEntropy) -> Self {
        Self {
            base_url: base_url.into(),
            features,
            entropy: Box::new(entropy),
            realms: BTreeMap::new(),
            journal: RequestJournal::default(),
            swept_ms: 0,
        }
    }

    /// Creates a realm. Without a key of its own it makes one, which takes a moment.
    pub fn add_realm(&mut self, config: RealmConfig) -> Result<(), AdminError> {
        let key = match config.key {
            Some(key) => key,
            None => DoubleSigningKey::generate().map_err(|_| AdminError::NoKey)?,
        };
        if self.realms.contains_key(&config.name) {
            return Err(AdminError::RealmExists(config.name));
        }
        let entropy = &mut *self.entropy;
        let mut realm = Realm {
            issuer: format!("{}/realms/{}", self.base_url, config.name),
            settings: config.settings,
            keys: vec![key],
            secret: RealmSecret::new(entropy),
            roles: Roles { realm: config.name.clone(), composites: config.roles, groups: config.groups },
            users_edit_themselves: config.users_edit_themselves,
            clients: BTreeMap::new(),
            users: BTreeMap::new(),
            sessions: BTreeMap::new(),
            revoked: BTreeMap::new(),
            not_before: 0,
        };
        for client in config.clients {
            insert_client(&mut realm, client, entropy);
        }
        for user in config.users {
            insert_user(&mut realm, user, None, entropy);
        }
        self.realms.insert(config.name, realm);
        Ok(())
    }

    /// Answers one request at one moment. Requests must come in the order of their moments.
    pub fn handle(&mut self, now_ms: u64, request: &Request) -> Answer {
        self.journal.note(request);
        self.sweep(now_ms);
        let Some((realm, endpoint)) = route(&request.path) else { return not_found() };
        let features = self.features;
        let Some(realm) = self.realms.get_mut(realm) else {
            return Answer::json(404, &serde_json::json!({"error": "Realm does not exist"}));
        };
        let expected = if matches!(endpoint, "certs" | WELL_KNOWN) { "GET" } else { "POST" };
        let answer = match endpoint {
            "token" | "token/introspect" | "revoke" | "logout" | "certs" | WELL_KNOWN if request.method != expected => {
                return Answer::json(405, &serde_json::json!({"error": "HTTP 405 Method Not Allowed"}));
            }
            "certs" => Ok(discovery::certs(realm)),
            WELL_KNOWN => Ok(discovery::configuration(realm)),
            "token" => {
                let mut issuer = Issuer { realm, entropy: &mut *self.entropy, now_ms };
                grants::token(&mut issuer, features, request)
            }
            "token/introspect" => introspection::introspect(realm, features, request, now_ms),
            "revoke" => revocation::revoke(realm, features, request, now_ms),
            "logout" => logout::logout(realm, request),
            _ => return not_found(),
        };
        answer.unwrap_or_else(RefusedRequest::into)
    }

    /// What was asked so far.
    pub fn journal(&self) -> &RequestJournal {
        &self.journal
    }

    /// What issuers begin with.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    fn sweep(&mut self, now_ms: u64) {
        if now_ms.saturating_sub(self.swept_ms) >= SWEEP_EVERY_MS {
            self.swept_ms = now_ms;
            self.realms.values_mut().for_each(|r| r.sweep(now_ms));
        }
    }
}

/// Enters a client, with the user behind its service account if it has one.
pub(crate) fn insert_client(realm: &mut Realm, client: ClientConfig, entropy: &mut dyn DoubleEntropy) {
    let roles = match client.service_account {
        ServiceAccountConfig::None => None,
        ServiceAccountConfig::Plain => Some(Vec::new()),
        ServiceAccountConfig::Impersonating => Some(vec![RoleConfig::management("impersonation")]),
    };
    let present = realm.users.values_mut().find(|u| u.service_account_of.as_ref() == Some(&client.client_id));
    match (roles, present) {
        (None, _) => realm.users.retain(|_, u| u.service_account_of.as_ref() != Some(&client.client_id)),
        (Some(roles), Some(account)) => account.config.roles = roles,
        (Some(roles), None) => {
            let mut account = UserConfig::new(format!("service-account-{}", client.client_id), "").without_roles();
            account.roles = roles;
            insert_user(realm, account, Some(client.client_id.clone()), entropy);
        }
    }
    realm.clients.insert(client.client_id.clone(), client);
}

/// Enters a user, under the id that was asked for or under a random one.
pub(crate) fn insert_user(
    realm: &mut Realm,
    config: UserConfig,
    service_account_of: Option<String>,
    entropy: &mut dyn DoubleEntropy,
) {
    let id = config.id.clone().unwrap_or_else(|| uuid(entropy));
    let born_as = config.username.clone();
    let user = User { id: id.clone(), born_as, config, service_account_of, not_before: 0 };
    realm.users.insert(id, user);
}

const WELL_KNOWN: &str = ".well-known/openid-configuration";

/// Splits `/realms/{realm}/…` into the realm and what is wanted of it.
fn route(path: &str) -> Option<(&str, &str)> {
    let (realm, rest) = path.strip_prefix("/realms/")?.split_once('/')?;
    Some((realm, rest.strip_prefix("protocol/openid-connect/").unwrap_or(rest)))
}

fn not_found() -> Answer {
    Answer::json(404, &serde_json::json!({"error": "HTTP 404 Not Found"}))
}
