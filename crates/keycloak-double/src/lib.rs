//! A stand-in for Keycloak 26.7 that runs inside the process: for demonstrations, for development and for tests.
//!
//! It answers what Keycloak answers, word for word, as far as a holder of long-lived token pairs can notice: password
//! login, client credentials, refresh with rotation and reuse detection, token exchange (RFC 8693, and the legacy
//! impersonation), introspection (RFC 7662), revocation (RFC 7009), logout, JWKS and discovery. A suite puts the same
//! questions to this crate and to a real Keycloak and compares the answers; where the two differ, this crate is wrong.
//!
//! Deciding is pure: [`Keycloak`] is a state machine that is handed the time and the request. [`Double`] puts it
//! behind HTTP on the loopback interface and can misbehave on demand ([`Faults`]).
//!
//! It must never be reachable from outside, for it holds passwords in the clear and has an administrator who needs no
//! credentials; and it must never depend on the other crates of this workspace, for it is their measure.

mod access;
mod admin;
mod answer;
mod client_auth;
mod clock;
mod config;
mod discovery;
mod entropy;
mod faults;
mod grants;
mod introspection;
mod issue;
mod journal;
mod keys;
mod logout;
mod machine;
mod mapping;
mod representation;
mod revocation;
mod scopes;
mod server;
mod state;
mod token;

pub use admin::{AdminError, SessionInfo};
pub use answer::{Answer, Request};
pub use clock::{DoubleClock, DoubleManualClock, DoubleSystemClock, ShiftedClock};
pub use config::{
    ClientConfig, Features, Mapper, RealmConfig, RealmSettings, RoleConfig, ServiceAccountConfig, UserConfig,
};
pub use entropy::{DoubleEntropy, DoubleOsEntropy, DoubleSeededEntropy};
pub use faults::{Fault, Faults, Moment};
pub use journal::{Endpoint, RequestJournal};
pub use keys::DoubleSigningKey;
pub use machine::Keycloak;
pub use server::{Double, DoubleConfig, DoubleStartError, Handle};
