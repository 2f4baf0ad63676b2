//! What the handlers for modules work with: the use cases, who may call them, and the limits of a request.

use std::sync::Arc;
use std::time::Duration;

use tokenvault_core::ports::Clock;
use tokenvault_vault::journal::Journal;

use super::jobs::Jobs;
use super::limits::Allowance;
use crate::callers::CallerPolicy;
use crate::config::ServerSection;
use crate::telemetry::metrics::Metrics;

/// The limits of requests.
#[derive(Debug, Clone)]
pub struct RequestLimits {
    /// The longest body, in bytes.
    pub max_body: usize,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// How long a whole request may take.
    pub request_timeout: Duration,
    /// How many requests may be under way at a time.
    pub max_concurrent_requests: usize,
    /// What each caller is allowed.
    pub caller: Allowance,
    /// How long a read waits where it does not say.
    pub default_wait: Duration,
    /// The longest a read may ask to wait.
    pub max_wait: Duration,
}

/// What all handlers of the modules' listener share.
#[derive(Clone)]
pub struct ApiContext {
    /// The use cases.
    pub jobs: Arc<dyn Jobs>,
    /// Who may do what.
    pub callers: Arc<dyn CallerPolicy>,
    /// The limits.
    pub limits: Arc<RequestLimits>,
    /// Where refusals are counted.
    pub metrics: Arc<Metrics>,
    /// Where refusals are recorded.
    pub journal: Arc<dyn Journal>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl From<&ServerSection> for RequestLimits {
    fn from(server: &ServerSection) -> Self {
        Self {
            max_body: server.max_body,
            body_timeout: server.body_timeout,
            request_timeout: server.request_timeout,
            max_concurrent_requests: server.max_concurrent_requests,
            caller: Allowance {
                rate: server.caller_rate,
                burst: server.caller_burst,
                register_rate: server.register_rate,
                register_burst: server.register_burst,
                concurrency: server.caller_concurrency,
            },
            default_wait: server.default_wait,
            max_wait: server.max_wait,
        }
    }
}
