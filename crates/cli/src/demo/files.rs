//! The files that the vault reads, written as an operator would write them: configuration, policy, keyring, secrets,
//! certificates. A secret file always has mode 0600.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tempfile::TempDir;
use tokenvault_core::ports::Entropy;
use tokenvault_core::time::Timestamp;
use tokenvault_server::config::keyring_entry;
use tokenvault_server::tls;

use super::certificates::{Certificate, CertificateAuthority};
use super::error::DemoError;
use super::identity_provider::DemoIdp;
use super::realm::VAULT_CLIENT;
use super::settings::DemoSettings;

/// The module that registers jobs.
pub(super) const REGISTRAR: &str = "mod-data-import";
/// The module that works on them.
pub(super) const WORKER: &str = "mod-inventory";

/// The files of the vault's own certificate.
const SERVER: &str = "vault";
/// What is left of certificates that are used again.
const ENOUGH: Duration = Duration::from_hours(24);

/// Where the files are; deleted when dropped, unless the place was the user's choice.
pub(super) struct Directory {
    path: PathBuf,
    _temporary: Option<TempDir>,
}

impl Directory {
    pub(super) fn open(chosen: Option<&Path>) -> Result<Self, DemoError> {
        let Some(chosen) = chosen else {
            let dir = tempfile::Builder::new().prefix("tokenvault-").tempdir();
            let dir = dir.map_err(DemoError::io("cannot make a temporary directory"))?;
            return Ok(Self { path: dir.path().to_owned(), _temporary: Some(dir) });
        };
        DirBuilder::new().recursive(true).mode(0o700).create(chosen).map_err(DemoError::file(chosen))?;
        let path = chosen.canonicalize().map_err(DemoError::file(chosen))?;
        Ok(Self { path, _temporary: None })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> Result<(), DemoError> {
        let path = self.path(name);
        // A file that is there already would keep its mode.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(DemoError::file(&path)(error)),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(DemoError::file(&path))
    }

    /// What the user has made of a file of an earlier run stays beside the new one. A hidden copy of what a run has written
    /// tells the one from the other: options change it from run to run.
    pub(super) fn written_anew(&self, name: &str, text: &str) -> Result<(), DemoError> {
        let written = format!(".{name}.written");
        if self.read(name).is_some_and(|now| now != text && self.read(&written).as_ref() != Some(&now)) {
            let path = self.path(name);
            fs::rename(&path, self.path(&format!("{name}.before"))).map_err(DemoError::file(&path))?;
        }
        self.public(&written, text)?;
        self.public(name, text)
    }

    /// What an earlier run has written, if it has.
    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path(name)).ok().filter(|text| !text.trim().is_empty())
    }

    fn public(&self, name: &str, text: &str) -> Result<(), DemoError> {
        self.write(name, text, 0o644)
    }

    fn secret(&self, name: &str, text: &str) -> Result<(), DemoError> {
        self.write(name, text, 0o600)
    }

    fn certificate(&self, name: &str, certificate: &Certificate) -> Result<(), DemoError> {
        self.public(&format!("{name}.pem"), &certificate.cert)?;
        self.secret(&format!("{name}.key"), &certificate.key)
    }
}

/// The certificates of those who call the vault.
pub(super) struct CallerCertificates {
    pub(super) ca_pem: String,
    pub(super) registrar: Certificate,
    pub(super) worker: Certificate,
}

impl CallerCertificates {
    /// Those of an earlier run, if all of them are there and hold for some time: clients that pinned them still work.
    fn kept(dir: &Directory, now: Timestamp) -> Option<Self> {
        let pair = |name: &str| {
            let (cert, key) = (dir.read(&format!("{name}.pem"))?, dir.read(&format!("{name}.key"))?);
            Some(Certificate { cert, key: key.into() })
        };
        let certificates = Self { ca_pem: dir.read("ca.pem")?, registrar: pair(REGISTRAR)?, worker: pair(WORKER)? };
        let all = [&certificates.ca_pem, &pair(SERVER)?.cert, &certificates.registrar.cert, &certificates.worker.cert];
        let hold = all.into_iter().all(|pem| holds(pem, now));
        hold.then_some(certificates)
    }

    /// New ones, of a new authority, written.
    fn issued(dir: &Directory, now: Timestamp) -> Result<Self, DemoError> {
        let mut authority = CertificateAuthority::new(now)?;
        let certificates = Self {
            ca_pem: authority.cert(),
            registrar: authority.module(&uri(REGISTRAR))?,
            worker: authority.module(&uri(WORKER))?,
        };
        dir.public("ca.pem", &certificates.ca_pem)?;
        dir.certificate(SERVER, &authority.server()?)?;
        dir.certificate(REGISTRAR, &certificates.registrar)?;
        dir.certificate(WORKER, &certificates.worker)?;
        Ok(certificates)
    }
}

/// Whether a certificate holds for a day at least.
fn holds(pem: &str, now: Timestamp) -> bool {
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).ok();
    certificate.as_ref().and_then(tls::not_after).is_some_and(|end| end > now + ENOUGH)
}

/// Writes everything the vault reads, and what its callers need.
pub(super) fn write(
    dir: &Directory,
    idp: &DemoIdp,
    settings: &DemoSettings,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<CallerCertificates, DemoError> {
    let certificates = identities(dir, now, entropy)?;
    dir.secret("client-secret", idp.realm.vault_secret.expose())?;
    dir.secret("ui-client-secret", idp.realm.ui_secret.expose())?;
    dir.secret("user-password", idp.realm.password.expose())?;
    if let Some(pem) = settings.keycloak.as_ref().and_then(|access| access.ca_pem.as_ref()) {
        dir.public("keycloak-ca.pem", &String::from_utf8_lossy(pem))?;
    }
    dir.written_anew("policy.toml", &policy(&idp.realm.name))?;
    dir.written_anew("tokenvault.toml", &configuration(idp, settings))?;
    Ok(certificates)
}

/// The certificates and the keyring: those of an earlier run in the same directory, if there was one.
pub(super) fn identities(
    dir: &Directory,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<CallerCertificates, DemoError> {
    // What a real Redis holds is sealed with it.
    if dir.read("keyring.toml").is_none() {
        dir.secret("keyring.toml", &keyring_entry("demo", true, entropy))?;
    }
    CallerCertificates::kept(dir, now).map_or_else(|| CallerCertificates::issued(dir, now), Ok)
}

fn uri(module: &str) -> String {
    format!("spiffe://tokenvault.demo/{module}")
}

fn policy(tenant: &str) -> String {
    format!(
        r#"# Which certificate is which module, and what it may do. Written anew at each start.

[[module]]
name = "{REGISTRAR}"
uri_san = "{}"
tenants = ["{tenant}"]
register = ["exchange", "impersonate"]
read = true
release = true

[[module]]
name = "{WORKER}"
uri_san = "{}"
tenants = ["{tenant}"]
read = true
"#,
        uri(REGISTRAR),
        uri(WORKER)
    )
}

fn configuration(idp: &DemoIdp, settings: &DemoSettings) -> String {
    let listen = |port| quoted(&SocketAddr::from(([127, 0, 0, 1], port)).to_string());
    let redis = settings.redis_url.as_deref().map_or_else(
        || "url = \"redis://127.0.0.1:6379\" # not called: records are kept in memory here".to_owned(),
        |url| format!("url = {}", quoted(url)),
    );
    let ca = match settings.keycloak.as_ref().and_then(|access| access.ca_pem.as_ref()) {
        Some(_) => "ca_file = \"keycloak-ca.pem\"\n",
        None => "",
    };
    let logout = if settings.survive_logout { "on_logout = \"continue\"\n" } else { "" };
    format!(
        r#"# The vault of this stage, written anew at each start. `tokenvault check-config --config` this file.

[server]
listen = {vault}
cert_file = "vault.pem"
key_file = "vault.key"
client_ca_file = "ca.pem"
shutdown_delay = 0 # nobody else serves here
shutdown_grace = 5
max_connections = 256 # a terminal may not open many files

[management]
listen = {management}

[redis]
{redis}

[keyring]
file = "keyring.toml"

[policy]
file = "policy.toml"

[keycloak]
issuer = {issuer}
base_url = {base_url}
{ca}client_id = "{VAULT_CLIENT}"
client_secret_file = "client-secret"
user_id_claim = "user_id"
accepted_clients = ["{ui_client}"]

[tenants.{tenant}]
{logout}
[renewal] # for access tokens of seconds; the defaults are for minutes
poll_interval = 0.1
retry_min = 0.1
tombstone_ttl = 60

[telemetry]
log_format = "text"
log_level = {log_level}
"#,
        vault = listen(settings.ports.vault),
        management = listen(settings.ports.management),
        issuer = quoted(&idp.issuer),
        base_url = quoted(&idp.realm_url),
        tenant = idp.realm.name,
        ui_client = idp.realm.ui_client,
        log_level = quoted(&settings.log_level),
    )
}

/// As a TOML string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
