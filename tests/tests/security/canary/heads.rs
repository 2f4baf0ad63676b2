//! The token that every call of a FOLIO module brings along in `x-okapi-token` is nobody's business here: it is in no
//! place where secrets are looked for, and not even in the vault's memory, while its request waits and after.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::client::Client;
use tokenvault_tests::harness::process::{SOON, wait_until};
use tokenvault_tests::siege::attack;
use tokenvault_tests::siege::stage::{JOB, Stage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::canary::stage::unique;

/// More than a token has left after two seconds of its ten minutes.
const MORE: &str = "min_ttl=598";

/// A token of this length, all of whose parts can be told from everything else by its mark.
fn token(mark: &str, length: usize) -> String {
    mark.repeat(length / mark.len())
}

/// Sends one along with calls of every outcome, over HTTP/2 and over HTTP/1.1. Each is noted by its name.
pub(crate) async fn send_along(
    client: &Client,
    job: &str,
    body: &Value,
    note: &mut impl FnMut(String, String),
) -> Result<Vec<String>> {
    let mut told = Vec::new();
    for (length, outcomes) in
        [(900, [200, 200, 404, 400, 403, 404]), (40_000, [200, 200, 404, 400, 403, 404]), (70_000, [431; 6])]
    {
        for (number, (method, path, body, status)) in [
            (Method::GET, format!("/tokens/{job}"), None, outcomes[0]),
            (Method::PUT, format!("/tokens/{job}"), Some(body.clone()), outcomes[1]),
            (Method::GET, "/tokens/no-such-job".to_owned(), None, outcomes[2]),
            (Method::PUT, "/tokens/refused".to_owned(), Some(json!({"unknown": 1})), outcomes[3]),
            (Method::GET, format!("/tokens/{job}"), None, outcomes[4]),
            (Method::GET, "/nothing".to_owned(), None, outcomes[5]),
        ]
        .into_iter()
        .enumerate()
        {
            let token = token(&unique(), length);
            note(format!("x-okapi-token of {length} bytes with call {number}"), token.clone());
            let mut caller = client.with_header("x-okapi-token", &token)?;
            for other in ["authorization", "cookie", "x-okapi-refresh-token"] {
                let value = unique();
                note(format!("{other} beside it"), value.clone());
                caller = caller.with_header(other, &value)?;
            }
            if status == 403 {
                caller = caller.for_tenant("somebody-elses")?;
            }
            let mut answer = caller.call(method.clone(), &path, body.as_ref()).await?;
            assert_eq!(answer.status, status, "{method} {path} with {length} bytes: {answer:?}");
            // The token that is asked for is not what is looked for.
            if let Some(body) = answer.body.as_object_mut() {
                body.remove("access_token");
            }
            told.push(format!("{:?} {}", answer.headers, answer.body));
        }
    }
    Ok(told)
}

/// How often a mark is in what a process may write: its heap, its stacks, its buffers. Only root may look there.
fn in_memory(pid: u32, mark: &str) -> Result<usize> {
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    let mut found = 0;
    for line in fs::read_to_string(format!("/proc/{pid}/maps"))?.lines().filter(|line| line.contains(" rw")) {
        let Some((from, to)) = line.split_once(' ').and_then(|(range, _)| range.split_once('-')) else { continue };
        let (from, to) = (u64::from_str_radix(from, 16)?, u64::from_str_radix(to, 16)?);
        let mut region = vec![0; usize::try_from(to - from)?];
        // What is not there to be read holds nothing.
        let read = memory.read_at(&mut region, from).unwrap_or(0);
        found += memchr::memmem::find_iter(&region[..read], mark).count();
    }
    Ok(found)
}

async fn raw(stage: &Stage) -> Result<TlsStream<TcpStream>> {
    let certificate = stage.good_certificate()?;
    let ca = stage.vault.ca().cert_file();
    let connector = attack::connector(&ca, &certificate.cert, &certificate.key, b"http/1.1")?;
    attack::connect(stage.address()?, &connector).await
}

async fn answered(stream: &mut TlsStream<TcpStream>) -> Result<String> {
    let mut said = vec![0; 8192];
    let read = stream.read(&mut said).await?;
    Ok(String::from_utf8_lossy(&said[..read]).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_users_token_is_not_in_the_vaults_memory_while_its_request_waits_nor_after() -> Result<()> {
    let mut stage = Stage::with(&[("telemetry.log_level", "debug".into())]).await?;
    stage.lose_keycloak();
    let plain = stage.good()?;
    wait_until("a token that is not good enough", SOON, async || {
        plain.get_with(JOB, &format!("{MORE}&wait=0")).await.is_ok_and(|answer| answer.status == 503)
    })
    .await?;
    let waits = format!("{MORE}&wait=25");
    let admitted = |stage: &mut Stage| stage.vault.replica().process().log().matches("the caller was admitted").count();
    let before = admitted(&mut stage);
    let (mark, own_id) = (unique(), format!("request-{}", unique()));
    let head = |path: &str, length: usize| {
        let token = token(&mark, length);
        format!(
            "GET {path} HTTP/1.1\r\nhost: localhost\r\nx-okapi-request-id: {own_id}\r\nx-okapi-token: {token}\r\ncookie: {mark}\r\n\r\n"
        )
    };
    let mut connections = Vec::new();
    // Refused calls, one of them too large, on connections that stay or are hung up on.
    for (length, status) in [(900, "404"), (40_000, "404"), (70_000, "431")] {
        let mut stream = raw(&stage).await?;
        stream.write_all(head("/tokens/no-such-job", length).as_bytes()).await?;
        let said = answered(&mut stream).await?;
        assert!(said.starts_with(&format!("HTTP/1.1 {status}")), "{said}");
        connections.push(stream);
    }
    let client = stage.good()?.with_header("x-okapi-token", &token(&mark, 40_000))?;
    assert_eq!(client.get("no-such-job").await?.status, 404);
    // Requests that wait, over both protocols.
    for length in [900, 12_000, 40_000] {
        let mut stream = raw(&stage).await?;
        stream.write_all(head(&format!("/tokens/{JOB}?{waits}"), length).as_bytes()).await?;
        connections.push(stream);
    }
    // And one that another follows, which nobody reads before the first is answered.
    let mut stream = raw(&stage).await?;
    let two = [head(&format!("/tokens/{JOB}?{waits}"), 900), head("/tokens/no-such-job", 12_000)].concat();
    stream.write_all(two.as_bytes()).await?;
    connections.push(stream);
    let waiting = tokio::spawn(async move { client.get_with(JOB, &waits).await });
    // Three refused ones, and five that wait.
    let deadline = Instant::now() + SOON;
    while admitted(&mut stage) < before + 8 {
        assert!(Instant::now() < deadline, "not all requests are in hand");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    let pid = stage.pid()?;
    if let Err(error) = File::open(format!("/proc/{pid}/mem")) {
        let root = rustix::process::geteuid().is_root();
        assert!(!root && error.kind() == std::io::ErrorKind::PermissionDenied, "{error}");
        return Ok(());
    }
    assert!(in_memory(pid, &own_id)? > 0, "the search finds what is there");
    assert_eq!(in_memory(pid, &mark)?, 0, "while requests wait");
    assert!(!waiting.is_finished(), "they still do");

    assert_eq!(waiting.await??.status, 503);
    assert_eq!(in_memory(pid, &mark)?, 0, "after they were answered, on connections that are open");
    let log = stage.vault.replica().process().log();
    assert!(log.contains(&own_id) && !log.contains(&mark));
    drop(connections);
    Ok(())
}
