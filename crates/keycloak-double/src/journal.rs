//! A tally of what was asked, so that a test can say «no refresh token was ever sent twice» and mean it.

use std::collections::BTreeMap;

use aws_lc_rs::digest;

use crate::answer::Request;
use crate::grants::TOKEN_EXCHANGE;

/// What a request is for. The token endpoint is told apart by grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    /// The password grant.
    Login,
    /// The client credentials grant.
    ClientCredentials,
    /// The refresh grant.
    Refresh,
    /// Token exchange without `requested_subject`.
    Exchange,
    /// Token exchange with `requested_subject`.
    Impersonate,
    /// Introspection.
    Introspect,
    /// Revocation.
    Revoke,
    /// Logout.
    Logout,
    /// The public keys.
    Certs,
    /// The discovery document.
    Discovery,
    /// Anything else.
    Other,
}

impl Endpoint {
    /// Where a request is going.
    pub fn of(request: &Request) -> Self {
        let path = request.path.as_str();
        if path.ends_with("/.well-known/openid-configuration") {
            return Self::Discovery;
        }
        match path.rsplit_once("/protocol/openid-connect/").map(|(_, name)| name) {
            Some("certs") => Self::Certs,
            Some("token/introspect") => Self::Introspect,
            Some("revoke") => Self::Revoke,
            Some("logout") => Self::Logout,
            Some("token") => match request.field("grant_type") {
                Some("password") => Self::Login,
                Some("client_credentials") => Self::ClientCredentials,
                Some("refresh_token") => Self::Refresh,
                Some(TOKEN_EXCHANGE) if request.field("requested_subject").is_some() => Self::Impersonate,
                Some(TOKEN_EXCHANGE) => Self::Exchange,
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }
}

/// Counts of requests, by endpoint and, for the refresh grant, by refresh token.
#[derive(Debug, Clone, Default)]
pub struct RequestJournal {
    requests: BTreeMap<Endpoint, u64>,
    sends: BTreeMap<Vec<u8>, u32>,
}

impl RequestJournal {
    pub(crate) fn note(&mut self, request: &Request) {
        let endpoint = Endpoint::of(request);
        *self.requests.entry(endpoint).or_default() += 1;
        if let (Endpoint::Refresh, Some(token)) = (endpoint, request.field("refresh_token")) {
            *self.sends.entry(hash(token)).or_default() += 1;
        }
    }

    /// How many requests an endpoint had.
    pub fn requests(&self, endpoint: Endpoint) -> u64 {
        self.requests.get(&endpoint).copied().unwrap_or_default()
    }

    /// All requests together.
    pub fn total(&self) -> u64 {
        self.requests.values().sum()
    }

    /// How often this refresh token was sent to the refresh grant.
    pub fn sends_of(&self, refresh_token: &str) -> u32 {
        self.sends.get(&hash(refresh_token)).copied().unwrap_or_default()
    }

    /// How often the refresh token that was sent most often was sent: 1 where none was sent twice, 0 where none was.
    pub fn most_sends(&self) -> u32 {
        self.sends.values().copied().max().unwrap_or_default()
    }

    /// How many different refresh tokens were sent.
    pub fn distinct_refresh_tokens(&self) -> usize {
        self.sends.len()
    }
}

fn hash(token: &str) -> Vec<u8> {
    digest::digest(&digest::SHA256, token.as_bytes()).as_ref().to_vec()
}
