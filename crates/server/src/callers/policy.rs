//! The policy file: one `[[module]]` for each module.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use figment::value::{Dict, Value};
use serde::Deserialize;
use tokenvault_core::ids::{ModuleName, TenantId};
use tokenvault_core::record::Acquisition;
use url::Url;

use super::{CertificateNames, NameError};
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

/// The names by which certificates are recognised; a certificate's kinds of name never stand in for each other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Uri(String),
    Dns(String),
    Cn(String),
}

/// Who may do what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy(BTreeMap<Key, Arc<Module>>);

impl Policy {
    /// Reads a policy file; everything wrong in it is told together.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let fail = |problem: String| ConfigError {
            file: file.display().to_string(),
            findings: vec![Finding::new("file", problem)],
        };
        let text = std::fs::read_to_string(file).map_err(|error| fail(format!("cannot be read: {error}")))?;
        Self::parse(&text).map_err(|findings| ConfigError { file: file.display().to_string(), findings })
    }

    /// Parses a policy.
    pub fn parse(text: &str) -> Result<Self, Vec<Finding>> {
        let root: Dict = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start].lines().count().max(1));
            vec![Finding::new(format!("line {line}"), format!("is not TOML: {}", error.message()))]
        })?;
        let mut findings: Vec<Finding> = root
            .keys()
            .filter(|key| *key != "module")
            .map(|key| Finding::new(key, strict::unknown_key(key, &["module"])))
            .collect();
        let mut policy = Self::default();
        let entries = match root.get("module") {
            // An empty file is one that is just being written; that nobody may call is said by `module = []`.
            None => {
                findings.push(Finding::new("module", "there is none: add a table [[module]] for each"));
                Vec::new()
            }
            Some(Value::Array(_, entries)) => entries.clone(),
            Some(_) => {
                findings.push(Finding::new("module", "must be a list of tables: [[module]]"));
                Vec::new()
            }
        };
        for (at, entry) in entries.into_iter().enumerate() {
            policy.add(at, entry, &mut findings);
        }
        if findings.is_empty() { Ok(policy) } else { Err(findings) }
    }

    fn add(&mut self, at: usize, entry: Value, findings: &mut Vec<Finding>) {
        let place = move |key: &str| format!("module {}: {key}", at + 1);
        let Value::Dict(_, table) = entry else {
            return findings.push(Finding::new(format!("module {}", at + 1), "must be a table"));
        };
        let unknown = strict::unknown_keys::<Entry>(&table, &place);
        if !unknown.is_empty() {
            return findings.extend(unknown);
        }
        let entry = match strict::read::<Entry>(&table, &place) {
            Ok(entry) => entry,
            Err(finding) => return findings.push(finding),
        };
        let key = match certificate_name(entry.uri_san, entry.dns_san, entry.cn) {
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

    /// How many modules are known.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nobody is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The module a certificate belongs to. A certificate whose names match several modules belongs to none.
    pub fn module(&self, names: &CertificateNames) -> Option<&Arc<Module>> {
        let keys = names.uri.iter().map(|uri| Key::Uri(uri.clone()));
        let keys = keys.chain(names.dns.iter().map(|dns| Key::Dns(dns.to_ascii_lowercase())));
        let keys = keys.chain(names.cn.iter().map(|cn| Key::Cn(cn.clone())));
        let mut found = keys.filter_map(|key| self.0.get(&key));
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
        })
    }
}

/// The one name a certificate must carry; otherwise the key that is wrong and what to say of it.
fn certificate_name(
    uri: Option<String>,
    dns: Option<String>,
    cn: Option<String>,
) -> Result<Key, (&'static str, &'static str)> {
    match (uri, dns, cn) {
        (Some(uri), None, None) if uri.contains('*') => Err(("uri_san", "takes no wildcard")),
        (Some(uri), None, None) if Url::parse(&uri).is_err() => Err(("uri_san", "must be a URI")),
        (Some(uri), None, None) => Ok(Key::Uri(uri)),
        (None, Some(dns), None) if dns.contains('*') => Err(("dns_san", "takes no wildcard")),
        (None, Some(dns), None) if dns.is_empty() => Err(("dns_san", "must not be empty")),
        (None, Some(dns), None) => Ok(Key::Dns(dns.to_ascii_lowercase())),
        (None, None, Some(cn)) if cn.is_empty() => Err(("cn", "must not be empty")),
        (None, None, Some(cn)) => Ok(Key::Cn(cn)),
        _ => Err(("name", "give exactly one of uri_san, dns_san and cn")),
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
