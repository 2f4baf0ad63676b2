//! The two jobs. They differ in one thing: where their token comes from. Both save records at a steady pace, and both go on
//! when a record is refused, as data import does.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use tokenvault_core::ports::Clock;
use tokenvault_core::secret::AccessToken;
use tokenvault_core::time::Timestamp;

use super::error::DemoError;
use super::module::{DemoModule, HeldToken, TokenRead};

/// How far a job is.
#[derive(Debug, Clone, Default)]
pub struct JobProgress {
    /// Records saved.
    pub done: u64,
    /// Records refused.
    pub failed: u64,
    /// When the first record was refused because of its token.
    pub first_401: Option<Duration>,
    /// The pair that the last token was of.
    pub generation: Option<u64>,
    /// Different tokens it has used.
    pub tokens_used: u64,
    /// What is left of the token's life.
    pub left: Option<Duration>,
    /// Why the vault gives no token any more.
    pub over: Option<String>,
}

/// The work, and how it is watched.
pub(super) struct Workload<'a> {
    /// How many records.
    pub(super) records: u64,
    /// Between two records.
    pub(super) pace: Duration,
    /// Where they are saved.
    pub(super) url: String,
    pub(super) http: &'a reqwest::Client,
    pub(super) clock: &'a Arc<dyn Clock>,
    pub(super) started: Timestamp,
}

impl Workload<'_> {
    /// Does all of it. `token` is asked before each record; `watch` hears of each record.
    async fn run(
        &self,
        mut token: impl AsyncFnMut(&mut JobProgress) -> Result<Option<AccessToken>, DemoError>,
        watch: impl Fn(&JobProgress),
    ) -> Result<JobProgress, DemoError> {
        let mut progress = JobProgress::default();
        let mut ticks = tokio::time::interval(self.pace);
        for _ in 0..self.records {
            ticks.tick().await;
            match token(&mut progress).await? {
                None => progress.failed += 1,
                Some(token) if self.save(&token).await? => progress.done += 1,
                Some(_) => {
                    progress.failed += 1;
                    progress.first_401.get_or_insert_with(|| self.clock.now().since(self.started));
                }
            }
            watch(&progress);
        }
        Ok(progress)
    }

    /// With the token that the user had when the job was started.
    pub(super) async fn plain(
        &self,
        proof: &AccessToken,
        watch: impl Fn(&JobProgress),
    ) -> Result<JobProgress, DemoError> {
        let token = async |progress: &mut JobProgress| {
            progress.tokens_used = 1;
            Ok(Some(proof.clone()))
        };
        self.run(token, watch).await
    }

    /// With live tokens from the vault. A token is used until it has less than `margin` left.
    pub(super) async fn vaulted(
        &self,
        module: &DemoModule,
        job: &str,
        margin: Duration,
        watch: impl Fn(&JobProgress),
    ) -> Result<JobProgress, DemoError> {
        let held: RefCell<Option<HeldToken>> = RefCell::new(None);
        let token = async |progress: &mut JobProgress| {
            let left = |held: &HeldToken| held.expires_at.since(self.clock.now());
            let ending = held.borrow().as_ref().is_none_or(|held| left(held) < margin);
            if ending && progress.over.is_none() {
                let fresh = self.fetch(module, job, progress).await?;
                held.replace(fresh);
            }
            let held = held.borrow();
            progress.left = held.as_ref().map(left);
            Ok(held.as_ref().map(|held| held.access_token.clone()))
        };
        self.run(token, watch).await
    }

    async fn fetch(
        &self,
        module: &DemoModule,
        job: &str,
        progress: &mut JobProgress,
    ) -> Result<Option<HeldToken>, DemoError> {
        match module.read(job).await? {
            TokenRead::Token(held) => {
                if progress.generation.replace(held.generation) != Some(held.generation) {
                    progress.tokens_used += 1;
                }
                Ok(Some(held))
            }
            TokenRead::NotYet => Ok(None),
            TokenRead::Over(code) => {
                progress.over = Some(code);
                Ok(None)
            }
        }
    }

    /// Whether the record was taken.
    async fn save(&self, token: &AccessToken) -> Result<bool, DemoError> {
        let what = "saving a record";
        let request = self.http.post(&self.url).bearer_auth(token.expose());
        let answer = request.send().await.map_err(DemoError::unreachable(what))?;
        match answer.status() {
            StatusCode::CREATED => Ok(true),
            StatusCode::UNAUTHORIZED => Ok(false),
            status => Err(DemoError::refused(what, status.as_u16(), &serde_json::Value::Null)),
        }
    }
}
