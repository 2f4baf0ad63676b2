//! The proxy spoils exactly what it is told to, and nothing else.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::proxy::{Fault, Proxy};
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
