//! The deterministic simulation: the real reconciler, use cases and HTTP client code over simulated time, network, store
//! and Keycloak. The same seed gives the same trace.
//!
//! A **fault point** is every await on a port by any replica: each operation of the store (asking a shard in which
//! nothing is due is none) and each exchange with Keycloak. At each, the seed may have the replica crash before or after
//! it, the request lost, the answer lost, late (later than the sender waits, so that it is carried out after all), slow,
//! cut or replaced by a 5xx, a store operation carried out twice, a request to Keycloak delivered twice; or, beside it, the store thrown back by up to two
//! seconds, the store or Keycloak away, a clock set wrong by up to five minutes, the process stopped past its leases, and
//! others at work: interfaces that refresh, log out or revoke, administrators who disable a user, further jobs in the
//! same session; or Keycloak in trouble ([`trouble`]): it errs for up to a minute about sessions that live, keys are rotated and
//! deleted, a user's tokens grow too long to be exchanged, connections freeze. Every seed ends with a quiet time, after which whoever should live must be served.
//!
//! What is excused, and nothing else:
//! - A job whose session others ended, or whose client session they revoked ([`people`]).
//! - A job of whose tokens not one unspent is left to the vault, nor would be had it kept what it was to keep ([`oracle`]).
//!   An impersonated job has no such excuse: it can always be impersonated again.
//! - A user session ended by a stale exchange, where another job joined that session after the exchange's last look at its
//!   entry (`gaps`), or where the store had lost that join before the look (`joins_lost`): [`joins`].
//! - A job whose user was disabled just when the fate of a spend was unknown: the probe then says what it says of a spent
//!   token; or while its deposited token had not been renewed yet, which its owner may have spent as well
//!   ([`world::World::given_up`]). Counted as `indistinct`.
//! - An impersonated job that is suspended as `unclear` after the store has gone back: its own session may have been ended by
//!   somebody, which the vault does not undo. Counted as `indistinct` as well.
//! - A job whose refresh tokens lost their key, and whose access token could not be exchanged or died before the trouble was
//!   over. Counted as `keys_gone`.
//! - A job that the store forgot altogether in a rollback right after its creation: its module is told that there is no
//!   such job, and registers it again ([`module`]).
//!
//! What is not modelled: a refresh delivered to Keycloak twice by somebody in between, which is reuse whoever the client
//! is; a process that stops
//! between its last look at the clock and the first byte of a request (it takes effect at awaits); requests that are
//! carried out later than [`weather::LATEST_MS`] after they were sent.

pub mod dice;
pub mod import;
pub mod joins;
pub mod many;
pub mod module;
pub mod oracle;
pub mod people;
pub mod play;
pub mod process;
pub mod realm;
pub mod replica;
pub mod store;
pub mod trace;
pub mod trouble;
pub mod weather;
pub mod wire;
pub mod world;

use serde::Serialize;
use tokenvault_core::record::Acquisition;
use tokio::runtime::Builder;

/// How to play.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, not the stages of one state")]
pub struct Options {
    /// With the naive renewer instead of the reconciler.
    pub naive: bool,
    /// Writing every event down.
    pub full: bool,
    /// A twelfth of the storm and hardly any quiet after it: enough to compare traces, too little to judge.
    pub brief: bool,
    /// With one registration after another in the same sessions, where interfaces revoke: what a stale exchange is made of.
    pub crowded: bool,
    /// With a store that shows nobody who is joining: in a crowd, user sessions are to end of it.
    pub hides_joining: bool,
    /// With a vault that believes Keycloak's first no: where Keycloak errs, jobs are to be lost that need not be.
    pub credulous: bool,
}

/// What came of one seed.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Fault points passed.
    pub points: u64,
    /// Jobs there were.
    pub jobs: u64,
    /// Jobs lost that nobody else had ended, those that are [`Self::indistinct`] among them.
    pub lost: u64,
    /// Those of them that are not indistinct, by how their pairs were come by.
    pub lost_by: Losses,
    /// Jobs lost that could have been saved.
    pub excess_loss: u64,
    /// Jobs ended because a disabled user could not be told from a spend that had arrived.
    pub indistinct: u64,
    /// Jobs lost because the key of their refresh tokens was deleted, and their access token had died, or could not be
    /// exchanged, before the trouble was over.
    pub keys_gone: u64,
    /// Refresh tokens sent again after a refresh had been carried out with them.
    pub double_spends: u64,
    /// Access tokens served that had expired.
    pub expired_served: u64,
    /// User sessions ended by an act of the vault's.
    pub ui_sessions_killed: u64,
    /// User sessions ended in the gap that is excused: somebody joined after the last look at the entry.
    pub gaps: u64,
    /// User sessions ended because the store had lost a join.
    pub joins_lost: u64,
    /// Jobs that could not be registered.
    pub given_up: u64,
    /// Jobs that served again after a module had been told that they were over: their answer was held by a process that
    /// stood still. Not lost, but no joy either.
    pub revived: u64,
    /// The hash of all events.
    pub trace_hash: u64,
    /// What must never be, in words.
    pub stories: Vec<String>,
    /// The last events.
    pub last: Vec<String>,
    /// All events, where they were to be written down.
    pub full: Option<String>,
}

/// Jobs lost, by acquisition.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Losses {
    /// By exchange.
    pub exchange: u64,
    /// By impersonation: never, whatever befalls the vault.
    pub impersonate: u64,
    /// By adoption.
    pub adopt: u64,
}

impl Losses {
    fn count(&mut self, acquisition: Acquisition) {
        *match acquisition {
            Acquisition::Exchange => &mut self.exchange,
            Acquisition::Impersonate => &mut self.impersonate,
            Acquisition::Adopt => &mut self.adopt,
        } += 1;
    }

    fn add(&mut self, other: Self) {
        self.exchange += other.exchange;
        self.impersonate += other.impersonate;
        self.adopt += other.adopt;
    }
}

impl Outcome {
    /// Whether nothing happened that must never be.
    pub fn is_good(&self) -> bool {
        self.lost_by.impersonate + self.excess_loss + self.double_spends + self.expired_served + self.ui_sessions_killed
            == 0
    }
}

/// Plays one seed.
pub fn run(seed: u64, options: &Options) -> Outcome {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime without input and output").block_on(play::play(seed, options))
}
