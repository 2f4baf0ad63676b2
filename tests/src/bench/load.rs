//! The load: `oha`, which keeps its connections and counts what it is answered.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use super::usage::processor_time;
use crate::harness::certs::Certificate;
use crate::harness::process::find_program;
use crate::harness::{Failure, Result};

/// What is asked of a server.
#[derive(Debug, Clone)]
pub struct Load {
    /// The URL; where `varied`, a regular expression that URLs are made of.
    pub url: String,
    /// Whether each request is for another URL.
    pub varied: bool,
    /// Whether HTTP/2 is spoken.
    pub http2: bool,
    /// Headers that go along, as `name: value`.
    pub headers: Vec<String>,
    /// Connections, each with one request at a time.
    pub connections: usize,
    /// For how long.
    pub time: Duration,
}

/// What was measured.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// Answers a second.
    pub per_second: f64,
    /// Processor time of the server's for each, in microseconds.
    pub cpu_micros: f64,
    /// The slowest hundredth took longer than this, in milliseconds.
    pub p99_millis: f64,
}

/// Where the load generator is.
pub fn generator() -> Result<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    find_program("oha")
        .or_else(|| Some(home.join(".cargo/bin/oha")).filter(|file| file.is_file()))
        .ok_or_else(|| Failure::new("oha is missing: run `cargo install --locked oha`"))
}

/// Sends a load to the server of this process id, and measures both.
pub async fn measure(load: &Load, pid: u32, root: &Path, certificate: &Certificate) -> Result<Measured> {
    let mut command = tokio::process::Command::new(generator()?);
    let seconds = format!("{}ms", load.time.as_millis());
    command
        .args(["--no-tui", "--output-format", "json", "-z", &seconds, "-c", &load.connections.to_string()])
        .arg("--cacert")
        .arg(root)
        .arg("--cert")
        .arg(&certificate.cert)
        .arg("--key")
        .arg(&certificate.key)
        .stdin(Stdio::null());
    if load.http2 {
        command.arg("--http2");
    }
    for header in &load.headers {
        command.args(["-H", header]);
    }
    if load.varied {
        command.arg("--rand-regex-url");
    }
    let before = processor_time(pid)?;
    let output = command.arg(&load.url).kill_on_drop(true).output().await?;
    let used = processor_time(pid)?.saturating_sub(before);
    let text = String::from_utf8_lossy(&output.stdout);
    let said: Value = serde_json::from_str(&text)
        .map_err(|_| Failure::new(format!("oha: {}", String::from_utf8_lossy(&output.stderr))))?;
    measured(&said, used).ok_or_else(|| Failure::new(format!("{}: not all was answered with 200: {said}", load.url)))
}

/// Nothing where anything but 200 was answered: what is refused fast would look good.
fn measured(said: &Value, used: Duration) -> Option<Measured> {
    let statuses = said["statusCodeDistribution"].as_object()?;
    let answered = statuses.get("200")?.as_f64()?;
    let refused = statuses.len() > 1;
    let errors = said["errorDistribution"].as_object()?;
    let cut_at_the_end = errors.keys().all(|error| error.contains("deadline"));
    if refused || !cut_at_the_end || answered < 1.0 {
        return None;
    }
    Some(Measured {
        per_second: said["summary"]["requestsPerSec"].as_f64()?,
        cpu_micros: used.as_secs_f64() * 1e6 / answered,
        p99_millis: said["latencyPercentiles"]["p99"].as_f64()? * 1e3,
    })
}
