//! The two small programs: *hello* and the *floor*.
//!
//! They are what a reader would write in an hour. They take the vault's own TLS settings, HTTP settings and runtime, and
//! nothing else of it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;
use serde::Serialize;
use tokenvault_server::api::connection_limits;
use tokenvault_server::config::ServerSection;
use tokenvault_server::tls::{ClientFiles, ListenerFiles, TlsSettings, http_settings};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::harness::{Failure, Result};

/// The floor's key: the same for all, for nothing secret is sealed with it.
const KEY: [u8; 32] = [7; 32];
const NONCE: [u8; 12] = [9; 12];
/// What *hello* answers.
const HELLO: &str = "hello";

/// Which of the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// Answers a fixed text.
    Hello,
    /// Reads a sealed token of this Redis, opens it and answers it.
    Floor {
        /// The Redis, as a URL.
        redis: String,
    },
}

/// A small program's listener.
#[derive(Debug, Clone)]
pub struct SmallServer {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Its certificate, its key, and the CA of its clients' certificates.
    pub files: [PathBuf; 3],
}

#[derive(Serialize)]
struct TokenBody {
    access_token: String,
    token_type: &'static str,
    expires_in: u64,
    job_id: String,
}

#[derive(Clone)]
struct Floor {
    redis: MultiplexedConnection,
    key: Arc<Aes256Gcm>,
}

/// The name of the value that the floor reads for a job.
pub fn floor_key(job: &str) -> String {
    format!("floor:{job}")
}

/// A token as the floor finds it in Redis.
pub fn sealed(job: &str, token: &str) -> Result<Vec<u8>> {
    let text = Payload { msg: token.as_bytes(), aad: job.as_bytes() };
    cipher().encrypt(&NONCE.into(), text).map_err(|_| Failure::new("a token cannot be sealed"))
}

fn cipher() -> Aes256Gcm {
    Aes256Gcm::new(&Key::<Aes256Gcm>::from(KEY))
}

async fn read(State(floor): State<Floor>, Path(job): Path<String>) -> std::result::Result<Json<TokenBody>, StatusCode> {
    let mut redis = floor.redis.clone();
    let value: Option<Vec<u8>> = redis.get(floor_key(&job)).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let value = value.ok_or(StatusCode::NOT_FOUND)?;
    let opened = floor.key.decrypt(&NONCE.into(), Payload { msg: &value, aad: job.as_bytes() });
    let token = opened.ok().and_then(|token| String::from_utf8(token).ok()).ok_or(StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(Json(TokenBody { access_token: token, token_type: "Bearer", expires_in: 300, job_id: job }))
}

async fn router(program: Program) -> Result<Router> {
    Ok(match program {
        Program::Hello => Router::new().route("/tokens/{job_id}", get(|| async { HELLO })),
        Program::Floor { redis } => {
            let redis = redis::Client::open(redis)?.get_multiplexed_async_connection().await?;
            let floor = Floor { redis, key: Arc::new(cipher()) };
            Router::new().route("/tokens/{job_id}", get(read)).with_state(floor)
        }
    })
}

/// Serves until the process ends.
pub async fn serve(server: SmallServer, program: Program) -> Result<()> {
    let [cert_file, key_file, ca_file] = server.files;
    let clients = Some(ClientFiles { ca_file, crl_file: None });
    let files = ListenerFiles { usage: "server", cert_file, key_file, clients, tls12: false };
    let settings = TlsSettings::load(&files).map_err(|error| Failure::new(error.to_string()))?;
    let acceptor = TlsAcceptor::from(settings.server_config());
    let http = http_settings(&connection_limits(&ServerSection::default()));
    let service = TowerToHyperService::new(router(program).await?);
    let listener = TcpListener::bind(server.listen).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (acceptor, http, service) = (acceptor.clone(), http.clone(), service.clone());
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let http =
                if stream.get_ref().1.alpn_protocol() == Some(b"h2") { http.http2_only() } else { http.http1_only() };
            drop(http.serve_connection(TokioIo::new(stream), service).await);
        });
    }
}
