//! What the core asks of the outside world.
//!
//! Adapters implement these traits: the store on Redis and the one in [`crate::memory`], the identity provider on
//! Keycloak, the machine's clock and randomness. Nothing behind a port decides what to do next.

mod error;
mod fleet;
mod idp;
mod store;

use crate::time::Timestamp;

pub use error::{CAUSES, StoreCause, StoreError};
pub use fleet::{
    Census, Event, EventStore, Filter, Fleet, InventoryStore, KeyProof, KeyStore, LARGEST_PAGE, NEWEST_SCHEMA, Pause,
    PauseStore, Promoted, RecordPage, ReplicaStatus, ReplicaStore, Resealing, ResealingStore, event_place,
};
pub use idp::{
    CallError, Cause, Client, Grant, GrantError, Identity, IdentityProvider, Introspection, Privilege, Proof,
    ProofError, Refusal,
};
pub use store::{
    Claim, Claimed, Created, HOLD, HOLD_GAP, JOINING, JobStore, Join, Joined, LONGEST_HOLD, LayeredStore, Lease,
    MOST_JOINING, MOST_JOINING_OF_ONE, ServerStore, SessionEntry, SessionLook, SessionStore, ShareStore, StoreLayer,
    Stored, TermsGuard, TokenStore, UserStore, Write, WriteGuard, Written,
};

/// The vault's clock runs slower or faster than time by this part at most (1/n) where it is not what the store's shows.
pub const CLOCK_SWAY: u32 = 100;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;

    /// How far it is ahead of the store's clock, which it approaches.
    fn ahead_of_store_ms(&self) -> i64 {
        0
    }

    /// Whether it is known to agree with the other replicas'. Until it does, nothing is stamped or judged by it.
    fn is_sure(&self) -> bool {
        true
    }
}

/// Gives random bytes fit for salts and ids.
pub trait Entropy: Send + Sync {
    /// Fills the slice.
    fn fill(&self, out: &mut [u8]);

    /// 64 random bits.
    fn bits(&self) -> u64 {
        let mut out = [0; 8];
        self.fill(&mut out);
        u64::from_be_bytes(out)
    }
}

/// A clock and a source of randomness that tests hold in their hands.
pub mod testing {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::{Clock, Entropy};
    use crate::time::Timestamp;

    /// A clock that stands until it is moved.
    #[derive(Debug)]
    pub struct ManualClock(AtomicU64);

    impl ManualClock {
        /// A clock that stands at an instant.
        pub fn at(now: Timestamp) -> Self {
            Self(AtomicU64::new(now.as_millis()))
        }

        /// Moves it on.
        pub fn advance(&self, by: Duration) {
            let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
            self.0.fetch_add(millis, Ordering::SeqCst);
        }
    }

    impl Clock for ManualClock {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(self.0.load(Ordering::SeqCst))
        }
    }

    /// Repeatable randomness (`SplitMix64`). Never for production.
    #[derive(Debug)]
    pub struct SeededEntropy(AtomicU64);

    impl SeededEntropy {
        /// The same seed gives the same bytes.
        pub fn new(seed: u64) -> Self {
            Self(AtomicU64::new(seed))
        }
    }

    impl Entropy for SeededEntropy {
        fn fill(&self, out: &mut [u8]) {
            for chunk in out.chunks_mut(8) {
                let state = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst);
                let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                mixed ^= mixed >> 31;
                chunk.copy_from_slice(&mixed.to_be_bytes()[..chunk.len()]);
            }
        }
    }
}
