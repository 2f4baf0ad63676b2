//! A user: name, password, attributes, roles.

use std::collections::BTreeMap;

use super::{HiddenSecret, RoleConfig};

/// A user.
#[derive(Debug, Clone)]
pub struct UserConfig {
    pub(crate) username: String,
    pub(crate) password: HiddenSecret,
    pub(crate) id: Option<String>,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) enabled: bool,
    pub(crate) default_roles: bool,
    pub(crate) roles: Vec<RoleConfig>,
    pub(crate) groups: Vec<String>,
}

impl UserConfig {
    /// A user who can log in, with the role `offline_access` alone.
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            username: username.into(),
            password: HiddenSecret(password.into()),
            id: None,
            attributes: BTreeMap::new(),
            enabled: true,
            default_roles: false,
            roles: vec![RoleConfig::realm("offline_access")],
            groups: Vec::new(),
        }
    }

    /// The name the user logs in with.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// The password the user logs in with.
    pub fn password(&self) -> &str {
        &self.password.0
    }

    /// The attribute `user_id`, if set.
    pub fn user_id_value(&self) -> Option<&str> {
        self.attributes.get("user_id").map(String::as_str)
    }

    /// Keycloak's own id of the user; a random UUID if not said.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// The attribute `user_id`: a FOLIO UUID beside Keycloak's own.
    #[must_use]
    pub fn user_id(self, id: impl Into<String>) -> Self {
        self.attribute("user_id", id)
    }

    /// Any attribute.
    #[must_use]
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.insert(name.into(), value.into());
        self
    }

    /// Switches the user on or off.
    #[must_use]
    pub fn enabled(mut self, yes: bool) -> Self {
        self.enabled = yes;
        self
    }

    /// No role at all.
    #[must_use]
    pub fn without_roles(mut self) -> Self {
        self.default_roles = false;
        self.roles.clear();
        self
    }

    /// The roles that Keycloak gives to every user it makes itself (`default-roles-<realm>`).
    #[must_use]
    pub fn default_roles(mut self) -> Self {
        self.default_roles = true;
        self
    }

    /// One more role.
    #[must_use]
    pub fn role(mut self, role: RoleConfig) -> Self {
        self.roles.push(role);
        self
    }

    /// In a group, with its roles.
    #[must_use]
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.groups.push(group.into());
        self
    }

    /// The user holds a role of `realm-management` (`manage-users`), which shows in `resource_access`.
    #[must_use]
    pub fn realm_management(self) -> Self {
        self.role(RoleConfig::management("manage-users"))
    }
}
