//! How often the listener may be called, and how often a tenant's signatures are checked.
//!
//! A stranger can use up what there is, and a logout that comes meanwhile is then not heard. That is bearable: the hint only
//! makes sooner what the next renewal finds out anyway. What must not be is that strangers keep the process busy.

use std::collections::BTreeMap;
use std::time::Duration;

use tokenvault_core::ids::TenantId;
use tokenvault_core::time::Timestamp;

use crate::bucket::Bucket;
use crate::config::Idp;
use crate::tenants::Tenants;

/// How many seconds' worth may come at once: a mass logout comes in bursts.
const BURST_SECONDS: u32 = 4;

/// The listener's and the tenants' buckets. There is one for each tenant of the configuration and never another, so that
/// made-up names fill no memory.
pub(super) struct Rates {
    listener: Bucket,
    tenants: BTreeMap<TenantId, Bucket>,
}

impl Rates {
    pub(super) fn new(section: &Idp, tenants: &Tenants) -> Self {
        let of_tenant = |tenant: &TenantId| (tenant.clone(), bucket(section.max_tenant_rate));
        Self { listener: bucket(section.max_rate), tenants: tenants.ids().map(of_tenant).collect() }
    }

    /// One more request, of whatever kind; else how long to wait for the next.
    pub(super) fn request(&self, now: Timestamp) -> Result<(), Duration> {
        self.listener.take(now)
    }

    /// One more token of a tenant to be checked.
    pub(super) fn check(&self, tenant: &TenantId, now: Timestamp) -> Result<(), Duration> {
        self.tenants.get(tenant).map_or(Ok(()), |bucket| bucket.take(now))
    }
}

fn bucket(rate: u32) -> Bucket {
    Bucket::new(rate, rate.saturating_mul(BURST_SECONDS))
}
