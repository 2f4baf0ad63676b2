//! The frame that all listeners share: what surrounds a request before its handler and after it, and how a problem becomes
//! an answer. Nothing here may know a job, a caller or an operator.

pub mod body;
pub mod bucket;
pub mod describe;
pub mod explanations;
mod frame;
pub mod openapi;
mod permits;
mod problem_response;
pub mod query;
pub mod shutdown;
mod unread_body;
mod work;

pub use frame::{OKAPI_REQUEST_ID, REQUEST_ID, RequestHead, RequestId, frame, framed};
pub use permits::{BodyBudget, RequestPermits};
pub use problem_response::{ProblemResponse, answer, no_such_resource};
pub use unread_body::UnreadBody;
pub use work::{catch_panic, caught, detached};
