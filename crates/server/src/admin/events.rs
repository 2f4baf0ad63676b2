//! `GET /admin/v1/events`: what happens, as it happens (server-sent events).
//!
//! A stream ends when the vault stops and when its reader may no longer read it; nobody is waited for.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::Extension;
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::Stream;
use serde::Serialize;
use tokenvault_core::ports::{Event, event_place};
use tokenvault_vault::problem::{Code, Problem};
use tokio::sync::OwnedSemaphorePermit;

use super::admission::{AdmittedOperator, ToView};
use super::audited_action::AuditedAction;
use super::context::AdminContext;
use super::operator_policy::Role;
use crate::tls::Peer;
use crate::web::ProblemResponse;
use crate::web::query::{self, invalid};

/// The description of these routes.
#[derive(utoipa::OpenApi)]
#[openapi(paths(tail))]
pub(super) struct EventsDescription;

/// The routes of this resource.
pub(super) fn routes() -> Router<AdminContext> {
    Router::new().route("/admin/v1/events", get(tail))
}

/// Between two looks at the store.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// So that whatever is between does not take the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Events taken from the store at a time.
const BATCH: usize = 100;
const MAX_RECENT: usize = 1_000;

/// What happened; the data of an event whose `id` and `event` say the same as here.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct EventBody {
    /// Its place among all: pass it as `Last-Event-ID` or `after` to go on behind it.
    id: String,
    #[schema(format = "date-time")]
    at: String,
    /// `registered`, `renewed`, `suspended`, `ended`, `paused`, `resumed`, `promoted`, `reseal_started`, `reseal_finished`,
    /// `reload_refused` (a changed file is not taken up) or `rights_removed` (one is, and somebody may do less).
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    job_id: Option<String>,
    /// The reason or the detail: a code. But `paused` and `resumed` say in words by whom, for how long and why, and a file's
    /// says which one it is and what is refused, or from whom what is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The replica that told it.
    replica: String,
}

impl From<Event> for EventBody {
    fn from(event: Event) -> Self {
        Self {
            id: event.id,
            at: event.at.to_string(),
            kind: event.kind,
            tenant: event.tenant.map(|tenant| tenant.to_string()),
            job_id: event.job.map(|job| job.to_string()),
            reason: event.reason,
            replica: event.replica.to_string(),
        }
    }
}

/// Where a stream starts, and whether it goes on.
#[derive(Debug, PartialEq, Eq)]
struct StreamQuery {
    after: Option<String>,
    recent: usize,
    follow: bool,
}

/// What happens, live, from now on, or from behind an event. About ten thousand events are kept.
#[utoipa::path(
    get,
    path = "/admin/v1/events",
    tag = "events",
    params(
        ("after" = Option<String>, Query, description = "Start behind this event", pattern = "^[0-9]{1,19}-[0-9]{1,19}$"),
        ("recent" = Option<usize>, Query, description = "Start with the last so many events, 0 to 1000; 0 if not given", minimum = 0, maximum = 1000),
        ("follow" = Option<bool>, Query, description = "Whether to go on with what happens from now on; true if not given"),
        ("last-event-id" = Option<String>, Header, description = "As `after`, which counts where both are given", pattern = "^[0-9]{1,19}-[0-9]{1,19}$"),
    ),
    responses(
        (status = 200, description = "A stream of events; the data of each is an `EventBody`", body = String, content_type = "text/event-stream"),
        (status = "default", description = "A problem", body = crate::web::openapi::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn tail(
    State(context): State<AdminContext>,
    AdmittedOperator { by, .. }: AdmittedOperator<ToView>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, ProblemResponse> {
    let start = parse(&headers, query.as_deref())?;
    let too_many = |_| Problem::new(Code::TooManyRequests, "Too many streams of events are open.");
    let place = context.watchers.clone().try_acquire_owned().map_err(too_many)?;
    let first = context.audit_view(&by, AuditedAction::new("events"), begin(&context, &start)).await?;
    let tail =
        EventStream { context, peer, follow: start.follow, waiting: first.waiting, last: first.last, _place: place };
    Ok(Sse::new(tail.stream()).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

fn parse(headers: &HeaderMap, query: Option<&str>) -> Result<StreamQuery, Problem> {
    let [after, recent, follow] = query::parse(query, ["after", "recent", "follow"])?;
    let resumed = match headers.get("last-event-id") {
        Some(value) => Some(value.to_str().map_err(|_| invalid("Last-Event-ID is not an event's id."))?.to_owned()),
        None => None,
    };
    let after = after.or(resumed);
    if after.as_deref().is_some_and(|id| event_place(id).is_none()) {
        return Err(invalid("after and Last-Event-ID are the id of an event."));
    }
    let recent = match recent {
        None => 0,
        Some(text) => text
            .parse()
            .ok()
            .filter(|recent| (0..=MAX_RECENT).contains(recent))
            .ok_or_else(|| invalid(format!("recent is a number from 0 to {MAX_RECENT}.")))?,
    };
    let follow = match follow.as_deref() {
        None | Some("true") => true,
        Some("false") => false,
        Some(_) => return Err(invalid("follow is true or false.")),
    };
    Ok(StreamQuery { after, recent, follow })
}

struct StreamStart {
    waiting: VecDeque<Event>,
    last: Option<String>,
}

async fn begin(context: &AdminContext, start: &StreamQuery) -> Result<StreamStart, Problem> {
    if let Some(after) = &start.after {
        // The rest is fetched by the stream itself.
        return Ok(StreamStart { waiting: VecDeque::new(), last: Some(after.clone()) });
    }
    // One is looked at even where none is to be shown: its place is where the stream starts.
    let lately = context.commands.events(None, start.recent.max(1)).await?;
    let last = lately.last().map(|event| event.id.clone());
    let waiting = if start.recent == 0 { VecDeque::new() } else { lately.into() };
    Ok(StreamStart { waiting, last })
}

/// A stream that is being read.
struct EventStream {
    context: AdminContext,
    peer: Peer,
    follow: bool,
    waiting: VecDeque<Event>,
    last: Option<String>,
    _place: OwnedSemaphorePermit,
}

impl EventStream {
    fn stream(self) -> impl Stream<Item = Result<sse::Event, Infallible>> {
        futures::stream::unfold(self, |mut tail| async move {
            let event = tail.next().await?;
            Some((Ok(shown(event)), tail))
        })
    }

    /// The next event; `None` when there will be none for this reader.
    async fn next(&mut self) -> Option<Event> {
        let mut looked = false;
        while self.waiting.is_empty() {
            if looked || self.last.is_none() {
                if !self.follow {
                    return None;
                }
                self.context.stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await?;
                // Looked up each time: whoever was taken out of the policy reads no further.
                self.context.operators.admit(&self.peer, Role::View).ok()?;
            }
            looked = true;
            // Where the store is away for a while, its reader waits with it.
            match self.context.commands.events(self.last.as_deref(), BATCH).await {
                Ok(events) => self.waiting.extend(events),
                Err(problem) => tracing::debug!(code = problem.code.as_str(), "events cannot be had for now"),
            }
        }
        let event = self.waiting.pop_front()?;
        self.last = Some(event.id.clone());
        Some(event)
    }
}

fn shown(event: Event) -> sse::Event {
    let body = EventBody::from(event);
    let data = serde_json::to_string(&body).unwrap_or_default();
    let fits = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
    // A line break in either would end the line; the store's own never have one.
    let plain = sse::Event::default().data(data);
    if fits(&body.id) && fits(&body.kind) { plain.id(body.id).event(body.kind) } else { plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_starts_where_it_is_told_to() {
        let headers = |id: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(id) = id {
                headers.insert("last-event-id", id.parse().unwrap());
            }
            headers
        };
        let start = |id, query: &str| parse(&headers(id), Some(query)).map_err(|problem| problem.code);
        let after = |id: &str| StreamQuery { after: Some(id.to_owned()), recent: 0, follow: true };
        assert_eq!(start(None, ""), Ok(StreamQuery { after: None, recent: 0, follow: true }));
        assert_eq!(start(Some("7-0"), ""), Ok(after("7-0")));
        assert_eq!(start(Some("7-0"), "after=9-1"), Ok(after("9-1")));
        assert_eq!(start(None, "recent=5&follow=false"), Ok(StreamQuery { after: None, recent: 5, follow: false }));
        for query in ["after=x", "after=7", "recent=1001", "recent=-1", "follow=maybe", "since=1"] {
            assert_eq!(start(None, query), Err(Code::InvalidRequest), "{query}");
        }
        assert_eq!(start(Some("junk"), ""), Err(Code::InvalidRequest));
    }
}
