//! Keycloak as one process reaches it: the rules of the stand-in behind a network that fails. Every token that passes is
//! made known to the oracle.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use keycloak_double::{Answer, Endpoint, Request};
use serde_json::Value;
use tokenvault_core::secret::{RefreshToken, TokenHash};
use tokenvault_keycloak::{HttpAnswer, HttpClient, HttpRequest, TransportFailure};
use tokio::time::sleep;

use super::joins::{Excuse, Look};
use super::module::claimed_sid;
use super::oracle::Line;
use super::process::Process;
use super::weather::{Fault, Side};
use super::world::{Violation, World};

/// How long a process waits for an answer of Keycloak, unless it says otherwise.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Keycloak, as one process reaches it.
pub struct Wire {
    /// What is behind it.
    pub world: Arc<World>,
    /// Whose it is.
    pub process: Arc<Process>,
}

/// The names under which requests appear in the trace.
fn name(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::Refresh => "refresh",
        Endpoint::Exchange => "exchange",
        Endpoint::Impersonate => "impersonate",
        Endpoint::Introspect => "probe",
        Endpoint::Revoke => "revoke",
        Endpoint::Certs => "keys",
        Endpoint::ClientCredentials => "service-token",
        _ => "other",
    }
}

#[async_trait]
impl HttpClient for Wire {
    async fn send(&self, request: HttpRequest) -> Result<HttpAnswer, TransportFailure> {
        self.process.gate().await;
        let patience_ms = u64::try_from(request.patience.unwrap_or(TIMEOUT).as_millis()).expect("seconds");
        let request = self.parcel(translate(&request), patience_ms);
        let what = name(Endpoint::of(&request.request));
        let strike = self.world.strike(&self.process, Side::Keycloak, what, 0);
        if let Fault::CrashBefore = strike.fault {
            self.world.crash(&self.process);
            self.process.gate().await;
        }
        // A process that stops here has looked at the clock and its lease before, and its request is on its way.
        wait(strike.way_ms).await;
        let answer =
            self.travel(&request, if self.process.is_frozen() { Fault::RequestLost } else { strike.fault }).await;
        if matches!(answer, Err(TransportFailure::Timeout)) {
            self.process.thaw_a_little();
        }
        if let Some(happening) = strike.after {
            self.world.happen(&self.process, happening);
        }
        wait(strike.way_ms).await;
        self.process.gate().await;
        let (how, number) = match &answer {
            Ok(answer) => ("answered", u64::from(answer.status)),
            Err(TransportFailure::Connect) => ("no-connection", 0),
            Err(_) => ("no-answer", 0),
        };
        self.world.note(Some(&self.process), what, how, number);
        answer
    }
}

/// A request on its way.
struct Parcel {
    request: Request,
    /// How long its sender waits for the answer.
    patience_ms: u64,
    /// The session of an exchange's subject, and when its sender last looked at that session's entry.
    look: Option<(String, Look)>,
}

impl Wire {
    fn parcel(&self, request: Request, patience_ms: u64) -> Arc<Parcel> {
        let subject = request.field("subject_token").filter(|_| Endpoint::of(&request) == Endpoint::Exchange);
        let look = subject.and_then(claimed_sid).and_then(|sid| {
            let look = self.world.state.lock().joins.last_look(&sid)?;
            Some((sid, look))
        });
        Arc::new(Parcel { request, patience_ms, look })
    }

    async fn travel(&self, request: &Arc<Parcel>, fault: Fault) -> Result<HttpAnswer, TransportFailure> {
        let timeout_ms = request.patience_ms;
        let unheard = || carry_out(&self.world, &self.process, request, false);
        match fault {
            Fault::Refused => return Err(TransportFailure::Connect),
            Fault::RequestLost => wait(timeout_ms).await,
            Fault::AnswerLost => {
                unheard();
                wait(timeout_ms).await;
            }
            Fault::CrashAfter => {
                unheard();
                self.world.crash(&self.process);
                self.process.gate().await;
            }
            Fault::Late(millis) if millis >= timeout_ms => {
                self.unheard_after(millis, request, "carried-out-late");
                wait(timeout_ms).await;
            }
            Fault::Late(millis) => {
                wait(millis).await;
                return Ok(heard(carry_out(&self.world, &self.process, request, true)));
            }
            Fault::Slow(millis) => {
                let answer = carry_out(&self.world, &self.process, request, true);
                wait(millis).await;
                return Ok(heard(answer));
            }
            // A refresh that arrives twice is reuse, whoever the client is.
            Fault::Again(millis) if Endpoint::of(&request.request) != Endpoint::Refresh => {
                let answer = carry_out(&self.world, &self.process, request, true);
                self.unheard_after(millis, request, "carried-out-again");
                return Ok(heard(answer));
            }
            Fault::ErrorBefore => return Ok(error()),
            Fault::ErrorAfter => {
                unheard();
                return Ok(error());
            }
            Fault::CutAnswer => {
                unheard();
                return Err(TransportFailure::Interrupted);
            }
            Fault::ShortAnswer => {
                let answer = heard(unheard());
                let body = answer.body.slice(..answer.body.len() / 2);
                return Ok(HttpAnswer { body, ..answer });
            }
            _ => return Ok(heard(carry_out(&self.world, &self.process, request, true))),
        }
        Err(TransportFailure::Timeout)
    }

    /// Has a request carried out after a while, with nobody waiting for the answer.
    fn unheard_after(&self, millis: u64, request: &Arc<Parcel>, how: &'static str) {
        let (world, process, request) = (Arc::clone(&self.world), Arc::clone(&self.process), Arc::clone(request));
        tokio::spawn(async move {
            wait(millis).await;
            let answer = carry_out(&world, &process, &request, false);
            world.note(None, name(Endpoint::of(&request.request)), how, u64::from(answer.status));
        });
    }
}

async fn wait(millis: u64) {
    if millis > 0 {
        sleep(Duration::from_millis(millis)).await;
    }
}

fn heard(answer: Answer) -> HttpAnswer {
    HttpAnswer {
        status: answer.status,
        content_type: answer.content_type.map(str::to_owned),
        body: Bytes::from(answer.body),
    }
}

fn error() -> HttpAnswer {
    let body = Bytes::from_static(b"<html><body>503</body></html>");
    HttpAnswer { status: 503, content_type: Some("text/html".to_owned()), body }
}

fn translate(request: &HttpRequest) -> Request {
    Request {
        method: request.method.as_str().to_owned(),
        path: request.url.path().to_owned(),
        authorization: None,
        form: request.form.iter().map(|param| (param.name.to_owned(), param.expose().to_owned())).collect(),
    }
}

fn hash(token: &str) -> TokenHash {
    RefreshToken::new(token).hash()
}

/// Keycloak gets a request. `hears`: whether its sender, should it live by then, gets the answer.
fn carry_out(world: &World, process: &Process, parcel: &Parcel, hears: bool) -> Answer {
    let request = &parcel.request;
    let endpoint = Endpoint::of(request);
    let sent = request.field("refresh_token").map(hash).filter(|_| endpoint == Endpoint::Refresh);
    if let Some(sent) = sent
        && world.state.lock().oracle.is_spent(sent)
    {
        world.violate(Violation::DoubleSpend);
    }
    let troubled = world.troubled_answer(endpoint, request);
    let answer = troubled.unwrap_or_else(|| world.keycloak.lock().handle(world.time.now_ms(), request));
    let line = line_of(world, endpoint, request, sent);
    world.remark(|| describe(endpoint, line, &answer));
    if let Some(line) = line.filter(|_| endpoint == Endpoint::Introspect) {
        world.asked_about(line);
    }
    if answer.status != 200 && matches!(endpoint, Endpoint::Exchange | Endpoint::Refresh)
        || endpoint == Endpoint::Revoke
    {
        world.watch_sessions(excuse(world, parcel, line));
    }
    issued(world, process, (endpoint, line, sent), &answer, hears && process.lives());
    answer
}

/// Whether an exchange could not have been held back, should it end a session.
fn excuse(world: &World, parcel: &Parcel, line: Option<Line>) -> Option<Excuse> {
    let ((sid, look), line) = (parcel.look.as_ref()?, line?);
    let state = world.state.lock();
    let job = state.jobs.iter().find(|job| job.line == Some(line))?;
    state.joins.excuse(sid, &job.key.job, look)
}

/// The line a request is about.
fn line_of(world: &World, endpoint: Endpoint, request: &Request, sent: Option<TokenHash>) -> Option<Line> {
    let state = world.state.lock();
    match endpoint {
        Endpoint::Refresh => sent.and_then(|sent| state.oracle.line_of(sent)),
        Endpoint::Introspect => request
            .field("token")
            .and_then(|token| state.oracle.line_of(hash(token)).or_else(|| state.oracle.line_of_access(token))),
        Endpoint::Exchange => request.field("subject_token").and_then(|token| state.oracle.line_of_access(token)),
        _ => None,
    }
}

/// A new pair: which line it is of, who holds it, and what it cost.
fn issued(
    world: &World,
    process: &Process,
    (endpoint, line, sent): (Endpoint, Option<Line>, Option<TokenHash>),
    answer: &Answer,
    hears: bool,
) {
    if answer.status != 200 || !matches!(endpoint, Endpoint::Exchange | Endpoint::Refresh | Endpoint::Impersonate) {
        return;
    }
    let body = answer.value();
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let (Some(refresh), Some(access)) = (text("refresh_token").map(hash), text("access_token")) else { return };
    let now = world.now();
    let line = {
        let oracle = &mut world.state.lock().oracle;
        let line = match line {
            Some(line) => {
                oracle.issued(line, refresh, access, now);
                line
            }
            None => oracle.begin(refresh, access, now),
        };
        if let Some(sent) = sent {
            oracle.spend(sent);
        }
        if hears {
            oracle.received(refresh, process.id);
        }
        line
    };
    if !hears {
        world.judge(line, "never heard");
    }
}

fn describe(endpoint: Endpoint, line: Option<Line>, answer: &Answer) -> String {
    let body = answer.value();
    let said = match endpoint {
        Endpoint::Introspect => format!("active {}", body.get("active").unwrap_or(&Value::Null)),
        _ => body.get("error_description").map(ToString::to_string).unwrap_or_default(),
    };
    format!("{} of line {line:?}: {} {said}", name(endpoint), answer.status)
}
