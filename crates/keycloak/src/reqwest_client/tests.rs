//! The adapter against servers that misbehave on the wire.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokenvault_core::ids::ClientId;
use tokenvault_core::secret::{ClientSecret, RefreshToken};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::request::{ClientAuth, RequestBuilder};
use crate::tenant::{Credentials, TenantConfig};

fn client(change: impl FnOnce(&mut HttpSettings)) -> ReqwestClient {
    let mut settings = HttpSettings { trust: TrustAnchors::Nobody, ..HttpSettings::default() };
    change(&mut settings);
    ReqwestClient::new(&settings).unwrap()
}

fn request(scheme: &str, address: SocketAddr) -> HttpRequest {
    let auth = ClientAuth::Secret(ClientSecret::new("secret"));
    let client = ClientId::parse("vault").unwrap();
    let credentials = Credentials::Secret(ClientSecret::new("secret"));
    let issuer = format!("{scheme}://{address}/realms/x");
    let tenant = TenantConfig::new(&issuer, None, client.clone(), credentials).unwrap();
    RequestBuilder { endpoints: tenant.endpoints(), client: &client, auth: &auth }.refresh(&RefreshToken::new("rt"))
}

/// A server that reads a whole request, counts it, writes these bytes and then does as it is told.
struct Wire {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

#[derive(Clone, Copy)]
enum Then {
    Close,
    Hang,
}

async fn wire(answer: Vec<u8>, then: Then) -> Wire {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(AtomicUsize::new(0));
    let seen = requests.clone();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            read_request(&mut stream).await;
            seen.fetch_add(1, Ordering::SeqCst);
            stream.write_all(&answer).await.unwrap();
            match then {
                Then::Close => drop(stream),
                Then::Hang => kept.push(stream),
            }
        }
    });
    Wire { address, requests }
}

async fn read_request(stream: &mut TcpStream) {
    let (mut seen, mut buffer) = (Vec::new(), [0; 4096]);
    while !seen.ends_with(b"refresh_token=rt") {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => seen.extend_from_slice(&buffer[..read]),
        }
    }
}

fn plain(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}

#[tokio::test]
async fn an_answer_arrives_as_it_was_sent() {
    let server = wire(plain("{}"), Then::Hang).await;
    let answer = client(|_| ()).send(request("http", server.address)).await.unwrap();
    assert_eq!((answer.status, answer.content_type.as_deref()), (200, Some("application/json")));
    assert_eq!(&answer.body[..], b"{}");
}

#[tokio::test]
async fn a_refused_connection_was_certainly_not_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    assert_eq!(client(|_| ()).send(request("http", address)).await.err(), Some(TransportFailure::Connect));
}

#[tokio::test]
async fn a_failed_handshake_was_certainly_not_sent() {
    // One that answers TLS with something else, and one that never answers at all.
    let rude = wire_on_connect(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let silent = wire_on_connect(b"").await;
    let client = client(|settings| settings.connect_timeout = Duration::from_millis(300));
    for address in [rude, silent] {
        assert_eq!(client.send(request("https", address)).await.err(), Some(TransportFailure::Connect));
    }
}

async fn wire_on_connect(greeting: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(greeting).await.unwrap();
            kept.push(stream);
        }
    });
    address
}

#[tokio::test]
async fn an_answer_cut_anywhere_is_an_interruption() {
    let whole = plain(r#"{"access_token":"x"}"#);
    let client = client(|_| ());
    for length in 0..whole.len() {
        let server = wire(whole[..length].to_vec(), Then::Close).await;
        let failure = client.send(request("http", server.address)).await.err();
        assert_eq!(failure, Some(TransportFailure::Interrupted), "cut at {length}");
        assert_eq!(server.requests.load(Ordering::SeqCst), 1, "sent again after a cut at {length}");
    }
}

#[tokio::test]
async fn a_chunked_answer_cut_anywhere_is_an_interruption() {
    let whole = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"a\":\r\n2\r\n1}\r\n0\r\n\r\n";
    let client = client(|_| ());
    for length in 0..whole.len() - 2 {
        let server = wire(whole[..length].to_vec(), Then::Close).await;
        let failure = client.send(request("http", server.address)).await.err();
        assert_eq!(failure, Some(TransportFailure::Interrupted), "cut at {length}");
    }
}

#[tokio::test]
async fn no_answer_in_time_is_a_timeout_whether_or_not_it_had_begun() {
    let client = client(|settings| settings.request_timeout = Duration::from_millis(200));
    for begun in [0, 10, 60] {
        let server = wire(plain(r#"{"access_token":"x"}"#)[..begun].to_vec(), Then::Hang).await;
        let failure = client.send(request("http", server.address)).await.err();
        assert_eq!(failure, Some(TransportFailure::Timeout), "after {begun} bytes");
    }
}

#[tokio::test]
async fn a_connection_that_died_while_idle_is_not_used_again() {
    let server = wire(plain("{}"), Then::Close).await;
    let client = client(|_| ());
    for _ in 0..5 {
        assert!(client.send(request("http", server.address)).await.is_ok());
    }
    assert_eq!(server.requests.load(Ordering::SeqCst), 5);
}

#[tokio::test]
async fn an_endless_answer_is_given_up() {
    let server = wire(plain(&"x".repeat(2000)), Then::Hang).await;
    let client = client(|settings| settings.max_answer = 1999);
    assert_eq!(client.send(request("http", server.address)).await.err(), Some(TransportFailure::TooLong));
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_not_followed() {
    let target = wire(plain("{}"), Then::Hang).await;
    let redirect = format!("HTTP/1.1 307 X\r\nlocation: http://{}/\r\ncontent-length: 0\r\n\r\n", target.address);
    let server = wire(redirect.into_bytes(), Then::Hang).await;

    let answer = client(|_| ()).send(request("http", server.address)).await.unwrap();

    assert_eq!(answer.status, 307);
    assert_eq!(target.requests.load(Ordering::SeqCst), 0);
}

/// A server that answers at first and then, on the connections it has, never again; on new ones it does.
async fn freezing() -> (SocketAddr, tokio::sync::watch::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (freeze, frozen) = tokio::sync::watch::channel(());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut frozen = frozen.clone();
            frozen.mark_unchanged();
            tokio::spawn(async move {
                loop {
                    read_request(&mut stream).await;
                    if frozen.has_changed().unwrap_or(true) {
                        // It still takes what comes.
                        let mut rest = Vec::new();
                        drop(stream.read_to_end(&mut rest).await);
                        std::future::pending::<()>().await;
                    }
                    stream.write_all(&plain("{}")).await.unwrap();
                }
            });
        }
    });
    (address, freeze)
}

#[tokio::test]
async fn connections_that_do_not_answer_are_left_and_those_to_other_addresses_are_kept() {
    let (address, freeze) = freezing().await;
    let (other, _as_it_is) = freezing().await;
    let left = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&left);
    let settings = HttpSettings {
        trust: TrustAnchors::Nobody,
        request_timeout: Duration::from_secs(2),
        ..HttpSettings::default()
    };
    let told = Arc::new(move || {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    let client = ReqwestClient::telling(&settings, told).unwrap();
    assert!(client.send(request("http", other)).await.is_ok());
    let before = client.0.of(&request("http", other).url);
    let send = || client.send(request("http", address));
    let (one, two, three) = tokio::join!(send(), send(), send());
    assert!(one.is_ok() && two.is_ok() && three.is_ok(), "three connections stand");

    freeze.send_replace(());

    assert_eq!(client.send(request("http", address)).await.err(), Some(TransportFailure::Timeout));
    assert!(client.send(request("http", address)).await.is_ok(), "the two others are left with it");
    assert_eq!(left.load(Ordering::SeqCst), 1);
    assert!(client.send(request("http", other)).await.is_ok());
    assert!(Arc::ptr_eq(&before, &client.0.of(&request("http", other).url)));
}

#[tokio::test]
async fn one_slow_answer_among_others_is_no_reason_to_leave() {
    let (address, _as_it_is) = freezing().await;
    let client = client(|settings| settings.request_timeout = Duration::from_secs(2));
    let (url, pool) = (request("http", address).url, client.0.of(&request("http", address).url));
    let before = pool.answered();
    assert!(client.send(request("http", address)).await.is_ok());
    client.0.unanswered(&url, &pool, before);
    assert!(Arc::ptr_eq(&pool, &client.0.of(&url)));
}

#[test]
fn a_bundle_without_a_certificate_is_refused() {
    for bundle in [&b""[..], b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let settings = HttpSettings { trust: TrustAnchors::Only(bundle.to_vec()), ..HttpSettings::default() };
        assert!(ReqwestClient::new(&settings).is_err());
    }
}
