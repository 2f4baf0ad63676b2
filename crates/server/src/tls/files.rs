//! Which files a listener reads, whoever calls there.

use std::path::PathBuf;

use crate::config::{Admin, Idp, Server};

/// A listener's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// What its certificate is called among those whose expiry is told.
    pub usage: &'static str,
    /// The certificate chain, PEM.
    pub cert_file: PathBuf,
    /// Its private key, PEM.
    pub key_file: PathBuf,
    /// Who signs its clients' certificates. Without it nobody is asked for one, and whoever calls must be known by
    /// something else.
    pub clients: Option<ClientFiles>,
    /// Whether TLS 1.2 is accepted beside 1.3.
    pub tls12: bool,
}

/// What a client certificate is verified with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFiles {
    /// The CAs, PEM.
    pub ca_file: PathBuf,
    /// Their revocation lists, PEM.
    pub crl_file: Option<PathBuf>,
}

impl Files {
    /// All of them.
    pub(super) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        let of_clients =
            self.clients.iter().flat_map(|clients| std::iter::once(&clients.ca_file).chain(&clients.crl_file));
        [&self.cert_file, &self.key_file].into_iter().chain(of_clients)
    }
}

impl From<&Server> for Files {
    fn from(server: &Server) -> Self {
        Self {
            usage: "server",
            cert_file: server.cert_file.clone(),
            key_file: server.key_file.clone(),
            clients: Some(ClientFiles {
                ca_file: server.client_ca_file.clone(),
                crl_file: server.client_crl_file.clone(),
            }),
            tls12: server.tls12,
        }
    }
}

impl From<&Admin> for Files {
    fn from(admin: &Admin) -> Self {
        Self {
            usage: "admin",
            cert_file: admin.cert_file.clone(),
            key_file: admin.key_file.clone(),
            clients: Some(ClientFiles {
                ca_file: admin.client_ca_file.clone(),
                crl_file: admin.client_crl_file.clone(),
            }),
            tls12: false,
        }
    }
}

impl From<&Idp> for Files {
    fn from(idp: &Idp) -> Self {
        Self {
            usage: "idp",
            cert_file: idp.cert_file.clone(),
            key_file: idp.key_file.clone(),
            clients: None,
            tls12: false,
        }
    }
}
