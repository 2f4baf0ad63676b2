//! What a module does with the vault: three calls over mutual TLS. A module's own code would look much like this.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Certificate, Identity, StatusCode};
use serde_json::{Value, json};
use tokenvault_core::ports::Clock;
use tokenvault_core::secret::AccessToken;
use tokenvault_core::time::Timestamp;

use super::error::DemoError;
use super::http;

/// How long the vault is asked to wait for a renewal that is under way.
const WAIT: u64 = 10;

/// A module: it has a certificate, and nothing else of its own.
pub(super) struct DemoModule {
    http: reqwest::Client,
    vault: String,
    clock: Arc<dyn Clock>,
}

/// The token a module holds for a while.
pub(super) struct HeldToken {
    pub(super) access_token: AccessToken,
    /// Which of the job's pairs it is of.
    pub(super) generation: u64,
    pub(super) expires_at: Timestamp,
}

/// What a registration says of the job.
pub(super) struct JobRegistration {
    /// The module that may read beside the registrar.
    pub(super) reader: &'static str,
    /// Whether it goes on when the user logs out.
    pub(super) survives_logout: bool,
    /// When it is over at the latest.
    pub(super) expires_at: Timestamp,
}

/// What a read gave.
pub(super) enum TokenRead {
    /// A live token.
    Token(HeldToken),
    /// Nothing yet; ask again.
    NotYet,
    /// The job is over, for this reason.
    Over(String),
}

impl DemoModule {
    pub(super) fn new(
        vault: SocketAddr,
        ca_pem: &str,
        identity: &[u8],
        clock: Arc<dyn Clock>,
    ) -> Result<Self, DemoError> {
        let what = "a module's HTTP client";
        let ca = Certificate::from_pem(ca_pem.as_bytes()).map_err(DemoError::unreachable(what))?;
        let identity = Identity::from_pem(identity).map_err(DemoError::unreachable(what))?;
        let builder = http::client_builder().tls_certs_only([ca]).identity(identity).https_only(true);
        let http = builder.build().map_err(DemoError::unreachable(what))?;
        Ok(Self { http, vault: format!("https://{vault}"), clock })
    }

    /// Registers a job with the user's live access token as the proof. The answer is the generation of the vault's first pair.
    pub(super) async fn register(
        &self,
        job: &str,
        proof: &AccessToken,
        registration: &JobRegistration,
    ) -> Result<u64, DemoError> {
        let mut body = json!({
            "access_token": proof.expose(),
            "readers": [registration.reader],
            "expires_at": registration.expires_at.to_string(),
        });
        if registration.survives_logout {
            body["acquisition"] = json!("impersonate");
            body["on_logout"] = json!("continue");
        }
        let what = format!("PUT /tokens/{job}");
        let request = self.http.put(self.url(job)).json(&body);
        let (status, answer) = send(request, &what).await?;
        if !status.is_success() {
            return Err(DemoError::refused(what, status.as_u16(), &answer));
        }
        Ok(answer["generation"].as_u64().unwrap_or_default())
    }

    /// Asks for a live token, by the job's id alone.
    pub(super) async fn read(&self, job: &str) -> Result<TokenRead, DemoError> {
        let what = format!("GET /tokens/{job}");
        let request = self.http.get(format!("{}?wait={WAIT}", self.url(job)));
        let (status, answer) = send(request, &what).await?;
        match (status, answer["access_token"].as_str()) {
            (StatusCode::OK, Some(token)) => {
                let life = Duration::from_secs(answer["expires_in"].as_u64().unwrap_or_default());
                let expires_at = answer["expires_at"].as_str().and_then(Timestamp::parse_rfc3339);
                Ok(TokenRead::Token(HeldToken {
                    access_token: AccessToken::new(token),
                    generation: answer["generation"].as_u64().unwrap_or_default(),
                    expires_at: expires_at.unwrap_or_else(|| self.clock.now() + life),
                }))
            }
            (StatusCode::GONE, _) => Ok(TokenRead::Over(answer["code"].as_str().unwrap_or("gone").to_owned())),
            (StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS, _) => Ok(TokenRead::NotYet),
            _ => Err(DemoError::refused(what, status.as_u16(), &answer)),
        }
    }

    /// Says that the job is done.
    pub(super) async fn release(&self, job: &str) -> Result<(), DemoError> {
        let what = format!("DELETE /tokens/{job}");
        let (status, answer) = send(self.http.delete(self.url(job)), &what).await?;
        if status.is_success() { Ok(()) } else { Err(DemoError::refused(what, status.as_u16(), &answer)) }
    }

    fn url(&self, job: &str) -> String {
        format!("{}/tokens/{job}", self.vault)
    }
}

async fn send(request: reqwest::RequestBuilder, what: &str) -> Result<(StatusCode, Value), DemoError> {
    let answer = request.send().await.map_err(DemoError::unreachable(what))?;
    let status = answer.status();
    Ok((status, answer.json().await.unwrap_or_default()))
}
