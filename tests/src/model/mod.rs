//! The pure renewal machine, explored exhaustively: every order of the steps of two replicas, with crashes, lost requests,
//! lost and late answers, the acts of others and further registrations, for one job and for two in one client session.
//!
//! What is explored is the real `plan`, `apply` and `serve`; Keycloak, the store and time are models, small enough to be
//! read in one sitting. The reconciler's loop (`replica`) and a registration (`others`) are told again, one event for
//! each thing that others can come between; a probe is one event, for it changes nothing and nothing hangs on when its
//! answer is read. Revoking the vault's client session and sending a spent refresh token of it are one event as well:
//! Keycloak does the same for either.
//!
//! Held to be true of the world: a request that was sent is carried out within 15 s or never, a lease lasts 15 s, and the
//! quarantine is their sum; a fence is given out once, even by a store that loses writes.
//!
//! # What is excluded
//!
//! An exchange with an access token of an earlier life of the client session ends the user's session. The entry of the
//! session is read again right before an exchange, and nothing is exchanged while somebody is joining, so that this can
//! come about in one way only, [`JoinedInFlight`](world::Gap::JoinedInFlight): the client session ends after the probe was
//! answered (before or after the entry is read again makes no difference, for Keycloak tells nobody), and another
//! registration *both joins and* creates it anew by its own exchange between that reading and the arrival of the vault's
//! exchange. Nothing in the vault can see this.
//!
//! The other one is the store's, [`IntentLost`](world::Gap::IntentLost): Redis loses the intent of a spend, and the lease
//! with it, while that spend is under way; the next replica probes before it is carried out, and sends after it. Only a
//! write that a second Redis has acknowledged (`redis.ack_replicas`) makes this less likely.
//!
//! Paths that come to either are counted and not followed; everything else that ends the user's session is a violation.
//!
//! Not in the model: what a replica has written, still holds in memory and writes again after a rollback (a job whose
//! spend Redis has lost counts as no excess loss here; an answer whose first write is refused is in the model), suspended jobs, children, and sessions that come to their end.
//! Releasing a job and taking it out of its entry are one event, and so are claiming a record and reading the entry.

pub mod canon;
pub mod catalogue;
pub mod events;
pub mod explore;
pub mod job;
pub mod keycloak;
pub mod others;
pub mod replica;
pub mod world;

pub use explore::{Explored, explore};
