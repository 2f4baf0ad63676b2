//! What the operators' listener asks of its policy.

use serde::Deserialize;
use tokenvault_vault::problem::Problem;

use crate::tls::Peer;

/// What an operator may do. Each role includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// See what there is.
    View,
    /// Renew, revoke, pause, promote, seal anew.
    Operate,
}

/// An operator, or somebody unknown, may not do what they asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct OperatorRefusal {
    /// The name, if the policy knows them.
    pub operator: Option<String>,
    /// The answer.
    pub problem: Problem,
}

/// Knows which operator a certificate belongs to and what they may do.
pub trait OperatorPolicy: Send + Sync {
    /// The operator's name, if they have the role.
    fn admit(&self, peer: &Peer, needed: Role) -> Result<String, OperatorRefusal>;
}
