//! Which files a listener reads, whoever calls there.

use std::path::{Path, PathBuf};

use crate::config::{AdminSection, IdpSection, ServerSection};
use crate::telemetry::metrics::ReloadedFile;

/// What is read again, and refused or taken up, by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FilePart {
    /// The listener's own certificate and its key.
    Certificate,
    /// Who signs its clients' certificates.
    Authorities,
    /// Which of those are revoked.
    Lists,
}

/// A listener's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerFiles {
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

impl ListenerFiles {
    /// All of them.
    pub(super) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        let of_clients =
            self.clients.iter().flat_map(|clients| std::iter::once(&clients.ca_file).chain(&clients.crl_file));
        [&self.cert_file, &self.key_file].into_iter().chain(of_clients)
    }

    /// The revocation lists' file, where there is one.
    pub(super) fn crl_file(&self) -> Option<&Path> {
        self.clients.as_ref()?.crl_file.as_deref()
    }

    /// The parts there are.
    pub(super) fn parts(&self) -> impl Iterator<Item = FilePart> {
        let of_clients = self.clients.as_ref().map(|_| FilePart::Authorities);
        let of_lists = self.crl_file().map(|_| FilePart::Lists);
        std::iter::once(FilePart::Certificate).chain(of_clients).chain(of_lists)
    }

    /// The file of a part, and the key of the configuration that names it.
    pub fn file(&self, part: FilePart) -> (&'static str, PathBuf) {
        let (key, file) = match (part, &self.clients) {
            (FilePart::Authorities, Some(clients)) => ("client_ca_file", &clients.ca_file),
            (FilePart::Lists, Some(ClientFiles { crl_file: Some(file), .. })) => ("client_crl_file", file),
            _ => ("cert_file", &self.cert_file),
        };
        (key, file.clone())
    }

    /// What a part is called where a change of it is refused.
    pub(super) fn reloaded(&self, part: FilePart) -> ReloadedFile {
        match (self.usage, part) {
            ("idp", _) => ReloadedFile::IdpCertificate,
            ("admin", FilePart::Certificate) => ReloadedFile::AdminCertificate,
            ("admin", FilePart::Authorities) => ReloadedFile::AdminClientCa,
            ("admin", FilePart::Lists) => ReloadedFile::AdminClientCrl,
            (_, FilePart::Certificate) => ReloadedFile::ServerCertificate,
            (_, FilePart::Authorities) => ReloadedFile::ServerClientCa,
            (_, FilePart::Lists) => ReloadedFile::ServerClientCrl,
        }
    }
}

impl From<&ServerSection> for ListenerFiles {
    fn from(server: &ServerSection) -> Self {
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

impl From<&AdminSection> for ListenerFiles {
    fn from(admin: &AdminSection) -> Self {
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

impl From<&IdpSection> for ListenerFiles {
    fn from(idp: &IdpSection) -> Self {
        Self {
            usage: "idp",
            cert_file: idp.cert_file.clone(),
            key_file: idp.key_file.clone(),
            clients: None,
            tls12: false,
        }
    }
}
