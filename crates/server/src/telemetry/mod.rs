//! What operators see: metrics, logs and traces. No user, job or token may ever become a label.

pub mod logs;
pub mod measured_store;
pub mod metrics;
#[cfg(any(test, not(feature = "otlp")))]
pub mod no_otlp;
#[cfg(feature = "otlp")]
pub mod otlp;
pub mod panics;
pub mod traces;

#[cfg(not(feature = "otlp"))]
pub use no_otlp as otlp;
