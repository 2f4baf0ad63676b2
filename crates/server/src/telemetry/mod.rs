//! What operators see: metrics and logs. No user, job or token ever becomes a label.

pub mod logs;
pub mod metrics;
pub mod store;
