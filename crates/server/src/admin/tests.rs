//! The handlers on use cases that only take notes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};
use tokenvault_core::ids::{
    ClientId, Generation, Incarnation, JobKey, ModuleName, ReplicaId, SessionId, Subject, TenantId, UserId,
};
use tokenvault_core::ports::{Census, Event, Pause, Resealing, Stored};
use tokenvault_core::record::{Pair, Record, RefreshSlot, SessionRef};
use tokenvault_core::seal::Sealed;
use tokenvault_core::secret::RefreshToken;
use tokenvault_core::time::Timestamp;
use tokenvault_vault::journal::{Entry, Journal, NotRecorded};
use tokenvault_vault::problem::{Code, Problem};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::guard::{MAX_REQUESTS, MAX_VIEWS, OperatorGuard};
use super::*;
use crate::telemetry::metrics::Metrics;
use crate::tls::Peer;
use crate::web::RequestPermits;

const SECRET: &str = "canary-refresh-token";
const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

/// What was asked of the use cases, in a word each.
#[derive(Default)]
struct Noted {
    acts: Mutex<Vec<String>>,
    queries: Mutex<Vec<JobsQuery>>,
    events: Mutex<Vec<Event>>,
}

impl Noted {
    fn note(&self, act: impl Into<String>) {
        self.acts.lock().push(act.into());
    }
}

struct NotedCommands(Arc<Noted>);

#[async_trait]
impl AdminCommands for NotedCommands {
    async fn status(&self) -> Result<VaultStatus, Problem> {
        Ok(VaultStatus {
            replica: replica(),
            now: NOW,
            replicas: Vec::new(),
            records: 3,
            census: Some(Census {
                active: 2,
                suspended: 1,
                releasing: 0,
                counted_at: Some(NOW - Duration::from_secs(8)),
            }),
            due: 1,
            promoted_key: None,
            pause: None,
            resealing: None,
        })
    }

    async fn jobs(&self, query: &JobsQuery) -> Result<JobsPage, Problem> {
        self.0.queries.lock().push(query.clone());
        Ok(JobsPage {
            jobs: vec![stored("job-1")],
            unreadable: 2,
            next: Some(Cursor::Walk("7".to_owned())),
            tenant_known: None,
        })
    }

    async fn job(&self, key: &JobKey) -> Result<Stored, Problem> {
        match key.job.as_str() {
            "none" => Err(Problem::new(Code::JobNotFound, "There is none.")),
            job => Ok(stored(job)),
        }
    }

    async fn renew(&self, key: &JobKey) -> Result<RequestedRenewal, Problem> {
        self.0.note(format!("renew {key}"));
        Ok(RequestedRenewal { owner: stored(key.job.as_str()), pause: None })
    }

    async fn revoke(&self, by: &OperatorCall, key: &JobKey) -> Result<Stored, Problem> {
        self.0.note(format!("revoke {key} by {} in {}", by.operator, by.request_id));
        Ok(stored(key.job.as_str()))
    }

    async fn revoke_user(&self, _: &OperatorCall, tenant: &TenantId, user: &UserId) -> Result<RevokedJobs, Problem> {
        self.0.note(format!("revoke {user} of {tenant}"));
        let job = |id: &str| stored(id).record.key.job;
        Ok(RevokedJobs { revoked: vec![job("job-1")], failed: vec![(job("job-2"), "store_unavailable")] })
    }

    async fn keys(&self, count: bool) -> Result<KeyOverview, Problem> {
        self.0.note(format!("keys {count}"));
        let held = KeyHolders {
            id: "k1".to_owned(),
            replicas: vec![replica()],
            missing: Vec::new(),
            wrong: Vec::new(),
            check: None,
            records: None,
        };
        Ok(KeyOverview { primary: Some("k1".to_owned()), promoted: false, keys: vec![held], counted_at: Some(NOW) })
    }

    async fn promote(&self, key: &str) -> Result<bool, Problem> {
        self.0.note(format!("promote {key}"));
        Ok(true)
    }

    async fn reseal(&self) -> Result<Resealing, Problem> {
        self.0.note("reseal");
        Ok(Resealing {
            key: "k1".to_owned(),
            started_at: NOW,
            finished_at: None,
            total: 9,
            seen: 0,
            resealed: 0,
            failed: 0,
            cursor: Some("not to be shown".to_owned()),
            worker: None,
        })
    }

    async fn resealing(&self) -> Result<Option<Resealing>, Problem> {
        Ok(None)
    }

    async fn pause(&self, by: &OperatorCall, time: Duration, reason: &str) -> Result<Pause, Problem> {
        self.0.note(format!("pause {} s: {reason}", time.as_secs()));
        Ok(Pause { since: NOW, until: NOW + time, by: by.operator.clone(), reason: reason.to_owned() })
    }

    async fn resume(&self, _: &OperatorCall) -> Result<bool, Problem> {
        self.0.note("resume");
        Ok(true)
    }

    async fn events(&self, after: Option<&str>, count: usize) -> Result<Vec<Event>, Problem> {
        let events = self.0.events.lock();
        let later = events.iter().filter(|event| after.is_none_or(|after| *event.id > *after)).cloned();
        let later: Vec<Event> = later.collect();
        let first = if after.is_none() { later.len().saturating_sub(count) } else { 0 };
        Ok(later.into_iter().skip(first).take(count).collect())
    }
}

fn replica() -> ReplicaId {
    ReplicaId::parse("replica-1").unwrap()
}

fn stored(job: &str) -> Stored {
    let sealed = || Sealed::from_bytes(SECRET.as_bytes().to_vec());
    let refresh = RefreshSlot {
        sealed: sealed(),
        hash: RefreshToken::new(SECRET).hash(),
        generation: Generation(4),
        expires_at: Some(NOW + Duration::from_hours(1)),
        sends: 0,
    };
    let pair = Pair {
        access: sealed(),
        access_expires_at: NOW + Duration::from_mins(5),
        issued_at: NOW,
        scope: "openid".to_owned(),
        rotated: false,
        epoch: None,
        refresh,
    };
    let record = Record {
        readers: [ModuleName::parse("mod-inventory").unwrap()].into(),
        expires_at: NOW + Duration::from_hours(24),
        keep_until: NOW + Duration::from_hours(48),
        generation: Generation(4),
        session: Some(SessionRef {
            sid: SessionId::parse("sid-1").unwrap(),
            client: ClientId::parse("tokenvault").unwrap(),
            incarnation: Incarnation(1),
        }),
        pair: Some(pair),
        access_life: Duration::from_mins(5),
        renew_at: Some(NOW + Duration::from_secs(150)),
        due_at: Some(NOW + Duration::from_secs(150)),
        ..Record::new(
            JobKey::new(TenantId::parse("diku").unwrap(), tokenvault_core::ids::JobId::parse(job).unwrap()),
            UserId::parse("user-1").unwrap(),
            Subject::parse("sub-1").unwrap(),
            ModuleName::parse("mod-di").unwrap(),
            NOW,
        )
    };
    Stored { record, fence: tokenvault_core::ids::Fence(2), leased_until: None }
}

/// Alice operates, everybody else who has a certificate views; who has none is nobody.
struct Alice;

impl OperatorPolicy for Alice {
    fn admit(&self, peer: &Peer, needed: Role) -> Result<String, OperatorRefusal> {
        match (peer.certificate().as_ref(), needed) {
            ([1], _) => Ok("alice".to_owned()),
            (_, Role::View) => Ok("bob".to_owned()),
            _ => Err(OperatorRefusal {
                operator: Some("bob".to_owned()),
                problem: Problem::new(Code::ActionDenied, "bob may view, not operate."),
            }),
        }
    }
}

/// Keeps what it is told, or cannot.
#[derive(Default)]
struct Told {
    entries: Mutex<Vec<Entry>>,
    broken: bool,
}

#[async_trait]
impl Journal for Told {
    async fn note(&self, entry: Entry) -> Result<(), NotRecorded> {
        if self.broken {
            return Err(NotRecorded);
        }
        self.record(entry);
        Ok(())
    }

    fn record(&self, entry: Entry) {
        self.entries.lock().push(entry);
    }
}

impl Told {
    fn lines(&self) -> Vec<String> {
        let line = |entry: &Entry| {
            let (_, name) = entry.actor.parts();
            let detail = entry.detail.clone().unwrap_or_default();
            let job = entry.job.as_ref().map(|job| format!(" {job}")).unwrap_or_default();
            format!("{} {detail}{job}: {}", name.unwrap_or("nobody"), entry.outcome)
        };
        self.entries.lock().iter().map(line).collect()
    }
}

struct Stage {
    router: Router,
    noted: Arc<Noted>,
    told: Arc<Told>,
    stop: CancellationToken,
}

fn stage_with(told: Told) -> Stage {
    let (noted, told, stop) = (Arc::new(Noted::default()), Arc::new(told), CancellationToken::new());
    let commands = Arc::new(NotedCommands(Arc::clone(&noted)));
    let context = AdminContext::new(commands, Arc::new(Alice), told.clone(), Arc::new(Metrics::new()), stop.clone());
    Stage { router: router(context), noted, told, stop }
}

fn stage() -> Stage {
    stage_with(Told::default())
}

const ALICE: u8 = 1;
const BOB: u8 = 2;

fn call(method: &str, path: &str, who: u8, body: impl Into<Body>) -> Request<Body> {
    let request = Request::builder().method(method).uri(path).header("x-request-id", "req-1");
    let request = request.header(header::CONTENT_TYPE, "application/json");
    let mut request = request.body(body.into()).unwrap();
    request.extensions_mut().insert(Peer::new(CertificateDer::from(vec![who])));
    request
}

async fn send(stage: &Stage, request: Request<Body>) -> (StatusCode, Value) {
    let answer = stage.router.clone().oneshot(request).await.unwrap();
    let status = answer.status();
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

async fn ask(stage: &Stage, method: &str, path: &str) -> (StatusCode, Value) {
    send(stage, call(method, path, ALICE, Body::empty())).await
}

#[tokio::test]
async fn a_job_is_shown_with_all_that_helps_and_nothing_that_is_secret() {
    let (status, job) = ask(&stage(), "GET", "/admin/v1/jobs/diku/job-1").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        (&job["job_id"], &job["generation"], &job["session"]["sid"]),
        (&json!("job-1"), &json!(4), &json!("sid-1"))
    );
    let shown = job.to_string();
    let hash = RefreshToken::new(SECRET).hash();
    assert!(!shown.contains("canary") && !shown.contains(&hash.to_string()), "{shown}");
    for secret in ["hash", "access", "refresh", "sealed"] {
        let named = job.as_object().unwrap().contains_key(secret);
        assert!(!named, "{secret}");
    }
}

#[tokio::test]
async fn a_list_is_asked_for_by_every_filter_and_goes_on_by_its_cursor() {
    let stage = stage();
    let path = "/admin/v1/jobs?tenant=diku&user_id=user-1&state=suspended&expiring_before=2023-11-14T22:13:20Z&limit=7";
    let (status, page) = ask(&stage, "GET", path).await;
    assert_eq!((status, &page["unreadable"]), (StatusCode::OK, &json!(2)));
    let next = page["next"].as_str().unwrap();
    ask(&stage, "GET", &format!("/admin/v1/jobs?after={next}")).await;
    let queries = stage.noted.queries.lock();
    assert_eq!(queries[0].filter.state, Some("suspended"));
    assert_eq!(queries[0].filter.tenant.as_ref().map(TenantId::as_str), Some("diku"));
    assert_eq!(queries[0].filter.user.as_ref().map(UserId::as_str), Some("user-1"));
    assert_eq!((queries[0].filter.expiring_before, queries[0].limit), (Some(NOW), 7));
    assert_eq!((&queries[1].after, queries[1].limit), (&Some(Cursor::Walk("7".to_owned())), 50));
}

#[tokio::test]
async fn counts_say_of_when_they_are() {
    let stage = stage();
    let (_, status) = ask(&stage, "GET", "/admin/v1/status").await;
    assert_eq!((&status["jobs"], &status["now"]), (&json!(3), &json!("2023-11-14T22:13:20Z")));
    let expected =
        json!({"active": 2, "suspended": 1, "releasing": 0, "total": 3, "counted_at": "2023-11-14T22:13:12Z"});
    assert_eq!(status["states"], expected);
    let (_, keys) = ask(&stage, "GET", "/admin/v1/keys").await;
    assert_eq!(keys["counted_at"], "2023-11-14T22:13:20Z");
}

#[tokio::test]
async fn who_may_view_may_not_operate_and_the_attempt_is_told() {
    let operating = [
        ("POST", "/admin/v1/jobs/diku/job-1/renew"),
        ("DELETE", "/admin/v1/jobs/diku/job-1"),
        ("DELETE", "/admin/v1/users/diku/user-1/jobs"),
        ("POST", "/admin/v1/keys/k2/promote"),
        ("POST", "/admin/v1/reseal"),
        ("POST", "/admin/v1/pause"),
        ("POST", "/admin/v1/resume"),
    ];
    let viewing = ["status", "jobs", "jobs/diku/job-1", "keys", "reseal", "events?follow=false"];
    let stage = stage();
    for (method, path) in operating {
        let (status, problem) = send(&stage, call(method, path, BOB, r#"{"seconds":1,"reason":"x"}"#)).await;
        assert_eq!((status.as_u16(), &problem["code"]), (403, &json!("action_denied")), "{method} {path}");
    }
    assert!(stage.noted.acts.lock().is_empty(), "nothing was done");
    assert_eq!(stage.told.lines()[0], "bob POST /admin/v1/jobs/{tenant}/{job_id}/renew: action_denied");
    assert_eq!(stage.told.lines().len(), operating.len());
    for path in viewing {
        let (status, _) = send(&stage, call("GET", &format!("/admin/v1/{path}"), BOB, Body::empty())).await;
        assert_eq!(status, StatusCode::OK, "{path}");
    }
    for (method, path) in operating {
        let (status, body) = send(&stage, call(method, path, ALICE, r#"{"seconds":1,"reason":"x"}"#)).await;
        assert!(status.is_success(), "{method} {path}: {body}");
    }
}

#[tokio::test]
async fn a_connection_without_a_certificate_is_nobody() {
    let stage = stage();
    let mut request = call("GET", "/admin/v1/status", ALICE, Body::empty());
    request.extensions_mut().remove::<Peer>();
    let (status, problem) = send(&stage, request).await;
    assert_eq!((status.as_u16(), &problem["code"]), (403, &json!("caller_unknown")));
    assert_eq!(stage.told.lines(), ["nobody GET /admin/v1/status: caller_unknown"]);
}

#[tokio::test]
async fn an_act_is_told_before_it_is_done_and_after_under_the_operators_name() {
    let stage = stage();
    let (status, _) = ask(&stage, "DELETE", "/admin/v1/jobs/diku/job-1").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(*stage.noted.acts.lock(), ["revoke diku:job-1 by alice in req-1"]);
    assert_eq!(stage.told.lines(), ["alice jobs revoke diku:job-1: asked", "alice jobs revoke diku:job-1: ok"]);
    ask(&stage, "GET", "/admin/v1/jobs/diku/none").await;
    assert_eq!(stage.told.lines()[2..], ["alice jobs show diku:none: job_not_found"]);
}

#[tokio::test]
async fn what_cannot_be_recorded_is_neither_done_nor_shown() {
    let stage = stage_with(Told { broken: true, ..Told::default() });
    for (method, path) in
        [("DELETE", "/admin/v1/jobs/diku/job-1"), ("GET", "/admin/v1/jobs"), ("POST", "/admin/v1/resume")]
    {
        let (status, body) = ask(&stage, method, path).await;
        assert!(status.is_server_error() && body.get("jobs").is_none(), "{method} {path}: {body}");
    }
    assert!(stage.noted.acts.lock().is_empty());
}

#[tokio::test]
async fn every_refusal_is_a_problem_with_its_code() {
    let stage = stage();
    let pause = |body: &str| call("POST", "/admin/v1/pause", ALICE, body.to_owned());
    let get = |path: &str| call("GET", path, ALICE, Body::empty());
    let cases = [
        (get("/admin/v1/jobs?state=asleep"), 400, "invalid_request"),
        (get("/admin/v1/jobs?limit=0"), 400, "invalid_request"),
        (get("/admin/v1/jobs?limit=501"), 400, "invalid_request"),
        (get("/admin/v1/jobs?expiring_before=tomorrow"), 400, "invalid_request"),
        (get("/admin/v1/jobs?after=junk"), 400, "invalid_request"),
        (get("/admin/v1/jobs?tenant=a/b"), 400, "invalid_request"),
        (get("/admin/v1/jobs?else=1"), 400, "invalid_request"),
        (get("/admin/v1/jobs/di.ku/job"), 400, "invalid_request"),
        (get("/admin/v1/jobs/diku/none"), 404, "job_not_found"),
        (get("/admin/v1/keys?count=perhaps"), 400, "invalid_request"),
        (get("/admin/v1/events?after=junk"), 400, "invalid_request"),
        (call("POST", "/admin/v1/keys/a%20b/promote", ALICE, Body::empty()), 400, "invalid_request"),
        (pause(r#"{"seconds":0,"reason":"x"}"#), 400, "invalid_request"),
        (pause(r#"{"seconds":86401,"reason":"x"}"#), 400, "invalid_request"),
        (pause(r#"{"seconds":5,"reason":" "}"#), 400, "invalid_request"),
        (pause(r#"{"seconds":5,"reason":"two\nlines"}"#), 400, "invalid_request"),
        (pause(r#"{"seconds":5}"#), 400, "invalid_request"),
        (pause(&format!(r#"{{"seconds":5,"reason":"{}"}}"#, "x".repeat(5000))), 413, "content_too_large"),
        (get("/admin/v1/nothing"), 404, "not_found"),
        (get("/tokens/job-1"), 404, "not_found"),
        (call("PUT", "/admin/v1/status", ALICE, Body::empty()), 405, "method_not_allowed"),
    ];
    for (request, status, code) in cases {
        let what = format!("{} {}", request.method(), request.uri());
        let (got, body) = send(&stage, request).await;
        assert_eq!((got.as_u16(), body["code"].as_str()), (status, Some(code)), "{what}: {body}");
    }
    assert!(stage.noted.acts.lock().is_empty(), "nothing reached the use cases");
}

#[tokio::test]
async fn a_pause_has_an_end_and_says_who_and_why() {
    let stage = stage();
    let request = call("POST", "/admin/v1/pause", ALICE, r#"{"seconds":600,"reason":"Keycloak is being upgraded"}"#);
    let (status, pause) = send(&stage, request).await;
    let expected = json!({"since": "2023-11-14T22:13:20Z", "until": "2023-11-14T22:23:20Z", "by": "alice", "reason": "Keycloak is being upgraded"});
    assert_eq!((status, pause), (StatusCode::OK, expected));
}

#[tokio::test]
async fn a_resealing_is_shown_without_what_is_the_stores_business() {
    let stage = stage();
    let (status, started) = ask(&stage, "POST", "/admin/v1/reseal").await;
    assert_eq!((status, &started["state"], &started["total"]), (StatusCode::ACCEPTED, &json!("running"), &json!(9)));
    assert!(started.get("cursor").is_none());
    assert_eq!(ask(&stage, "GET", "/admin/v1/reseal").await.1["state"], "none");
}

fn event(id: &str, kind: &str) -> Event {
    let (tenant, job, reason) = (None, None, None);
    Event { id: id.to_owned(), at: NOW, kind: kind.to_owned(), tenant, job, reason, replica: replica() }
}

async fn streamed(stage: &Stage, path: &str) -> Vec<String> {
    let answer = stage.router.clone().oneshot(call("GET", path, BOB, Body::empty())).await.unwrap();
    assert_eq!(answer.headers()[header::CONTENT_TYPE], "text/event-stream");
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    text.lines().filter_map(|line| line.strip_prefix("id: ").map(str::to_owned)).collect()
}

#[tokio::test]
async fn events_come_from_behind_the_one_that_was_seen_last() {
    let stage = stage();
    *stage.noted.events.lock() = vec![event("1-0", "renewed"), event("2-0", "ended"), event("3-0", "paused")];
    assert_eq!(streamed(&stage, "/admin/v1/events?follow=false&after=1-0").await, ["2-0", "3-0"]);
    assert_eq!(streamed(&stage, "/admin/v1/events?follow=false&recent=1").await, ["3-0"]);
    assert!(streamed(&stage, "/admin/v1/events?follow=false").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_stream_shows_what_happens_and_ends_with_the_vault() {
    let stage = stage();
    *stage.noted.events.lock() = vec![event("1-0", "renewed")];
    let stream = streamed(&stage, "/admin/v1/events");
    let happening = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        stage.noted.events.lock().push(event("2-0", "ended"));
        tokio::time::sleep(Duration::from_secs(20)).await;
        stage.stop.cancel();
    };
    let (seen, ()) = tokio::join!(stream, happening);
    assert_eq!(seen, ["2-0"]);
}

#[tokio::test]
async fn the_description_names_every_route_and_every_problem_has_a_page() {
    let stage = stage();
    let (status, document) = ask(&stage, "GET", "/openapi.json").await;
    assert_eq!(status, StatusCode::OK);
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")));
    for (path, methods) in [
        ("/admin/v1/status", &["get"][..]),
        ("/admin/v1/jobs", &["get"]),
        ("/admin/v1/jobs/{tenant}/{job_id}", &["get", "delete"]),
        ("/admin/v1/jobs/{tenant}/{job_id}/renew", &["post"]),
        ("/admin/v1/users/{tenant}/{user_id}/jobs", &["delete"]),
        ("/admin/v1/keys", &["get"]),
        ("/admin/v1/keys/{id}/promote", &["post"]),
        ("/admin/v1/reseal", &["get", "post"]),
        ("/admin/v1/pause", &["post"]),
        ("/admin/v1/resume", &["post"]),
        ("/admin/v1/events", &["get"]),
        ("/problems/{code}", &["get"]),
    ] {
        for method in methods {
            assert!(document["paths"][path][method].is_object(), "{method} {path}");
        }
    }
    assert_eq!(document["paths"].as_object().unwrap().len(), 12);
    assert_eq!(ask(&stage, "GET", "/problems/key_not_held").await.0, StatusCode::OK);
}

#[test]
fn whoever_looks_takes_no_place_that_is_kept_for_those_who_operate() {
    let guard = OperatorGuard::new(Arc::new(Alice));
    let enter = |method, who| guard.enter(&call(method, "/admin/v1/jobs/diku/a", who, Body::empty()));
    let mut looking: Vec<RequestPermits> = (0..MAX_VIEWS).map(|_| enter("GET", ALICE).expect("a place")).collect();
    assert!(enter("GET", ALICE).is_none());
    assert!(enter("DELETE", BOB).is_none(), "bob may not operate, whatever he asks for");
    let operating: Vec<RequestPermits> =
        (MAX_VIEWS..MAX_REQUESTS).map(|_| enter("DELETE", ALICE).expect("a place")).collect();
    assert!(enter("DELETE", ALICE).is_none());
    looking.pop();
    assert!(enter("GET", BOB).is_some());
    drop(operating);
}

#[tokio::test]
async fn an_operators_body_is_taken_to_its_end_before_a_refusal_and_a_strangers_is_not_begun_with() {
    let stage = stage_with(Told::default());
    for (peer, expected) in [(Some(vec![2]), 50), (None, 0)] {
        let taken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&taken);
        let pieces = futures::stream::iter((0..50).map(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            Ok::<_, std::io::Error>(bytes::Bytes::from_static(&[b' '; 1024]))
        }));
        let mut request = Request::post("/admin/v1/pause").body(Body::from_stream(pieces)).expect("a request");
        if let Some(certificate) = peer {
            request.extensions_mut().insert(Peer::new(CertificateDer::from(certificate)));
        }
        let answer = stage.router.clone().oneshot(request).await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        assert_eq!(taken.load(Ordering::SeqCst), expected);
    }
}
