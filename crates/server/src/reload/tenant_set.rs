//! Making tenants of what is configured for them and what stands in their files, anew only where something has changed.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

use tokenvault_core::ids::TenantId;
use tokenvault_vault::files::fingerprints;

use crate::config::{Finding, RenewalSection, Tenant, TenantSource};
use crate::realms::ServedTenant;
use crate::telemetry::metrics::Metrics;
use crate::wiring::TenantFactory;

/// What is configured for each tenant.
pub(super) type TenantTables = BTreeMap<TenantId, Tenant>;

/// A tenant as it was made.
#[derive(Clone)]
pub(super) struct MadeTenant {
    tenant: Tenant,
    /// What tells whether its files have changed since.
    prints: Vec<Option<u64>>,
    pub(super) served: ServedTenant,
}

/// Tenants that can be served together.
pub(super) struct MadeTenants {
    pub(super) made: BTreeMap<TenantId, MadeTenant>,
    /// What is wrong with the files of tenants that go on with what stood in them before.
    pub(super) spoilt: Vec<Finding>,
}

impl MadeTenants {
    pub(super) fn served(&self) -> BTreeMap<TenantId, ServedTenant> {
        self.made.iter().map(|(id, made)| (id.clone(), made.served.clone())).collect()
    }
}

/// Makes tenants, and knows those in force.
pub(super) struct TenantBuilder {
    maker: TenantFactory,
    pub(super) in_force: BTreeMap<TenantId, MadeTenant>,
}

impl TenantBuilder {
    pub(super) fn new(renewal: &RenewalSection, metrics: Option<&Arc<Metrics>>) -> Self {
        Self { maker: TenantFactory::new(renewal, metrics), in_force: BTreeMap::new() }
    }

    /// Makes what is not in force already. A tenant that is new, or configured otherwise, needs all its files; one that is in
    /// force does without new ones.
    pub(super) fn build(&mut self, tables: &TenantTables) -> Result<MadeTenants, Vec<Finding>> {
        let mut built = MadeTenants { made: BTreeMap::new(), spoilt: Vec::new() };
        let mut missing = Vec::new();
        for (id, tenant) in tables {
            // Before they are read: a change in between is seen at the next look.
            let prints = fingerprints(tenant.files());
            missing.extend(self.in_force.get(id).and_then(|made| renamed_users(id, &made.tenant, tenant)));
            let known = self.in_force.get(id).filter(|made| made.tenant == *tenant);
            let made = match known {
                Some(made) if made.prints == prints => Ok(made.clone()),
                _ => make(&mut self.maker, id, tenant).map(|served| MadeTenant {
                    tenant: tenant.clone(),
                    prints,
                    served,
                }),
            };
            match (made, known) {
                (Ok(made), _) => drop(built.made.insert(id.clone(), made)),
                (Err(found), Some(made)) => {
                    built.spoilt.extend(found);
                    built.made.insert(id.clone(), made.clone());
                }
                (Err(found), None) => missing.extend(found),
            }
        }
        if missing.is_empty() { Ok(built) } else { Err(missing) }
    }
}

/// The claim that users are known by says whose a running job is: by another one its tokens would be taken for another
/// user's, and it would end.
fn renamed_users(id: &TenantId, before: &Tenant, after: &Tenant) -> Option<Finding> {
    let problem =
        "cannot be changed while the vault runs: jobs of the tenant would end. Restart it where that is meant";
    (before.user_id_claim != after.user_id_claim).then(|| Finding::new(format!("tenants.{id}.user_id_claim"), problem))
}

fn make(maker: &mut TenantFactory, id: &TenantId, tenant: &Tenant) -> Result<ServedTenant, Vec<Finding>> {
    let secrets = tenant.read_secrets()?;
    maker.make(id, tenant, &secrets).map_err(|found| {
        let problem = format!("{} (tenant {id})", found.problem);
        vec![Finding { problem, ..found }]
    })
}

/// So many looks wait for the file to come to rest.
const MOST_UNSETTLED: u32 = 3;

/// The file with more tenants, as it was read last.
pub(super) struct TenantsFile {
    /// As it was at the last look.
    sighted: Option<u64>,
    /// How many looks in a row have found it changed.
    unsettled: u32,
    /// As it was when it was parsed.
    taken: Option<u64>,
    parsed: Result<Arc<TenantTables>, Vec<Finding>>,
}

impl TenantsFile {
    pub(super) fn new(tables: Arc<TenantTables>) -> Self {
        Self { sighted: None, unsettled: 0, taken: None, parsed: Ok(tables) }
    }

    /// The tenants as they are configured now. Nothing while the file is being written: half of it may look whole, and the
    /// tenants in the other half as if they had been taken out. So it counts when two looks have found the same. One that
    /// never comes to rest holds up nothing else: then it is as it was.
    pub(super) fn look(&mut self, source: &TenantSource) -> Option<Result<Arc<TenantTables>, Vec<Finding>>> {
        let Some(file) = source.file() else { return Some(self.parsed.clone()) };
        let text = std::fs::read_to_string(file);
        let print = Some(print(&text));
        if self.taken != print {
            if self.sighted != print {
                self.sighted = print;
                self.unsettled += 1;
                return (self.unsettled > MOST_UNSETTLED).then(|| self.parsed.clone());
            }
            self.taken = print;
            let parsed = match &text {
                Ok(text) => source.parse(Some(text)),
                Err(error) => Err(source.unreadable(error)),
            };
            let parsed = parsed.map(Arc::new).map_err(|error| error.findings);
            let blank = text.is_ok_and(|text| text.trim().is_empty());
            let takes_all = parsed != self.parsed && parsed.as_ref().is_ok_and(|tables| tables.is_empty());
            self.parsed = if blank && takes_all { Err(vec![emptied(file)]) } else { parsed };
        }
        self.unsettled = 0;
        Some(self.parsed.clone())
    }
}

/// Nobody takes the last tenants out by a file with nothing in it; a full disk does.
fn emptied(file: &Path) -> Finding {
    let problem = "is empty: write the line [tenants] into it if there are to be none";
    Finding::new(file.display().to_string(), problem)
}

fn print(text: &std::io::Result<String>) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.as_ref().map_err(std::io::Error::kind).hash(&mut hasher);
    hasher.finish()
}

/// What a change does to the tenants, by their names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) added: BTreeSet<TenantId>,
    pub(super) removed: BTreeSet<TenantId>,
    /// Configured otherwise.
    pub(super) changed: BTreeSet<TenantId>,
    /// The same, with something else in their files.
    pub(super) reread: BTreeSet<TenantId>,
}

impl Difference {
    pub(super) fn between(before: &BTreeMap<TenantId, MadeTenant>, after: &BTreeMap<TenantId, MadeTenant>) -> Self {
        let missing_in = |others: &BTreeMap<TenantId, MadeTenant>, these: &BTreeMap<TenantId, MadeTenant>| {
            these.keys().filter(|id| !others.contains_key(*id)).cloned().collect()
        };
        let mut difference =
            Self { added: missing_in(before, after), removed: missing_in(after, before), ..Self::default() };
        for (id, made) in after {
            match before.get(id) {
                Some(old) if old.tenant != made.tenant => drop(difference.changed.insert(id.clone())),
                Some(old) if !Arc::ptr_eq(&old.served.rules, &made.served.rules) => {
                    difference.reread.insert(id.clone());
                }
                _ => {}
            }
        }
        difference
    }
}
