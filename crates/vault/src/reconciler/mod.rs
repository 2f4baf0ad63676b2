//! The reconciler: takes what is due, and renews it.
//!
//! Level-triggered: a wake-up carries nothing, the due index in the store says what there is to do, and what fails comes
//! up again by its due time or by the end of its lease. Must never be imported by the HTTP layer, nor import it.

mod commit;
mod elsewhere;
mod held;
mod neighbours;
mod outage;
mod renew;
mod send;
mod spends;
mod stranded;
mod traffic;

use std::sync::Arc;
use std::time::Duration;

use elsewhere::Waiting;
use futures::StreamExt;
use held::Held;
use outage::Outages;
use spends::SpendGate;
use stranded::Stranded;
use tokenvault_core::ids::{ClientId, ReplicaId, Shard, StoreEpoch, TenantId};
use tokenvault_core::ports::{Claim, Claimed, Client};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use traffic::Traffic;

use crate::jitter::roll;
use crate::repeats::Repeats;
use crate::services::Services;
use crate::store_news::not_done;

/// How the reconciler works.
#[derive(Debug, Clone)]
pub struct Options {
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
    services: Services,
    options: Options,
    permits: Arc<Semaphore>,
    spends: SpendGate,
    traffic: Arc<Traffic>,
    held: Held,
    waiting: Waiting,
    outages: Outages,
    stranded: Stranded,
    /// The store's life, as it was asked last.
    epoch: parking_lot::Mutex<Option<StoreEpoch>>,
    /// Clients whose own credentials were refused, and when that was last said.
    rejected: Repeats<(TenantId, ClientId)>,
}

impl Reconciler {
    /// A reconciler that has not started yet.
    pub fn new(services: Services, options: Options) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(options.concurrency));
        let spends = SpendGate::new(options.spends_per_session);
        let traffic = Traffic::new(options.concurrency, services.tenants.count());
        Arc::new(Self {
            services,
            options,
            permits,
            spends,
            traffic,
            held: Held::default(),
            waiting: Waiting::default(),
            outages: Outages::default(),
            stranded: Stranded::default(),
            epoch: parking_lot::Mutex::default(),
            rejected: Repeats::default(),
        })
    }

    /// Works until it is told to stop, then finishes the renewals in hand: an answered spend is always written.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        let (this, until) = (Arc::clone(&self), stop.clone());
        tasks.spawn(async move { this.watch_held(until).await });
        while !stop.is_cancelled() {
            self.sweep(&tasks).await;
            let pause = self.options.poll_interval.mul_f64(0.75 + 0.5 * roll(&*self.services.entropy));
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = self.services.wake.until_due() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        tasks.close();
        tasks.wait().await;
    }

    /// Claims what is due in every shard, as far as there are permits, starting anywhere so that no shard comes last.
    /// A paused fleet claims nothing, nor does who has no key to seal with; what is in hand is finished.
    async fn sweep(self: &Arc<Self>, tasks: &TaskTracker) {
        if !self.services.may_renew() {
            return;
        }
        self.follow_tenants().await;
        self.follow_outages().await;
        let first = usize::try_from(self.services.entropy.bits() % u64::from(Shard::COUNT)).expect("less than 64");
        let shards: Vec<Shard> = Shard::all().collect();
        let order = shards.iter().cycle().skip(first).take(shards.len()).copied();
        let mut healthy = true;
        let mut claims = futures::stream::iter(order.map(|shard| self.claim(shard))).buffer_unordered(SHARDS_AT_ONCE);
        while let Some(claimed) = claims.next().await {
            match claimed {
                Ok(claimed) => {
                    for (claim, permit) in claimed {
                        let this = Arc::clone(self);
                        tasks.spawn(async move {
                            let _in_hand = this.services.replica.in_flight.begin_renewal();
                            this.renew(claim).await;
                            drop(permit);
                        });
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
            self.services.observer.reconciled();
            self.free_stranded().await;
        } else {
            self.held.doubt(self.services.clock.now());
        }
    }

    /// Claims as many records of a shard as there are permits left.
    async fn claim(
        &self,
        shard: Shard,
    ) -> Result<Vec<(Claimed, OwnedSemaphorePermit)>, tokenvault_core::ports::StoreError> {
        let mut permits: Vec<OwnedSemaphorePermit> = Vec::new();
        while permits.len() < self.options.concurrency.div_ceil(SHARDS_AT_ONCE) {
            match Arc::clone(&self.permits).try_acquire_owned() {
                Ok(permit) => permits.push(permit),
                Err(_) => break,
            }
        }
        let now = self.services.clock.now();
        // Asked again for each shard: a pause may be heard of in the middle of a sweep.
        if permits.is_empty() || !self.services.may_renew() {
            return Ok(Vec::new());
        }
        let claim = Claim { replica: &self.options.replica, now, lease: self.options.lease, limit: permits.len() };
        let claimed = self.services.store.claim(shard, &claim).await?;
        for record in &claimed {
            self.services.observer.renewal_lag(now.since(record.due_at));
        }
        Ok(claimed.into_iter().zip(permits).collect())
    }

    /// Says, once a minute at most, that an operator is needed.
    fn complain_of(&self, client: &Client) {
        let of = (client.tenant.clone(), client.id.clone());
        if self.rejected.happened(of, self.services.clock.now()).is_some() {
            tracing::error!(tenant = %client.tenant, client = %client.id, "Keycloak refuses the vault's client: check its credentials; until then no token of its jobs is renewed");
        }
    }
}
