//! The vault as a server: HTTP for modules and operators, TLS, the reconciler and the command line around the core's
//! decisions.

pub mod clock;
pub mod config;
pub mod entropy;
pub mod management;
pub mod parts;
pub mod problem;
pub mod reconciler;
pub mod telemetry;
pub mod tenants;
pub mod vault;
pub mod wake;
pub mod wiring;
