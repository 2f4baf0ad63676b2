//! Reading what the configuration only names: secrets and the keyring. No message here repeats a file's content.

use std::collections::BTreeMap;
use std::path::Path;

use tokenvault_core::ids::{ClientId, TenantId};
use tokenvault_core::seal::Keyring;
use tokenvault_core::secret::ClientSecret;

use super::configuration::Config;
use super::error::{ConfigError, Finding};
use super::keyring::load_keyring;
use super::secret_file::read_secret;
use super::sections::RedisSection;
use super::tenant::{Credential, Tenant};

/// A key of the audit log's has at least so many bytes.
const SHORTEST_HASH_KEY: usize = 32;

/// How the vault's own client proves itself, read.
#[derive(Debug, Clone)]
pub enum VaultCredential {
    /// A shared secret.
    Secret(ClientSecret),
    /// A private key, PEM, for RFC 7523.
    PrivateKeyPem(ClientSecret),
}

/// One tenant's secrets.
#[derive(Debug, Clone)]
pub struct TenantSecrets {
    /// Of the vault's own client.
    pub credential: VaultCredential,
    /// Of the clients whose pairs may be deposited.
    pub adopt_clients: BTreeMap<ClientId, ClientSecret>,
}

impl Tenant {
    /// Reads the secrets, and tells all that is wrong with them together.
    pub fn read_secrets(&self) -> Result<TenantSecrets, Vec<Finding>> {
        let mut findings = Vec::new();
        let credential = keep(self.read_credential(), &mut findings);
        let adopt_clients = self
            .adopt_clients
            .iter()
            .filter_map(|(client, file)| Some((client.clone(), keep(read_secret(file), &mut findings)?)))
            .collect();
        match credential {
            Some(credential) if findings.is_empty() => Ok(TenantSecrets { credential, adopt_clients }),
            _ => Err(findings),
        }
    }

    /// Reads how the vault's own client proves itself, and nothing else.
    pub fn read_credential(&self) -> Result<VaultCredential, Finding> {
        let secret = read_secret(self.credential.file())?;
        Ok(match self.credential {
            Credential::SecretFile(_) => VaultCredential::Secret(secret),
            Credential::PrivateKeyJwtFile(_) => VaultCredential::PrivateKeyPem(secret),
        })
    }
}

impl RedisSection {
    /// Whether the passwords can be read: the servers', and the sentinels'. They are read again for each connection.
    pub fn check_passwords(&self) -> Result<(), Finding> {
        let of_sentinels = self.sentinel.as_ref().and_then(|sentinel| sentinel.password_file.as_deref());
        self.password_file.as_deref().into_iter().chain(of_sentinels).try_for_each(|file| read_secret(file).map(drop))
    }
}

/// Everything secret that the configuration names.
#[derive(Debug, Clone)]
pub struct Secrets {
    /// What tokens are sealed with.
    pub keyring: Keyring,
    /// What users' and sessions' ids are hashed with in the audit log.
    pub audit_hash_key: Option<ClientSecret>,
    /// The tenants' client credentials.
    pub tenants: BTreeMap<TenantId, TenantSecrets>,
}

impl Config {
    /// Reads the keyring and every secret file, and tells all that is wrong with them together.
    pub fn load_secrets(&self) -> Result<Secrets, ConfigError> {
        let mut findings = Vec::new();
        let keyring = load_keyring(&self.keyring.file).map_err(|finding| findings.push(finding)).ok();
        keep(self.redis.check_passwords(), &mut findings);
        let audit_hash_key =
            self.audit.hash_key_file.as_ref().and_then(|file| keep(read_hash_key(file), &mut findings));
        let mut tenants = BTreeMap::new();
        for (id, tenant) in &self.tenants {
            match tenant.read_secrets() {
                Ok(secrets) => drop(tenants.insert(id.clone(), secrets)),
                Err(found) => findings.extend(found),
            }
        }
        match keyring {
            Some(keyring) if findings.is_empty() => Ok(Secrets { keyring, audit_hash_key, tenants }),
            _ => Err(ConfigError { file: self.file.display().to_string(), findings }),
        }
    }
}

fn keep<T>(read: Result<T, Finding>, findings: &mut Vec<Finding>) -> Option<T> {
    read.map_err(|finding| findings.push(finding)).ok()
}

/// A key that could be guessed would name the users it is to hide.
fn read_hash_key(file: &Path) -> Result<ClientSecret, Finding> {
    let key = read_secret(file)?;
    if key.expose().len() < SHORTEST_HASH_KEY {
        let problem =
            format!("is too short: at least {SHORTEST_HASH_KEY} bytes of chance, such as `openssl rand -hex 32`");
        return Err(Finding::new(file.display().to_string(), problem));
    }
    Ok(key)
}
