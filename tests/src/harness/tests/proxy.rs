//! The proxy spoils exactly what it is told to, and nothing else.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::harness::process::{SOON, wait_until};
use crate::harness::proxy::{Fault, Proxy};
use crate::harness::{Failure, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Answers each line with `0123456789`.
async fn upstream() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 256];
                while let Ok(1..) = stream.read(&mut buffer).await {
                    if stream.write_all(b"0123456789").await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok(address)
}

async fn ask(stream: &mut TcpStream, request: &str) -> String {
    let mut answer = [0; 10];
    let mut got = 0;
    if stream.write_all(request.as_bytes()).await.is_err() {
        return String::new();
    }
    while got < answer.len() {
        match stream.read(&mut answer[got..]).await {
            Ok(read @ 1..) => got += read,
            _ => break,
        }
    }
    String::from_utf8_lossy(&answer[..got]).into_owned()
}

#[tokio::test]
async fn everything_passes_at_first_and_is_counted() -> Result<()> {
    let proxy = Proxy::to(upstream().await?.to_string()).await?;
    let mut stream = TcpStream::connect(proxy.address()).await?;

    assert_eq!(ask(&mut stream, "a").await, "0123456789");
    assert_eq!(ask(&mut stream, "b").await, "0123456789");

    assert_eq!((proxy.connections(), proxy.requests(), proxy.struck()), (1, 2, 0));
    Ok(())
}

#[tokio::test]
async fn an_answer_is_cut_at_the_byte() -> Result<()> {
    let proxy = Proxy::to(upstream().await?.to_string()).await?;
    for bytes in [0, 1, 7] {
        proxy.strike(Fault::CutAnswerAfter(bytes), 1, "");
        let mut stream = TcpStream::connect(proxy.address()).await?;

        assert_eq!(ask(&mut stream, "a").await, "0123456789"[..bytes]);
    }
    let mut stream = TcpStream::connect(proxy.address()).await?;
    assert_eq!(ask(&mut stream, "a").await, "0123456789", "only the next request was meant");
    assert_eq!(proxy.struck(), 3);
    Ok(())
}

#[tokio::test]
async fn each_answer_is_cut_where_it_is_told_and_its_length_is_known() -> Result<()> {
    let proxy = Proxy::to(upstream().await?.to_string()).await?;
    proxy.strike_each([9, 10, 2].map(Fault::CutAnswerAfter), "cut");
    for answer in ["012345678", "0123456789", "01"] {
        let mut stream = TcpStream::connect(proxy.address()).await?;
        assert_eq!(ask(&mut stream, "spare me").await, "0123456789");
        assert_eq!(ask(&mut stream, "cut me").await, answer);
        assert_eq!(proxy.last_answer(), 10);
        assert_eq!(ask(&mut stream, "again").await, "", "the connection is closed, also after the last byte");
    }
    Ok(())
}

#[tokio::test]
async fn an_answer_may_end_in_a_reset() -> Result<()> {
    let proxy = Proxy::to(upstream().await?.to_string()).await?;
    proxy.strike(Fault::ResetAnswerAfter(4), 1, "");
    let mut stream = TcpStream::connect(proxy.address()).await?;
    stream.write_all(b"a").await?;
    let mut answer = Vec::new();
    let ended = stream.read_to_end(&mut answer).await;
    assert_eq!(ended.map_err(|error| error.kind()), Err(std::io::ErrorKind::ConnectionReset));
    assert!(b"0123".starts_with(&answer), "never more than was to come through");
    Ok(())
}

#[tokio::test]
async fn a_duplicate_comes_up_as_a_second_connection_with_the_same_bytes() -> Result<()> {
    let (teller, mut listening) = tokio::sync::mpsc::unbounded_channel();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let proxy = Proxy::to(listener.local_addr()?.to_string()).await?;
    tokio::spawn(async move {
        while let Ok((mut stream, peer)) = listener.accept().await {
            let teller = teller.clone();
            tokio::spawn(async move {
                let mut request = [0; 11];
                if stream.read_exact(&mut request).await.is_ok() {
                    let _ = teller.send((peer, request));
                    drop(stream.write_all(b"0123456789\n").await);
                }
            });
        }
    });
    proxy.strike(Fault::Duplicate(Duration::from_millis(20)), 1, "first");
    let mut stream = TcpStream::connect(proxy.address()).await?;
    stream.write_all(b"first ").await?;
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(ask(&mut stream, "part.").await, "0123456789");

    let (one, two) = (listening.recv().await, listening.recv().await);
    let (Some(one), Some(two)) = (one, two) else { return Err(Failure::new("a copy is missing")) };
    assert_ne!(one.0, two.0, "each on a connection of its own");
    assert_eq!((&one.1, &two.1), (b"first part.", b"first part."));
    let copies = || async { proxy.copies() == ["0123456789"] };
    wait_until("the copy's answer", SOON, copies).await?;
    assert_eq!((proxy.connections(), proxy.requests(), proxy.struck()), (1, 1, 1));
    Ok(())
}

#[tokio::test]
async fn only_the_requests_that_are_meant_are_struck() -> Result<()> {
    let proxy = Proxy::to(upstream().await?.to_string()).await?;
    proxy.strike(Fault::CutAnswerAfter(0), 1, "grant_type=refresh_token");
    let mut stream = TcpStream::connect(proxy.address()).await?;

    assert_eq!(ask(&mut stream, "introspect").await, "0123456789");
    assert_eq!(ask(&mut stream, "grant_type=refresh_token").await, "");
    Ok(())
}

#[tokio::test]
async fn a_refused_connection_comes_back_when_cleared() -> Result<()> {
    let proxy = Proxy::to(upstream().await?.to_string()).await?;
    let mut standing = TcpStream::connect(proxy.address()).await?;
    assert_eq!(ask(&mut standing, "a").await, "0123456789");

    proxy.set(Fault::Refuse);
    let mut fresh = TcpStream::connect(proxy.address()).await?;
    assert_eq!(ask(&mut fresh, "a").await, "");
    assert_eq!(ask(&mut standing, "a").await, "");

    proxy.clear();
    let mut again = TcpStream::connect(proxy.address()).await?;
    assert_eq!(ask(&mut again, "a").await, "0123456789");
    Ok(())
}

#[tokio::test]
async fn an_answer_comes_late_or_never() -> Result<()> {
    let proxy = Proxy::to(upstream().await?.to_string()).await?;
    proxy.strike(Fault::Delay(Duration::from_millis(200)), 1, "");
    let mut stream = TcpStream::connect(proxy.address()).await?;
    #[allow(clippy::disallowed_methods, reason = "a real delay is measured")]
    let asked = Instant::now();

    assert_eq!(ask(&mut stream, "a").await, "0123456789");
    assert!(asked.elapsed() >= Duration::from_millis(200));

    proxy.set(Fault::SwallowAnswer);
    let answer = tokio::time::timeout(Duration::from_millis(200), ask(&mut stream, "a")).await;
    assert!(answer.is_err());
    Ok(())
}

#[tokio::test]
async fn hanging_up_ends_the_connections_that_stand() -> Result<()> {
    let proxy = Proxy::to(upstream().await?.to_string()).await?;
    let mut stream = TcpStream::connect(proxy.address()).await?;
    assert_eq!(ask(&mut stream, "a").await, "0123456789");

    proxy.hang_up();

    assert_eq!(stream.read(&mut [0; 8]).await.unwrap_or_default(), 0);
    Ok(())
}

#[tokio::test]
async fn frozen_connections_stand_and_never_answer_and_new_ones_pass() -> Result<()> {
    let proxy = Proxy::to(upstream().await?.to_string()).await?;
    let mut standing = TcpStream::connect(proxy.address()).await?;
    assert_eq!(ask(&mut standing, "a").await, "0123456789");

    proxy.freeze();

    let answer = tokio::time::timeout(Duration::from_millis(200), ask(&mut standing, "a")).await;
    assert!(answer.is_err(), "it is neither answered nor closed");
    let mut fresh = TcpStream::connect(proxy.address()).await?;
    assert_eq!(ask(&mut fresh, "a").await, "0123456789");
    Ok(())
}
