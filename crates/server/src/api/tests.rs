//! The handlers on use cases that only take notes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::routing::get as get_route;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};
use tokenvault_core::ids::{Generation, JobId, ModuleName, TenantId, UserId};
use tokenvault_core::ports::testing::ManualClock;
use tokenvault_core::record::{Acquisition, OnLogout};
use tokenvault_core::secret::AccessToken;
use tokenvault_core::time::Timestamp;
use tokenvault_vault::jobs::{
    Caller, JobPage, JobView, LiveToken, ProvenBy, ReadAnswer, ReadRequest, Registered, Registration,
};
use tokenvault_vault::journal::{Act, Actor, Entry, Journal, NotRecorded};
use tokenvault_vault::problem::{Code, Problem};
use tower::ServiceExt;

use super::*;
use crate::callers::{Action, CallerPolicy};
use crate::telemetry::metrics::Metrics;
use crate::tls::Peer;
use crate::web::frame;

#[derive(Default)]
struct Notes {
    registered: Mutex<Vec<Registration>>,
    read: Mutex<Vec<ReadRequest>>,
    journal: Mutex<Vec<Entry>>,
}

struct Noted(Arc<Notes>);

#[async_trait]
impl Journal for Noted {
    async fn note(&self, entry: Entry) -> Result<(), NotRecorded> {
        self.record(entry);
        Ok(())
    }

    fn record(&self, entry: Entry) {
        self.0.journal.lock().push(entry);
    }
}

struct NotedJobs(Arc<Notes>);

#[async_trait]
impl Jobs for NotedJobs {
    async fn register(&self, _: ModuleCall, job: JobId, request: Registration) -> Result<Registered, Problem> {
        assert_ne!(job.as_str(), "panics", "told to");
        self.0.registered.lock().push(request);
        Ok(Registered { created: job.as_str() != "again", job: view(&job), proven_by: ProvenBy::AccessToken })
    }

    async fn read(&self, _: ModuleCall, job: &JobId, request: ReadRequest) -> Result<ReadAnswer, Problem> {
        self.0.read.lock().push(request);
        match request.known {
            Some(generation) => Ok(ReadAnswer::NotModified(generation)),
            None => Ok(ReadAnswer::Token(LiveToken {
                access_token: AccessToken::new("the-token"),
                expires_in: Duration::from_millis(9_900),
                expires_at: Timestamp::from_secs(1_700_000_000),
                scope: "openid".to_owned(),
                user_id: UserId::parse("u").expect("a user"),
                job_id: job.clone(),
                generation: Generation(7),
            })),
        }
    }

    async fn release(&self, _: ModuleCall, _: JobId) -> Result<(), Problem> {
        Ok(())
    }

    async fn list(&self, _: ModuleCall, _: &UserId, _: Option<&JobId>, _: usize) -> Result<JobPage, Problem> {
        Ok(JobPage { jobs: Vec::new(), next: None })
    }
}

fn view(job: &JobId) -> JobView {
    JobView {
        job_id: job.clone(),
        user_id: UserId::parse("u").expect("a user"),
        state: "active",
        reason: None,
        acquisition: Acquisition::Exchange,
        on_logout: OnLogout::Revoke,
        parent_job_id: None,
        registrar: ModuleName::parse("mod-di").expect("a module"),
        readers: Vec::new(),
        generation: Generation(1),
        created_at: Timestamp::from_secs(1_700_000_000),
        expires_at: Timestamp::from_secs(1_700_086_400),
        session_expires_at: None,
        session_id: None,
    }
}

struct Everybody;

impl CallerPolicy for Everybody {
    fn admit(&self, _: &Peer, tenant: Option<&str>, _: Action) -> Result<Caller, Problem> {
        let tenant = tenant.ok_or_else(|| Problem::new(Code::TenantMissing, "Name the tenant."))?;
        Ok(Caller {
            module: ModuleName::parse("mod-di").expect("a module"),
            tenant: TenantId::parse(tenant).map_err(|_| Problem::new(Code::TenantDenied, "Not yours."))?,
            acquisitions: [Acquisition::Exchange].into(),
            reads: true,
        })
    }

    fn module(&self, _: &Peer) -> Option<ModuleName> {
        ModuleName::parse("mod-di").ok()
    }
}

struct Stage {
    requests: ApiService,
    notes: Arc<Notes>,
}

fn stage() -> Stage {
    stage_with(Allowance { rate: 1_000, burst: 1_000, register_rate: 1_000, register_burst: 1_000, concurrency: 8 })
}

fn stage_with(caller: Allowance) -> Stage {
    stage_of(caller, Duration::from_millis(200))
}

fn stage_of(caller: Allowance, body_timeout: Duration) -> Stage {
    let notes = Arc::new(Notes::default());
    let limits = RequestLimits {
        max_body: 64 * 1024,
        body_timeout,
        request_timeout: Duration::from_secs(5),
        max_concurrent_requests: caller.concurrency.max(8),
        caller,
        default_wait: Duration::from_secs(5),
        max_wait: Duration::from_secs(30),
    };
    let app = ApiContext {
        jobs: Arc::new(NotedJobs(Arc::clone(&notes))),
        callers: Arc::new(Everybody),
        limits: Arc::new(limits),
        metrics: Arc::new(Metrics::new()),
        journal: Arc::new(Noted(Arc::clone(&notes))),
        clock: Arc::new(ManualClock::at(Timestamp::from_secs(1_700_000_000))),
    };
    Stage { requests: service(app), notes }
}

fn peer() -> Peer {
    Peer::new(CertificateDer::from(vec![1]))
}

async fn send(stage: &Stage, request: Request<Body>) -> (StatusCode, axum::http::HeaderMap, Value) {
    let mut request = request;
    request.extensions_mut().insert(peer());
    let answer = stage.requests.clone().oneshot(request).await.expect("an answer");
    let (parts, body) = answer.into_parts();
    let bytes = body.collect().await.expect("a body").to_bytes();
    (parts.status, parts.headers, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

fn call(method: &str, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path).header("x-okapi-tenant", "diku")
}

fn put(path: &str, body: impl Into<Body>) -> Request<Body> {
    call("PUT", path).header(header::CONTENT_TYPE, "application/json").body(body.into()).expect("a request")
}

fn get(path: &str) -> Request<Body> {
    call("GET", path).body(Body::empty()).expect("a request")
}

#[tokio::test]
async fn a_registration_is_parsed_and_answered_without_tokens() {
    let stage = stage();
    let body = json!({"access_token": "canary", "readers": ["mod-srm"], "on_logout": "revoke", "expires_at": "2030-01-01T00:00:00Z"});
    let (status, headers, answer) = send(&stage, put("/tokens/job-1", body.to_string())).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!((answer["job_id"].as_str(), answer["state"].as_str()), (Some("job-1"), Some("active")));
    assert!(!answer.to_string().contains("canary"));
    assert_eq!(headers[header::CACHE_CONTROL], "no-store");
    let registered = stage.notes.registered.lock().remove(0);
    assert_eq!(registered.access_token.as_ref().map(AccessToken::expose), Some("canary"));
    assert_eq!(registered.readers.map(|readers| readers.len()), Some(1));
    assert_eq!(send(&stage, put("/tokens/again", body.to_string())).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_child_needs_no_token_and_everybody_else_does() {
    let stage = stage();
    let child = json!({"parent_job_id": "job-1"});
    assert_eq!(send(&stage, put("/tokens/child", child.to_string())).await.0, StatusCode::CREATED);
    let registered = stage.notes.registered.lock().remove(0);
    assert!(registered.access_token.is_none() && registered.parent_job_id.is_some());
    for body in [json!({}), json!({"access_token": null, "user_id": "u"}), json!({"parent_job_id": null})] {
        let (status, _, answer) = send(&stage, put("/tokens/a", body.to_string())).await;
        assert_eq!((status, answer["code"].as_str()), (StatusCode::BAD_REQUEST, Some("invalid_request")), "{body}");
        let detail = answer["detail"].as_str().unwrap_or_default();
        assert!(detail.contains("access_token is missing") && detail.contains("parent_job_id"), "{detail}");
    }
    let (_, _, document) = send(&stage, get("/openapi.json")).await;
    let registration = &document["components"]["schemas"]["RegisterBody"];
    assert_eq!(registration["anyOf"][1]["required"], json!(["parent_job_id"]));
    assert_eq!(registration["required"], Value::Null);
}

#[tokio::test]
async fn what_callers_send_along_of_their_users_is_let_go_before_anybody_sees_it() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let inner = move |request: axum::extract::Request, _: axum::middleware::Next| {
        let names: Vec<String> = request.headers().keys().map(ToString::to_string).collect();
        noted.lock().push(names);
        async { StatusCode::FORBIDDEN }
    };
    let router = Router::new()
        .route("/", get_route(async || "never"))
        .layer(from_fn(inner))
        .layer(from_fn_with_state(Arc::new(Metrics::new()), frame));
    let names = ["x-okapi-token", "X-Okapi-Refresh-Token", "authorization", "proxy-authorization", "cookie"];
    let request = names.iter().fold(Request::get("/").header("x-okapi-tenant", "diku"), |request, name| {
        request.header(*name, "canary").header(*name, "another canary")
    });
    let answer = router.oneshot(request.body(Body::empty()).expect("a request")).await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert_eq!(*seen.lock(), [["x-okapi-tenant"]]);
}

#[tokio::test]
async fn a_read_gives_the_token_its_generation_as_etag_and_whole_seconds() {
    let stage = stage();
    let (status, headers, answer) = send(&stage, get("/tokens/job-1?min_ttl=5&wait=0")).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers[header::ETAG], "W/\"7\"");
    assert_eq!(headers[header::CACHE_CONTROL], "no-store");
    let expected = json!({"access_token": "the-token", "token_type": "Bearer", "expires_in": 9, "expires_at": "2023-11-14T22:13:20Z", "scope": "openid", "user_id": "u", "job_id": "job-1", "generation": 7});
    assert_eq!(answer, expected);
    let request = stage.notes.read.lock()[0];
    assert_eq!((request.min_ttl, request.wait), (Some(Duration::from_secs(5)), Duration::ZERO));
}

/// Plain reads have a way of their own to their handler; it must lead past the same things.
#[tokio::test]
async fn a_read_is_answered_the_same_on_the_short_way_and_through_the_router() {
    let reads = || {
        let headers = |request: axum::http::request::Builder| request.body(Body::empty()).expect("a request");
        [
            get("/tokens/job-1?min_ttl=5&wait=0"),
            get("/tokens/job-1?wait=31"),
            get("/tokens/.hidden"),
            headers(Request::get("/tokens/a").header("x-okapi-request-id", "folio/7")),
            headers(call("GET", "/tokens/a").header("x-okapi-tenant", "two").header("x-request-id", "id-1")),
            headers(call("GET", "/tokens/a").header("if-none-match", "W/\"7\"").header("x-request-id", "id-2")),
        ]
    };
    let (short, long) = (stage(), stage());
    for (mut on_the_short_way, mut through_the_router) in reads().into_iter().zip(reads()) {
        for request in [&mut on_the_short_way, &mut through_the_router] {
            request.extensions_mut().insert(peer());
            request.headers_mut().entry("x-okapi-request-id").or_insert("the-same".parse().expect("a value"));
        }
        let answers = [
            short.requests.clone().oneshot(on_the_short_way).await.expect("an answer"),
            long.requests.router().oneshot(through_the_router).await.expect("an answer"),
        ];
        let mut seen = Vec::new();
        for answer in answers {
            let (parts, body) = answer.into_parts();
            let body = body.collect().await.expect("a body").to_bytes();
            let headers: std::collections::BTreeMap<_, _> =
                parts.headers.iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
            seen.push((parts.status, headers, body));
        }
        // The length is written by the connection where the router has not done so.
        for (_, headers, _) in &mut seen {
            headers.remove("content-length");
        }
        assert_eq!(seen[0], seen[1]);
    }
    assert_eq!(format!("{:?}", short.notes.read.lock()), format!("{:?}", long.notes.read.lock()));
    let lines = |stage: &Stage| format!("{:?}", stage.notes.journal.lock());
    assert_eq!(lines(&short), lines(&long));
}

#[tokio::test]
async fn a_known_generation_is_not_sent_again() {
    let stage = stage();
    let request = call("GET", "/tokens/a")
        .header("if-none-match", "W/\"3\", \"7\", nonsense")
        .body(Body::empty())
        .expect("a request");
    let (status, headers, answer) = send(&stage, request).await;
    assert_eq!((status, answer), (StatusCode::NOT_MODIFIED, Value::Null));
    assert_eq!(headers[header::ETAG], "W/\"7\"");
}

#[tokio::test]
async fn every_refusal_is_a_problem_with_its_code() {
    let stage = stage();
    let ok = r#"{"access_token":"x"}"#;
    let plain = |body: &'static str| call("PUT", "/tokens/a").body(Body::from(body)).expect("a request");
    let cases: Vec<(Request<Body>, u16, &str)> = vec![
        (put("/tokens/.hidden", ok), 400, "invalid_request"),
        (put("/tokens/a%2Fb", ok), 400, "invalid_request"),
        (put(&format!("/tokens/{}", "x".repeat(129)), ok), 400, "invalid_request"),
        (put("/tokens/a", "nonsense"), 400, "invalid_request"),
        (put("/tokens/a", r#"{"access_token":"x","more":1}"#), 400, "invalid_request"),
        (put("/tokens/a", r#"{"access_token":"x","access_token":"y"}"#), 400, "invalid_request"),
        (put("/tokens/a", r#"{"access_token":7}"#), 400, "invalid_request"),
        (put("/tokens/a", "{}"), 400, "invalid_request"),
        (put("/tokens/a", r#"{"access_token":"x","expires_at":"tomorrow"}"#), 400, "invalid_request"),
        (put("/tokens/a", r#"{"access_token":"x","readers":["a b"]}"#), 400, "invalid_request"),
        (put("/tokens/a", format!(r#"{{"access_token":"{}"}}"#, "x".repeat(65_536))), 413, "content_too_large"),
        (plain(ok), 415, "unsupported_media_type"),
        (get("/tokens/a?min_ttl=-1"), 400, "invalid_request"),
        (get("/tokens/a?min_ttl=1.5"), 400, "invalid_request"),
        (get("/tokens/a?wait=31"), 400, "invalid_request"),
        (get("/tokens/a?wait=1&wait=2"), 400, "invalid_request"),
        (get("/tokens/a?else=1"), 400, "invalid_request"),
        (get("/tokens"), 400, "invalid_request"),
        (get("/tokens?user_id=u&limit=0"), 400, "invalid_request"),
        (get("/nothing"), 404, "not_found"),
        (get("/problems/nothing"), 404, "not_found"),
        (call("POST", "/tokens/a").body(Body::empty()).expect("a request"), 405, "method_not_allowed"),
        (Request::get("/tokens/a").body(Body::empty()).expect("a request"), 400, "tenant_missing"),
        (
            call("GET", "/tokens/a").header("x-okapi-tenant", "two").body(Body::empty()).expect("a request"),
            400,
            "invalid_request",
        ),
        (put("/tokens/panics", ok), 500, "internal"),
    ];
    for (request, status, code) in cases {
        let what = format!("{} {}", request.method(), request.uri());
        let (got, headers, body) = send(&stage, request).await;
        assert_eq!((got.as_u16(), body["code"].as_str()), (status, Some(code)), "{what}: {body}");
        assert_eq!(headers[header::CONTENT_TYPE], "application/problem+json", "{what}");
        assert_eq!(body["type"], format!("/problems/{code}"), "{what}");
        assert_eq!(body["status"], status, "{what}");
        assert!(body["title"].is_string() && body["detail"].is_string() && body["instance"].is_string(), "{what}");
    }
    assert!(stage.notes.registered.lock().is_empty(), "nothing reached the use cases");
}

#[tokio::test]
async fn a_refused_body_is_never_quoted() {
    let stage = stage();
    for body in [
        r#"{"access_token":["canary"]}"#,
        r#"{"access_token":"canary""#,
        r#"{"acquisition":"canary","access_token":"x"}"#,
    ] {
        let (_, _, answer) = send(&stage, put("/tokens/a", body)).await;
        assert!(!answer.to_string().contains("canary"), "{answer}");
    }
}

#[tokio::test]
async fn a_method_that_is_not_allowed_names_those_that_are() {
    let (_, headers, _) = send(&stage(), call("POST", "/tokens/a").body(Body::empty()).expect("a request")).await;
    let allow = headers[header::ALLOW].to_str().expect("text").to_owned();
    assert!(["GET", "PUT", "DELETE"].iter().all(|method| allow.contains(method)), "{allow}");
}

#[tokio::test]
async fn a_request_id_is_echoed_only_if_it_is_fit_to_be() {
    for (sent, echoed) in [("083332/authn", true), ("a b", false), (&*"x".repeat(129), false)] {
        let request =
            call("GET", "/tokens/a").header("x-okapi-request-id", sent).body(Body::empty()).expect("a request");
        let (_, headers, _) = send(&stage(), request).await;
        assert_eq!(headers["x-okapi-request-id"] == sent, echoed, "{sent}");
    }
}

#[tokio::test]
async fn a_connection_without_a_certificate_is_nobody() {
    let answer = stage().requests.oneshot(get("/tokens/a")).await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn every_problem_code_has_a_page_and_stands_in_the_description() {
    let stage = stage();
    for code in Code::ALL {
        let mut request = get(&format!("/problems/{}", code.as_str()));
        request.extensions_mut().insert(peer());
        let answer = stage.requests.clone().oneshot(request).await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK, "{}", code.as_str());
        let page = answer.into_body().collect().await.expect("a page").to_bytes();
        let page = String::from_utf8_lossy(&page);
        for word in crate::web::explanations::of(*code) {
            let heading = format!("\n{}: {}\n", word.member, word.word);
            assert_eq!(page.matches(&heading).count(), 1, "{}: {heading}", code.as_str());
            assert!(page.contains(word.means) && page.contains(word.how), "{}: {}", code.as_str(), word.word);
        }
    }
    let (status, _, document) = send(&stage, get("/openapi.json")).await;
    assert_eq!(status, StatusCode::OK);
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")));
    for (path, methods) in [
        ("/tokens/{job_id}", vec!["put", "get", "delete"]),
        ("/tokens", vec!["get"]),
        ("/problems/{code}", vec!["get"]),
    ] {
        for method in methods {
            assert!(document["paths"][path][method].is_object(), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_body_that_dawdles_is_given_up() {
    let stage = stage();
    let slow = Body::from_stream(futures::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
    let (status, _, body) = send(&stage, put("/tokens/a", slow)).await;
    assert_eq!((status, body["code"].as_str()), (StatusCode::BAD_REQUEST, Some("invalid_request")));
}

#[tokio::test]
async fn what_was_refused_before_it_came_to_a_use_case_is_recorded_once() {
    let stage = stage();
    let ok = r#"{"access_token":"x"}"#;
    let requests = [
        put("/tokens/a", "nonsense"),
        put("/tokens/a", ok),
        get("/tokens/a?wait=99"),
        Request::get("/tokens/b").body(Body::empty()).expect("a request"),
        call("HEAD", "/tokens/a?wait=99").body(Body::empty()).expect("a request"),
        get("/tokens"),
        get("/nothing"),
        get("/openapi.json"),
    ];
    for request in requests {
        send(&stage, request).await;
    }
    let recorded: Vec<String> = stage.notes.journal.lock().iter().map(shown).collect();
    let expected = [
        "register invalid_request diku/a",
        "read invalid_request diku/a",
        "read tenant_missing ",
        "read invalid_request diku/a",
        "list invalid_request ",
    ];
    assert_eq!(recorded, expected, "what the use cases are told they record themselves");
    assert!(stage.notes.journal.lock().iter().all(|entry| entry.request_id.is_some()));
    assert!(stage.notes.journal.lock().iter().all(|entry| entry.actor == Actor::Module("mod-di".to_owned())));
}

fn shown(entry: &Entry) -> String {
    let job = entry.job.as_ref().map(|key| format!("{}/{}", key.tenant, key.job)).unwrap_or_default();
    format!("{} {} {job}", entry.act.code(), entry.outcome)
}

#[tokio::test]
async fn nobody_is_recorded_as_unknown() {
    let stage = stage();
    stage.requests.clone().oneshot(get("/tokens/a")).await.expect("an answer");
    let entry = stage.notes.journal.lock().remove(0);
    assert_eq!((entry.act, entry.actor, entry.outcome), (Act::Read, Actor::Unknown, "caller_unknown"));
}

#[tokio::test]
async fn one_too_many_is_told_when_to_come_again_and_leaves_no_line() {
    let stage = stage_with(Allowance { rate: 1, burst: 2, register_rate: 1, register_burst: 2, concurrency: 8 });
    for _ in 0..2 {
        assert_eq!(send(&stage, get("/tokens/a")).await.0, StatusCode::OK);
    }
    let (status, headers, body) = send(&stage, get("/tokens/a")).await;
    assert_eq!((status, body["code"].as_str()), (StatusCode::TOO_MANY_REQUESTS, Some("too_many_requests")));
    assert_eq!(headers[header::RETRY_AFTER], "1");
    assert!(stage.notes.journal.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_caller_has_room_for_so_many_large_bodies_and_for_small_ones_always() {
    let allowance =
        Allowance { rate: 1_000, burst: 1_000, register_rate: 1_000, register_burst: 1_000, concurrency: 200 };
    let stage = stage_of(allowance, Duration::from_secs(2));
    let slow = |bytes: usize| {
        let first = futures::stream::iter([Ok::<_, std::io::Error>(bytes::Bytes::from(vec![b' '; bytes]))]);
        Body::from_stream(futures::StreamExt::chain(first, futures::stream::pending()))
    };
    let large = json!({"access_token": "x".repeat(60_000)}).to_string();
    // Each takes its room with its first bytes, when it is its turn, and gives it back when it is over.
    let mut held = futures::stream::FuturesUnordered::new();
    let full = loop {
        let mut waiting = put("/tokens/a", slow(60_000));
        waiting.extensions_mut().insert(peer());
        held.push(stage.requests.clone().oneshot(waiting));
        if held.len() % 2 == 0 {
            // Those that have their turn give it up after a moment. With one processor there are two turns.
            tokio::time::sleep(Duration::from_millis(12)).await;
        }
        assert!(futures::poll!(futures::StreamExt::next(&mut held)).is_pending(), "they hold what they have");
        let (status, headers, _) = send(&stage, put("/tokens/a", large.clone())).await;
        if status != StatusCode::CREATED {
            break (status, headers);
        }
    };
    assert_eq!(full.0, StatusCode::TOO_MANY_REQUESTS, "{}", held.len());
    assert_eq!(full.1[header::RETRY_AFTER], "1");
    assert!((60..80).contains(&held.len()), "{}", held.len());
    let small = json!({"access_token": "x".repeat(2_000)}).to_string();
    assert_eq!(send(&stage, put("/tokens/a", small)).await.0, StatusCode::CREATED);
    drop(held);
    assert_eq!(send(&stage, put("/tokens/a", large)).await.0, StatusCode::CREATED, "once they are over");
}

#[tokio::test]
async fn a_request_that_waits_keeps_its_place() {
    let stage =
        stage_with(Allowance { rate: 100, burst: 100, register_rate: 100, register_burst: 100, concurrency: 1 });
    let slow = Body::from_stream(futures::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
    let mut waiting = put("/tokens/a", slow);
    waiting.extensions_mut().insert(peer());
    let waiting = tokio::spawn(stage.requests.clone().oneshot(waiting));
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(send(&stage, get("/tokens/a")).await.0, StatusCode::TOO_MANY_REQUESTS);
    waiting.await.expect("a task").expect("an answer");
    assert_eq!(send(&stage, get("/tokens/a")).await.0, StatusCode::OK);
}

/// A body in pieces, and how many of them were taken.
fn counted(pieces: usize) -> (Body, Arc<AtomicUsize>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&taken);
    let pieces = futures::stream::iter((0..pieces).map(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        Ok::<_, std::io::Error>(bytes::Bytes::from_static(&[b' '; 1024]))
    }));
    (Body::from_stream(pieces), taken)
}

#[tokio::test]
async fn a_callers_body_is_taken_to_its_end_before_a_refusal_and_a_strangers_is_not_begun_with() {
    let permits = |concurrency| Allowance { rate: 9, burst: 9, register_rate: 9, register_burst: 9, concurrency };
    for (concurrency, path, kind, status) in [
        (9, "/tokens/a", "text/plain", StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (9, "/nothing", "application/json", StatusCode::NOT_FOUND),
        (9, "/tokens", "application/json", StatusCode::METHOD_NOT_ALLOWED),
        (0, "/tokens/a", "application/json", StatusCode::TOO_MANY_REQUESTS),
    ] {
        let stage = stage_with(permits(concurrency));
        let refused = |body| call("PUT", path).header(header::CONTENT_TYPE, kind).body(body).expect("a request");
        let (body, taken) = counted(50);
        assert_eq!(send(&stage, refused(body)).await.0, status);
        assert_eq!(taken.load(Ordering::SeqCst), 50, "{status}");

        let (body, taken) = counted(50);
        let answer = stage.requests.clone().oneshot(refused(body)).await.expect("an answer");
        assert!(answer.status().is_client_error(), "nobody knows who it is");
        assert_eq!(taken.load(Ordering::SeqCst), 0, "{status}");
    }
}

#[tokio::test]
async fn of_a_body_that_is_too_large_no_more_is_taken_than_twice_what_a_body_may_have() {
    let (body, taken) = counted(1_000);
    let (status, ..) = send(&stage(), put("/tokens/a", body)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let taken = taken.load(Ordering::SeqCst);
    assert!((128..=130).contains(&taken), "{taken}");
}
