//! What a listener asks the policy for modules.

use tokenvault_core::ids::ModuleName;
use tokenvault_vault::jobs::Caller;
use tokenvault_vault::problem::Problem;

use super::Action;
use crate::tls::Peer;

/// Knows which module a certificate belongs to and what it may do.
pub trait CallerPolicy: Send + Sync {
    /// The caller, if it may do this in the tenant it names (or in its only one).
    fn admit(&self, peer: &Peer, tenant: Option<&str>, action: Action) -> Result<Caller, Problem>;

    /// The module a certificate belongs to, whatever it may do.
    fn module(&self, peer: &Peer) -> Option<ModuleName>;
}
