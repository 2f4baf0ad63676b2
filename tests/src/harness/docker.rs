//! Whether a container engine answers, asked without starting anything.
//!
//! `TOKENVAULT_TEST_PARTS=local` keeps the tests away from containers although an engine is there.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(2);

/// True if the engine at `DOCKER_HOST`, or at the usual socket, answers a ping. Asked once per test process.
pub fn engine_answers() -> bool {
    static ANSWERS: OnceLock<bool> = OnceLock::new();
    *ANSWERS.get_or_init(|| {
        let kept_away = std::env::var("TOKENVAULT_TEST_PARTS").is_ok_and(|parts| parts == "local");
        !kept_away && ping().is_some_and(|answer| answer.starts_with("HTTP/1.") && answer.contains(" 200 "))
    })
}

fn ping() -> Option<String> {
    let host = std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
    if let Some(path) = host.strip_prefix("unix://") {
        let stream = UnixStream::connect(path).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        return ask(stream);
    }
    let stream = TcpStream::connect(host.strip_prefix("tcp://")?).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    ask(stream)
}

fn ask(mut stream: impl Read + Write) -> Option<String> {
    stream.write_all(b"GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    Some(String::from_utf8_lossy(&answer).into_owned())
}
