//! The realm's and the client's settings, which only an administrator's token shows.

use std::time::Duration;

use serde_json::Value;
use tokenvault_core::record::Acquisition;
use tokenvault_keycloak::ServiceAccount;
use tokenvault_keycloak::answer::ACCOUNT_CLAIM;

use super::admin_api::AdminApi;
use super::realm::{AGAIN, ExaminedRealm, mapping};
use super::realm_client::{ClaimSource, RealmClient};
use super::report::DoctorReport;
use super::{accepted, impersonators, limits, session, sizes, writable};

/// The checks of this file and of those it calls; that on the age of proofs and that on clients that get tokens of anybody
/// look at something without an administrator as well.
pub(super) const CHECKS: &[&str] = &[
    "rotation",
    "session-length",
    "session-idle",
    "session-limit",
    "consent",
    "claims",
    "accepted-client",
    "proof-age",
    "impersonating-client",
    "writable-user-id",
    "token-size",
    "proof-size",
];
/// And those that matter only where jobs may impersonate.
pub(super) const WHERE_JOBS_IMPERSONATE: &[&str] = &["roles-hidden"];
const REMEDY: &str =
    "run with --keycloak-admin-token FILE, an access token that may view the realm, its clients and its users";

/// Without an administrator's token. A check that has a result already gets no second one.
pub(super) fn untold(
    realm: &ExaminedRealm<'_>,
    account: &ServiceAccount,
    may_impersonate: bool,
    report: &mut DoctorReport,
) {
    unseen(realm, account, may_impersonate, ("the vault's client cannot see the realm's settings", REMEDY), report);
}

fn unseen(
    realm: &ExaminedRealm<'_>,
    account: &ServiceAccount,
    may_impersonate: bool,
    (why, remedy): (&str, &str),
    report: &mut DoctorReport,
) {
    let name = realm.name();
    // The vault's own tokens live as long as others do, unless a client says otherwise.
    accepted::age_of_the_realm(realm, account.expires_in, remedy, report);
    impersonators::examine_by_name(realm, (why, remedy), report);
    let more = if may_impersonate { WHERE_JOBS_IMPERSONATE } else { &[] };
    for check in CHECKS.iter().chain(more) {
        if !report.has_result(check, &name) {
            report.unknown(check, &name, why, remedy);
        }
    }
}

/// With such a token.
pub(super) async fn examine(
    admin_api: &AdminApi<'_>,
    account: &ServiceAccount,
    may_impersonate: bool,
    report: &mut DoctorReport,
) {
    let realm = admin_api.realm;
    let settings = match admin_api.get("").await {
        // A token without the right to see them is shown a realm without settings.
        Ok(settings) if settings.get("revokeRefreshToken").is_some() => settings,
        Ok(_) => return denied(realm, account, may_impersonate, "the administrator's token may not see them", report),
        Err(error) => return denied(realm, account, may_impersonate, &error.to_string(), report),
    };
    let vault = match admin_api.client(realm.tenant.client_id.as_str()).await {
        Ok(Some(vault)) => vault,
        Ok(None) => {
            return denied(
                realm,
                account,
                may_impersonate,
                "the administrator's token does not show the vault's client",
                report,
            );
        }
        Err(error) => return denied(realm, account, may_impersonate, &error.to_string(), report),
    };
    rotation(realm, &settings, report);
    sessions(realm, &settings, &vault, report);
    if vault.switch("consentRequired") == Some(true) {
        session::consent(realm, report);
    } else {
        session::no_consent(realm, report);
    }
    claims(realm, &vault, report);
    let accepted = accepted::examine(admin_api, &vault, &settings, may_impersonate, report).await;
    limits::examine(admin_api, &settings, &accepted, may_impersonate, report).await;
    impersonators::examine(admin_api, &settings, &accepted, report).await;
    let both: Vec<&RealmClient> = accepted.iter().chain([&vault]).collect();
    writable::examine(admin_api, &settings, &both, report).await;
    sizes::examine(admin_api, &vault, &accepted, account, report).await;
}

fn denied(
    realm: &ExaminedRealm<'_>,
    account: &ServiceAccount,
    may_impersonate: bool,
    why: &str,
    report: &mut DoctorReport,
) {
    let remedy = "take a fresh token of an administrator of this realm, with the roles view-realm, view-clients, view-users and view-identity-providers";
    unseen(realm, account, may_impersonate, (&format!("the realm's settings: {why}"), remedy), report);
}

fn rotation(realm: &ExaminedRealm<'_>, settings: &Value, report: &mut DoctorReport) {
    let check = "rotation";
    let configured = u64::from(realm.tenant.refresh_token_max_reuse);
    let rotates = settings["revokeRefreshToken"].as_bool().unwrap_or(false);
    let reuse = settings["refreshTokenMaxReuse"].as_u64().unwrap_or(0);
    if !rotates {
        report.note(
            check,
            realm.name(),
            "refresh tokens are not rotated",
            "no harm to the vault; switch \"Revoke Refresh Token\" on if stolen ones shall be noticed",
        );
    } else if reuse < configured {
        report.hazard(
            check,
            realm.name(),
            format!("the realm's max reuse is {reuse}, `refresh_token_max_reuse` {configured}: the vault would send tokens again, and that ends sessions"),
            format!("set `refresh_token_max_reuse` to {reuse}"),
        );
    } else if reuse > configured {
        report.note(
            check,
            realm.name(),
            format!("the realm's max reuse is {reuse}, `refresh_token_max_reuse` {configured}: the vault leaves retries unused"),
            format!("set `refresh_token_max_reuse` to {reuse}"),
        );
    } else {
        report.fine(check, realm.name(), format!("max reuse {reuse}, as configured"));
    }
}

fn sessions(realm: &ExaminedRealm<'_>, settings: &Value, vault: &RealmClient, report: &mut DoctorReport) {
    let shortest = |client: &str, realm: &str, own: &str| {
        let seconds = |name: &str| settings[name].as_u64().filter(|seconds| *seconds > 0);
        // What the client says replaces what the realm says of clients.
        let client = vault.seconds(own).or_else(|| seconds(client));
        [client, seconds(realm)].into_iter().flatten().min().map(Duration::from_secs)
    };
    let at = Duration::from_secs(settings["accessTokenLifespan"].as_u64().unwrap_or(0));
    let job = realm.tenant.max_job_life;
    let again = realm.tenant.default_acquisition == Acquisition::Impersonate;
    match shortest("clientSessionMaxLifespan", "ssoSessionMaxLifespan", "client.session.max.lifespan") {
        Some(max) if max < job && !again => report.hazard(
            "session-length",
            realm.name(),
            format!("sessions end after {} s, and jobs may be registered for {} s: those are cut short", max.as_secs(), job.as_secs()),
            "raise \"SSO Session Max\" (and \"Client Session Max\"), lower `max_job_life`, or let such jobs register with `impersonate`",
        ),
        Some(max) if max < job => report.fine(
            "session-length",
            realm.name(),
            format!("sessions end after {} s; jobs of {} s get a new one by impersonation", max.as_secs(), job.as_secs()),
        ),
        max => {
            let max = max.map_or_else(|| "without end".to_owned(), |max| format!("{} s", max.as_secs()));
            report.fine("session-length", realm.name(), format!("sessions {max}, jobs {} s at most", job.as_secs()));
        }
    }
    match shortest("clientSessionIdleTimeout", "ssoSessionIdleTimeout", "client.session.idle.timeout") {
        Some(idle) if idle < at * 2 => report.hazard(
            "session-idle",
            realm.name(),
            format!("sessions idle out after {} s, and access tokens live {} s: a renewal that is a little late finds the session gone", idle.as_secs(), at.as_secs()),
            "raise \"SSO Session Idle\" (and \"Client Session Idle\") to several lives of an access token",
        ),
        Some(idle) => report.fine("session-idle", realm.name(), format!("{} s, of access tokens that live {} s", idle.as_secs(), at.as_secs())),
        None => report.unknown("session-idle", realm.name(), "the realm does not say", "look at the realm's session settings"),
    }
}

/// Whether the vault's tokens carry the claim that users are known by, and Keycloak's own id under its name.
fn claims(realm: &ExaminedRealm<'_>, vault: &RealmClient, report: &mut DoctorReport) {
    let (check, client) = ("claims", realm.tenant.client_id.as_str());
    let claim = realm.tenant.user_id_claim.as_str();
    match vault.lacks(&format!("`{claim}`"), vault.carries_claim(claim)) {
        None => report.fine(check, realm.name(), format!("{client} maps `{claim}`")),
        Some(finding) => report.hazard(
            check,
            realm.name(),
            format!("{client} {finding}, which users are known by: registrations would fail with identity_mismatch"),
            mapping(claim),
        ),
    }
    let sources = vault.sources(ACCOUNT_CLAIM);
    if sources.iter().any(|source| *source != ClaimSource::Id) {
        let words: Vec<_> = sources.iter().map(ClaimSource::words).collect();
        report.hazard(
            "keycloak-user-id",
            realm.name(),
            format!(
                "{client} maps {} onto `{ACCOUNT_CLAIM}`, which must be Keycloak's id of the user",
                words.join(" or ")
            ),
            format!(
                "{AGAIN}: it takes every other mapper for it off the client, and names a client scope that has one; that is for you to take away"
            ),
        );
    }
}
