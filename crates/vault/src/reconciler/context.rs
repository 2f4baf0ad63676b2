//! What all rounds of a replica share: the ports, the permits, and what is remembered beyond a round.

use parking_lot::Mutex;
use tokenvault_core::ids::{ClientId, StoreEpoch, TenantId};
use tokenvault_core::ports::Client;

use super::elsewhere::WaitingJobs;
use super::held::HeldPairs;
use super::outage::Outages;
use super::spends::SpendGate;
use super::stranded::StrandedLeases;
use crate::repeats::Repeats;
use crate::services::Services;

/// What all rounds of a replica share.
pub(super) struct RenewalContext {
    pub(super) services: Services,
    pub(super) spends: SpendGate,
    pub(super) held: HeldPairs,
    pub(super) waiting: WaitingJobs,
    pub(super) outages: Outages,
    pub(super) stranded: StrandedLeases,
    /// The store's life, as it was asked last.
    pub(super) epoch: Mutex<Option<StoreEpoch>>,
    /// Clients whose own credentials were refused, and when that was last said.
    rejected: Repeats<(TenantId, ClientId)>,
}

impl RenewalContext {
    /// Nothing is remembered yet; so many spends go on at a time in one client session.
    pub(super) fn new(services: Services, spends_per_session: usize) -> Self {
        Self {
            services,
            spends: SpendGate::new(spends_per_session),
            held: HeldPairs::default(),
            waiting: WaitingJobs::default(),
            outages: Outages::default(),
            stranded: StrandedLeases::default(),
            epoch: Mutex::default(),
            rejected: Repeats::default(),
        }
    }

    /// Says, once a minute at most, that an operator is needed.
    pub(super) fn log_rejected_client(&self, client: &Client) {
        let of = (client.tenant.clone(), client.id.clone());
        if self.rejected.happened(of, self.services.clock.now()).is_some() {
            tracing::error!(tenant = %client.tenant, client = %client.id, "Keycloak refuses the vault's client: check its credentials; until then no token of its jobs is renewed");
        }
    }
}
