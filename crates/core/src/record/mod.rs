//! What the vault keeps for a job, and the words for each stage of its life.
//!
//! A record never holds a token in the clear: tokens are [`Sealed`](crate::seal::Sealed) before they come here, and everything the decisions
//! need (lives, hashes, counts) stands beside them.

mod fields;
mod job_record;
mod packed;
mod read_view;
mod state;
mod tokens;

pub use fields::{FieldError, Fields, FieldsChange, change, decode, encode, terms};
pub use job_record::{Acquisition, OnLogout, Record};
pub use packed::{NAMES, PACKED, Terms, TermsDigest, UnpackedTerms, Vouched, pack, unpack};
pub use read_view::{Access, READ_FIELDS, ReadView};
pub use state::{EndKind, EndReason, State, Suspension, UnknownState};
pub use tokens::{Anchor, Doubt, Intent, MOST_IN_RESERVE, Pair, RefreshSlot, SessionRef, Slot};
