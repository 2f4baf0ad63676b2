//! Who does not get through the handshake, and who gets through and is still nobody.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokenvault_tests::harness::certs::{Certificate, Subject, TestCa, Validity};
use tokenvault_tests::harness::client::Client;
use tokenvault_tests::harness::{Result, install_tls_provider};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::bad_input::stage::{Stage, assert_problem, new_job, stage};

fn module() -> Subject {
    Subject::client().uri("spiffe://test/mod-di")
}

/// Shakes hands and asserts that the vault ends it with this alert; with TLS 1.3 the client hears of that only when it
/// reads. An HTTP client would not get as far with a request either.
async fn assert_refused(stage: &Stage, certificate: Option<&Certificate>, alert: &str) -> Result<()> {
    install_tls_provider();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(stage.vault.ca().cert_file())?)?;
    let builder = rustls::ClientConfig::builder().with_root_certificates(roots);
    let config = match certificate {
        None => builder.with_no_client_auth(),
        Some(certificate) => {
            let chain = CertificateDer::pem_file_iter(&certificate.cert)?.collect::<Result<Vec<_>, _>>()?;
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(&certificate.key)?)?
        }
    };
    let url = url::Url::parse(stage.client("mod-di")?.base_url())?;
    let stream = TcpStream::connect(("127.0.0.1", url.port().unwrap_or_default())).await?;
    let name = ServerName::try_from("localhost")?;
    let told = match TlsConnector::from(Arc::new(config)).connect(name, stream).await {
        Ok(mut stream) => stream.read(&mut [0; 1]).await.map(|read| format!("{read} bytes")),
        Err(error) => Err(error),
    };
    let told = told.map_err(|error| error.to_string());
    assert_eq!(told, Err(format!("received fatal alert: {alert}")));
    let url = url.as_str().trim_end_matches('/');
    let outcome = Client::new(url, stage.vault.ca(), certificate)?.get(&new_job()).await;
    assert!(outcome.is_err(), "{outcome:?}");
    Ok(())
}

#[tokio::test]
async fn a_certificate_out_of_its_time_is_refused_in_the_handshake() -> Result<()> {
    let stage = stage().await?;
    let ca = stage.vault.ca();
    for (validity, alert) in [(Validity::Expired, "CertificateExpired"), (Validity::NotYet, "CertificateExpired")] {
        assert_refused(&stage, Some(&ca.issue(&module().validity(validity))?), alert).await?;
    }
    let valid = stage.vault.client_with(&ca.issue(&module())?, 0)?;
    assert_problem(&valid.get(&new_job()).await?, 404, "job_not_found");
    Ok(())
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused_in_the_handshake() -> Result<()> {
    let stage = stage().await?;
    let stranger = TestCa::new()?;
    assert_refused(&stage, Some(&stranger.issue(&module())?), "UnknownCA").await
}

#[tokio::test]
async fn a_certificate_for_servers_is_refused_in_the_handshake() -> Result<()> {
    let stage = stage().await?;
    let server = stage.vault.ca().issue(&Subject::server().uri("spiffe://test/mod-di"))?;
    assert_refused(&stage, Some(&server), "UnsupportedCertificate").await
}

#[tokio::test]
async fn a_caller_without_a_certificate_is_refused_in_the_handshake() -> Result<()> {
    let stage = stage().await?;
    assert_refused(&stage, None, "CertificateRequired").await
}

#[tokio::test]
async fn plain_http_gets_no_answer() -> Result<()> {
    let stage = stage().await?;
    let url = stage.client("mod-di")?.base_url().replace("https", "http");
    let outcome = Client::new(&url, stage.vault.ca(), None)?.get(&new_job()).await;
    assert!(outcome.is_err(), "{outcome:?}");
    Ok(())
}

#[tokio::test]
async fn a_certificate_that_the_policy_does_not_know_belongs_to_nobody() -> Result<()> {
    let stage = stage().await?;
    let (job, proof) = (new_job(), stage.realm.login("alice").await?);
    for subject in [
        Subject::client().uri("spiffe://test/mod-unknown"),
        Subject::client().uri("spiffe://test/mod-di/more"),
        Subject::client().uri("spiffe://test/MOD-DI"),
        module().uri("spiffe://test/mod-second"),
        Subject::client().dns("sub.mod-dns.example.org"),
        Subject::client().dns("mod-di"),
        Subject::client().common_name("mod-di"),
        Subject::client().common_name("mod-cn").dns("elsewhere.example.org"),
        Subject::client(),
    ] {
        let client = stage.vault.client_with(&stage.vault.ca().issue(&subject)?, 0)?;
        assert_problem(&client.register(&job, &proof).await?, 403, "caller_unknown");
        assert_problem(&client.get(&job).await?, 403, "caller_unknown");
        assert_problem(&client.delete(&job).await?, 403, "caller_unknown");
    }
    stage.assert_untouched(&job).await?;
    for known in ["mod-dns", "mod-cn"] {
        assert_problem(&stage.client(known)?.get(&job).await?, 404, "job_not_found");
    }
    Ok(())
}
