//! The configuration as a whole: read, merged with the environment, and checked section by section.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::Figment;
use figment::providers::Serialized;
use figment::value::{Dict, Value};
use serde::de::DeserializeOwned;
use tokenvault_core::ids::TenantId;

use super::check::{self, SectionCheck};
use super::environment::Environment;
use super::error::{ConfigError, Finding};
use super::file_names::resolve_files;
use super::named::PLACEHOLDER;
use super::sections::{
    AdminSection, AuditSection, IdpSection, KeyringSection, ManagementSection, PolicySection, RedisSection,
    RenewalSection, ServerSection, TelemetrySection,
};
use super::source::{self, TenantSource};
use super::strict;
use super::tenant::Tenant;

/// The configuration, complete and checked, but for the contents of the files it names.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where modules call.
    pub server: ServerSection,
    /// Where operators call.
    pub admin: Option<AdminSection>,
    /// Health and metrics.
    pub management: ManagementSection,
    /// Where the identity provider calls.
    pub idp: Option<IdpSection>,
    /// The store.
    pub redis: RedisSection,
    /// What tokens are sealed with.
    pub keyring: KeyringSection,
    /// Who may call.
    pub policy: PolicySection,
    /// The tenants as they were when it was read.
    pub tenants: BTreeMap<TenantId, Tenant>,
    /// What they are made of, to be read again.
    pub source: TenantSource,
    /// How pairs are kept fresh.
    pub renewal: RenewalSection,
    /// Who did what.
    pub audit: AuditSection,
    /// Logs.
    pub telemetry: TelemetrySection,
    /// The file it was read from.
    pub file: PathBuf,
}

/// The sections of the file.
pub(super) const SECTIONS: &[&str] = &[
    "server",
    "admin",
    "management",
    "idp",
    "redis",
    "keyring",
    "policy",
    "keycloak",
    "tenants",
    "renewal",
    "audit",
    "telemetry",
];

impl Config {
    /// Reads and checks the file, the overrides and the file with more tenants. Relative file names are relative to the
    /// directory of the file they stand in.
    pub fn load(file: &Path, environment: &Environment) -> Result<Self, ConfigError> {
        let fail = |problem: String| ConfigError::one(file, Finding::new("the configuration", problem));
        let text = std::fs::read_to_string(file).map_err(|error| fail(format!("cannot be read: {error}")))?;
        Self::assemble(&text, file, environment, |file| std::fs::read_to_string(file).map(Some))
    }

    /// Parses and checks what would stand in that file. Nothing is read: of the tenants only its own are there.
    pub fn parse(text: &str, file: &Path, environment: &Environment) -> Result<Self, ConfigError> {
        Self::assemble(text, file, environment, |_| Ok(None))
    }

    fn assemble(
        text: &str,
        file: &Path,
        environment: &Environment,
        read: impl Fn(&Path) -> std::io::Result<Option<String>>,
    ) -> Result<Self, ConfigError> {
        let one = |place: String, problem: String| ConfigError::one(file, Finding::new(place, problem));
        let written: Dict = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start].lines().count().max(1));
            one(format!("line {line}"), format!("is not TOML: {}", error.message()))
        })?;
        let listed = written.get("tenants").cloned();
        let merged =
            Figment::new().merge(Serialized::defaults(written)).merge(Serialized::defaults(environment.tables()));
        let mut root: Dict =
            merged.extract().map_err(|_| one("the configuration".to_owned(), "cannot be merged".to_owned()))?;
        let base = file.parent().unwrap_or(Path::new(""));
        for table in root.iter_mut().filter(|(section, _)| !TENANTS.contains(&section.as_str())) {
            if let Value::Dict(_, table) = table.1 {
                resolve_files(table, base);
            }
        }
        let mut reader = ConfigReader { root, listed, environment, findings: Vec::new() };
        let config = reader.config(file, &read);
        match config {
            Some(config) if reader.findings.is_empty() => Ok(config),
            _ => Err(ConfigError { file: file.display().to_string(), findings: reader.findings }),
        }
    }
}

/// The sections of which a tenant's name may be part: they are filled in for each tenant before file names are resolved.
const TENANTS: [&str; 2] = ["keycloak", "tenants"];

struct ConfigReader<'a> {
    root: Dict,
    /// `tenants` as the file alone has it.
    listed: Option<Value>,
    environment: &'a Environment,
    findings: Vec<Finding>,
}

impl ConfigReader<'_> {
    fn config(&mut self, file: &Path, read: &dyn Fn(&Path) -> std::io::Result<Option<String>>) -> Option<Config> {
        let environment = self.environment;
        let place = move |key: &str| environment.variable(key).unwrap_or_else(|| key.to_owned());
        for key in self.root.keys().filter(|key| !SECTIONS.contains(&key.as_str())) {
            self.findings.push(Finding::new(place(key), strict::unknown_key(key, SECTIONS)));
        }
        let server = self.section("server", SectionCheck::server);
        let admin = self.optional("admin", SectionCheck::admin);
        let management = self.section("management", |_, _: &ManagementSection| {});
        let idp = self.optional("idp", SectionCheck::idp);
        let redis = self.section("redis", SectionCheck::redis);
        let keyring = self.section("keyring", |check, keyring: &KeyringSection| check.given("file", &keyring.file));
        let policy = self.section("policy", |check, policy: &PolicySection| check.given("file", &policy.file));
        let renewal = self.section("renewal", SectionCheck::renewal);
        let audit = self.section("audit", SectionCheck::audit);
        let telemetry = self.section("telemetry", SectionCheck::telemetry);
        let source = self.source(file, renewal.as_ref().map(|renewal| renewal.quarantine));
        let tenants = source.as_ref().map(|source| self.tenants(source, read));
        let listeners = [
            ("server.listen", server.as_ref().map(|section| section.listen)),
            ("admin.listen", admin.as_ref().map(|section| section.listen)),
            ("management.listen", management.as_ref().map(|section| section.listen)),
            ("idp.listen", idp.as_ref().map(|section| section.listen)),
        ];
        let clashes = check::clashes(&listeners);
        self.findings.extend(clashes.into_iter().map(|(key, problem)| Finding::new(place(key), problem)));
        Some(Config {
            server: server?,
            admin,
            management: management?,
            idp,
            redis: redis?,
            keyring: keyring?,
            policy: policy?,
            tenants: tenants?,
            source: source?,
            renewal: renewal?,
            audit: audit?,
            telemetry: telemetry?,
            file: file.to_owned(),
        })
    }

    /// The section's table, empty if it is not there.
    fn table(&mut self, section: &str) -> Option<Dict> {
        match self.root.get(section) {
            None => Some(Dict::new()),
            Some(Value::Dict(_, table)) => Some(table.clone()),
            Some(_) => {
                self.findings.push(Finding::new(section, format!("must be a table: [{section}]")));
                None
            }
        }
    }

    fn section<T: DeserializeOwned>(&mut self, section: &'static str, check: fn(&mut SectionCheck, &T)) -> Option<T> {
        let environment = self.environment;
        let place = move |key: &str| {
            let key = format!("{section}.{key}");
            environment.variable(&key).unwrap_or(key)
        };
        let table = self.table(section)?;
        let literal = table.iter().filter(|(_, value)| value.as_str().is_some_and(|text| text.contains(PLACEHOLDER)));
        let problem = "`{tenant}` is filled in under [keycloak] and [tenants.NAME] alone";
        self.findings.extend(literal.map(|(key, _)| Finding::new(place(key), problem)));
        let unknown = strict::unknown_keys::<T>(&table, &place);
        if !unknown.is_empty() {
            self.findings.extend(unknown);
            return None;
        }
        let read = strict::read(&table, &place).map_err(|finding| self.findings.push(finding)).ok()?;
        let mut checked = SectionCheck::default();
        check(&mut checked, &read);
        self.findings.extend(checked.wrong.into_iter().map(|(key, problem)| Finding::new(place(&key), problem)));
        Some(read)
    }

    /// The same for a section that may be left out; `None` also where it is wrong, which is in the findings then.
    fn optional<T: DeserializeOwned>(&mut self, section: &'static str, check: fn(&mut SectionCheck, &T)) -> Option<T> {
        if self.root.contains_key(section) { self.section(section, check) } else { None }
    }

    /// Where the tenants come from.
    fn source(&mut self, main: &Path, quarantine: Option<Duration>) -> Option<TenantSource> {
        let environment = self.environment.clone();
        let mut common = self.table("keycloak")?;
        let listed = match self.listed.take() {
            None => Dict::new(),
            Some(Value::Dict(_, listed)) => listed,
            Some(_) => {
                self.findings.push(Finding::new("tenants", "must be a table: [tenants]"));
                return None;
            }
        };
        let overrides = match environment.tables().remove("tenants") {
            Some(Value::Dict(_, overrides)) => overrides,
            _ => Dict::new(),
        };
        let file = match common.remove(source::FILE_KEY) {
            None => None,
            Some(Value::String(_, name)) if !name.is_empty() && !name.contains(['{', '}']) => {
                Some(main.parent().unwrap_or(Path::new("")).join(name))
            }
            Some(_) => {
                let key = format!("keycloak.{}", source::FILE_KEY);
                let place = environment.variable(&key).unwrap_or(key);
                self.findings.push(Finding::new(place, "must be the name of one file for all tenants"));
                return None;
            }
        };
        Some(TenantSource { common, listed, overrides, environment, main: main.to_owned(), file, quarantine })
    }

    fn tenants(
        &mut self,
        source: &TenantSource,
        read: &dyn Fn(&Path) -> std::io::Result<Option<String>>,
    ) -> BTreeMap<TenantId, Tenant> {
        let text = match source.file().map(read).transpose() {
            Ok(text) => text.flatten(),
            Err(error) => {
                self.findings.extend(source.unreadable(&error).findings);
                None
            }
        };
        source.gather(text.as_deref(), &mut self.findings)
    }
}
