//! What operators see: metrics, logs and traces. No user, job or token may ever become a label.

pub mod logs;
pub mod measured_store;
pub mod metrics;
pub mod panics;
pub mod traces;
