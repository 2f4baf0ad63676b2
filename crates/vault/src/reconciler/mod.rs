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
use futures::StreamExt;
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

/// How many shards are asked at a time.
const SHARDS_AT_ONCE: usize = 8;

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
            self.sweep(&tasks).await;
            let pause = self.options.poll_interval.mul_f64(0.75 + 0.5 * roll(&*self.context.services.entropy));
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = self.context.services.wake.until_due() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        tasks.close();
        tasks.wait().await;
    }

    /// Claims what is due in every shard, as far as there are permits, starting anywhere so that no shard comes last.
    /// A paused fleet claims nothing, nor does who has no key to seal with; what is in hand is finished.
    async fn sweep(self: &Arc<Self>, tasks: &TaskTracker) {
        if !self.context.services.may_renew() {
            return;
        }
        let RenewalContext { services, waiting, outages, .. } = &self.context;
        self.limiter.share_among(services.tenants.count());
        waiting.follow_tenants(services).await;
        outages.follow(services).await;
        let first = usize::try_from(services.entropy.bits() % u64::from(Shard::COUNT)).expect("less than 64");
        let shards: Vec<Shard> = Shard::all().collect();
        let order = shards.iter().cycle().skip(first).take(shards.len()).copied();
        let mut healthy = true;
        let mut claims = futures::stream::iter(order.map(|shard| self.claim(shard))).buffer_unordered(SHARDS_AT_ONCE);
        while let Some(claimed) = claims.next().await {
            match claimed {
                Ok(claimed) => {
                    for (record, permit) in claimed {
                        self.spawn(tasks, record, permit);
                    }
                }
                Err(error) => {
                    healthy = false;
                    not_done(&error, "due records could not be claimed");
                    break;
                }
            }
        }
        if healthy {
            services.observer.reconciled();
            self.context.stranded.give_back(services).await;
        } else {
            self.context.held.check_all_soon(services.clock.now());
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

    /// Claims as many records of a shard as there are permits left.
    async fn claim(&self, shard: Shard) -> Result<Vec<(Claimed, OwnedSemaphorePermit)>, StoreError> {
        let mut permits: Vec<OwnedSemaphorePermit> = Vec::new();
        while permits.len() < self.options.concurrency.div_ceil(SHARDS_AT_ONCE) {
            match Arc::clone(&self.permits).try_acquire_owned() {
                Ok(permit) => permits.push(permit),
                Err(_) => break,
            }
        }
        let now = self.context.services.clock.now();
        // Asked again for each shard: a pause may be heard of in the middle of a sweep.
        if permits.is_empty() || !self.context.services.may_renew() {
            return Ok(Vec::new());
        }
        let claim = Claim { replica: &self.options.replica, now, lease: self.options.lease, limit: permits.len() };
        let claimed = self.context.services.store.claim(shard, &claim).await?;
        for record in &claimed {
            self.context.services.observer.renewal_lag(now.since(record.due_at));
        }
        Ok(claimed.into_iter().zip(permits).collect())
    }
}
