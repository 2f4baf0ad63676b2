//! How one server is reached, with the credentials of the moment.
//!
//! Password, authorities and client certificate are read from their files for each new connection. So they can be replaced while the
//! vault runs: open connections stay, and every later one shows what the files say by then.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, ErrorKind, IntoConnectionInfo, RedisConnectionInfo,
    RedisError, RedisResult, TlsCertificates,
};
use tokenvault_core::secret::ClientSecret;

use crate::config::RedisConfig;
use crate::error::InvalidRedisConfig;

/// Where a server listens.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerAddress {
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl ServerAddress {
    /// Parses `host:port`; an IPv6 address stands in brackets.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = port.parse().ok().filter(|port| *port != 0)?;
        (!host.is_empty()).then(|| Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Who connects.
#[derive(Clone, Debug, Default)]
pub(crate) struct Login {
    pub(crate) username: Option<String>,
    pub(crate) password: Option<ClientSecret>,
    pub(crate) password_file: Option<PathBuf>,
}

/// How a server is reached over TLS.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsFiles {
    pub(crate) ca_file: Option<PathBuf>,
    /// The client's certificate and its key.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
}

/// How one server is reached.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    address: ServerAddress,
    database: i64,
    tls: Option<TlsFiles>,
    login: Login,
    pub(crate) connect_timeout: Duration,
}

impl Connector {
    /// For the server that the URL of a configuration names.
    pub(crate) fn of_url(config: &RedisConfig) -> Result<Self, InvalidRedisConfig> {
        let info = config.url.as_str().into_connection_info().map_err(|_| InvalidRedisConfig::Url)?;
        if info.redis_settings().password().is_some() {
            return Err(InvalidRedisConfig::PasswordInUrl);
        }
        let (host, port, tls) = match info.addr() {
            ConnectionAddr::Tcp(host, port) => (host.clone(), *port, false),
            ConnectionAddr::TcpTls { host, port, .. } => (host.clone(), *port, true),
            _ => return Err(InvalidRedisConfig::Url),
        };
        let mut login = config.login();
        login.username = login.username.or_else(|| info.redis_settings().username().map(str::to_owned));
        let connector = Self::new(config, ServerAddress { host, port }, login, tls, info.redis_settings().db())?;
        connector.client_now()?;
        Ok(connector)
    }

    /// For another server of the same configuration.
    pub(crate) fn new(
        config: &RedisConfig,
        address: ServerAddress,
        login: Login,
        tls: bool,
        database: i64,
    ) -> Result<Self, InvalidRedisConfig> {
        if !tls && config.ca_file.is_some() {
            return Err(InvalidRedisConfig::CaFileWithoutTls);
        }
        if !tls && config.identity.is_some() {
            return Err(InvalidRedisConfig::CertificateWithoutTls);
        }
        let tls = tls.then(|| TlsFiles { ca_file: config.ca_file.clone(), identity: config.identity.clone() });
        Ok(Self { address, database, tls, login, connect_timeout: config.connect_timeout })
    }

    /// Where it leads.
    pub(crate) fn address(&self) -> &ServerAddress {
        &self.address
    }

    /// A client with the credentials of now.
    pub(super) async fn client(&self) -> RedisResult<Client> {
        let connector = self.clone();
        // On a thread where a disk that hangs holds up nobody else.
        let made = tokio::task::spawn_blocking(move || connector.client_now()).await;
        match made {
            Ok(client) => client.map_err(|_| unreadable()),
            Err(_) => Err(unreadable()),
        }
    }

    /// The same, with files read at once.
    pub(crate) fn client_now(&self) -> Result<Client, InvalidRedisConfig> {
        let ServerAddress { host, port } = self.address.clone();
        let address = match &self.tls {
            None => ConnectionAddr::Tcp(host, port),
            Some(_) => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
        };
        let mut login = RedisConnectionInfo::default().set_db(self.database);
        if let Some(username) = &self.login.username {
            login = login.set_username(username);
        }
        let from_file = self.login.password_file.as_deref().map(read_password).transpose()?;
        if let Some(password) = from_file.as_ref().or(self.login.password.as_ref()) {
            login = login.set_password(password.expose());
        }
        let info = address.into_connection_info().map_err(|_| InvalidRedisConfig::Url)?.set_redis_settings(login);
        let Some(files) = self.tls.as_ref().filter(|files| files.ca_file.is_some() || files.identity.is_some()) else {
            return Client::open(info).map_err(|_| InvalidRedisConfig::Url);
        };
        let read = |file: &PathBuf, problem| std::fs::read(file).map_err(|_| problem);
        let root_cert = files.ca_file.as_ref().map(|file| read(file, InvalidRedisConfig::CaFile)).transpose()?;
        let client_tls = match &files.identity {
            None => None,
            Some((certificate, key)) => Some(ClientTlsConfig {
                client_cert: read(certificate, InvalidRedisConfig::CertificateFile)?,
                client_key: read(key, InvalidRedisConfig::CertificateFile)?,
            }),
        };
        Client::build_with_tls(info, TlsCertificates { client_tls, root_cert }).map_err(|_| InvalidRedisConfig::CaFile)
    }
}

fn read_password(file: &std::path::Path) -> Result<ClientSecret, InvalidRedisConfig> {
    let text = zeroize::Zeroizing::new(std::fs::read_to_string(file).map_err(|_| InvalidRedisConfig::PasswordFile)?);
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() { Err(InvalidRedisConfig::PasswordFile) } else { Ok(ClientSecret::new(password)) }
}

/// Credentials that cannot be read are as good as wrong ones.
fn unreadable() -> RedisError {
    (ErrorKind::AuthenticationFailed, "the credentials cannot be read").into()
}

pub(super) fn connection_config(connect_timeout: Duration, response_timeout: Duration) -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(connect_timeout))
        .set_response_timeout(Some(response_timeout))
}
