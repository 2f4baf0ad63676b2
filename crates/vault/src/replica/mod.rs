//! What this replica knows by itself, for parts of the process that ask often: whether renewal is paused, what is in
//! flight, which clients may exchange, how far each job was seen, and which schema the store has.
//!
//! The member of the fleet hears it; the use cases and the reconciler ask. What was learnt here once is not taken back: a
//! store that suddenly knows less is not believed.

mod exchange;
mod in_flight;
mod pause;
mod schema;
mod seen;

pub use exchange::ExchangeRights;
pub use in_flight::{InFlight, RenewalInFlight, SpendInFlight};
pub use pause::PauseState;
pub use schema::HeardSchema;
pub use seen::{Progression, SeenGenerations};

/// All of it.
#[derive(Debug, Default)]
pub struct ReplicaState {
    /// Whether renewal is paused.
    pub pause: PauseState,
    /// The renewals and the spends that have begun and are not over.
    pub in_flight: InFlight,
    /// Which clients may exchange.
    pub exchange: ExchangeRights,
    /// How far each job was seen.
    pub seen: SeenGenerations,
    /// The store's schema.
    pub schema: HeardSchema,
}
