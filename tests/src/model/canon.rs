//! Tells states apart by 128 bits, whatever they were numbered with.
//!
//! What only counts on is hashed relative to where it stands: an instant relative to now, a generation and a fence relative
//! to the stored record's. A pair is hashed as what Keycloak knows of it and by the order in which it is met, never by its
//! number. So two states that differ only in how long ago the job began are one, and the exploration may come to a close.
//! Must never leave out a field: it goes by the derived `Hash` of the product's own types.

use std::hash::{Hash, Hasher};

use tokenvault_core::time::Timestamp;

use super::keycloak::{Keycloak, PairId};

/// The first generation and the first fence: numbers from here on are known for what they are.
pub const FIRST_GENERATION: u64 = 5_000_000;
/// See [`FIRST_GENERATION`].
pub const FIRST_FENCE: u64 = 7_000_000;
/// The first instant, in milliseconds.
pub const FIRST_INSTANT: u64 = 1_000_000_000;
/// The first byte of whatever names a pair; no text begins with it.
pub const PAIR_MARK: u8 = 0xF5;

const RANGE: u64 = 1_000_000;
/// Nothing the machine decides depends on how much longer ago than this (in milliseconds) something was, or how much
/// farther ahead than the other it is.
const LONG_AGO: i64 = -200_000;
const FAR_AHEAD: i64 = 10_000_000;
const MOST_PAIRS: usize = 32;

/// A hasher that knows the world it hashes a part of.
#[derive(Clone)]
pub struct Canon<'a> {
    lanes: [u64; 2],
    keycloak: &'a Keycloak,
    now: u64,
    generation: u64,
    fence: u64,
    pairs: [u8; MOST_PAIRS],
    sessions: [u8; MOST_PAIRS],
    met: [u8; 2],
}

impl<'a> Canon<'a> {
    /// A hasher for the job that stands at this generation and fence.
    pub fn new(keycloak: &'a Keycloak, now: Timestamp, generation: u64, fence: u64) -> Self {
        Self {
            lanes: [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344],
            keycloak,
            now: now.as_millis(),
            generation,
            fence,
            pairs: [0; MOST_PAIRS],
            sessions: [0; MOST_PAIRS],
            met: [0; 2],
        }
    }

    /// The 128 bits.
    pub fn bits(&self) -> u128 {
        u128::from(self.lanes[0]) << 64 | u128::from(self.lanes[1])
    }

    fn mix(&mut self, value: u64) {
        const KEYS: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93];
        for (lane, key) in self.lanes.iter_mut().zip(KEYS) {
            let product = u128::from(lane.rotate_left(23) ^ value) * u128::from(key);
            let [high, low] = halves(product);
            *lane = (high ^ low).wrapping_add(key);
        }
    }

    /// What Keycloak knows of a pair, the first time; later only that it is the same one.
    pub fn pair(&mut self, id: PairId) {
        let place = usize::from(id);
        if self.pairs[place] != 0 {
            return self.mix(u64::from(self.pairs[place]));
        }
        self.met[0] += 1;
        self.pairs[place] = self.met[0];
        let Some(issue) = self.keycloak.issue(id) else { return self.mix(0xFF) };
        let session = usize::from(issue.session);
        if self.sessions[session] == 0 {
            self.met[1] += 1;
            self.sessions[session] = self.met[1];
        }
        self.mix(0x100 + u64::from(self.sessions[session]));
        self.keycloak.hash_session(issue.session, self);
        issue.hash(self);
    }
}

/// The upper and the lower 64 bits.
pub fn halves(bits: u128) -> [u64; 2] {
    let bytes = bits.to_be_bytes();
    let (upper, lower) = bytes.split_at(8);
    [upper, lower].map(|half| u64::from_be_bytes(half.try_into().expect("half of 16 bytes")))
}

impl Hasher for Canon<'_> {
    fn finish(&self) -> u64 {
        self.lanes[0]
    }

    fn write(&mut self, bytes: &[u8]) {
        if let [PAIR_MARK, .., id] = bytes {
            return self.pair(*id);
        }
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, value: u64) {
        let relative = |tag: u64, base: u64, least: i64, most: i64| {
            let distance = i128::from(value) - i128::from(base);
            let distance = distance.clamp(i128::from(least), i128::from(most));
            tag.wrapping_add(u64::try_from(distance - i128::from(least)).expect("clamped from below"))
        };
        let word = if value >= FIRST_INSTANT {
            relative(1 << 56, self.now, LONG_AGO, FAR_AHEAD)
        } else if (FIRST_GENERATION - RANGE..FIRST_GENERATION + RANGE).contains(&value) {
            relative(2 << 56, self.generation, -1000, 1000)
        } else if (FIRST_FENCE - RANGE..FIRST_FENCE + RANGE).contains(&value) {
            relative(3 << 56, self.fence, -1000, 1000)
        } else {
            value
        };
        self.mix(word);
    }

    fn write_u8(&mut self, value: u8) {
        self.mix(u64::from(value));
    }

    fn write_u16(&mut self, value: u16) {
        self.mix(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.mix(u64::from(value));
    }

    fn write_u128(&mut self, value: u128) {
        for half in halves(value) {
            self.mix(half);
        }
    }

    fn write_usize(&mut self, value: usize) {
        self.mix(value as u64);
    }

    fn write_isize(&mut self, value: isize) {
        self.mix(value.unsigned_abs() as u64);
    }
}
