//! The options `demo` and `dev` share: what to use instead of the embedded parts.

use std::path::PathBuf;

use tokenvault_core::secret::ClientSecret;
use tokenvault_server::config::read_secret;
use url::Url;

use crate::demo::KeycloakAccess;
use crate::failure::Failure;

/// Holds the administrator's password where no file does.
const PASSWORD_VARIABLE: &str = "TOKENVAULT_DEMO_KEYCLOAK_PASSWORD";

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Real parts instead of the embedded ones")]
pub(super) struct RealParts {
    /// A Keycloak; a realm of its own is made there and deleted at the end
    #[arg(long, value_name = "URL", value_parser = keycloak_url)]
    keycloak_url: Option<Url>,
    /// An administrator of Keycloak's master realm
    #[arg(long, value_name = "USER", default_value = "admin", requires = "keycloak_url")]
    keycloak_admin: String,
    /// The administrator's password; without this option it is taken from the variable
    /// `TOKENVAULT_DEMO_KEYCLOAK_PASSWORD`
    #[arg(long, value_name = "FILE", requires = "keycloak_url")]
    keycloak_admin_password_file: Option<PathBuf>,
    /// The CAs that sign Keycloak's certificate, PEM [default: those the system trusts]
    #[arg(long, value_name = "FILE", requires = "keycloak_url")]
    keycloak_ca_file: Option<PathBuf>,
    /// A Redis or Valkey, such as `redis://127.0.0.1:6379`
    #[arg(long, value_name = "URL")]
    pub(super) redis_url: Option<String>,
}

impl RealParts {
    /// How to reach the real Keycloak, if there is to be one.
    pub(super) fn keycloak(&self) -> Result<Option<KeycloakAccess>, Failure> {
        let Some(url) = self.keycloak_url.clone() else { return Ok(None) };
        let password = match &self.keycloak_admin_password_file {
            Some(file) => read_secret(file).map_err(|finding| Failure::new(finding.to_string()))?,
            None => password_from_environment()?,
        };
        let ca_pem = match &self.keycloak_ca_file {
            Some(file) => Some(
                std::fs::read(file)
                    .map_err(|error| Failure::because(&format!("{} cannot be read", file.display()), error))?,
            ),
            None => None,
        };
        Ok(Some(KeycloakAccess { url, admin: self.keycloak_admin.clone(), password, ca_pem }))
    }
}

#[expect(clippy::disallowed_methods, reason = "no key of the configuration: the demonstration's own password")]
fn password_from_environment() -> Result<ClientSecret, Failure> {
    let password = std::env::var(PASSWORD_VARIABLE).ok().filter(|password| !password.is_empty());
    password.map(ClientSecret::new).ok_or_else(|| {
        Failure::usage(format!(
            "--keycloak-url needs the administrator's password: give --keycloak-admin-password-file or set \
             {PASSWORD_VARIABLE}"
        ))
    })
}

fn keycloak_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    let plain = matches!(url.scheme(), "http" | "https") && url.has_host();
    let bare = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    let good = (plain && bare).then_some(url);
    good.ok_or_else(|| "it must be http://HOST:PORT or https://HOST:PORT, without credentials".to_owned())
}
