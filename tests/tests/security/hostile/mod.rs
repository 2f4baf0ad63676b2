//! Connections that mean no good, at small scale: each is ended in its time, and a good caller is served before, meanwhile
//! and after. `siege` does the same by the thousand.
#![allow(
    clippy::disallowed_methods,
    reason = "tests watch real processes, so they read the real clock and ask over real networks"
)]

use std::time::{Duration, Instant};

use serde_json::json;
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::process::{SOON, wait_until};
use tokenvault_tests::siege::stage::{JOB, MIN_TTL, Stage, TOKEN_LIFE};
use tokenvault_tests::siege::{attack, frames, good, member};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// Whoever is slow or floods is cut off by then.
const IN_TIME: Duration = Duration::from_secs(15);

/// A vault that waits for nobody for long.
async fn impatient() -> Result<Stage> {
    Stage::with(&[
        ("server.handshake_timeout", 3.into()),
        ("server.header_timeout", 3.into()),
        ("server.body_timeout", 3.into()),
        ("server.idle_timeout", 3.into()),
        ("server.max_handshakes", 8.into()),
        ("server.caller_connections", 8.into()),
    ])
    .await
}

async fn rogue(stage: &Stage, protocol: &[u8]) -> Result<TlsStream<TcpStream>> {
    connected(stage, 0, protocol).await
}

async fn connected(stage: &Stage, rogue: usize, protocol: &[u8]) -> Result<TlsStream<TcpStream>> {
    let rogue = &stage.rogues[rogue];
    let connector = attack::connector(&stage.vault.ca().cert_file(), &rogue.cert, &rogue.key, protocol)?;
    attack::connect(stage.address()?, &connector).await
}

async fn assert_served(stage: &Stage) -> Result<()> {
    stage.good()?.get(JOB).await?.expect_status(200)?;
    Ok(())
}

/// Until the other side has closed, and what it said before.
async fn ended(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut said = Vec::new();
    let ended = tokio::time::timeout(IN_TIME, stream.read_to_end(&mut said)).await;
    assert!(ended.is_ok(), "it was not ended; it heard {}", String::from_utf8_lossy(&said));
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test]
async fn the_slow_are_ended_and_the_good_are_served_meanwhile() -> Result<()> {
    let mut stage = impatient().await?;
    let address = stage.address()?;
    let good = stage.good()?;
    good.get(JOB).await?.expect_status(200)?;
    let mut slow = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let (head, body, mut idle) =
            (rogue(&stage, b"http/1.1").await?, rogue(&stage, b"http/1.1").await?, rogue(&stage, b"h2").await?);
        slow.spawn(async move { drop(attack::slow_head(head).await) });
        slow.spawn(async move { drop(attack::slow_body(body).await) });
        slow.spawn(async move { while idle.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {} });
    }
    for _ in 0..20 {
        slow.spawn(async move { drop(attack::silent(address).await) });
        slow.spawn(async move { drop(attack::slow_handshake(address).await) });
    }
    let begun = Instant::now();
    while slow.try_join_next().is_some() || !slow.is_empty() {
        good.get(JOB).await?.expect_status(200)?;
        assert!(begun.elapsed() < IN_TIME, "{} slow ones are left", slow.len());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_served(&stage).await?;
    let away = stage.turned_away().await?;
    assert!(away.get("handshake_cut").copied().unwrap_or_default() >= 12.0, "{away:?}");
    Ok(())
}

#[tokio::test]
async fn one_holder_has_its_share_of_connections_and_another_has_its_own() -> Result<()> {
    let mut stage = Stage::with(&[("server.caller_connections", 4.into())]).await?;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(rogue(&stage, b"h2").await?);
    }
    // The handshake is done before the share is looked at.
    if let Ok(mut fifth) = rogue(&stage, b"h2").await {
        ended(&mut fifth).await;
    }
    assert_served(&stage).await?;
    assert!(stage.turned_away().await?.contains_key("too_many_connections"));
    Ok(())
}

#[tokio::test]
async fn streams_that_are_reset_as_soon_as_they_are_opened_end_their_connection() -> Result<()> {
    let stage = impatient().await?;
    let mut flood = rogue(&stage, b"h2").await?;
    let mut resets = 0;
    let flooded = attack::rapid_reset(&mut flood, 100_000, |more| resets += more);
    drop(tokio::time::timeout(IN_TIME, flooded).await.expect("it comes to an end"));
    assert!(resets < 5_000, "{resets} streams were opened and reset");
    assert_served(&stage).await
}

#[tokio::test]
async fn full_heads_hold_no_memory_and_keep_nobody_from_being_served() -> Result<()> {
    let stage = Stage::set().await?;
    let token = "e".repeat(60_000);
    let good = stage.good()?.with_header("x-okapi-token", &token)?;
    good.get(JOB).await?.expect_status(200)?;
    let before = stage.rss_mib()?;
    let mut slow = tokio::task::JoinSet::new();
    for number in 0..240 {
        let over_http2 = number % 2 == 1;
        let stream = connected(&stage, number % 4 / 2, if over_http2 { b"h2" } else { b"http/1.1" }).await?;
        match number % 3 {
            0 if over_http2 => slow.spawn(async move { drop(attack::full_block(stream).await) }),
            0 => slow.spawn(async move { drop(attack::full_head(stream).await) }),
            _ if over_http2 => slow.spawn(async move { drop(attack::full_bodies(stream).await) }),
            _ => slow.spawn(async move { drop(attack::full_heads(stream).await) }),
        };
    }
    let (watch, stop) = stage.watch_rss();
    let end = Instant::now() + Duration::from_secs(5);
    while Instant::now() < end {
        good.get(JOB).await?.expect_status(200)?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stop.cancel();
    let growth = watch.await?? - before;
    // Eighty slow heads of 64 KiB and as many connections that keep sending such, and 1 280 bodies of 60 KB.
    assert!(growth < 48.0, "memory grew by {growth} MiB");
    slow.shutdown().await;
    assert_served(&stage).await
}

#[tokio::test]
async fn headers_without_an_end_end_their_connection() -> Result<()> {
    let stage = impatient().await?;
    let mut endless = rogue(&stage, b"h2").await?;
    let mut first = frames::PREFACE.to_vec();
    frames::open_endlessly(1, &mut first);
    endless.write_all(&first).await?;
    let mut sent = 0;
    let (mut reader, mut writer) = tokio::io::split(endless);
    let closed = tokio::spawn(async move { ended(&mut reader).await });
    // At a pace at which nothing piles up on the way.
    while !closed.is_finished() && sent < 4_000_000 {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let mut more = Vec::new();
        (0..10).for_each(|_| frames::go_on(1, &mut more));
        if writer.write_all(&more).await.is_err() {
            break;
        }
        sent += more.len();
    }
    assert!(sent < 4_000_000, "{sent} bytes of headers were taken");
    closed.await?;
    assert_served(&stage).await
}

#[tokio::test]
async fn what_is_oversized_is_refused_in_every_place() -> Result<()> {
    let stage = Stage::set().await?;
    for head in [
        format!("GET /tokens/{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "x".repeat(40_000)),
        format!("GET /tokens/{JOB} HTTP/1.1\r\nhost: localhost\r\nx-long: {}\r\n\r\n", "x".repeat(70_000)),
        format!("GET /tokens/{JOB} HTTP/1.1\r\nhost: localhost\r\n{}\r\n", "x: y\r\n".repeat(15_000)),
        format!("GET /tokens/{JOB} HTTP/1.1\r\nhost: localhost\r\nx-okapi-tenant: {}\r\n\r\n", "x".repeat(40_000)),
    ] {
        let mut stream = rogue(&stage, b"http/1.1").await?;
        // The vault may hang up in the middle of it.
        drop(stream.write_all(head.as_bytes()).await);
        let mut said = Vec::new();
        drop(tokio::time::timeout(IN_TIME, stream.read_to_end(&mut said)).await.expect("it is ended"));
        let said = String::from_utf8_lossy(&said);
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{said}");
    }
    let good = stage.good()?;
    for body in ["[".repeat(60_000), format!("{{\"access_token\":{}", "[".repeat(60_000)), "{\"a\":".repeat(10_000)] {
        let request = good.http().put(format!("{}/tokens/deep", good.base_url()));
        let answer = request.header("content-type", "application/json").body(body).send().await?;
        assert_eq!(answer.status(), 400);
    }
    let tenant = good.with_header("x-okapi-tenant", &"t".repeat(10_000))?.get(JOB).await?;
    assert_eq!(tenant.status, 403);
    assert_served(&stage).await
}

#[tokio::test]
async fn a_module_that_calls_too_often_is_told_when_to_come_again_and_takes_nothing_from_others() -> Result<()> {
    let limits =
        [("server.caller_rate", 5.into()), ("server.caller_burst", 10.into()), ("server.caller_concurrency", 2.into())];
    let mut stage = Stage::with(&limits).await?;
    let rogue = &stage.rogues[0];
    let greedy = stage.vault.client_with(rogue, 0)?;
    let (calls, begun) = (120, Instant::now());
    let mut refused = 0;
    for _ in 0..calls {
        let answer = greedy.get("nothing").await?;
        match answer.status.as_u16() {
            404 => {}
            429 => {
                assert_eq!((answer.code(), answer.header("retry-after")), ("too_many_requests", "1"));
                refused += 1;
            }
            _ => panic!("{answer:?}"),
        }
    }
    // The burst, five a second, and the one of the second that has begun.
    let allowed = 10 + 5 * (begun.elapsed().as_secs() + 1);
    assert!(refused >= 20 && calls - refused <= allowed, "only {refused} of {calls} were too many, {allowed} may pass");
    assert_served(&stage).await?;
    assert!(stage.turned_away().await?["too_many_requests"] >= 20.0);
    wait_until("its turn to come again", SOON, async || {
        greedy.get("nothing").await.is_ok_and(|answer| answer.status == 404)
    })
    .await
}

#[tokio::test]
async fn requests_that_take_long_take_their_callers_places_and_no_others() -> Result<()> {
    let stage = Stage::with(&[("server.caller_concurrency", 2.into())]).await?;
    let good = stage.good()?;
    let second = stage.vault.client_with(&stage.rogues[1], 0)?;
    let mut waiting = tokio::task::JoinSet::new();
    // More than there are places: a look at them takes one for a moment.
    for _ in 0..6 {
        let body = connected(&stage, 1, b"http/1.1").await?;
        waiting.spawn(async move { drop(attack::slow_body(body).await) });
    }
    wait_until("both places to be taken", SOON, async || {
        second.get("nothing").await.is_ok_and(|answer| answer.status == 429)
    })
    .await?;
    good.get(JOB).await?.expect_status(200)?;
    waiting.shutdown().await;
    wait_until("a place again", SOON, async || {
        second.put("nothing", &json!({})).await.is_ok_and(|answer| answer.status == 400)
    })
    .await
}

#[tokio::test]
async fn a_member_of_the_house_that_does_its_worst_takes_nothing_from_another() -> Result<()> {
    let mut stage = Stage::for_member().await?;
    // As long as it takes until a job that has not been renewed is late.
    let time = Duration::from_secs(TOKEN_LIFE - MIN_TTL + 1);
    let orders = stage.member(20, 60, 48, time)?;
    let (account, measured) = tokio::join!(member::besiege(&orders), good::measure(&stage, time));
    let (account, (steady, fresh)) = (account?, measured?);
    // No token was late, and it was not told that it does too much.
    assert_eq!((steady.failed, fresh.failed), (0, 0), "{steady:?} {fresh:?} beside {account:?}");
    assert!(stage.spends().await? < 0.5, "no refresh token was spent");
    assert!(stage.rollbacks().await? < 0.5, "the store has lost nothing");
    let good = stage.good()?;
    for job in &stage.jobs {
        let answer = good.get(job).await?.expect_status(200)?;
        assert!(answer.body["generation"].as_u64() >= Some(2), "{job} was not renewed: {answer:?}");
    }
    // Everything was done, and most of it was answered as it should be.
    for (act, status) in [
        ("again", 200),
        ("absent", 404),
        ("child", 201),
        ("describe", 200),
        ("foreign", 404),
        ("list", 200),
        ("loop", 201),
        ("refused", 422),
        ("unproven", 422),
        ("wait", 200),
    ] {
        assert!(account[act].contains_key(&status), "{act} was never answered {status}: {account:?}");
    }
    // What it was refused is not there; of what it registered there is one key each, beside those that do not grow.
    let registered: u64 = ["loop", "child"].iter().filter_map(|act| account[*act].get(&201)).sum();
    let (keys, _) = stage.stored().await?;
    assert!(keys <= registered + 600, "{keys} keys after {registered} registrations");
    let refused: Vec<String> =
        redis::cmd("KEYS").arg("*refused-*").query_async(&mut stage.redis.connection().await?).await?;
    assert!(refused.is_empty(), "{refused:?}");
    Ok(())
}
