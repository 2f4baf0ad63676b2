//! Misbehaviour on demand: the answers that get lost, late or garbled between a server and whoever asked it. The rules
//! of the state machine are untouched; only what travels is.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::journal::Endpoint;

/// When a fault strikes: the difference between «nothing happened» and «nobody heard».
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The request is lost; nothing was done.
    Before,
    /// The request was carried out; its answer is lost.
    After,
}

/// One misbehaviour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The request is carried out at once and answered late.
    Delay(Duration),
    /// The request waits, and is carried out and answered late.
    Stall(Duration),
    /// A status with a JSON error, as from a database that rolled back (or did not).
    Status(Moment, u16),
    /// A page of HTML with a status, as from a proxy in between.
    Html(Moment, u16),
    /// The answer breaks off after so many bytes of its body.
    Cut(usize),
    /// The connection is closed without a byte.
    Drop(Moment),
}

/// The faults to come. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<FaultQueues>>);

#[derive(Debug, Default)]
struct FaultQueues {
    next: BTreeMap<Endpoint, VecDeque<Fault>>,
    every: BTreeMap<Endpoint, Fault>,
}

impl Faults {
    /// The next request to an endpoint suffers this, after those already lined up.
    pub fn next(&self, endpoint: Endpoint, fault: Fault) {
        self.next_n(endpoint, 1, fault);
    }

    /// The next `n` requests to an endpoint suffer this.
    pub fn next_n(&self, endpoint: Endpoint, n: usize, fault: Fault) {
        let mut queues = self.0.lock();
        queues.next.entry(endpoint).or_default().extend(std::iter::repeat_n(fault, n));
    }

    /// Every request to an endpoint suffers this, until [`Faults::clear`].
    pub fn every(&self, endpoint: Endpoint, fault: Fault) {
        self.0.lock().every.insert(endpoint, fault);
    }

    /// No more faults.
    pub fn clear(&self) {
        *self.0.lock() = FaultQueues::default();
    }

    /// How many faults are still to strike an endpoint, those that strike always not counted.
    pub fn pending(&self, endpoint: Endpoint) -> usize {
        self.0.lock().next.get(&endpoint).map_or(0, VecDeque::len)
    }

    pub(crate) fn take(&self, endpoint: Endpoint) -> Option<Fault> {
        let mut queues = self.0.lock();
        let next = queues.next.get_mut(&endpoint).and_then(VecDeque::pop_front);
        next.or_else(|| queues.every.get(&endpoint).copied())
    }
}
