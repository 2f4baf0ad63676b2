//! How long connections live, and how they end.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokenvault_vault::files::Refreshed;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::certificates::{Files, ends_in, valid};
use super::stage::{Stage, client, get1, get2, request, soon};
use crate::config::ServerSection;
use crate::tls::ConnectionLimits;
use crate::tls::connection::{CertificateCheck, REST};

const SHORT: Duration = Duration::from_millis(500);

/// Reads until the listener ends the connection, whether with or without a farewell.
async fn until_cut(stream: &mut (impl AsyncReadExt + Unpin)) -> Vec<u8> {
    let mut read = Vec::new();
    soon("the end of the connection", stream.read_to_end(&mut read)).await.ok();
    read
}

#[tokio::test]
async fn a_client_that_never_finishes_its_handshake_is_cut() {
    let files = Files::new();
    let stage = Stage::start(&ServerSection { handshake_timeout: SHORT, ..files.config() }).await;
    let mut silent = TcpStream::connect(stage.address).await.unwrap();
    stage.until_open(1).await;
    assert!(until_cut(&mut silent).await.is_empty());
    stage.until_open(0).await;
}

#[tokio::test]
async fn a_client_that_sends_half_a_head_is_cut() {
    let files = Files::new();
    let stage = Stage::start(&ServerSection { header_timeout: SHORT, ..files.config() }).await;
    let module = files.authority.module(7, valid());
    let mut stream = stage.connect(&client(&files, Some(&module))).await.unwrap();
    stream.write_all(b"GET /whoami HTTP/1.1\r\nHost: local").await.unwrap();
    until_cut(&mut stream).await;
    stage.until_open(0).await;
}

#[tokio::test]
async fn a_client_that_never_begins_a_head_is_cut() {
    let files = Files::new();
    let stage = Stage::start(&ServerSection { header_timeout: SHORT, ..files.config() }).await;
    let module = files.authority.module(7, valid());
    let mut stream = stage.connect(&client(&files, Some(&module))).await.unwrap();
    until_cut(&mut stream).await;
    stage.until_open(0).await;
}

#[tokio::test]
async fn a_client_that_agrees_on_http2_and_then_says_nothing_is_cut() {
    let files = Files::new();
    let stage = Stage::start(&ServerSection { idle_timeout: SHORT, ..files.config() }).await;
    let mut client = client(&files, Some(&files.authority.module(7, valid())));
    client.alpn_protocols = vec![b"h2".to_vec()];
    let mut stream = stage.connect(&client).await.unwrap();
    until_cut(&mut stream).await;
    stage.until_open(0).await;
}

/// What a request is answered that brings along a token of this length, over both protocols.
async fn answered(limits: ConnectionLimits, token: usize) -> [Option<u16>; 2] {
    let files = Files::new();
    let stage = Stage::start_with(&files.config(), limits).await;
    let client = client(&files, Some(&files.authority.module(7, valid())));
    let with_token = || {
        let mut request = request("/whoami");
        request.headers_mut().insert("x-okapi-token", "e".repeat(token).parse().unwrap());
        request
    };
    let over_http1 = soon("an answer", stage.http1(&client).await.send_request(with_token()));
    let over_http2 = soon("an answer", stage.http2(&client).await.send_request(with_token()));
    [over_http1.await.ok(), over_http2.await.ok()].map(|answer| answer.map(|answer| answer.status().as_u16()))
}

#[tokio::test]
async fn modules_may_send_heads_of_64_kib_and_nobody_else_may() {
    let modules = || crate::api::connection_limits(&ServerSection::default());
    assert_eq!(answered(modules(), 64_000).await, [Some(200); 2]);
    assert_eq!(answered(modules(), 66_000).await, [Some(431); 2]);
    for limits in [crate::admin::connection_limits(), crate::backchannel::connection_limits()] {
        assert_eq!(answered(limits.clone(), 15_000).await, [Some(200); 2]);
        assert_eq!(answered(limits, 33_000).await, [Some(431); 2]);
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_over_both_protocols() {
    let files = Files::new();
    // The first one is idle while the second is made.
    let stage = Stage::start(&ServerSection { idle_timeout: SHORT * 4, ..files.config() }).await;
    let client = client(&files, Some(&files.authority.module(7, valid())));
    let (mut first, mut second) = (stage.http1(&client).await, stage.http2(&client).await);
    assert!(get1(&mut first, "/whoami").await.is_ok());
    assert!(get2(&mut second, "/whoami").await.is_ok());

    stage.until_open(0).await;

    assert!(get1(&mut first, "/whoami").await.is_err());
    assert!(get2(&mut second, "/whoami").await.is_err());
}

#[tokio::test]
async fn a_client_that_asks_and_asks_and_reads_no_answer_is_cut() {
    let files = Files::new();
    let limits = ConnectionLimits { write_timeout: SHORT, ..crate::api::connection_limits(&files.config()) };
    let stage = Stage::start_with(&files.config(), limits).await;
    let module = files.authority.module(7, valid());
    let mut stream = stage.connect(&client(&files, Some(&module))).await.unwrap();
    let many = b"GET /whoami HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(1_000);
    let asking = tokio::spawn(async move { while stream.write_all(&many).await.is_ok() {} });
    soon("the end of the connection", asking).await.unwrap();
    stage.until_open(0).await;
}

#[tokio::test]
async fn a_client_that_makes_no_room_for_an_answer_is_cut() {
    let files = Files::new();
    let limits = ConnectionLimits {
        idle_timeout: SHORT,
        answer_timeout: SHORT * 2,
        ..crate::api::connection_limits(&files.config())
    };
    let stage = Stage::start_with(&files.config(), limits).await;
    let mut client = client(&files, Some(&files.authority.module(7, valid())));
    client.alpn_protocols = vec![b"h2".to_vec()];
    let stream = stage.connect(&client).await.unwrap();
    let mut builder = hyper::client::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
    let handshake = builder.initial_stream_window_size(0).handshake(hyper_util::rt::TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let answer = soon("the answer's head", sender.send_request(request("/known"))).await.unwrap();
    assert_eq!(answer.status(), 200);
    stage.until_open(0).await;
}

#[tokio::test]
async fn a_connection_with_a_request_in_hand_is_not_idle() {
    let files = Files::new();
    let stage = Stage::start(&ServerSection { idle_timeout: SHORT, ..files.config() }).await;
    let client = client(&files, Some(&files.authority.module(7, valid())));
    let mut working = stage.http2(&client).await;
    let answer = tokio::spawn(async move { get2(&mut working, "/slow").await });
    stage.slow.entered.acquire().await.unwrap().forget();
    // Idle connections that were opened later come and go meanwhile, each after at least one look at the working one.
    for _ in 0..3 {
        let idle = stage.http2(&client).await;
        stage.until_open(1).await;
        drop(idle);
    }
    stage.slow.leave.add_permits(1);
    assert_eq!(answer.await.unwrap().unwrap(), b"done");
}

#[tokio::test]
async fn no_more_connections_are_served_than_the_limit() {
    let files = Files::new();
    let stage = Stage::start(&ServerSection { max_connections: 1, ..files.config() }).await;
    let client = client(&files, Some(&files.authority.module(7, valid())));
    let mut first = stage.http1(&client).await;
    assert!(get1(&mut first, "/whoami").await.is_ok());

    let mut second = pin!(async {
        let mut second = stage.http1(&client).await;
        get1(&mut second, "/whoami").await
    });
    assert!(tokio::time::timeout(SHORT, &mut second).await.is_err(), "the second one has to wait");
    assert!(get1(&mut first, "/whoami").await.is_ok());
    drop(first);

    assert!(second.await.is_ok());
}

#[tokio::test]
async fn slow_handshakes_make_room_for_the_next_and_take_no_place_from_anybody() {
    let files = Files::new();
    let limits = ServerSection { max_connections: 1, max_handshakes: 2, ..files.config() };
    let stage = Stage::start(&limits).await;
    let mut slow = Vec::new();
    for _ in 0..5 {
        slow.push(TcpStream::connect(stage.address).await.unwrap());
    }
    stage.until_open(2).await;
    let client = client(&files, Some(&files.authority.module(7, valid())));
    assert!(get1(&mut stage.http1(&client).await, "/whoami").await.is_ok());
    let mut first = slow.remove(0);
    let mut byte = [0];
    let ended = tokio::time::timeout(SHORT, tokio::io::AsyncReadExt::read(&mut first, &mut byte)).await;
    assert!(matches!(ended, Ok(Ok(0) | Err(_))), "the oldest was cut");
}

#[tokio::test]
async fn one_holders_connections_are_bounded_and_anothers_are_not_its_own() {
    let files = Files::new();
    let stage = Stage::start(&ServerSection { caller_connections: 1, ..files.config() }).await;
    let module = client(&files, Some(&files.authority.module(7, valid())));
    let mut first = stage.http1(&module).await;
    assert!(get1(&mut first, "/whoami").await.is_ok());
    assert!(get1(&mut stage.http1(&module).await, "/whoami").await.is_err(), "one more of the same holder's");
    assert!(get1(&mut first, "/whoami").await.is_ok());
    drop(first);
    stage.until_open(0).await;
    assert!(get1(&mut stage.http1(&module).await, "/whoami").await.is_ok());
}

#[tokio::test]
async fn a_stop_lets_the_request_in_hand_finish_and_takes_no_more() {
    let files = Files::new();
    let stage = Stage::start(&files.config()).await;
    let client = client(&files, Some(&files.authority.module(7, valid())));
    let (mut idle, mut over_http1, mut over_http2) =
        (stage.http1(&client).await, stage.http1(&client).await, stage.http2(&client).await);
    assert!(get1(&mut idle, "/whoami").await.is_ok());
    let first = tokio::spawn(async move { get1(&mut over_http1, "/slow").await });
    let second = tokio::spawn(async move { get2(&mut over_http2, "/slow").await });
    stage.slow.entered.acquire_many(2).await.unwrap().forget();
    let silent = TcpStream::connect(stage.address).await.unwrap();
    stage.until_open(4).await;

    stage.shutdown.stop();

    // The idle one and the one in its handshake go at once, the working ones do not.
    stage.until_open(2).await;
    assert!(!stage.served.is_finished());
    assert!(TcpStream::connect(stage.address).await.is_err());
    stage.slow.leave.add_permits(2);
    assert_eq!(first.await.unwrap().unwrap(), b"done");
    assert_eq!(second.await.unwrap().unwrap(), b"done");
    soon("the end of the listener", stage.served).await.unwrap();
    drop(silent);
}

#[tokio::test]
async fn whoever_leaves_asks_connections_to_move_and_lets_new_ones_in_meanwhile() {
    let files = Files::new();
    let stage = Stage::start(&files.config()).await;
    let client = client(&files, Some(&files.authority.module(7, valid())));
    let (mut over_http1, mut over_http2) = (stage.http1(&client).await, stage.http2(&client).await);
    assert!(get1(&mut over_http1, "/whoami").await.is_ok());
    assert!(get2(&mut over_http2, "/whoami").await.is_ok());

    stage.shutdown.announce();
    assert!(get1(&mut over_http1, "/whoami").await.is_ok());
    let working = tokio::spawn(get2_of(over_http2.clone(), "/slow"));
    stage.slow.entered.acquire().await.unwrap().forget();

    stage.shutdown.drain();
    soon("HTTP/2 to take no more", async {
        while get2(&mut over_http2, "/whoami").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    stage.slow.leave.add_permits(1);
    assert_eq!(working.await.unwrap().unwrap(), b"done", "what was in hand is finished");
    let last = soon("the last answer", over_http1.send_request(request("/whoami"))).await.unwrap();
    assert_eq!(last.headers()["connection"], "close");
    drop(last);
    stage.until_open(0).await;

    let (mut late1, mut late2) = (stage.http1(&client).await, stage.http2(&client).await);
    assert!(get1(&mut late1, "/whoami").await.is_ok());
    for _ in 0..3 {
        assert!(get2(&mut late2, "/whoami").await.is_ok(), "it would come again");
    }
    stage.shutdown.stop();
    soon("the end of the listener", stage.served).await.unwrap();
}

async fn get2_of(
    mut sender: hyper::client::conn::http2::SendRequest<axum::body::Body>,
    path: &str,
) -> hyper::Result<Vec<u8>> {
    get2(&mut sender, path).await
}

#[tokio::test]
async fn a_new_revocation_list_closes_the_revoked_connection_and_keeps_the_others() {
    let files = Files::new();
    let (good, bad) = (files.authority.module(7, valid()), files.authority.module(8, valid()));
    let stage = Stage::start(&files.config_with_crl(&files.authority.crl(&[], valid()))).await;
    let mut staying = stage.http2(&client(&files, Some(&good))).await;
    let mut shutdown = stage.http2(&client(&files, Some(&bad))).await;
    assert!(get2(&mut staying, "/whoami").await.is_ok());
    assert!(get2(&mut shutdown, "/whoami").await.is_ok());

    files.write("crl.pem", &files.authority.crl(&[&bad], valid()));
    assert_eq!(stage.state.refresh(&stage.notices), Refreshed::Replaced);

    stage.until_open(1).await;
    assert!(get2(&mut shutdown, "/whoami").await.is_err());
    assert!(get2(&mut staying, "/whoami").await.is_ok());
    let refused = stage.refusal(&client(&files, Some(&bad))).await;
    assert_eq!(refused, rustls::AlertDescription::CertificateRevoked);
}

#[tokio::test]
async fn a_request_in_hand_is_finished_although_its_certificate_was_revoked() {
    let files = Files::new();
    let module = files.authority.module(7, valid());
    let stage = Stage::start(&files.config_with_crl(&files.authority.crl(&[], valid()))).await;
    let mut sender = stage.http2(&client(&files, Some(&module))).await;
    let mut later = sender.clone();
    let answer = tokio::spawn(async move { get2(&mut sender, "/slow").await });
    stage.slow.entered.acquire().await.unwrap().forget();

    files.write("crl.pem", &files.authority.crl(&[&module], valid()));
    stage.state.refresh(&stage.notices);

    // Once the client has been told, no other request is taken; the first one is still worked on.
    soon("the farewell", async { while get2(&mut later, "/whoami").await.is_ok() {} }).await;
    stage.slow.leave.add_permits(1);
    assert_eq!(answer.await.unwrap().unwrap(), b"done");
    stage.until_open(0).await;
}

#[tokio::test]
async fn a_request_that_goes_on_and_on_does_not_keep_a_revoked_connection() {
    let files = Files::new();
    let (good, bad) = (files.authority.module(7, valid()), files.authority.module(8, valid()));
    let stage = Stage::start(&files.config_with_crl(&files.authority.crl(&[], valid()))).await;
    #[allow(clippy::async_yields_async, reason = "the request goes on while the files change")]
    let ask = async |over_http2, identity| {
        let client = client(&files, Some(identity));
        if over_http2 {
            let mut sender = stage.http2(&client).await;
            tokio::spawn(async move { get2(&mut sender, "/slow").await })
        } else {
            let mut sender = stage.http1(&client).await;
            tokio::spawn(async move { get1(&mut sender, "/slow").await })
        }
    };
    let (staying, shutdown) =
        ([ask(false, &good).await, ask(true, &good).await], [ask(false, &bad).await, ask(true, &bad).await]);
    stage.slow.entered.acquire_many(4).await.unwrap().forget();

    files.write("crl.pem", &files.authority.crl(&[&bad], valid()));
    stage.state.refresh(&stage.notices);

    stage.until_open(2).await;
    for answer in shutdown {
        assert!(answer.await.unwrap().is_err());
    }
    stage.slow.leave.add_permits(4);
    for answer in staying {
        assert_eq!(answer.await.unwrap().unwrap(), b"done");
    }
}

#[tokio::test]
async fn an_idle_connection_ends_with_its_certificate() {
    let files = Files::new();
    let stage = Stage::start(&files.config()).await;
    let module = files.authority.module(7, ends_in(6));
    let mut sender = stage.http2(&client(&files, Some(&module))).await;
    assert!(get2(&mut sender, "/whoami").await.is_ok());
    stage.until_open(0).await;
    assert!(get2(&mut sender, "/whoami").await.is_err());
}

#[tokio::test]
async fn connections_end_with_the_revocation_list_that_let_them_in() {
    let files = Files::new();
    let stage = Stage::start(&files.config_with_crl(&files.authority.crl(&[], ends_in(6)))).await;
    let client = client(&files, Some(&files.authority.module(7, valid())));
    let mut sender = stage.http1(&client).await;
    assert!(get1(&mut sender, "/whoami").await.is_ok());
    assert_eq!(stage.state.current().deserted(), None);

    stage.until_open(0).await;

    assert_eq!(stage.state.current().deserted(), Some("the revocation list has expired"));
    files.write("crl.pem", &files.authority.crl(&[], valid()));
    stage.state.refresh(&stage.notices);
    assert_eq!(stage.state.current().deserted(), None);
    assert!(get1(&mut stage.http1(&client).await, "/whoami").await.is_ok());
}

#[tokio::test]
async fn a_connection_does_not_outlive_its_certificate_for_long() {
    let files = Files::new();
    let stage = Stage::start(&ServerSection { idle_timeout: SHORT, ..files.config() }).await;
    let module = files.authority.module(7, ends_in(6));
    let mut sender = stage.http2(&client(&files, Some(&module))).await;
    let asked = async {
        // Never idle, and closed all the same.
        while get2(&mut sender, "/whoami").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon("the end of the connection", asked).await;
    stage.until_open(0).await;
}

#[tokio::test]
async fn changed_files_are_taken_up_while_an_open_connection_goes_on() {
    let files = Files::new();
    let stage = Stage::start(&files.config_with_crl(&files.authority.crl(&[], valid()))).await;
    let (good, bad) = (files.authority.module(7, valid()), files.authority.module(8, valid()));
    let mut open = stage.http1(&client(&files, Some(&good))).await;
    assert!(get1(&mut open, "/whoami").await.is_ok());
    let watch = tokio::spawn(Arc::clone(&stage.state).watch(Arc::clone(&stage.metrics), Arc::clone(&stage.notices)));
    let before = stage.state.current();

    files.write("crl.pem", &files.authority.crl(&[&bad], valid()));

    let taken_up = async {
        while Arc::ptr_eq(&before, &stage.state.current()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon("a look at the files", taken_up).await;
    assert!(get1(&mut open, "/whoami").await.is_ok());
    let refused = stage.refusal(&client(&files, Some(&bad))).await;
    assert_eq!(refused, rustls::AlertDescription::CertificateRevoked);
    assert!(stage.metrics.encode().contains("tokenvault_certificate_not_after_timestamp_seconds{use=\"client_crl\"}"));
    watch.abort();
}

#[tokio::test]
async fn a_client_that_sends_along_what_is_about_to_expire_is_not_looked_at_each_second() {
    let files = Files::new();
    let stage = Stage::start(&files.config()).await;
    let module = files.authority.module(7, valid());
    let decoys = (1..4).map(|serial| files.authority.module(serial, ends_in(serial)));
    let chain = std::iter::once(module).chain(decoys).map(|identity| identity.leaf()).collect();
    let trust = CertificateCheck { chain, settings: stage.state.subscribe(), address: stage.address };
    assert!(trust.due_in() <= Duration::from_secs(2));
    assert_eq!(trust.due_again_in(), REST);
}
