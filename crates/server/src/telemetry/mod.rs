//! What operators see: metrics, logs and traces. No user, job or token may ever become a label.

pub mod logs;
pub mod measured_store;
pub mod metrics;
#[cfg(not(feature = "otlp"))]
#[path = "no_otlp.rs"]
pub mod otlp;
#[cfg(feature = "otlp")]
pub mod otlp;
pub mod panics;
pub mod traces;
