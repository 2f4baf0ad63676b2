//! What holds for a tenant, as the configuration says, and which tenants there are at the moment.
//!
//! Tenants come and go while the vault runs. What jobs need of a tenant and what Keycloak's adapter needs change together,
//! as one value; whoever has begun with the one before finishes with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
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
    /// The most records of one module: its jobs, and what is left of those that have ended.
    pub max_records_per_module: usize,
    /// Clients whose pairs may be deposited.
    pub adopt_clients: BTreeSet<ClientId>,
    /// How jobs are renewed.
    pub renewal: Settings,
}

/// The tenants that are served at the moment, as jobs go by them.
pub trait TenantRegistry: Send + Sync {
    /// A tenant's rules; `None` if it is not configured (any more).
    fn get(&self, tenant: &TenantId) -> Option<Arc<TenantRules>>;

    /// How a job of the tenant is ended, whether or not the tenant is configured.
    fn settings(&self, tenant: &TenantId) -> Settings;

    /// How many there are.
    fn count(&self) -> usize;

    /// Changes whenever the tenants do.
    fn version(&self) -> u64;
}

/// A tenant that is served: its rules, and its realm at the identity provider, which an adapter reads.
#[derive(Debug, Clone)]
pub struct Served<Realm> {
    /// Its rules for jobs.
    pub rules: Arc<TenantRules>,
    /// Its realm; `None` where the identity provider was put together by somebody else.
    pub realm: Option<Arc<Realm>>,
}

/// The tenants there are at the moment.
#[derive(Debug)]
pub struct Tenants<Realm = ()> {
    current: ArcSwap<Set<Realm>>,
    /// How jobs are ended whose tenant is not configured.
    elsewhere: Settings,
}

#[derive(Debug)]
struct Set<Realm> {
    tenants: BTreeMap<TenantId, Served<Realm>>,
    /// Counts the sets there have been.
    version: u64,
}

impl Tenants {
    /// Gathers tenants without their realms.
    pub fn new(rules: impl IntoIterator<Item = TenantRules>) -> Self {
        let tenants = rules.into_iter().map(|rules| {
            let id = rules.client.tenant.clone();
            (id, Served { rules: Arc::new(rules), realm: None })
        });
        Self::serving(tenants.collect(), Settings::default())
    }
}

impl<Realm> Tenants<Realm> {
    /// Starts with these; jobs of others are ended by the given settings.
    pub fn serving(tenants: BTreeMap<TenantId, Served<Realm>>, elsewhere: Settings) -> Self {
        Self { current: ArcSwap::from_pointee(Set { tenants, version: 0 }), elsewhere }
    }

    /// Serves these from now on, and no other.
    pub fn replace(&self, tenants: BTreeMap<TenantId, Served<Realm>>) {
        let version = self.current.load().version + 1;
        self.current.store(Arc::new(Set { tenants, version }));
    }

    /// A tenant's realm, where it has one.
    pub fn realm(&self, tenant: &TenantId) -> Option<Arc<Realm>> {
        self.current.load().tenants.get(tenant)?.realm.clone()
    }
}

impl<Realm: Send + Sync> TenantRegistry for Tenants<Realm> {
    fn get(&self, tenant: &TenantId) -> Option<Arc<TenantRules>> {
        self.current.load().tenants.get(tenant).map(|served| Arc::clone(&served.rules))
    }

    fn settings(&self, tenant: &TenantId) -> Settings {
        self.get(tenant).map_or_else(|| self.elsewhere.clone(), |rules| rules.renewal.clone())
    }

    fn count(&self) -> usize {
        self.current.load().tenants.len()
    }

    fn version(&self) -> u64 {
        self.current.load().version
    }
}
