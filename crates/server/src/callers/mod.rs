//! Which certificate is which module, and what it may do.
//!
//! A certificate is matched by exact URI SAN, exact DNS SAN, or, only where it has no SAN at all, exact common name. What
//! the policy does not grant is denied. Nothing here trusts a name that the TLS layer has not verified first.

mod action;
mod granted;
mod key;
mod policy;
mod roster;
#[cfg(test)]
mod tests;
mod watch;

pub use action::Action;
pub use granted::GrantedTenants;
pub use key::CertificateKey;
pub use policy::{Module, Policy};
pub use roster::Roster;
pub use watch::{PolicyFile, Watched};
