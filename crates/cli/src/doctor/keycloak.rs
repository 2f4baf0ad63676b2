//! Keycloak, as far as the vault's own client can see it: whether it answers, as whom, and what that client may do.

use std::collections::BTreeMap;
use std::time::Duration;

use tokenvault_core::ids::TenantId;
use tokenvault_core::record::{Acquisition, OnLogout};
use tokenvault_core::time::Timestamp;
use tokenvault_keycloak::{InspectionFailed, Inspector, ServiceAccount};
use tokenvault_server::callers::{ModuleRights, Policy};
use tokenvault_server::config::{Credential, TenantSecrets};
use tokenvault_server::wiring;

use super::admin_api::AdminApi;
use super::examination::Examination;
use super::realm::{AGAIN, ExaminedRealm, SETUP};
use super::report::DoctorReport;
use super::{own_token, session, settings};

/// Keycloak dates its tokens in whole seconds; what differs by more than this is not a matter of rounding.
const MAX_SKEW: Duration = Duration::from_secs(5);

/// What is looked at once the vault's client has got a token.
const CHECKS: &[&str] = &[
    "clock-keycloak",
    "lease",
    "min-ttl",
    "keycloak-exchange",
    "introspection",
    "lightweight",
    "audience",
    "keycloak-user-id",
    "full-scope",
    "keycloak-impersonation",
];

/// Examines every tenant's realm. `store_time` is Redis' clock a moment ago, which the vault goes by.
pub(super) async fn examine(examination: &Examination<'_>, store_time: Option<Timestamp>, report: &mut DoctorReport) {
    let store_behind = store_time.map(|store| (store, examination.clock.now()));
    for (id, tenant) in &examination.config.tenants {
        // Only this one: a file of another tenant's, or of a client whose pairs are deposited, is not needed here.
        let Ok(credential) = tenant.read_credential() else {
            let remedy = "see the lines on secrets";
            report.unknown("keycloak", id.to_string(), "the client's credential could not be read", remedy);
            skip(id, report);
            continue;
        };
        let secrets = TenantSecrets { credential, adopt_clients: BTreeMap::new() };
        let config = match wiring::tenant(tenant, &secrets, examination.config.renewal.quarantine) {
            Ok(config) => config,
            Err(problem) => {
                report.hazard(
                    "keycloak",
                    id.to_string(),
                    problem,
                    "correct the tenant's section; see `tokenvault check-config`",
                );
                skip(id, report);
                continue;
            }
        };
        let inspector = Inspector::new(&config, &*examination.clock, &*examination.entropy);
        let inspector = inspector.expect("the wiring gives every tenant an HTTP client");
        let realm = ExaminedRealm { config: examination.config, id, tenant, inspector };
        examine_realm(&realm, examination, store_behind, report).await;
    }
}

async fn examine_realm(
    realm: &ExaminedRealm<'_>,
    examination: &Examination<'_>,
    store: Option<(Timestamp, Timestamp)>,
    report: &mut DoctorReport,
) {
    if !issuer(realm, report).await {
        return skip(realm.id, report);
    }
    let asked = examination.clock.now();
    let account = match realm.inspector.service_account().await {
        Ok(account) => account,
        Err(error) => {
            refused(realm, &error, report);
            return skip(realm.id, report);
        }
    };
    let client = realm.tenant.client_id.as_str();
    report.fine(
        "keycloak-client",
        realm.name(),
        format!("{client} is confidential, and Keycloak takes its credential"),
    );
    clock(realm, &account, asked, (store, examination.clock.now()), report);
    lives(realm, account.expires_in, report);
    exchange(realm, &account, report).await;
    let asked_for = wants_impersonation(realm);
    let may_impersonate = asked_for.unwrap_or(false);
    own_token::examine(realm, &account, may_impersonate, report).await;
    if asked_for.is_some() {
        session::examine(realm, &account, may_impersonate, examination.administrator.is_some(), report).await;
    } else {
        for check in ["keycloak-impersonation"].iter().chain(settings::WHERE_JOBS_IMPERSONATE) {
            let finding = "the policy cannot be read: whether jobs may ask for `impersonate` is not known";
            report.unknown(check, realm.name(), finding, "see the line on the policy");
        }
    }
    match examination.administrator {
        Some(administrator) => {
            settings::examine(&AdminApi { realm, administrator }, &account, may_impersonate, report).await;
        }
        None => settings::untold(realm, &account, may_impersonate, report),
    }
}

/// Nothing more of the tenant can be learnt.
fn skip(id: &TenantId, report: &mut DoctorReport) {
    report.skip("keycloak", id.to_string(), &[CHECKS, settings::CHECKS, settings::WHERE_JOBS_IMPERSONATE]);
}

/// Whether it answers as who it should be.
async fn issuer(realm: &ExaminedRealm<'_>, report: &mut DoctorReport) -> bool {
    let configured = realm.tenant.issuer.as_str();
    match realm.inspector.issuer().await {
        Ok(issuer) if issuer == configured => {
            report.fine("keycloak", realm.name(), format!("answers at {}", realm.tenant.base_url));
            report.fine("keycloak-issuer", realm.name(), issuer);
            true
        }
        Ok(issuer) => {
            report.fine("keycloak", realm.name(), format!("answers at {}", realm.tenant.base_url));
            report.hazard(
                "keycloak-issuer",
                realm.name(),
                format!("Keycloak calls itself {issuer}, the configuration {configured}: every proof would be refused"),
                "set `issuer` to what Keycloak says (its `hostname` decides), and `base_url` to where the vault reaches it",
            );
            true
        }
        Err(error) => {
            let remedy = match &error {
                InspectionFailed::Transport(_) => {
                    "look at Keycloak and at what is between: name, port, `ca_file`. Registrations and renewals fail without it"
                }
                InspectionFailed::Refused { status: 404, .. } => {
                    "there is no such realm: correct the tenant's name, `issuer` or `base_url`"
                }
                _ => "something else than Keycloak answers there: correct `issuer` or `base_url`",
            };
            report.hazard("keycloak", realm.name(), format!("{}: {error}", realm.tenant.base_url), remedy);
            false
        }
    }
}

/// Why the client got no token of its own.
fn refused(realm: &ExaminedRealm<'_>, error: &InspectionFailed, report: &mut DoctorReport) {
    let client = realm.tenant.client_id.as_str();
    let says =
        |part: &str| matches!(error, InspectionFailed::Refused { description, .. } if description.contains(part));
    let code = |code: &str| matches!(error, InspectionFailed::Refused { error, .. } if error == code);
    let by_key = matches!(realm.tenant.credential, Credential::PrivateKeyJwtFile(_));
    let remedy = if says("Public client") {
        format!(
            "{client} is a public client: switch \"Client authentication\" on, and rotate what it was used for; {SETUP}"
        )
    } else if says("not enabled to retrieve service account") {
        format!("switch \"Service accounts roles\" on for {client}; {SETUP}")
    } else if by_key && (code("invalid_client") || code("unauthorized_client")) {
        format!(
            "choose \"Signed JWT\" as the \"Client Authenticator\" of {client} and give it the public key that belongs to `private_key_jwt_file`; create or enable the client, or correct `client_id`, where that is so already"
        )
    } else if says("client_assertion") {
        format!(
            "choose \"Client Id and Secret\" as the \"Client Authenticator\" of {client}: Keycloak wants a signed JWT of it, and the vault has a secret. deploy/keycloak/setup.sh --secret-file, with the other options it was run with, sets it so; or give the vault `private_key_jwt_file` in place of `client_secret_file`"
        )
    } else if code("invalid_client") {
        format!(
            "create or enable the client {client}, or correct `client_id`; its \"Client Authenticator\" must be \"Client Id and Secret\". deploy/keycloak/setup.sh --secret-file, with the other options it was run with, sets it so"
        )
    } else if code("unauthorized_client") {
        format!(
            "put the secret of {client} into its file, which is read again within seconds; or let deploy/keycloak/setup.sh --secret-file, with the other options it was run with, give Keycloak the secret in the file"
        )
    } else if says("DPoP") || says("MTLS") {
        format!("let {client} get tokens that are bound to no key: the vault proves possession of none; {SETUP}")
    } else {
        format!("look at the client {client} in Keycloak's admin console and at Keycloak's log; {AGAIN}")
    };
    let finding = format!("Keycloak gives {client} no token: {error}");
    if matches!(error, InspectionFailed::Transport(_) | InspectionFailed::Unintelligible) {
        report.unknown("keycloak-client", realm.name(), finding, remedy);
    } else {
        report.hazard("keycloak-client", realm.name(), finding, remedy);
    }
}

/// Keycloak's clock, by the date in the token, against Redis', or this machine's where that is not known.
fn clock(
    realm: &ExaminedRealm<'_>,
    account: &ServiceAccount,
    asked: Timestamp,
    (store, heard): (Option<(Timestamp, Timestamp)>, Timestamp),
    report: &mut DoctorReport,
) {
    let Some(issued) = account.issued_at else {
        return report.unknown(
            "clock-keycloak",
            realm.name(),
            "its tokens carry no date",
            "compare the clocks by hand",
        );
    };
    let whose = if store.is_some() { "Redis'" } else { "this machine's" };
    // What the other clock showed when the token was asked for, and when it was there. The date is rounded down.
    let other = |mine: Timestamp| store.map_or(mine, |(store, then)| store + mine.since(then));
    let late = issued.since(other(heard));
    let early = other(asked).since(issued + Duration::from_secs(1));
    let (skew, direction) = if early > late { (early, "behind") } else { (late, "ahead of") };
    if skew > MAX_SKEW {
        report.hazard(
            "clock-keycloak",
            realm.name(),
            format!(
                "Keycloak's clock is about {} s {direction} {whose}: proofs look too old or not yet made",
                skew.as_secs()
            ),
            "let all of them follow the same time servers (chrony, timedatectl)",
        );
    } else {
        report.fine("clock-keycloak", realm.name(), format!("Keycloak's clock agrees with {whose}, to a few seconds"));
    }
}

/// An access token's life against the lease and what reads ask for.
fn lives(realm: &ExaminedRealm<'_>, life: Duration, report: &mut DoctorReport) {
    let (lease, min_ttl) = (realm.config.renewal.lease, realm.config.server.default_min_ttl);
    let life_s = life.as_secs();
    if lease * 2 >= life {
        report.hazard(
            "lease",
            realm.name(),
            format!(
                "`renewal.lease` is {} s, and access tokens live {life_s} s: a dead replica's jobs come up too late",
                lease.as_secs_f64()
            ),
            "make the lease shorter than a quarter of an access token's life, or let access tokens live longer",
        );
    } else {
        report.fine("lease", realm.name(), format!("{} s, of access tokens that live {life_s} s", lease.as_secs_f64()));
    }
    if min_ttl * 2 > life {
        report.hazard(
            "min-ttl",
            realm.name(),
            format!(
                "`server.default_min_ttl` is {} s, and access tokens live {life_s} s: reads wait for renewals, or fail",
                min_ttl.as_secs_f64()
            ),
            "keep it below half of an access token's life",
        );
    } else {
        report.fine(
            "min-ttl",
            realm.name(),
            format!("{} s, of access tokens that live {life_s} s", min_ttl.as_secs_f64()),
        );
    }
}

/// Whether the standard exchange is there, by the words in which it refuses a service account's token.
async fn exchange(realm: &ExaminedRealm<'_>, account: &ServiceAccount, report: &mut DoctorReport) {
    let check = "keycloak-exchange";
    let client = realm.tenant.client_id.as_str();
    let legacy = Ok(());
    let answer = realm.inspector.exchange_for_refresh(account).await;
    let says = |part: &str| matches!(&answer, Err(InspectionFailed::Refused { description, .. }) if description.contains(part));
    if says("creating a new session is needed") {
        report.fine(check, realm.name(), "standard token exchange, with refresh tokens in the user's session");
    } else if says("requested_token_type unsupported") {
        report.hazard(
            check,
            realm.name(),
            format!("{client} may exchange for access tokens only: no registration would succeed"),
            format!("set \"Allow refresh token in Standard Token Exchange\" to \"Same session\", and \"Use refresh tokens\" on; {SETUP}"),
        );
    } else if answer == legacy || says("is not enabled for the requested client") {
        report.hazard(
            check,
            realm.name(),
            format!(
                "standard token exchange is not enabled for {client}: renewals would spend refresh tokens, or fail"
            ),
            format!("switch \"Standard token exchange\" on for the client; {SETUP}. Keycloak must be 26.2 or later"),
        );
    } else {
        let error = answer.err().map_or_else(String::new, |error| error.to_string());
        let remedy = format!("look at \"Standard token exchange\" of the client {client}");
        report.unknown(check, realm.name(), format!("Keycloak answered in other words than expected: {error}"), remedy);
    }
}

/// Whether jobs of the tenant may want a session of their own; `None` where that depends on a policy that cannot be read.
fn wants_impersonation(realm: &ExaminedRealm<'_>) -> Option<bool> {
    let may = |module: &ModuleRights| {
        module.tenants.contains(realm.id) && module.register.contains(&Acquisition::Impersonate)
    };
    if !realm.tenant.acquisitions.contains(&Acquisition::Impersonate) {
        Some(false)
    } else if realm.tenant.on_logout == OnLogout::Continue {
        Some(true)
    } else {
        Policy::load(&realm.config.policy.file).ok().map(|policy| policy.modules().any(may))
    }
}
