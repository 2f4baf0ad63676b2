//! What this crate's unit tests share: a tenant, keys of their own, an HTTP client that answers from a script.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use aws_lc_rs::encoding::AsDer;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm as Common, EncodingKey};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokenvault_core::ids::{ClientId, TenantId};
use tokenvault_core::ports::testing::{ManualClock, SeededEntropy};
use tokenvault_core::ports::{Client, IdentityProvider, Proof, ProofError};
use tokenvault_core::secret::{AccessToken, ClientSecret};
use tokenvault_core::time::Timestamp;

use crate::http::{HttpAnswer, HttpClient, HttpRequest, HttpResult, TransportFailure};
use crate::provider::KeycloakProvider;
use crate::signature::{self, Algorithm};
use crate::tenant::{Credentials, TenantConfig};

pub(crate) const ISSUER: &str = "https://kc.example/realms/lab";

pub(crate) fn tenant() -> TenantConfig {
    let secret = Credentials::Secret(ClientSecret::new("secret"));
    let mut tenant = TenantConfig::new(ISSUER, None, ClientId::parse("vault").unwrap(), secret).unwrap();
    tenant.accepted_clients.insert(ClientId::parse("ui").unwrap());
    tenant
}

pub(crate) fn pem(der: &[u8]) -> String {
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der))
}

pub(crate) fn rsa_pem() -> String {
    let pair = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    pem(AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&pair).unwrap().as_ref())
}

/// A realm's signing key.
pub(crate) struct TestKey {
    pub(crate) kid: &'static str,
    pub(crate) key: EncodingKey,
    pub(crate) algorithm: Algorithm,
}

impl TestKey {
    fn rsa(kid: &'static str) -> Self {
        let key = EncodingKey::from_rsa_pem(rsa_pem().as_bytes()).unwrap();
        Self { kid, key, algorithm: Algorithm::Common(Common::RS256) }
    }

    /// The same key, signing with another of the algorithms it can.
    pub(crate) fn signing_with(&self, algorithm: Algorithm) -> Self {
        Self { kid: self.kid, key: self.key.clone(), algorithm }
    }

    pub(crate) fn ec(algorithm: Algorithm) -> Self {
        use aws_lc_rs::signature as s;
        let curve = match algorithm {
            Algorithm::Common(Common::ES256) => &s::ECDSA_P256_SHA256_FIXED_SIGNING,
            Algorithm::Common(_) => &s::ECDSA_P384_SHA384_FIXED_SIGNING,
            Algorithm::Es512 => &s::ECDSA_P521_SHA512_FIXED_SIGNING,
        };
        let der = s::EcdsaKeyPair::generate_pkcs8(curve, &aws_lc_rs::rand::SystemRandom::new()).unwrap();
        Self { kid: "ec", key: EncodingKey::from_ec_pem(pem(der.as_ref()).as_bytes()).unwrap(), algorithm }
    }

    pub(crate) fn ed() -> Self {
        let random = aws_lc_rs::rand::SystemRandom::new();
        let der = aws_lc_rs::signature::Ed25519KeyPair::generate_pkcs8v1(&random).unwrap();
        let key = EncodingKey::from_ed_pem(pem(der.as_ref()).as_bytes()).unwrap();
        Self { kid: "ed", key, algorithm: Algorithm::Common(Common::EdDSA) }
    }

    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = match self.algorithm {
            Algorithm::Common(common) => {
                serde_json::to_value(Jwk::from_encoding_key(&self.key, common).unwrap()).unwrap()
            }
            Algorithm::Es512 => {
                use aws_lc_rs::signature::{ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P521_SHA512_FIXED_SIGNING, self.key.as_bytes()).unwrap();
                let (x, y) = pair.public_key().as_ref()[1..].split_at(66);
                let [x, y] = [x, y].map(|number| URL_SAFE_NO_PAD.encode(number));
                json!({ "kty": "EC", "crv": "P-521", "alg": "ES512", "x": x, "y": y })
            }
        };
        jwk["kid"] = json!(self.kid);
        jwk["use"] = json!("sig");
        jwk
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.sign_with(&json!({ "typ": "JWT", "alg": self.algorithm.name(), "kid": self.kid }), claims)
    }

    /// With any header.
    pub(crate) fn sign_with(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = signature::sign(&signed, &self.key, self.algorithm).unwrap();
        format!("{signed}.{signature}")
    }
}

/// The realm's key.
pub(crate) static KEY: LazyLock<TestKey> = LazyLock::new(|| TestKey::rsa("k1"));
/// Another one.
pub(crate) static OTHER_KEY: LazyLock<TestKey> = LazyLock::new(|| TestKey::rsa("k2"));

/// A JWT with any header and a signature that is none.
pub(crate) fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{}", part(header), part(claims), URL_SAFE_NO_PAD.encode("x"))
}

#[allow(clippy::needless_pass_by_value, clippy::unnecessary_wraps, reason = "so that scripts read well")]
pub(crate) fn answer(status: u16, body: impl ToString) -> HttpResult {
    let body = Bytes::from(body.to_string());
    Ok(HttpAnswer { status, content_type: Some("application/json".to_owned()), body })
}

/// Answers from a script, and remembers what it was asked. Without a line left, the connection fails.
#[derive(Default)]
pub(crate) struct Script {
    answers: Mutex<VecDeque<HttpResult>>,
    pub(crate) asked: Mutex<Vec<HttpRequest>>,
}

impl Script {
    pub(crate) fn of(answers: impl IntoIterator<Item = HttpResult>) -> Self {
        Self { answers: Mutex::new(answers.into_iter().collect()), asked: Mutex::default() }
    }
}

#[async_trait]
impl HttpClient for Script {
    async fn send(&self, request: HttpRequest) -> Result<HttpAnswer, TransportFailure> {
        self.asked.lock().push(request);
        // Others get their turn, as they would during a real call.
        tokio::task::yield_now().await;
        self.answers.lock().pop_front().unwrap_or(Err(TransportFailure::Connect))
    }
}

/// Half past noon of some day.
pub(crate) const NOON: Timestamp = Timestamp::from_secs(1_800_000_000);

/// A provider with one tenant, `lab`, whose Keycloak answers from a script.
pub(crate) struct Bench {
    pub(crate) provider: KeycloakProvider,
    pub(crate) script: Arc<Script>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) lab: TenantId,
    pub(crate) client: Client,
}

impl Bench {
    pub(crate) fn new(answers: impl IntoIterator<Item = HttpResult>) -> Self {
        Self::with(tenant(), answers)
    }

    pub(crate) fn with(tenant: TenantConfig, answers: impl IntoIterator<Item = HttpResult>) -> Self {
        let lab = TenantId::parse("lab").unwrap();
        let client = Client { tenant: lab.clone(), id: tenant.client_id.clone() };
        let (script, clock) = (Arc::new(Script::of(answers)), Arc::new(ManualClock::at(NOON)));
        let directory = BTreeMap::from([(lab.clone(), Arc::new(tenant))]);
        let entropy = Arc::new(SeededEntropy::new(1));
        let provider = KeycloakProvider::new(Arc::new(directory), script.clone(), clock.clone(), entropy);
        Self { provider, script, clock, lab, client }
    }

    pub(crate) async fn verify(&self, token: &str) -> Result<Proof, ProofError> {
        self.provider.verify(&self.lab, &AccessToken::new(token)).await
    }

    pub(crate) fn asked(&self) -> usize {
        self.script.asked.lock().len()
    }
}

/// The answer of the key set's endpoint.
pub(crate) fn key_set(keys: impl IntoIterator<Item = Value>) -> HttpResult {
    answer(200, json!({ "keys": keys.into_iter().collect::<Vec<_>>() }))
}

/// The claims of a good proof, issued ten seconds ago.
pub(crate) fn good_claims() -> Value {
    json!({
        "iss": ISSUER,
        "sub": "s-1",
        "sid": "sid-1",
        "azp": "ui",
        "typ": "Bearer",
        "iat": NOON.as_secs() - 10,
        "exp": NOON.as_secs() + 300,
        "scope": "openid",
    })
}
