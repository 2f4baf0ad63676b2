//! A real Redis of the test's own: in a container where an engine answers, else the `redis-server` in `PATH`.
//!
//! A password goes into the server's configuration file, never onto a command line.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, FromRedisValue, IntoConnectionInfo, RedisConnectionInfo};
use tempfile::TempDir;
use testcontainers::core::{IntoContainerPort, WaitFor};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};
use tokenvault_redis::RedisConfig;

use super::process::{Process, find_program, poll, temporary_dir};
use super::{Failure, Result, docker, ports};

const START: Duration = Duration::from_mins(1);
const IMAGE: (&str, &str) = ("redis", "7.4-alpine");
const IMAGE_CONFIG: &str = "/etc/redis-test.conf";

/// A store's configuration with time-outs for which a machine that stands still for a moment is no outage.
pub fn unhurried(url: impl Into<String>) -> RedisConfig {
    let patience = Duration::from_secs(30);
    RedisConfig { connect_timeout: patience, response_timeout: patience, ..RedisConfig::new(url) }
}

/// How the server is set up.
#[derive(Debug, Clone, Default)]
pub struct RedisOptions {
    append_only: bool,
    password: Option<String>,
    replica_of: Option<SocketAddr>,
    lines: Vec<String>,
    local: bool,
    sentinel: bool,
    server: Option<PathBuf>,
}

impl RedisOptions {
    /// Writes every command to disk before it is answered, so that a kill loses nothing.
    #[must_use]
    pub fn append_only(mut self) -> Self {
        self.append_only = true;
        self
    }

    /// Asks clients for a password.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// Follows another server.
    #[must_use]
    pub fn replica_of(mut self, primary: &Redis) -> Self {
        self.replica_of = Some(primary.address());
        self
    }

    /// One more line of `redis.conf`, such as `maxmemory-policy allkeys-lru`.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    /// Another server's binary, such as Valkey's.
    #[must_use]
    pub fn server(mut self, binary: PathBuf) -> Self {
        self.server = Some(binary);
        self
    }

    /// One of several that talk to each other on loopback, which a container could not. It keeps its configuration file over
    /// a restart, for such servers write into it.
    #[must_use]
    pub(super) fn member(mut self) -> Self {
        self.local = true;
        self
    }

    /// A sentinel of the same binary: without data, and without a password of its own.
    #[must_use]
    pub(super) fn as_sentinel(&self) -> Self {
        Self { sentinel: true, server: self.server.clone(), ..Self::default() }.member()
    }

    /// The password that clients are asked for.
    pub(super) fn known_password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// Starts the server.
    pub async fn start(self) -> Result<Redis> {
        Redis::with(self).await
    }

    fn config(&self, listen: (&str, u16), dir: &str) -> String {
        let (bind, port) = listen;
        let mut text = format!("port {port}\nbind {bind}\nprotected-mode no\ndir {dir}\nsave \"\"\n");
        if self.append_only {
            text.push_str("appendonly yes\nappendfsync always\n");
        }
        if let Some(password) = &self.password {
            let _ = writeln!(text, "requirepass \"{password}\"");
            let _ = writeln!(text, "masterauth \"{password}\"");
        }
        if let Some(primary) = self.replica_of {
            let _ = writeln!(text, "replicaof {} {}", primary.ip(), primary.port());
            text.push_str("repl-diskless-sync-delay 0\n");
        }
        for line in &self.lines {
            let _ = writeln!(text, "{line}");
        }
        text
    }
}

enum Backend {
    Local { process: Option<Process>, binary: PathBuf },
    Container(Box<ContainerAsync<GenericImage>>),
}

/// A running Redis; gone with its data when dropped.
pub struct Redis {
    backend: Backend,
    address: SocketAddr,
    options: RedisOptions,
    dir: TempDir,
}

impl Redis {
    /// An empty server in memory.
    pub async fn start() -> Result<Self> {
        Self::with(RedisOptions::default()).await
    }

    /// Options for [`RedisOptions::start`].
    pub fn options() -> RedisOptions {
        RedisOptions::default()
    }

    async fn with(options: RedisOptions) -> Result<Self> {
        let dir = temporary_dir("redis")?;
        let address = ports::free_address()?;
        // A replica in a container could not reach a primary that listens on the host's loopback.
        let backend =
            if !options.local && options.server.is_none() && options.replica_of.is_none() && docker::engine_answers() {
                match start_container(&options, address, dir.path()).await {
                    Ok(container) => Backend::Container(Box::new(container)),
                    Err(e) => local(&e.context("a container engine answers, but Redis did not start in it"), &options)?,
                }
            } else {
                local_backend(&options)?
            };
        let mut redis = Self { backend, address, options, dir };
        if let Some(password) = &redis.options.password {
            write_private(&redis.password_file(), password)?;
        }
        match redis.backend {
            Backend::Local { .. } => redis.restart().await?,
            Backend::Container(_) => redis.wait_ready().await?,
        }
        Ok(redis)
    }

    /// `redis://127.0.0.1:PORT`, without a password.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The file (mode 0600) that holds the password, if there is one.
    pub fn password_file(&self) -> PathBuf {
        self.dir.path().join("password")
    }

    /// A connection of its own, authenticated, and patient: the library's own half a second is soon over where every write
    /// waits for a busy disk.
    pub async fn connection(&self) -> Result<MultiplexedConnection> {
        patient(&self.client()?).await
    }

    /// Makes such connections.
    pub fn client(&self) -> Result<redis::Client> {
        let mut settings = RedisConnectionInfo::default();
        if let Some(password) = &self.options.password {
            settings = settings.set_password(password.as_str());
        }
        let info = self.url().into_connection_info()?.set_redis_settings(settings);
        Ok(redis::Client::open(info)?)
    }

    /// What it answers to one command, as text.
    pub(super) async fn ask<T: FromRedisValue>(&self, words: &[&str]) -> Result<T> {
        let (command, arguments) = words.split_first().ok_or_else(|| Failure::new("a command has a name"))?;
        let mut connection = self.connection().await?;
        Ok(redis::cmd(command).arg(arguments).query_async(&mut connection).await?)
    }

    /// Whether it says that it is a primary.
    pub async fn is_primary(&self) -> bool {
        self.ask::<String>(&["INFO", "replication"]).await.is_ok_and(|info| info.contains("role:master"))
    }

    /// How many replicas it feeds that follow it without a break.
    pub async fn replicas(&self) -> usize {
        let info = self.ask::<String>(&["INFO", "replication"]).await.unwrap_or_default();
        info.lines().filter(|line| line.starts_with("slave") && line.contains("state=online")).count()
    }

    /// SIGKILL: what was not on disk is lost.
    pub async fn kill(&mut self) -> Result<()> {
        match &mut self.backend {
            Backend::Local { process, .. } => process.iter_mut().for_each(Process::kill),
            Backend::Container(container) => container.stop_with_timeout(Some(0)).await?,
        }
        Ok(())
    }

    /// Ends it in an orderly way.
    pub async fn stop(&mut self) -> Result<()> {
        match &mut self.backend {
            Backend::Local { process: Some(process), .. } => drop(process.terminate(START).await?),
            Backend::Local { process: None, .. } => {}
            Backend::Container(container) => container.stop_with_timeout(Some(10)).await?,
        }
        Ok(())
    }

    /// Starts it again on the same port with the same files; kills it first if it still runs.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill().await?;
        match &mut self.backend {
            Backend::Container(container) => container.start().await?,
            Backend::Local { process, binary } => {
                let dir = self.dir.path();
                let config = dir.join("redis.conf");
                if !(self.options.local && config.exists()) {
                    let text = self.options.config(("127.0.0.1", self.address.port()), &dir.display().to_string());
                    write_private(&config, &text)?;
                }
                let mut command = Command::new(binary);
                command.arg(&config);
                if self.options.sentinel {
                    command.arg("--sentinel");
                }
                *process = Some(Process::spawn("redis", command, dir)?);
            }
        }
        self.wait_ready().await
    }

    /// It stays reachable but answers nothing, as a frozen machine would.
    pub async fn pause(&mut self) -> Result<()> {
        match &mut self.backend {
            Backend::Local { process, .. } => process.as_mut().map_or(Ok(()), Process::pause),
            Backend::Container(container) => Ok(container.pause().await?),
        }
    }

    /// Ends [`Self::pause`].
    pub async fn resume(&mut self) -> Result<()> {
        match &mut self.backend {
            Backend::Local { process, .. } => process.as_mut().map_or(Ok(()), Process::resume),
            Backend::Container(container) => Ok(container.unpause().await?),
        }
    }

    async fn wait_ready(&mut self) -> Result<()> {
        let attempt = poll("Redis to answer PING", START, || async {
            let mut connection = self.connection().await.ok()?;
            redis::cmd("PING").query_async::<String>(&mut connection).await.ok()
        });
        let answer = attempt.await;
        answer.map(drop).map_err(|e| match &self.backend {
            Backend::Local { process: Some(process), .. } => Failure::new(format!("{e}:\n{}", process.log_tail())),
            _ => e,
        })
    }
}

/// A connection that waits for its answers as long as a server may take to start.
pub async fn patient(client: &redis::Client) -> Result<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new().set_connection_timeout(Some(START)).set_response_timeout(Some(START));
    Ok(client.get_multiplexed_async_connection_with_config(&config).await?)
}

#[allow(clippy::print_stderr, reason = "the substitution must be seen in the test's output")]
fn local(reason: &Failure, options: &RedisOptions) -> Result<Backend> {
    eprintln!("{reason}; taking redis-server instead");
    local_backend(options)
}

fn local_backend(options: &RedisOptions) -> Result<Backend> {
    let binary = options.server.clone().or_else(|| find_program("redis-server")).ok_or_else(|| {
        Failure::new("redis-server is missing: run `./test --install-only` or `apt-get install redis-server`")
    })?;
    Ok(Backend::Local { process: None, binary })
}

async fn start_container(
    options: &RedisOptions,
    address: SocketAddr,
    dir: &Path,
) -> Result<ContainerAsync<GenericImage>> {
    let config = dir.join("container.conf");
    write_private(&config, &options.config(("0.0.0.0", 6379), "/data"))?;
    let container = GenericImage::new(IMAGE.0, IMAGE.1)
        .with_wait_for(WaitFor::message_on_stdout("Ready to accept connections"))
        .with_mapped_port(address.port(), 6379.tcp())
        .with_copy_to(IMAGE_CONFIG, fs::read(&config)?)
        .with_cmd(["redis-server", IMAGE_CONFIG])
        .start()
        .await?;
    debug_assert_eq!(address.ip(), Ipv4Addr::LOCALHOST);
    Ok(container)
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(())
}
