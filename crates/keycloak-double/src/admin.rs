//! What an administrator does: the acts of Keycloak's admin API that end or change sessions, as plain calls.

use crate::config::{ClientConfig, RealmConfig, RealmSettings, RoleConfig, UserConfig};
use crate::keys::{DoubleSigningKey, RealmSecret};
use crate::machine::{Keycloak, insert_client, insert_user};
use crate::state::{Realm, UserSessionKey};

/// An act on something that is not there.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AdminError {
    /// No realm of that name.
    #[error("no realm {0}")]
    UnknownRealm(String),
    /// A realm of that name is there already.
    #[error("realm {0} is there already")]
    RealmExists(String),
    /// A user of that name is there already.
    #[error("user {0} is there already")]
    UserExists(String),
    /// No user of that name.
    #[error("no user {0}")]
    UnknownUser(String),
    /// No client of that id.
    #[error("no client {0}")]
    UnknownClient(String),
    /// No session of that id.
    #[error("no such session")]
    UnknownSession,
    /// The system gave no randomness for a key.
    #[error("no signing key could be made")]
    NoKey,
}

/// A user session as an administrator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionInfo {
    /// Its id, the tokens' `sid`.
    pub sid: String,
    /// Whether it lives on without a login.
    pub offline: bool,
    /// The clients that have a part in it.
    pub clients: Vec<String>,
}

impl Keycloak {
    /// Deletes a realm with everything in it.
    pub fn remove_realm(&mut self, realm: &str) -> Result<(), AdminError> {
        self.realms.remove(realm).map(drop).ok_or_else(|| AdminError::UnknownRealm(realm.to_owned()))
    }

    /// Replaces a realm by a new one of the same name, or creates it.
    pub fn reset_realm(&mut self, config: RealmConfig) -> Result<(), AdminError> {
        self.realms.remove(config.name());
        self.add_realm(config)
    }

    /// Changes a realm's settings; sessions that run are measured by the new ones at once.
    pub fn change_settings(&mut self, realm: &str, change: impl FnOnce(&mut RealmSettings)) -> Result<(), AdminError> {
        change(&mut self.realm(realm)?.settings);
        Ok(())
    }

    /// Changes a client.
    pub fn change_client(
        &mut self,
        realm: &str,
        client_id: &str,
        change: impl FnOnce(ClientConfig) -> ClientConfig,
    ) -> Result<(), AdminError> {
        let unknown = || AdminError::UnknownRealm(realm.to_owned());
        let realm = self.realms.get_mut(realm).ok_or_else(unknown)?;
        let client = realm.clients.remove(client_id).ok_or_else(|| AdminError::UnknownClient(client_id.to_owned()))?;
        insert_client(realm, change(client), &mut *self.entropy);
        Ok(())
    }

    /// Adds a user.
    pub fn add_user(&mut self, realm: &str, user: UserConfig) -> Result<(), AdminError> {
        let unknown = || AdminError::UnknownRealm(realm.to_owned());
        let realm = self.realms.get_mut(realm).ok_or_else(unknown)?;
        insert_user(realm, user, None, &mut *self.entropy);
        Ok(())
    }

    /// Keycloak's own id of a user.
    pub fn user_id(&self, realm: &str, username: &str) -> Result<String, AdminError> {
        let realm = self.realms.get(realm).ok_or_else(|| AdminError::UnknownRealm(realm.to_owned()))?;
        let user = realm.user_by_name(username).ok_or_else(|| AdminError::UnknownUser(username.to_owned()))?;
        Ok(user.id.clone())
    }

    /// Gives a user another name; sessions stay as they are. As in Keycloak, nothing happens in a realm that does not allow
    /// it.
    pub fn rename_user(&mut self, realm: &str, username: &str, name: &str) -> Result<(), AdminError> {
        let id = self.user_id(realm, username)?;
        let realm = self.realm(realm)?;
        if realm.user_by_name(name).is_some_and(|u| u.id != id) {
            return Err(AdminError::UserExists(name.to_owned()));
        }
        if let (true, Some(user)) = (realm.users_edit_themselves, realm.users.get_mut(&id)) {
            name.clone_into(&mut user.config.username);
        }
        Ok(())
    }

    /// Writes an attribute of a user's.
    pub fn set_attribute(&mut self, realm: &str, username: &str, name: &str, value: &str) -> Result<(), AdminError> {
        let id = self.user_id(realm, username)?;
        if let Some(user) = self.realm(realm)?.users.get_mut(&id) {
            user.config.attributes.insert(name.to_owned(), value.to_owned());
        }
        Ok(())
    }

    /// Gives a user a role.
    pub fn grant_role(&mut self, realm: &str, username: &str, role: RoleConfig) -> Result<(), AdminError> {
        let id = self.user_id(realm, username)?;
        if let Some(user) = self.realm(realm)?.users.get_mut(&id) {
            user.config.roles.push(role);
        }
        Ok(())
    }

    /// Enables or disables a user; sessions stay as they are.
    pub fn set_user_enabled(&mut self, realm: &str, username: &str, enabled: bool) -> Result<(), AdminError> {
        let id = self.user_id(realm, username)?;
        if let Some(user) = self.realm(realm)?.users.get_mut(&id) {
            user.config.enabled = enabled;
        }
        Ok(())
    }

    /// Deletes a user and all of the user's sessions.
    pub fn delete_user(&mut self, realm: &str, username: &str) -> Result<(), AdminError> {
        let id = self.user_id(realm, username)?;
        let realm = self.realm(realm)?;
        realm.users.remove(&id);
        realm.sessions.retain(|_, s| s.user != id);
        Ok(())
    }

    /// Logs a user out everywhere: online sessions end, and tokens from before this second are stale, offline ones
    /// included.
    pub fn logout_user(&mut self, realm: &str, username: &str, now_ms: u64) -> Result<(), AdminError> {
        let id = self.user_id(realm, username)?;
        let realm = self.realm(realm)?;
        realm.sessions.retain(|key, s| key.offline || s.user != id);
        if let Some(user) = realm.users.get_mut(&id) {
            user.not_before = now_ms / 1000;
        }
        Ok(())
    }

    /// Declares tokens from before a second stale, in the whole realm. Sessions stay.
    pub fn push_not_before(&mut self, realm: &str, second: u64) -> Result<(), AdminError> {
        self.realm(realm)?.not_before = second;
        Ok(())
    }

    /// Signs with a new key from now on; the earlier ones still verify.
    pub fn rotate_signing_key(&mut self, realm: &str, key: DoubleSigningKey) -> Result<(), AdminError> {
        self.realm(realm)?.keys.insert(0, key);
        Ok(())
    }

    /// Forgets every key but the one that signs: access tokens of the others are invalid at once.
    pub fn remove_old_signing_keys(&mut self, realm: &str) -> Result<(), AdminError> {
        self.realm(realm)?.keys.truncate(1);
        Ok(())
    }

    /// Deletes the key that refresh tokens are signed with; a new one takes its place. Access tokens stay as good as they were.
    pub fn replace_secret(&mut self, realm: &str) -> Result<(), AdminError> {
        let secret = RealmSecret::new(&mut *self.entropy);
        self.realm(realm)?.secret = secret;
        Ok(())
    }

    /// Ends one user session.
    pub fn delete_session(&mut self, realm: &str, sid: &str) -> Result<(), AdminError> {
        let sessions = &mut self.realm(realm)?.sessions;
        sessions.remove(&UserSessionKey::online(sid)).map(drop).ok_or(AdminError::UnknownSession)
    }

    /// A user's sessions, those included that have timed out but were not asked for since.
    pub fn sessions(&self, realm: &str, username: &str) -> Result<Vec<SessionInfo>, AdminError> {
        let id = self.user_id(realm, username)?;
        let Some(realm) = self.realms.get(realm) else { return Ok(Vec::new()) };
        let own = realm.sessions.values().filter(|s| s.user == id);
        Ok(own
            .map(|s| SessionInfo {
                sid: s.key.sid.clone(),
                offline: s.key.offline,
                clients: s.clients.keys().cloned().collect(),
            })
            .collect())
    }

    /// A user's sessions that are still alive at a moment.
    pub fn live_sessions(&mut self, realm: &str, username: &str, now_ms: u64) -> Result<Vec<SessionInfo>, AdminError> {
        self.realm(realm)?.sweep(now_ms);
        self.sessions(realm, username)
    }

    fn realm(&mut self, name: &str) -> Result<&mut Realm, AdminError> {
        self.realms.get_mut(name).ok_or_else(|| AdminError::UnknownRealm(name.to_owned()))
    }
}
