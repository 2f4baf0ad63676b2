//! How often the listener may be called, and how often a tenant's signatures are checked.
//!
//! A stranger can use up what there is, and a logout that comes meanwhile is then not heard. That is bearable: the hint only
//! makes sooner what the next renewal finds out anyway. What must not be is that strangers keep the process busy.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokenvault_core::ids::TenantId;
use tokenvault_core::time::Timestamp;

use crate::config::IdpSection;
use crate::web::bucket::Bucket;

/// How many seconds' worth may come at once: a mass logout comes in bursts.
const BURST_SECONDS: u32 = 4;

/// The listener's and the tenants' buckets.
pub(super) struct Rates {
    listener: Bucket,
    max_tenant_rate: u32,
    /// Made when they are first needed: tenants come and go.
    tenants: Mutex<BTreeMap<TenantId, Bucket>>,
}

impl Rates {
    pub(super) fn new(section: &IdpSection) -> Self {
        let (listener, max_tenant_rate) = (bucket(section.max_rate), section.max_tenant_rate);
        Self { listener, max_tenant_rate, tenants: Mutex::default() }
    }

    /// One more request, of whatever kind; else how long to wait for the next.
    pub(super) fn request(&self, now: Timestamp) -> Result<(), Duration> {
        self.listener.take(now)
    }

    /// One more token of a tenant to be checked. The tenant must be one that is configured, so that made-up names fill no
    /// memory.
    pub(super) fn check(&self, tenant: &TenantId, now: Timestamp) -> Result<(), Duration> {
        let mut tenants = self.tenants.lock();
        tenants.entry(tenant.clone()).or_insert_with(|| bucket(self.max_tenant_rate)).take(now)
    }
}

fn bucket(rate: u32) -> Bucket {
    Bucket::new(rate, rate.saturating_mul(BURST_SECONDS))
}
