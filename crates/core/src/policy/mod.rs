//! The decisions: pure functions from what is known to what is to be done.
//!
//! A record is renewed in rounds; a round takes place under one lease, and is a sequence of turns:
//!
//! 1. [`plan`] looks at the record and says the next [`Step`].
//! 2. [`Step::requirements`] says what must be true right before that step is carried out.
//! 3. [`Step::request`] says what is sent to Keycloak for it, if anything is.
//! 4. [`Step::obligations`] says what is owed after its [`StepOutcome`]: what must be durable before anything else.
//! 5. [`conclude`] makes a [`Turn`] of it: the record that is to be written, and what follows from the write.
//!
//! Whoever renews carries these values out and decides nothing. The reconciler, the simulation and the exhaustive model all do.
//! Nothing here ever sees a token: what was issued arrives sealed. [`serve`] decides what a read is answered, and
//! [`compare`] what becomes of an answer that the store may have lost.
//!
//! The rule everything here serves: *never spend what cannot be replaced.*
//!
//! 1. While the access token lives and the client may, the next pair is come by through an **exchange** of the vault's
//!    own access token. That consumes nothing; the previous refresh token stays unspent and is kept as the spare. The
//!    newest refresh token is probed first: an exchange with a token from an earlier life of the client session would
//!    end the user's whole session.
//! 2. Otherwise the refresh token is **spent**: probed, declared by an intent in the store, sent once.
//! 3. If the answer is lost, the token is never sent again blindly. The spare is used, and after it those in reserve;
//!    without one, the intent's deadline is waited out and the probe decides: still active means it was never spent.
//! 4. A refresh token that is found dead is not the pair's end while the access token lives: that one is asked about, which
//!    is harmless, and exchanged where it is active.
//! 5. Keycloak's *no* is not believed at once: a cluster that lost a node, a restart or a proxy says so of sessions that
//!    live. Tokens are given up only after every answer was no for [`Settings::doubt`]; until then nothing is exchanged or
//!    spent. A signed logout token makes the first no the last.
//! 6. A session that somebody else ended is not undone by acquiring again. A refresh token that is found dead is sent to
//!    learn why only where it cannot have been spent: a store that lost the write of a spend shows the spent token as
//!    never sent. So either the store has lived on unbroken since it wrote the pair, or there was no reason to spend it.
//! 7. Only Keycloak's known words end a job. A refusal in other words, and an answer that names no user, can be somebody's
//!    mistake that is mended in minutes: the job keeps what it has and waits.

mod apply;
mod doubt;
mod input;
mod obligation;
mod outcome;
mod plan;
mod restore;
mod round;
mod serve;
mod step;
#[cfg(test)]
mod tests;
mod token;
mod turn;
mod unread;

pub use apply::{apply, longest_pause, schedule_first};
pub use doubt::logging_out;
pub use input::{DecisionInput, Settings};
pub use obligation::{Durability, KeycloakReply, Obligations};
pub use outcome::{Issued, StepOutcome};
pub use plan::plan;
pub use restore::{Comparison, compare};
pub use round::{Round, RoundFindings};
pub use serve::{Ask, Serve, least_left, serve};
pub use step::{Request, Requirement, Step};
pub use turn::{JobEvent, Turn, conclude, intent_is_timely};
pub use unread::{due_once_read, unread_until};
