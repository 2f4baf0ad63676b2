//! `tokenvault healthcheck`: asks a running vault whether it is ready. For containers, which have no curl.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokenvault_server::config::DEFAULT_FILE;
use tokio::net::TcpStream;
use url::Url;

use crate::console::ConfigFile;
use crate::failure::Failure;

/// An answer longer than this is not a vault's.
const MAX_ANSWER: usize = 64 * 1024;

/// Ask a running vault whether it is ready
///
/// Asks the management listener for /readyz. Exits 0 if the vault is ready and 1 if it is not, or does not answer; then
/// it says which part is not ready. Made for a container's health check.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The vault's configuration file, for the address of its management listener
    #[arg(long, short = 'c', value_name = "FILE", default_value = DEFAULT_FILE)]
    config: PathBuf,
    /// Ask here instead, such as `http://127.0.0.1:9080`; no configuration is read then
    #[arg(long, conflicts_with = "config", value_parser = address)]
    url: Option<Url>,
    /// How many seconds to wait for the answer
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
}

pub(crate) fn run(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let authority = match &args.url {
        Some(url) => url.authority().to_owned(),
        None => reachable(ConfigFile { file: args.config.clone() }.load()?.management.listen).to_string(),
    };
    let patience = Duration::from_secs(args.timeout);
    let asked = async { tokio::time::timeout(patience, ready(&authority)).await };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(asked) {
        Ok(Ok(())) => Ok(writeln!(out, "ready")?),
        Ok(Err(failure)) => Err(failure),
        Err(_) => Err(Failure::new(format!("{authority} did not answer within {} s", args.timeout))),
    }
}

fn address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    match (url.scheme(), url.has_host()) {
        ("http", true) => Ok(url),
        _ => Err("it must be http://HOST:PORT; the management listener speaks plain HTTP".to_owned()),
    }
}

/// Where a listener of this machine is called.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, listen.port())
}

async fn ready(authority: &str) -> Result<(), Failure> {
    let unreachable = |error: &dyn std::fmt::Display| Failure::because(&format!("cannot ask {authority}"), error);
    let with_port = if Url::parse(&format!("http://{authority}")).is_ok_and(|url| url.port().is_none()) {
        format!("{authority}:80")
    } else {
        authority.to_owned()
    };
    let stream = TcpStream::connect(&with_port).await.map_err(|error| unreachable(&error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| unreachable(&error))?;
    let connection = tokio::spawn(connection);
    let request = Request::get("/readyz")
        .header(header::HOST, authority)
        .body(Empty::<Bytes>::new())
        .map_err(|error| unreachable(&error))?;
    let answer = sender.send_request(request).await.map_err(|error| unreachable(&error))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
    connection.abort();
    if status == StatusCode::OK {
        return Ok(());
    }
    let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    Err(Failure::new(format!("not ready ({status}): {}", String::from_utf8_lossy(&body))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_all_addresses_is_asked_on_loopback() {
        for (listen, asked) in
            [("0.0.0.0:9080", "127.0.0.1:9080"), ("[::]:9080", "[::1]:9080"), ("10.0.0.7:9080", "10.0.0.7:9080")]
        {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), asked);
        }
    }

    #[test]
    fn only_plain_http_can_be_asked() {
        assert!(address("http://127.0.0.1:9080").is_ok());
        assert!(address("https://127.0.0.1:9080").is_err());
        assert!(address("127.0.0.1:9080").is_err());
    }
}
