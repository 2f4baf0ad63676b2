//! Where the vault is and who is calling: from the options, and from a profile for what they leave out.

use std::path::{Path, PathBuf};

use tokenvault_server::config::home;
use url::Url;

use super::profile::{Profile, Profiles};
use crate::failure::Failure;

/// Where profiles are looked for, in the home directory.
const PROFILES: &str = ".config/tokenvault/profiles.toml";

#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Connection")]
pub(super) struct ConnectionArgs {
    /// The admin listener, such as `vault.example.org:8444`
    #[arg(long, global = true, value_name = "URL")]
    address: Option<String>,
    /// The CAs that sign the listener's certificate, PEM; the only ones trusted
    #[arg(long, global = true, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// Your client certificate, PEM
    #[arg(long, global = true, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, global = true, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The profile for what the options above leave out [default: the file's `default`, or its only one]
    #[arg(long, global = true, value_name = "NAME")]
    profile: Option<String>,
    /// The file with profiles [default: ~/.config/tokenvault/profiles.toml]
    #[arg(long, global = true, value_name = "FILE")]
    profile_file: Option<PathBuf>,
}

/// All that is needed to call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Connection {
    pub(super) address: Url,
    pub(super) cacert: PathBuf,
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
}

impl ConnectionArgs {
    pub(super) fn resolve(&self) -> Result<Connection, Failure> {
        self.resolve_in(home().as_deref())
    }

    fn resolve_in(&self, home: Option<&Path>) -> Result<Connection, Failure> {
        let complete = self.address.is_some() && self.cacert.is_some() && self.cert.is_some() && self.key.is_some();
        let profile = if complete && self.profile.is_none() { Profile::default() } else { self.profile(home)? };
        Ok(Connection {
            address: address(&given("address", self.address.clone().or(profile.address))?)?,
            cacert: given("cacert", self.cacert.clone().or(profile.cacert))?,
            cert: given("cert", self.cert.clone().or(profile.cert))?,
            key: given("key", self.key.clone().or(profile.key))?,
        })
    }

    fn profile(&self, home: Option<&Path>) -> Result<Profile, Failure> {
        let usual = home.map(|home| home.join(PROFILES));
        let asked_for = self.profile_file.is_some() || self.profile.is_some();
        match self.profile_file.clone().or(usual) {
            Some(file) if asked_for || file.exists() => Profiles::load(&file)?.choose(self.profile.as_deref(), &file),
            _ => Ok(Profile::default()),
        }
    }
}

fn given<T>(name: &str, value: Option<T>) -> Result<T, Failure> {
    value.ok_or_else(|| {
        Failure::usage(format!(
            "--{name} is missing: give it, or a profile that has it in ~/{PROFILES} (--help shows one)"
        ))
    })
}

fn address(text: &str) -> Result<Url, Failure> {
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let url = Url::parse(&with_scheme).ok().filter(|url| url.scheme() == "https" && url.has_host());
    url.ok_or_else(|| Failure::usage(format!("{text:?} is no address of an admin listener: it is https://HOST:PORT")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILE: &str =
        "[profile.test]\naddress = \"vault:8444\"\ncacert = \"ca.pem\"\ncert = \"me.pem\"\nkey = \"/me.key\"\n";

    fn home_with(profiles: &str) -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join(PROFILES);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, profiles).unwrap();
        home
    }

    #[test]
    fn options_alone_are_enough_and_then_no_profile_is_read() {
        let home = home_with("this is no TOML");
        let path = |name: &str| Some(PathBuf::from(name));
        let (cacert, cert, key) = (path("ca"), path("cert"), path("key"));
        let args =
            ConnectionArgs { address: Some("https://v:1".to_owned()), cacert, cert, key, ..ConnectionArgs::default() };
        let connection = args.resolve_in(Some(home.path())).unwrap();
        assert_eq!(connection.address.as_str(), "https://v:1/");
        assert_eq!(connection.key, PathBuf::from("key"));
    }

    #[test]
    fn a_profile_fills_in_and_its_files_are_found_beside_it() {
        let home = home_with(PROFILE);
        let args = ConnectionArgs { cert: Some(PathBuf::from("other.pem")), ..ConnectionArgs::default() };
        let connection = args.resolve_in(Some(home.path())).unwrap();
        assert_eq!(connection.address.as_str(), "https://vault:8444/");
        assert_eq!(connection.cacert, home.path().join(".config/tokenvault/ca.pem"));
        assert_eq!((connection.cert, connection.key), (PathBuf::from("other.pem"), PathBuf::from("/me.key")));
    }

    #[test]
    fn what_is_missing_is_named_and_is_wrong_usage() {
        let empty = tempfile::tempdir().unwrap();
        let failure = ConnectionArgs::default().resolve_in(Some(empty.path())).unwrap_err();
        assert!(failure.text().unwrap().starts_with("--address is missing"), "{failure:?}");
        let http = ConnectionArgs { address: Some("http://v".to_owned()), ..ConnectionArgs::default() };
        assert!(http.resolve_in(None).unwrap_err().text().unwrap().contains("it is https://HOST:PORT"));
        let absent = ConnectionArgs { profile: Some("x".to_owned()), ..ConnectionArgs::default() };
        assert!(absent.resolve_in(Some(empty.path())).unwrap_err().text().unwrap().contains("cannot be read"));
    }
}
