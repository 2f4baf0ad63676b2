//! The configuration: one TOML file, overrides from the environment, secrets in files of their own.
//!
//! Everything is checked here, once, and all that is wrong is told together. Nothing here keeps a secret, and no message
//! repeats a value. `deploy/tokenvault.toml` explains every key.

mod check;
mod environment;
mod error;
mod seconds;
mod secrets;
mod sections;
pub(crate) mod strict;
mod tenant;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::Serialized;
use figment::value::{Dict, Value};
use serde::de::DeserializeOwned;
use tokenvault_core::ids::TenantId;

pub use environment::{Environment, home};
pub use error::{ConfigError, Finding};
pub use secrets::{Secrets, TenantSecrets, VaultCredential, load_keyring, parse_keyring, read_secret};
pub use sections::{
    Admin, Audit, Idp, KeyringSection, LogFormat, Management, PolicySection, Redis, Renewal, Server, Telemetry,
};
pub use tenant::{Credential, Tenant};

use check::Check;

/// Where the file is looked for when the command line does not say.
pub const DEFAULT_FILE: &str = "/etc/tokenvault/tokenvault.toml";

/// The configuration, complete and checked, but for the contents of the files it names.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where modules call.
    pub server: Server,
    /// Where operators call.
    pub admin: Option<Admin>,
    /// Health and metrics.
    pub management: Management,
    /// Where the identity provider calls.
    pub idp: Option<Idp>,
    /// The store.
    pub redis: Redis,
    /// What tokens are sealed with.
    pub keyring: KeyringSection,
    /// Who may call.
    pub policy: PolicySection,
    /// The tenants; at least one.
    pub tenants: BTreeMap<TenantId, Tenant>,
    /// How pairs are kept fresh.
    pub renewal: Renewal,
    /// Who did what.
    pub audit: Audit,
    /// Logs.
    pub telemetry: Telemetry,
    /// The file it was read from.
    pub file: PathBuf,
}

/// The sections of the file.
const SECTIONS: &[&str] = &[
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
    /// Reads and checks the file and the overrides. Relative file names in it are relative to its own directory.
    pub fn load(file: &Path, environment: &Environment) -> Result<Self, ConfigError> {
        let fail = |problem: String| ConfigError::one(file, Finding::new("the configuration", problem));
        let text = std::fs::read_to_string(file).map_err(|error| fail(format!("cannot be read: {error}")))?;
        Self::parse(&text, file, environment)
    }

    /// Parses and checks what would stand in that file.
    pub fn parse(text: &str, file: &Path, environment: &Environment) -> Result<Self, ConfigError> {
        let one = |place: String, problem: String| ConfigError::one(file, Finding::new(place, problem));
        let written: Dict = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start].lines().count().max(1));
            one(format!("line {line}"), format!("is not TOML: {}", error.message()))
        })?;
        let merged =
            Figment::new().merge(Serialized::defaults(written)).merge(Serialized::defaults(environment.tables()));
        let mut root: Dict =
            merged.extract().map_err(|_| one("the configuration".to_owned(), "cannot be merged".to_owned()))?;
        let base = file.parent().unwrap_or(Path::new(""));
        resolve_files(&mut root, base);
        let mut reader = Reader { root, environment, findings: Vec::new() };
        let config = reader.config(file);
        match config {
            Some(config) if reader.findings.is_empty() => Ok(config),
            _ => Err(ConfigError { file: file.display().to_string(), findings: reader.findings }),
        }
    }
}

/// Makes the values of keys that name files absolute (as far as the configuration's own path is).
fn resolve_files(table: &mut Dict, base: &Path) {
    for (key, value) in table.iter_mut() {
        let names_file = key == "file" || key.ends_with("_file");
        match value {
            Value::String(_, name) if names_file && !name.is_empty() => {
                *name = base.join(&*name).to_string_lossy().into_owned();
            }
            Value::Dict(_, files) if key == "adopt_clients" => {
                for file in files.values_mut() {
                    if let Value::String(_, name) = file {
                        *name = base.join(&*name).to_string_lossy().into_owned();
                    }
                }
            }
            Value::Dict(_, inner) => resolve_files(inner, base),
            _ => {}
        }
    }
}

struct Reader<'a> {
    root: Dict,
    environment: &'a Environment,
    findings: Vec<Finding>,
}

impl Reader<'_> {
    fn config(&mut self, file: &Path) -> Option<Config> {
        let environment = self.environment;
        let place = move |key: &str| environment.variable(key).unwrap_or_else(|| key.to_owned());
        for key in self.root.keys().filter(|key| !SECTIONS.contains(&key.as_str())) {
            self.findings.push(Finding::new(place(key), strict::unknown_key(key, SECTIONS)));
        }
        let server = self.section("server", Check::server);
        let admin = self.optional("admin", Check::admin);
        let management = self.section("management", |_, _: &Management| {});
        let idp = self.optional("idp", Check::idp);
        let redis = self.section("redis", Check::redis);
        let keyring = self.section("keyring", |check, keyring: &KeyringSection| check.given("file", &keyring.file));
        let policy = self.section("policy", |check, policy: &PolicySection| check.given("file", &policy.file));
        let renewal = self.section("renewal", Check::renewal);
        let audit = self.section("audit", Check::audit);
        let telemetry = self.section("telemetry", Check::telemetry);
        let tenants = self.tenants(&place);
        let listeners = [
            ("server.listen", server.as_ref().map(|section| section.listen)),
            ("admin.listen", admin.as_ref().map(|section| section.listen)),
            ("management.listen", management.as_ref().map(|section| section.listen)),
            ("idp.listen", idp.as_ref().map(|section| section.listen)),
        ];
        let clashes = check::clashes(&listeners);
        self.findings.extend(clashes.into_iter().map(|(key, problem)| Finding::new(place(key), problem)));
        if let Some(renewal) = &renewal {
            // A spend is sent within the first third of it, and may be at work in Keycloak until it times out; only then can a
            // probe tell what became of it.
            let left = renewal.quarantine * 2 / 3;
            let slow = tenants.values().any(|tenant| tenant.request_timeout >= left);
            if slow {
                let problem = "two thirds of it must be longer than every tenant's `request_timeout`";
                self.findings.push(Finding::new(place("renewal.quarantine"), problem));
            }
        }
        Some(Config {
            server: server?,
            admin,
            management: management?,
            idp,
            redis: redis?,
            keyring: keyring?,
            policy: policy?,
            tenants,
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

    fn section<T: DeserializeOwned>(&mut self, section: &'static str, check: fn(&mut Check, &T)) -> Option<T> {
        let environment = self.environment;
        let place = move |key: &str| {
            let key = format!("{section}.{key}");
            environment.variable(&key).unwrap_or(key)
        };
        let table = self.table(section)?;
        let unknown = strict::unknown_keys::<T>(&table, &place);
        if !unknown.is_empty() {
            self.findings.extend(unknown);
            return None;
        }
        let read = strict::read(&table, &place).map_err(|finding| self.findings.push(finding)).ok()?;
        let mut checked = Check::default();
        check(&mut checked, &read);
        self.findings.extend(checked.wrong.into_iter().map(|(key, problem)| Finding::new(place(&key), problem)));
        Some(read)
    }

    /// The same for a section that may be left out; `None` also where it is wrong, which is in the findings then.
    fn optional<T: DeserializeOwned>(&mut self, section: &'static str, check: fn(&mut Check, &T)) -> Option<T> {
        if self.root.contains_key(section) { self.section(section, check) } else { None }
    }

    fn tenants(&mut self, place: &dyn Fn(&str) -> String) -> BTreeMap<TenantId, Tenant> {
        let (Some(common), Some(listed)) = (self.table("keycloak"), self.table("tenants")) else {
            return BTreeMap::new();
        };
        let unknown = strict::unknown_keys::<tenant::Keys>(&common, &|key| place(&format!("keycloak.{key}")));
        let common_is_sound = unknown.is_empty();
        self.findings.extend(unknown);
        if listed.is_empty() {
            self.findings
                .push(Finding::new("tenants", "there is none: add a table [tenants.NAME] for each, even an empty one"));
        }
        let mut tenants = BTreeMap::new();
        for (name, own) in &listed {
            let shown = format!("tenants.{name}");
            let (Ok(id), Value::Dict(_, own)) = (TenantId::parse(name.clone()), own) else {
                self.findings.push(Finding::new(shown, "must be a table, named by a tenant"));
                continue;
            };
            let unknown = strict::unknown_keys::<tenant::Keys>(own, &|key| place(&format!("{shown}.{key}")));
            if !unknown.is_empty() || !common_is_sound {
                self.findings.extend(unknown);
                continue;
            }
            // What the tenant does not set itself comes from [keycloak]: that is where it is to be mended.
            let origin = |key: &str| {
                let head = key.split('.').next().unwrap_or(key);
                let inherited = !own.contains_key(head) && common.contains_key(head);
                place(&if inherited { format!("keycloak.{key} (for {name})") } else { format!("{shown}.{key}") })
            };
            match tenant::read(&id, &tenant::overlay(&common, own), &origin) {
                Ok(tenant) => drop(tenants.insert(id, tenant)),
                Err(findings) => self.findings.extend(findings),
            }
        }
        tenants
    }
}
