//! Where calls are counted. An observer sees names from a fixed list, so that they can be labels of a metric.

use std::time::Duration;

use http::HeaderMap;

/// Hears of every call of Keycloak.
pub trait CallObserver: Send + Sync {
    /// `issuer` is the realm's; `call` is one of [`crate::operation::Operation`]'s names; `outcome` is `ok`, a refusal's code or a cause's word.
    fn call(&self, issuer: &str, call: &'static str, outcome: &'static str, elapsed: Duration);

    /// Puts what a trace needs into the headers of a request that is about to be sent, inside its span.
    fn carry(&self, _headers: &mut HeaderMap) {}
}

/// Hears nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

impl CallObserver for NoObserver {
    fn call(&self, _: &str, _: &'static str, _: &'static str, _: Duration) {}
}
