//! What a session of the vault's own shows: whether impersonation works, how long sessions idle, how tokens rotate.
//!
//! The session is the service account's. It is opened for this examination and ended again, so no user's session is touched.

use std::time::Duration;

use tokenvault_keycloak::{InspectionFailed, OwnSession, ServiceAccount};

use super::realm::{AGAIN, ExaminedRealm};
use super::report::DoctorReport;

/// Keycloak books the use of refresh tokens in whole seconds.
const BOOKED: Duration = Duration::from_millis(1100);
/// More reuse than this is not tried out.
const MOST_REUSE: u32 = 5;

pub(super) async fn examine(
    realm: &ExaminedRealm<'_>,
    account: &ServiceAccount,
    may_impersonate: bool,
    settings_follow: bool,
    report: &mut DoctorReport,
) {
    let check = "keycloak-impersonation";
    if !may_impersonate {
        if !account.names_impersonation {
            return report.fine(check, realm.name(), "not asked for, and not in the vault's token");
        }
        return report.note(
            check,
            realm.name(),
            "granted to the vault's service account, and no job may ask for it",
            "withdraw the role realm-management/impersonation: who holds the client's secret can become every user",
        );
    }
    match realm.inspector.impersonate_itself(account).await {
        Ok(session) => {
            report.fine(check, realm.name(), "the vault can open sessions of its own");
            no_consent(realm, report);
            idle(realm, &session, report);
            if settings_follow {
                return end(realm, &session, report).await;
            }
            rotation(realm, session, report).await;
        }
        Err(InspectionFailed::Refused { description, .. }) if description.contains("consent") => consent(realm, report),
        Err(error @ InspectionFailed::Refused { .. }) => impossible(realm, account, &error, report),
        Err(error) => {
            report.unknown(check, realm.name(), error.to_string(), "see the line on reaching Keycloak, and try again");
        }
    }
}

/// The client asks for no consent. Added once.
pub(super) fn no_consent(realm: &ExaminedRealm<'_>, report: &mut DoctorReport) {
    if !report.has_result("consent", &realm.name()) {
        report.fine("consent", realm.name(), "the vault's client asks nobody for consent");
    }
}

/// The client asks users for consent first, so Keycloak lets it do nothing in their names. Added once: two checks can see it.
pub(super) fn consent(realm: &ExaminedRealm<'_>, report: &mut DoctorReport) {
    let (check, name) = ("consent", realm.name());
    if report.has_result(check, &name) {
        return;
    }
    report.hazard(
        check,
        name,
        "the vault's client asks users for their consent, which nobody can give it: no registration succeeds",
        format!("switch \"Consent required\" off for it; {AGAIN}"),
    );
}

fn impossible(
    realm: &ExaminedRealm<'_>,
    account: &ServiceAccount,
    error: &InspectionFailed,
    report: &mut DoctorReport,
) {
    let why = if account.names_impersonation {
        "its token names the role for it, so Keycloak itself does not offer it"
    } else {
        "its token does not name the role realm-management/impersonation: either its service account lacks it, or the client has no full scope and lacks it in its scope mappings"
    };
    report.hazard(
        "keycloak-impersonation",
        realm.name(),
        format!("impersonation is not possible: {error}; {why}; the configuration or the policy lets jobs ask for it"),
        "deploy/keycloak/setup.sh --impersonate puts the role in both places, with the other options it was run with; Keycloak needs --features=token-exchange:v1",
    );
}

/// A refresh token's life is the time a session may idle, or what is left of it.
fn idle(realm: &ExaminedRealm<'_>, session: &OwnSession, report: &mut DoctorReport) {
    let check = "session-length";
    let (life, job) = (session.refresh_expires_in, realm.tenant.max_job_life);
    if life >= job {
        report.fine(
            check,
            realm.name(),
            format!("sessions last {} s at least, jobs {} s at most", life.as_secs(), job.as_secs()),
        );
    } else {
        report.note(
            check,
            realm.name(),
            format!("a session idles for {} s or lasts no longer; jobs may last {} s", life.as_secs(), job.as_secs()),
            "run with --keycloak-admin-token to learn which; a session's maximum below a job's life ends jobs",
        );
    }
}

/// Sends one refresh token again and again until Keycloak refuses it, as often as the configuration says it may be sent.
async fn rotation(realm: &ExaminedRealm<'_>, session: OwnSession, report: &mut DoctorReport) {
    let check = "rotation";
    let configured = realm.tenant.refresh_token_max_reuse;
    let mut sent = 0;
    let refused = loop {
        match realm.inspector.refresh(&session.refresh).await {
            Ok(_) if sent > configured.min(MOST_REUSE) => break None,
            Ok(_) => sent += 1,
            Err(error) => break Some(error),
        }
        tokio::time::sleep(BOOKED).await;
    };
    let expected = configured + 1;
    match refused {
        Some(InspectionFailed::Refused { description, .. }) if description.contains("reuse") && sent < expected => report.hazard(
            check,
            realm.name(),
            format!("a refresh token may be sent {sent} times, and `refresh_token_max_reuse` lets the vault send it {expected} times: that ends sessions"),
            "set `refresh_token_max_reuse` to the realm's \"Refresh Token Max Reuse\"",
        ),
        Some(InspectionFailed::Refused { description, .. }) if description.contains("reuse") => {
            report.fine(check, realm.name(), format!("a refresh token may be sent {sent} times, as configured"));
        }
        Some(error) => report.unknown(check, realm.name(), error.to_string(), "compare `refresh_token_max_reuse` with the realm by hand"),
        None => report.note(
            check,
            realm.name(),
            format!("a refresh token may be sent more than {expected} times"),
            "no harm to the vault; switch \"Revoke Refresh Token\" on if stolen ones shall be noticed",
        ),
    }
    end(realm, &session, report).await;
}

async fn end(realm: &ExaminedRealm<'_>, session: &OwnSession, report: &mut DoctorReport) {
    if let Err(error) = realm.inspector.end(session).await {
        let finding = format!("the session opened for this examination could not be ended: {error}");
        report.note(
            "keycloak-impersonation",
            realm.name(),
            finding,
            "it ends by itself, or end it in the admin console: it is the service account's",
        );
    }
}
