//! Whoever fills a listener keeps nobody else out, and the modules' listener least of all.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use tokenvault_tests::harness::vault::{VaultBuilder, binary};
use tokenvault_tests::harness::{Failure, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::connections::stage::{Stage, job_id};

const AT_ONCE: Duration = Duration::from_secs(2);

fn address(url: &str) -> Result<SocketAddr> {
    let address = url.rsplit("//").next().unwrap_or_default();
    address.parse().map_err(|_| Failure::new(format!("{url} is no address")))
}

/// Opens connections that begin with these bytes and say nothing more. Those that are not taken yet stand as well.
async fn flood(address: SocketAddr, connections: usize, first: &[u8]) -> Result<Vec<TcpStream>> {
    let mut open = Vec::new();
    for _ in 0..connections {
        let Ok(connected) = tokio::time::timeout(AT_ONCE, TcpStream::connect(address)).await else { break };
        let mut stream = connected?;
        drop(stream.write_all(first).await);
        open.push(stream);
    }
    Ok(open)
}

/// How many of these connections have been ended by the other side after so long.
async fn ended(open: Vec<TcpStream>, within: Duration) -> usize {
    let mut reading = JoinSet::new();
    for mut stream in open {
        reading.spawn(async move {
            let mut said = Vec::new();
            tokio::time::timeout(within, stream.read_to_end(&mut said)).await.is_ok()
        });
    }
    reading.join_all().await.into_iter().filter(|ended| *ended).count()
}

fn with_all_doors(vault: VaultBuilder) -> Result<VaultBuilder> {
    vault.admin()?.idp()
}

#[tokio::test(flavor = "multi_thread")]
async fn half_sent_heads_on_the_management_listener_are_closed_and_probes_get_in() -> Result<()> {
    let mut stage = Stage::set(300, &["h2"]).await?;
    let management = address(&stage.vault.replica().management_url())?;
    let open = flood(management, 1_000, b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-half: ").await?;
    let held = open.len();

    let asked = Instant::now();
    assert!(stage.vault.replica().is_ready().await);
    assert!(asked.elapsed() < AT_ONCE, "a probe was answered after {:?}", asked.elapsed());

    assert_eq!(ended(open, Duration::from_secs(15)).await, held);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn where_files_are_few_modules_are_served_whoever_fills_the_other_listeners() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let few = dir.path().join("few-files");
    std::fs::write(&few, format!("#!/bin/sh\nulimit -n 512\nexec '{}' \"$@\"\n", binary()?.display()))?;
    std::fs::set_permissions(&few, std::fs::Permissions::from_mode(0o755))?;
    let mut stage = Stage::with(300, &["h2"], |vault| Ok(with_all_doors(vault)?.binary(few))).await?;
    stage.register(1, Duration::ZERO).await?;
    let replica = stage.vault.replica();
    let doors = [replica.management_url(), replica.admin_url(), replica.idp_url()];
    let mut open = Vec::new();
    for door in &doors {
        open.extend(flood(address(door)?, 600, b"GET /").await?);
    }

    for _ in 0..20 {
        let asked = Instant::now();
        // Each is a module that has no connection yet.
        stage.client()?.get(&job_id(0)).await?.expect_status(200)?;
        assert!(asked.elapsed() < AT_ONCE, "a module was answered after {:?}", asked.elapsed());
    }
    assert!(stage.said(&["\"level\":\"WARN\"", "limit of open files is too low"]));
    drop(open);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_who_stay_do_not_keep_the_identity_provider_out() -> Result<()> {
    let mut stage = Stage::with(300, &["h2"], with_all_doors).await?;
    let idp = address(&stage.vault.replica().idp_url())?;
    let connector = connector(&stage)?;
    let mut strangers = JoinSet::new();
    for _ in 0..300 {
        let connector = connector.clone();
        strangers.spawn(async move {
            let stream = TcpStream::connect(idp).await?;
            connector.connect(idp.ip().into(), stream).await
        });
    }
    let strangers: Vec<_> = strangers.join_all().await.into_iter().flatten().collect();
    assert!(strangers.len() >= 256, "{} strangers have a connection", strangers.len());

    let asked = Instant::now();
    let client = stage.vault.idp_client(0)?;
    let answer = tokio::time::timeout(AT_ONCE * 2, client.call(reqwest::Method::GET, "/nothing", None)).await;

    let answer = answer.map_err(|_| Failure::new("the identity provider was not let in"))??;
    assert_eq!(answer.status, 404, "after {:?}", asked.elapsed());
    Ok(())
}

fn connector(stage: &Stage) -> Result<tokio_rustls::TlsConnector> {
    use rustls::pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    for root in rustls::pki_types::CertificateDer::pem_file_iter(stage.vault.ca().cert_file())? {
        roots.add(root?)?;
    }
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok(tokio_rustls::TlsConnector::from(std::sync::Arc::new(config)))
}
