//! The listener in question, and clients that show it whatever they like.

use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Extension, Router};
use base64::Engine as _;
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokenvault_server::api::connection_limits;
use tokenvault_server::callers::Action;
use tokenvault_server::callers::Policy;
use tokenvault_server::config::ServerSection;
use tokenvault_server::tls::{self, Peer, TlsState, serve};
use tokenvault_server::web::shutdown::Shutdown;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_util::sync::DropGuard;

use crate::certificates::keys::Key;
use crate::certificates::x509::{Authority, SERVER_AUTH, Spec, basics, dns, eku};

/// Within this time everything happens that happens at all.
const DEADLINE: Duration = Duration::from_secs(20);

/// The modules there are. Each has a name of every kind that could be mistaken for another's.
const POLICY: &str = r#"
[[module]]
name = "mod-uri"
uri_san = "spiffe://example.org/mod-uri"
tenants = ["diku"]
read = true

[[module]]
name = "mod-web"
uri_san = "https://modules.example.org/mod-web"
tenants = ["diku"]
read = true

[[module]]
name = "mod-dns"
dns_san = "mod-dns.example.org"
tenants = ["diku"]
read = true

[[module]]
name = "mod-two"
dns_san = "mod-two.example.org"
tenants = ["diku"]
read = true

[[module]]
name = "mod-idn"
dns_san = "xn--mdul-9qa.example.org"
tenants = ["diku"]
read = true

[[module]]
name = "mod-cn"
cn = "mod-cn"
tenants = ["diku"]
read = true

[[module]]
name = "mod-cn-uri"
cn = "spiffe://example.org/mod-cn-uri"
tenants = ["diku"]
read = true
"#;

/// What came of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The listener does not take these authorities or lists at all; a part of what it says.
    Unusable(String),
    /// The handshake ended with this alert.
    Refused(String),
    /// The connection stands, and 403 `caller_unknown` is the answer to everything.
    Nobody,
    /// This module is served.
    Module(String),
    /// None of these, which is never right.
    Odd(String),
}

/// A listener that trusts these authorities and lists.
pub(crate) struct Listener {
    address: Result<SocketAddr, String>,
    _stop: DropGuard,
}

impl Listener {
    pub(crate) async fn start(dir: &Path, authorities: &[Vec<u8>], lists: Option<&[Vec<u8>]>) -> Self {
        std::fs::create_dir_all(dir).expect("a directory");
        let shutdown = Shutdown::default();
        let config = files(dir, authorities, lists);
        let address = match TlsState::load(&config) {
            Err(error) => Err(error.to_string()),
            Ok(state) => {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                let address = listener.local_addr().expect("an address");
                let limits = connection_limits(&config);
                tokio::spawn(serve(
                    listener,
                    state,
                    router(),
                    limits,
                    Arc::new(tls::NoCallers),
                    None,
                    shutdown.clone(),
                ));
                Ok(address)
            }
        };
        Self { address, _stop: shutdown.stopping().clone().drop_guard() }
    }

    /// Calls with this chain and this key, whether they belong together or not.
    pub(crate) async fn call(&self, chain: &[Vec<u8>], key: &Key, tls12: bool) -> Outcome {
        match &self.address {
            Err(problem) => Outcome::Unusable(problem.clone()),
            Ok(address) => tokio::time::timeout(DEADLINE, call(*address, chain, key, tls12))
                .await
                .unwrap_or_else(|_| Outcome::Odd("no answer in time".to_owned())),
        }
    }
}

fn files(dir: &Path, authorities: &[Vec<u8>], lists: Option<&[Vec<u8>]>) -> ServerSection {
    let own = Authority::root("the listener's");
    let key = Key::new();
    let spec = Spec::leaf(&key).only(&[basics(false, None), eku(&[SERVER_AUTH])]).named(&[dns("localhost")]);
    let Key::Made(pair) = &key else { unreachable!("it was just made") };
    let write = |name: &str, text: &str| {
        let file = dir.join(name);
        std::fs::write(&file, text).expect("a file");
        file
    };
    ServerSection {
        cert_file: write("server.pem", &pem("CERTIFICATE", &[spec.by(&own)])),
        key_file: write("server.key", &pair.serialize_pem()),
        client_ca_file: write("ca.pem", &pem("CERTIFICATE", authorities)),
        client_crl_file: lists.map(|lists| write("crl.pem", &pem("X509 CRL", lists))),
        tls12: true,
        ..ServerSection::default()
    }
}

fn pem(label: &str, ders: &[Vec<u8>]) -> String {
    let encode = |der| base64::engine::general_purpose::STANDARD.encode(der);
    let section = |der| format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", encode(der));
    ders.iter().map(section).collect::<Vec<_>>().concat()
}

/// Answers as the routes for modules do before they look at anything else: who is it, and may they?
fn router() -> Router {
    let policy = Arc::new(Policy::parse(POLICY).expect("a policy"));
    let who = move |Extension(peer): Extension<Peer>| async move {
        match policy.admit(peer.names(), None, Action::Read, |_| true) {
            Ok(caller) => (StatusCode::OK, caller.module.to_string()).into_response(),
            Err(problem) => (StatusCode::FORBIDDEN, problem.code.as_str()).into_response(),
        }
    };
    Router::new().route("/who", get(who))
}

async fn call(address: SocketAddr, chain: &[Vec<u8>], key: &Key, tls12: bool) -> Outcome {
    let version = if tls12 { &rustls::version::TLS12 } else { &rustls::version::TLS13 };
    let chain: Vec<CertificateDer<'static>> = chain.iter().cloned().map(CertificateDer::from).collect();
    // The key is not held against the certificate: an impostor would not do so either.
    let shown = (!chain.is_empty()).then(|| Arc::new(CertifiedKey { cert: chain, key: key.signing(), ocsp: None }));
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[version])
        .expect("the provider has both")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting))
        .with_client_cert_resolver(Arc::new(Shows(shown)));
    match exchange(address, config).await {
        Ok(answer) => said(&answer),
        Err(error) => match error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::AlertReceived(alert)) => Outcome::Refused(format!("{alert:?}")),
            // While the client still sends, the listener's alert may be lost with the connection.
            _ if matches!(error.kind(), ConnectionReset | BrokenPipe | UnexpectedEof | ConnectionAborted) => {
                Outcome::Refused("closed".to_owned())
            }
            _ => Outcome::Odd(format!("{:?}: {error}", error.kind())),
        },
    }
}

async fn exchange(address: SocketAddr, config: ClientConfig) -> std::io::Result<String> {
    let tcp = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await?;
    // With TLS 1.3 the listener's verdict comes after this; if it is no, the request may meet a closed door.
    let sent = stream.write_all(b"GET /who HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer).await {
        Err(error) if answer.is_empty() => return Err(error),
        _ => {}
    }
    sent?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn said(answer: &str) -> Outcome {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    match (head.split(' ').nth(1), body) {
        (Some("200"), module) => Outcome::Module(module.to_owned()),
        (Some("403"), "caller_unknown") => Outcome::Nobody,
        _ => Outcome::Odd(answer.to_owned()),
    }
}

/// Shows its certificate whatever the listener says it wants.
#[derive(Debug)]
struct Shows(Option<Arc<CertifiedKey>>);

impl ResolvesClientCert for Shows {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}

/// The listener's certificate is not the question here.
#[derive(Debug)]
struct Trusting;

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let provider: CryptoProvider = aws_lc_rs::default_provider();
        provider.signature_verification_algorithms.supported_schemes()
    }
}
