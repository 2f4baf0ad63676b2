//! The examination behind `tokenvault doctor`: it finds settings that will cause a failure later, and says what to do about them.
//! One file a group of checks; each has a function `examine` that adds its results to the report.
//!
//! It asks the host, the files, Redis and Keycloak, and must change nothing there: no key is written, no user's session is
//! touched. What it cannot learn is *not checked*; it must never guess that something is fine. No result shows a secret.

mod accepted;
mod admin_api;
mod examination;
mod files;
mod host;
mod impersonators;
mod json;
mod keycloak;
mod keys;
mod limits;
mod own_token;
mod realm;
mod realm_client;
mod redis;
mod redis_servers;
mod report;
mod sample;
mod session;
mod settings;
mod sizes;
mod writable;

use std::sync::Arc;

use tokenvault_core::ports::Clock;
use tokenvault_core::secret::AccessToken;

use tokenvault_server::clock::SystemClock;
use tokenvault_server::config::Config;
use tokenvault_server::entropy::OsEntropy;

pub use report::{CheckResult, CheckVerdict, DoctorReport};

use examination::Examination;

/// How to examine.
#[derive(Debug, Default)]
pub struct DoctorOptions {
    /// Checks whose hazards the operator lives with.
    pub accepted: Vec<String>,
    /// A Keycloak administrator's access token, with which the realms' settings can be read.
    pub administrator: Option<AccessToken>,
}

/// Examines everything a configuration names.
pub async fn examine(config: &Config, options: DoctorOptions) -> DoctorReport {
    let DoctorOptions { accepted, administrator } = options;
    let mut report = DoctorReport::accepting(accepted);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    host::examine(config, &mut report);
    files::examine(config, clock.now(), &mut report);
    if let Err(error) = config.load_secrets() {
        for finding in &error.findings {
            let remedy = "see `tokenvault check-config`; what needs no such file is examined all the same";
            report.hazard("secrets", &finding.place, &finding.problem, remedy);
        }
    }
    let examination =
        Examination { config, clock, entropy: Arc::new(OsEntropy), administrator: administrator.as_ref() };
    let store_time = redis::examine(&examination, &mut report).await;
    keys::examine(&examination, store_time.is_some(), &mut report).await;
    keycloak::examine(&examination, store_time, &mut report).await;
    report
}
