//! The pure renewal machine, explored exhaustively: every order of the steps of two replicas, with crashes, lost requests,
//! lost and late answers, the acts of others and further registrations, for one job and for two in one client session.
//!
//! What is explored is the product's own `policy`: which step comes next, what it requires, which request it sends, what is
//! owed after its outcome, what is written, and how a read is served. Keycloak, the store and time are models, small enough
//! to be read in one sitting. A replica (`replica`) carries the policy out as the reconciler does, one event for each thing
//! that others can come between; a registration (`others`) is told again. A probe is one event, and so is the question about
//! an access token, for they change nothing. Revoking the vault's client session and sending a spent refresh token of it are one event as well: Keycloak does
//! the same for either. What must never be is said in `judge`.
//!
//! Held to be true of the world: a request that was sent is carried out within 15 s or never, a lease lasts 15 s, and the
//! quarantine is their sum; a fence is given out once, even by a store that loses writes.
//!
//! # Keycloak's faults
//!
//! - It *errs* about sessions that live, for less than the doubt: probes and questions say inactive, refreshes and exchanges
//!   are refused and consume nothing. No job may be lost by it. The doubt is short (5 s, so that the second no is the last),
//!   which leaves nothing to spare. In one world it errs for longer: then jobs may be lost, and nothing else may go wrong.
//! - *A key of the realm is deleted.* Without the HMAC key every refresh token is void, while access tokens bring good pairs;
//!   without the signing key it is the other way round. A job whose access token may be exchanged when it ends was lost needlessly.
//! - *A job's token grows too long* to be exchanged: it is renewed by spending. (That this bars nobody else is the reconciler's
//!   part, which learns about a client from other refusals alone.)
//! - *A logout is announced*, up to 20 s before the session ends.
//! - *Connections freeze*, which needs no event of its own: a request that is never carried out (`LoseRequest`), is carried out
//!   later (`Stall`), or whose answer is lost (`LoseAnswer`), and a probe without an answer (`ProbeFails`). That this may go
//!   on for longer than an access token lives is in it too, for nobody has to act before time passes.
//!
//! In the `prompt` worlds replicas do at once what there is to do. There it can be said what must come about: a job is over
//! within its usual renewal and the doubt after its session has ended ([`Outlived`](judge::Violation::Outlived)), and one
//! whose access token had enough life left when the HMAC key was deleted goes on.
//!
//! # What is excluded
//!
//! An exchange with an access token of an earlier life of the client session ends the user's session. The entry of the
//! session is read again right before an exchange, and nothing is exchanged while somebody is joining, so that this can
//! come about in one way only, [`JoinedInFlight`](judge::Gap::JoinedInFlight): the client session ends after the probe was
//! answered (before or after the entry is read again makes no difference, for Keycloak tells nobody), and another
//! registration *both joins and* creates it anew by its own exchange between that reading and the arrival of the vault's
//! exchange. Nothing in the vault can see this.
//!
//! The other one is the store's, [`IntentLost`](judge::Gap::IntentLost): Redis loses the intent of a spend, and the lease
//! with it, while that spend is under way; the next replica probes before it is carried out, and sends after it. Only a
//! write that a second Redis has acknowledged (`redis.ack_replicas`) makes this less likely.
//!
//! Paths that come to either are counted and not followed; everything else that ends the user's session is a violation.
//!
//! Not in the model: permits to spend, a client's right to exchange, an end that is put off; what a replica has written,
//! still holds in memory and writes again after a rollback (a job whose
//! spend Redis has lost counts as no excess loss here; an answer whose first write is refused is in the model), what becomes of
//! suspended jobs, children, and sessions that come to their end. Nor is a Keycloak that errs more than once, or just when a key
//! is deleted; one that answers a probe late, so that a no is older than it seems; and an exchange that meets it in the middle
//! of ending a session and keeps that alive. Releasing a job and taking it out of its entry are one event, and so are claiming
//! a record and reading the entry; a rollback of the store always begins a new life of it.

pub mod canon;
pub mod catalogue;
pub mod events;
pub mod explore;
pub mod job;
pub mod judge;
pub mod keycloak;
pub mod others;
pub mod replica;
pub mod world;

pub use explore::{Explored, explore};
