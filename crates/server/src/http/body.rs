//! A JSON body: bounded in size and time, never quoted back and wiped when it was read, for it holds tokens.

use std::pin::pin;
use std::time::Duration;

use axum::BoxError;
use axum::body::Body;
use axum::http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::query::invalid;
use crate::problem::{Code, Problem};

/// Most bodies fit.
const FIRST_ROOM: usize = 8 * 1024;

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
    let bytes = match tokio::time::timeout(timeout, collect(Limited::new(body, max))).await {
        Err(_) => return Err(invalid("The body did not arrive in time.")),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return Err(Problem::new(Code::ContentTooLarge, format!("A body has at most {max} bytes.")));
        }
        Ok(Err(_)) => return Err(invalid("The body did not arrive whole.")),
        Ok(Ok(collected)) => collected,
    };
    serde_json::from_slice(&bytes).map_err(|error| describe(&error))
}

/// Takes a body into a buffer that leaves nothing behind, also where it grows.
async fn collect(body: Limited<Body>) -> Result<Zeroizing<Vec<u8>>, BoxError> {
    let mut body = pin!(body);
    let mut bytes = Zeroizing::new(Vec::with_capacity(FIRST_ROOM));
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if bytes.len() + data.len() > bytes.capacity() {
            let mut roomier = Zeroizing::new(Vec::with_capacity((bytes.len() + data.len()) * 2));
            roomier.extend_from_slice(&bytes);
            bytes = roomier;
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
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
