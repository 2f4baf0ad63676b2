//! Whether users can change the claim that identifies them. A user who can change it can register in another user's name. A user
//! who is identified by a username loses the jobs when it changes.

use std::collections::BTreeSet;

use serde_json::Value;

use super::admin_api::AdminApi;
use super::json::elements;
use super::realm_client::{ClaimSource, RealmClient, is_pairwise};
use super::report::DoctorReport;

/// Looks at what the claim is made of in all the clients' tokens.
pub(super) async fn examine(
    admin_api: &AdminApi<'_>,
    settings: &Value,
    clients: &[&RealmClient],
    report: &mut DoctorReport,
) {
    let (check, realm) = ("writable-user-id", admin_api.realm);
    let claim = realm.tenant.user_id_claim.as_str();
    let sources: BTreeSet<ClaimSource> = clients.iter().flat_map(|client| client.sources(claim)).collect();
    let profile = match admin_api.get("/users/profile").await {
        Ok(profile) => profile,
        Err(error) => {
            let remedy =
                "take a token of an administrator with the role view-users, or see who may edit it in the user profile";
            return report.unknown(check, realm.name(), format!("the user profile: {error}"), remedy);
        }
    };
    for source in &sources {
        match source {
            ClaimSource::Property(name) if name == "username" => username(admin_api, &profile, settings, report),
            ClaimSource::Property(name) | ClaimSource::Attribute(name) if is_writable(&profile, name) => report.hazard(
                check,
                realm.name(),
                format!("users can change their own `{name}` ({}), and are known by it as `{claim}`: one can register in another's name", why(&profile, name)),
                format!("declare `{name}` in the user profile with editing by administrators only: deploy/keycloak/setup.sh --protect-user-id does it, with the other options it was run with; where the realm must stay as it is, run with --accept {check} (SECURITY.md says what that means)"),
            ),
            ClaimSource::Other(kind) if !is_pairwise(kind) => {
                let remedy = "see by hand what the mapper makes it of, and who can change that";
                report.unknown(check, realm.name(), format!("`{claim}` is {}", source.words()), remedy);
            }
            _ => report.fine(check, realm.name(), format!("`{claim}` is {}, which users cannot change", source.words())),
        }
    }
    if sources.is_empty() {
        report.unknown(check, realm.name(), format!("no client maps `{claim}`"), "see the lines on the clients");
    }
}

fn username(admin_api: &AdminApi<'_>, profile: &Value, settings: &Value, report: &mut DoctorReport) {
    let (check, realm) = ("writable-user-id", admin_api.realm);
    let claim = realm.tenant.user_id_claim.as_str();
    let remedy = "know users by what stays: in FOLIO `user_id_claim = \"user_id\"`, and deploy/keycloak/setup.sh again with the options it was run with, and --user-id-claim user_id; best while there are no jobs";
    if settings["editUsernameAllowed"] == true && is_writable(profile, "username") {
        report.hazard(
            check,
            realm.name(),
            format!("users are known by their names (`{claim}`), and can rename themselves: a rename ends their jobs, and who takes a name that has become free is taken for its former holder"),
            remedy,
        );
    } else {
        report.note(
            check,
            realm.name(),
            format!("users are known by their names (`{claim}`): a rename by an administrator ends their jobs, and a name may be given again"),
            remedy,
        );
    }
}

fn declared<'a>(profile: &'a Value, name: &str) -> Option<&'a Value> {
    elements(&profile["attributes"]).find(|attribute| attribute["name"] == name)
}

fn is_writable(profile: &Value, name: &str) -> bool {
    match declared(profile, name) {
        Some(attribute) => elements(&attribute["permissions"]["edit"]).any(|who| who == "user"),
        None => profile["unmanagedAttributePolicy"] == "ENABLED",
    }
}

fn why(profile: &Value, name: &str) -> &'static str {
    if declared(profile, name).is_some() {
        "the user profile lets users edit it"
    } else {
        "the user profile's \"Unmanaged Attributes\" are enabled"
    }
}
