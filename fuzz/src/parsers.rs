//! One function for each parser of outside bytes. It must not panic, whatever the bytes; what else must hold is asserted.
//!
//! The fuzz targets call these functions with what libFuzzer thinks of; `tests/tests/security/parsers.rs` calls them with the seeds
//! and with what proptest thinks of, so that `cargo test` alone keeps them true.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use axum::body::Body;
use axum::http::Request;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Collected};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokenvault_core::ids::{ClientId, Generation, JobId, JobKey, ModuleName, TenantId, UserId};
use tokenvault_core::ports::testing::ManualClock;
use tokenvault_core::ports::{Entropy, IdentityProvider, Introspection};
use tokenvault_core::record::{self, Acquisition, Fields};
use tokenvault_core::seal::{Keyring, SealContext, Sealed, SealedField};
use tokenvault_core::secret::{AccessToken, ClientSecret, RefreshToken};
use tokenvault_core::time::Timestamp;
use tokenvault_keycloak::answer;
use tokenvault_keycloak::{
    Credentials, HttpAnswer, HttpClient, HttpRequest, KeycloakProvider, Operation, TenantConfig, TransportFailure,
};
use tokenvault_server::api::{self, ApiContext, Jobs, ModuleCall};
use tokenvault_server::callers::{Action, CallerPolicy, Policy};
use tokenvault_server::config::{Config, Environment, ServerSection, parse_keyring};
use tokenvault_server::telemetry::metrics::Metrics;
use tokenvault_server::tls::{CertificateNames, Heads, Peer, Sifted};
use tokenvault_vault::jobs::{Caller, JobPage, ReadAnswer, ReadRequest, Registered, Registration};
use tokenvault_vault::journal::Unwritten;
use tokenvault_vault::problem::{Code, Problem};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tower::ServiceExt as _;

/// What parses bytes.
pub type Target = fn(&[u8]);

/// Every target's name and function; the seeds of each are in `fuzz/seeds/NAME`.
pub const TARGETS: &[(&str, Target)] = &[
    ("config", config),
    ("policy", policy),
    ("keyring", keyring),
    ("sealed", sealed),
    ("stored_record", stored_record),
    ("token", token),
    ("key_set", key_set),
    ("keycloak_answer", keycloak_answer),
    ("module_api", module_api),
    ("certificate", certificate),
    ("heads", heads),
];

fn known<T, E: std::fmt::Debug>(parsed: Result<T, E>) -> T {
    parsed.expect("a constant of this file")
}

/// The configuration. Lines such as `TOKENVAULT_SERVER__LISTEN=…` before a line `---` are the environment; what follows
/// another such line is the file with more tenants.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (environment, file) = text.split_once("\n---\n").unwrap_or(("", text));
    let (file, tenants) = file.split_once("\n---\n").unwrap_or((file, ""));
    let variables =
        environment.lines().filter_map(|line| line.split_once('=')).map(|(name, value)| (name, value.to_owned()));
    let environment = Environment::from_variables(variables);
    match Config::parse(file, Path::new("/nowhere/tokenvault.toml"), &environment) {
        Ok(config) => {
            let more = config.source.file().is_some();
            assert!(more || !config.tenants.is_empty(), "a configuration without tenants was taken");
            match config.source.parse(Some(tenants)) {
                Ok(tenants) => assert!(config.tenants.keys().all(|id| tenants.contains_key(id)), "a tenant was lost"),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// The policy of the modules.
pub fn policy(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Policy::parse(text) {
        Ok(policy) => assert!(policy.module(&CertificateNames::default()).is_none(), "a nameless caller is somebody"),
        Err(findings) => assert!(!findings.is_empty()),
    }
}

/// The keyring's file. What is wrong with it is told without its keys.
pub fn keyring(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match parse_keyring(text, "keyring.toml") {
        Ok(ring) => assert!(ring.ids().any(|id| id == ring.primary())),
        Err(finding) => assert!(!finding.to_string().is_empty()),
    }
}

struct Counting;

impl Entropy for Counting {
    fn fill(&self, out: &mut [u8]) {
        for (byte, at) in out.iter_mut().zip(0_u8..) {
            *byte = at;
        }
    }
}

/// Sealed tokens: as they are, and as changes of a good one. Only the good one opens.
pub fn sealed(data: &[u8]) {
    static RING: LazyLock<Keyring> =
        LazyLock::new(|| known(Keyring::new("k1", [("k1".to_owned(), vec![7; 32].into())])));
    let key = JobKey::new(known(TenantId::parse("diku")), known(JobId::parse("job")));
    let user = known(UserId::parse("user"));
    for associated_data in [None, Some(b"until noon".as_slice())] {
        let context = SealContext {
            key: &key,
            user: &user,
            generation: Some(Generation(3)),
            field: SealedField::Access,
            associated_data,
        };
        let good = RING.seal(context, "an access token", &Counting);
        let mut changed = good.as_bytes().to_vec();
        for change in data.chunks_exact(2) {
            let at = usize::from(change[0]) % changed.len();
            changed[at] ^= change[1];
        }
        for bytes in [data, &changed, &good.as_bytes()[..data.len().min(good.as_bytes().len())]] {
            let opened = RING.open(context, &Sealed::from_bytes(bytes.to_vec()));
            assert_eq!(opened.is_ok(), bytes == good.as_bytes(), "{bytes:02x?}");
        }
    }
}

/// A record as Redis keeps it: one field a line, `name=value`.
pub fn fields(data: &[u8]) -> Fields {
    let pairs = data.split(|byte| *byte == b'\n').filter_map(|line| {
        let at = line.iter().position(|byte| *byte == b'=')?;
        Some((String::from_utf8(line[..at].to_vec()).ok()?, line[at + 1..].to_vec()))
    });
    pairs.collect()
}

/// A stored record. What is read is written back as it was.
pub fn stored_record(data: &[u8]) {
    if let Ok(record) = record::decode(&fields(data)) {
        assert_eq!(record::decode(&record::encode(&record)), Ok(record));
    }
}

/// Half past noon of some day.
const NOON: Timestamp = Timestamp::from_secs(1_800_000_000);
const ISSUER: &str = "https://kc.example/realms/lab";

/// A realm's key.
static KEY: LazyLock<EcdsaKeyPair> = LazyLock::new(|| known(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)));

fn jwk() -> Value {
    let point = KEY.public_key().as_ref();
    let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..65]));
    json!({"kid": "k1", "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "x": x, "y": y})
}

/// The token that this realm would sign with such a header and such claims.
fn sign(header: &str, claims: &str) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = known(KEY.sign(&aws_lc_rs::rand::SystemRandom::new(), signed.as_bytes()));
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Keycloak, as far as it only hands out one key set.
struct KeySet(Vec<u8>);

#[async_trait]
impl HttpClient for KeySet {
    async fn send(&self, _: HttpRequest) -> Result<HttpAnswer, TransportFailure> {
        let body = Bytes::from(self.0.clone());
        Ok(HttpAnswer { status: 200, content_type: Some("application/json".to_owned()), body })
    }
}

fn tenant() -> TenantConfig {
    let secret = Credentials::Secret(ClientSecret::new("secret"));
    let mut tenant = known(TenantConfig::new(ISSUER, None, known(ClientId::parse("vault")), secret));
    tenant.accepted_clients.insert(known(ClientId::parse("ui")));
    tenant
}

/// Shows a token to whoever checks proofs and logout tokens, with this key set.
fn show(token: &str, keys: Vec<u8>) -> (bool, bool) {
    let lab = known(TenantId::parse("lab"));
    let directory = BTreeMap::from([(lab.clone(), Arc::new(tenant()))]);
    let (clock, http) = (Arc::new(ManualClock::at(NOON)), Arc::new(KeySet(keys)));
    let provider = KeycloakProvider::new(Arc::new(directory), http, clock, Arc::new(Counting));
    let proof = futures::executor::block_on(provider.verify(&lab, &AccessToken::new(token)));
    let logout = futures::executor::block_on(provider.verify_logout(&lab, token));
    (proof.is_ok(), logout.is_ok())
}

/// Proofs and logout tokens. `header`, a line end and `claims` are signed as the realm would; anything else is a token as it
/// is, which nobody signed.
pub fn token(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let keys = || json!({ "keys": [jwk()] }).to_string().into_bytes();
    assert_eq!(show(text, keys()), (false, false), "a token nobody signed");
    let Some((header, claims)) = text.split_once('\n') else { return };
    let verdict = show(&sign(header, claims), keys());
    let says = |text: &str, name: &str, value: &str| {
        serde_json::from_str::<Value>(text).is_ok_and(|read| read[name].as_str() == Some(value))
    };
    assert!(verdict == (false, false) || says(claims, "iss", ISSUER), "another issuer's");
    assert!(!verdict.0 || (says(claims, "typ", "Bearer") && says(claims, "azp", "ui")), "no access token of the UI's");
    assert!(!verdict.1 || !says(claims, "typ", "Bearer") || says(header, "typ", "logout+jwt"), "no logout token");
}

/// The realm's key set, with a token that its true key has signed.
pub fn key_set(data: &[u8]) {
    let claims = json!({
        "iss": ISSUER, "sub": "s-1", "sid": "sid-1", "azp": "ui", "typ": "Bearer",
        "iat": NOON.as_secs() - 10, "exp": NOON.as_secs() + 300, "scope": "openid",
    });
    let token = sign(r#"{"alg":"ES256","kid":"k1","typ":"JWT"}"#, &claims.to_string());
    assert_eq!(show(&token, data.to_vec()), (false, false), "a key that is not in the set");
    // With the true key among whatever else there is, the token is believed or the set is not a set at all.
    if let Ok(Value::Object(mut set)) = serde_json::from_slice(data)
        && let Some(Value::Array(keys)) = set.get_mut("keys")
        && keys.iter().all(|key| key["kid"] != "k1")
    {
        keys.push(jwk());
        assert_eq!(show(&token, Value::Object(set).to_string().into_bytes()), (true, false));
    }
}

/// What Keycloak may answer: the first line is the status and the content type, the rest the body.
pub fn keycloak_answer(data: &[u8]) {
    let at = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (head, body) = (String::from_utf8_lossy(&data[..at]).into_owned(), data.get(at + 1..).unwrap_or_default());
    let (status, content_type) = head.split_once(' ').unwrap_or((&head, ""));
    let status = status.parse().unwrap_or(200);
    let answer = || {
        let content_type = Some(content_type.to_owned()).filter(|text| !text.is_empty());
        Ok(HttpAnswer { status, content_type, body: Bytes::copy_from_slice(body) })
    };
    let tenant = tenant();
    for call in [Operation::Exchange, Operation::Refresh, Operation::Impersonate] {
        if let Ok(grant) = answer::grant(call, answer(), &tenant) {
            assert!(status == 200 && !grant.access.expose().is_empty() && !grant.refresh.expose().is_empty());
        }
    }
    if let Ok(grant) = answer::refreshed(answer(), &RefreshToken::new("sent"), &tenant) {
        assert!(status == 200 && !grant.access.expose().is_empty() && !grant.refresh.expose().is_empty());
    }
    let good =
        [answer::service_token(answer()).is_ok(), answer::revoked(answer()).is_ok(), answer::keys(answer()).is_ok()];
    assert!(status == 200 || good == [false; 3], "{status} was taken for a yes");
    assert!(status == 200 || answer::probe(answer()) != Ok(true), "{status} was taken for active");
    let introspected = answer::introspection(answer(), &tenant);
    assert!(status == 200 || !matches!(introspected, Ok(Introspection::Active(_))), "{status} was taken for active");
}

thread_local! {
    static RUNTIME: tokio::runtime::Runtime =
        known(tokio::runtime::Builder::new_current_thread().enable_all().build());
}

struct NoJobs;

#[async_trait]
impl Jobs for NoJobs {
    async fn register(&self, _: ModuleCall, _: JobId, _: Registration) -> Result<Registered, Problem> {
        Err(Problem::new(Code::JobConflict, "Reached."))
    }

    async fn read(&self, _: ModuleCall, _: &JobId, _: ReadRequest) -> Result<ReadAnswer, Problem> {
        Ok(ReadAnswer::NotModified(Generation(1)))
    }

    async fn release(&self, _: ModuleCall, _: JobId) -> Result<(), Problem> {
        Ok(())
    }

    async fn list(&self, _: ModuleCall, _: &UserId, _: Option<&JobId>, _: usize) -> Result<JobPage, Problem> {
        Ok(JobPage { jobs: Vec::new(), next: None })
    }
}

struct Everybody;

impl CallerPolicy for Everybody {
    fn admit(&self, _: &Peer, _: Option<&str>, _: Action) -> Result<Caller, Problem> {
        let (module, tenant) = (known(ModuleName::parse("mod-di")), known(TenantId::parse("diku")));
        Ok(Caller { module, tenant, acquisitions: [Acquisition::Exchange].into(), reads: true })
    }

    fn module(&self, _: &Peer) -> Option<ModuleName> {
        ModuleName::parse("mod-di").ok()
    }
}

/// A module's request: a line `METHOD /path?query`, lines `header: value`, an empty line, the body.
pub fn module_api(data: &[u8]) {
    let at = data.windows(2).position(|two| two == b"\n\n").unwrap_or(data.len());
    let (head, body) = (String::from_utf8_lossy(&data[..at]).into_owned(), data.get(at + 2..).unwrap_or_default());
    let mut lines = head.lines();
    let (method, path) = lines.next().and_then(|line| line.split_once(' ')).unwrap_or(("GET", "/"));
    let request = Request::builder().method(method).uri(path);
    let request = lines
        .filter_map(|line| line.split_once(':'))
        .fold(request, |request, (name, value)| request.header(name.trim(), value.trim()));
    let Ok(mut request) = request.body(Body::from(body.to_vec())) else { return };
    request.extensions_mut().insert(Peer::new(Vec::new().into()));
    let app = ApiContext {
        jobs: Arc::new(NoJobs),
        callers: Arc::new(Everybody),
        limits: Arc::new((&ServerSection { body_timeout: Duration::from_mins(1), ..ServerSection::default() }).into()),
        metrics: Arc::new(Metrics::new()),
        journal: Arc::new(Unwritten),
        clock: Arc::new(ManualClock::at(NOON)),
    };
    let answer = RUNTIME.with(|runtime| runtime.block_on(api::service(app).oneshot(request)));
    let status = answer.expect("the router never fails").status();
    assert!(!status.is_server_error(), "{method} {path}: {status}");
}

/// A client certificate's names.
pub fn certificate(data: &[u8]) {
    if let Ok(names) = CertificateNames::read(data) {
        let named = names.uri.is_some() || !names.dns.is_empty();
        assert!(!(named && names.cn.is_some()), "a common name beside a SAN counts");
    }
}

/// The headers that the listener of [`heads`] reads.
const KEPT: &[&str] = &["content-type", "x-okapi-tenant"];
/// Where bodies end and connections go on.
const FRAMING: &[&str] = &["connection", "content-length", "expect", "host", "transfer-encoding"];

/// A client that sends bytes, so many at a time, hangs up, and does not listen.
struct Client<'a> {
    left: &'a [u8],
    at_a_time: usize,
}

impl AsyncRead for Client<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (now, later) = self.left.split_at(self.left.len().min(self.at_a_time).min(buf.remaining()));
        buf.put_slice(now);
        self.left = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Client<'_> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A request as hyper shows it: its line, its headers, and its body if that came to its end.
#[derive(Debug, Default, PartialEq)]
struct Shown {
    line: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Option<Bytes>,
}

/// The requests that hyper finds on a connection.
fn requests(stream: impl AsyncRead + AsyncWrite + Unpin, http2: bool) -> Vec<Shown> {
    let shown = Arc::new(Mutex::new(Vec::new()));
    let service = service_fn(|request: Request<Incoming>| {
        let shown = Arc::clone(&shown);
        async move {
            let (parts, body) = request.into_parts();
            let headers = parts.headers.iter();
            let headers = headers.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
            let at = {
                let mut shown = known(shown.lock());
                shown.push(Shown { line: format!("{} {}", parts.method, parts.uri), headers, body: None });
                shown.len() - 1
            };
            let body = body.collect().await.ok().map(Collected::to_bytes);
            known(shown.lock())[at].body = body;
            Ok::<_, Infallible>(axum::http::Response::new(Body::empty()))
        }
    });
    let stream = TokioIo::new(stream);
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            // What it ends with does not matter here.
            if http2 {
                hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(stream, service)
                    .await
                    .ok()
            } else {
                // A client that hangs up is answered all the same: otherwise what is shown depends on who is quicker.
                let mut server = hyper::server::conn::http1::Builder::new();
                server.half_close(true).serve_connection(stream, service).await.ok()
            }
        })
    });
    std::mem::take(&mut *known(shown.lock()))
}

/// What is sent on a connection: the first byte says by its lowest bit whether that is HTTP/2, and with the others in how large
/// pieces it comes. Behind the sieve hyper finds the requests that it finds without, but for the headers that are left out.
pub fn heads(data: &[u8]) {
    let Some((first, sent)) = data.split_first() else { return };
    let (http2, at_a_time) = (first & 1 == 1, usize::from(first >> 1) + 1);
    let sent = if http2 { [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", sent].concat() } else { sent.to_vec() };
    let client = |at_a_time| Client { left: &sent, at_a_time };
    let sifted = |at_a_time| requests(Sifted::new(client(at_a_time), Heads::Sifted(KEPT), http2), http2);
    let (plain, whole, pieces) = (requests(client(sent.len()), http2), sifted(sent.len()), sifted(at_a_time));
    let read = |name: &str| KEPT.contains(&name) || FRAMING.contains(&name);
    if http2 {
        // Which streams are refused may differ: a value may be wrong that is left out, and headers may be too many.
        let placeholder = ("x".to_owned(), Vec::new());
        for (name, value) in [whole, pieces].iter().flatten().flat_map(|shown| &shown.headers) {
            let known = read(name) || ["te", "trailer"].contains(&name.as_str());
            assert!(known || (name, value) == (&placeholder.0, &placeholder.1), "{name} was passed on");
        }
        return;
    }
    let of = |all: Vec<Shown>| -> Vec<Shown> {
        let of_one = |shown: Shown| Shown {
            headers: shown.headers.into_iter().filter(|(name, _)| read(name)).collect(),
            ..shown
        };
        all.into_iter().map(of_one).collect()
    };
    let (plain, whole, pieces) = (of(plain), of(whole), of(pieces));
    assert_eq!(whole, pieces, "in pieces of {at_a_time}");
    // Headers that are left out are not too many, and may have more than one line: there may be more requests behind the sieve,
    // and never fewer, but where a body broke off. Trailers are judged before they are left out, or are not judged.
    let broken = plain.iter().zip(&whole).position(|(plain, whole)| plain.body.is_none() || whole.body.is_none());
    let alike = broken.unwrap_or(plain.len());
    assert_eq!(plain[..alike], whole[..alike.min(whole.len())], "then {:?}", whole.get(alike));
}
