//! What real servers on one machine cannot show: clocks that differ, and a Redis of long ago. Small stand-ins answer in
//! their words.

use std::net::Ipv4Addr;
use tokenvault_tests::harness::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::doctor::stage::{Stage, now};

const HOUR: u64 = 3600;

/// A Redis that knows four commands.
async fn redis_saying(version: &'static str, ahead: u64) -> Result<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let url = format!("redis://{}", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(converse(connection, version, ahead));
        }
    });
    Ok(url)
}

async fn converse(mut connection: TcpStream, version: &str, ahead: u64) -> std::io::Result<()> {
    let (mut heard, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let count = connection.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        heard.extend_from_slice(&buffer[..count]);
        while let Some((command, used)) = command(&heard) {
            heard.drain(..used);
            let answer = match command[0].to_ascii_uppercase().as_str() {
                "TIME" => bulks(&[&(now() + ahead).to_string(), "0"]),
                "INFO" => bulk(&format!(
                    "redis_version:{version}\r\nmaxmemory_policy:noeviction\r\naof_enabled:1\r\nrole:master\r\n"
                )),
                "GET" => "$-1\r\n".to_owned(),
                "SCAN" => format!("*2\r\n{}*0\r\n", bulk("0")),
                "CONFIG" => bulks(&["save", ""]),
                _ => "+OK\r\n".to_owned(),
            };
            connection.write_all(answer.as_bytes()).await?;
        }
    }
}

/// The first whole command (RESP: a list of texts) and its length.
fn command(heard: &[u8]) -> Option<(Vec<String>, usize)> {
    let mut at = 0;
    let mut line = || {
        let length = heard[at..].windows(2).position(|pair| pair == b"\r\n")?;
        let text = String::from_utf8_lossy(&heard[at..at + length]).into_owned();
        at += length + 2;
        Some(text)
    };
    let count: usize = line()?.strip_prefix('*')?.parse().ok()?;
    let mut words = Vec::new();
    for _ in 0..count {
        line()?; // its length; no word here has a line's end in it
        words.push(line()?);
    }
    Some((words, at))
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

fn bulks(texts: &[&str]) -> String {
    format!("*{}\r\n{}", texts.len(), texts.iter().map(|text| bulk(text)).collect::<String>())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_whose_clock_differs_is_a_hazard() -> Result<()> {
    let mut stage = Stage::without_keycloak().await?;
    stage.set("redis.url", redis_saying("7.2.0", HOUR).await?);
    let found = stage.examine(&[])?;
    assert_eq!(found.hazards(), ["clock-redis", "clock-keycloak"], "Keycloak's differs from Redis' then: {found}");
    assert!(found.line("clock-redis")["finding"].as_str().is_some_and(|said| said.contains("ahead of")), "{found}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_of_long_ago_is_a_hazard() -> Result<()> {
    let mut stage = Stage::without_keycloak().await?;
    stage.set("redis.url", redis_saying("6.0.16", 0).await?);
    stage.expect_only("redis-version", "6.0.16 is older than 6.2", "upgrade it")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keycloak_whose_clock_differs_is_a_hazard() -> Result<()> {
    let mut stage = Stage::without_keycloak().await?;
    stage.stand_in(HOUR).await?;
    stage.expect_only("clock-keycloak", "behind", "time servers")
}
