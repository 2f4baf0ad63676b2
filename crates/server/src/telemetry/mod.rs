//! What operators see: metrics, logs and traces. No user, job or token ever becomes a label.

pub mod logs;
pub mod metrics;
#[cfg(not(feature = "otlp"))]
#[path = "no_otlp.rs"]
pub mod otlp;
#[cfg(feature = "otlp")]
pub mod otlp;
pub mod panics;
pub mod store;
pub mod traces;
