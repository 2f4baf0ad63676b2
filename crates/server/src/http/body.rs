//! A JSON body: bounded in size and time, and never quoted back, for it holds tokens.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use super::query::invalid;
use crate::problem::{Code, Problem};

pub(crate) async fn json<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
    max: usize,
    timeout: Duration,
) -> Result<T, Problem> {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !media_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        return Err(Problem::new(Code::UnsupportedMediaType, "The body must be application/json."));
    }
    let collected = tokio::time::timeout(timeout, Limited::new(body, max).collect()).await;
    let bytes = match collected {
        Err(_) => return Err(invalid("The body did not arrive in time.")),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return Err(Problem::new(Code::ContentTooLarge, format!("A body has at most {max} bytes.")));
        }
        Ok(Err(_)) => return Err(invalid("The body did not arrive whole.")),
        Ok(Ok(collected)) => collected.to_bytes(),
    };
    serde_json::from_slice(&bytes).map_err(|error| describe(&error))
}

/// Serde's messages quote values; only those about names are passed on.
fn describe(error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    let about_names = ["unknown field", "missing field", "duplicate field"].iter().any(|start| text.starts_with(start));
    if error.is_data() && about_names {
        return invalid(format!("The body is not as described: {text}."));
    }
    let what = if error.is_data() { "A member is not of the described form" } else { "The body is not JSON" };
    invalid(format!("{what} (line {}, column {}).", error.line(), error.column()))
}
