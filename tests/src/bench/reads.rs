//! Reads: the vault beside *hello* and the *floor*, in turns.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::load::{Load, Measured, measure};
use super::report::{Row, Spread};
use super::stage::Stage;
use crate::harness::Result;

/// Where the floor answers fewer than this part of *hello*'s requests, something else took the machine: the run is void.
const LEAST_FLOOR: f64 = 0.35;
/// All requests together use so many connections.
const CONNECTIONS: usize = 32;
/// How long each server is warmed up.
const WARM_UP: Duration = Duration::from_millis(500);

/// What is wanted.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// The benchmark's own program.
    pub program: PathBuf,
    /// Repetitions of each measurement.
    pub repetitions: usize,
    /// How long each takes.
    pub time: Duration,
    /// The servers that are measured, by name; all where there are none.
    pub only: Vec<String>,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct ReadReport {
    /// A line for each server and way to ask it.
    pub rows: Vec<Row>,
    /// Whether the floor was slower than it can be.
    pub void: bool,
}

/// One server, and how it is asked.
struct Subject {
    name: &'static str,
    http2: bool,
    url: String,
    pid: u32,
    headers: Vec<String>,
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

/// Measures in turns.
pub async fn run(options: &ReadOptions) -> Result<ReadReport> {
    let stage = Stage::set(&options.program, 3600, |vault| vault).await?;
    stage.register_jobs().await?;
    stage.seal_for_the_floor().await?;
    let (audit, hash_key) = (stage.vault.dir().join("audit.log"), stage.vault.dir().join("audit.key"));
    fs::write(&hash_key, STANDARD.encode([5; 32]))?;
    fs::set_permissions(&hash_key, fs::Permissions::from_mode(0o600))?;
    let audited = Stage::set(&options.program, 3600, |vault| {
        vault.set("audit.file", path(&audit)).set("audit.hash_key_file", path(&hash_key))
    })
    .await?;
    audited.register_jobs().await?;
    let (hello, hello_at) = stage.small(&options.program, "hello").await?;
    let (floor, floor_at) = stage.small(&options.program, "floor").await?;
    let at = |address: std::net::SocketAddr| format!("https://{address}/tokens/job-[0-9][0-9]");
    let vault_at = |stage: &Stage| -> Result<String> {
        Ok(format!("{}/tokens/job-[0-9][0-9]", stage.vault.client(super::stage::MODULE)?.base_url()))
    };
    let subject = |name, http2, url: String, pid| Subject { name, http2, url, pid, headers: Vec::new() };
    let subjects = [
        subject("hello", false, at(hello_at), hello.id()),
        subject("floor", false, at(floor_at), floor.id()),
        subject("vault", false, vault_at(&stage)?, stage.pid()?),
        subject("vault, audit", false, vault_at(&audited)?, audited.pid()?),
        subject("hello, HTTP/2", true, at(hello_at), hello.id()),
        subject("floor, HTTP/2", true, at(floor_at), floor.id()),
        subject("vault, HTTP/2", true, vault_at(&stage)?, stage.pid()?),
    ];
    let mut measured: Vec<Vec<Measured>> = vec![Vec::new(); subjects.len()];
    for _ in 0..options.repetitions {
        let wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|only| name == only);
        for (subject, measured) in subjects.iter().zip(&mut measured).filter(|(subject, _)| wanted(subject.name)) {
            let stage = if subject.name == "vault, audit" { &audited } else { &stage };
            let mut load = Load {
                url: subject.url.clone(),
                varied: true,
                http2: subject.http2,
                headers: subject.headers.clone(),
                connections: CONNECTIONS,
                time: WARM_UP,
            };
            let (root, certificate) = (stage.vault.ca().cert_file(), stage.certificate()?);
            let root = if subject.name.contains("vault") { root } else { stage.vault.ca().cert_file() };
            measure(&load, subject.pid, &root, &certificate).await?;
            load.time = options.time;
            measured.push(measure(&load, subject.pid, &root, &certificate).await?);
        }
    }
    let rows: Vec<Row> =
        subjects.iter().zip(&measured).map(|(subject, measured)| Row::of(subject.name, measured)).collect();
    let rate = |name: &str| rows.iter().find(|row| row.name == name).map_or(0.0, |row| row.per_second.median);
    let void = rate("floor") < LEAST_FLOOR * rate("hello");
    Ok(ReadReport { rows, void })
}

impl Row {
    fn of(name: &str, measured: &[Measured]) -> Self {
        let spread = |of: fn(&Measured) -> f64| Spread::of(measured.iter().map(of).collect());
        Self {
            name: name.to_owned(),
            per_second: spread(|m| m.per_second),
            cpu_micros: spread(|m| m.cpu_micros),
            p99_millis: spread(|m| m.p99_millis),
        }
    }
}
