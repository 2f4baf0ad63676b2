//! What may change while the vault runs: which tenants there are, what their clients prove themselves with, and which
//! module may do what where.
//!
//! The tenants' file, the files that tenants name and the policy are looked at every second and judged together. A change is
//! taken up as soon as it is right and fits the rest. Any other change is refused, reported once and counted, and the last
//! good version stays in force.
//!
//! So no module may ever be admitted to a tenant that is not there, and no slip of the pen takes away what works. The start and
//! `check-config` check the same.

mod judge;
mod losses;
mod tenant_set;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use judge::{Acceptance, Candidates, UnknownTenants, unknown_tenants};
use parking_lot::Mutex;
use tenant_set::{Difference, MadeTenants, TenantBuilder, TenantTables, TenantsFile};
use tokenvault_core::ids::{ModuleName, TenantId};
use tokenvault_vault::jobs::Caller;
use tokenvault_vault::problem::Problem;
use tokenvault_vault::tenants::TenantRegistry as _;

use crate::callers::{Action, CallerPolicy, Policy, PolicyVersion};
use crate::config::{Config, ConfigError, Finding, TenantSource};
use crate::notices::{Notices, ReloadRefusal, ReloadRefusals, refusal};
use crate::realms::RealmTenants;
use crate::telemetry::metrics::{Metrics, ReloadedFile};
use crate::tls::{CallerLookup, Peer};
use crate::wiring;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is in force, and the files it comes from.
pub struct LiveSettings {
    source: TenantSource,
    policy_file: PathBuf,
    policy: ArcSwap<Policy>,
    /// Counts the beginnings and the ends of its changes.
    policy_changes: AtomicU64,
    tenants: Arc<RealmTenants>,
    state: Mutex<ReloadState>,
    metrics: Arc<Metrics>,
    notices: Arc<Notices>,
}

struct ReloadState {
    builder: TenantBuilder,
    /// What the tenants in force are made of.
    tables: Arc<TenantTables>,
    file: TenantsFile,
}

/// The files that are judged together.
const FILES: [ReloadedFile; 3] = [ReloadedFile::Policy, ReloadedFile::Tenants, ReloadedFile::Secrets];

/// Makes the tenants of a configuration.
fn first(config: &Config, metrics: Option<&Arc<Metrics>>) -> Result<(TenantBuilder, MadeTenants), ConfigError> {
    let mut builder = TenantBuilder::new(&config.renewal, metrics);
    let built = builder.build(&config.tenants);
    let built = built.map_err(|findings| ConfigError { file: config.file.display().to_string(), findings })?;
    Ok((builder, built))
}

/// The tenants of a configuration, to be looked at and not to be changed.
pub fn tenants(config: &Config) -> Result<RealmTenants, ConfigError> {
    let (_, built) = first(config, None)?;
    Ok(RealmTenants::serving(built.served(), wiring::renewal_settings(&config.renewal)))
}

/// What a policy and the tenants of a configuration do not agree upon.
pub fn misfits(policy: &Policy, config: &Config) -> Vec<Finding> {
    let unknown_tenants = unknown_tenants(policy, &config.tenants);
    unknown_tenants.iter().map(|stray| Finding::new("tenants", unknown(stray, config.source.place()))).collect()
}

fn unknown((tenant, modules): (&TenantId, &BTreeSet<ModuleName>), tenants: &Path) -> String {
    let (modules, tenants) = (listed(modules), tenants.display());
    format!(
        "names the tenant {tenant} (for {modules}), which is not configured: add [tenants.{tenant}] to {tenants} first"
    )
}

fn left_out((tenant, modules): (&TenantId, &BTreeSet<ModuleName>), policy: &Path) -> String {
    let (modules, policy) = (listed(modules), policy.display());
    format!("leaves out the tenant {tenant}, which {policy} names (for {modules}): take it out there first")
}

fn listed<T: Display>(names: &BTreeSet<T>) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl LiveSettings {
    /// Reads everything for the first time; here an error is final.
    pub fn load(config: &Config, metrics: Arc<Metrics>, notices: Arc<Notices>) -> Result<Arc<Self>, ConfigError> {
        let (mut builder, built) = first(config, Some(&metrics))?;
        let policy = Policy::load(&config.policy.file)?;
        let findings = misfits(&policy, config);
        if !findings.is_empty() {
            return Err(ConfigError { file: config.policy.file.display().to_string(), findings });
        }
        if policy.is_empty() {
            tracing::warn!("the policy names nobody: no module may call");
        }
        if config.tenants.is_empty() {
            tracing::warn!(file = %config.source.place().display(), "no tenant is configured yet: nobody is served");
        }
        let tenants = RealmTenants::serving(built.served(), wiring::renewal_settings(&config.renewal));
        metrics.process.set_tenants(tenants.count());
        builder.in_force = built.made;
        let tables = Arc::new(config.tenants.clone());
        let file = TenantsFile::new(Arc::clone(&tables));
        Ok(Arc::new(Self {
            source: config.source.clone(),
            policy_file: config.policy.file.clone(),
            policy: ArcSwap::from_pointee(policy),
            policy_changes: AtomicU64::new(0),
            tenants: Arc::new(tenants),
            state: Mutex::new(ReloadState { builder, tables, file }),
            metrics,
            notices,
        }))
    }

    /// The tenants, as they are at any moment.
    pub fn tenants(&self) -> &Arc<RealmTenants> {
        &self.tenants
    }

    /// Looks at the files again and again.
    pub async fn watch(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let this = Arc::clone(&self);
            // On a thread where a disk that hangs holds up nobody else. The error of a task that panicked repeats its words.
            if tokio::task::spawn_blocking(move || this.look()).await.is_err() {
                tracing::error!("the look at the tenants and the policy failed");
            }
        }
    }

    /// Takes up what has changed, as far as it is right and fits together.
    pub(crate) fn look(&self) {
        let state = &mut *self.state.lock();
        let Some(tables) = state.file.look(&self.source) else { return };
        let mut refused = ReloadRefusals::new();
        let tables = self.new_tables(state, tables, &mut refused);
        let policy = self.new_policy(&mut refused);
        let verdict = Candidates {
            policy: &self.policy.load_full(),
            new_policy: policy.as_ref(),
            tables: &state.tables,
            new_tables: tables.as_ref().map(|(tables, _)| &**tables),
        }
        .judge();
        self.note(&verdict, &mut refused);
        let (old_policy, old_tables) = (self.policy.load_full(), Arc::clone(&state.tables));
        let built = match tables.filter(|_| verdict.takes_tables) {
            Some((tables, built)) => {
                state.tables = tables;
                Ok(built)
            }
            // The files that the tenants name may have changed by themselves.
            None => state.builder.build(&Arc::clone(&state.tables)),
        };
        match built {
            Ok(built) => self.serve(&mut state.builder, built, &mut refused),
            Err(findings) => drop(refused.insert(ReloadedFile::Secrets, refusal(&findings, None))),
        }
        if let Some(policy) = policy.filter(|_| verdict.takes_policy) {
            tracing::info!(modules = policy.len(), "the policy was read again");
            self.policy_changes.fetch_add(1, Ordering::SeqCst);
            self.policy.store(Arc::new(policy));
            self.policy_changes.fetch_add(1, Ordering::SeqCst);
        }
        self.notices.report_reload(&FILES, &refused);
        let policy = self.policy.load_full();
        let by_policy = losses::of_modules((&old_policy, &old_tables), (&policy, &old_tables));
        self.notices.report_losses(ReloadedFile::Policy, &by_policy);
        let mut by_tenants = losses::of_modules((&policy, &old_tables), (&policy, &state.tables));
        by_tenants.extend(losses::of_tables(&old_tables, &state.tables));
        self.notices.report_losses(ReloadedFile::Tenants, &by_tenants);
    }

    /// The tenants as they are configured now, if that is something else than before and right by itself.
    fn new_tables(
        &self,
        state: &mut ReloadState,
        tables: Result<Arc<TenantTables>, Vec<Finding>>,
        refused: &mut ReloadRefusals,
    ) -> Option<(Arc<TenantTables>, MadeTenants)> {
        let made = match tables {
            Ok(tables) if tables == state.tables => return None,
            Ok(tables) => state.builder.build(&tables).map(|built| (tables, built)),
            Err(findings) => Err(findings),
        };
        made.map_err(|findings| refused.insert(ReloadedFile::Tenants, refusal(&findings, Some(self.source.place()))))
            .ok()
    }

    /// The same of the policy.
    fn new_policy(&self, refused: &mut ReloadRefusals) -> Option<Policy> {
        match Policy::load(&self.policy_file) {
            Ok(policy) => (policy != **self.policy.load()).then_some(policy),
            Err(error) => {
                refused.insert(ReloadedFile::Policy, refusal(&error.findings, Some(&self.policy_file)));
                None
            }
        }
    }

    /// Notes what is right by itself and does not fit.
    fn note(&self, verdict: &Acceptance, refused: &mut ReloadRefusals) {
        let mut add = |what,
                       unknown_tenants: &UnknownTenants,
                       say: fn((&TenantId, &BTreeSet<ModuleName>), &Path) -> String,
                       first: &Path| {
            if !unknown_tenants.is_empty() {
                let problem = unknown_tenants.iter().map(|stray| say(stray, first)).collect::<Vec<_>>().join("; ");
                refused.insert(what, ReloadRefusal { problem, change_first: first.display().to_string() });
            }
        };
        add(ReloadedFile::Policy, &verdict.unknown, unknown, self.source.place());
        add(ReloadedFile::Tenants, &verdict.left_out, left_out, &self.policy_file);
    }

    /// Serves these tenants from now on.
    fn serve(&self, builder: &mut TenantBuilder, built: MadeTenants, refused: &mut ReloadRefusals) {
        if !built.spoilt.is_empty() {
            refused.insert(ReloadedFile::Secrets, refusal(&built.spoilt, None));
        }
        let Difference { added, removed, changed, reread } = Difference::between(&builder.in_force, &built.made);
        if !reread.is_empty() {
            tracing::info!(tenants = listed(&reread), "what the tenants' clients prove themselves with was read again");
        }
        let others = !(added.is_empty() && removed.is_empty() && changed.is_empty());
        if others {
            let (added, removed, changed) = (listed(&added), listed(&removed), listed(&changed));
            tracing::info!(added, removed, changed, count = built.made.len(), "the tenants were read again");
        }
        if others || !reread.is_empty() {
            self.tenants.replace(built.served());
            self.metrics.process.set_tenants(self.tenants.count());
        }
        builder.in_force = built.made;
    }
}

impl CallerPolicy for LiveSettings {
    fn admit(&self, peer: &Peer, tenant: Option<&str>, action: Action) -> Result<Caller, Problem> {
        self.policy.load().admit(peer.names(), tenant, action, |tenant| self.tenants.get(tenant).is_some())
    }

    fn version(&self) -> Option<PolicyVersion> {
        let policy = self.policy_changes.load(Ordering::SeqCst);
        Some(PolicyVersion { policy, tenants: self.tenants.version() })
    }

    fn module(&self, peer: &Peer) -> Option<ModuleName> {
        self.policy.load().module(peer.names().ok()?).map(|module| module.name.clone())
    }
}

impl CallerLookup for LiveSettings {
    fn caller_name(&self, peer: &Peer) -> Option<String> {
        self.module(peer).map(|module| module.to_string())
    }
}
