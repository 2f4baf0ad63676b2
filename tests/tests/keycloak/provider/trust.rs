//! Whom the vault believes that they are Keycloak.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokenvault_core::ids::{ClientId, TenantId};
use tokenvault_core::ports::{CallError, Cause, Client, IdentityProvider};
use tokenvault_core::secret::{ClientSecret, RefreshToken};
use tokenvault_keycloak::{Credentials, HttpSettings, ReqwestClient, TenantConfig, TrustAnchors};
use tokenvault_tests::harness::certs::{Certificate, Subject, TestCa, Validity};
use tokenvault_tests::harness::{Result, install_tls_provider};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::stage::provider;

/// Says over TLS that every token is active.
async fn serve(certificate: &Certificate) -> Result<SocketAddr> {
    install_tls_provider();
    let chain = CertificateDer::pem_file_iter(&certificate.cert)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(&certificate.key)?;
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
    let (acceptor, listener) = (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await?);
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = [0; 4096];
            let answer =
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n{\"active\":true}";
            if stream.read(&mut request).await.is_ok() {
                drop(stream.write_all(answer.as_bytes()).await);
                drop(stream.shutdown().await);
            }
        }
    });
    Ok(address)
}

async fn probe(address: SocketAddr, trust: TrustAnchors) -> Result<Result<bool, CallError>> {
    let (tenant, id) = (TenantId::parse("lab")?, ClientId::parse("vault")?);
    let secret = Credentials::Secret(ClientSecret::new("secret"));
    let mut config = TenantConfig::new(&format!("https://{address}/realms/lab"), None, id.clone(), secret)?;
    config.http = Some(Arc::new(ReqwestClient::new(&HttpSettings { trust, ..HttpSettings::default() })?));
    let provider = provider(&tenant, config)?;
    Ok(provider.probe(&Client { tenant, id }, &RefreshToken::new("any")).await)
}

fn only(ca: &TestCa) -> Result<TrustAnchors> {
    Ok(TrustAnchors::Only(std::fs::read(ca.cert_file())?))
}

#[tokio::test]
async fn a_certificate_of_the_configured_authority_is_believed() -> Result<()> {
    let ca = TestCa::new()?;
    let address = serve(&ca.server()?).await?;
    assert_eq!(probe(address, only(&ca)?).await?, Ok(true));
    Ok(())
}

#[tokio::test]
async fn any_other_certificate_is_refused_before_a_secret_is_sent() -> Result<()> {
    let (ca, stranger) = (TestCa::new()?, TestCa::new()?);
    let address = serve(&stranger.server()?).await?;
    let expired = serve(&ca.issue(&Subject::server().validity(Validity::Expired))?).await?;
    for (address, trust) in
        [(address, only(&ca)?), (address, TrustAnchors::System), (address, TrustAnchors::Nobody), (expired, only(&ca)?)]
    {
        let said = probe(address, trust.clone()).await?;
        assert_eq!(said, Err(CallError::NoAnswer(Cause::Connect)), "{address}");
    }
    Ok(())
}
