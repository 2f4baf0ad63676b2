//! Which certificate is which module, and what the module may do.
//!
//! A certificate is matched by its exact URI SAN or its exact DNS SAN. Only a certificate without any SAN is matched by its
//! exact common name. What the policy does not grant is denied.
//!
//! Nothing here may trust a name that the TLS layer has not verified first, and nothing here knows a listener's handlers.

mod action;
mod caller_policy;
mod certificate_key;
mod granted_tenants;
mod policy;
mod policy_file;
mod policy_table;
#[cfg(test)]
mod tests;

pub use action::Action;
pub use caller_policy::{CallerPolicy, PolicyVersion};
pub use certificate_key::CertificateKey;
pub use granted_tenants::GrantedTenants;
pub use policy::{ModuleRights, Policy};
pub use policy_file::{PolicyFile, ReloadablePolicy};
pub use policy_table::PolicyTable;
