//! A JSON body: bounded in size and time, never quoted back and wiped when it was read, for it holds tokens.

use std::pin::pin;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use tokenvault_vault::problem::{Code, Problem};
use zeroize::Zeroizing;

use super::BodyBudget;
use super::query::invalid;

/// Most bodies fit; what is larger needs room that the caller has only so much of.
const FIRST_ROOM: usize = 4 * 1024;

/// Reads a body of at most `max` bytes that arrives within `timeout`; a large one takes of the caller's `room`.
pub async fn json<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
    max: usize,
    timeout: Duration,
    room: &BodyBudget,
) -> Result<T, Problem> {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !media_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        return Err(Problem::new(Code::UnsupportedMediaType, "The body must be application/json."));
    }
    let bytes = match tokio::time::timeout(timeout, collect(body, max, room)).await {
        Err(_) => return Err(invalid("The body did not arrive in time.")),
        Ok(collected) => collected?,
    };
    serde_json::from_slice(&bytes).map_err(|error| describe(&error))
}

/// Takes a body into a buffer that leaves nothing behind, also where it grows.
async fn collect(body: Body, max: usize, room: &BodyBudget) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let mut body = pin!(Limited::new(body, max));
    let mut bytes = Zeroizing::new(Vec::with_capacity(FIRST_ROOM));
    let mut taken = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let too_large = || Problem::new(Code::ContentTooLarge, format!("A body has at most {max} bytes."));
            if error.is::<LengthLimitError>() { too_large() } else { invalid("The body did not arrive whole.") }
        })?;
        let Ok(data) = frame.into_data() else { continue };
        let needed = bytes.len() + data.len();
        if needed > bytes.capacity() {
            let capacity = (needed * 2).min(max.max(needed));
            taken.push(room.take(capacity - bytes.capacity())?);
            let mut roomier = Zeroizing::new(Vec::with_capacity(capacity));
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
