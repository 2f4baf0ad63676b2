//! One connection of a module's, whose end can be seen.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokenvault_tests::harness::certs::{Certificate, TestCa};
use tokenvault_tests::harness::{Failure, Result, install_tls_provider};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

/// Within this time everything happens that happens at all.
const DEADLINE: Duration = Duration::from_secs(30);

/// The version of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Http {
    One,
    Two,
}

enum Sender {
    One(http1::SendRequest<Body>),
    Two(http2::SendRequest<Body>),
}

/// A connection. It is never made anew: what it is asked after its end fails.
pub(crate) struct Line {
    sender: Sender,
    ended: JoinHandle<Instant>,
}

impl Line {
    /// Opens it to a replica's listener, with this certificate.
    pub(crate) async fn open(url: &str, server: &TestCa, certificate: &Certificate, version: Http) -> Result<Self> {
        install_tls_provider();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(server.cert_file())?)?;
        let chain = CertificateDer::pem_file_iter(&certificate.cert)?.collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_file(&certificate.key)?;
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_client_auth_cert(chain, key)?;
        config.alpn_protocols = vec![if version == Http::Two { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        let port = url::Url::parse(url)?.port().ok_or_else(|| Failure::new("an address without a port"))?;
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let stream = TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost")?, stream).await?;
        let (sender, ended) = match version {
            Http::One => {
                let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
                (Sender::One(sender), watched(async { drop(connection.await) }))
            }
            Http::Two => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
                (Sender::Two(sender), watched(async { drop(connection.await) }))
            }
        };
        Ok(Self { sender, ended })
    }

    /// `GET`: the status of the answer.
    pub(crate) async fn get(&mut self, path: &str) -> Result<u16> {
        let uri = format!("https://localhost{path}");
        let request = hyper::Request::get(uri).header("host", "localhost").body(Body::empty())?;
        let answer = async {
            match &mut self.sender {
                Sender::One(sender) => sender.send_request(request).await,
                Sender::Two(sender) => sender.send_request(request).await,
            }
        };
        let answer = tokio::time::timeout(DEADLINE, answer).await.map_err(|_| Failure::new("no answer in time"))??;
        Ok(answer.status().as_u16())
    }

    /// Whether it stands.
    pub(crate) fn stands(&self) -> bool {
        !self.ended.is_finished()
    }

    /// When it ended.
    pub(crate) async fn ended(self) -> Result<Instant> {
        // The sender stays: a client that lets go of it would end the connection by itself.
        let Self { sender: _sender, ended } = self;
        Ok(tokio::time::timeout(DEADLINE, ended).await.map_err(|_| Failure::new("the connection stands"))??)
    }
}

fn watched(connection: impl Future<Output = ()> + Send + 'static) -> JoinHandle<Instant> {
    tokio::spawn(async {
        connection.await;
        Instant::now()
    })
}
