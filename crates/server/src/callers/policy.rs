//! The policy file: one `[[module]]` for each module.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use figment::value::Dict;
use serde::Deserialize;
use tokenvault_core::ids::{ModuleName, TenantId};
use tokenvault_core::record::Acquisition;
use tokenvault_vault::jobs::Caller;
use tokenvault_vault::problem::{Code, Problem};

use super::{Action, CertificateKey, GrantedTenants, PolicyTable};
use crate::config::strict;
use crate::config::{ConfigError, Finding};
use crate::tls::{CertificateNames, NameError};

/// A module and what it may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleRights {
    /// Its name.
    pub name: ModuleName,
    /// The tenants it may act in, as far as they are configured.
    pub tenants: GrantedTenants,
    /// The tenant of calls that name none.
    pub default_tenant: Option<TenantId>,
    /// The acquisitions it may ask for; none means that it may not register.
    pub register: BTreeSet<Acquisition>,
    /// Whether it may read tokens of jobs that name it.
    pub read: bool,
    /// Whether it may release its jobs.
    pub release: bool,
    /// Whether it may watch jobs.
    pub watch: bool,
}

/// One entry, as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ModuleEntry {
    name: ModuleName,
    uri_san: Option<String>,
    dns_san: Option<String>,
    cn: Option<String>,
    tenants: GrantedTenants,
    default_tenant: Option<TenantId>,
    #[serde(default)]
    register: BTreeSet<Acquisition>,
    #[serde(default)]
    read: bool,
    #[serde(default)]
    release: bool,
    #[serde(default)]
    watch: bool,
}

/// Who may do what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy(BTreeMap<CertificateKey, Arc<ModuleRights>>);

impl PolicyTable for Policy {
    const LIST: &'static str = "module";

    fn add(&mut self, table: &Dict, place: &dyn Fn(&str) -> String, findings: &mut Vec<Finding>) {
        let unknown = strict::unknown_keys::<ModuleEntry>(table, place);
        if !unknown.is_empty() {
            return findings.extend(unknown);
        }
        let entry = match strict::read::<ModuleEntry>(table, place) {
            Ok(entry) => entry,
            Err(finding) => return findings.push(finding),
        };
        let key = match CertificateKey::only(entry.uri_san, entry.dns_san, entry.cn) {
            Ok(key) => key,
            Err((key, problem)) => return findings.push(Finding::new(place(key), problem)),
        };
        if self.0.values().any(|module| module.name == entry.name) {
            findings.push(Finding::new(place("name"), "stands in an earlier entry already"));
        }
        if entry.tenants.is_empty() {
            findings.push(Finding::new(place("tenants"), "must name at least one tenant"));
        }
        if entry.default_tenant.as_ref().is_some_and(|tenant| !entry.tenants.contains(tenant)) {
            findings.push(Finding::new(place("default_tenant"), "must be among `tenants`"));
        }
        let module = ModuleRights {
            name: entry.name,
            tenants: entry.tenants,
            default_tenant: entry.default_tenant,
            register: entry.register,
            read: entry.read,
            release: entry.release,
            watch: entry.watch,
        };
        if self.0.insert(key, Arc::new(module)).is_some() {
            findings.push(Finding::new(place("name"), "its certificate name stands in an earlier entry already"));
        }
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

impl Policy {
    /// Reads a policy file; everything wrong in it is told together.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        PolicyTable::load(file)
    }

    /// Parses a policy.
    pub fn parse(text: &str) -> Result<Self, Vec<Finding>> {
        PolicyTable::parse(text)
    }

    /// How many modules are known.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nobody is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The modules, in no particular order.
    pub fn modules(&self) -> impl Iterator<Item = &ModuleRights> {
        self.0.values().map(|module| &**module)
    }

    /// The modules, each with the name of the certificate it is known by.
    pub fn entries(&self) -> impl Iterator<Item = (&CertificateKey, &ModuleRights)> {
        self.0.iter().map(|(key, module)| (key, &**module))
    }

    /// The module a certificate belongs to. A certificate whose names match several modules belongs to none.
    pub fn module(&self, names: &CertificateNames) -> Option<&Arc<ModuleRights>> {
        let mut found = CertificateKey::all(names).filter_map(|key| self.0.get(&key));
        let first = found.next()?;
        found.all(|other| other.name == first.name).then_some(first)
    }

    /// The tenants that the policy names and that are not there, each with the modules for which it does.
    pub fn unknown_tenants(&self, is_there: impl Fn(&TenantId) -> bool) -> BTreeMap<TenantId, BTreeSet<ModuleName>> {
        let mut unknown_tenants: BTreeMap<TenantId, BTreeSet<ModuleName>> = BTreeMap::new();
        for module in self.modules() {
            let named = module.tenants.names().chain(&module.default_tenant);
            for tenant in named.filter(|tenant| !is_there(tenant)) {
                unknown_tenants.entry(tenant.clone()).or_default().insert(module.name.clone());
            }
        }
        unknown_tenants
    }

    /// Admits the holder of a certificate to an action in a tenant. Only a tenant that is there can be acted in.
    pub fn admit(
        &self,
        names: Result<&CertificateNames, NameError>,
        tenant: Option<&str>,
        action: Action,
        is_there: impl Fn(&TenantId) -> bool,
    ) -> Result<Caller, Problem> {
        let unknown = || Problem::new(Code::CallerUnknown, "The certificate maps to no module.");
        let module = names.ok().and_then(|names| self.module(names)).ok_or_else(unknown)?;
        let granted = match action {
            Action::Register => !module.register.is_empty(),
            Action::Read => module.read,
            Action::Release => module.release,
        };
        if !granted {
            return Err(Problem::new(Code::ActionDenied, format!("{} may not do this.", module.name)));
        }
        Ok(Caller {
            module: module.name.clone(),
            tenant: tenant_of(module, tenant)
                .and_then(|tenant| if is_there(&tenant) { Ok(tenant) } else { Err(denied()) })?,
            acquisitions: module.register.clone(),
            reads: module.read,
        })
    }
}

fn denied() -> Problem {
    Problem::new(Code::TenantDenied, "The tenant is not one of the caller's.")
}

fn tenant_of(module: &ModuleRights, named: Option<&str>) -> Result<TenantId, Problem> {
    let Some(named) = named else {
        let tenant = module.default_tenant.as_ref().or(module.tenants.only()).cloned();
        let why = "The caller has several tenants; x-okapi-tenant must name one.";
        return tenant.ok_or_else(|| Problem::new(Code::TenantMissing, why));
    };
    TenantId::parse(named).ok().filter(|tenant| module.tenants.contains(tenant)).ok_or_else(denied)
}
