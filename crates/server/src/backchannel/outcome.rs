//! What the identity provider is answered (Back-Channel Logout 1.0 §2.8): a bare 200, or an error in OAuth's words. What
//! was sent is never repeated.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// How a request went, as a word for the metrics; travels with the response to the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogoutOutcome {
    /// A good token, and there are jobs to be looked at.
    Accepted,
    /// A good token of a session without jobs.
    NoJob,
    /// Anything else.
    Refused(&'static str),
}

impl LogoutOutcome {
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::NoJob => "no_job",
            Self::Refused(code) => code,
        }
    }
}

impl IntoResponse for LogoutOutcome {
    fn into_response(self) -> Response {
        let mut response = StatusCode::OK.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Why there is no 200.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogoutRefusal {
    /// The body is not the form with the one member.
    Form(&'static str),
    /// The token failed this check.
    Token(&'static str),
    /// No such tenant, or nothing of the kind here.
    NotFound,
    /// Not a POST.
    Method,
    /// More bytes than a logout token has.
    TooLarge,
    /// Not a form.
    MediaType,
    /// Too often; when to come again.
    TooMany(Duration),
    /// The store or the realm's keys are away, or it took too long.
    Unavailable,
    /// A bug.
    Internal,
}

impl LogoutRefusal {
    /// Status, `error`, `error_description`, and the word for the metrics.
    fn answer(self) -> (StatusCode, &'static str, String, &'static str) {
        use StatusCode as S;
        match self {
            Self::Form(what) => (S::BAD_REQUEST, "invalid_request", what.to_owned(), "malformed_request"),
            Self::Token(check) => {
                (S::BAD_REQUEST, "invalid_request", format!("The logout token failed a check: {check}."), check)
            }
            Self::NotFound => (S::NOT_FOUND, "not_found", "There is nothing here.".to_owned(), "not_found"),
            Self::Method => {
                (S::METHOD_NOT_ALLOWED, "method_not_allowed", "Only POST is known.".to_owned(), "method_not_allowed")
            }
            Self::TooLarge => {
                (S::PAYLOAD_TOO_LARGE, "content_too_large", "The body is too large.".to_owned(), "content_too_large")
            }
            Self::MediaType => (
                S::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "The body must be a form.".to_owned(),
                "unsupported_media_type",
            ),
            Self::TooMany(_) => {
                (S::TOO_MANY_REQUESTS, "too_many_requests", "Too many requests.".to_owned(), "too_many_requests")
            }
            Self::Unavailable => (
                S::SERVICE_UNAVAILABLE,
                "temporarily_unavailable",
                "It cannot be acted upon now.".to_owned(),
                "unavailable",
            ),
            Self::Internal => {
                (S::INTERNAL_SERVER_ERROR, "server_error", "Something went wrong.".to_owned(), "internal")
            }
        }
    }
}

impl IntoResponse for LogoutRefusal {
    fn into_response(self) -> Response {
        let (status, error, description, outcome) = self.answer();
        let mut response = (status, Json(json!({ "error": error, "error_description": description }))).into_response();
        response.extensions_mut().insert(LogoutOutcome::Refused(outcome));
        let wait = match self {
            Self::TooMany(wait) => Some(wait),
            Self::Unavailable => Some(Duration::from_secs(1)),
            _ => None,
        };
        if let Some(wait) = wait {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if self == Self::Method {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        response
    }
}
