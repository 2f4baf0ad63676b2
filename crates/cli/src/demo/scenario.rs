//! The scenario: one user starts one job, and it is done twice at the same time. One copy keeps the token that it was started
//! with; the other asks the vault.

use std::time::Duration;

use tokenvault_core::time::Timestamp;

use super::environment::DemoEnvironment;
use super::error::DemoError;
use super::files::{REGISTRAR, WORKER};
use super::http;
use super::jobs::{JobProgress, Workload};
use super::module::{JobRegistration, TokenRead};
use super::observer::DemoObserver;
use super::realm::random_uuid;
use super::record_server::RecordServer;
use super::report::DemoReport;
use super::token_claims::DisplayedClaims;
use super::ui_session::UiSession;

/// Between two records of a job.
const PACE: Duration = Duration::from_millis(100);
/// A job that was not released is forgotten so long after it should have been done.
const SLACK: Duration = Duration::from_mins(1);

/// What is to happen.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// How long the job takes.
    pub duration: Duration,
    /// Whether the user logs out in the middle.
    pub logout: bool,
}

impl Scenario {
    /// The records of each job.
    pub fn records(&self) -> u64 {
        u64::try_from(self.duration.as_millis() / PACE.as_millis()).unwrap_or(u64::MAX)
    }
}

/// Runs the scenario and reports the result.
pub async fn run(
    environment: &DemoEnvironment<'_>,
    scenario: Scenario,
    observer: &dyn DemoObserver,
) -> Result<DemoReport, DemoError> {
    let records =
        RecordServer::start(&environment.idp.issuer, environment.idp.keys().await?, environment.clock.clone()).await?;
    let (registrar, worker) = (environment.registrar()?, environment.worker()?);
    let http = http::client_builder().tls_certs_only([]).build().map_err(DemoError::unreachable("an HTTP client"))?;
    let job = random_uuid(&*environment.entropy);

    let session = UiSession::log_in(environment.idp).await?;
    let (started, user) = (environment.clock.now(), environment.idp.realm.user);
    let since = || environment.clock.now().since(started);
    let life = environment.settings.at_ttl.as_secs();
    observer.tell(since(), &format!("{user} logs in at the UI and starts a job; the access token lives {life} s"));
    let registration = JobRegistration {
        reader: WORKER,
        survives_logout: environment.settings.survive_logout,
        expires_at: started + scenario.duration + SLACK,
    };
    observer.tell(since(), &format!("the UI's token: {}", DisplayedClaims::of(&session.access_token)?.line()));
    let first = registrar.register(&job, &session.access_token, &registration).await?;
    observer.tell(since(), &format!("{REGISTRAR} registers the job with the vault, with {user}'s token as the proof"));

    if let TokenRead::Token(held) = worker.read(&job).await? {
        observer.tell(since(), &format!("a module's token: {}", DisplayedClaims::of(&held.access_token)?.line()));
    }

    let workload = Workload {
        records: scenario.records(),
        pace: PACE,
        url: records.url(),
        http: &http,
        clock: &environment.clock,
        started,
    };
    let proof = session.access_token.clone();
    let plain = workload.plain(&proof, |progress| {
        if progress.failed == 1 {
            observer.tell(since(), "plain token: 401, the access token has expired; every record from here on is lost");
        }
        observer.plain(since(), progress);
    });
    let vaulted = workload.vaulted(&worker, &job, margin(environment.settings.at_ttl), |progress| {
        observer.vaulted(since(), progress);
    });
    let (plain, vaulted, ()) =
        tokio::try_join!(plain, vaulted, live(environment, scenario, session, started, observer))?;
    registrar.release(&job).await?;
    tell_end(observer, since(), &vaulted);
    observer.close();
    Ok(DemoReport::on(workload.records, &plain, &vaulted, first))
}

/// What the user does meanwhile.
async fn live(
    environment: &DemoEnvironment<'_>,
    scenario: Scenario,
    mut session: UiSession,
    started: Timestamp,
    observer: &dyn DemoObserver,
) -> Result<(), DemoError> {
    let since = || environment.clock.now().since(started);
    tokio::time::sleep(scenario.duration / 3).await;
    session.refresh(environment.idp).await?;
    observer.tell(since(), "the UI refreshes its session; its old refresh token is spent, the vault's own is not");
    if scenario.logout {
        tokio::time::sleep(scenario.duration / 6).await;
        session.log_out(environment.idp).await?;
        observer
            .tell(since(), &format!("{} logs out; the job was registered to survive that", environment.idp.realm.user));
    }
    Ok(())
}

fn tell_end(observer: &dyn DemoObserver, at: Duration, vaulted: &JobProgress) {
    match &vaulted.over {
        None => {
            observer.tell(at, &format!("the job is done; {REGISTRAR} releases it and the vault forgets its tokens"));
        }
        Some(code) => observer.tell(at, &format!("the vault had ended the job: {code}")),
    }
}

/// What a module leaves of a token's life unused: time for a record to arrive.
fn margin(at_ttl: Duration) -> Duration {
    (at_ttl / 5).min(Duration::from_secs(5))
}
