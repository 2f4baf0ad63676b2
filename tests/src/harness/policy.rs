//! The vault's policy files for tests: who may call, and what for.

use std::fs;
use std::path::Path;

use toml::{Table, Value};

use super::Result;
use super::certs::Subject;

/// The URI that names a module or an operator in its certificate.
pub fn uri(name: &str) -> String {
    format!("spiffe://test/{name}")
}

/// A module and what it may do: everything with `exchange`, in all tenants, unless said otherwise.
#[derive(Debug, Clone)]
pub struct Module {
    name: String,
    identity: (&'static str, String),
    tenants: Option<Vec<String>>,
    register: Vec<String>,
    actions: Vec<String>,
}

impl Module {
    /// A module that may register by exchange, read, release and watch.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            identity: ("uri_san", uri(name)),
            tenants: None,
            register: vec!["exchange".to_owned()],
            actions: ["read", "release", "watch"].map(str::to_owned).into(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Known by a DNS name in its certificate instead of `spiffe://test/NAME`.
    #[must_use]
    pub fn dns_san(mut self, name: &str) -> Self {
        self.identity = ("dns_san", name.to_owned());
        self
    }

    /// Known by its certificate's common name instead of `spiffe://test/NAME`.
    #[must_use]
    pub fn common_name(mut self, name: &str) -> Self {
        self.identity = ("cn", name.to_owned());
        self
    }

    /// The acquisitions it may register with; none: it may not register.
    #[must_use]
    pub fn register(mut self, acquisitions: &[&str]) -> Self {
        self.register = acquisitions.iter().map(ToString::to_string).collect();
        self
    }

    /// What else it may do, of `read`, `release`, `watch`.
    #[must_use]
    pub fn actions(mut self, actions: &[&str]) -> Self {
        self.actions = actions.iter().map(ToString::to_string).collect();
        self
    }

    /// Only these tenants.
    #[must_use]
    pub fn tenants(mut self, tenants: &[&str]) -> Self {
        self.tenants = Some(tenants.iter().map(ToString::to_string).collect());
        self
    }

    fn entry(&self, all_tenants: &[String]) -> Table {
        let mut entry = Table::new();
        entry.insert("name".to_owned(), self.name.as_str().into());
        entry.insert(self.identity.0.to_owned(), self.identity.1.as_str().into());
        entry.insert("tenants".to_owned(), list(self.tenants.as_deref().unwrap_or(all_tenants)));
        entry.insert("register".to_owned(), list(&self.register));
        for action in &self.actions {
            entry.insert(action.clone(), true.into());
        }
        entry
    }
}

/// The certificate a module is known by.
pub fn subject(module: &Module) -> Subject {
    let name = module.identity.1.as_str();
    match module.identity.0 {
        "dns_san" => Subject::client().dns(name),
        "cn" => Subject::client().common_name(name),
        _ => Subject::client().uri(name),
    }
}

/// Writes `policy.toml`, whole.
pub fn write(file: &Path, modules: &[Module], all_tenants: &[String]) -> Result<()> {
    let entries = modules.iter().map(|module| Value::Table(module.entry(all_tenants)));
    replace(file, "module", entries.collect())
}

/// Writes the operators' policy: one operator for each role.
pub fn write_operators(file: &Path) -> Result<()> {
    let entries = ["view", "operate"].map(|role| {
        let mut entry = Table::new();
        let name = format!("operator-{role}");
        entry.insert("uri_san".to_owned(), uri(&name).into());
        entry.insert("name".to_owned(), name.into());
        entry.insert("role".to_owned(), role.into());
        Value::Table(entry)
    });
    replace(file, "operator", entries.into())
}

fn replace(file: &Path, key: &str, entries: Vec<Value>) -> Result<()> {
    let mut policy = Table::new();
    policy.insert(key.to_owned(), entries.into());
    let staged = file.with_extension("new");
    fs::write(&staged, toml::to_string(&policy)?)?;
    fs::rename(&staged, file)?;
    Ok(())
}

fn list(texts: &[String]) -> Value {
    Value::Array(texts.iter().map(|text| text.as_str().into()).collect())
}
