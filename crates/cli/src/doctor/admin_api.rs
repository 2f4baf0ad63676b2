//! Keycloak's admin API, asked with an administrator's token. It reads and changes nothing.

use serde_json::Value;
use tokenvault_core::secret::AccessToken;
use tokenvault_keycloak::{InspectionFailed, percent_encoded};

use super::json::{elements, text};
use super::realm::ExaminedRealm;
use super::realm_client::RealmClient;

/// An administrator's look at a realm.
pub(super) struct AdminApi<'a> {
    pub(super) realm: &'a ExaminedRealm<'a>,
    pub(super) administrator: &'a AccessToken,
}

impl AdminApi<'_> {
    /// A resource of the realm; `path` begins with a slash or is empty.
    pub(super) async fn get(&self, path: &str) -> Result<Value, InspectionFailed> {
        self.realm.inspector.admin(self.administrator, path).await
    }

    /// A client by its name; `None` where none is shown.
    pub(super) async fn client(&self, name: &str) -> Result<Option<RealmClient>, InspectionFailed> {
        let found = self.get(&format!("/clients?clientId={}", percent_encoded(name))).await?;
        let Some(settings) = elements(&found).find(|client| client["clientId"] == name) else { return Ok(None) };
        let id = text(&settings["id"]).to_owned();
        let effective = self.get(&format!("/clients/{id}/evaluate-scopes/protocol-mappers?scope=openid")).await?;
        let scopes = self.get("/client-scopes").await?;
        let owners = std::iter::once(settings).chain(elements(&scopes));
        let mappers = owners.flat_map(|owner| elements(&owner["protocolMappers"]));
        let in_effect = |mapper: &&Value| elements(&effective).any(|known| known["mapperId"] == mapper["id"]);
        let mappers = mappers.filter(in_effect).cloned().collect();
        Ok(Some(RealmClient::new(id, name, settings.clone(), mappers)))
    }
}
