//! Durations as people write them in the file: seconds, whole or with a fraction.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserializer, Error, Visitor};

const TEN_YEARS: f64 = 10.0 * 365.0 * 86_400.0;

struct Seconds;

impl Visitor<'_> for Seconds {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of seconds")
    }

    fn visit_i64<E: Error>(self, seconds: i64) -> Result<Duration, E> {
        u64::try_from(seconds)
            .map_err(|_| E::custom("must not be negative"))
            .and_then(|seconds| self.visit_u64(seconds))
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<Duration, E> {
        let duration = Duration::from_secs(seconds);
        if duration.as_secs_f64() > TEN_YEARS { Err(E::custom("is longer than ten years")) } else { Ok(duration) }
    }

    fn visit_f64<E: Error>(self, seconds: f64) -> Result<Duration, E> {
        if (0.0..=TEN_YEARS).contains(&seconds) {
            Ok(Duration::from_secs_f64(seconds))
        } else {
            Err(E::custom("must be a number of seconds from 0 to ten years"))
        }
    }
}

/// For `#[serde(with = …)]`-like use on a [`Duration`].
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    deserializer.deserialize_any(Seconds)
}

/// The same for an optional one.
pub(super) mod optional {
    use super::{Deserializer, Duration};

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        super::deserialize(deserializer).map(Some)
    }
}
