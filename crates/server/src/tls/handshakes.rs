//! Connections that have not shown yet who they are: a bounded number, and none of them in the way of another.
//!
//! Where there is no room for one more, a connection is cut: the oldest of the address with the most. Connections that have not
//! sent their greeting go first. An honest client sends it within milliseconds, and what follows is the vault's work. So slow
//! clients cut each other, and a flood from one address leaves all other addresses alone.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// The handshakes under way.
pub(crate) struct Handshakes {
    most: usize,
    table: Mutex<HandshakeTable>,
}

#[derive(Default)]
struct HandshakeTable {
    begun: u64,
    under_way: usize,
    /// Those whose greeting (`ClientHello`) is not there yet.
    silent: AddressQueues,
    /// Those who wait for the vault.
    greeted: AddressQueues,
}

/// The oldest of each address first.
#[derive(Default)]
struct AddressQueues(HashMap<IpAddr, VecDeque<(u64, CancellationToken)>>);

impl AddressQueues {
    fn push(&mut self, address: IpAddr, number: u64, cut: CancellationToken) {
        let queue = self.0.entry(address).or_default();
        // Numbers grow, but a greeting may come out of turn.
        let at = queue.partition_point(|(other, _)| *other < number);
        queue.insert(at, (number, cut));
    }

    fn take(&mut self, address: IpAddr, number: u64) -> Option<CancellationToken> {
        let queue = self.0.get_mut(&address)?;
        let at = queue.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        let taken = queue.remove(at);
        if queue.is_empty() {
            self.0.remove(&address);
        }
        taken.map(|(_, cut)| cut)
    }

    /// The oldest of the address with the most.
    fn take_oldest(&mut self) -> Option<CancellationToken> {
        let (address, queue) = self.0.iter().max_by_key(|(_, queue)| queue.len())?;
        let (address, number) = (*address, queue.front()?.0);
        self.take(address, number)
    }
}

/// One handshake; over when it is dropped.
pub(crate) struct Handshake {
    number: u64,
    address: IpAddr,
    cut: CancellationToken,
    all: Arc<Handshakes>,
}

impl Handshakes {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most: most.max(1), table: Mutex::default() })
    }

    /// One more, for which another one may have to go.
    pub(crate) fn begin(self: &Arc<Self>, address: IpAddr) -> Handshake {
        let address = place(address);
        let cut = CancellationToken::new();
        let mut table = self.table.lock();
        if table.under_way >= self.most {
            table.cut_one();
        }
        table.begun += 1;
        table.under_way += 1;
        let number = table.begun;
        table.silent.push(address, number, cut.clone());
        Handshake { number, address, cut, all: Arc::clone(self) }
    }
}

impl HandshakeTable {
    fn cut_one(&mut self) {
        if let Some(cut) = self.silent.take_oldest().or_else(|| self.greeted.take_oldest()) {
            cut.cancel();
            self.under_way -= 1;
        }
    }
}

impl Handshake {
    /// The client has said what it wants; from here on it waits for the vault.
    pub(crate) fn greeted(&self) {
        let mut table = self.all.table.lock();
        if let Some(cut) = table.silent.take(self.address, self.number) {
            table.greeted.push(self.address, self.number, cut);
        }
    }

    /// Until it has to go.
    pub(crate) async fn cut(&self) {
        self.cut.cancelled().await;
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let mut table = self.all.table.lock();
        let HandshakeTable { silent, greeted, .. } = &mut *table;
        let held = silent.take(self.address, self.number).or_else(|| greeted.take(self.address, self.number));
        table.under_way -= usize::from(held.is_some());
    }
}

/// Whoever has an IPv6 address has 2^64 of them.
fn place(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        IpAddr::V4(address) => IpAddr::V4(address),
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
        assert!(all.table.lock().silent.0.is_empty() && all.table.lock().greeted.0.is_empty());
    }

    #[test]
    fn the_silent_go_before_those_who_wait_for_the_vault() {
        let all = Handshakes::new(3);
        let polite: Vec<Handshake> = (0..2).map(|_| all.begin(address("10.0.0.1"))).collect();
        polite.iter().for_each(Handshake::greeted);
        let silent: Vec<Handshake> = (0..5).map(|_| all.begin(address("10.0.0.2"))).collect();
        assert!(!polite.iter().any(is_cut));
        assert_eq!(silent.iter().filter(|one| is_cut(one)).count(), 4);
        silent[4].greeted();
        let _next = all.begin(address("10.0.0.3"));
        assert!(is_cut(&polite[0]), "where everybody has greeted, the heaviest address gives way");
        drop((polite, silent));
        assert_eq!(all.table.lock().under_way, 1);
    }

    #[test]
    fn addresses_of_one_network_of_ipv6_are_one_and_a_mapped_one_is_what_it_maps() {
        assert_eq!(place(address("2001:db8::1")), place(address("2001:db8::ffff:1")));
        assert_ne!(place(address("2001:db8::1")), place(address("2001:db8:0:1::1")));
        assert_eq!(place(address("::ffff:10.0.0.1")), address("10.0.0.1"));
    }
}
