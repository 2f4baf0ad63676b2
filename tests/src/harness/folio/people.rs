//! What FOLIO's users can do to themselves, and what administrators give them.

use keycloak_double::RoleConfig;
use reqwest::Method;
use serde_json::{Value, json};

use super::{FolioRealm, representation};
use crate::harness::realm::{LabUser, Tokens};
use crate::harness::{Failure, Result};

/// How a user comes to a role of `realm-management`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holding {
    /// The role is the user's own.
    Direct,
    /// The user has a realm role that contains it.
    Composite,
    /// The user is in a group that has it.
    Group,
}

impl FolioRealm {
    /// One more user, with Keycloak's default roles and FOLIO's `adminRole`.
    pub async fn add_user(&self, username: &str) -> Result<LabUser> {
        let user = representation::user(self.name(), username);
        let id = self.admin().create_user(self.name(), &user).await?;
        self.admin().grant_role(self.name(), &id, &RoleConfig::realm(representation::ADMIN_ROLE)).await?;
        Ok(LabUser::from_representation(&user, id))
    }

    /// The user's own account as the account API shows it to the bearer of a token.
    pub async fn account(&self, tokens: &Tokens) -> Result<Value> {
        let answer = self.http().get(self.account_url()).bearer_auth(&tokens.access_token);
        let answer = answer.header("accept", "application/json").send().await?;
        Ok(answer.error_for_status()?.json().await?)
    }

    /// The user renames themselves in the account API (`editUsernameAllowed`).
    pub async fn rename_own(&self, tokens: &Tokens, username: &str) -> Result<()> {
        self.change_account(tokens, |account| account["username"] = json!(username)).await
    }

    /// The user writes an attribute of their own in the account API, such as `user_id` (unmanaged attributes).
    pub async fn set_own_attribute(&self, tokens: &Tokens, name: &str, value: &str) -> Result<()> {
        self.change_account(tokens, |account| account["attributes"][name] = json!([value])).await
    }

    async fn change_account(&self, tokens: &Tokens, change: impl FnOnce(&mut Value)) -> Result<()> {
        let mut account = self.account(tokens).await?;
        change(&mut account);
        let request = self.http().post(self.account_url()).bearer_auth(&tokens.access_token).json(&account);
        let answer = request.header("accept", "application/json").send().await?;
        if answer.status().is_success() {
            return Ok(());
        }
        Err(Failure::new(format!("the account API: {} {}", answer.status(), answer.text().await?)))
    }

    fn account_url(&self) -> String {
        format!("{}/account/?userProfileMetadata=false", self.issuer())
    }

    /// An administrator renames a user.
    pub async fn rename(&self, user: &LabUser, username: &str) -> Result<()> {
        self.admin().change_user(self.name(), &user.sub, |user| user["username"] = json!(username)).await
    }

    /// An administrator gives a user a role of `realm-management`.
    pub async fn grant_management(&self, user: &LabUser, role: &str, holding: Holding) -> Result<()> {
        let (admin, realm) = (self.admin(), self.name());
        let own = format!("{}-of-{}", role, user.username);
        let role = RoleConfig::management(role);
        let (of, granted) = admin.role(realm, &role).await?;
        let granted = json!([granted]);
        match holding {
            Holding::Direct => admin.grant_role(realm, &user.sub, &role).await?,
            Holding::Composite => {
                admin.call(Method::POST, &format!("/{realm}/roles"), Some(&json!({ "name": own }))).await?;
                admin.call(Method::POST, &format!("/{realm}/roles/{own}/composites"), Some(&granted)).await?;
                admin.grant_role(realm, &user.sub, &RoleConfig::realm(own)).await?;
            }
            Holding::Group => {
                admin.call(Method::POST, &format!("/{realm}/groups"), Some(&json!({ "name": own }))).await?;
                let groups = admin.call(Method::GET, &format!("/{realm}/groups?exact=true&search={own}"), None).await?;
                let group = groups[0]["id"].as_str().ok_or_else(|| Failure::new("the group is not there"))?;
                let path = format!("/{realm}/groups/{group}/role-mappings/{of}");
                admin.call(Method::POST, &path, Some(&granted)).await?;
                let path = format!("/{realm}/users/{}/groups/{group}", user.sub);
                admin.call(Method::PUT, &path, None).await?;
            }
        }
        Ok(())
    }
}
