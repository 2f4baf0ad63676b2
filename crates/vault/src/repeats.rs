//! What goes wrong again and again is said once, and after that once a minute with how often it was: a log that repeats
//! one cause a hundred times hides the others.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use parking_lot::Mutex;
use tokenvault_core::time::Timestamp;

/// How often the same is said again.
const EVERY: Duration = Duration::from_mins(1);

/// What was said already, by its cause.
pub struct Repeats<K>(Mutex<HashMap<K, Said>>);

struct Said {
    at: Timestamp,
    since: u64,
}

impl<K> Default for Repeats<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash> Repeats<K> {
    /// It happened once more. If it is to be said (again): how often it was kept quiet since it was said last.
    pub fn happened(&self, cause: K, now: Timestamp) -> Option<u64> {
        let mut said = self.0.lock();
        let Some(before) = said.get_mut(&cause) else {
            said.insert(cause, Said { at: now, since: 0 });
            return Some(0);
        };
        if now.since(before.at) < EVERY {
            before.since += 1;
            return None;
        }
        before.at = now;
        Some(std::mem::take(&mut before.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_said_once_and_then_counted() {
        let (repeats, start) = (Repeats::default(), Timestamp::from_millis(1_000_000));
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(repeats.happened("refused", start), Some(0));
        assert_eq!((1..60).filter_map(|second| repeats.happened("refused", at(second))).count(), 0);
        assert_eq!(repeats.happened("timeout", at(59)), Some(0), "another cause is said at once");
        assert_eq!(repeats.happened("refused", at(60)), Some(59));
        assert_eq!(repeats.happened("refused", at(61)), None);
    }
}
