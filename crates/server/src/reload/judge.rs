//! Which of several changes are taken up: as many as fit together.

use std::collections::{BTreeMap, BTreeSet};

use tokenvault_core::ids::{ModuleName, TenantId};

use super::tenant_set::TenantTables;
use crate::callers::Policy;

/// Tenants that a policy names and that are not there, each with the modules for which it does.
pub(super) type UnknownTenants = BTreeMap<TenantId, BTreeSet<ModuleName>>;

/// A policy and tenants: those in force, which fit, and what is new and right by itself.
pub(super) struct Candidates<'a> {
    pub(super) policy: &'a Policy,
    pub(super) new_policy: Option<&'a Policy>,
    pub(super) tables: &'a TenantTables,
    pub(super) new_tables: Option<&'a TenantTables>,
}

/// What is taken up, and why the rest is not.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Acceptance {
    pub(super) takes_policy: bool,
    pub(super) takes_tables: bool,
    /// What a new policy names that is not taken up.
    pub(super) unknown: UnknownTenants,
    /// What new tenants that are not taken up leave out although the policy names it.
    pub(super) left_out: UnknownTenants,
}

impl Candidates<'_> {
    /// Both if they fit, else the one that fits what is in force. Where each would, the policy: it may take rights away.
    pub(super) fn judge(&self) -> Acceptance {
        let tries = [(true, true), (true, false), (false, true)];
        let fitting = tries.into_iter().find(|(with_policy, with_tables)| {
            let there = (!with_policy || self.new_policy.is_some()) && (!with_tables || self.new_tables.is_some());
            there && unknown_tenants(self.policy(*with_policy), self.tables(*with_tables)).is_empty()
        });
        let (takes_policy, takes_tables) = fitting.unwrap_or((false, false));
        let unknown = self.new_policy.filter(|_| !takes_policy);
        let left_out = self.new_tables.filter(|_| !takes_tables);
        Acceptance {
            takes_policy,
            takes_tables,
            unknown: unknown.map(|policy| unknown_tenants(policy, self.tables(takes_tables))).unwrap_or_default(),
            left_out: left_out.map(|tables| unknown_tenants(self.policy(takes_policy), tables)).unwrap_or_default(),
        }
    }

    fn policy(&self, new: bool) -> &Policy {
        self.new_policy.filter(|_| new).unwrap_or(self.policy)
    }

    fn tables(&self, new: bool) -> &TenantTables {
        self.new_tables.filter(|_| new).unwrap_or(self.tables)
    }
}

pub(super) fn unknown_tenants(policy: &Policy, tables: &TenantTables) -> UnknownTenants {
    policy.unknown_tenants(|tenant| tables.contains_key(tenant))
}
