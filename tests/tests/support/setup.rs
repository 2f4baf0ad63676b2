//! `deploy/keycloak/setup.sh`, run as an operator would run it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::keycloak::Keycloak;

/// What FOLIO's operators give it, beside the realm.
pub(crate) const FOLIO: &[&str] = &["--ui-client", "{realm}-login-application", "--user-id-claim", "user_id"];

/// A file of deploy/keycloak.
pub(crate) fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/keycloak").join(file)
}

/// The script on this Keycloak; who the administrator is has to be added.
pub(crate) fn script(keycloak: &Keycloak, arguments: &[&str]) -> Command {
    let mut command = Command::new(deploy("setup.sh"));
    command.args(["--url", keycloak.base_url()]).args(arguments);
    command.env_remove("KEYCLOAK_ADMIN_PASSWORD").env_remove("KEYCLOAK_ADMIN_PASSWORD_FILE");
    command
}

/// The script, run by the administrator, with the arguments of both lists.
pub(crate) fn setup(keycloak: &Keycloak, common: &[&str], more: &[&str]) -> Result<Output> {
    let mut command = script(keycloak, &[common, more].concat());
    command.env("KEYCLOAK_ADMIN", keycloak.admin_user()).env("KEYCLOAK_ADMIN_PASSWORD", keycloak.admin_password());
    Ok(command.output()?)
}

/// All it said.
pub(crate) fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What it changed.
pub(crate) fn changes(output: &Output) -> Vec<String> {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.lines().filter_map(|line| line.strip_prefix("  ")).map(str::to_owned).collect()
}
