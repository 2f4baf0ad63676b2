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
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokenvault_core::ids::TenantId;
use tokenvault_core::time::Timestamp;
use tokio::sync::oneshot;

use super::outage::Heard;

/// What a renewal waits by: dead tokens last, then the instant of death, then who came first.
type Rank = (bool, Timestamp, u64);

/// The lanes, one for each tenant.
pub(super) struct Traffic {
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

/// A place in a tenant's lane; given up when dropped.
pub(super) struct Pass {
    traffic: Arc<Traffic>,
    tenant: TenantId,
    number: u64,
    troubled: AtomicBool,
    refused: AtomicBool,
    answered: AtomicBool,
}

enum Entry {
    Go(u64),
    Wait(Rank, oneshot::Receiver<()>),
    Full,
}

impl Traffic {
    /// So many places in all, for so many tenants.
    pub(super) fn new(places: usize, tenants: usize) -> Arc<Self> {
        let traffic = Self { places, share: AtomicUsize::default(), lanes: Mutex::default() };
        traffic.share_among(tenants);
        Arc::new(traffic)
    }

    /// For so many tenants from now on.
    pub(super) fn share_among(&self, tenants: usize) {
        let share = if tenants > 1 { (self.places * 3 / 4).max(1) } else { usize::MAX };
        self.share.store(share, Ordering::Relaxed);
    }

    /// Waits for a place, as long as there is patience; `None` if there is none, and the record had better come up again.
    pub(super) async fn enter(
        self: &Arc<Self>,
        tenant: &TenantId,
        dies_at: Option<Timestamp>,
        now: Timestamp,
        patience: Duration,
    ) -> Option<Pass> {
        let number = match self.ask(tenant, dies_at, now) {
            Entry::Full => return None,
            Entry::Go(number) => number,
            Entry::Wait(rank, called) => {
                let waiting = Waiting { traffic: self, tenant, rank };
                tokio::time::timeout(patience, called).await.ok()?.ok()?;
                std::mem::forget(waiting);
                rank.2
            }
        };
        let (traffic, tenant) = (Arc::clone(self), tenant.clone());
        let [troubled, refused, answered] = [const { AtomicBool::new(false) }; 3];
        Some(Pass { traffic, tenant, number, troubled, refused, answered })
    }

    fn ask(&self, tenant: &TenantId, dies_at: Option<Timestamp>, now: Timestamp) -> Entry {
        let mut lanes = self.lanes.lock();
        let places = self.places;
        let lane = lanes.entry(tenant.clone()).or_insert_with(|| Lane::new(places));
        if lane.under_way + lane.waiting.len() >= self.share.load(Ordering::Relaxed) {
            return Entry::Full;
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
struct Waiting<'a> {
    traffic: &'a Traffic,
    tenant: &'a TenantId,
    rank: Rank,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.traffic.with(self.tenant, |lane| {
            if lane.waiting.remove(&self.rank).is_none() {
                lane.under_way -= 1;
                lane.call();
            }
        });
    }
}

impl Pass {
    /// Keycloak did not answer as it should.
    pub(super) fn trouble(&self) {
        self.troubled.store(true, Ordering::Relaxed);
    }

    /// Keycloak answered.
    pub(super) fn answer(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// Keycloak refused the client itself.
    pub(super) fn refusal(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }

    /// What was heard of Keycloak in all; the worst counts.
    pub(super) fn heard(&self) -> Heard {
        let is = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        match (is(&self.troubled), is(&self.refused), is(&self.answered)) {
            (true, _, _) => Heard::Silence,
            (_, true, _) => Heard::Refusal,
            (_, _, true) => Heard::Answer,
            _ => Heard::Nothing,
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let troubled = self.troubled.load(Ordering::Relaxed);
        let most = self.traffic.places;
        self.traffic.with(&self.tenant, |lane| lane.leave(self.number, troubled, most));
    }
}

impl Lane {
    #[expect(clippy::cast_precision_loss, reason = "nobody configures 2^52 places")]
    fn new(places: usize) -> Self {
        Self { limit: places as f64, under_way: 0, waiting: BTreeMap::new(), entered: 0, halved_at: 0 }
    }

    fn ask(&mut self, dies_at: Option<Timestamp>, now: Timestamp) -> Entry {
        self.entered += 1;
        if self.waiting.is_empty() && self.has_room() {
            self.under_way += 1;
            return Entry::Go(self.entered);
        }
        let dies_at = dies_at.unwrap_or_default();
        let rank = (dies_at <= now, dies_at, self.entered);
        let (call, called) = oneshot::channel();
        self.waiting.insert(rank, call);
        Entry::Wait(rank, called)
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

    async fn enter(traffic: &Arc<Traffic>, dies_in: u64) -> Option<Pass> {
        traffic.enter(&tenant("a"), Some(NOW + Duration::from_secs(dies_in)), NOW, PATIENCE).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_round_of_failures_halves_what_is_asked_at_a_time_and_success_brings_it_back() {
        let traffic = Traffic::new(8, 1);
        let room = async || {
            let mut passes = Vec::new();
            while let Some(pass) = enter(&traffic, 10).await {
                passes.push(pass);
            }
            passes
        };
        for expected in [8, 4, 2, 1, 1] {
            let passes = room().await;
            assert_eq!(passes.len(), expected);
            for pass in &passes {
                pass.trouble();
            }
        }
        for _ in 0..40 {
            drop(room().await);
        }
        assert_eq!(room().await.len(), 8);
    }

    #[tokio::test(start_paused = true)]
    async fn the_token_that_dies_soonest_goes_first_and_the_dead_go_last() {
        let traffic = Traffic::new(1, 1);
        let first = enter(&traffic, 10).await.expect("a place");
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for dies_in in [0, 30, 5, 20] {
            let (traffic, order) = (Arc::clone(&traffic), Arc::clone(&order));
            tasks.push(tokio::spawn(async move {
                let pass = enter(&traffic, dies_in).await;
                order.lock().push(dies_in);
                drop(pass);
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
        let traffic = Traffic::new(8, 2);
        let held: Vec<Pass> =
            futures::future::join_all((0..6).map(|_| enter(&traffic, 10))).await.into_iter().flatten().collect();
        assert_eq!(held.len(), 6);
        assert!(enter(&traffic, 1).await.is_none(), "it is told at once, and comes up again");
        assert!(traffic.enter(&tenant("b"), None, NOW, PATIENCE).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_only_tenant_shares_as_soon_as_there_is_another() {
        let traffic = Traffic::new(8, 1);
        let room = async || {
            let asked = (0..8).map(|_| enter(&traffic, 10));
            futures::future::join_all(asked).await.into_iter().flatten().collect::<Vec<_>>()
        };
        assert_eq!(room().await.len(), 8);
        traffic.share_among(2);
        assert_eq!(room().await.len(), 6);
        traffic.share_among(1);
        assert_eq!(room().await.len(), 8);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_gives_up_waiting_leaves_no_gap() {
        let traffic = Traffic::new(1, 1);
        let first = enter(&traffic, 10).await.expect("a place");
        assert!(enter(&traffic, 10).await.is_none());
        drop(first);
        assert!(enter(&traffic, 10).await.is_some());
    }
}
