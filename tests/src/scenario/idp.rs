//! One identity provider with one realm, and what an administrator can do to it: the stand-in by its Rust API, the real
//! one by its admin REST API.

use std::time::Duration;

use keycloak_double::{
    ClientConfig, Double, DoubleClock as _, DoubleConfig, DoubleManualClock, DoubleSigningKey, DoubleSystemClock,
    RealmConfig, RealmSettings, RoleConfig, ServiceAccountConfig,
};
use reqwest::Method;
use serde_json::{Value, json};

use super::VAULT;
use crate::harness::admin::Admin;
use crate::harness::keycloak::keycloak;
use crate::harness::{Failure, Result};

/// An identity provider and the scenario's realm in it.
pub struct Idp {
    side: Side,
    base_url: String,
    realm: RealmConfig,
}

enum Side {
    Real(Admin),
    Double(Box<Double>, DoubleManualClock),
}

impl Idp {
    /// The realm in a real Keycloak.
    pub async fn real(realm: &RealmConfig) -> Result<Self> {
        let keycloak = keycloak().await?;
        let admin = keycloak.admin();
        admin.create_realm(&realm.representation()).await?;
        Ok(Self { side: Side::Real(admin), base_url: keycloak.base_url().to_owned(), realm: realm.clone() })
    }

    /// The realm in a stand-in of its own, whose time stands still until the scenario moves it.
    pub async fn double(realm: &RealmConfig, key: DoubleSigningKey) -> Result<Self> {
        let clock = DoubleManualClock::new(DoubleSystemClock.now_ms());
        let config = DoubleConfig::new().clock(clock.clone()).realm(realm.clone().signing_key(key));
        let double = Double::start(config).await?;
        let base_url = double.base_url().to_owned();
        Ok(Self { side: Side::Double(Box::new(double), clock), base_url, realm: realm.clone() })
    }

    /// Whom a failure is about.
    pub fn name(&self) -> &'static str {
        match &self.side {
            Side::Real(_) => "Keycloak",
            Side::Double(..) => "the stand-in",
        }
    }

    /// Scheme, host and port.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// The realm's name.
    pub fn realm_name(&self) -> &str {
        self.realm.name()
    }

    /// The secret of a client of the realm; empty for one that is not there.
    pub fn secret(&self, client_id: &str) -> &str {
        self.client(client_id).map_or("", ClientConfig::secret)
    }

    fn client(&self, client_id: &str) -> Option<&ClientConfig> {
        self.realm.clients().iter().find(|c| c.client_id() == client_id)
    }

    /// Removes the realm.
    pub async fn clear(self) -> Result<()> {
        match self.side {
            Side::Real(admin) => admin.delete_realm(self.realm.name()).await,
            Side::Double(double, _) => {
                double.shutdown().await;
                Ok(())
            }
        }
    }

    /// Lets time pass. Only the real one has to wait for it.
    pub async fn advance(&self, by: Duration) {
        match &self.side {
            Side::Real(_) => tokio::time::sleep(by).await,
            Side::Double(_, clock) => clock.advance(by),
        }
    }

    /// Waits for the beginning of a second, so that the next few requests fall into one.
    pub async fn begin_second(&self) {
        if let Side::Real(_) = &self.side {
            let into_second = DoubleSystemClock.now_ms() % 1000;
            tokio::time::sleep(Duration::from_millis(1010 - into_second)).await;
        }
    }

    /// The provider's present second.
    pub fn second(&self) -> u64 {
        match &self.side {
            Side::Real(_) => DoubleSystemClock.now_ms() / 1000,
            Side::Double(_, clock) => clock.now_ms() / 1000,
        }
    }

    /// Changes the realm's settings.
    pub async fn change_settings(&mut self, change: impl Fn(&mut RealmSettings)) -> Result<()> {
        self.realm = self.realm.clone().with_settings(&change);
        match &self.side {
            Side::Real(admin) => admin.update_realm(self.realm.name(), &self.realm.settings().representation()).await,
            Side::Double(double, _) => {
                double.handle().with(|kc, _| kc.change_settings(self.realm.name(), &change))?;
                Ok(())
            }
        }
    }

    /// Changes a client.
    pub async fn change_client(
        &mut self,
        client_id: &str,
        change: impl Fn(ClientConfig) -> ClientConfig,
    ) -> Result<()> {
        self.realm = self.realm.clone().with_client(client_id, &change);
        match &self.side {
            Side::Real(admin) => {
                let client = self.client(client_id).ok_or_else(|| Failure::new("no such client"))?;
                let mut representation = client.representation();
                // Mappers are changed by calls of their own, and none of the scenarios changes any.
                representation.as_object_mut().and_then(|r| r.remove("protocolMappers"));
                admin.put_client(self.realm.name(), &representation).await
            }
            Side::Double(double, _) => {
                double.handle().with(|kc, _| kc.change_client(self.realm.name(), client_id, &change))?;
                Ok(())
            }
        }
    }

    /// Takes the impersonation role away from the vault's service account, or gives it back.
    pub async fn may_impersonate(&mut self, may: bool) -> Result<()> {
        let account = if may { ServiceAccountConfig::Impersonating } else { ServiceAccountConfig::Plain };
        match &self.side {
            Side::Real(admin) if may => admin.grant_impersonation(self.realm.name(), VAULT).await,
            Side::Real(admin) => admin.withdraw_impersonation(self.realm.name(), VAULT).await,
            Side::Double(..) => self.change_client(VAULT, |c| c.service_account(account)).await,
        }
    }

    /// Enters a role into the scope of a client that has no full one.
    pub async fn map_scope(&mut self, client_id: &str, role: &RoleConfig) -> Result<()> {
        match &self.side {
            Side::Real(admin) => admin.map_scope(self.realm.name(), client_id, role).await,
            Side::Double(..) => self.change_client(client_id, |c| c.scope_mapping(role.clone())).await,
        }
    }

    /// Gives a user a role.
    pub async fn grant(&self, username: &str, role: &RoleConfig) -> Result<()> {
        let realm = self.realm.name();
        match &self.side {
            Side::Real(admin) => admin.grant_role(realm, &admin.user_id(realm, username).await?, role).await,
            Side::Double(double, _) => {
                Ok(double.handle().with(|kc, _| kc.grant_role(realm, username, role.clone()))?)
            }
        }
    }

    /// Gives a user another name.
    pub async fn rename(&self, username: &str, name: &str) -> Result<()> {
        let realm = self.realm.name();
        match &self.side {
            Side::Real(admin) => {
                let id = admin.user_id(realm, username).await?;
                admin.change_user(realm, &id, |user| user["username"] = json!(name)).await
            }
            Side::Double(double, _) => Ok(double.handle().with(|kc, _| kc.rename_user(realm, username, name))?),
        }
    }

    /// Writes an attribute of a user's.
    pub async fn set_attribute(&self, username: &str, name: &str, value: &str) -> Result<()> {
        let realm = self.realm.name();
        match &self.side {
            Side::Real(admin) => {
                let id = admin.user_id(realm, username).await?;
                admin.change_user(realm, &id, |user| user["attributes"][name] = json!([value])).await
            }
            Side::Double(double, _) => {
                Ok(double.handle().with(|kc, _| kc.set_attribute(realm, username, name, value))?)
            }
        }
    }

    /// Enables or disables a user.
    pub async fn enable_user(&self, username: &str, enabled: bool) -> Result<()> {
        let realm = self.realm.name();
        match &self.side {
            Side::Real(admin) => admin.enable_user(realm, &admin.user_id(realm, username).await?, enabled).await,
            Side::Double(double, _) => {
                Ok(double.handle().with(|kc, _| kc.set_user_enabled(realm, username, enabled))?)
            }
        }
    }

    /// Deletes a user.
    pub async fn delete_user(&self, username: &str) -> Result<()> {
        let realm = self.realm.name();
        match &self.side {
            Side::Real(admin) => admin.delete_user(realm, &admin.user_id(realm, username).await?).await,
            Side::Double(double, _) => Ok(double.handle().with(|kc, _| kc.delete_user(realm, username))?),
        }
    }

    /// Logs a user out everywhere.
    pub async fn logout_user(&self, username: &str) -> Result<()> {
        let realm = self.realm.name();
        match &self.side {
            Side::Real(admin) => admin.logout_user(realm, &admin.user_id(realm, username).await?).await,
            Side::Double(double, _) => Ok(double.handle().with(|kc, now| kc.logout_user(realm, username, now))?),
        }
    }

    /// Ends one session.
    pub async fn delete_session(&self, sid: &str) -> Result<()> {
        let realm = self.realm.name();
        match &self.side {
            Side::Real(admin) => admin.delete_session(realm, sid).await,
            Side::Double(double, _) => Ok(double.handle().with(|kc, _| kc.delete_session(realm, sid))?),
        }
    }

    /// The clients in each of a user's online sessions, sorted.
    pub async fn sessions(&self, username: &str) -> Result<Vec<Vec<String>>> {
        let realm = self.realm.name();
        let mut sessions: Vec<Vec<String>> = match &self.side {
            Side::Real(admin) => {
                let sessions = admin.sessions(realm, &admin.user_id(realm, username).await?).await?;
                sessions.iter().map(|s| names(&s["clients"])).collect()
            }
            Side::Double(double, _) => {
                let sessions = double.handle().with(|kc, now| kc.live_sessions(realm, username, now))?;
                sessions.into_iter().filter(|s| !s.offline).map(|s| s.clients).collect()
            }
        };
        for clients in &mut sessions {
            clients.sort();
        }
        sessions.sort();
        Ok(sessions)
    }

    /// Declares tokens from before a second stale.
    pub async fn push_not_before(&self, second: u64) -> Result<()> {
        let realm = self.realm.name();
        match &self.side {
            Side::Real(admin) => admin.push_not_before(realm, second).await,
            Side::Double(double, _) => Ok(double.handle().with(|kc, _| kc.push_not_before(realm, second))?),
        }
    }

    /// Signs with a new key from now on, and keeps the old ones for verifying.
    pub async fn rotate_key(&self) -> Result<()> {
        let realm = self.realm.name();
        match &self.side {
            Side::Real(admin) => {
                let id = admin.call(Method::GET, &format!("/{realm}"), None).await?["id"].clone();
                let key = json!({
                    "name": "newer",
                    "providerId": "rsa-generated",
                    "providerType": KEY_PROVIDER,
                    "parentId": id,
                    "config": {"priority": ["200"], "algorithm": ["RS256"], "keySize": ["2048"]},
                });
                admin.call(Method::POST, &format!("/{realm}/components"), Some(&key)).await.map(drop)
            }
            Side::Double(double, _) => {
                let key = DoubleSigningKey::generate().map_err(|_| Failure::new("no key could be made"))?;
                Ok(double.handle().with(|kc, _| kc.rotate_signing_key(realm, key))?)
            }
        }
    }

    /// Removes the signing keys from before [`Idp::rotate_key`].
    pub async fn remove_old_keys(&self) -> Result<()> {
        let realm = self.realm.name();
        match &self.side {
            Side::Real(admin) => {
                let path = format!("/{realm}/components?type={KEY_PROVIDER}");
                let components = admin.call(Method::GET, &path, None).await?;
                let old = components.as_array().into_iter().flatten().filter(|c| c["name"] == "rsa-generated");
                for component in old {
                    let path = format!("/{realm}/components/{}", component["id"].as_str().unwrap_or_default());
                    admin.call(Method::DELETE, &path, None).await?;
                }
                Ok(())
            }
            Side::Double(double, _) => Ok(double.handle().with(|kc, _| kc.remove_old_signing_keys(realm))?),
        }
    }
}

const KEY_PROVIDER: &str = "org.keycloak.keys.KeyProvider";

fn names(clients: &Value) -> Vec<String> {
    clients.as_object().into_iter().flatten().filter_map(|(_, name)| name.as_str().map(str::to_owned)).collect()
}
