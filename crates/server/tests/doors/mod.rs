//! Requests that outlive their callers' patience or right: what goes on counts as under way, and whoever may no longer read
//! gets nothing for having waited.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use keycloak_double::{Endpoint, Fault};
use rustls_pki_types::CertificateDer;
use tokenvault_core::ids::ModuleName;
use tokenvault_core::record::Acquisition;
use tokenvault_server::api::{Allowance, ApiContext, ApiService, AuditedJobs, RequestLimits, service};
use tokenvault_server::callers::{Action, CallerPolicy};
use tokenvault_server::telemetry::metrics::Metrics;
use tokenvault_server::tls::Peer;
use tokenvault_vault::jobs::Caller;
use tokenvault_vault::journal::Unwritten;
use tokenvault_vault::problem::{Code, Problem};
use tower::ServiceExt;

use crate::stage::{LIFE, Login, Stage, caller, request};

/// Everybody is mod-di until the policy knows nobody any more.
struct Policy {
    knows: AtomicBool,
}

impl CallerPolicy for Policy {
    fn admit(&self, peer: &Peer, _: Option<&str>, _: Action) -> Result<Caller, Problem> {
        let unknown = || Problem::new(Code::CallerUnknown, "Nobody is known.");
        self.module(peer).map(|module| caller(module.as_str())).ok_or_else(unknown)
    }

    fn module(&self, _: &Peer) -> Option<ModuleName> {
        self.knows.load(Ordering::SeqCst).then(|| ModuleName::parse("mod-di").expect("a module"))
    }
}

struct Door {
    stage: Stage,
    policy: Arc<Policy>,
    requests: ApiService,
}

impl Door {
    /// A door with one place for each caller.
    async fn with_one_place(request_timeout: Duration) -> Self {
        let (stage, policy) = (Stage::set().await, Arc::new(Policy { knows: AtomicBool::new(true) }));
        let limits = RequestLimits {
            max_body: 64 * 1024,
            body_timeout: Duration::from_secs(5),
            request_timeout,
            max_concurrent_requests: 8,
            caller: Allowance {
                rate: 1_000,
                burst: 1_000,
                register_rate: 1_000,
                register_burst: 1_000,
                concurrency: 1,
            },
            default_wait: Duration::from_secs(5),
            max_wait: Duration::from_secs(30),
        };
        let callers = Arc::clone(&policy) as Arc<dyn CallerPolicy>;
        let journal = Arc::new(Unwritten);
        let app = ApiContext {
            jobs: Arc::new(AuditedJobs::new(Arc::clone(&stage.vault), Arc::clone(&callers), journal.clone())),
            callers,
            limits: Arc::new(limits),
            metrics: Arc::new(Metrics::new()),
            journal,
            clock: Arc::clone(&stage.services.clock),
        };
        Self { stage, policy, requests: service(app) }
    }

    async fn send(&self, method: &str, path: &str, body: String) -> Response {
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let mut request = request.body(Body::from(body)).expect("a request");
        request.extensions_mut().insert(Peer::new(CertificateDer::from(vec![1])));
        self.requests.clone().oneshot(request).await.expect("an answer")
    }

    async fn put(&self, job: &str, ui: &Login) -> StatusCode {
        let body = serde_json::json!({ "access_token": ui.access }).to_string();
        self.send("PUT", &format!("/tokens/{job}"), body).await.status()
    }

    async fn get(&self, path: &str) -> StatusCode {
        self.send("GET", path, String::new()).await.status()
    }

    async fn until_exchanging(&self) {
        while self.stage.keycloak.journal().requests(Endpoint::Exchange) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Another request is one too many until the registration, of which nobody waits for the answer, has come to its end.
    async fn assert_taken_until_it_is_done(&self) {
        assert_eq!(self.get("/tokens/a?wait=0").await, StatusCode::TOO_MANY_REQUESTS);
        let mut answer = StatusCode::TOO_MANY_REQUESTS;
        while answer == StatusCode::TOO_MANY_REQUESTS {
            tokio::time::sleep(Duration::from_millis(20)).await;
            answer = self.get("/tokens/a?wait=0").await;
        }
        assert_eq!(answer, StatusCode::OK, "the job is registered once the place is free");
    }
}

const STALL: Fault = Fault::Stall(Duration::from_millis(600));

#[tokio::test]
async fn a_registration_whose_caller_has_hung_up_keeps_its_place() {
    let door = Door::with_one_place(Duration::from_secs(30)).await;
    let ui = door.stage.login().await;
    door.stage.keycloak.faults().next(Endpoint::Exchange, STALL);
    tokio::select! {
        status = door.put("a", &ui) => panic!("answered {status}"),
        () = door.until_exchanging() => {}
    }
    door.assert_taken_until_it_is_done().await;
}

#[tokio::test]
async fn a_registration_that_took_too_long_keeps_its_place() {
    let door = Door::with_one_place(Duration::from_millis(400)).await;
    let ui = door.stage.login().await;
    door.stage.keycloak.faults().next(Endpoint::Exchange, STALL);
    assert_eq!(door.put("a", &ui).await, StatusCode::SERVICE_UNAVAILABLE);
    door.assert_taken_until_it_is_done().await;
}

#[tokio::test]
async fn a_module_that_is_taken_out_of_the_policy_while_it_waits_gets_no_token() {
    let door = Door::with_one_place(Duration::from_secs(30)).await;
    let ui = door.stage.login().await;
    door.stage.register("a", request(&ui, Acquisition::Exchange)).await.expect("a job");
    door.stage.keycloak.faults().next(Endpoint::Refresh, STALL);
    door.stage.pass(LIFE * 5);
    let taken_out = async {
        while door.stage.keycloak.journal().requests(Endpoint::Refresh) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        door.policy.knows.store(false, Ordering::SeqCst);
    };
    let (status, ()) = tokio::join!(door.get("/tokens/a?wait=4"), taken_out);
    assert_eq!(status, StatusCode::FORBIDDEN);
    door.policy.knows.store(true, Ordering::SeqCst);
    assert_eq!(door.get("/tokens/a?wait=4").await, StatusCode::OK, "the token was there");
}
