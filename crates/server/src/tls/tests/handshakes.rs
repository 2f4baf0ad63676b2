//! Who is let in.

use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, HandshakeKind, ProtocolVersion};
use tokenvault_vault::files::Refreshed;

use super::certificates::{Authority, Files, expired, valid};
use super::stage::{Stage, client, client_of, get1, get2};
use crate::config::{IdpSection, ServerSection};

#[tokio::test]
async fn a_handler_sees_the_callers_certificate_over_both_protocols() {
    let files = Files::new();
    let stage = Stage::start(&files.config()).await;
    let module = files.authority.module(7, valid());
    let client = client(&files, Some(&module));

    let over_http1 = get1(&mut stage.http1(&client).await, "/whoami").await.unwrap();
    let over_http2 = get2(&mut stage.http2(&client).await, "/whoami").await.unwrap();

    assert_eq!(over_http1, module.leaf().to_vec());
    assert_eq!(over_http2, module.leaf().to_vec());
}

#[tokio::test]
async fn a_client_that_offers_both_protocols_gets_http2() {
    let files = Files::new();
    let stage = Stage::start(&files.config()).await;
    let mut client = client(&files, Some(&files.authority.module(7, valid())));
    client.alpn_protocols = vec![b"http/1.1".to_vec(), b"h2".to_vec()];

    let stream = stage.connect(&client).await.unwrap();

    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let files = Files::new();
    let stage = Stage::start(&files.config()).await;
    assert_eq!(stage.refusal(&client(&files, None)).await, AlertDescription::CertificateRequired);
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let files = Files::new();
    let stage = Stage::start(&files.config()).await;
    let (stranger, impostor) = (Authority::new("strangers"), Authority::new("modules"));
    let foreign = client(&files, Some(&stranger.module(7, valid())));
    let forged = client(&files, Some(&impostor.module(7, valid())));
    assert_eq!(stage.refusal(&foreign).await, AlertDescription::UnknownCA);
    // The same issuer's name, another key: the signature does not fit.
    assert_eq!(stage.refusal(&forged).await, AlertDescription::DecryptError);
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let files = Files::new();
    let stage = Stage::start(&files.config()).await;
    let client = client(&files, Some(&files.authority.module(7, expired())));
    assert_eq!(stage.refusal(&client).await, AlertDescription::CertificateExpired);
}

#[tokio::test]
async fn a_servers_certificate_is_no_callers() {
    let files = Files::new();
    let stage = Stage::start(&files.config()).await;
    let client = client(&files, Some(&files.authority.server()));
    assert_eq!(stage.refusal(&client).await, AlertDescription::UnsupportedCertificate);
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_and_its_neighbour_is_not() {
    let files = Files::new();
    let (good, bad) = (files.authority.module(7, valid()), files.authority.module(8, valid()));
    let stage = Stage::start(&files.config_with_crl(&files.authority.crl(&[&bad], valid()))).await;

    assert_eq!(stage.refusal(&client(&files, Some(&bad))).await, AlertDescription::CertificateRevoked);
    let mut neighbour = stage.http1(&client(&files, Some(&good))).await;
    assert_eq!(get1(&mut neighbour, "/whoami").await.unwrap(), good.leaf().to_vec());
}

#[tokio::test]
async fn an_expired_revocation_list_refuses_everybody() {
    let files = Files::new();
    let stage = Stage::start(&files.config_with_crl(&files.authority.crl(&[], expired()))).await;
    let client = client(&files, Some(&files.authority.module(7, valid())));
    assert_eq!(stage.refusal(&client).await, AlertDescription::UnknownCA);
}

#[tokio::test]
async fn with_a_revocation_list_a_certificate_on_no_authoritys_list_is_refused() {
    let files = Files::new();
    let second = Authority::new("more modules");
    files.write("ca.pem", &format!("{}{}", files.authority.pem(), second.pem()));
    let (listed, unlisted) = (files.authority.module(7, valid()), second.module(7, valid()));
    let only_first = files.authority.crl(&[], valid());
    let both = format!("{only_first}{}", second.crl(&[], valid()));

    let stage = Stage::start(&files.config_with_crl(&only_first)).await;
    assert_eq!(stage.refusal(&client(&files, Some(&unlisted))).await, AlertDescription::UnknownCA);
    assert!(get1(&mut stage.http1(&client(&files, Some(&listed))).await, "/whoami").await.is_ok());

    let stage = Stage::start(&files.config_with_crl(&both)).await;
    assert!(get1(&mut stage.http1(&client(&files, Some(&unlisted))).await, "/whoami").await.is_ok());
}

#[tokio::test]
async fn tls_12_is_spoken_only_where_it_was_chosen() {
    let files = Files::new();
    let module = files.authority.module(7, valid());
    let old = client_of(&files, Some(&module), &[&TLS12]);

    let stage = Stage::start(&files.config()).await;
    assert_eq!(stage.refusal(&old).await, AlertDescription::ProtocolVersion);

    let stage = Stage::start(&ServerSection { tls12: true, ..files.config() }).await;
    let stream = stage.connect(&old).await.unwrap();
    assert_eq!(stream.get_ref().1.protocol_version(), Some(ProtocolVersion::TLSv1_2));
    assert!(get1(&mut stage.http1(&old).await, "/whoami").await.is_ok());
}

#[tokio::test]
async fn no_session_is_resumed() {
    let files = Files::new();
    let module = files.authority.module(7, valid());
    let stage = Stage::start(&ServerSection { tls12: true, ..files.config() }).await;
    for version in [&TLS13, &TLS12] {
        // One configuration for both connections: it keeps the tickets it is given.
        let client = client_of(&files, Some(&module), &[version]);
        assert!(get1(&mut stage.http1(&client).await, "/whoami").await.is_ok());

        let second = stage.connect(&client).await.unwrap();

        assert_eq!(second.get_ref().1.handshake_kind(), Some(HandshakeKind::Full), "{version:?}");
        assert_eq!(second.get_ref().1.tls13_tickets_received(), 0);
    }
}

fn for_anybody(files: &Files) -> IdpSection {
    IdpSection { cert_file: files.path("server.pem"), key_file: files.path("server.key"), ..IdpSection::default() }
}

#[tokio::test]
async fn without_authorities_for_clients_anybody_is_let_in_and_nobody_is_known() {
    let files = Files::new();
    let stage = Stage::start_with(&for_anybody(&files), crate::api::connection_limits(&files.config())).await;
    let (module, expired) = (files.authority.module(7, valid()), files.authority.module(8, expired()));
    for client in [client(&files, None), client(&files, Some(&module)), client(&files, Some(&expired))] {
        let mut connection = stage.http1(&client).await;
        assert_eq!(get1(&mut connection, "/known").await.unwrap(), b"false");
    }
    let module_listener = Stage::start(&files.config()).await;
    let mut connection = module_listener.http1(&client(&files, Some(&module))).await;
    assert_eq!(get1(&mut connection, "/known").await.unwrap(), b"true");
}

#[tokio::test]
async fn a_listener_for_anybody_takes_up_a_new_certificate_and_keeps_its_connections() {
    let files = Files::new();
    let stage = Stage::start_with(&for_anybody(&files), crate::api::connection_limits(&files.config())).await;
    let mut before = stage.http1(&client(&files, None)).await;
    assert_eq!(get1(&mut before, "/known").await.unwrap(), b"false");
    let server = files.authority.server();
    files.write("server.pem", &server.cert);
    files.write("server.key", &server.key);

    assert_eq!(stage.state.refresh(&stage.notices), Refreshed::Replaced);

    let after = stage.connect(&client(&files, None)).await.unwrap();
    assert_eq!(after.get_ref().1.peer_certificates().unwrap()[0], server.leaf());
    assert_eq!(get1(&mut before, "/known").await.unwrap(), b"false");
    assert_eq!(stage.state.current().expiries()[0].0, "idp");
}
