//! How many connections one certificate's holder may have at a time, so that none takes all there are.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::callers::Peer;

/// The connections of each holder.
pub(super) struct Shares {
    most: usize,
    held: Mutex<HashMap<Box<[u8]>, usize>>,
}

/// One connection of somebody's; over when it is dropped.
pub(super) struct Share {
    holder: Box<[u8]>,
    all: Arc<Shares>,
}

impl Shares {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, held: Mutex::default() })
    }

    /// One more connection of a holder's, if it may have one.
    pub(super) fn take(self: &Arc<Self>, peer: &Peer) -> Option<Share> {
        let holder = holder(peer);
        let mut held = self.held.lock();
        let connections = held.entry(holder.clone()).or_default();
        if *connections >= self.most {
            return None;
        }
        *connections += 1;
        Some(Share { holder, all: Arc::clone(self) })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.all.held.lock();
        if let Some(connections) = held.get_mut(&self.holder) {
            *connections -= 1;
            if *connections == 0 {
                held.remove(&self.holder);
            }
        }
    }
}

/// By the name the certificate gives, for a module may have several; by the certificate itself where it gives none.
fn holder(peer: &Peer) -> Box<[u8]> {
    let name =
        peer.names().ok().and_then(|names| names.uri.as_ref().or_else(|| names.dns.first()).or(names.cn.as_ref()));
    name.map_or_else(|| peer.certificate().as_ref().into(), |name| name.as_bytes().into())
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::CertificateDer;

    use super::*;

    #[test]
    fn a_holder_has_its_share_and_no_more_and_gets_back_what_it_gives_up() {
        let shares = Shares::new(2);
        let (one, other) = (Peer::new(CertificateDer::from(vec![1])), Peer::new(CertificateDer::from(vec![2])));
        let first = shares.take(&one).expect("a share");
        let _second = shares.take(&one).expect("a share");
        assert!(shares.take(&one).is_none());
        assert!(shares.take(&other).is_some());
        drop(first);
        assert!(shares.take(&one).is_some());
        assert_eq!(shares.held.lock().len(), 1);
    }
}
