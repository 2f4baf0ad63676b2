//! How to reach Redis.
//!
//! The password never stands in the URL, where it would end up in logs and process lists.

use std::path::{Path, PathBuf};
use std::time::Duration;

use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, TlsCertificates};
use tokenvault_core::secret::ClientSecret;

use crate::error::InvalidRedisConfig;

/// How to reach Redis, and how long to wait for it.
#[derive(Debug, Clone)]
pub struct RedisConfig {
    /// `redis://host:port/db` or, with TLS, `rediss://host:port/db`; without a password.
    pub url: String,
    /// The ACL user.
    pub username: Option<String>,
    /// Its password, or the server's.
    pub password: Option<ClientSecret>,
    /// The CAs that sign the server's certificate, PEM; the only ones trusted. `None`: the system's.
    pub ca_file: Option<PathBuf>,
    /// Connections for writes at most; reads share one more.
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

impl RedisConfig {
    /// A server without password, with time-outs fit for a local network.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            username: None,
            password: None,
            ca_file: None,
            pool_size: 16,
            connect_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_secs(1),
            ack_replicas: 0,
            ack_timeout: Duration::from_millis(500),
        }
    }

    /// The client; connects to nothing yet.
    pub(crate) fn client(&self) -> Result<Client, InvalidRedisConfig> {
        let info = self.url.as_str().into_connection_info().map_err(|_| InvalidRedisConfig::Url)?;
        let mut login = info.redis_settings().clone();
        if login.password().is_some() {
            return Err(InvalidRedisConfig::PasswordInUrl);
        }
        if let Some(username) = &self.username {
            login = login.set_username(username);
        }
        if let Some(password) = &self.password {
            login = login.set_password(password.expose());
        }
        let info = info.set_redis_settings(login);
        match &self.ca_file {
            Some(file) => with_roots(info, file),
            None => Client::open(info).map_err(|_| InvalidRedisConfig::Url),
        }
    }
}

fn with_roots(info: ConnectionInfo, file: &Path) -> Result<Client, InvalidRedisConfig> {
    if !matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
        return Err(InvalidRedisConfig::CaFileWithoutTls);
    }
    let pem = std::fs::read(file).map_err(|_| InvalidRedisConfig::CaFile)?;
    Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert: Some(pem) })
        .map_err(|_| InvalidRedisConfig::CaFile)
}

#[cfg(test)]
mod tests {
    use super::*;

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
