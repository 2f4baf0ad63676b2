//! The stand-in for Keycloak in a process of its own, so that its processor time is not the vault's or the load's.

use std::process::Stdio;

use keycloak_double::{Double, DoubleConfig, RealmConfig};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::REALM;
use crate::harness::{Failure, Result};

/// The stand-in; gone when dropped.
pub(super) struct KeycloakProcess {
    base_url: String,
    _process: Child,
}

impl KeycloakProcess {
    /// A stand-in whose access tokens live so many seconds.
    pub(super) async fn start(life: u64) -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["--keycloak", "--life", &life.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let out = process.stdout.take().ok_or_else(|| Failure::new("the stand-in says nothing"))?;
        let mut base_url = String::new();
        BufReader::new(out).read_line(&mut base_url).await?;
        Ok(Self { base_url: base_url.trim_end().to_owned(), _process: process })
    }

    pub(super) fn base_url(&self) -> &str {
        &self.base_url
    }
}

/// Is the stand-in, until whoever started it is gone.
#[allow(clippy::print_stdout, reason = "it tells its parent where it listens")]
pub async fn be_keycloak(life: u64) -> Result<()> {
    let realm = RealmConfig::lab(REALM).with_settings(|settings| {
        settings.access_token_lifespan = life;
        settings.sso_session_idle = 24 * 3600;
        settings.sso_session_max = 24 * 3600;
    });
    let double = Double::start(DoubleConfig::new().realm(realm)).await;
    let double = double.map_err(|error| Failure::new(format!("the stand-in: {error}")))?;
    println!("{}", double.base_url());
    let ended = tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    ended.await.map_err(|error| Failure::new(error.to_string()))??;
    Ok(())
}
