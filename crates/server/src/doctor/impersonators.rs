//! Accepted clients that can get tokens of any user without that user: whoever holds such a client's secret can register for
//! everybody.

use serde_json::Value;
use tokenvault_keycloak::Unlearnt;

use super::Report;
use super::keycloak::Realm;
use super::view::{Client, View, elements, text};

/// FOLIO's client for schedulers and consortia.
const OF_FOLIO: &str = "impersonation-client";

/// Without an administrator's token: by the name alone.
pub(super) fn by_name(realm: &Realm<'_>, report: &mut Report) {
    for client in realm.tenant.accepted_clients.iter().filter(|client| client.as_str() == OF_FOLIO) {
        hazard(realm, client.as_str(), "is FOLIO's client for impersonation", report);
    }
}

/// By what the realm says.
pub(super) async fn examine(view: &View<'_>, clients: &[Client], report: &mut Report) {
    let (check, realm) = ("impersonating-client", view.realm);
    for client in clients {
        let name = client.name.as_str();
        match may_impersonate(view, client).await {
            Ok(Some(how)) => hazard(realm, name, how, report),
            Ok(None) if name == OF_FOLIO => hazard(realm, name, "is FOLIO's client for impersonation", report),
            Ok(None) => {
                report.fine(check, realm.name(), format!("{name} gets tokens only of users who log in with it"));
            }
            Err(error) => {
                let remedy = "see that its service account lacks the role realm-management/impersonation";
                report.unknown(check, realm.name(), format!("{name}: {error}"), remedy);
            }
        }
    }
}

fn hazard(realm: &Realm<'_>, client: &str, how: &str, report: &mut Report) {
    let check = "impersonating-client";
    report.hazard(
        check,
        realm.name(),
        format!("the accepted client {client} {how}: whoever holds its secret can register for any user"),
        format!("take it out of `accepted_clients`; where its jobs need the vault, keep its secret as the vault's own is kept, and run with --accept {check}"),
    );
}

/// How the client may impersonate users, if it may: by its service account's role, or by a fine-grained permission on users.
async fn may_impersonate(view: &View<'_>, client: &Client) -> Result<Option<&'static str>, Unlearnt> {
    let found = view.get("/clients?clientId=realm-management").await?;
    let management = text(&found[0]["id"]);
    if client.switch("serviceAccountsEnabled") == Some(true) {
        let account = view.get(&format!("/clients/{}/service-account-user", client.id)).await?;
        let account = text(&account["id"]);
        let path = format!("/users/{account}/role-mappings/clients/{management}/composite");
        if elements(&view.get(&path).await?).any(|role| role["name"] == "impersonation") {
            return Ok(Some("may impersonate users (realm-management/impersonation on its service account)"));
        }
    }
    let permitted = permitted(view, management).await?;
    Ok(permitted.contains(&client.id).then_some("may impersonate users (a permission on users names it)"))
}

/// The clients that fine-grained permissions let impersonate. Where the server has none of these, nobody.
async fn permitted(view: &View<'_>, management: &str) -> Result<Vec<String>, Unlearnt> {
    let permissions = match view.get("/users-management-permissions").await {
        Ok(permissions) => permissions,
        Err(Unlearnt::Refused { status: 404 | 501, .. }) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let Some(permission) = permissions["scopePermissions"]["impersonate"].as_str() else { return Ok(Vec::new()) };
    let server = format!("/clients/{management}/authz/resource-server");
    let policies: Value = view.get(&format!("{server}/policy/{permission}/associatedPolicies")).await?;
    let mut clients = Vec::new();
    for policy in elements(&policies).filter(|policy| policy["type"] == "client") {
        let policy = view.get(&format!("{server}/policy/client/{}", text(&policy["id"]))).await?;
        clients.extend(elements(&policy["clients"]).map(|id| text(id).to_owned()));
    }
    Ok(clients)
}
