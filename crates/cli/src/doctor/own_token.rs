//! What the vault's own token shows: its audience, whether it carries Keycloak's own id of the user, which claims it lacks, and
//! how many roles it carries. The service account's token stands for all of them; no administrator is needed.

use tokenvault_keycloak::ServiceAccount;
use tokenvault_keycloak::answer::ACCOUNT_CLAIM;

use super::realm::{AGAIN, ExaminedRealm};
use super::report::DoctorReport;

/// Claims that Keycloak puts into a service account's token unless tokens are lightweight. A realm may lack some of them.
const REGULAR: [&str; 5] = ["aud", "acr", "realm_access", "resource_access", "preferred_username"];

pub(super) async fn examine(
    realm: &ExaminedRealm<'_>,
    account: &ServiceAccount,
    may_impersonate: bool,
    report: &mut DoctorReport,
) {
    let hides = lightweight(realm, account, report).await;
    audience(realm, account, report);
    names_account(realm, account, may_impersonate, report);
    if hides {
        let remedy = "see the line on lightweight tokens";
        report.unknown("full-scope", realm.name(), "a lightweight token does not show its roles", remedy);
    } else {
        scope(realm, account, report);
    }
}

/// Compares the token with its introspection, to see whether the token leaves claims out. The vault introspects its access
/// tokens before it ends a job for a dead refresh token.
async fn lightweight(realm: &ExaminedRealm<'_>, account: &ServiceAccount, report: &mut DoctorReport) -> bool {
    let (check, asks) = ("lightweight", "introspection");
    let client = realm.tenant.client_id.as_str();
    let known = match realm.inspector.known_claims(account).await {
        Ok(Some(known)) => known,
        Ok(None) => {
            let remedy = "see that \"Always use lightweight access token\" is off for the vault's client";
            report.unknown(check, realm.name(), "its token could not be introspected", remedy);
            if names(account, client) {
                report.hazard(
                    asks,
                    realm.name(),
                    "Keycloak calls the vault's own new token inactive, though it is for the vault's client: no proof would be found alive",
                    "look at what stands between the vault and Keycloak: the token and the question about it came to Keycloak under different names, or to different servers that share no sessions. A frontend URL of the realm gives it one name",
                );
            } else {
                report.unknown(
                    asks,
                    realm.name(),
                    "Keycloak tells a client only of tokens that are for it",
                    "see the line on the audience",
                );
            }
            return false;
        }
        Err(error) => {
            let remedy = "see that \"Always use lightweight access token\" is off for the vault's client";
            report.unknown(check, realm.name(), format!("its token could not be introspected: {error}"), remedy);
            report.unknown(asks, realm.name(), error.to_string(), "see the line on reaching Keycloak, and try again");
            return false;
        }
    };
    report.fine(asks, realm.name(), "Keycloak tells the vault whether its tokens live");
    let hides = REGULAR.iter().any(|claim| known.contains(*claim) && !account.claims.contains(*claim));
    if hides {
        report.hazard(
            check,
            realm.name(),
            "the vault's client has lightweight access tokens: they hide the roles by which privileged users are known, and claims that modules look for",
            format!("switch \"Always use lightweight access token\" off for the client; {AGAIN}"),
        );
    } else {
        report.fine(check, realm.name(), "the vault's tokens are regular ones");
    }
    hides
}

fn names(account: &ServiceAccount, client: &str) -> bool {
    account.audience.iter().any(|name| name == client)
}

fn audience(realm: &ExaminedRealm<'_>, account: &ServiceAccount, report: &mut DoctorReport) {
    let (check, client) = ("audience", realm.tenant.client_id.as_str());
    if names(account, client) {
        report.fine(check, realm.name(), format!("the vault's tokens are for {client}"));
    } else {
        report.hazard(
            check,
            realm.name(),
            format!("the vault's tokens do not name {client} in `aud`: neither it nor its modules can have them introspected, and a job whose refresh token is dead ends, though its access token may live"),
            format!("map the client's own name into its audience; {AGAIN}"),
        );
    }
}

/// Where users are known by something else than Keycloak's id, a session of the vault's own needs that id as well.
fn names_account(
    realm: &ExaminedRealm<'_>,
    account: &ServiceAccount,
    may_impersonate: bool,
    report: &mut DoctorReport,
) {
    let check = "keycloak-user-id";
    let claim = realm.tenant.user_id_claim.as_str();
    if account.names_account {
        report.fine(check, realm.name(), format!("the vault's tokens carry `{ACCOUNT_CLAIM}`"));
    } else if claim == "sub" || !may_impersonate {
        report.fine(check, realm.name(), format!("not carried as `{ACCOUNT_CLAIM}`, and not needed"));
    } else {
        report.hazard(
            check,
            realm.name(),
            format!("the vault's tokens lack `{ACCOUNT_CLAIM}`, and users are known by `{claim}`: every registration with `impersonate` would be refused"),
            format!("map the property `id` onto `{ACCOUNT_CLAIM}` on the vault's client; {AGAIN}"),
        );
    }
}

/// How many of their users' roles the vault's tokens carry.
fn scope(realm: &ExaminedRealm<'_>, account: &ServiceAccount, report: &mut DoctorReport) {
    let check = "full-scope";
    // Every user of a realm has its default roles, and so has the service account; a narrow client leaves them out.
    if account.realm_roles.iter().any(|role| role.starts_with("default-roles-")) {
        report.note(
            check,
            realm.name(),
            "the vault's tokens carry every role of their users (\"Full scope allowed\")",
            format!("where modules do not read roles from tokens (FOLIO's do not): {AGAIN}, but without --full-scope. It switches that off, and keeps impersonation working"),
        );
    } else {
        report.fine(check, realm.name(), "the vault's tokens do not carry every role of their users");
    }
}
