//! What a listener asks the policy for modules.

use tokenvault_core::ids::ModuleName;
use tokenvault_vault::jobs::Caller;
use tokenvault_vault::problem::Problem;

use super::Action;
use crate::tls::Peer;

/// Which policy is in force, and which tenants there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyVersion {
    /// Counts the policies.
    pub policy: u64,
    /// Counts the sets of tenants.
    pub tenants: u64,
}

/// Knows which module a certificate belongs to and what it may do.
pub trait CallerPolicy: Send + Sync {
    /// The caller, if it may do this in the tenant it names (or in its only one).
    fn admit(&self, peer: &Peer, tenant: Option<&str>, action: Action) -> Result<Caller, Problem>;

    /// Which policy is in force, by a number that changes with it; `None` where that is not counted. What was admitted under the same
    /// number would be admitted now.
    fn version(&self) -> Option<PolicyVersion> {
        None
    }

    /// The module a certificate belongs to, whatever it may do.
    fn module(&self, peer: &Peer) -> Option<ModuleName>;
}
