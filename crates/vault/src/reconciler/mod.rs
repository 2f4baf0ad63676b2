//! The reconciler: takes what is due, and renews it.
//!
//! Level-triggered: a wake-up carries nothing, the due index in the store says what there is to do, and what fails comes
//! up again by its due time or by the end of its lease. Must never be imported by the HTTP layer, nor import it.

mod commit;
mod context;
mod follow_up;
mod held_pairs;
mod leased_round;
mod outages;
mod renew;
mod requirements;
mod send;
mod session_peers;
mod spend_gate;
mod stranded_leases;
mod tenant_limiter;
mod waiting_jobs;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use context::RenewalContext;
use tenant_limiter::TenantLimiter;
use tokenvault_core::ids::{ReplicaId, Shard};
use tokenvault_core::ports::{Claim, Claimed, StoreError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::jitter::roll;
use crate::services::Services;
use crate::store_news::not_done;

/// How the reconciler works.
#[derive(Debug, Clone)]
pub struct ReconcilerOptions {
    /// This replica's name.
    pub replica: ReplicaId,
    /// How long a claim holds.
    pub lease: Duration,
    /// How often the due index is looked at when nothing wakes the reconciler.
    pub poll_interval: Duration,
    /// How many records are renewed at a time.
    pub concurrency: usize,
    /// How many refresh tokens of one client session may be spent at a time: Keycloak serialises them.
    pub spends_per_session: usize,
}

/// While more is due than may be renewed at a time, the next batch is claimed when one in so many renewals is done.
const BATCHES: usize = 4;

/// What a look at the due index has brought.
struct Sweep {
    claimed: Vec<(Claimed, OwnedSemaphorePermit)>,
    /// Whether more is due than there were permits for.
    is_left: bool,
}

/// Takes what is due, and renews it.
pub struct Reconciler {
    context: RenewalContext,
    options: ReconcilerOptions,
    permits: Arc<Semaphore>,
    limiter: Arc<TenantLimiter>,
}

impl Reconciler {
    /// A reconciler that has not started yet.
    pub fn new(services: Services, options: ReconcilerOptions) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(options.concurrency));
        let limiter = TenantLimiter::new(options.concurrency, services.tenants.count());
        let context = RenewalContext::new(services, options.spends_per_session);
        Arc::new(Self { context, options, permits, limiter })
    }

    /// Works until it is told to stop, then finishes the renewals in hand: an answered spend is always written.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        let (this, until) = (Arc::clone(&self), stop.clone());
        tasks.spawn(async move { watch::watch(&this.context, until).await });
        while !stop.is_cancelled() {
            let is_left = self.sweep(&tasks).await;
            let pause = self.options.poll_interval.mul_f64(0.75 + 0.5 * roll(&*self.context.services.entropy));
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = self.context.services.wake.until_due() => {}
                () = self.until_permits(), if is_left => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        tasks.close();
        tasks.wait().await;
    }

    /// Claims what is due, as far as there are permits; answers whether anything due was left for want of them. A paused fleet
    /// claims nothing, nor does who has no key to seal with; what is in hand is finished.
    ///
    /// Where nothing is due, one question for all shards is all that it costs, however much is stored.
    async fn sweep(self: &Arc<Self>, tasks: &TaskTracker) -> bool {
        if !self.context.services.may_renew() {
            return false;
        }
        let RenewalContext { services, waiting, outages, .. } = &self.context;
        self.limiter.share_among(services.tenants.count());
        waiting.follow_tenants(services).await;
        outages.follow(services).await;
        match self.claim().await {
            Ok(Sweep { claimed, is_left }) => {
                for (record, permit) in claimed {
                    self.spawn(tasks, record, permit);
                }
                services.observer.reconciled();
                self.context.stranded.give_back(services).await;
                is_left
            }
            Err(error) => {
                not_done(&error, "due records could not be claimed");
                self.context.held.check_all_soon(services.clock.now());
                false
            }
        }
    }

    /// Renews a claimed record in a task of its own, which keeps the permit until it is done.
    fn spawn(self: &Arc<Self>, tasks: &TaskTracker, claimed: Claimed, permit: OwnedSemaphorePermit) {
        let this = Arc::clone(self);
        tasks.spawn(async move {
            let _in_hand = this.context.services.replica.in_flight.begin_renewal();
            let patience = this.options.lease / 3;
            renew::renew(&this.context, &this.limiter, claimed, patience).await;
            drop(permit);
        });
    }

    /// Claims as many due records as there are permits left, in turns from all shards in which something is due.
    async fn claim(&self) -> Result<Sweep, StoreError> {
        let (services, options) = (&self.context.services, &self.options);
        let due = services.store.due_shards(services.clock.now()).await?;
        let permits = self.take_permits(due.iter().map(|(_, due)| *due).sum());
        let first = services.entropy.bits();
        let shares = share_out(&due, permits.len(), first);
        let is_left = due.iter().map(|(_, due)| *due).sum::<usize>() > permits.len();
        // Asked again: a pause may have been heard of in the middle of a sweep.
        if shares.is_empty() || !services.may_renew() {
            return Ok(Sweep { claimed: Vec::new(), is_left });
        }
        let now = services.clock.now();
        let claim = Claim { replica: &options.replica, now, lease: options.lease, limit: permits.len() };
        let claimed = services.store.claim_each(&shares, &claim).await?;
        for record in &claimed {
            services.observer.renewal_lag(now.since(record.due_at));
        }
        Ok(Sweep { claimed: claimed.into_iter().zip(permits).collect(), is_left })
    }

    /// As many permits as are free, and no more than are asked for.
    fn take_permits(&self, most: usize) -> Vec<OwnedSemaphorePermit> {
        let take = || Arc::clone(&self.permits).try_acquire_owned().ok();
        std::iter::from_fn(take).take(most).collect()
    }

    /// Until there are permits again for a batch worth its claim.
    async fn until_permits(&self) {
        let batch = u32::try_from(self.options.concurrency.div_ceil(BATCHES)).unwrap_or(u32::MAX);
        let permits = self.permits.acquire_many(batch).await;
        drop(permits.expect("this semaphore is never closed"));
    }
}

/// How many of what is due are claimed in each shard: in turns, beginning anywhere, so that no shard comes last.
fn share_out(due: &[(Shard, usize)], permits: usize, first: u64) -> Vec<(Shard, usize)> {
    if due.is_empty() {
        return Vec::new();
    }
    let count = u64::try_from(due.len()).expect("no more than there are shards");
    let first = usize::try_from(first % count).expect("less than there are shards");
    let order: Vec<(Shard, usize)> = due.iter().cycle().skip(first).take(due.len()).copied().collect();
    let mut shares: Vec<(Shard, usize)> = order.iter().map(|(shard, _)| (*shard, 0)).collect();
    let mut left = permits;
    while left > 0 {
        let before = left;
        for ((_, share), (_, due)) in shares.iter_mut().zip(&order) {
            if left > 0 && *share < *due {
                *share += 1;
                left -= 1;
            }
        }
        if left == before {
            break;
        }
    }
    shares.retain(|(_, share)| *share > 0);
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_is_claimed_in_turns_from_all_shards() {
        let shards: Vec<Shard> = Shard::all().take(3).collect();
        let due = [(shards[0], 100), (shards[1], 1), (shards[2], 2)];
        let in_order = |mut shares: Vec<(Shard, usize)>| {
            shares.sort_unstable();
            shares
        };
        for first in 0..7 {
            assert_eq!(in_order(share_out(&due, 8, first)), [(shards[0], 5), (shards[1], 1), (shards[2], 2)]);
            assert_eq!(share_out(&due, 200, first).iter().map(|(_, share)| share).sum::<usize>(), 103);
            assert_eq!(share_out(&due, 0, first), []);
            assert_eq!(share_out(&[], 8, first), []);
        }
        let with_one: std::collections::BTreeSet<_> = (0..3).flat_map(|first| share_out(&due, 1, first)).collect();
        assert_eq!(with_one.len(), 3, "each shard comes first in its turn");
    }
}
