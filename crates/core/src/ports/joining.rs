//! Who is on the way into a client session, and whose turn it is.
//!
//! A registration's exchange may create its client session anew, and a renewal's exchange that arrives after it with an older
//! token would end the user's whole session. So the two exclude each other. Whoever joins leaves a mark of its own attempt,
//! and takes it away when it is done, or refused; one that vanished counts for [`JOINING`]. A renewal that finds marks of
//! others holds the session: newcomers wait until those who were on their way have arrived and the renewals have gone ahead.
//! A hold lapses by itself, and leaves newcomers a gap, so that neither side can keep the other waiting for ever.

use std::time::Duration;

use crate::ids::{AttemptId, Incarnation, JobId, ModuleName, SessionKey};
use crate::time::Timestamp;

/// How long the exchange of a registration that vanished may still be under way.
pub const JOINING: Duration = Duration::from_secs(30);
/// A renewal that waits holds its session for this long; each of its looks prolongs it while others are joining. What is left of
/// it then is for the renewals to go ahead in.
pub const HOLD: Duration = Duration::from_secs(3);
/// No hold lasts longer in all: by then whoever was joining when it began has arrived, or vanished.
pub const LONGEST_HOLD: Duration = Duration::from_secs(35);
/// So long after a hold newcomers are let in before the next one.
pub const HOLD_GAP: Duration = Duration::from_secs(2);
/// So many registrations join one session at a time.
pub const MOST_JOINING: usize = 64;
/// So many of them are one module's.
pub const MOST_JOINING_OF_ONE: usize = 16;

/// A registration on its way into a client session.
#[derive(Debug, Clone, Copy)]
pub struct Join<'a> {
    /// Which session.
    pub session: &'a SessionKey,
    /// Which job.
    pub job: &'a JobId,
    /// Names the registration: another one of the same job leaves a mark of its own.
    pub attempt: AttemptId,
    /// Whose share of the places it takes.
    pub by: &'a ModuleName,
    /// The session's entry is kept until then at least.
    pub keep_until: Timestamp,
    /// So many jobs may be entered in the session.
    pub most_jobs: usize,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joined {
    /// The job is in, and the session is in this life.
    In(Incarnation),
    /// Renewals go first. Nothing was entered; ask again in a moment.
    Held,
    /// As many are joining as may at a time, of all or of this module. Nothing was entered.
    Busy,
    /// As many jobs are entered as may be. Nothing was entered.
    Full,
}

/// What a renewal sees of the session it is about to exchange in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionLook {
    /// The life it is in.
    pub incarnation: Incarnation,
    /// Another text whenever somebody has joined since.
    pub joins: String,
    /// Whether another job is joining just now.
    pub joining: bool,
}
