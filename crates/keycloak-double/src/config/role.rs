//! Roles, what they contain, and which of them a client gets to see.

use std::collections::{BTreeMap, BTreeSet};

use super::{ClientConfig, UserConfig};

/// The client whose roles let their holders govern the realm.
const MANAGEMENT: &str = "realm-management";
/// The client of the users' own accounts.
const ACCOUNT: &str = "account";

/// A role of the realm or of a client.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RoleConfig {
    /// A realm role by its name.
    Realm(String),
    /// A client's id and its role's name.
    Client(String, String),
}

impl RoleConfig {
    /// A realm role.
    pub fn realm(name: impl Into<String>) -> Self {
        Self::Realm(name.into())
    }

    /// A role of a client.
    pub fn client(client: impl Into<String>, name: impl Into<String>) -> Self {
        Self::Client(client.into(), name.into())
    }

    /// A role of `realm-management`.
    pub fn management(name: impl Into<String>) -> Self {
        Self::client(MANAGEMENT, name)
    }
}

/// A realm's roles and groups.
#[derive(Debug, Clone, Default)]
pub(crate) struct Roles {
    /// The realm's name, for the name of its default role.
    pub(crate) realm: String,
    /// Realm roles and what they contain.
    pub(crate) composites: BTreeMap<String, Vec<RoleConfig>>,
    /// Groups and their roles.
    pub(crate) groups: BTreeMap<String, Vec<RoleConfig>>,
}

impl Roles {
    /// Everything a user holds in whatever way.
    pub(crate) fn effective(&self, user: &UserConfig) -> BTreeSet<RoleConfig> {
        let default = user.default_roles.then(|| RoleConfig::Realm(default_roles(&self.realm)));
        let grouped = user.groups.iter().filter_map(|group| self.groups.get(group)).flatten();
        self.closure(user.roles.iter().chain(grouped).cloned().chain(default))
    }

    /// What a client gets to see of a user's roles.
    pub(crate) fn seen_by(&self, client: &ClientConfig, user: &UserConfig) -> BTreeSet<RoleConfig> {
        let mut held = self.effective(user);
        if !client.full_scope {
            let scope = self.closure(client.scope_mappings.iter().cloned());
            held.retain(|role| {
                scope.contains(role) || matches!(role, RoleConfig::Client(id, _) if *id == client.client_id)
            });
        }
        held
    }

    /// The roles with all that they contain.
    fn closure(&self, roles: impl Iterator<Item = RoleConfig>) -> BTreeSet<RoleConfig> {
        let (mut found, mut open) = (BTreeSet::new(), roles.collect::<Vec<_>>());
        while let Some(role) = open.pop() {
            if found.insert(role.clone()) {
                open.extend(self.contained(&role));
            }
        }
        found
    }

    fn contained(&self, role: &RoleConfig) -> Vec<RoleConfig> {
        match role {
            RoleConfig::Realm(name) if *name == default_roles(&self.realm) => vec![
                RoleConfig::realm("offline_access"),
                RoleConfig::realm("uma_authorization"),
                RoleConfig::client(ACCOUNT, "view-profile"),
                RoleConfig::client(ACCOUNT, "manage-account"),
            ],
            RoleConfig::Realm(name) => self.composites.get(name).cloned().unwrap_or_default(),
            RoleConfig::Client(client, name) if client == ACCOUNT && name == "manage-account" => {
                vec![RoleConfig::client(ACCOUNT, "manage-account-links")]
            }
            RoleConfig::Client(client, name) if client == MANAGEMENT => {
                management_composites(name).iter().map(|name| RoleConfig::management(*name)).collect()
            }
            RoleConfig::Client(..) => Vec::new(),
        }
    }
}

/// The name of the role that holds a realm's default roles.
pub(crate) fn default_roles(realm: &str) -> String {
    format!("default-roles-{}", realm.to_lowercase())
}

/// What a role of `realm-management` contains from the beginning.
fn management_composites(name: &str) -> &'static [&'static str] {
    match name {
        "view-users" => &["query-users", "query-groups"],
        "view-clients" => &["query-clients"],
        "view-organizations" => &["query-organizations"],
        "realm-admin" => &[
            "create-client",
            "impersonation",
            "manage-authorization",
            "manage-clients",
            "manage-events",
            "manage-identity-providers",
            "manage-organizations",
            "manage-realm",
            "manage-users",
            "query-clients",
            "query-groups",
            "query-organizations",
            "query-realms",
            "query-users",
            "view-authorization",
            "view-clients",
            "view-events",
            "view-identity-providers",
            "view-organizations",
            "view-realm",
            "view-users",
        ],
        _ => &[],
    }
}
