//! The story: one user, one job done twice at the same time, once with the token it was started with and once through
//! the vault.

use std::time::Duration;

use tokenvault_core::time::Timestamp;

use super::claims::Claims;
use super::error::DemoError;
use super::files::{REGISTRAR, WORKER};
use super::idp;
use super::jobs::{Progress, Work};
use super::module::{Read, Terms};
use super::realm::random_uuid;
use super::records::RecordServer;
use super::report::Report;
use super::show::Show;
use super::stage::Stage;
use super::ui::UiSession;

/// Between two records of a job.
const PACE: Duration = Duration::from_millis(100);
/// A job that was not released is forgotten so long after it should have been done.
const SLACK: Duration = Duration::from_mins(1);

/// What is to be played.
#[derive(Debug, Clone, Copy)]
pub struct Story {
    /// How long the job takes.
    pub duration: Duration,
    /// Whether the user logs out in the middle.
    pub logout: bool,
}

impl Story {
    /// The records of each job.
    pub fn records(&self) -> u64 {
        u64::try_from(self.duration.as_millis() / PACE.as_millis()).unwrap_or(u64::MAX)
    }
}

/// Plays the story and tells how it went.
pub async fn run(stage: &Stage<'_>, story: Story, show: &dyn Show) -> Result<Report, DemoError> {
    let records = RecordServer::start(&stage.idp.issuer, stage.idp.keys().await?, stage.clock.clone()).await?;
    let (registrar, worker) = (stage.registrar()?, stage.worker()?);
    let http = idp::builder().tls_certs_only([]).build().map_err(DemoError::unreachable("an HTTP client"))?;
    let job = random_uuid(&*stage.entropy);

    let session = UiSession::log_in(stage.idp).await?;
    let (started, user) = (stage.clock.now(), stage.idp.realm.user);
    let since = || stage.clock.now().since(started);
    let life = stage.setting.at_ttl.as_secs();
    show.tell(since(), &format!("{user} logs in at the UI and starts a job; the access token lives {life} s"));
    let terms = Terms {
        reader: WORKER,
        survives_logout: stage.setting.survive_logout,
        expires_at: started + story.duration + SLACK,
    };
    show.tell(since(), &format!("the UI's token: {}", Claims::of(&session.access_token)?.line()));
    let first = registrar.register(&job, &session.access_token, &terms).await?;
    show.tell(since(), &format!("{REGISTRAR} registers the job with the vault, with {user}'s token as the proof"));

    if let Read::Token(held) = worker.read(&job).await? {
        show.tell(since(), &format!("a module's token: {}", Claims::of(&held.access_token)?.line()));
    }

    let work =
        Work { records: story.records(), pace: PACE, url: records.url(), http: &http, clock: &stage.clock, started };
    let proof = session.access_token.clone();
    let plain = work.plain(&proof, |progress| {
        if progress.failed == 1 {
            show.tell(since(), "plain token: 401, the access token has expired; every record from here on is lost");
        }
        show.plain(since(), progress);
    });
    let vaulted = work.vaulted(&worker, &job, margin(stage.setting.at_ttl), |progress| {
        show.vaulted(since(), progress);
    });
    let (plain, vaulted, ()) = tokio::try_join!(plain, vaulted, live(stage, story, session, started, show))?;
    registrar.release(&job).await?;
    tell_end(show, since(), &vaulted);
    show.close();
    Ok(Report::on(work.records, &plain, &vaulted, first))
}

/// What the user does meanwhile.
async fn live(
    stage: &Stage<'_>,
    story: Story,
    mut session: UiSession,
    started: Timestamp,
    show: &dyn Show,
) -> Result<(), DemoError> {
    let since = || stage.clock.now().since(started);
    tokio::time::sleep(story.duration / 3).await;
    session.refresh(stage.idp).await?;
    show.tell(since(), "the UI refreshes its session; its old refresh token is spent, the vault's own is not");
    if story.logout {
        tokio::time::sleep(story.duration / 6).await;
        session.log_out(stage.idp).await?;
        show.tell(since(), &format!("{} logs out; the job was registered to survive that", stage.idp.realm.user));
    }
    Ok(())
}

fn tell_end(show: &dyn Show, at: Duration, vaulted: &Progress) {
    match &vaulted.over {
        None => show.tell(at, &format!("the job is done; {REGISTRAR} releases it and the vault forgets its tokens")),
        Some(code) => show.tell(at, &format!("the vault had ended the job: {code}")),
    }
}

/// What a module leaves of a token's life unused: time for a record to arrive.
fn margin(at_ttl: Duration) -> Duration {
    (at_ttl / 5).min(Duration::from_secs(5))
}
