//! Stands where Keycloak calls: takes its logout tokens over plain HTTP and hands the very bytes on to the vault over TLS,
//! or keeps them. The Keycloak that tests share does not trust certificates that a test has just made.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::client::Client;
use super::realm::LabRealm;
use super::{Failure, Result};

/// A form as Keycloak sent it, and what the vault answered to it, if it was asked.
#[derive(Clone)]
pub struct Delivery {
    /// The form, byte by byte.
    pub form: Bytes,
    /// The status that the vault answered with.
    pub answer: Option<u16>,
}

impl Delivery {
    /// The logout token in the form.
    pub fn token(&self) -> String {
        let fields = url::form_urlencoded::parse(&self.form);
        fields.filter(|(name, _)| name == "logout_token").map(|(_, token)| token.into_owned()).collect()
    }
}

struct Post {
    vault: Mutex<Option<Client>>,
    hold: Mutex<Duration>,
    delivered: Mutex<Vec<Delivery>>,
    tenant: String,
}

/// Listens until it is dropped.
pub struct Courier {
    post: Arc<Post>,
    serving: JoinHandle<()>,
}

impl Drop for Courier {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Courier {
    /// A courier for a realm, known to these of its clients.
    pub async fn of(realm: &LabRealm, clients: &[&str]) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/logout", listener.local_addr()?);
        let post = Arc::new(Post {
            vault: Mutex::default(),
            hold: Mutex::default(),
            delivered: Mutex::default(),
            tenant: realm.name().to_owned(),
        });
        let router = Router::new().route("/logout", self::post(take)).with_state(Arc::clone(&post));
        let serving = tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        for client in clients {
            call_at(realm, client, &url).await?;
        }
        Ok(Self { post, serving })
    }

    /// From now on what comes is handed on to this listener of the vault's; before, it is kept.
    pub fn deliver_to(&self, vault: Client) {
        *self.post.vault.lock() = Some(vault);
    }

    /// From now on Keycloak waits this long for its answer, as it would for another client's.
    pub fn hold(&self, time: Duration) {
        *self.post.hold.lock() = time;
    }

    /// All that came so far.
    pub fn delivered(&self) -> Vec<Delivery> {
        self.post.delivered.lock().clone()
    }

    /// The last that came.
    pub fn last(&self) -> Result<Delivery> {
        self.delivered().pop().ok_or_else(|| Failure::new("Keycloak sent no logout token"))
    }
}

/// Tells Keycloak to call a client's back channel at a URL, naming the session.
pub async fn call_at(realm: &LabRealm, client: &str, url: &str) -> Result<()> {
    let admin = realm.admin();
    admin.set_client_attribute(realm.name(), client, "backchannel.logout.url", url).await?;
    admin.set_client_attribute(realm.name(), client, "backchannel.logout.session.required", "true").await
}

/// Hands a form to the vault's listener; its status and its body.
pub async fn hand_over(vault: &Client, tenant: &str, form: impl Into<Bytes>) -> Result<(u16, String)> {
    let url = format!("{}/backchannel-logout/{tenant}", vault.base_url());
    let request = vault.http().post(url).header("content-type", "application/x-www-form-urlencoded");
    let answer = request.body(form.into()).send().await?;
    Ok((answer.status().as_u16(), answer.text().await?))
}

async fn take(State(post): State<Arc<Post>>, form: Bytes) -> StatusCode {
    let vault = post.vault.lock().clone();
    let answer = match vault {
        Some(vault) => hand_over(&vault, &post.tenant, form.clone()).await.ok().map(|(status, _)| status),
        None => None,
    };
    post.delivered.lock().push(Delivery { form, answer });
    let hold = *post.hold.lock();
    tokio::time::sleep(hold).await;
    answer.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(StatusCode::OK)
}
