//! The limits of a listener's connections: how many, and how long each may do nothing.

use std::time::Duration;

use super::heads::Heads;

/// For a client to take something of its answer. What is written are small answers and events.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(20);

/// What a client is allowed.
#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    /// Connections at a time, beside those in their handshake. More wait in the system's queue.
    pub max_connections: usize,
    /// Handshakes at a time. For one more, the oldest of the busiest address is cut. Where no certificates are asked for,
    /// these are all the connections there are, before and after their handshakes.
    pub max_handshakes: usize,
    /// Connections of one caller at a time, as the policy knows callers. More are closed.
    pub caller_connections: usize,
    /// For a TLS handshake.
    pub handshake_timeout: Duration,
    /// For a request's head with HTTP/1.1.
    pub header_timeout: Duration,
    /// After which a connection without a request is closed (within twice this time).
    pub idle_timeout: Duration,
    /// For the client to take something of what is written to it.
    pub write_timeout: Duration,
    /// After which a connection is cut whose requests neither begin nor end, and of whose answers nothing is taken (within
    /// two idle time-outs more).
    pub answer_timeout: Duration,
    /// What is taken of requests' heads.
    pub heads: Heads,
}
