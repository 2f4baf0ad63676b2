//! How many connections one caller may have at a time, so that no caller takes all of them.
//!
//! A caller is one name in the policy, whatever certificates it uses. All certificates that the policy does not know are one
//! caller together: an authority may hand out any number of names, and each would have a share of its own.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::tls::Peer;

/// Connections of all together whom the policy does not know: enough to be told so.
const UNKNOWN_CALLERS: usize = 16;

/// Knows whose a certificate is.
pub trait CallerLookup: Send + Sync {
    /// The name of its holder in the policy, if the policy knows them.
    fn caller_name(&self, peer: &Peer) -> Option<String>;
}

/// Where clients have no certificates, nobody has a share either.
pub struct NoCallers;

impl CallerLookup for NoCallers {
    fn caller_name(&self, _: &Peer) -> Option<String> {
        None
    }
}

/// The connections of each caller; of strangers under no name.
pub(super) struct CallerConnections {
    most: usize,
    callers: Arc<dyn CallerLookup>,
    held: Mutex<HashMap<Option<String>, usize>>,
}

/// One connection of somebody's; over when it is dropped.
pub(super) struct CallerConnection {
    caller_name: Option<String>,
    all: Arc<CallerConnections>,
}

impl CallerConnections {
    pub(super) fn new(most: usize, callers: Arc<dyn CallerLookup>) -> Arc<Self> {
        Arc::new(Self { most, callers, held: Mutex::default() })
    }

    /// One more connection of a caller's, if it may have one.
    pub(super) fn take(self: &Arc<Self>, peer: &Peer) -> Option<CallerConnection> {
        let caller_name = self.callers.caller_name(peer);
        let most = if caller_name.is_some() { self.most } else { self.most.min(UNKNOWN_CALLERS) };
        let mut held = self.held.lock();
        let connections = held.entry(caller_name.clone()).or_default();
        if *connections >= most {
            return None;
        }
        *connections += 1;
        Some(CallerConnection { caller_name, all: Arc::clone(self) })
    }
}

impl Drop for CallerConnection {
    fn drop(&mut self) {
        let mut held = self.all.held.lock();
        if let Some(connections) = held.get_mut(&self.caller_name) {
            *connections -= 1;
            if *connections == 0 {
                held.remove(&self.caller_name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::CertificateDer;

    use super::*;

    /// Certificates from 10 on are each of the ten's; the others are nobody's.
    struct Tens;

    impl CallerLookup for Tens {
        fn caller_name(&self, peer: &Peer) -> Option<String> {
            let ten = peer.certificate()[0] / 10;
            (ten > 0).then(|| ten.to_string())
        }
    }

    fn peer(number: u8) -> Peer {
        Peer::new(CertificateDer::from(vec![number]))
    }

    #[test]
    fn a_caller_has_its_share_under_all_its_names_and_gets_back_what_it_gives_up() {
        let shares = CallerConnections::new(2, Arc::new(Tens));
        let first = shares.take(&peer(10)).expect("a share");
        let _second = shares.take(&peer(11)).expect("a share");
        assert!(shares.take(&peer(12)).is_none());
        assert!(shares.take(&peer(20)).is_some());
        drop(first);
        assert!(shares.take(&peer(12)).is_some());
        assert_eq!(shares.held.lock().len(), 1);
    }

    #[test]
    fn strangers_have_one_small_share_together() {
        let shares = CallerConnections::new(1_000, Arc::new(Tens));
        let strangers: Vec<_> =
            (0..10).cycle().take(UNKNOWN_CALLERS).map(|number| shares.take(&peer(number))).collect();
        assert!(strangers.iter().all(Option::is_some));
        assert!((0..10).all(|number| shares.take(&peer(number)).is_none()));
        assert!(shares.take(&peer(10)).is_some());
    }
}
