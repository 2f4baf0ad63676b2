//! Tokens as they travel: JWS compact serialization (RFC 7515) around [`IssuedClaims`]. Nothing here knows sessions.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::keys::{DoubleSigningKey, RealmSecret};

/// `typ` of an access token.
pub(crate) const BEARER: &str = "Bearer";
/// `typ` of a refresh token.
pub(crate) const REFRESH: &str = "Refresh";
/// `typ` of a refresh token that lives on without a login session.
pub(crate) const OFFLINE: &str = "Offline";
/// `typ` of an ID token.
pub(crate) const ID: &str = "ID";

pub(crate) fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What a token says. Claims that carry no rule here (names, mail, roles) travel in `extra`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct IssuedClaims {
    /// Seconds since the epoch; offline tokens have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) exp: Option<u64>,
    pub(crate) iat: u64,
    pub(crate) jti: String,
    pub(crate) iss: String,
    #[serde(default, skip_serializing_if = "Audience::is_empty")]
    pub(crate) aud: Audience,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sub: Option<String>,
    pub(crate) typ: String,
    pub(crate) azp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) scope: Option<String>,
    /// Names the chain a refresh token belongs to; only with rotation on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reuse_id: Option<String>,
    #[serde(flatten)]
    pub(crate) extra: Map<String, Value>,
}

impl IssuedClaims {
    /// Keycloak's clock is in whole seconds here: a token is alive throughout its last second.
    pub(crate) fn expired(&self, now_s: u64) -> bool {
        self.exp.is_some_and(|exp| now_s > exp)
    }

    /// A token from before a session began, with the second of grace that Keycloak gives.
    pub(crate) fn issued_before(&self, session_started_s: u64) -> bool {
        self.iat + 1 < session_started_s
    }

    pub(crate) fn chain(&self) -> String {
        self.reuse_id.clone().unwrap_or_default()
    }
}

/// `aud`: one string or several, absent when empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Audience(pub(crate) Vec<String>);

impl Audience {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn contains(&self, client: &str) -> bool {
        self.0.iter().any(|a| a == client)
    }

    pub(crate) fn add(&mut self, client: &str) {
        if !self.contains(client) {
            self.0.push(client.to_owned());
        }
    }
}

impl Serialize for Audience {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => one.serialize(serializer),
            many => many.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Audience {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum OneOrMany {
            One(String),
            Many(Vec<String>),
        }
        Ok(match OneOrMany::deserialize(deserializer)? {
            OneOrMany::One(one) => Self(vec![one]),
            OneOrMany::Many(many) => Self(many),
        })
    }
}

/// What Keycloak hides in an access token's `jti`: which kind of session the token belongs to and which grant made
/// it. Refresh tokens carry none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Online,
    Offline,
    /// No session was kept at all (client credentials).
    Transient,
    /// The user session is real, the client session was made for one answer.
    OnlineTransientClient,
    OfflineTransientClient,
    Unknown,
}

impl Origin {
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Online => "on",
            Self::Offline => "of",
            Self::Transient => "tr",
            Self::OnlineTransientClient => "nt",
            Self::OfflineTransientClient => "ft",
            Self::Unknown => "un",
        }
    }

    pub(crate) fn of_jti(jti: &str) -> Self {
        let Some((context, _)) = jti.split_once(':') else { return Self::Unknown };
        [Self::Online, Self::Offline, Self::Transient, Self::OnlineTransientClient, Self::OfflineTransientClient]
            .into_iter()
            .find(|o| context.starts_with(o.prefix()))
            .unwrap_or(Self::Unknown)
    }

    pub(crate) fn looks_online(self) -> bool {
        matches!(self, Self::Online | Self::OnlineTransientClient | Self::Unknown)
    }

    pub(crate) fn looks_offline(self) -> bool {
        matches!(self, Self::Offline | Self::OfflineTransientClient | Self::Unknown)
    }

    pub(crate) fn transient_client(self) -> bool {
        matches!(self, Self::OnlineTransientClient | Self::OfflineTransientClient)
    }
}

/// Whether a token was issued by the standard token exchange, which decides what its revocation takes along.
pub(crate) fn issued_by_exchange(jti: &str) -> bool {
    jti.split_once(':').is_some_and(|(context, _)| context.ends_with("te"))
}

/// Signs for the world.
pub(crate) fn sign(claims: &IssuedClaims, key: &DoubleSigningKey) -> String {
    serialize(key.algorithm(), key.kid(), claims, |m| key.sign(m))
}

/// Signs for the realm itself.
pub(crate) fn sign_hs512(claims: &IssuedClaims, secret: &RealmSecret) -> String {
    serialize("HS512", &secret.kid, claims, |m| secret.sign(m))
}

fn serialize(alg: &str, kid: &str, claims: &IssuedClaims, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let header = json!({"alg": alg, "typ": "JWT", "kid": kid}).to_string();
    let payload = serde_json::to_vec(claims).expect("claims are strings, numbers and JSON values, which all serialize");
    let message = format!("{}.{}", b64(header.as_bytes()), b64(&payload));
    let signature = b64(&sign(message.as_bytes()));
    format!("{message}.{signature}")
}

/// Reads a token that one of the realm's keys signed; `None` for anything else.
pub(crate) fn verify(token: &str, keys: &[DoubleSigningKey], secret: &RealmSecret) -> Option<IssuedClaims> {
    #[derive(Deserialize)]
    struct Header {
        alg: String,
        kid: String,
    }
    let (message, signature) = token.rsplit_once('.')?;
    let (header, payload) = message.split_once('.')?;
    let header: Header = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    let good = match header.alg.as_str() {
        "HS512" => secret.kid == header.kid && secret.verify(message.as_bytes(), &signature),
        alg => keys
            .iter()
            .any(|k| k.algorithm() == alg && k.kid() == header.kid && k.verify(message.as_bytes(), &signature)),
    };
    if !good {
        return None;
    }
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}
