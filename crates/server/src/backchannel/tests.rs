//! The listener on a store in memory; what a logout token is worth is said by a list.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::{Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokenvault_core::ids::{
    AttemptId, ClientId, Incarnation, JobId, JobKey, ModuleName, ReplicaId, SessionId, SessionKey, Shard, Subject,
    UserId,
};
use tokenvault_core::memory::MemoryStore;
use tokenvault_core::policy::Settings;
use tokenvault_core::ports::testing::{ManualClock, SeededEntropy};
use tokenvault_core::ports::{Claim, Client, Clock, JobStore, SessionStore, UserStore, Write};
use tokenvault_core::record::{Acquisition, OnLogout, Record, SessionRef};
use tokenvault_core::seal::Keyring;
use tokenvault_core::time::Timestamp;
use tokenvault_keycloak::{HttpSettings, ReqwestClient, TrustAnchors};
use tokenvault_vault::keyring::KeyringState;
use tokenvault_vault::observer::Unobserved;
use tokenvault_vault::tenants::{TenantRegistry, TenantRules, Tenants};
use tokenvault_vault::wake::Wake;
use tower::ServiceExt;
use zeroize::Zeroizing;

use super::*;

const NOON: Timestamp = Timestamp::from_secs(1_800_000_000);
/// From the answer to the first look.
const FIRST_LOOK: Duration = Duration::from_millis(300);
const LATER: Duration = Duration::from_mins(5);

/// Knows tokens by heart, and counts how often it is asked.
#[derive(Default)]
struct ByHeart {
    known: HashMap<&'static str, Result<LogoutToken, LogoutError>>,
    asked: AtomicUsize,
}

#[async_trait]
impl LogoutTokens for ByHeart {
    async fn verify(&self, _: &TenantId, token: &str) -> Result<LogoutToken, LogoutError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        assert_ne!(token, "panics", "told to");
        self.known.get(token).cloned().unwrap_or(Err(ProofError::Signature.into()))
    }
}

struct Stage {
    router: Router,
    tenants: Arc<Tenants>,
    store: Arc<MemoryStore>,
    clock: Arc<ManualClock>,
    tokens: Arc<ByHeart>,
    metrics: Arc<Metrics>,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }
}

fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).expect("a tenant")
}

fn client(id: &str) -> ClientId {
    ClientId::parse(id).expect("a client")
}

fn session(sid: &str, client_id: &str) -> SessionKey {
    SessionKey { tenant: tenant("diku"), sid: SessionId::parse(sid).expect("a session"), client: client(client_id) }
}

fn key(job: &str) -> JobKey {
    JobKey::new(tenant("diku"), JobId::parse(job).expect("a job"))
}

fn said(id: &str, sid: Option<&str>, sub: Option<&str>) -> LogoutToken {
    LogoutToken {
        id: id.to_owned(),
        sid: sid.map(|sid| SessionId::parse(sid).expect("a session")),
        subject: sub.map(|sub| Subject::parse(sub).expect("a subject")),
        stale_at: NOON + Duration::from_mins(2),
    }
}

fn rules(name: &str, user_id_claim: &str) -> TenantRules {
    TenantRules {
        client: Client { tenant: tenant(name), id: client("vault") },
        user_id_claim: user_id_claim.to_owned(),
        acquisition: Acquisition::Exchange,
        on_logout: OnLogout::Revoke,
        default_job_life: Duration::from_hours(24),
        max_job_life: Duration::from_hours(24),
        max_children: 10,
        max_jobs_per_user: 1_000,
        max_records_per_module: 100_000,
        acquisitions: Acquisition::ALL.into(),
        adopt_clients: [client("legacy")].into(),
        renewal: Settings::default(),
    }
}

fn services(store: &Arc<MemoryStore>, clock: &Arc<ManualClock>, tenants: &Arc<Tenants>) -> Services {
    let http = ReqwestClient::new(&HttpSettings { trust: TrustAnchors::Nobody, ..HttpSettings::default() });
    let directory = std::collections::BTreeMap::new();
    let idp = KeycloakProvider::new(
        Arc::new(directory),
        Arc::new(http.expect("a client")),
        clock.clone(),
        Arc::new(SeededEntropy::new(1)),
    );
    let sealing = ("k1".to_owned(), Zeroizing::new(vec![7; 32]));
    Services {
        store: store.clone(),
        fleet: store.clone(),
        idp: Arc::new(idp),
        keyring: Arc::new(KeyringState::fixed(Keyring::new("k1", [sealing]).expect("a keyring"))),
        replica: Arc::default(),
        clock: clock.clone(),
        entropy: Arc::new(SeededEntropy::new(1)),
        tenants: Arc::clone(tenants) as Arc<dyn TenantRegistry>,
        wake: Arc::new(Wake::default()),
        observer: Arc::new(Unobserved),
        journal: Arc::new(tokenvault_vault::journal::Unwritten),
    }
}

impl Stage {
    fn set() -> Self {
        Self::with(&IdpSection::default())
    }

    fn with(section: &IdpSection) -> Self {
        let clock = Arc::new(ManualClock::at(NOON));
        let store = Arc::new(MemoryStore::new(clock.clone()));
        let known = HashMap::from([
            ("of-sid-1", Ok(said("a", Some("sid-1"), Some("user-1")))),
            ("of-sid-1-again", Ok(said("b", Some("sid-1"), None))),
            ("of-sid-9", Ok(said("c", Some("sid-9"), None))),
            ("of-user-1", Ok(said("d", None, Some("user-1")))),
            ("away", Err(ProofError::KeysUnavailable.into())),
            ("nonce", Err(LogoutError::Nonce)),
        ]);
        let tokens = Arc::new(ByHeart { known, asked: AtomicUsize::new(0) });
        let metrics = Arc::new(Metrics::new());
        let stop = CancellationToken::new();
        let tenants = Arc::new(Tenants::new([rules("diku", "sub"), rules("folio", "user_id")]));
        let services = services(&store, &clock, &tenants);
        let channel = BackChannel::new(section, services, tokens.clone(), metrics.clone(), stop);
        Self { router: channel.router(), tenants, store, clock, tokens, metrics }
    }

    /// A job with a pair in a session, due for renewal in five minutes.
    async fn job(&self, name: &str, sid: &str, client_id: &str) {
        let key = key(name);
        let session = session(sid, client_id);
        self.store.enter_session(&session, &key.job, NOON + Duration::from_hours(1)).await.expect("an entry");
        let user = UserId::parse("user-1").expect("a user");
        self.store.add_to_user(&user, &key, NOON + Duration::from_hours(1)).await.expect("an entry");
        let session = SessionRef { sid: session.sid, client: session.client, incarnation: Incarnation(0) };
        let record = Record {
            expires_at: NOON + Duration::from_hours(24),
            keep_until: NOON + Duration::from_hours(48),
            session: Some(session),
            access_life: Duration::from_mins(10),
            due_at: Some(NOON + LATER),
            ..Record::new(
                key,
                user,
                Subject::parse("user-1").expect("a subject"),
                ModuleName::parse("mod-di").expect("a module"),
                NOON,
            )
        };
        self.store.create(&record, None, AttemptId::from_bits(1)).await.expect("a record");
    }

    /// In how long a job is due, counted from noon.
    async fn due_in(&self, job: &str) -> Duration {
        let stored = self.store.load(&key(job)).await.expect("the store").expect("the job");
        stored.record.due_at.expect("a due time").since(NOON)
    }

    /// What the reconciler does when Keycloak says that the session lives.
    async fn renew(&self, job: &str) {
        let replica = ReplicaId::parse("r").expect("a replica");
        let now = self.clock.now() + FIRST_LOOK;
        let claim = Claim { replica: &replica, now, lease: Duration::from_secs(30), limit: 10 };
        for shard in Shard::all() {
            for claimed in self.store.claim(shard, &claim).await.expect("claims") {
                assert_eq!(claimed.record.key, key(job));
                let renewed = Record { due_at: Some(NOON + LATER), ..claimed.record.clone() };
                let attempt = AttemptId::from_bits(self.clock.now().as_millis());
                let write = Write::between(&claimed.record, &renewed, attempt).under(&claimed.lease).releasing();
                assert!(self.store.write(&write).await.expect("the store").is_done());
            }
        }
    }

    async fn send(&self, request: Request) -> Answer {
        let answer = self.router.clone().oneshot(request).await.expect("an answer");
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        Answer { status, headers, text: String::from_utf8(body.to_vec()).expect("text") }
    }

    async fn form(&self, path: &str, form: impl Into<Body>) -> Answer {
        let request = Request::post(path).header("content-type", "application/x-www-form-urlencoded");
        self.send(request.body(form.into()).expect("a request")).await
    }

    async fn token(&self, tenant: &str, token: &str) -> Answer {
        self.form(&format!("/backchannel-logout/{tenant}"), format!("logout_token={token}")).await
    }

    fn counted(&self, outcome: &str) -> bool {
        self.metrics.encode().contains(&format!("tokenvault_backchannel_logouts_total{{outcome=\"{outcome}\"}} 1"))
    }
}

#[tokio::test]
async fn a_good_token_makes_the_jobs_of_its_session_due_a_moment_after_the_answer_and_no_others() {
    let stage = Stage::set();
    stage.job("own", "sid-1", "vault").await;
    stage.job("adopted", "sid-1", "legacy").await;
    stage.job("other-session", "sid-2", "vault").await;
    stage.job("other-client", "sid-1", "ui").await;

    let answer = stage.token("diku", "of-sid-1").await;

    assert_eq!((answer.status, answer.text.as_str()), (StatusCode::OK, ""));
    assert_eq!(answer.header(header::CACHE_CONTROL), "no-store");
    for (job, due) in [("own", FIRST_LOOK), ("adopted", FIRST_LOOK), ("other-session", LATER), ("other-client", LATER)]
    {
        assert_eq!(stage.due_in(job).await, due, "{job}");
    }
    assert!(stage.counted("accepted"), "{}", stage.metrics.encode());
}

#[tokio::test]
async fn a_session_without_jobs_is_fine() {
    let stage = Stage::set();
    assert_eq!(stage.token("diku", "of-sid-9").await.status, StatusCode::OK);
    assert!(stage.counted("no_job"));
}

#[tokio::test]
async fn a_replayed_token_leads_to_nothing() {
    let stage = Stage::set();
    assert_eq!(stage.token("diku", "of-sid-1").await.status, StatusCode::OK);
    stage.job("own", "sid-1", "vault").await;

    let again = stage.token("diku", "of-sid-1").await;

    assert_eq!(again.status, StatusCode::BAD_REQUEST);
    assert_eq!(stage.due_in("own").await, LATER);
    assert!(stage.counted("replayed"));
    assert_eq!(stage.token("diku", "of-sid-1-again").await.status, StatusCode::OK);
    assert_eq!(stage.due_in("own").await, FIRST_LOOK);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_still_seemed_to_live_is_looked_at_again_and_again_but_not_for_ever() {
    let stage = Stage::set();
    stage.job("own", "sid-1", "vault").await;
    stage.token("diku", "of-sid-1").await;

    for pause in [1_400, 5_000, 15_000] {
        stage.renew("own").await;
        assert_eq!(stage.due_in("own").await, LATER, "renewed");
        stage.clock.advance(Duration::from_millis(pause));
        tokio::time::sleep(Duration::from_millis(pause)).await;
        assert!(stage.due_in("own").await < LATER, "after {pause} ms");
    }
    stage.renew("own").await;
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!(stage.due_in("own").await, LATER);
}

#[tokio::test]
async fn without_a_session_the_users_jobs_are_meant_where_users_are_known_by_sub() {
    let stage = Stage::set();
    stage.job("one", "sid-1", "vault").await;
    stage.job("two", "sid-2", "vault").await;
    assert_eq!(stage.token("diku", "of-user-1").await.status, StatusCode::OK);
    for job in ["one", "two"] {
        assert_eq!(stage.due_in(job).await, FIRST_LOOK, "{job}");
    }
}

#[tokio::test]
async fn without_a_session_nobody_is_meant_where_users_are_known_by_something_else() {
    let stage = Stage::set();
    let answer = stage.token("folio", "of-user-1").await;
    assert_eq!((answer.status, answer.text.as_str()), (StatusCode::OK, ""));
    assert!(stage.counted("no_job"));
}

#[tokio::test]
async fn every_bad_request_has_its_answer_in_oauths_words() {
    const DIKU: &str = "/backchannel-logout/diku";
    let stage = Stage::set();
    let bad = |form: &'static str| stage.form(DIKU, form);
    let large = format!("logout_token={}", "x".repeat(16 * 1024));
    let table = [
        (bad("").await, 400, "invalid_request", "malformed_request"),
        (bad("logout_token=").await, 400, "invalid_request", "malformed_request"),
        (bad("token=of-sid-1").await, 400, "invalid_request", "malformed_request"),
        (bad("logout_token=of-sid-1&logout_token=of-sid-1").await, 400, "invalid_request", "malformed_request"),
        (bad("logout_token=canary").await, 400, "invalid_request", "bad_signature"),
        (bad("logout_token=nonce").await, 400, "invalid_request", "nonce_present"),
        (bad("logout_token=away").await, 503, "temporarily_unavailable", "unavailable"),
        (bad("logout_token=panics").await, 500, "server_error", "internal"),
        (stage.form(DIKU, large).await, 413, "content_too_large", "content_too_large"),
        (stage.token("nobody", "of-sid-1").await, 404, "not_found", "not_found"),
        (stage.token("..%2Fdiku", "of-sid-1").await, 404, "not_found", "not_found"),
        (stage.token("%FF", "of-sid-1").await, 404, "not_found", "not_found"),
        (stage.form("/tokens/job", "").await, 404, "not_found", "not_found"),
    ];
    for (answer, status, error, outcome) in table {
        assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (status, &json!(error)), "{}", answer.text);
        assert!(answer.json()["error_description"].is_string());
        assert_eq!(answer.header(header::CACHE_CONTROL), "no-store");
        assert!(!answer.text.contains("canary") && !answer.text.contains("of-sid"), "{}", answer.text);
        assert_eq!(answer.header(header::RETRY_AFTER), if status == 503 { "1" } else { "" });
        assert!(stage.metrics.encode().contains(&format!("outcome=\"{outcome}\"")), "{outcome}");
    }
}

#[tokio::test]
async fn other_members_and_a_charset_do_not_disturb() {
    let stage = Stage::set();
    let request = Request::post("/backchannel-logout/diku")
        .header("content-type", "Application/X-WWW-Form-Urlencoded; charset=utf-8")
        .body(Body::from("state=x&logout_token=of-sid-9&logout_tokens=y"));
    assert_eq!(stage.send(request.expect("a request")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn only_a_form_is_taken_and_only_by_post() {
    let stage = Stage::set();
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let request = Request::builder().method(method.clone()).uri("/backchannel-logout/diku");
        let answer = stage.send(request.body(Body::empty()).expect("a request")).await;
        assert_eq!((answer.status.as_u16(), answer.header(header::ALLOW)), (405, "POST"), "{method}");
    }
    for media_type in ["application/json", "text/plain", "application/jwt", ""] {
        let request = Request::post("/backchannel-logout/diku").header("content-type", media_type);
        let answer = stage.send(request.body(Body::from("logout_token=of-sid-1")).expect("a request")).await;
        assert_eq!(answer.status.as_u16(), 415, "{media_type}");
    }
    assert_eq!(stage.tokens.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_flood_of_tokens_is_not_checked_and_leaves_other_tenants_alone() {
    let stage = Stage::with(&IdpSection { max_rate: 1000, max_tenant_rate: 5, ..IdpSection::default() });
    for _ in 0..100 {
        stage.token("folio", "forged").await;
    }
    assert_eq!(stage.tokens.asked.load(Ordering::SeqCst), 20, "four seconds' worth");
    let refused = stage.token("folio", "forged").await;
    assert_eq!((refused.status.as_u16(), refused.header(header::RETRY_AFTER)), (429, "1"));
    assert_eq!(stage.token("diku", "of-sid-1").await.status, StatusCode::OK);

    stage.clock.advance(Duration::from_secs(1));
    assert_eq!(stage.token("folio", "forged").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn tenants_are_known_as_they_come_and_go() {
    let stage = Stage::with(&IdpSection { max_tenant_rate: 1, ..IdpSection::default() });
    let serve = |names: &[&str]| {
        let served = names.iter().map(|name| {
            (tenant(name), tokenvault_vault::tenants::Served { rules: Arc::new(rules(name, "sub")), realm: None })
        });
        stage.tenants.replace(served.collect());
    };
    assert_eq!(stage.token("new", "forged").await.status, StatusCode::NOT_FOUND);

    serve(&["new"]);
    assert_eq!(stage.token("diku", "of-sid-1").await.status, StatusCode::NOT_FOUND);
    for _ in 0..4 {
        assert_eq!(stage.token("new", "forged").await.status, StatusCode::BAD_REQUEST);
    }
    assert_eq!(stage.token("new", "forged").await.status, StatusCode::TOO_MANY_REQUESTS, "it has a rate of its own");
}

#[tokio::test]
async fn a_flood_of_anything_is_turned_away_before_it_is_read() {
    let stage = Stage::with(&IdpSection { max_rate: 5, ..IdpSection::default() });
    for _ in 0..20 {
        assert_eq!(stage.form("/anything", "").await.status, StatusCode::NOT_FOUND);
    }
    let refused = stage.token("diku", "of-sid-1").await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.json()["error"], "too_many_requests");
    assert_eq!(stage.tokens.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn who_is_let_in_is_read_to_the_end_of_a_form_and_who_is_turned_away_is_not_read() {
    let stage = Stage::with(&IdpSection { max_rate: 1, ..IdpSection::default() });
    let sent = |pieces| {
        let taken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&taken);
        let pieces = futures::stream::iter((0..pieces).map(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            Ok::<_, std::io::Error>(bytes::Bytes::from_static(&[b' '; 1024]))
        }));
        (Request::post("/backchannel-logout/nobody").body(Body::from_stream(pieces)).expect("a request"), taken)
    };
    let (request, taken) = sent(10);
    assert_eq!(stage.send(request).await.status, StatusCode::NOT_FOUND);
    assert_eq!(taken.load(Ordering::SeqCst), 10);
    let (request, taken) = sent(1_000);
    assert_eq!(stage.send(request).await.status, StatusCode::NOT_FOUND);
    assert_eq!(taken.load(Ordering::SeqCst), 17, "and no further");
    let turned_away = async || {
        let (request, taken) = sent(10);
        (stage.send(request).await.status == StatusCode::TOO_MANY_REQUESTS).then(|| taken.load(Ordering::SeqCst))
    };
    while stage.token("diku", "of-sid-9").await.status != StatusCode::TOO_MANY_REQUESTS {}
    assert_eq!(turned_away().await, Some(0));
}
