//! A module that calls in a loop: it reads tokens, and now and then registers a job anew.

use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::Tally;
use super::stage::JOB;
use crate::harness::Result;
use crate::harness::certs::{Certificate, TestCa};

/// Between two calls.
const PACE: Duration = Duration::from_millis(60);
/// Every so many calls, one is a registration.
const REGISTER_EVERY: usize = 10;
/// Longer than anything is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// How it keeps its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Each call has its own.
    Fresh,
    /// One, over HTTP/1.1, for as long as it stands.
    Http1,
    /// The same over HTTP/2.
    Http2,
}

/// Who calls.
pub(super) struct Caller {
    pub(super) url: String,
    pub(super) kind: Kind,
    pub(super) root: reqwest::Certificate,
    pub(super) identity: reqwest::Identity,
    /// A user's live access token.
    pub(super) proof: String,
}

impl Caller {
    pub(super) fn new(url: String, kind: Kind, ca: &TestCa, certificate: &Certificate, proof: String) -> Result<Self> {
        Ok(Self { url, kind, root: ca.root()?, identity: certificate.identity()?, proof })
    }

    fn connect(&self) -> Result<reqwest::Client> {
        let builder = reqwest::Client::builder()
            .tls_certs_only([self.root.clone()])
            .identity(self.identity.clone())
            .no_proxy()
            // What fails is to be seen.
            .retry(reqwest::retry::never())
            .timeout(PATIENCE);
        Ok(if self.kind == Kind::Http1 { builder.http1_only() } else { builder }.build()?)
    }

    /// Calls until it is over. Each loop has a number of its own.
    pub(super) async fn call_until(self, over: CancellationToken, loop_number: usize) -> Result<Tally> {
        let (mut tally, mut http) = (Tally::default(), self.connect()?);
        while !over.is_cancelled() {
            if self.kind == Kind::Fresh {
                http = self.connect()?;
            }
            tally.calls += 1;
            let registers = tally.calls % REGISTER_EVERY == 0;
            let job = if registers { format!("{JOB}-{:?}-{loop_number}", self.kind) } else { JOB.to_owned() };
            if let Err(why) = self.call(&http, &job, registers).await {
                tally.failed += 1;
                *tally.why.entry(why).or_default() += 1;
                if self.kind == Kind::Fresh {
                    http = self.connect()?;
                }
                tally.failed_after_retry += usize::from(self.call(&http, &job, registers).await.is_err());
            }
            tokio::time::sleep(PACE).await;
        }
        Ok(tally)
    }

    /// One call; why it failed, if it did.
    async fn call(&self, http: &reqwest::Client, job: &str, registers: bool) -> std::result::Result<(), String> {
        let url = format!("{}/tokens/{job}", self.url);
        let request = if registers {
            http.put(url).json(&json!({ "access_token": self.proof }))
        } else {
            http.get(format!("{url}?wait=5"))
        };
        let unanswered = |error: reqwest::Error| if error.is_connect() { "not connected" } else { "not answered" };
        let answer = request.send().await.map_err(unanswered)?;
        let (status, body) = (answer.status(), answer.json::<Value>().await.map_err(|_| "half an answer")?);
        if status.is_success() {
            return Ok(());
        }
        Err(body["code"].as_str().map_or_else(|| status.to_string(), str::to_owned))
    }
}
