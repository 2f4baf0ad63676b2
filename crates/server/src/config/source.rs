//! Where the tenants come from: the tables of the main file, those of the file that `keycloak.tenants_file` names, and what
//! the environment overrides in both. The main file is read once; the other one may be read again at any time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::value::{Dict, Value};
use tokenvault_core::ids::TenantId;

use super::environment::Environment;
use super::error::{ConfigError, Finding};
use super::file_names::resolve_files;
use super::named::fill_in;
use super::strict;
use super::tenant::{self, Tenant};

/// The key of `[keycloak]` that names the file.
pub(super) const FILE_KEY: &str = "tenants_file";

/// What tenants are made of, so that they can be made again.
#[derive(Debug, Clone, PartialEq)]
pub struct TenantSource {
    /// `[keycloak]`, overrides included.
    pub(super) common: Dict,
    /// The tables `[tenants.NAME]` of the main file.
    pub(super) listed: Dict,
    /// The same tables as the environment has them.
    pub(super) overrides: Dict,
    pub(super) environment: Environment,
    /// The main file.
    pub(super) main: PathBuf,
    /// The file with more tenants.
    pub(super) file: Option<PathBuf>,
    /// What every call of Keycloak must be much shorter than.
    pub(super) quarantine: Option<Duration>,
}

/// A tenant's own table as it stands in one of the files.
#[derive(Default)]
struct WrittenTable<'a> {
    /// Missing where only variables make the tenant.
    table: Option<&'a Value>,
    /// The tenants' file, where it stands there.
    file: Option<&'a Path>,
}

impl TenantSource {
    /// The file with more tenants, if one is configured.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The file in which a tenant is added or taken out.
    pub fn place(&self) -> &Path {
        self.file.as_deref().unwrap_or(&self.main)
    }

    /// Reads the tenants, those of the tenants' file as it is now.
    pub fn read(&self) -> Result<BTreeMap<TenantId, Tenant>, ConfigError> {
        let text = match &self.file {
            None => None,
            Some(file) => Some(std::fs::read_to_string(file).map_err(|error| self.unreadable(&error))?),
        };
        self.parse(text.as_deref())
    }

    /// What is said of a tenants' file that cannot be read.
    pub(crate) fn unreadable(&self, error: &std::io::Error) -> ConfigError {
        let place = format!("tenants {}", self.place().display());
        ConfigError::one(&self.main, Finding::new(place, format!("cannot be read: {error}")))
    }

    /// The same with what would stand in the tenants' file; without a text only the main file's tenants are there.
    pub fn parse(&self, text: Option<&str>) -> Result<BTreeMap<TenantId, Tenant>, ConfigError> {
        let mut findings = Vec::new();
        let tenants = self.gather(text, &mut findings);
        if findings.is_empty() {
            Ok(tenants)
        } else {
            Err(ConfigError { file: self.main.display().to_string(), findings })
        }
    }

    pub(super) fn gather(&self, text: Option<&str>, findings: &mut Vec<Finding>) -> BTreeMap<TenantId, Tenant> {
        let unknown =
            strict::unknown_keys::<tenant::TenantKeys>(&self.common, &|key| self.named(&format!("keycloak.{key}")));
        let common_is_sound = unknown.is_empty();
        findings.extend(unknown);
        let added = text.map(|text| self.tables(text, findings)).unwrap_or_default();
        let tables = self.written(&added, findings);
        if tables.is_empty() && self.file.is_none() {
            findings
                .push(Finding::new("tenants", "there is none: add a table [tenants.NAME] for each, even an empty one"));
        }
        let mut tenants = BTreeMap::new();
        let mut told = BTreeSet::new();
        for (name, written) in tables {
            match self.tenant(name, &written, common_is_sound) {
                Ok(Some((id, tenant))) => drop(tenants.insert(id, tenant)),
                Ok(None) => {}
                // One mistake in [keycloak] is one finding, however many tenants have it from there.
                Err(found) => findings.extend(found.into_iter().filter(|finding| {
                    let place = finding.place.split(FOR).next().unwrap_or_default().to_owned();
                    !finding.place.contains(FOR) || told.insert((place, finding.problem.clone()))
                })),
            }
        }
        self.check_patience(&tenants, &added, findings);
        tenants
    }

    /// The tables of the tenants' file.
    fn tables(&self, text: &str, findings: &mut Vec<Finding>) -> Dict {
        let root = toml::from_str::<Dict>(text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start].lines().count().max(1));
            findings
                .push(Finding::new(self.in_file(&format!("line {line}")), format!("is not TOML: {}", error.message())));
        });
        let mut root = root.unwrap_or_default();
        for key in root.keys().filter(|key| *key != "tenants") {
            findings.push(Finding::new(self.in_file(key), strict::unknown_key(key, &["tenants"])));
        }
        match root.remove("tenants") {
            None => Dict::new(),
            Some(Value::Dict(_, tables)) => tables,
            Some(_) => {
                findings.push(Finding::new(self.in_file("tenants"), "must be a table: [tenants]"));
                Dict::new()
            }
        }
    }

    /// Every tenant's table, by the name it stands under.
    fn written<'a>(&'a self, added: &'a Dict, findings: &mut Vec<Finding>) -> BTreeMap<&'a String, WrittenTable<'a>> {
        let mut tables: BTreeMap<&String, WrittenTable<'_>> = BTreeMap::new();
        // A variable by itself makes a tenant as well.
        tables.extend(self.overrides.keys().map(|name| (name, WrittenTable::default())));
        tables.extend(self.listed.iter().map(|(name, table)| (name, WrittenTable { table: Some(table), file: None })));
        for (name, table) in added {
            if self.listed.contains_key(name) {
                let problem = format!("stands in {} as well; take one of the two out", self.main.display());
                findings.push(Finding::new(self.in_file(&format!("tenants.{name}")), problem));
                continue;
            }
            tables.insert(name, WrittenTable { table: Some(table), file: self.file.as_deref() });
        }
        tables
    }

    /// Reads one tenant; nothing where the fault is not its own.
    fn tenant(
        &self,
        name: &str,
        written: &WrittenTable<'_>,
        common_is_sound: bool,
    ) -> Result<Option<(TenantId, Tenant)>, Vec<Finding>> {
        let shown = format!("tenants.{name}");
        let place = |key: &str| {
            let key = if key.is_empty() { shown.clone() } else { format!("{shown}.{key}") };
            self.environment.variable(&key).unwrap_or_else(|| match written.file {
                Some(_) => self.in_file(&key),
                None => key,
            })
        };
        let unreadable = || vec![Finding::new(place(""), "must be a table, named by a tenant")];
        let id = TenantId::parse(name).map_err(|_| unreadable())?;
        let table = |value: Option<&Value>| match value {
            None => Ok(Dict::new()),
            Some(value) => value.as_dict().cloned().ok_or_else(unreadable),
        };
        let (own, over) = (table(written.table)?, table(self.overrides.get(name))?);
        let mut wrong = misplaced(&own, &place);
        wrong.extend(misplaced(&over, &place));
        if !wrong.is_empty() {
            return Err(wrong);
        }
        if !common_is_sound {
            return Ok(None);
        }
        let inherited = |key: &str| {
            let key = format!("keycloak.{key}");
            self.environment.variable(&key).unwrap_or_else(|| format!("{key}{FOR}{name})"))
        };
        let (common, slips) = filled(&self.common, &id, &self.main);
        wrong.extend(slips.into_iter().map(|(key, problem)| Finding::new(inherited(&key), problem)));
        let (mut own, mut slips) = filled(&own, &id, written.file.unwrap_or(&self.main));
        let (over, more) = filled(&over, &id, &self.main);
        slips.extend(more);
        wrong.extend(slips.into_iter().map(|(key, problem)| Finding::new(place(&key), problem)));
        if !wrong.is_empty() {
            return Err(wrong);
        }
        lay_over(&mut own, over);
        // What the tenant does not set itself comes from [keycloak]: that is where it is to be mended.
        let origin = |key: &str| {
            let head = key.split('.').next().unwrap_or(key);
            if own.contains_key(head) || !common.contains_key(head) { place(key) } else { inherited(key) }
        };
        tenant::read(&tenant::overlay(&common, &own), &origin).map(|tenant| Some((id, tenant)))
    }

    /// A spend is sent within the first third of the quarantine, and may be at work in Keycloak until it times out; only then
    /// can a probe tell what became of it.
    fn check_patience(&self, tenants: &BTreeMap<TenantId, Tenant>, added: &Dict, findings: &mut Vec<Finding>) {
        let Some(left) = self.quarantine.map(|quarantine| quarantine * 2 / 3) else { return };
        let slow: Vec<&TenantId> =
            tenants.iter().filter(|(_, tenant)| tenant.request_timeout >= left).map(|(id, _)| id).collect();
        let (theirs, ours): (Vec<_>, Vec<_>) = slow.into_iter().partition(|id| added.contains_key(id.as_str()));
        if !ours.is_empty() {
            let problem = "two thirds of it must be longer than every tenant's `request_timeout`";
            findings.push(Finding::new(self.named("renewal.quarantine"), problem));
        }
        for id in theirs {
            let problem = "must be shorter than two thirds of `renewal.quarantine`";
            findings.push(Finding::new(self.in_file(&format!("tenants.{id}.request_timeout")), problem));
        }
    }

    /// A key, or the variable that sets it.
    fn named(&self, key: &str) -> String {
        self.environment.variable(key).unwrap_or_else(|| key.to_owned())
    }

    /// A place in the tenants' file.
    fn in_file(&self, place: &str) -> String {
        format!("tenants {}, {place}", self.place().display())
    }
}

/// What stands between an inherited key and the tenant that was looked at.
const FOR: &str = " (for ";

/// The keys that no tenant's table may have.
fn misplaced(table: &Dict, place: &dyn Fn(&str) -> String) -> Vec<Finding> {
    let mut wrong = strict::unknown_keys::<tenant::TenantKeys>(table, place);
    if table.contains_key(FILE_KEY) {
        wrong.push(Finding::new(place(FILE_KEY), "stands in [keycloak] alone: it is one file for all tenants"));
    }
    wrong
}

/// A table with the tenant's name filled in, and the slips in it; file names are relative to the file it stands in.
fn filled(table: &Dict, tenant: &TenantId, file: &Path) -> (Dict, Vec<(String, &'static str)>) {
    let (mut filled, slips) = fill_in(table, tenant);
    resolve_files(&mut filled, file.parent().unwrap_or(Path::new("")));
    (filled, slips)
}

fn lay_over(table: &mut Dict, over: Dict) {
    for (key, value) in over {
        match (table.get_mut(&key), value) {
            (Some(Value::Dict(_, under)), Value::Dict(_, over)) => lay_over(under, over),
            (_, value) => drop(table.insert(key, value)),
        }
    }
}
