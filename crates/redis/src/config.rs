//! How to reach Redis.
//!
//! The password never stands in the URL, where it would end up in logs and process lists.

use std::path::PathBuf;
use std::time::Duration;

use tokenvault_core::secret::ClientSecret;

use crate::link::{Login, ServerAddress};

/// How to reach Redis, and how long to wait for it.
#[derive(Debug, Clone)]
pub struct RedisConfig {
    /// `redis://host:port/db` or, with TLS, `rediss://host:port/db`; without a password. Empty where the servers are found otherwise.
    pub url: String,
    /// Where sentinels tell which server is the primary.
    pub sentinel: Option<SentinelConfig>,
    /// Where the servers are a cluster.
    pub cluster: Option<ClusterConfig>,
    /// The ACL user.
    pub username: Option<String>,
    /// Its password, or the server's.
    pub password: Option<ClientSecret>,
    /// The file that holds the password; it is read again for each new connection, and goes before `password`.
    pub password_file: Option<PathBuf>,
    /// The CAs that sign the server's certificate, PEM; the only ones trusted. `None`: the system's. Read again for each new
    /// connection.
    pub ca_file: Option<PathBuf>,
    /// The client's certificate and its key, PEM. Read again for each new connection.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Connections for writes at most, for each server; reads share one more.
    pub pool_size: usize,
    /// For a new connection, and for a free place in the pool.
    pub connect_timeout: Duration,
    /// For an answer.
    pub response_timeout: Duration,
    /// How many replicas should acknowledge a write (`WAIT`); 0 for none. It narrows the window in which a failover loses
    /// an acknowledged write; fewer acknowledgements are counted, and are no error. Only the write of a spend's answer is
    /// repeated, ten times at most.
    pub ack_replicas: u32,
    /// How long to wait for them, beside `response_timeout`.
    pub ack_timeout: Duration,
}

/// Sentinels, which tell where the primary is.
#[derive(Debug, Clone)]
pub struct SentinelConfig {
    /// What they call the primary.
    pub master: String,
    /// Where they listen.
    pub nodes: Vec<ServerAddress>,
    /// The database of the servers.
    pub database: i64,
    /// Whether sentinels and servers speak TLS.
    pub tls: bool,
    /// The ACL user at the sentinels.
    pub username: Option<String>,
    /// The file that holds its password.
    pub password_file: Option<PathBuf>,
}

/// A cluster.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// Some of its servers; the others are learnt from them.
    pub nodes: Vec<ServerAddress>,
    /// Whether they speak TLS.
    pub tls: bool,
}

impl RedisConfig {
    /// A server without password, with time-outs fit for a local network.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            sentinel: None,
            cluster: None,
            username: None,
            password: None,
            password_file: None,
            ca_file: None,
            identity: None,
            pool_size: 16,
            connect_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_secs(1),
            ack_replicas: 0,
            ack_timeout: Duration::from_millis(500),
        }
    }

    pub(crate) fn login(&self) -> Login {
        Login {
            username: self.username.clone(),
            password: self.password.clone(),
            password_file: self.password_file.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::InvalidRedisConfig;
    use crate::link::Connector;

    impl RedisConfig {
        fn client(&self) -> Result<redis::Client, InvalidRedisConfig> {
            Connector::of_url(self)?.client_now()
        }
    }

    #[test]
    fn a_password_in_the_url_is_refused() {
        let refused = RedisConfig::new("redis://:hunter2@localhost:6379").client().err();
        assert_eq!(refused, Some(InvalidRedisConfig::PasswordInUrl));
    }

    #[test]
    fn a_password_beside_the_url_reaches_the_client_and_no_output() {
        let mut config = RedisConfig::new("redis://localhost:6379/2");
        config.username = Some("vault".to_owned());
        config.password = Some(ClientSecret::new("hunter2"));
        let client = config.client().unwrap();
        let login = client.get_connection_info().redis_settings();
        assert_eq!((login.username(), login.password(), login.db()), (Some("vault"), Some("hunter2"), 2));
        assert!(!format!("{config:?} {client:?}").contains("hunter2"));
    }

    #[test]
    fn what_cannot_be_used_is_told_by_kind() {
        assert_eq!(RedisConfig::new("nonsense").client().err(), Some(InvalidRedisConfig::Url));
        let mut config = RedisConfig::new("redis://localhost");
        config.ca_file = Some("/nonexistent".into());
        assert_eq!(config.client().err(), Some(InvalidRedisConfig::CaFileWithoutTls));
        config.url = "rediss://localhost".to_owned();
        assert_eq!(config.client().err(), Some(InvalidRedisConfig::CaFile));
    }
}
