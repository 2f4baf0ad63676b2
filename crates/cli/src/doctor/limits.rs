//! Keycloak's limit of a user's sessions (the authenticator *User session count limiter*), wherever a login passes it.
//!
//! Each impersonated job is a session of its user, so jobs use up such a limit. Then a login is denied, or it ends the session
//! that was used least recently, which may be a job's.

use std::collections::BTreeSet;

use serde_json::Value;
use tokenvault_keycloak::{InspectionFailed, percent_encoded};

use super::admin_api::AdminApi;
use super::json::{elements, text};
use super::realm::ExaminedRealm;
use super::realm_client::RealmClient;
use super::report::DoctorReport;

const CHECK: &str = "session-limit";
const LIMITER: &str = "user-session-limits";

const BY_HAND: &str = "take a token of an administrator who has the role view-identity-providers as well, or look for a \"User session count limiter\" in the realm's flows by hand";

/// A limiter that is switched on.
#[derive(Debug, PartialEq, Eq)]
struct SessionLimiter {
    /// The flow it stands in.
    flow: String,
    /// So many sessions a user may have in the realm; 0 where only sessions with one client are counted.
    sessions: u64,
    /// Whether a login too many ends an older session; else it is denied.
    ends_oldest: bool,
}

/// Looks at every flow by which users come to a session. `clients` are those that users log in with.
pub(super) async fn examine(
    admin_api: &AdminApi<'_>,
    settings: &Value,
    clients: &[RealmClient],
    may_impersonate: bool,
    report: &mut DoctorReport,
) {
    match find(admin_api, settings, clients).await {
        Ok(found) => judge(admin_api.realm, &found, may_impersonate, report),
        Err(error) => {
            let finding = format!("the realm's login flows: {error}");
            report.unknown(CHECK, admin_api.realm.name(), finding, BY_HAND);
        }
    }
}

struct SessionLimiters {
    limiters: Vec<SessionLimiter>,
    /// Whether the flows that follow a login at another identity provider were shown.
    brokers: bool,
}

async fn find(
    admin_api: &AdminApi<'_>,
    settings: &Value,
    clients: &[RealmClient],
) -> Result<SessionLimiters, InspectionFailed> {
    let flows = admin_api.get("/authentication/flows").await?;
    // By their names, each once; a client names its own by Keycloak's id of them.
    let mut used: BTreeSet<String> =
        ["browserFlow", "directGrantFlow"].map(|own| text(&settings[own]).to_owned()).into();
    for id in clients.iter().flat_map(RealmClient::own_flows) {
        let alias = elements(&flows).find(|flow| flow["id"] == id).map(|flow| text(&flow["alias"]));
        used.insert(alias.unwrap_or_default().to_owned());
    }
    let brokers = match admin_api.get("/identity-provider/instances").await {
        Ok(brokers) => Some(brokers),
        Err(InspectionFailed::Refused { status: 403, .. }) => None,
        Err(error) => return Err(error),
    };
    for broker in brokers.iter().flat_map(elements).filter(|broker| broker["enabled"] != false) {
        for flow in ["firstBrokerLoginFlowAlias", "postBrokerLoginFlowAlias"] {
            used.insert(text(&broker[flow]).to_owned());
        }
    }
    let mut limiters = Vec::new();
    for flow in used.into_iter().filter(|flow| !flow.is_empty()) {
        let executions = admin_api.get(&format!("/authentication/flows/{}/executions", percent_encoded(&flow))).await?;
        for config in switched_on(&executions) {
            let config = admin_api.get(&format!("/authentication/config/{}", percent_encoded(config))).await?;
            limiters.push(SessionLimiter::read(&flow, &config["config"]));
        }
    }
    Ok(SessionLimiters { limiters, brokers: brokers.is_some() })
}

/// The settings of a flow's limiters, by Keycloak's ids of them. Executions come in their order, with how deep they lie; below
/// a part that is disabled, nothing is carried out.
fn switched_on(executions: &Value) -> Vec<&str> {
    let (mut found, mut off) = (Vec::new(), None);
    for execution in elements(executions) {
        let level = execution["level"].as_u64().unwrap_or(0);
        if off.is_some_and(|off| level > off) {
            continue;
        }
        off = (execution["requirement"] == "DISABLED").then_some(level);
        if off.is_none() && execution["providerId"] == LIMITER {
            // A limiter without settings refuses every login: it is no limit.
            found.extend(execution["authenticationConfig"].as_str());
        }
    }
    found
}

impl SessionLimiter {
    fn read(flow: &str, config: &Value) -> Self {
        Self {
            flow: flow.to_owned(),
            sessions: text(&config["userRealmLimit"]).trim().parse().unwrap_or(0),
            ends_oldest: text(&config["behavior"]).to_ascii_lowercase().contains("terminate"),
        }
    }
}

fn judge(
    realm: &ExaminedRealm<'_>,
    SessionLimiters { limiters, brokers }: &SessionLimiters,
    may_impersonate: bool,
    report: &mut DoctorReport,
) {
    let most = limiters.iter().filter(|limiter| limiter.sessions > 0).min_by_key(|limiter| limiter.sessions);
    let ending = limiters.iter().find(|limiter| limiter.ends_oldest);
    match (most, ending) {
        (Some(SessionLimiter { flow, sessions, ends_oldest }), _) if may_impersonate => {
            let then = if *ends_oldest {
                "then each login ends the session that was used least lately, which may be a job's or the user's own"
            } else {
                "then the user cannot log in (\"There are too many sessions\")"
            };
            report.hazard(
                CHECK,
                realm.name(),
                format!("the flow \"{flow}\" lets a user have {sessions} sessions, and each impersonated job is one of them: {then}"),
                "let no job ask for `impersonate` (an exchanged one opens no session), or raise the limit by the number of impersonated jobs that a user may have at a time (`max_jobs_per_user`), or limit sessions by client (\"Maximum concurrent sessions for each user per keycloak client\"), where jobs are not counted",
            );
        }
        (_, Some(SessionLimiter { flow, .. })) => report.note(
            CHECK,
            realm.name(),
            format!("the flow \"{flow}\" ends a user's oldest session where a login is one too many, and with it the jobs that were exchanged into it"),
            "jobs that are to outlive such a login are registered with `impersonate`, where the limit is one by client",
        ),
        (Some(SessionLimiter { flow, sessions, .. }), None) => report.fine(
            CHECK,
            realm.name(),
            format!("the flow \"{flow}\" lets a user have {sessions} sessions, and jobs open none"),
        ),
        _ if !brokers => report.unknown(
            CHECK,
            realm.name(),
            "what follows a login at another identity provider is not shown; no other login counts the sessions that jobs open",
            BY_HAND,
        ),
        (None, None) => report.fine(CHECK, realm.name(), "no login counts the sessions that jobs open"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_limiter_counts_where_it_and_all_it_lies_in_are_switched_on() {
        let step = |level: u64, requirement: &str, provider: &str, config: &str| json!({ "level": level, "requirement": requirement, "providerId": provider, "authenticationConfig": config });
        let executions = json!([
            step(0, "ALTERNATIVE", "auth-cookie", "none"),
            step(0, "DISABLED", "a-subflow", "none"),
            step(1, "REQUIRED", LIMITER, "in-a-disabled-part"),
            step(2, "REQUIRED", LIMITER, "deeper-in-it"),
            step(0, "ALTERNATIVE", "another-subflow", "none"),
            step(1, "REQUIRED", LIMITER, "on"),
            step(1, "DISABLED", LIMITER, "off"),
            step(1, "REQUIRED", LIMITER, "on-too"),
            { "level": 1, "requirement": "REQUIRED", "providerId": LIMITER },
        ]);
        assert_eq!(switched_on(&executions), ["on", "on-too"]);
    }

    #[test]
    fn a_limit_is_read_as_keycloak_keeps_it() {
        let read = |config: Value| SessionLimiter::read("browser", &config);
        let deny = read(json!({ "behavior": "Deny new session", "userRealmLimit": "3", "userClientLimit": "0" }));
        assert_eq!((deny.sessions, deny.ends_oldest), (3, false));
        let end = read(json!({ "behavior": "Terminate oldest session", "userRealmLimit": "", "userClientLimit": "2" }));
        assert_eq!((end.sessions, end.ends_oldest), (0, true));
    }
}
