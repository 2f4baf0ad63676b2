//! Which headers are passed on, and what all filters of heads have in common.

use std::io;

/// The longest head where it is sifted: the request's line and all headers; with HTTP/2 as RFC 9113 §6.5.2 counts them.
pub(in crate::tls) const MAX_HEAD: usize = 64 * 1024;
/// No header that is passed on has a longer name.
pub(super) const LONGEST_NAME: usize = 64;

/// What hyper acts upon, or refuses.
const OF_THE_PROTOCOL: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The names of headers that are passed on.
#[derive(Debug, Clone, Copy)]
pub(super) struct PassedNames(pub(super) &'static [&'static str]);

impl PassedNames {
    pub(super) fn find(self, name: &[u8]) -> Option<&'static str> {
        let mut known = OF_THE_PROTOCOL.iter().chain(self.0);
        known.find(|known| known.as_bytes().eq_ignore_ascii_case(name)).copied()
    }
}

/// Of a name (RFC 9110 §5.6.2).
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

pub(super) fn broken(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
