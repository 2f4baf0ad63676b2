//! Accepted clients that can get tokens of any user without that user. Whoever holds the secret of such a client can register jobs
//! for everybody.

use serde_json::Value;
use tokenvault_core::ids::ClientId;
use tokenvault_keycloak::InspectionFailed;

use super::admin_api::AdminApi;
use super::json::{elements, text};
use super::realm::ExaminedRealm;
use super::realm_client::RealmClient;
use super::report::DoctorReport;

const CHECK: &str = "impersonating-client";
/// FOLIO's client for schedulers and consortia.
const FOLIO_IMPERSONATION_CLIENT: &str = "impersonation-client";
/// Permissions of the second version of fine-grained permissions that are looked at.
const PERMISSIONS: usize = 100;

/// Checks the accepted clients by their names alone, when there is no administrator's token to ask Keycloak with. FOLIO's
/// impersonation client is reported as a hazard. All others are reported as unknown: `why` says why they could not be
/// examined, and `remedy` what to do about it.
pub(super) fn examine_by_name(realm: &ExaminedRealm<'_>, (why, remedy): (&str, &str), report: &mut DoctorReport) {
    let accepted = realm.tenant.accepted_clients.iter().map(ClientId::as_str);
    let (folios, others): (Vec<_>, Vec<_>) = accepted.partition(|name| *name == FOLIO_IMPERSONATION_CLIENT);
    for name in folios {
        hazard(realm, name, "is FOLIO's client for impersonation", report);
    }
    if !others.is_empty() {
        report.unknown(CHECK, realm.name(), format!("{}: {why}", others.join(", ")), remedy);
    }
}

/// Checks the accepted clients by what Keycloak says of them.
pub(super) async fn examine(
    admin_api: &AdminApi<'_>,
    settings: &Value,
    clients: &[RealmClient],
    report: &mut DoctorReport,
) {
    let realm = admin_api.realm;
    let rules = rules(admin_api, settings).await;
    for client in clients {
        let name = client.name.as_str();
        let found = match (has_impersonation_role(admin_api, client).await, &rules) {
            (Ok(true), _) => Ok(ImpersonationRight::Role),
            (Ok(false), Ok(rules)) => Ok(rules.judge(client)),
            (Err(error), _) => Err(error.to_string()),
            (_, Err(error)) => Err(error.to_string()),
        };
        match found {
            Ok(ImpersonationRight::Role) => {
                let how = "may impersonate users (realm-management/impersonation on its service account)";
                hazard(realm, name, how, report);
            }
            Ok(ImpersonationRight::Permission) => {
                hazard(realm, name, "may impersonate users (a permission on users names it)", report);
            }
            Ok(_) | Err(_) if name == FOLIO_IMPERSONATION_CLIENT => {
                hazard(realm, name, "is FOLIO's client for impersonation", report);
            }
            Ok(ImpersonationRight::Nothing) => {
                report.fine(CHECK, realm.name(), format!("{name} gets tokens only of users who log in with it"));
            }
            Ok(ImpersonationRight::Unknown(rule)) => {
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

fn hazard(realm: &ExaminedRealm<'_>, client: &str, how: &str, report: &mut DoctorReport) {
    report.hazard(
        CHECK,
        realm.name(),
        format!("the accepted client {client} {how}: whoever holds its secret can register for any user"),
        format!("take it out of `accepted_clients`; where its jobs need the vault, keep its secret as the vault's own is kept, and run with --accept {CHECK}"),
    );
}

/// How a client may impersonate users.
#[derive(Debug, PartialEq, Eq)]
enum ImpersonationRight {
    /// By its service account's role.
    Role,
    /// By a fine-grained permission on users.
    Permission,
    /// Not at all.
    Nothing,
    /// By a rule of this kind, or not.
    Unknown(String),
}

async fn has_impersonation_role(admin_api: &AdminApi<'_>, client: &RealmClient) -> Result<bool, InspectionFailed> {
    if client.switch("serviceAccountsEnabled") != Some(true) {
        return Ok(false);
    }
    let management = management(admin_api).await?;
    let account = admin_api.get(&format!("/clients/{}/service-account-user", client.id)).await?;
    let path = format!("/users/{}/role-mappings/clients/{management}/composite", text(&account["id"]));
    Ok(elements(&admin_api.get(&path).await?).any(|role| role["name"] == "impersonation"))
}

async fn management(admin_api: &AdminApi<'_>) -> Result<String, InspectionFailed> {
    let found = admin_api.get("/clients?clientId=realm-management").await?;
    Ok(text(&found[0]["id"]).to_owned())
}

/// Who may impersonate by fine-grained permissions, as far as it is cheap to know.
#[derive(Debug, Default, PartialEq, Eq)]
struct ImpersonationRules {
    /// Clients that are named, by Keycloak's ids.
    clients: Vec<String>,
    /// Rules about something else: roles, groups, users (a service account is a user), or time.
    others: Vec<String>,
}

impl ImpersonationRules {
    fn judge(&self, client: &RealmClient) -> ImpersonationRight {
        if self.clients.contains(&client.id) {
            ImpersonationRight::Permission
        } else if self.others.is_empty() {
            ImpersonationRight::Nothing
        } else {
            ImpersonationRight::Unknown(self.others.join(", "))
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

async fn rules(admin_api: &AdminApi<'_>, settings: &Value) -> Result<ImpersonationRules, InspectionFailed> {
    let mut rules = ImpersonationRules::default();
    if settings["adminPermissionsEnabled"] == true {
        rules.others = second_version(admin_api).await?;
    }
    // The first version. A server without it permits nothing by it.
    let permissions = match admin_api.get("/users-management-permissions").await {
        Ok(permissions) => permissions,
        Err(InspectionFailed::Refused { status: 404 | 501, .. }) => return Ok(rules),
        Err(error) => return Err(error),
    };
    let Some(permission) = permissions["scopePermissions"]["impersonate"].as_str() else { return Ok(rules) };
    let server = format!("/clients/{}/authz/resource-server", management(admin_api).await?);
    let policies = admin_api.get(&format!("{server}/policy/{permission}/associatedPolicies")).await?;
    for policy in elements(&policies) {
        let clients = if policy["type"] == "client" {
            admin_api.get(&format!("{server}/policy/client/{}", text(&policy["id"]))).await?["clients"].take()
        } else {
            Value::Null
        };
        rules.add(policy, &clients);
    }
    Ok(rules)
}

/// The permissions to impersonate of the second version, in words: whom they are for is not judged.
async fn second_version(admin_api: &AdminApi<'_>) -> Result<Vec<String>, InspectionFailed> {
    let found = admin_api.get("/clients?clientId=admin-permissions").await?;
    let server = format!("/clients/{}/authz/resource-server", text(&found[0]["id"]));
    let permissions = admin_api.get(&format!("{server}/permission?first=0&max={PERMISSIONS}")).await?;
    let mut told = Vec::new();
    for permission in elements(&permissions) {
        let scopes = admin_api.get(&format!("{server}/policy/{}/scopes", text(&permission["id"]))).await?;
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

    fn rules(policies: &[(&str, &str)]) -> ImpersonationRules {
        let mut rules = ImpersonationRules::default();
        for (kind, logic) in policies {
            rules.add(&json!({ "name": "by-rule", "type": kind, "logic": logic }), &json!(["one"]));
        }
        rules
    }

    #[test]
    fn a_client_that_a_policy_names_is_known_and_what_goes_by_something_else_is_not() {
        let (one, other) = (RealmClient::named("one"), RealmClient::named("other"));

        assert_eq!(rules(&[("client", "POSITIVE")]).judge(&one), ImpersonationRight::Permission);
        assert_eq!(rules(&[("client", "POSITIVE")]).judge(&other), ImpersonationRight::Nothing);
        assert_eq!(rules(&[]).judge(&one), ImpersonationRight::Nothing);
        for kind in ["role", "group", "user", "aggregate", "time"] {
            let unknown = ImpersonationRight::Unknown(format!("the policy by-rule (of the type {kind})"));
            assert_eq!(rules(&[(kind, "POSITIVE")]).judge(&one), unknown);
        }
        assert!(matches!(rules(&[("client", "NEGATIVE")]).judge(&other), ImpersonationRight::Unknown(_)));
    }
}
