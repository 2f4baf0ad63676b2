//! The realm that is examined, and the remedies that several of its checks name.

use tokenvault_core::ids::TenantId;
use tokenvault_keycloak::Inspector;
use tokenvault_server::config::{Config, Tenant};

/// The remedy for what a realm lacks that setup.sh would have set.
pub(super) const SETUP: &str = "deploy/keycloak/setup.sh sets it so, with the options it was run with";
/// The remedy for what a realm lacks that was set up by an earlier version, or by hand.
pub(super) const AGAIN: &str = "run deploy/keycloak/setup.sh again with the options it was run with";

/// Claims that Keycloak makes by itself: no attribute of the users' is behind them, and setup.sh maps none.
const NOT_OF_USERS: &[&str] = &[
    "iss",
    "aud",
    "exp",
    "iat",
    "nbf",
    "jti",
    "azp",
    "typ",
    "sid",
    "acr",
    "scope",
    "auth_time",
    "session_state",
    "client_id",
    "name",
];

/// The remedy where a client does not map a claim as the other does, or not at all.
pub(super) fn mapping(claim: &str) -> String {
    if claim == "sub" {
        AGAIN.to_owned()
    } else if NOT_OF_USERS.contains(&claim) {
        format!(
            "know users by another claim: `{claim}` is not made of an attribute of theirs; in FOLIO `user_id_claim = \"user_id\"`"
        )
    } else {
        format!(
            "{AGAIN}, and --user-id-claim {claim}: both clients then make it of the same thing, which the realm makes it of already where it does"
        )
    }
}

/// One tenant under examination.
pub(super) struct ExaminedRealm<'a> {
    pub(super) config: &'a Config,
    pub(super) id: &'a TenantId,
    pub(super) tenant: &'a Tenant,
    pub(super) inspector: Inspector<'a>,
}

impl ExaminedRealm<'_> {
    /// The subject of its results.
    pub(super) fn name(&self) -> String {
        self.id.to_string()
    }
}
