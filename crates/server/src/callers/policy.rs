//! The policy file: one `[[module]]` for each module.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use figment::value::Dict;
use serde::Deserialize;
use tokenvault_core::ids::{ModuleName, TenantId};
use tokenvault_core::record::Acquisition;

use super::{CertificateKey, CertificateNames, NameError, Roster};
use crate::config::strict;
use crate::config::{ConfigError, Finding};
use crate::http::Action;
use crate::problem::{Code, Problem};
use crate::vault::Caller;

/// A module and what it may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Its name.
    pub name: ModuleName,
    /// The tenants it may act in.
    pub tenants: BTreeSet<TenantId>,
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
pub(super) struct Entry {
    name: ModuleName,
    uri_san: Option<String>,
    dns_san: Option<String>,
    cn: Option<String>,
    tenants: BTreeSet<TenantId>,
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
pub struct Policy(BTreeMap<CertificateKey, Arc<Module>>);

impl Roster for Policy {
    const LIST: &'static str = "module";

    fn add(&mut self, table: &Dict, place: &dyn Fn(&str) -> String, findings: &mut Vec<Finding>) {
        let unknown = strict::unknown_keys::<Entry>(table, place);
        if !unknown.is_empty() {
            return findings.extend(unknown);
        }
        let entry = match strict::read::<Entry>(table, place) {
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
        let module = Module {
            name: entry.name,
            tenants: entry.tenants,
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
        Roster::load(file)
    }

    /// Parses a policy.
    pub fn parse(text: &str) -> Result<Self, Vec<Finding>> {
        Roster::parse(text)
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
    pub fn modules(&self) -> impl Iterator<Item = &Module> {
        self.0.values().map(|module| &**module)
    }

    /// The module a certificate belongs to. A certificate whose names match several modules belongs to none.
    pub fn module(&self, names: &CertificateNames) -> Option<&Arc<Module>> {
        let mut found = CertificateKey::all(names).filter_map(|key| self.0.get(&key));
        let first = found.next()?;
        found.all(|other| other.name == first.name).then_some(first)
    }

    /// Admits the holder of a certificate to an action in a tenant.
    pub fn admit(
        &self,
        names: Result<&CertificateNames, NameError>,
        tenant: Option<&str>,
        action: Action,
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
            tenant: tenant_of(module, tenant)?,
            acquisitions: module.register.clone(),
            reads: module.read,
        })
    }
}

fn tenant_of(module: &Module, named: Option<&str>) -> Result<TenantId, Problem> {
    let denied = || Problem::new(Code::TenantDenied, "The tenant is not one of the caller's.");
    match named {
        Some(named) => module.tenants.iter().find(|tenant| tenant.as_str() == named).cloned().ok_or_else(denied),
        None if module.tenants.len() == 1 => module.tenants.first().cloned().ok_or_else(denied),
        None => Err(Problem::new(Code::TenantMissing, "The caller has several tenants; x-okapi-tenant must name one.")),
    }
}
