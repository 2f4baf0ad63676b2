//! Heads as they come, and what hyper is given of them; then both with hyper itself on either side.

use std::convert::Infallible;

use axum::body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;

const KEPT: &[&str] = &["content-type", "if-none-match", "x-okapi-tenant"];
const TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.the-users-own.token";

/// What is passed on, however it is cut into pieces.
fn sifted(input: &[u8], http2: bool) -> io::Result<Vec<u8>> {
    let of_pieces = |size: usize| {
        let mut connection = Sifted::new((), Heads::Sifted(KEPT), http2);
        let mut passed = Vec::new();
        for piece in input.chunks(size) {
            let some = connection.sieve.sift(piece)?;
            let room = some.capacity();
            passed.extend_from_slice(&some);
            assert_eq!(some.capacity(), room, "what comes of a piece has room from the beginning");
        }
        Ok(passed)
    };
    let whole = of_pieces(input.len());
    for size in [1, 7, 100] {
        let pieces = of_pieces(size);
        assert_eq!(pieces.as_ref().ok(), whole.as_ref().ok(), "in pieces of {size}");
    }
    whole
}

fn of_http1(input: &str) -> String {
    String::from_utf8(sifted(input.as_bytes(), false).unwrap()).unwrap()
}

#[test]
fn only_headers_that_are_read_are_passed_on() {
    let head = format!(
        "GET /tokens/a HTTP/1.1\r\nHost: vault\r\nX-Okapi-Token: {TOKEN}\r\nx-okapi-tenant: diku\r\ncookie: {TOKEN}\r\nAuthorization:{TOKEN}\r\nAccept: */*\r\n\r\n"
    );
    assert_eq!(of_http1(&head), "GET /tokens/a HTTP/1.1\r\nHost: vault\r\nx-okapi-tenant: diku\r\n\r\n");
    // With bare line ends, which hyper takes as well, and with an old-fashioned second line.
    let head = format!("GET / HTTP/1.1\nx-okapi-token: {TOKEN}\n {TOKEN}\n\t{TOKEN}\nhost: vault\n\n");
    assert_eq!(of_http1(&head), "GET / HTTP/1.1\nhost: vault\n\n");
}

#[test]
fn a_body_passes_as_it_is_and_the_next_head_is_found_behind_it() {
    let body = format!("{{\r\nx-okapi-token: {TOKEN}\r\n\r\nGET / HTTP/1.1\r\n}}");
    let first =
        format!("PUT /tokens/a HTTP/1.1\r\nx: y\r\nContent-Length:  {} \r\nx-okapi-token: {TOKEN}\r\n\r\n", body.len());
    let kept = format!("PUT /tokens/a HTTP/1.1\r\nContent-Length:  {} \r\n\r\n", body.len());
    let second = format!("\r\nGET / HTTP/1.1\r\nx-okapi-token: {TOKEN}\r\n\r\n");
    let expected = format!("{kept}{body}{kept}{body}\r\nGET / HTTP/1.1\r\n\r\n");
    assert_eq!(of_http1(&format!("{first}{body}{first}{body}{second}")), expected);
}

#[test]
fn a_body_in_chunks_passes_as_it_is_and_the_next_head_is_found_behind_it() {
    let head = "PUT /tokens/a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n";
    let body = format!("a;x=\"y\"\r\nx: y\r\n\r\n12\r\n00F\r\nx-okapi: {:4}\r\n\r\n0\r\n\r\n", 1);
    let second = format!("GET / HTTP/1.1\r\nx-okapi-token: {TOKEN}\r\n\r\n");
    let passed = of_http1(&format!("{head}x-okapi-token: {TOKEN}\r\n\r\n{body}{second}"));
    assert_eq!(passed, format!("{head}\r\n{body}GET / HTTP/1.1\r\n\r\n"));
}

#[test]
fn where_a_body_might_end_in_two_places_nothing_more_is_left_out() {
    let next = format!("GET / HTTP/1.1\r\nx-okapi-token: {TOKEN}\r\n\r\n");
    for odd in [
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        "content-length: 5\r\ncontent-length: 6\r\n",
        "content-length: 5, 5\r\n",
        "content-length: +5\r\n",
        "content-length: 99999999999999999999\r\n",
        "content-length: \r\n",
        "transfer-encoding: gzip, chunked\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
    ] {
        let head = format!("PUT / HTTP/1.1\r\n{odd}");
        let passed = of_http1(&format!("{head}x-okapi-token: {TOKEN}\r\n\r\n{next}"));
        assert_eq!(passed, format!("{head}\r\n{next}"), "{odd}");
    }
    let head = "PUT / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
    for odd in ["x\r\n", "-1\r\n", "ffffffffffffffff\r\n", &format!("{}\r\n", "0".repeat(70))] {
        assert_eq!(of_http1(&format!("{head}{odd}{next}")), format!("{head}{odd}{next}"), "{odd}");
    }
}

#[test]
fn trailers_are_left_out_and_the_next_head_is_found_behind_them() {
    let next = format!("GET / HTTP/1.1\r\nx-okapi-token: {TOKEN}\r\n\r\n");
    let head = "PUT / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n";
    for trailers in ["expires: never\r\n".to_owned(), format!("x-okapi-token: {TOKEN}\r\nhost: other\r\n")] {
        let passed = of_http1(&format!("{head}{trailers}\r\n{next}"));
        assert_eq!(passed, format!("{head}\r\nGET / HTTP/1.1\r\n\r\n"), "{trailers:?}");
    }
    // Where they might end in two places, or do not end at all, the body is spoilt.
    for odd in ["\n", "a: b\n\r\n", "\r\r\n", "a: b\rc: d\r\n\r\n", &"a: b\r\n".repeat(12_000)] {
        assert_eq!(of_http1(&format!("{head}{odd}{next}")), format!("{head}\r\0"), "{odd:?}");
    }
}

#[test]
fn a_length_may_be_told_twice_and_a_chunk_have_a_long_extension() {
    let next = format!("GET / HTTP/1.1\r\nx-okapi-token: {TOKEN}\r\n\r\n");
    let chunk = format!("5;{}\r\nx: y\n\r\n0\r\n\r\n", "x".repeat(100));
    for (framing, body) in
        [("content-length: 5\r\ncontent-length: 5\r\n", "x: y\n"), ("transfer-encoding: chunked\r\n", chunk.as_str())]
    {
        let first = format!("PUT / HTTP/1.1\r\n{framing}\r\n{body}");
        assert_eq!(of_http1(&format!("{first}{next}")), format!("{first}GET / HTTP/1.1\r\n\r\n"), "{framing}");
    }
}

#[test]
fn what_hyper_refuses_it_is_shown() {
    for line in [
        "no colon\r\n",
        "space before : colon\r\n",
        "transfer-encoding : chunked\r\n",
        ": no name\r\n",
        " folded: first\r\n",
        "\rx: y\r\n",
        "n\u{fc}ll: x\r\n",
    ] {
        let head = format!("GET / HTTP/1.1\r\nhost: vault\r\n{line}\r\n");
        assert_eq!(of_http1(&head), head);
    }
    for value in ["a\0b", "a\rb", "a\r\rb", "a\x7fb"] {
        let passed = of_http1(&format!("GET / HTTP/1.1\r\nx-okapi-token: {value}\r\nhost: vault\r\n\r\n"));
        assert_eq!(passed, "GET / HTTP/1.1\r\n\0\r\n\r\n", "{value:?}");
    }
}

/// A frame.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

fn literal(kind: u8, name: &str, value: &str) -> Vec<u8> {
    let length = |text: &str| u8::try_from(text.len()).unwrap();
    [&[kind, length(name)], name.as_bytes(), &[length(value)], value.as_bytes()].concat()
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const GET: &[u8] = &[0x82, 0x87, 0x84];

#[test]
fn a_block_follows_in_one_frame_without_what_is_left_out() {
    let block = [
        &[0x20],
        GET,
        &literal(0x10, "x-okapi-token", TOKEN),
        &literal(0, "x-okapi-tenant", "diku"),
        &literal(0x40, "cookie", TOKEN),
        // From the static table: `accept-encoding: gzip, deflate`, and `authorization` with a value.
        &[0x90],
        &[0x0f, 0x08, 3, b'a', b'b', b'c'],
        // `content-type`, by its place there.
        &[0x5f, 1, b'x'],
    ]
    .concat();
    let kept =
        [&[0x20], GET, &literal(0, "x-okapi-tenant", "diku"), &literal(0x40, "x", ""), &[0x5f, 1, b'x']].concat();
    let ping = frame(6, 0, 0, b"8 bytes.");
    let expected = [PREFACE, &ping, &frame(1, 5, 3, &kept), &ping].concat();

    let whole = [PREFACE, &ping, &frame(1, 5, 3, &block), &ping].concat();
    assert_eq!(sifted(&whole, true).unwrap(), expected);
    let padded = [&[4, 0, 0, 0, 0, 16], &block[..20], &[0, 0, 0, 0]].concat();
    let parts = [frame(1, 0x29, 3, &padded), frame(9, 0, 3, &[]), frame(9, 4, 3, &block[20..])].concat();
    assert_eq!(sifted(&[PREFACE, &ping, &parts, &ping].concat(), true).unwrap(), expected);
}

#[test]
fn later_blocks_find_in_the_table_what_they_refer_to() {
    let first = [GET, &literal(0x40, "x-okapi-tenant", "diku"), &literal(0x40, "x-okapi-token", TOKEN)].concat();
    // Both by their places; then both names with other values.
    let second = [GET, &[0xbe, 0xbf], &[0x0f, 0x2f, 1, b'a'], &[0x0f, 0x30, 1, b'b']].concat();
    let passed = sifted(&[PREFACE, &frame(1, 5, 1, &first), &frame(1, 5, 3, &second)].concat(), true).unwrap();
    let first = [GET, &literal(0x40, "x-okapi-tenant", "diku"), &literal(0x40, "x", "")].concat();
    let second = [GET, &[0xbf], &[0x0f, 0x30, 1, b'b']].concat();
    assert_eq!(passed, [PREFACE, &frame(1, 5, 1, &first), &frame(1, 5, 3, &second)].concat());
}

#[test]
fn a_header_that_was_too_large_is_never_taken_for_one_that_nobody_reads() {
    let kept = |value: &str, times| literal(0x10, "if-none-match", value).repeat(times);
    let full = [kept(&"x".repeat(120), 120), kept("x", 20)].concat();
    let first = [GET, &full, &literal(0x40, "x-okapi-tenant", "diku")].concat();
    let parts = first.chunks(16_000).enumerate().map(|(at, part)| match at {
        0 => frame(1, 1, 1, part),
        _ => frame(9, u8::from(at == first.len() / 16_000) * 4, 1, part),
    });
    let first: Vec<u8> = parts.flatten().collect();
    assert!(sifted(&[PREFACE, &first].concat(), true).is_ok(), "it is answered 431");
    for again in [&[0xbe][..], &[0x0f, 0x2f, 1, b'a']] {
        let second = frame(1, 5, 3, &[GET, again].concat());
        assert!(sifted(&[PREFACE, &first, &second].concat(), true).is_err(), "{again:?}");
    }
}

#[test]
fn a_block_that_is_none_ends_the_connection() {
    let get = |flags| frame(1, flags, 1, GET);
    for (what, frames) in [
        ("interrupted", [get(1), frame(6, 0, 0, b"8 bytes.")].concat()),
        ("another stream's", [get(1), frame(9, 4, 3, &[])].concat()),
        ("a second block", [get(1), get(5)].concat()),
        ("half a field", frame(1, 5, 1, &[GET, &[0, 5, b'x']].concat())),
        ("a number without end", frame(1, 5, 1, &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0])),
        ("too much padding", frame(1, 0xd, 1, &[9, 0x82])),
        ("no end", [get(1), frame(9, 0, 1, &[]).repeat(40_000)].concat()),
    ] {
        assert!(sifted(&[PREFACE, &frames].concat(), true).is_err(), "{what}");
    }
}

/// A server that tells which headers it was shown, and a client's connection to it.
fn echo(http2: bool) -> DuplexStream {
    let (near, far) = tokio::io::duplex(8 * 1024);
    let far = Sifted::new(far, Heads::Sifted(KEPT), http2);
    tokio::spawn(async move {
        let service = service_fn(|request: Request<Incoming>| async move {
            let (parts, body) = request.into_parts();
            let mut lines = vec![parts.uri.path().to_owned()];
            lines.extend(parts.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())));
            lines.retain(|line| !line.starts_with("transfer-encoding") && !line.starts_with("host"));
            let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            lines.push(String::from_utf8(body.to_vec()).unwrap());
            Ok::<_, Infallible>(Response::new(Body::from(lines.join("\n"))))
        });
        if http2 {
            let mut server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let list = u32::try_from(MAX_HEAD).unwrap();
            server.max_header_list_size(list).serve_connection(TokioIo::new(far), service).await.ok();
        } else {
            let mut server = hyper::server::conn::http1::Builder::new();
            server.max_buf_size(MAX_PASSED).serve_connection(TokioIo::new(far), service).await.ok();
        }
    });
    near
}

/// A request like many others, and what is to be seen of it.
fn nth(number: usize) -> (Request<Body>, String) {
    let text = |seed: usize, length: usize| -> String {
        (0..length).map(|at| char::from(b"aB3-_.%{~"[(seed * 7 + at * at + at) % 9])).collect()
    };
    let path = format!("/tokens/{}", text(number, number % 40));
    let mut request = Request::put(format!("https://vault{path}"));
    let mut lines = vec![path];
    for header in 0..number % 6 {
        // Some names are new each time and some come again, with values that do or do not.
        let (name, value) = match (number + header) % 5 {
            0 => ("x-okapi-tenant".to_owned(), text(number % 3, 12)),
            1 => ("x-okapi-token".to_owned(), text(number, 200 * (number % 30))),
            2 => ("if-none-match".to_owned(), text(header, 5)),
            3 => (format!("x-own-{}", text(number, 3).to_lowercase().replace(['%', '{'], "-")), text(header, 60)),
            _ => ("cookie".to_owned(), text(number, 700)),
        };
        if name == "x-okapi-tenant" || name == "if-none-match" {
            lines.push(format!("{name}: {value}"));
        }
        request = request.header(name, value);
    }
    let body = if number.is_multiple_of(3) { String::new() } else { format!("cookie: {}\r\n\r\n", text(number, 50)) };
    lines.push(body.clone());
    let body = match number % 3 {
        0 => {
            lines.insert(1, "content-length: 0".to_owned());
            request = request.header("content-length", 0);
            Body::empty()
        }
        1 => {
            lines.insert(1, format!("content-length: {}", body.len()));
            request = request.header("content-length", body.len());
            Body::from(body)
        }
        _ => Body::from_stream(futures::stream::iter([Ok::<_, Infallible>(body)])),
    };
    (request.body(body).unwrap(), lines.join("\n"))
}

/// Whoever sends requests over either protocol.
enum Sender {
    Http1(hyper::client::conn::http1::SendRequest<Body>),
    Http2(hyper::client::conn::http2::SendRequest<Body>),
}

impl Sender {
    async fn new(http2: bool) -> Self {
        let near = TokioIo::new(echo(http2));
        if http2 {
            let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), near).await.unwrap();
            tokio::spawn(connection);
            Self::Http2(sender)
        } else {
            let (sender, connection) = hyper::client::conn::http1::handshake(near).await.unwrap();
            tokio::spawn(connection);
            Self::Http1(sender)
        }
    }

    /// What was answered, if anything was.
    async fn send(&mut self, request: Request<Body>) -> Option<(StatusCode, String)> {
        let answer = match self {
            Self::Http1(sender) => sender.send_request(request).await.ok()?,
            Self::Http2(sender) => sender.send_request(request).await.ok()?,
        };
        let status = answer.status();
        let body = answer.into_body().collect().await.ok()?.to_bytes();
        Some((status, String::from_utf8(body.to_vec()).unwrap()))
    }
}

/// The lines of a text; the order of headers of different names is nobody's business. With HTTP/2 an empty header takes the
/// place of others in the table.
fn sorted(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().filter(|line| *line != "x: ").collect();
    lines.sort_unstable();
    lines.join("\n")
}

#[tokio::test]
async fn hyper_is_shown_each_request_of_a_connection_as_it_is_but_for_what_is_left_out() {
    for http2 in [false, true] {
        let mut sender = Sender::new(http2).await;
        for number in 0..400 {
            let (request, expected) = nth(number);
            let Some((status, shown)) = sender.send(request).await else {
                panic!("no answer to {number}, HTTP/2: {http2}")
            };
            let what = format!("request {number}, HTTP/2: {http2}");
            assert_eq!((status, sorted(&shown)), (StatusCode::OK, sorted(&expected)), "{what}");
        }
    }
}

#[tokio::test]
async fn a_head_may_have_64_kib_and_16_of_what_is_read() {
    for http2 in [false, true] {
        for (name, length, character, expected) in [
            ("x-okapi-token", 64_000, "e", StatusCode::OK),
            ("x-okapi-token", 66_000, "e", StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
            // However well it is packed: 5 bits, 8 bits and 13 bits for each.
            ("x-okapi-token", 100_000, "a", StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
            ("cookie", 100_000, "X", StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
            ("cookie", 64_000, "$", StatusCode::OK),
            ("x-okapi-tenant", 12_000, "e", StatusCode::OK),
            ("x-okapi-tenant", 33_000, "e", StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
        ] {
            let mut sender = Sender::new(http2).await;
            let request = Request::get("https://vault/").header(name, character.repeat(length));
            let answered = sender.send(request.body(Body::empty()).unwrap()).await;
            let what = format!("{name} of {length}, HTTP/2: {http2}");
            assert_eq!(answered.map(|(status, _)| status), Some(expected), "{what}");
            // With HTTP/1.1 hyper hangs up after it.
            let again = sender.send(Request::get("https://vault/").body(Body::empty()).unwrap()).await;
            assert_eq!(again.is_some(), http2 || expected == StatusCode::OK, "{what}");
        }
    }
}

#[tokio::test]
async fn more_than_a_hundred_headers_are_too_many() {
    for (http2, name) in [(false, "if-none-match"), (true, "if-none-match"), (true, "x-own-")] {
        let mut request = Request::get("https://vault/");
        for number in 0..101 {
            let name = if name.ends_with('-') { format!("{name}{number}") } else { name.to_owned() };
            request = request.header(name, format!("value {number}"));
        }
        let answered = Sender::new(http2).await.send(request.body(Body::empty()).unwrap()).await;
        let expected = Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        assert_eq!(answered.map(|(status, _)| status), expected, "{name}, HTTP/2: {http2}");
    }
}

#[tokio::test]
async fn what_is_left_out_is_wiped_where_it_arrived() {
    let (mut near, far) = tokio::io::duplex(1024);
    let mut connection = Sifted::new(far, Heads::Sifted(KEPT), false);
    near.write_all(format!("GET / HTTP/1.1\r\nx-okapi-token: {TOKEN}\r\nhost: vault\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut room = [0xff; 200];
    let read = connection.read(&mut room).await.unwrap();
    assert_eq!(&room[..read], b"GET / HTTP/1.1\r\nhost: vault\r\n\r\n");
    assert!(!String::from_utf8_lossy(&room).contains("the-users-own"), "{room:?}");
    // As long as the head is not over, nothing of what is left out is held at all.
    near.write_all(format!("GET / HTTP/1.1\r\nx-okapi-token: {TOKEN}").as_bytes()).await.unwrap();
    let read = connection.read(&mut room).await.unwrap();
    assert_eq!(&room[..read], b"GET / HTTP/1.1\r\n");
    assert!(connection.passed.is_empty());
}

#[tokio::test]
async fn what_follows_a_request_is_sifted_before_hyper_has_read_that() {
    let head = format!("GET /tokens/a HTTP/1.1\r\nx-okapi-token: {}\r\n\r\n", TOKEN.repeat(400));
    let (mut near, far) = tokio::io::duplex(2 * head.len());
    let mut connection = Sifted::new(far, Heads::Sifted(KEPT), false);
    near.write_all(head.repeat(2).as_bytes()).await.unwrap();
    let mut room = [0; 1024];

    let read = connection.read(&mut room).await.unwrap();

    assert_eq!(&room[..read], "GET /tokens/a HTTP/1.1\r\n\r\n".repeat(2).as_bytes());
    let more = near.write(b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(futures::FutureExt::now_or_never(more).map(Result::ok), Some(Some(18)), "nothing is left of them");
    drop(near);
    let mut rest = String::new();
    connection.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "GET / HTTP/1.1\r\n\r\n", "and then the end");
}

#[tokio::test]
async fn a_reader_that_asks_for_a_byte_gets_it_and_no_byte_is_a_piece_of_its_own() {
    let (mut near, far) = tokio::io::duplex(64 * 1024);
    let mut connection = Sifted::new(far, Heads::Sifted(KEPT), false);
    let body = "x".repeat(40_000);
    let all = format!("PUT / HTTP/1.1\r\ncontent-length: 40000\r\n\r\n{body}");
    near.write_all(all.as_bytes()).await.unwrap();
    drop(near);

    assert_eq!(connection.read_u8().await.unwrap(), b'P');
    assert!((1..=AHEAD / LEAST + 1).contains(&connection.passed.len()), "{} pieces", connection.passed.len());
    let waits: usize = connection.passed.iter().map(|piece| piece.len()).sum();
    assert_eq!(waits - 1, connection.waits);
    let mut rest = String::new();
    connection.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, all[1..]);
    assert_eq!(connection.waits, 0);
}
