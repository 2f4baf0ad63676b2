//! The besiegers: slow connections in eight kinds, and floods of streams that are reset at once. Who is turned away comes
//! again after a pause.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::frames;
use crate::harness::{Result, install_tls_provider};

/// Between two bytes of a slow one.
const DRIP: Duration = Duration::from_secs(1);
/// Before one that was turned away comes again.
const AGAIN: Duration = Duration::from_secs(2);
/// Streams that are opened and reset with one write.
const AT_ONCE: u32 = 50;
/// The token in a head that is full: the whole has a little less than 64 KiB.
pub const FULL: usize = 65_000;
/// A body that is full.
const FULL_BODY: usize = 60_000;
/// Streams with such a body on one connection.
const FULL_STREAMS: u32 = 16;
/// Between two heads of one that comes to an end each time.
const PACE: Duration = Duration::from_secs(2);

/// What a slow connection does.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Says nothing.
    Silent,
    /// Begins a handshake.
    Handshake,
    /// Says a head byte by byte.
    Head,
    /// Says a body byte by byte.
    Body,
    /// Says a full head but for its end.
    FullHead,
    /// The same over HTTP/2.
    FullBlock,
    /// Says full heads, one after the other, and keeps its connection.
    FullHeads,
    /// Says full bodies but for their ends, over HTTP/2.
    FullBodies,
}

const KINDS: [Kind; 8] = [
    Kind::Silent,
    Kind::Handshake,
    Kind::Head,
    Kind::Body,
    Kind::FullHead,
    Kind::FullBlock,
    Kind::FullHeads,
    Kind::FullBodies,
];

/// What the besiegers are to do.
#[derive(Debug, Clone)]
pub struct Orders {
    /// Whom.
    pub address: SocketAddr,
    /// The authority of the vault's certificate.
    pub root: PathBuf,
    /// Certificates and keys of modules that besiege.
    pub rogues: Vec<(PathBuf, PathBuf)>,
    /// Slow connections.
    pub connections: usize,
    /// Floods.
    pub floods: usize,
    /// For how long.
    pub time: Duration,
}

/// What they did.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Account {
    /// Connections made, those that came again included.
    pub connected: u64,
    /// Of them, TLS handshakes that were finished.
    pub handshakes: u64,
    /// Streams opened and reset.
    pub resets: u64,
    /// Connections on which streams were reset until the vault had enough.
    pub floods_ended: u64,
}

#[derive(Default)]
struct Counts {
    connected: AtomicU64,
    handshakes: AtomicU64,
    resets: AtomicU64,
    floods_ended: AtomicU64,
}

/// Besieges for as long as was ordered.
pub async fn besiege(orders: &Orders) -> Result<Account> {
    let counts = Arc::new(Counts::default());
    let mut tasks = tokio::task::JoinSet::new();
    let (http1, http2) = (connectors(orders, b"http/1.1")?, connectors(orders, b"h2")?);
    for number in 0..orders.connections {
        let (address, counts) = (orders.address, Arc::clone(&counts));
        let kind = KINDS[number % KINDS.len()];
        let connectors = if matches!(kind, Kind::FullBlock | Kind::FullBodies) { &http2 } else { &http1 };
        let connector = connectors[number / KINDS.len() % connectors.len()].clone();
        // They do not all come in the same instant.
        let pause = Duration::from_micros(500) * u32::try_from(number).unwrap_or(u32::MAX);
        tasks.spawn(async move {
            tokio::time::sleep(pause).await;
            loop {
                // However it ends, it comes again.
                drop(slow(kind, address, &connector, &counts).await);
                tokio::time::sleep(AGAIN).await;
            }
        });
    }
    for number in 0..orders.floods {
        let (address, counts) = (orders.address, Arc::clone(&counts));
        let connector = http2[number % http2.len()].clone();
        tasks.spawn(async move {
            loop {
                drop(flood(address, &connector, &counts).await);
                counts.floods_ended.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
    }
    tokio::time::sleep(orders.time).await;
    tasks.shutdown().await;
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    Ok(Account {
        connected: count(&counts.connected),
        handshakes: count(&counts.handshakes),
        resets: count(&counts.resets),
        floods_ended: count(&counts.floods_ended),
    })
}

fn connectors(orders: &Orders, protocol: &[u8]) -> Result<Vec<TlsConnector>> {
    let of = |(cert, key): &(PathBuf, PathBuf)| connector(&orders.root, cert, key, protocol);
    orders.rogues.iter().map(of).collect()
}

/// A client with a certificate, and one protocol.
pub fn connector(root: &Path, cert: &Path, key: &Path, protocol: &[u8]) -> Result<TlsConnector> {
    install_tls_provider();
    let mut roots = rustls::RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(root)? {
        roots.add(root?)?;
    }
    let chain = CertificateDer::pem_file_iter(cert)?.collect::<std::result::Result<_, _>>()?;
    let mut config = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Connects over TLS.
pub async fn connect(address: SocketAddr, connector: &TlsConnector) -> Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    Ok(connector.connect(ServerName::IpAddress(address.ip().into()), stream).await?)
}

/// A slow connection, until the vault has enough of it.
async fn slow(kind: Kind, address: SocketAddr, connector: &TlsConnector, counts: &Counts) -> Result<()> {
    counts.connected.fetch_add(1, Ordering::Relaxed);
    match kind {
        Kind::Silent => return silent(address).await,
        Kind::Handshake => return slow_handshake(address).await,
        _ => {}
    }
    let stream = connect(address, connector).await?;
    counts.handshakes.fetch_add(1, Ordering::Relaxed);
    match kind {
        Kind::Head => slow_head(stream).await,
        Kind::Body => slow_body(stream).await,
        Kind::FullHead => full_head(stream).await,
        Kind::FullBlock => full_block(stream).await,
        Kind::FullHeads => full_heads(stream).await,
        Kind::FullBodies => full_bodies(stream).await,
        Kind::Silent | Kind::Handshake => Ok(()),
    }
}

/// Connects and says nothing.
pub async fn silent(address: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    // It is hung up on, or hears something, which is all the same to it.
    drop(stream.read_u8().await);
    Ok(())
}

/// Begins a handshake, and says the rest of it a byte at a time.
pub async fn slow_handshake(address: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    // A record of 512 bytes with a ClientHello is announced.
    stream.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]).await?;
    drip(&mut stream, b"\0").await
}

/// Says a request's head a byte at a time.
pub async fn slow_head<S: AsyncReadExt + AsyncWriteExt + Unpin>(mut stream: S) -> Result<()> {
    stream.write_all(b"GET /tokens/besieged HTTP/1.1\r\nhost: localhost\r\nx-slow: ").await?;
    drip(&mut stream, b"s").await
}

/// Says a request's body a byte at a time.
pub async fn slow_body<S: AsyncReadExt + AsyncWriteExt + Unpin>(mut stream: S) -> Result<()> {
    let head = "PUT /tokens/slow HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 60000\r\n\r\n{";
    stream.write_all(head.as_bytes()).await?;
    drip(&mut stream, b" ").await
}

/// Says a full head with a token in it, and its end a byte at a time.
pub async fn full_head<S: AsyncReadExt + AsyncWriteExt + Unpin>(mut stream: S) -> Result<()> {
    stream.write_all(head(FULL - 1_000).as_bytes()).await?;
    drip(&mut stream, b"e").await
}

fn head(token: usize) -> String {
    format!("GET /tokens/besieged HTTP/1.1\r\nhost: localhost\r\nx-okapi-token: {}", "e".repeat(token))
}

/// The same over HTTP/2.
pub async fn full_block<S: AsyncReadExt + AsyncWriteExt + Unpin>(mut stream: S) -> Result<()> {
    let mut frames = frames::PREFACE.to_vec();
    frames::open_full(1, "/tokens/besieged", FULL, 1_000, &mut frames);
    stream.write_all(&frames).await?;
    let mut more = Vec::new();
    frames::drip(1, &mut more);
    drip(&mut stream, &more).await
}

/// Says full heads that come to an end, one after the other.
pub async fn full_heads<S: AsyncReadExt + AsyncWriteExt + Unpin>(mut stream: S) -> Result<()> {
    let (head, mut answer) = (format!("{}\r\n\r\n", head(FULL)), vec![0; 4096]);
    loop {
        stream.write_all(head.as_bytes()).await?;
        stream.flush().await?;
        if stream.read(&mut answer).await? == 0 {
            return Ok(());
        }
        tokio::time::sleep(PACE).await;
    }
}

/// Says many full bodies at a time, over HTTP/2, and not their ends.
pub async fn full_bodies<S: AsyncReadExt + AsyncWriteExt + Unpin>(mut stream: S) -> Result<()> {
    let mut frames = frames::PREFACE.to_vec();
    for number in 0..FULL_STREAMS {
        frames::put_full(2 * number + 1, "/tokens/slow", FULL_BODY, &mut frames);
    }
    stream.write_all(&frames).await?;
    stream.flush().await?;
    // What is answered is heard, and nothing more is said.
    let mut heard = vec![0; 4096];
    while stream.read(&mut heard).await? > 0 {}
    Ok(())
}

async fn drip<S: AsyncReadExt + AsyncWriteExt + Unpin>(stream: &mut S, drop: &[u8]) -> Result<()> {
    let mut heard = [0; 1024];
    loop {
        stream.write_all(drop).await?;
        stream.flush().await?;
        if let Ok(read) = tokio::time::timeout(DRIP, stream.read(&mut heard)).await
            && read? == 0
        {
            return Ok(());
        }
    }
}

/// Opens streams and resets them, until the vault has enough.
async fn flood(address: SocketAddr, connector: &TlsConnector, counts: &Counts) -> Result<()> {
    counts.connected.fetch_add(1, Ordering::Relaxed);
    let mut stream = connect(address, connector).await?;
    counts.handshakes.fetch_add(1, Ordering::Relaxed);
    rapid_reset(&mut stream, u32::MAX / 4, |resets| {
        counts.resets.fetch_add(resets.into(), Ordering::Relaxed);
    })
    .await
}

/// The same, so often at most; `told` hears of each fifty.
pub async fn rapid_reset(stream: &mut TlsStream<TcpStream>, most: u32, mut told: impl FnMut(u32)) -> Result<()> {
    stream.write_all(frames::PREFACE).await?;
    let (mut next, mut heard) = (1, vec![0; 16 * 1024]);
    while next < most * 2 {
        let mut batch = Vec::new();
        for number in 0..AT_ONCE {
            // Some with a full head.
            if number == 0 {
                frames::open_full(next, "/tokens/besieged", FULL, 0, &mut batch);
            } else {
                frames::open(next, "/tokens/besieged", &mut batch);
            }
            frames::reset(next, &mut batch);
            next += 2;
        }
        stream.write_all(&batch).await?;
        stream.flush().await?;
        told(AT_ONCE);
        // What is not read would stop the vault from writing, and so from reading.
        while let Ok(read) = tokio::time::timeout(Duration::from_millis(1), stream.read(&mut heard)).await {
            if read? == 0 {
                return Ok(());
            }
        }
    }
    Ok(())
}
