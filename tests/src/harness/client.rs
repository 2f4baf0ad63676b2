//! An HTTP client of the vault with a client certificate, as a module or an operator has one.

use std::path::Path;
use std::time::Duration;
use std::{fmt, fs};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Identity, Method, StatusCode};
use serde_json::{Value, json};

use super::certs::{Certificate, TestCa};
use super::realm::Tokens;
use super::{Failure, Result, install_tls_provider};

/// An answer of the vault's. `Debug` shows no token.
#[derive(Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as JSON; null if it is empty or no JSON.
    pub body: Value,
}

impl Answer {
    /// The access token in it; empty if there is none.
    pub fn access_token(&self) -> &str {
        self.body["access_token"].as_str().unwrap_or_default()
    }

    /// The problem's code; empty if it is no problem.
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// A header as text; empty if it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Itself if the status is as expected, else a failure that shows it.
    pub fn expect_status(self, status: u16) -> Result<Self> {
        if self.status.as_u16() == status {
            return Ok(self);
        }
        Err(Failure::new(format!("expected {status}, got {self:?}")))
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut body = self.body.clone();
        if let Some(token) = body.get_mut("access_token") {
            *token = json!("[redacted]");
        }
        write!(f, "{} {body}", self.status)
    }
}

/// A client of one replica. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base_url: String,
    headers: HeaderMap,
}

impl Client {
    /// A client that trusts only `ca` and shows `certificate`.
    pub fn new(base_url: &str, ca: &TestCa, certificate: Option<&Certificate>) -> Result<Self> {
        Self::trusting(base_url, ca.root()?, certificate.map(Certificate::identity).transpose()?)
    }

    /// The same in another process, which has nothing but the files: the authority's certificate, one's own, and its key.
    pub fn from_files(base_url: &str, root: &Path, (cert, key): (&Path, &Path)) -> Result<Self> {
        let identity = Identity::from_pem(&[fs::read(cert)?, fs::read(key)?].concat())?;
        Self::trusting(base_url, reqwest::Certificate::from_pem(&fs::read(root)?)?, Some(identity))
    }

    fn trusting(base_url: &str, root: reqwest::Certificate, identity: Option<Identity>) -> Result<Self> {
        install_tls_provider();
        let mut builder = reqwest::Client::builder()
            .tls_certs_only([root])
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_mins(1));
        if let Some(identity) = identity {
            builder = builder.identity(identity);
        }
        Ok(Self { http: builder.build()?, base_url: base_url.to_owned(), headers: HeaderMap::new() })
    }

    /// The same client, naming a tenant.
    pub fn for_tenant(&self, tenant: &str) -> Result<Self> {
        self.with_header("x-okapi-tenant", tenant)
    }

    /// The same client, sending one more header.
    pub fn with_header(&self, name: &str, value: &str) -> Result<Self> {
        let mut client = self.clone();
        client.headers.insert(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_str(value)?);
        Ok(client)
    }

    /// `PUT /tokens/{job_id}` with the user's access token and nothing else.
    pub async fn register(&self, job_id: &str, proof: &Tokens) -> Result<Answer> {
        self.put(job_id, &json!({ "access_token": proof.access_token })).await
    }

    /// `PUT /tokens/{job_id}`.
    pub async fn put(&self, job_id: &str, body: &Value) -> Result<Answer> {
        self.call(Method::PUT, &format!("/tokens/{job_id}"), Some(body)).await
    }

    /// `GET /tokens/{job_id}`.
    pub async fn get(&self, job_id: &str) -> Result<Answer> {
        self.get_with(job_id, "").await
    }

    /// `GET /tokens/{job_id}?query`, such as `min_ttl=5&wait=10`.
    pub async fn get_with(&self, job_id: &str, query: &str) -> Result<Answer> {
        let mark = if query.is_empty() { "" } else { "?" };
        self.call(Method::GET, &format!("/tokens/{job_id}{mark}{query}"), None).await
    }

    /// `DELETE /tokens/{job_id}`.
    pub async fn delete(&self, job_id: &str) -> Result<Answer> {
        self.call(Method::DELETE, &format!("/tokens/{job_id}"), None).await
    }

    /// Any call; `path` starts with a slash.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer> {
        let url = format!("{}{path}", self.base_url);
        let mut request = self.http.request(method, url).headers(self.headers.clone());
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let text = answer.text().await?;
        Ok(Answer { status, headers, body: serde_json::from_str(&text).unwrap_or_default() })
    }

    /// The address it calls.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// The underlying client, for what the methods above do not offer.
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }
}
