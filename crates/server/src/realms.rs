//! The tenants with their realms at Keycloak: one value for jobs and for Keycloak's adapter, so that both change together.

use std::sync::Arc;

use tokenvault_core::ids::TenantId;
use tokenvault_keycloak::{TenantConfig, TenantDirectory};
use tokenvault_vault::tenants::{Served, Tenants};

/// The tenants there are at the moment, each with its realm.
pub type RealmTenants = Tenants<TenantConfig>;

/// One of them.
pub type ServedTenant = Served<TenantConfig>;

/// The tenants as Keycloak's adapter asks for them.
pub struct Realms(pub Arc<RealmTenants>);

impl TenantDirectory for Realms {
    fn tenant(&self, tenant: &TenantId) -> Option<Arc<TenantConfig>> {
        self.0.realm(tenant)
    }
}
