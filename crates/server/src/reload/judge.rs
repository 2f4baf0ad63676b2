//! Which of several changes are taken up: as many as fit together.

use std::collections::{BTreeMap, BTreeSet};

use tokenvault_core::ids::{ModuleName, TenantId};

use super::set::Tables;
use crate::callers::Policy;

/// Tenants that a policy names and that are not there, each with the modules for which it does.
pub(super) type Strays = BTreeMap<TenantId, BTreeSet<ModuleName>>;

/// A policy and tenants: those in force, which fit, and what is new and right by itself.
pub(super) struct Case<'a> {
    pub(super) policy: &'a Policy,
    pub(super) new_policy: Option<&'a Policy>,
    pub(super) tables: &'a Tables,
    pub(super) new_tables: Option<&'a Tables>,
}

/// What is taken up, and why the rest is not.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) takes_policy: bool,
    pub(super) takes_tables: bool,
    /// What a new policy names that is not taken up.
    pub(super) unknown: Strays,
    /// What new tenants that are not taken up leave out although the policy names it.
    pub(super) left_out: Strays,
}

impl Case<'_> {
    /// Both if they fit, else the one that fits what is in force. Where each would, the policy: it may take rights away.
    pub(super) fn judge(&self) -> Verdict {
        let tries = [(true, true), (true, false), (false, true)];
        let fitting = tries.into_iter().find(|(with_policy, with_tables)| {
            let there = (!with_policy || self.new_policy.is_some()) && (!with_tables || self.new_tables.is_some());
            there && strays(self.policy(*with_policy), self.tables(*with_tables)).is_empty()
        });
        let (takes_policy, takes_tables) = fitting.unwrap_or((false, false));
        let unknown = self.new_policy.filter(|_| !takes_policy);
        let left_out = self.new_tables.filter(|_| !takes_tables);
        Verdict {
            takes_policy,
            takes_tables,
            unknown: unknown.map(|policy| strays(policy, self.tables(takes_tables))).unwrap_or_default(),
            left_out: left_out.map(|tables| strays(self.policy(takes_policy), tables)).unwrap_or_default(),
        }
    }

    fn policy(&self, new: bool) -> &Policy {
        self.new_policy.filter(|_| new).unwrap_or(self.policy)
    }

    fn tables(&self, new: bool) -> &Tables {
        self.new_tables.filter(|_| new).unwrap_or(self.tables)
    }
}

pub(super) fn strays(policy: &Policy, tables: &Tables) -> Strays {
    policy.strays(|tenant| tables.contains_key(tenant))
}
