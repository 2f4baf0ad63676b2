//! What holds for a tenant, as the configuration says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokenvault_core::ids::{ClientId, TenantId};
use tokenvault_core::policy::Settings;
use tokenvault_core::ports::Client;
use tokenvault_core::record::{Acquisition, OnLogout};

/// A tenant's rules for jobs.
#[derive(Debug, Clone)]
pub struct TenantRules {
    /// The vault's own client in the tenant.
    pub client: Client,
    /// The claim users are known by.
    pub user_id_claim: String,
    /// The acquisitions there may be, whatever a module's policy grants.
    pub acquisitions: BTreeSet<Acquisition>,
    /// The acquisition where a registration names none.
    pub acquisition: Acquisition,
    /// What a logout does where a registration says nothing; a job may only tighten it.
    pub on_logout: OnLogout,
    /// A job's life where a registration names no end.
    pub default_job_life: Duration,
    /// The longest life a registration may ask for.
    pub max_job_life: Duration,
    /// The most children under one parent.
    pub max_children: usize,
    /// The most jobs of one user at a time, children included.
    pub max_jobs_per_user: usize,
    /// Clients whose pairs may be deposited.
    pub adopt_clients: BTreeSet<ClientId>,
    /// How jobs are renewed.
    pub renewal: Settings,
}

/// The tenants there are.
#[derive(Debug, Clone, Default)]
pub struct Tenants(BTreeMap<TenantId, Arc<TenantRules>>);

impl Tenants {
    /// Gathers tenants.
    pub fn new(rules: impl IntoIterator<Item = TenantRules>) -> Self {
        Self(rules.into_iter().map(|rules| (rules.client.tenant.clone(), Arc::new(rules))).collect())
    }

    /// Their names.
    pub fn ids(&self) -> impl Iterator<Item = &TenantId> {
        self.0.keys()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// A tenant's rules.
    pub fn get(&self, tenant: &TenantId) -> Option<&Arc<TenantRules>> {
        self.0.get(tenant)
    }
}
