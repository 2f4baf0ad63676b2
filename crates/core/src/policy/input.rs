//! What a decision needs to know that is not in the record.

use std::time::Duration;

use crate::time::Timestamp;

/// How records are renewed; a tenant's settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The part of a token's life after which it is renewed.
    pub fraction: f64,
    /// The part of that time by which it is varied in both directions, so that jobs registered together drift apart.
    pub jitter: f64,
    /// How long a request may still be at work in Keycloak after it was sent: at least 30 s in production (a refresh in
    /// a busy client session was seen to take 6 s).
    pub quarantine: Duration,
    /// The first delay after a failure; doubles with each further one.
    pub retry_min: Duration,
    /// The longest delay after a failure.
    pub retry_max: Duration,
    /// How long a tombstone stays.
    pub tombstone_ttl: Duration,
    /// The realm's `refreshTokenMaxReuse`.
    pub max_reuse: u32,
    /// Whether the client may exchange its own access token, as far as is known.
    pub may_exchange: bool,
    /// How long a session is believed to live without being asked about.
    pub probe_interval: Duration,
    /// For how long every answer must be no before a session is believed to be over.
    pub doubt: Duration,
    /// The pause between two questions meanwhile.
    pub doubt_pause: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            fraction: 0.5,
            jitter: 0.1,
            quarantine: Duration::from_secs(30),
            retry_min: Duration::from_millis(250),
            retry_max: Duration::from_secs(10),
            tombstone_ttl: Duration::from_hours(24),
            max_reuse: 0,
            may_exchange: true,
            probe_interval: Duration::from_mins(5),
            doubt: Duration::from_secs(75),
            doubt_pause: Duration::from_secs(5),
        }
    }
}

/// What a decision needs to know that is not in the record.
#[derive(Debug, Clone, Copy)]
pub struct DecisionInput<'a> {
    /// Now.
    pub now: Timestamp,
    /// A random number in `0.0..1.0`, for jitter.
    pub roll: f64,
    /// The tenant's settings.
    pub settings: &'a Settings,
}
