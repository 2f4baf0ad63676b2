//! A problem as an answer (RFC 9457).
//!
//! A handler's problem travels to the outermost layer as an extension of the response; only there the request id, its
//! `instance`, is known for certain, and only there it is written.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

use tokenvault_vault::problem::{Code, Problem};

/// A problem as the answer of a handler or of an extractor.
pub struct ProblemResponse(Problem);

impl From<Problem> for ProblemResponse {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for ProblemResponse {
    fn into_response(self) -> Response {
        answer(self.0)
    }
}

/// Answers with a problem; the frame writes it.
pub fn answer(problem: Problem) -> Response {
    let mut response =
        StatusCode::from_u16(problem.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR).into_response();
    response.extensions_mut().insert(problem);
    response
}

/// The answer where no route fits.
pub async fn no_such_resource() -> ProblemResponse {
    Problem::new(Code::NotFound, "No such resource; /openapi.json describes what there is.").into()
}

/// The problem a response carries, or the one that a bare error status of the framework's stands for.
pub(super) fn problem_of(response: &mut Response) -> Option<Problem> {
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        return Some(problem);
    }
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return None;
    }
    Some(match status {
        StatusCode::NOT_FOUND => Problem::new(Code::NotFound, "No such resource."),
        StatusCode::METHOD_NOT_ALLOWED => {
            Problem::new(Code::MethodNotAllowed, "The resource does not know this method.")
        }
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(Code::ContentTooLarge, "The body is too large."),
        status if status.is_client_error() => {
            Problem::new(Code::InvalidRequest, "The request could not be understood.")
        }
        _ => Problem::new(Code::Internal, "Something went wrong."),
    })
}

/// Writes a problem; headers that the response had (such as `Allow`) stay.
pub(super) fn write(problem: &Problem, request_id: &str, response: Response) -> Response {
    let mut body = Map::new();
    body.insert("type".into(), format!("/problems/{}", problem.code.as_str()).into());
    body.insert("code".into(), problem.code.as_str().into());
    body.insert("title".into(), problem.code.title().into());
    body.insert("status".into(), problem.code.status().into());
    body.insert("detail".into(), problem.detail.clone().into());
    body.insert("instance".into(), format!("urn:tokenvault:request:{request_id}").into());
    body.extend(problem.members.clone());
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if let Some(after) = problem.retry_after {
        parts.headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
    }
    Response::from_parts(parts, Body::from(Value::Object(body).to_string()))
}
