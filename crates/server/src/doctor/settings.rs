//! The realm's and the client's settings, which only an administrator's token shows.

use std::time::Duration;

use serde_json::Value;
use tokenvault_core::record::Acquisition;
use tokenvault_core::secret::AccessToken;
use tokenvault_keycloak::Unlearnt;

use super::Report;
use super::keycloak::Realm;

const CHECKS: &[&str] = &["rotation", "session-length", "session-idle", "claims"];
const REMEDY: &str = "run with --keycloak-admin-token FILE, an access token that may view the realm and its clients";

/// Without such a token; what a session of the vault's own has told already is not said again.
pub(super) fn untold(realm: &Realm<'_>, report: &mut Report) {
    let name = realm.name();
    let told = |check: &str| report.lines.iter().any(|line| line.check == check && line.subject == name);
    let missing: Vec<_> = CHECKS.iter().copied().filter(|check| !told(check)).collect();
    for check in missing {
        report.unknown(check, &name, "the vault's client cannot see the realm's settings", REMEDY);
    }
}

/// With such a token.
pub(super) async fn examine(realm: &Realm<'_>, administrator: &AccessToken, report: &mut Report) {
    match realm.inspector.admin(administrator, "").await {
        // A token without the right to see them is shown a realm without settings.
        Ok(settings) if settings.get("revokeRefreshToken").is_some() => {
            rotation(realm, &settings, report);
            sessions(realm, &settings, report);
        }
        Ok(_) => denied(realm, "the administrator's token may not see them", report),
        Err(error) => denied(realm, &error.to_string(), report),
    }
    claims(realm, administrator, report).await;
}

fn denied(realm: &Realm<'_>, why: &str, report: &mut Report) {
    for check in ["rotation", "session-length", "session-idle"] {
        report.unknown(
            check,
            realm.name(),
            format!("the realm's settings: {why}"),
            "take a fresh token of an administrator of this realm, with the role view-realm",
        );
    }
}

fn rotation(realm: &Realm<'_>, settings: &Value, report: &mut Report) {
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

fn sessions(realm: &Realm<'_>, settings: &Value, report: &mut Report) {
    let shortest = |client: &str, realm: &str| {
        let seconds = |name: &str| settings[name].as_u64().filter(|seconds| *seconds > 0);
        [seconds(client), seconds(realm)].into_iter().flatten().min().map(Duration::from_secs)
    };
    let at = Duration::from_secs(settings["accessTokenLifespan"].as_u64().unwrap_or(0));
    let job = realm.tenant.max_job_life;
    let again = realm.tenant.default_acquisition == Acquisition::Impersonate;
    match shortest("clientSessionMaxLifespan", "ssoSessionMaxLifespan") {
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
    match shortest("clientSessionIdleTimeout", "ssoSessionIdleTimeout") {
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

/// Whether the vault's tokens carry the claim that users are known by.
async fn claims(realm: &Realm<'_>, administrator: &AccessToken, report: &mut Report) {
    let check = "claims";
    let (client, claim) = (realm.tenant.client_id.as_str(), realm.tenant.user_id_claim.as_str());
    match maps(realm, administrator, client, claim).await {
        Ok(Some(true)) => report.fine(check, realm.name(), format!("{client} maps `{claim}`")),
        Ok(Some(false)) => report.hazard(
            check,
            realm.name(),
            format!("{client} does not map `{claim}`, which users are known by: registrations would fail with identity_mismatch"),
            "deploy/keycloak/setup.sh --user-id-claim adds the mapper (for `sub`: add the client scope `basic`)",
        ),
        Ok(None) => report.unknown(check, realm.name(), format!("the administrator's token does not show the client {client}"), REMEDY),
        Err(error) => report.unknown(check, realm.name(), error.to_string(), REMEDY),
    }
}

/// Whether a mapper that is in effect for the client, its own or a scope's, puts the claim into access tokens; `None` where
/// the client is not shown.
async fn maps(
    realm: &Realm<'_>,
    administrator: &AccessToken,
    client: &str,
    claim: &str,
) -> Result<Option<bool>, Unlearnt> {
    let ask = async |path: String| realm.inspector.admin(administrator, &path).await;
    let found = ask(format!("/clients?clientId={client}")).await?;
    let Some(id) = found[0]["id"].as_str() else { return Ok(None) };
    let effective = ask(format!("/clients/{id}/evaluate-scopes/protocol-mappers")).await?;
    let scopes = ask("/client-scopes".to_owned()).await?;
    let in_effect = |mapper: &Value| elements(&effective).any(|known| known["mapperId"] == mapper["id"]);
    let fits = |mapper: &Value| match claim {
        "sub" => mapper["protocolMapper"] == "oidc-sub-mapper",
        _ => mapper["config"]["claim.name"] == claim && mapper["config"]["access.token.claim"] == "true",
    };
    let owners = elements(&found).chain(elements(&scopes));
    Ok(Some(
        owners.flat_map(|owner| elements(&owner["protocolMappers"])).any(|mapper| fits(mapper) && in_effect(mapper)),
    ))
}

fn elements(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}
