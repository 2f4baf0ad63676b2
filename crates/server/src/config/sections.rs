//! The sections of the configuration file that do not depend on the tenant, with their defaults.
//!
//! A file name that is not given is empty here; [`super::check`] reports those that must be given.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

/// `[server]`: where modules call.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerSection {
    /// Where to listen for modules.
    pub listen: SocketAddr,
    /// The certificate chain, PEM.
    pub cert_file: PathBuf,
    /// Its private key, PEM.
    pub key_file: PathBuf,
    /// The CAs that sign modules' certificates, PEM.
    pub client_ca_file: PathBuf,
    /// Revoked module certificates, PEM: one list for each CA that signs them. An expired list refuses everybody.
    pub client_crl_file: Option<PathBuf>,
    /// Whether TLS 1.2 (ECDHE with AEAD only) is accepted beside 1.3.
    pub tls12: bool,
    /// For a TLS handshake.
    #[serde(deserialize_with = "super::seconds::deserialize")]
    pub handshake_timeout: Duration,
    /// For a request's head; with HTTP/1.1 also how long a kept-alive connection may be quiet.
    #[serde(deserialize_with = "super::seconds::deserialize")]
    pub header_timeout: Duration,
    /// For a request's body.
    #[serde(deserialize_with = "super::seconds::deserialize")]
    pub body_timeout: Duration,
    /// After which a connection without a request is closed (within twice this time).
    #[serde(deserialize_with = "super::seconds::deserialize")]
    pub idle_timeout: Duration,
    /// For a whole request, `max_wait` included.
    #[serde(deserialize_with = "super::seconds::deserialize")]
    pub request_timeout: Duration,
    /// Connections at a time.
    pub max_connections: usize,
    /// TLS handshakes at a time, beside those; for one more, the oldest of the busiest address is cut.
    pub max_handshakes: usize,
    /// Connections at a time of one module, as the policy knows it; more are closed.
    pub caller_connections: usize,
    /// Requests at a time, over all connections; more are answered 429.
    pub max_concurrent_requests: usize,
    /// Requests a second of one module at this replica; more are answered 429.
    pub caller_rate: u32,
    /// Requests of one module at once, after a pause.
    pub caller_burst: u32,
    /// Registrations a second of one module at this replica, of its requests; more are answered 429.
    pub register_rate: u32,
    /// Registrations of one module at once, after a pause.
    pub register_burst: u32,
    /// Requests of one module under way at a time, those that wait for a renewal included.
    pub caller_concurrency: usize,
    /// A request body's limit in bytes.
    pub max_body: usize,
    /// The least life a read asks for when it does not say.
    #[serde(deserialize_with = "super::seconds::deserialize")]
    pub default_min_ttl: Duration,
    /// How long a read waits for a renewal when it does not say.
    #[serde(deserialize_with = "super::seconds::deserialize")]
    pub default_wait: Duration,
    /// The longest a read may ask to wait.
    #[serde(deserialize_with = "super::seconds::deserialize")]
    pub max_wait: Duration,
    /// How long it serves on after a request to stop, not ready any more, so that whoever sends work here hears of it first.
    #[serde(deserialize_with = "super::seconds::deserialize")]
    pub shutdown_delay: Duration,
    /// How long requests and renewals in hand may take after that.
    #[serde(deserialize_with = "super::seconds::deserialize")]
    pub shutdown_grace: Duration,
}

impl Default for ServerSection {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 8443)),
            cert_file: PathBuf::new(),
            key_file: PathBuf::new(),
            client_ca_file: PathBuf::new(),
            client_crl_file: None,
            tls12: false,
            handshake_timeout: Duration::from_secs(5),
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_mins(1),
            request_timeout: Duration::from_mins(1),
            max_connections: 4096,
            max_handshakes: 256,
            caller_connections: 256,
            max_concurrent_requests: 4096,
            caller_rate: 10_000,
            caller_burst: 20_000,
            register_rate: 500,
            register_burst: 5_000,
            caller_concurrency: 1024,
            max_body: 64 * 1024,
            default_min_ttl: Duration::from_secs(10),
            default_wait: Duration::from_secs(5),
            max_wait: Duration::from_secs(30),
            shutdown_delay: Duration::from_secs(5),
            shutdown_grace: Duration::from_secs(20),
        }
    }
}

/// `[admin]`: where operators call. Without the section there is no such listener.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminSection {
    /// Where to listen for operators.
    pub listen: SocketAddr,
    /// The certificate chain, PEM.
    pub cert_file: PathBuf,
    /// Its private key, PEM.
    pub key_file: PathBuf,
    /// The CAs that sign operators' certificates, PEM.
    pub client_ca_file: PathBuf,
    /// Revoked operator certificates, PEM, as `server.client_crl_file`.
    pub client_crl_file: Option<PathBuf>,
    /// Who may `view` and who may `operate`.
    pub policy_file: PathBuf,
}

impl Default for AdminSection {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8444)),
            cert_file: PathBuf::new(),
            key_file: PathBuf::new(),
            client_ca_file: PathBuf::new(),
            client_crl_file: None,
            policy_file: PathBuf::new(),
        }
    }
}

/// `[management]`: health and metrics, plain HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ManagementSection {
    /// Where to listen for probes and scrapers.
    pub listen: SocketAddr,
}

impl Default for ManagementSection {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 9080)) }
    }
}

/// `[idp]`: where the identity provider calls (back-channel logout). Without the section there is no such listener.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdpSection {
    /// Where to listen for the identity provider.
    pub listen: SocketAddr,
    /// The certificate chain, PEM.
    pub cert_file: PathBuf,
    /// Its private key, PEM.
    pub key_file: PathBuf,
    /// Requests a second, of whatever kind; four times as many in a burst.
    pub max_rate: u32,
    /// Logout tokens a second whose signature is checked, in each tenant; four times as many in a burst.
    pub max_tenant_rate: u32,
}

impl Default for IdpSection {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 8445)),
            cert_file: PathBuf::new(),
            key_file: PathBuf::new(),
            max_rate: 200,
            max_tenant_rate: 50,
        }
    }
}

/// `[redis]`: the store.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisSection {
    /// `redis://host:port/db` or, with TLS, `rediss://host:port/db`; without credentials.
    pub url: String,
    /// Where sentinels tell which server is the primary, instead of `url`.
    pub sentinel: Option<SentinelSection>,
    /// Where the servers are a cluster, instead of `url`.
    pub cluster: Option<ClusterSection>,
    /// The ACL user.
    pub username: Option<String>,
    /// Its password.
    pub password_file: Option<PathBuf>,
    /// The CAs that sign the server's certificate, PEM; the only ones trusted.
    pub ca_file: Option<PathBuf>,
    /// The vault's own certificate for servers that ask for one, PEM.
    pub cert_file: Option<PathBuf>,
    /// Its private key, PEM.
    pub key_file: Option<PathBuf>,
    /// Connections at most, to each server.
    pub pool_size: usize,
    /// For a new connection.
    #[serde(deserialize_with = "super::seconds::deserialize")]
    pub connect_timeout: Duration,
    /// For an answer.
    #[serde(deserialize_with = "super::seconds::deserialize")]
    pub response_timeout: Duration,
    /// Replicas that must acknowledge a write of a pair (`WAIT`); 0 for none.
    pub ack_replicas: u32,
    /// How long to wait for them.
    #[serde(deserialize_with = "super::seconds::deserialize")]
    pub ack_timeout: Duration,
}

impl RedisSection {
    /// What the store is called where people read of it: its URL, or how its servers are found.
    pub fn place(&self) -> String {
        match (&self.sentinel, &self.cluster) {
            (Some(sentinel), _) => format!("{} by {}", sentinel.master, sentinel.nodes.join(", ")),
            (None, Some(cluster)) => format!("the cluster of {}", cluster.nodes.join(", ")),
            (None, None) => self.url.clone(),
        }
    }

    /// Whether the servers are spoken to over TLS.
    pub fn is_encrypted(&self) -> bool {
        match (&self.sentinel, &self.cluster) {
            (Some(sentinel), _) => sentinel.tls,
            (None, Some(cluster)) => cluster.tls,
            (None, None) => self.url.starts_with("rediss://"),
        }
    }
}

/// `[redis.sentinel]`: sentinels, which tell where the primary is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SentinelSection {
    /// What the sentinels call the primary.
    pub master: String,
    /// The sentinels, each `host:port`.
    pub nodes: Vec<String>,
    /// The database of the servers.
    pub database: i64,
    /// Whether sentinels and servers speak TLS.
    pub tls: bool,
    /// The ACL user at the sentinels.
    pub username: Option<String>,
    /// Its password, or the sentinels'.
    pub password_file: Option<PathBuf>,
}

/// `[redis.cluster]`: a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClusterSection {
    /// Some of its servers, each `host:port`; the others are learnt from them.
    pub nodes: Vec<String>,
    /// Whether they speak TLS.
    pub tls: bool,
}

impl Default for RedisSection {
    fn default() -> Self {
        Self {
            url: String::new(),
            sentinel: None,
            cluster: None,
            username: None,
            password_file: None,
            ca_file: None,
            cert_file: None,
            key_file: None,
            pool_size: 16,
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(2),
            ack_replicas: 0,
            ack_timeout: Duration::from_millis(500),
        }
    }
}

/// `[keyring]`: what tokens are sealed with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeyringSection {
    /// The keyring, as `tokenvault keygen` writes it.
    pub file: PathBuf,
}

/// `[policy]`: who may call.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolicySection {
    /// The mapping from certificates to modules.
    pub file: PathBuf,
}

/// `[renewal]`: how pairs are kept fresh.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RenewalSection {
    /// The part of an access token's life after which it is renewed.
    pub fraction: f64,
    /// How far the moment is moved by chance, as a part of that time.
    pub jitter: f64,
    /// How long one replica may hold a record for renewing it.
    #[serde(deserialize_with = "super::seconds::deserialize")]
    pub lease: Duration,
    /// Renewals at a time in this replica.
    pub concurrency: usize,
    /// Between two looks at the due index.
    #[serde(deserialize_with = "super::seconds::deserialize")]
    pub poll_interval: Duration,
    /// How long a session is believed to live without being asked about, where its tokens are renewed more seldom.
    #[serde(deserialize_with = "super::seconds::deserialize")]
    pub probe_interval: Duration,
    /// For how long every answer of Keycloak's must be no before a session is believed to be over.
    #[serde(deserialize_with = "super::seconds::deserialize")]
    pub doubt: Duration,
    /// How long a refresh token whose answer was lost is left alone.
    #[serde(deserialize_with = "super::seconds::deserialize")]
    pub quarantine: Duration,
    /// The first pause after a failure.
    #[serde(deserialize_with = "super::seconds::deserialize")]
    pub retry_min: Duration,
    /// The longest pause after repeated failures.
    #[serde(deserialize_with = "super::seconds::deserialize")]
    pub retry_max: Duration,
    /// How long an ended job's id is remembered.
    #[serde(deserialize_with = "super::seconds::deserialize")]
    pub tombstone_ttl: Duration,
    /// Refresh tokens spent at a time in one client session.
    pub spends_per_session: usize,
}

impl Default for RenewalSection {
    fn default() -> Self {
        Self {
            fraction: 0.5,
            jitter: 0.1,
            lease: Duration::from_secs(15),
            concurrency: 32,
            poll_interval: Duration::from_millis(250),
            probe_interval: Duration::from_mins(5),
            doubt: Duration::from_secs(75),
            quarantine: Duration::from_secs(30),
            retry_min: Duration::from_millis(250),
            retry_max: Duration::from_secs(30),
            tombstone_ttl: Duration::from_hours(24),
            spends_per_session: 8,
        }
    }
}

/// `[audit]`: who did what to which job. Without a file nothing is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditSection {
    /// Where the lines go: a file of this process's own, or `/dev/stdout`.
    pub file: Option<PathBuf>,
    /// The key users' and sessions' ids are hashed with: any text of at least 32 bytes.
    pub hash_key_file: Option<PathBuf>,
    /// Whether reads and lists are recorded beside everything else.
    pub reads: bool,
    /// Whether what cannot be recorded is refused.
    pub required: bool,
    /// Whether each line is on the disk before it counts as written (`fdatasync`).
    pub sync: bool,
}

impl Default for AuditSection {
    fn default() -> Self {
        Self { file: None, hash_key_file: None, reads: true, required: false, sync: false }
    }
}

/// `[telemetry]`: how the process tells about itself.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetrySection {
    /// The form of log lines.
    pub log_format: LogFormat,
    /// The least severe level that is logged, or `tracing` directives such as `info,tokenvault_server::api=debug`.
    pub log_level: String,
    /// The collector that traces are told to (OTLP over HTTP); without it none are.
    pub otlp_endpoint: Option<String>,
    /// Headers for it, such as a token: `NAME: VALUE` lines.
    pub otlp_headers_file: Option<PathBuf>,
    /// The part of the traces that is told, where the caller has not decided already.
    pub otlp_sample_ratio: f64,
}

impl Default for TelemetrySection {
    fn default() -> Self {
        Self {
            log_format: LogFormat::Json,
            log_level: "info".to_owned(),
            otlp_endpoint: None,
            otlp_headers_file: None,
            otlp_sample_ratio: 1.0,
        }
    }
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}
