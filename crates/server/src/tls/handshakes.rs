//! Connections that have not shown who they are yet: so many and no more, and none of them in another's way.
//!
//! Where there is no room for one more, the one that has waited longest of the address with the most is cut. A client that
//! means it is done within milliseconds, so slow strangers cut each other, and a flood from one place leaves all other places
//! alone.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// The handshakes under way.
pub(super) struct Handshakes {
    most: usize,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    begun: u64,
    under_way: usize,
    /// The oldest of each address first.
    by_address: HashMap<IpAddr, VecDeque<(u64, CancellationToken)>>,
}

/// One handshake; over when it is dropped.
pub(super) struct Handshake {
    number: u64,
    address: IpAddr,
    cut: CancellationToken,
    all: Arc<Handshakes>,
}

impl Handshakes {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most: most.max(1), table: Mutex::default() })
    }

    /// One more, for which another one may have to go.
    pub(super) fn begin(self: &Arc<Self>, address: IpAddr) -> Handshake {
        let address = place(address);
        let cut = CancellationToken::new();
        let mut table = self.table.lock();
        if table.under_way >= self.most {
            table.cut_one();
        }
        table.begun += 1;
        table.under_way += 1;
        let number = table.begun;
        table.by_address.entry(address).or_default().push_back((number, cut.clone()));
        Handshake { number, address, cut, all: Arc::clone(self) }
    }
}

impl Table {
    fn cut_one(&mut self) {
        let heaviest =
            self.by_address.iter().max_by_key(|(_, handshakes)| handshakes.len()).map(|(address, _)| *address);
        let Some(address) = heaviest else { return };
        if let Some((number, cut)) = self.by_address.get(&address).and_then(|handshakes| handshakes.front().cloned()) {
            cut.cancel();
            self.remove(address, number);
        }
    }

    fn remove(&mut self, address: IpAddr, number: u64) {
        let Some(handshakes) = self.by_address.get_mut(&address) else { return };
        // Numbers only grow, so they stand in their order.
        if let Ok(at) = handshakes.binary_search_by_key(&number, |(number, _)| *number) {
            handshakes.remove(at);
            self.under_way -= 1;
        }
        if handshakes.is_empty() {
            self.by_address.remove(&address);
        }
    }
}

impl Handshake {
    /// Until it has to go.
    pub(super) async fn cut(&self) {
        self.cut.cancelled().await;
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.all.table.lock().remove(self.address, self.number);
    }
}

/// Whoever has an IPv6 address has 2^64 of them.
fn place(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn is_cut(handshake: &Handshake) -> bool {
        handshake.cut.is_cancelled()
    }

    #[test]
    fn the_oldest_of_the_heaviest_address_makes_room() {
        let all = Handshakes::new(4);
        let good = all.begin(address("10.0.0.1"));
        let flood: Vec<Handshake> = (0..10).map(|_| all.begin(address("10.0.0.2"))).collect();
        let other = all.begin(address("10.0.0.3"));
        assert!(!is_cut(&good) && !is_cut(&other));
        let cut: Vec<bool> = flood.iter().map(is_cut).collect();
        assert_eq!(cut, [[true; 8].as_slice(), &[false; 2]].concat(), "the newest are let be");
        assert_eq!(all.table.lock().under_way, 4);
    }

    #[test]
    fn what_is_over_takes_no_room() {
        let all = Handshakes::new(1);
        drop(all.begin(address("10.0.0.1")));
        let next = all.begin(address("10.0.0.1"));
        let cut = all.begin(address("10.0.0.2"));
        assert!(is_cut(&next) && !is_cut(&cut));
        drop((next, cut));
        assert_eq!(all.table.lock().under_way, 0);
        assert!(all.table.lock().by_address.is_empty());
    }

    #[test]
    fn addresses_of_one_network_of_ipv6_are_one_and_a_mapped_one_is_what_it_maps() {
        assert_eq!(place(address("2001:db8::1")), place(address("2001:db8::ffff:1")));
        assert_ne!(place(address("2001:db8::1")), place(address("2001:db8:0:1::1")));
        assert_eq!(place(address("::ffff:10.0.0.1")), address("10.0.0.1"));
    }
}
