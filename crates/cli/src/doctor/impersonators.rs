//! Accepted clients that can get tokens of any user without that user: whoever holds such a client's secret can register for
//! everybody.

use serde_json::Value;
use tokenvault_core::ids::ClientId;
use tokenvault_keycloak::Unlearnt;

use super::Report;
use super::keycloak::Realm;
use super::view::{Client, View, elements, text};

const CHECK: &str = "impersonating-client";
/// FOLIO's client for schedulers and consortia.
const OF_FOLIO: &str = "impersonation-client";
/// Permissions of the second version of fine-grained permissions that are looked at.
const PERMISSIONS: usize = 100;

/// Without an administrator's token: by the name alone. `(why, remedy)` is said of all others.
pub(super) fn by_name(realm: &Realm<'_>, (why, remedy): (&str, &str), report: &mut Report) {
    let accepted = realm.tenant.accepted_clients.iter().map(ClientId::as_str);
    let (folios, others): (Vec<_>, Vec<_>) = accepted.partition(|name| *name == OF_FOLIO);
    for name in folios {
        hazard(realm, name, "is FOLIO's client for impersonation", report);
    }
    if !others.is_empty() {
        report.unknown(CHECK, realm.name(), format!("{}: {why}", others.join(", ")), remedy);
    }
}

/// By what the realm says.
pub(super) async fn examine(view: &View<'_>, settings: &Value, clients: &[Client], report: &mut Report) {
    let realm = view.realm;
    let rules = rules(view, settings).await;
    for client in clients {
        let name = client.name.as_str();
        let found = match (by_role(view, client).await, &rules) {
            (Ok(true), _) => Ok(Grant::Role),
            (Ok(false), Ok(rules)) => Ok(rules.judge(client)),
            (Err(error), _) => Err(error.to_string()),
            (_, Err(error)) => Err(error.to_string()),
        };
        match found {
            Ok(Grant::Role) => {
                let how = "may impersonate users (realm-management/impersonation on its service account)";
                hazard(realm, name, how, report);
            }
            Ok(Grant::Permission) => {
                hazard(realm, name, "may impersonate users (a permission on users names it)", report);
            }
            Ok(_) | Err(_) if name == OF_FOLIO => hazard(realm, name, "is FOLIO's client for impersonation", report),
            Ok(Grant::Nothing) => {
                report.fine(CHECK, realm.name(), format!("{name} gets tokens only of users who log in with it"));
            }
            Ok(Grant::Unknown(rule)) => {
                let finding =
                    format!("{name}: whether it may impersonate users depends on {rule}, which is not judged");
                let remedy = "see in Keycloak's admin console, under permissions, that neither the client nor its service account may impersonate";
                report.unknown(CHECK, realm.name(), finding, remedy);
            }
            Err(error) => {
                let remedy = "see that its service account lacks the role realm-management/impersonation, and that no permission on users is for it";
                report.unknown(CHECK, realm.name(), format!("{name}: {error}"), remedy);
            }
        }
    }
}

fn hazard(realm: &Realm<'_>, client: &str, how: &str, report: &mut Report) {
    report.hazard(
        CHECK,
        realm.name(),
        format!("the accepted client {client} {how}: whoever holds its secret can register for any user"),
        format!("take it out of `accepted_clients`; where its jobs need the vault, keep its secret as the vault's own is kept, and run with --accept {CHECK}"),
    );
}

/// How a client may impersonate users.
#[derive(Debug, PartialEq, Eq)]
enum Grant {
    /// By its service account's role.
    Role,
    /// By a fine-grained permission on users.
    Permission,
    /// Not at all.
    Nothing,
    /// By a rule of this kind, or not.
    Unknown(String),
}

async fn by_role(view: &View<'_>, client: &Client) -> Result<bool, Unlearnt> {
    if client.switch("serviceAccountsEnabled") != Some(true) {
        return Ok(false);
    }
    let management = management(view).await?;
    let account = view.get(&format!("/clients/{}/service-account-user", client.id)).await?;
    let path = format!("/users/{}/role-mappings/clients/{management}/composite", text(&account["id"]));
    Ok(elements(&view.get(&path).await?).any(|role| role["name"] == "impersonation"))
}

async fn management(view: &View<'_>) -> Result<String, Unlearnt> {
    let found = view.get("/clients?clientId=realm-management").await?;
    Ok(text(&found[0]["id"]).to_owned())
}

/// Who may impersonate by fine-grained permissions, as far as it is cheap to know.
#[derive(Debug, Default, PartialEq, Eq)]
struct Rules {
    /// Clients that are named, by Keycloak's ids.
    clients: Vec<String>,
    /// Rules about something else: roles, groups and users, of which a service account may be one, or time.
    others: Vec<String>,
}

impl Rules {
    fn judge(&self, client: &Client) -> Grant {
        if self.clients.contains(&client.id) {
            Grant::Permission
        } else if self.others.is_empty() {
            Grant::Nothing
        } else {
            Grant::Unknown(self.others.join(", "))
        }
    }

    /// Takes in a policy of the permission on users; `clients` are those that one of the type `client` names.
    fn add(&mut self, policy: &Value, clients: &Value) {
        if policy["type"] == "client" && policy["logic"] != "NEGATIVE" {
            self.clients.extend(elements(clients).map(|id| text(id).to_owned()));
        } else {
            self.others.push(format!("the policy {} (of the type {})", text(&policy["name"]), text(&policy["type"])));
        }
    }
}

async fn rules(view: &View<'_>, settings: &Value) -> Result<Rules, Unlearnt> {
    let mut rules = Rules::default();
    if settings["adminPermissionsEnabled"] == true {
        rules.others = second_version(view).await?;
    }
    // The first version. Where the server has none of it, nobody is permitted anything by it.
    let permissions = match view.get("/users-management-permissions").await {
        Ok(permissions) => permissions,
        Err(Unlearnt::Refused { status: 404 | 501, .. }) => return Ok(rules),
        Err(error) => return Err(error),
    };
    let Some(permission) = permissions["scopePermissions"]["impersonate"].as_str() else { return Ok(rules) };
    let server = format!("/clients/{}/authz/resource-server", management(view).await?);
    let policies = view.get(&format!("{server}/policy/{permission}/associatedPolicies")).await?;
    for policy in elements(&policies) {
        let clients = if policy["type"] == "client" {
            view.get(&format!("{server}/policy/client/{}", text(&policy["id"]))).await?["clients"].take()
        } else {
            Value::Null
        };
        rules.add(policy, &clients);
    }
    Ok(rules)
}

/// The permissions to impersonate of the second version, in words: whom they are for is not judged.
async fn second_version(view: &View<'_>) -> Result<Vec<String>, Unlearnt> {
    let found = view.get("/clients?clientId=admin-permissions").await?;
    let server = format!("/clients/{}/authz/resource-server", text(&found[0]["id"]));
    let permissions = view.get(&format!("{server}/permission?first=0&max={PERMISSIONS}")).await?;
    let mut told = Vec::new();
    for permission in elements(&permissions) {
        let scopes = view.get(&format!("{server}/policy/{}/scopes", text(&permission["id"]))).await?;
        if elements(&scopes).any(|scope| text(&scope["name"]).starts_with("impersonate")) {
            told.push(format!("the permission {}", text(&permission["name"])));
        }
    }
    if elements(&permissions).count() == PERMISSIONS {
        told.push(format!("permissions beyond the first {PERMISSIONS}"));
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules(policies: &[(&str, &str)]) -> Rules {
        let mut rules = Rules::default();
        for (kind, logic) in policies {
            rules.add(&json!({ "name": "by-rule", "type": kind, "logic": logic }), &json!(["one"]));
        }
        rules
    }

    #[test]
    fn a_client_that_a_policy_names_is_known_and_what_goes_by_something_else_is_not() {
        let (one, other) = (Client::named("one"), Client::named("other"));

        assert_eq!(rules(&[("client", "POSITIVE")]).judge(&one), Grant::Permission);
        assert_eq!(rules(&[("client", "POSITIVE")]).judge(&other), Grant::Nothing);
        assert_eq!(rules(&[]).judge(&one), Grant::Nothing);
        for kind in ["role", "group", "user", "aggregate", "time"] {
            let unknown = Grant::Unknown(format!("the policy by-rule (of the type {kind})"));
            assert_eq!(rules(&[(kind, "POSITIVE")]).judge(&one), unknown);
        }
        assert!(matches!(rules(&[("client", "NEGATIVE")]).judge(&other), Grant::Unknown(_)));
    }
}
