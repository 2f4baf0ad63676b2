//! The configuration: one TOML file, overrides from the environment, secrets in files of their own.
//!
//! Everything is checked here, once, and all findings are reported together. Nothing here keeps a secret, and no message
//! repeats a value. `deploy/tokenvault.toml` explains every key.

mod check;
mod configuration;
mod environment;
mod error;
mod file_names;
mod keyring;
mod named;
mod seconds;
mod secret_file;
mod secrets;
mod sections;
mod source;
pub mod strict;
mod tenant;
#[cfg(test)]
pub(crate) mod tests;

pub use configuration::Config;
pub use environment::{Environment, home};
pub use error::{ConfigError, Finding};
pub use keyring::{keyring_entry, load_keyring, parse_keyring, watched_keyring};
pub use secret_file::read_secret;
pub use secrets::{Secrets, TenantSecrets, VaultCredential};
pub use sections::{
    AdminSection, AuditSection, ClusterSection, IdpSection, KeyringSection, LogFormat, ManagementSection,
    PolicySection, RedisSection, RenewalSection, SentinelSection, ServerSection, TelemetrySection,
};
pub use source::TenantSource;
pub use tenant::{Credential, Tenant};

/// Where the file is looked for when the command line does not say.
pub const DEFAULT_FILE: &str = "/etc/tokenvault/tokenvault.toml";

/// The sections, and the keys of each.
pub fn sections() -> [(&'static str, &'static [&'static str]); 11] {
    [
        ("server", strict::known_keys::<ServerSection>()),
        ("admin", strict::known_keys::<AdminSection>()),
        ("management", strict::known_keys::<ManagementSection>()),
        ("idp", strict::known_keys::<IdpSection>()),
        ("redis", strict::known_keys::<RedisSection>()),
        ("keyring", strict::known_keys::<KeyringSection>()),
        ("policy", strict::known_keys::<PolicySection>()),
        ("keycloak", strict::known_keys::<tenant::TenantKeys>()),
        ("renewal", strict::known_keys::<RenewalSection>()),
        ("audit", strict::known_keys::<AuditSection>()),
        ("telemetry", strict::known_keys::<TelemetrySection>()),
    ]
}
