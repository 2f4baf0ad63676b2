//! The frame that all listeners share: what surrounds a request before a handler sees it and after, and how a problem
//! becomes an answer. Nothing here knows a job, a caller or an operator.

mod answer;
pub mod body;
pub mod bucket;
pub mod describe;
mod frame;
pub mod leaving;
pub mod openapi;
mod places;
pub mod query;
mod unread;
pub mod words;
mod work;

pub use answer::{ProblemResponse, answer, no_such_resource};
pub use frame::{OKAPI_REQUEST_ID, REQUEST_ID, RequestId, frame};
pub use places::{Places, Room};
pub use unread::Unread;
pub use work::{catch_panic, detached};
