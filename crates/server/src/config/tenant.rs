//! A tenant: what `[keycloak]` says for all of them, overridden by `[tenants.NAME]`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::value::{Dict, Value};
use serde::Deserialize;
use tokenvault_core::ids::ClientId;
use tokenvault_core::record::{Acquisition, OnLogout};
use url::Url;

use super::error::Finding;
use super::strict;

/// One tenant, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Its issuer: the `iss` of its tokens.
    pub issuer: String,
    /// Where the vault reaches that issuer; the same unless configured.
    pub base_url: String,
    /// The CAs that sign Keycloak's certificate; the public ones where `None`.
    pub ca_file: Option<PathBuf>,
    /// The vault's own client.
    pub client_id: ClientId,
    /// How that client proves itself.
    pub credential: Credential,
    /// What Keycloak calls the key that signs assertions; needed where it knows several of the client's.
    pub private_key_jwt_kid: Option<String>,
    /// The claim its users are known by.
    pub user_id_claim: String,
    /// Clients whose access tokens are accepted as proofs.
    pub accepted_clients: BTreeSet<ClientId>,
    /// How far back a proof may have been issued; where `None`, as far as the proof lives, an hour at most.
    pub max_proof_age: Option<Duration>,
    /// For a connection to Keycloak.
    pub connect_timeout: Duration,
    /// For a whole call of Keycloak.
    pub request_timeout: Duration,
    /// The scope to ask for in an exchange.
    pub exchange_scope: Option<String>,
    /// Clients whose pairs may be deposited, and the files with their secrets.
    pub adopt_clients: BTreeMap<ClientId, PathBuf>,
    /// What a logout does to jobs that do not say; a job may only tighten it. `continue` takes effect for jobs with a
    /// session of the vault's own (`impersonate`); all others end with the logout.
    pub on_logout: OnLogout,
    /// How pairs may be come by, whatever a module's policy grants.
    pub acquisitions: BTreeSet<Acquisition>,
    /// How a pair is come by for jobs that do not say; never by impersonation.
    pub default_acquisition: Acquisition,
    /// A job's life where its registration does not say.
    pub default_job_life: Duration,
    /// The longest life a registration may ask for.
    pub max_job_life: Duration,
    /// Children of one job.
    pub max_children: usize,
    /// Jobs of one user at a time, children included.
    pub max_jobs_per_user: usize,
    /// Records that one module may have, its jobs and what is left of those that have ended.
    pub max_records_per_module: usize,
    /// The realm's `refreshTokenMaxReuse`.
    pub refresh_token_max_reuse: u32,
}

/// How the vault's client proves itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// By a secret in this file.
    SecretFile(PathBuf),
    /// By a JWT (RFC 7523) signed with the private key in this file, PEM.
    PrivateKeyJwtFile(PathBuf),
}

impl Tenant {
    /// The files whose contents it is made of.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        let named = self.ca_file.iter().chain(self.adopt_clients.values()).map(PathBuf::as_path);
        std::iter::once(self.credential.file()).chain(named)
    }
}

impl Credential {
    /// The file.
    pub fn file(&self) -> &Path {
        match self {
            Self::SecretFile(file) | Self::PrivateKeyJwtFile(file) => file,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Provider {
    Keycloak,
    Okapi,
}

/// The keys of `[keycloak]` and of `[tenants.NAME]`; what is the tenant's and must be told apart is optional.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TenantKeys {
    provider: Provider,
    issuer: String,
    base_url: Option<String>,
    ca_file: Option<PathBuf>,
    client_id: String,
    client_secret_file: Option<PathBuf>,
    private_key_jwt_file: Option<PathBuf>,
    private_key_jwt_kid: Option<String>,
    user_id_claim: String,
    accepted_clients: BTreeSet<ClientId>,
    #[serde(deserialize_with = "super::seconds::optional::deserialize")]
    max_proof_age: Option<Duration>,
    #[serde(deserialize_with = "super::seconds::deserialize")]
    connect_timeout: Duration,
    #[serde(deserialize_with = "super::seconds::deserialize")]
    request_timeout: Duration,
    exchange_scope: Option<String>,
    adopt_clients: BTreeMap<String, PathBuf>,
    on_logout: OnLogout,
    acquisitions: BTreeSet<Acquisition>,
    default_acquisition: Acquisition,
    #[serde(deserialize_with = "super::seconds::deserialize")]
    default_job_life: Duration,
    #[serde(deserialize_with = "super::seconds::optional::deserialize")]
    max_job_life: Option<Duration>,
    max_children: usize,
    max_jobs_per_user: usize,
    max_records_per_module: usize,
    refresh_token_max_reuse: u32,
    /// Of `[keycloak]` alone, and taken out of it before a tenant is read.
    #[allow(dead_code, reason = "it is here to be known")]
    tenants_file: Option<PathBuf>,
}

impl Default for TenantKeys {
    fn default() -> Self {
        Self {
            provider: Provider::Keycloak,
            issuer: String::new(),
            base_url: None,
            ca_file: None,
            client_id: String::new(),
            client_secret_file: None,
            private_key_jwt_file: None,
            private_key_jwt_kid: None,
            user_id_claim: "sub".to_owned(),
            accepted_clients: BTreeSet::new(),
            max_proof_age: None,
            connect_timeout: Duration::from_secs(2),
            request_timeout: Duration::from_secs(10),
            exchange_scope: None,
            adopt_clients: BTreeMap::new(),
            on_logout: OnLogout::Revoke,
            acquisitions: Acquisition::ALL.into(),
            default_acquisition: Acquisition::Exchange,
            default_job_life: Duration::from_hours(24),
            max_job_life: None,
            max_children: 1000,
            max_jobs_per_user: 5000,
            max_records_per_module: 100_000,
            refresh_token_max_reuse: 0,
            tenants_file: None,
        }
    }
}

/// Lays a tenant's own keys over the common ones.
pub(super) fn overlay(common: &Dict, own: &Dict) -> Dict {
    let mut merged = common.clone();
    // One way of proving itself replaces the other; both at once would be a contradiction only within one table.
    let credentials = ["client_secret_file", "private_key_jwt_file", "private_key_jwt_kid"];
    if credentials.iter().any(|key| own.contains_key(*key)) {
        for key in credentials {
            merged.remove(key);
        }
    }
    for (key, value) in own {
        match (merged.get_mut(key), value) {
            // An empty table takes away what is inherited, as an empty list does.
            (Some(Value::Dict(_, inherited)), Value::Dict(_, own)) if !own.is_empty() => inherited.extend(own.clone()),
            _ => {
                merged.insert(key.clone(), value.clone());
            }
        }
    }
    merged
}

/// Reads a tenant from its merged keys, in which its name has been filled in.
pub(super) fn read(merged: &Dict, place: &dyn Fn(&str) -> String) -> Result<Tenant, Vec<Finding>> {
    let keys: TenantKeys = strict::read(merged, place).map_err(|finding| vec![finding])?;
    let mut found = TenantFindings { place, list: Vec::new() };
    found.rules(&keys);
    found.url("issuer", &keys.issuer);
    if let Some(base_url) = &keys.base_url {
        found.url("base_url", base_url);
    }
    let credential = found.credential(&keys);
    let adopt_clients = found.adopt_clients(&keys);
    let client_id = ClientId::parse(keys.client_id).map_err(|error| found.add("client_id", error.to_string())).ok();
    match (client_id, credential, found.list.is_empty()) {
        (Some(client_id), Some(credential), true) => Ok(Tenant {
            base_url: keys.base_url.unwrap_or_else(|| keys.issuer.clone()),
            issuer: keys.issuer,
            ca_file: keys.ca_file,
            client_id,
            credential,
            private_key_jwt_kid: keys.private_key_jwt_kid,
            user_id_claim: keys.user_id_claim,
            accepted_clients: keys.accepted_clients,
            max_proof_age: keys.max_proof_age,
            connect_timeout: keys.connect_timeout,
            request_timeout: keys.request_timeout,
            // An empty one takes away what is inherited.
            exchange_scope: keys.exchange_scope.filter(|scope| !scope.is_empty()),
            adopt_clients,
            on_logout: keys.on_logout,
            acquisitions: keys.acquisitions,
            default_acquisition: keys.default_acquisition,
            default_job_life: keys.default_job_life,
            max_job_life: keys.max_job_life.unwrap_or(keys.default_job_life),
            max_children: keys.max_children,
            max_jobs_per_user: keys.max_jobs_per_user,
            max_records_per_module: keys.max_records_per_module,
            refresh_token_max_reuse: keys.refresh_token_max_reuse,
        }),
        _ => Err(found.list),
    }
}

struct TenantFindings<'a> {
    place: &'a dyn Fn(&str) -> String,
    list: Vec<Finding>,
}

impl TenantFindings<'_> {
    fn add(&mut self, key: &str, problem: impl Into<String>) {
        self.list.push(Finding::new((self.place)(key), problem));
    }

    fn check(&mut self, key: &str, holds: bool, otherwise: &str) {
        if !holds {
            self.add(key, otherwise);
        }
    }

    fn rules(&mut self, keys: &TenantKeys) {
        self.check(
            "provider",
            matches!(keys.provider, Provider::Keycloak),
            "`okapi` is reserved and not available yet",
        );
        self.check("user_id_claim", !keys.user_id_claim.is_empty(), "must not be empty");
        self.check(
            "accepted_clients",
            !keys.accepted_clients.is_empty(),
            "is missing: name the clients whose users' access tokens are accepted as proofs",
        );
        let own_accepted = keys.accepted_clients.iter().any(|client| client.as_str() == keys.client_id);
        self.check("accepted_clients", !own_accepted, "must not contain the vault's own client");
        for (key, value) in [
            ("max_proof_age", keys.max_proof_age.unwrap_or(Duration::MAX)),
            ("connect_timeout", keys.connect_timeout),
            ("request_timeout", keys.request_timeout),
            ("default_job_life", keys.default_job_life),
        ] {
            self.check(key, !value.is_zero(), "must be more than 0");
        }
        self.check("max_jobs_per_user", keys.max_jobs_per_user > 0, "must be at least 1");
        self.check("max_records_per_module", keys.max_records_per_module > 0, "must be at least 1");
        // Who holds a user's short access token must not come by a session that outlives the logout by saying nothing.
        self.check(
            "default_acquisition",
            keys.default_acquisition != Acquisition::Impersonate,
            "must not be `impersonate`: a registration that wants that has to say so",
        );
        let allowed = keys.acquisitions.contains(&keys.default_acquisition);
        self.check("default_acquisition", allowed, "must be one of `acquisitions`");
        let stray = keys.private_key_jwt_kid.is_some() && keys.private_key_jwt_file.is_none();
        self.check("private_key_jwt_kid", !stray, "is the id of the key in `private_key_jwt_file`, which is missing");
        let nameless = keys.private_key_jwt_kid.as_ref().is_some_and(String::is_empty);
        self.check("private_key_jwt_kid", !nameless, "must not be empty");
        let too_long = keys.max_job_life.is_some_and(|max| max < keys.default_job_life);
        self.check("max_job_life", !too_long, "must not be below `default_job_life`");
    }

    fn credential(&mut self, keys: &TenantKeys) -> Option<Credential> {
        let problem = match (&keys.client_secret_file, &keys.private_key_jwt_file) {
            (Some(secret), None) => return Some(Credential::SecretFile(secret.clone())),
            (None, Some(key)) => return Some(Credential::PrivateKeyJwtFile(key.clone())),
            (Some(_), Some(_)) => "give either this or `private_key_jwt_file`, not both",
            (None, None) => "is missing (or `private_key_jwt_file`)",
        };
        self.add("client_secret_file", problem);
        None
    }

    fn adopt_clients(&mut self, keys: &TenantKeys) -> BTreeMap<ClientId, PathBuf> {
        let mut clients = BTreeMap::new();
        for (client, file) in &keys.adopt_clients {
            match ClientId::parse(client.clone()) {
                Ok(client) => drop(clients.insert(client, file.clone())),
                Err(error) => self.add("adopt_clients", error.to_string()),
            }
        }
        clients
    }

    fn url(&mut self, key: &str, text: &str) {
        if text.is_empty() {
            return self.add(key, "is missing");
        }
        let plain = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        match plain {
            None => self.add(key, "must be an http or https URL"),
            Some(url) if !url.username().is_empty() || url.password().is_some() => {
                self.add(key, "must not contain credentials");
            }
            Some(url) if url.query().is_some() || url.fragment().is_some() => {
                self.add(key, "must not have a query or a fragment");
            }
            Some(_) => {}
        }
    }
}
