//! How much is asked of a tenant's Keycloak at a time.
//!
//! While it answers, as much as there are places. When it does not, half as much with every round of failures, down to one
//! request that finds out when it is back; then one more for every round that goes well. So an outage is followed by a
//! drained backlog and not by a stampede, and a Keycloak that hangs holds few places and never all of them: other tenants
//! have theirs.
//!
//! Whoever waits is served by what is left of its access token: first the token that dies soonest, because a token that
//! has died means spending a refresh token; those that are dead already come after.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokenvault_core::ids::TenantId;
use tokenvault_core::policy::KeycloakReply;
use tokenvault_core::time::Timestamp;
use tokio::sync::oneshot;

/// What a renewal waits by: dead tokens last, then the instant of death, then who came first.
type Rank = (bool, Timestamp, u64);

/// Gives out permits to renew, tenant by tenant.
pub(super) struct TenantLimiter {
    places: usize,
    /// How many renewals of one tenant may be in hand, waiting ones included.
    share: AtomicUsize,
    lanes: Mutex<HashMap<TenantId, Lane>>,
}

struct Lane {
    /// How many may be under way, and the part of the next one.
    limit: f64,
    under_way: usize,
    waiting: BTreeMap<Rank, oneshot::Sender<()>>,
    entered: u64,
    /// Failures of those who entered before this one are of a round that has been counted.
    halved_at: u64,
}

/// A permit to renew a record of a tenant; given back when it is dropped.
pub(super) struct TenantPermit {
    limiter: Arc<TenantLimiter>,
    tenant: TenantId,
    number: u64,
    /// The worst that Keycloak said meanwhile.
    reply: Mutex<KeycloakReply>,
}

/// What somebody who asks for a permit is told.
enum Admission {
    Granted(u64),
    Queued(Rank, oneshot::Receiver<()>),
    Full,
}

impl TenantLimiter {
    /// So many places in all, for so many tenants.
    pub(super) fn new(places: usize, tenants: usize) -> Arc<Self> {
        let limiter = Self { places, share: AtomicUsize::default(), lanes: Mutex::default() };
        limiter.share_among(tenants);
        Arc::new(limiter)
    }

    /// For so many tenants from now on.
    pub(super) fn share_among(&self, tenants: usize) {
        let share = if tenants > 1 { (self.places * 3 / 4).max(1) } else { usize::MAX };
        self.share.store(share, Ordering::Relaxed);
    }

    /// Waits for a permit, as long as there is patience; `None` if there is none, and the record had better come up again.
    pub(super) async fn acquire(
        self: &Arc<Self>,
        tenant: &TenantId,
        dies_at: Option<Timestamp>,
        now: Timestamp,
        patience: Duration,
    ) -> Option<TenantPermit> {
        let number = match self.ask(tenant, dies_at, now) {
            Admission::Full => return None,
            Admission::Granted(number) => number,
            Admission::Queued(rank, called) => {
                let queued = QueuedRenewal { limiter: self, tenant, rank };
                tokio::time::timeout(patience, called).await.ok()?.ok()?;
                std::mem::forget(queued);
                rank.2
            }
        };
        let (limiter, tenant) = (Arc::clone(self), tenant.clone());
        Some(TenantPermit { limiter, tenant, number, reply: Mutex::default() })
    }

    fn ask(&self, tenant: &TenantId, dies_at: Option<Timestamp>, now: Timestamp) -> Admission {
        let mut lanes = self.lanes.lock();
        let places = self.places;
        let lane = lanes.entry(tenant.clone()).or_insert_with(|| Lane::new(places));
        if lane.under_way + lane.waiting.len() >= self.share.load(Ordering::Relaxed) {
            return Admission::Full;
        }
        lane.ask(dies_at, now)
    }

    fn with(&self, tenant: &TenantId, act: impl FnOnce(&mut Lane)) {
        if let Some(lane) = self.lanes.lock().get_mut(tenant) {
            act(lane);
        }
    }
}

/// Takes a renewal that gave up waiting out of the lane; if it was called at that very moment, its place goes on.
struct QueuedRenewal<'a> {
    limiter: &'a TenantLimiter,
    tenant: &'a TenantId,
    rank: Rank,
}

impl Drop for QueuedRenewal<'_> {
    fn drop(&mut self) {
        self.limiter.with(self.tenant, |lane| {
            if lane.waiting.remove(&self.rank).is_none() {
                lane.under_way -= 1;
                lane.call();
            }
        });
    }
}

impl TenantPermit {
    /// Notes what the tenant's Keycloak said.
    pub(super) fn note(&self, reply: KeycloakReply) {
        let mut worst = self.reply.lock();
        *worst = reply.max(*worst);
    }

    /// What it said in all; the worst counts.
    pub(super) fn reply(&self) -> KeycloakReply {
        *self.reply.lock()
    }
}

impl Drop for TenantPermit {
    fn drop(&mut self) {
        let troubled = self.reply() == KeycloakReply::NoAnswer;
        let most = self.limiter.places;
        self.limiter.with(&self.tenant, |lane| lane.leave(self.number, troubled, most));
    }
}

impl Lane {
    #[expect(clippy::cast_precision_loss, reason = "nobody configures 2^52 places")]
    fn new(places: usize) -> Self {
        Self { limit: places as f64, under_way: 0, waiting: BTreeMap::new(), entered: 0, halved_at: 0 }
    }

    fn ask(&mut self, dies_at: Option<Timestamp>, now: Timestamp) -> Admission {
        self.entered += 1;
        if self.waiting.is_empty() && self.has_room() {
            self.under_way += 1;
            return Admission::Granted(self.entered);
        }
        let dies_at = dies_at.unwrap_or_default();
        let rank = (dies_at <= now, dies_at, self.entered);
        let (call, called) = oneshot::channel();
        self.waiting.insert(rank, call);
        Admission::Queued(rank, called)
    }

    #[expect(clippy::cast_precision_loss, reason = "as above")]
    fn has_room(&self) -> bool {
        (self.under_way as f64) < self.limit.floor()
    }

    /// Calls those who wait, as far as there is room.
    fn call(&mut self) {
        while self.has_room() {
            let Some((_, next)) = self.waiting.pop_first() else { return };
            self.under_way += 1;
            // Whoever is gone gives its place back by itself.
            let _ = next.send(());
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "as above")]
    fn leave(&mut self, number: u64, troubled: bool, most: usize) {
        self.under_way -= 1;
        if !troubled {
            self.limit = (self.limit + 1.0 / self.limit).min(most as f64);
        } else if number > self.halved_at {
            self.limit = (self.limit / 2.0).max(1.0);
            self.halved_at = self.entered;
        }
        self.call();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000);
    const PATIENCE: Duration = Duration::from_secs(5);

    fn tenant(name: &str) -> TenantId {
        TenantId::parse(name).expect("a tenant")
    }

    async fn enter(limiter: &Arc<TenantLimiter>, dies_in: u64) -> Option<TenantPermit> {
        limiter.acquire(&tenant("a"), Some(NOW + Duration::from_secs(dies_in)), NOW, PATIENCE).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_round_of_failures_halves_what_is_asked_at_a_time_and_success_brings_it_back() {
        let limiter = TenantLimiter::new(8, 1);
        let room = async || {
            let mut permits = Vec::new();
            while let Some(permit) = enter(&limiter, 10).await {
                permits.push(permit);
            }
            permits
        };
        for expected in [8, 4, 2, 1, 1] {
            let permits = room().await;
            assert_eq!(permits.len(), expected);
            for permit in &permits {
                permit.note(KeycloakReply::NoAnswer);
            }
        }
        for _ in 0..40 {
            drop(room().await);
        }
        assert_eq!(room().await.len(), 8);
    }

    #[tokio::test(start_paused = true)]
    async fn the_token_that_dies_soonest_goes_first_and_the_dead_go_last() {
        let limiter = TenantLimiter::new(1, 1);
        let first = enter(&limiter, 10).await.expect("a place");
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for dies_in in [0, 30, 5, 20] {
            let (limiter, order) = (Arc::clone(&limiter), Arc::clone(&order));
            tasks.push(tokio::spawn(async move {
                let permit = enter(&limiter, dies_in).await;
                order.lock().push(dies_in);
                drop(permit);
            }));
            tokio::task::yield_now().await;
        }
        drop(first);
        for task in tasks {
            task.await.expect("no panic");
        }
        assert_eq!(*order.lock(), [5, 20, 30, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_tenant_never_holds_all_places() {
        let limiter = TenantLimiter::new(8, 2);
        let held: Vec<TenantPermit> =
            futures::future::join_all((0..6).map(|_| enter(&limiter, 10))).await.into_iter().flatten().collect();
        assert_eq!(held.len(), 6);
        assert!(enter(&limiter, 1).await.is_none(), "it is told at once, and comes up again");
        assert!(limiter.acquire(&tenant("b"), None, NOW, PATIENCE).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_only_tenant_shares_as_soon_as_there_is_another() {
        let limiter = TenantLimiter::new(8, 1);
        let room = async || {
            let asked = (0..8).map(|_| enter(&limiter, 10));
            futures::future::join_all(asked).await.into_iter().flatten().collect::<Vec<_>>()
        };
        assert_eq!(room().await.len(), 8);
        limiter.share_among(2);
        assert_eq!(room().await.len(), 6);
        limiter.share_among(1);
        assert_eq!(room().await.len(), 8);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_gives_up_waiting_leaves_no_gap() {
        let limiter = TenantLimiter::new(1, 1);
        let first = enter(&limiter, 10).await.expect("a place");
        assert!(enter(&limiter, 10).await.is_none());
        drop(first);
        assert!(enter(&limiter, 10).await.is_some());
    }
}
