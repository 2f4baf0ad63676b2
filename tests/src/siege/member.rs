//! The member of the house: a module with a valid certificate and a user's live token that does its worst with them, within
//! what it is allowed. It registers, repeats, releases and is refused in loops, in the session that another module's job
//! lives in; it reads with long waits, lists, asks for what is not there or is not its own, and holds its connections open.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Method;
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::attack;
use crate::harness::client::Client;
use crate::harness::{Failure, Result};

/// Before it goes on where it was told that it does too much, or was not answered.
const PAUSE: Duration = Duration::from_millis(50);
/// Before a connection that was turned away comes again.
const AGAIN: Duration = Duration::from_secs(1);
/// More connections than it may have, so that some are always turned away.
const TOO_MANY: usize = 32;

/// The user's session, as the user interface holds it.
#[derive(Clone, Serialize, Deserialize)]
pub struct Login {
    /// Where tokens are had.
    pub token_url: String,
    /// The user interface's client.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// The refresh token; nobody else sends it.
    pub refresh_token: String,
}

/// What the member is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Orders {
    /// Where the vault listens.
    pub address: SocketAddr,
    /// The authority of the vault's certificate.
    pub root: PathBuf,
    /// Its certificate and key.
    pub certificate: (PathBuf, PathBuf),
    /// A file with a [`Login`].
    pub login: PathBuf,
    /// A job of another module's.
    pub victim: String,
    /// Jobs it keeps, whose tokens it wants renewed all the time.
    pub own: usize,
    /// Requests under way at a time.
    pub requests: usize,
    /// Connections at a time.
    pub connections: usize,
    /// How long the user's access tokens live, in seconds.
    pub token_life: u64,
    /// For how long it goes on.
    pub time: Duration,
}

/// What the member did: for each act, how often it was answered with which status (0: not at all).
pub type Account = BTreeMap<String, BTreeMap<u16, u64>>;

/// One of the things it does.
#[derive(Debug, Clone, Copy)]
enum Act {
    /// Registers and releases.
    Loop,
    /// Registers what is refused, for one reason after the other.
    Refused,
    /// Repeats registrations of its own jobs.
    Again,
    /// Repeats them without a proof, and wants more.
    Unproven,
    /// Makes a child and releases it.
    Child,
    /// Waits for a token that has nearly all of its life left.
    Wait,
    /// Lists.
    List,
    /// Asks for what is not there.
    Absent,
    /// Asks for what is another's.
    Foreign,
    /// Reads the longest answer that there is.
    Describe,
}

const ACTS: [Act; 10] = [
    Act::Loop,
    Act::Refused,
    Act::Again,
    Act::Unproven,
    Act::Child,
    Act::Wait,
    Act::List,
    Act::Absent,
    Act::Foreign,
    Act::Describe,
];

struct Member {
    orders: Orders,
    proof: RwLock<String>,
    numbers: AtomicUsize,
    account: Mutex<Account>,
}

/// Does its worst for as long as was ordered.
pub async fn besiege(orders: &Orders) -> Result<Account> {
    let login: Login = serde_json::from_slice(&std::fs::read(&orders.login)?)?;
    let (proof, login) = refresh(&login).await?;
    let member = Arc::new(Member {
        orders: orders.clone(),
        proof: RwLock::new(proof),
        numbers: AtomicUsize::new(0),
        account: Mutex::default(),
    });
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(Arc::clone(&member).stay_logged_in(login));
    let clients = (0..orders.connections.min(orders.requests).div_ceil(2)).map(|_| member.client());
    let clients = clients.collect::<Result<Vec<_>>>()?;
    let first = clients.first().ok_or_else(|| Failure::new("the member may have no connection"))?;
    member.register_own(first).await?;
    // These are what it acts over, so they are there before the others, of which some are too many.
    futures::future::join_all(clients.iter().map(|client| client.get("absent"))).await;
    for number in clients.len()..orders.connections + TOO_MANY {
        tasks.spawn(Arc::clone(&member).hold(number));
    }
    for number in 0..orders.requests {
        let (member, client) = (Arc::clone(&member), clients[number % clients.len()].clone());
        tasks.spawn(async move {
            loop {
                member.act(ACTS[number % ACTS.len()], &client).await;
            }
        });
    }
    tokio::time::sleep(orders.time).await;
    tasks.shutdown().await;
    Ok(std::mem::take(&mut *member.account.lock()))
}

/// The user's next tokens.
async fn refresh(login: &Login) -> Result<(String, Login)> {
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", &login.client_id),
        ("client_secret", &login.client_secret),
        ("refresh_token", &login.refresh_token),
    ];
    crate::harness::install_tls_provider();
    let http = reqwest::Client::builder().no_proxy().build()?;
    let answer: Value = http.post(&login.token_url).form(&form).send().await?.error_for_status()?.json().await?;
    let token = |name: &str| {
        let token = answer[name].as_str().map(str::to_owned);
        token.ok_or_else(|| Failure::new(format!("the user was given no {name}")))
    };
    Ok((token("access_token")?, Login { refresh_token: token("refresh_token")?, ..login.clone() }))
}

impl Member {
    fn client(&self) -> Result<Client> {
        let (cert, key) = &self.orders.certificate;
        Client::from_files(&format!("https://{}", self.orders.address), &self.orders.root, (cert, key))
    }

    async fn stay_logged_in(self: Arc<Self>, mut login: Login) {
        loop {
            tokio::time::sleep(Duration::from_secs(self.orders.token_life) / 3).await;
            if let Ok((proof, next)) = refresh(&login).await {
                *self.proof.write() = proof;
                login = next;
            }
        }
    }

    /// Holds one more connection, or is turned away and comes again.
    async fn hold(self: Arc<Self>, number: usize) {
        let (cert, key) = &self.orders.certificate;
        let protocol: &[u8] = if number.is_multiple_of(2) { b"http/1.1" } else { b"h2" };
        let Ok(connector) = attack::connector(&self.orders.root, cert, key, protocol) else { return };
        loop {
            if let Ok(mut stream) = attack::connect(self.orders.address, &connector).await {
                let mut heard = [0; 1024];
                while tokio::io::AsyncReadExt::read(&mut stream, &mut heard).await.is_ok_and(|read| read > 0) {}
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn register_own(&self, client: &Client) -> Result<()> {
        for number in 0..self.orders.own {
            // It is told to come again where renewals go first.
            while client.put(&own(number), &self.registration()).await?.status != 201 {
                tokio::time::sleep(PAUSE).await;
            }
        }
        Ok(())
    }

    fn registration(&self) -> Value {
        json!({ "access_token": *self.proof.read() })
    }

    async fn act(&self, act: Act, client: &Client) {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let own = own(number % self.orders.own.max(1));
        let status = match act {
            Act::Loop => self.come_and_go(client, &format!("loop-{number}"), &self.registration()).await,
            Act::Child => self.come_and_go(client, &format!("child-{number}"), &json!({ "parent_job_id": own })).await,
            Act::Refused => self.be_refused(client, number).await,
            Act::Again => status(client.put(&own, &self.registration()).await),
            Act::Unproven => {
                let later = json!({ "access_token": "x", "expires_at": later(23), "readers": ["mod-good"] });
                status(client.put(&own, &later).await)
            }
            Act::Wait => {
                let query = format!("wait=30&min_ttl={}", self.orders.token_life.saturating_sub(3));
                status(client.get_with(&own, &query).await)
            }
            Act::List => status(client.call(Method::GET, &format!("/tokens?user_id={USER_ID}"), None).await),
            Act::Absent => status(client.get_with(&format!("absent-{number}"), "wait=30").await),
            Act::Foreign => status(client.get_with(&self.orders.victim, "wait=30").await),
            Act::Describe => status(client.call(Method::GET, "/openapi.json", None).await),
        };
        *self.account.lock().entry(format!("{act:?}").to_lowercase()).or_default().entry(status).or_default() += 1;
        if matches!(status, 0 | 429) {
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn come_and_go(&self, client: &Client, job: &str, body: &Value) -> u16 {
        let registered = status(client.put(job, body).await);
        if registered == 201 {
            drop(client.delete(job).await);
        }
        registered
    }

    /// Each of these is refused by another part of the vault, or of Keycloak.
    async fn be_refused(&self, client: &Client, number: usize) -> u16 {
        let proof = self.proof.read().clone();
        let (victim, job) = (&self.orders.victim, format!("refused-{number}"));
        let (job, body) = match number % 7 {
            // The vault's client may not, at Keycloak: it is heard of after the job has joined the session.
            0 => (&job, json!({ "access_token": proof, "acquisition": "impersonate" })),
            1 => (&job, json!({ "parent_job_id": victim })),
            2 => (victim, json!({ "access_token": proof })),
            3 => (&job, json!({ "access_token": "x" })),
            4 => (&job, json!({ "access_token": proof, "expires_at": later(24 * 365) })),
            5 => (&job, json!({ "access_token": proof, "user_id": "somebody-else" })),
            _ => (&job, json!({ "access_token": proof, "acquisition": "adopt", "refresh_token": "x" })),
        };
        status(client.put(job, &body).await)
    }
}

/// Who the user is that everything is done with.
pub const USER_ID: &str = "4fd6f6a8-2ba2-4dd5-8d3c-3d4b3a9a7a10";

fn own(number: usize) -> String {
    format!("own-{number}")
}

fn later(hours: i64) -> String {
    (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(hours)).to_string()
}

fn status(answer: Result<crate::harness::client::Answer>) -> u16 {
    answer.map_or(0, |answer| answer.status.as_u16())
}
