//! The store of tokens, one port for each kind of thing it keeps. An adapter implements them all, and is a [`TokenStore`].

mod jobs;
mod layer;
mod server;
mod sessions;
mod users;

pub use jobs::{Claim, Claimed, Created, JobStore, Lease, Stored, TermsGuard, Write, WriteGuard, Written};
pub use layer::{LayeredStore, StoreLayer};
pub use server::ServerStore;
pub use sessions::{
    HOLD, HOLD_GAP, JOINING, Join, Joined, LONGEST_HOLD, MOST_JOINING, MOST_JOINING_OF_ONE, SessionEntry, SessionLook,
    SessionStore,
};
pub use users::{ShareStore, UserStore};

/// Everything that is kept for jobs.
pub trait TokenStore: ServerStore + JobStore + SessionStore + UserStore + ShareStore {}

impl<S: ServerStore + JobStore + SessionStore + UserStore + ShareStore> TokenStore for S {}
