//! The ids of logout tokens that were used, until they are too old to be used again.
//!
//! Each replica remembers its own: a token that is shown to two of them makes the same jobs due twice, which does no harm.
//! The memory is bounded; what falls out of it first is what would be forgotten first.

use std::collections::{BTreeSet, HashSet};

use parking_lot::Mutex;
use tokenvault_core::ids::TenantId;
use tokenvault_core::time::Timestamp;
use tokenvault_keycloak::LogoutToken;

/// Ids at most. Each is at most 255 bytes, so this is some 20 MB at the very worst, of tokens that a realm has signed.
const MAX: usize = 32 * 1024;

type TokenKey = (TenantId, String);

/// The used ids.
#[derive(Default)]
pub(super) struct UsedTokens(Mutex<Ids>);

#[derive(Default)]
struct Ids {
    known: HashSet<TokenKey>,
    by_age: BTreeSet<(Timestamp, TokenKey)>,
}

impl UsedTokens {
    /// Notes a token for good if the answer is kept; `None` if it was noted before.
    pub(super) fn claim(&self, tenant: &TenantId, token: &LogoutToken, now: Timestamp) -> Option<TokenUse<'_>> {
        let mut ids = self.0.lock();
        while ids.by_age.first().is_some_and(|(stale_at, _)| *stale_at <= now) {
            ids.drop_first();
        }
        let name = (tenant.clone(), token.id.clone());
        if !ids.known.insert(name.clone()) {
            return None;
        }
        ids.by_age.insert((token.stale_at, name.clone()));
        if ids.known.len() > MAX {
            ids.drop_first();
        }
        Some(TokenUse { used: self, entry: Some((token.stale_at, name)) })
    }
}

/// A token in use. Dropped before it is kept, because what it asks for failed or took too long, it may come again.
pub(super) struct TokenUse<'a> {
    used: &'a UsedTokens,
    entry: Option<(Timestamp, TokenKey)>,
}

impl TokenUse<'_> {
    /// It was acted upon.
    pub(super) fn keep(mut self) {
        self.entry = None;
    }
}

impl Drop for TokenUse<'_> {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take() {
            let mut ids = self.used.0.lock();
            ids.known.remove(&entry.1);
            ids.by_age.remove(&entry);
        }
    }
}

impl Ids {
    fn drop_first(&mut self) {
        if let Some((_, name)) = self.by_age.pop_first() {
            self.known.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOON: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn tenant(name: &str) -> TenantId {
        TenantId::parse(name).expect("a tenant")
    }

    fn token(id: &str, seconds: u64) -> LogoutToken {
        LogoutToken { id: id.to_owned(), sid: None, subject: None, stale_at: NOON + Duration::from_secs(seconds) }
    }

    fn use_up(used: &UsedTokens, tenant_name: &str, token: &LogoutToken, now: Timestamp) -> bool {
        used.claim(&tenant(tenant_name), token, now).map(TokenUse::keep).is_some()
    }

    #[test]
    fn a_token_is_used_once_in_its_tenant() {
        let used = UsedTokens::default();
        assert!(use_up(&used, "a", &token("1", 120), NOON));
        assert!(!use_up(&used, "a", &token("1", 120), NOON + Duration::from_secs(119)));
        assert!(use_up(&used, "b", &token("1", 120), NOON));
        assert!(use_up(&used, "a", &token("2", 120), NOON));
    }

    #[test]
    fn a_token_in_use_is_not_used_a_second_time_and_one_that_led_to_nothing_is() {
        let used = UsedTokens::default();
        let claim = used.claim(&tenant("a"), &token("1", 120), NOON);
        assert!(!use_up(&used, "a", &token("1", 120), NOON));
        drop(claim);
        assert!(use_up(&used, "a", &token("1", 120), NOON));
    }

    #[test]
    fn an_id_is_forgotten_when_its_token_is_too_old_to_be_used() {
        let used = UsedTokens::default();
        use_up(&used, "a", &token("1", 120), NOON);
        use_up(&used, "a", &token("2", 240), NOON + Duration::from_mins(2));
        assert_eq!(used.0.lock().known.len(), 1);
        assert_eq!(used.0.lock().by_age.len(), 1);
    }

    #[test]
    fn the_memory_is_bounded_and_loses_the_oldest_first() {
        let used = UsedTokens::default();
        for number in 0..=MAX {
            let seconds = 120 + u64::try_from(number).expect("a small number");
            assert!(use_up(&used, "a", &token(&number.to_string(), seconds), NOON));
        }
        assert_eq!(used.0.lock().known.len(), MAX);
        assert!(!use_up(&used, "a", &token("1", 121), NOON), "the second oldest is still there");
        assert!(use_up(&used, "a", &token("0", 120), NOON), "the oldest has made place");
    }
}
