//! Keycloak on PostgreSQL: what storms stand on. Starting it takes most of a minute, so storms may share it.
//!
//! It must never be the Keycloak that other tests share: a storm may kill it.

use crate::harness::Result;
use crate::harness::keycloak::Keycloak;
use crate::harness::postgres::Postgres;

/// A Keycloak that loses nothing it has answered. Gone with its database when dropped.
pub struct Ground {
    /// Keycloak, first to be dropped.
    pub keycloak: Keycloak,
    _postgres: Postgres,
}

impl Ground {
    /// A fresh one, with the preview feature that impersonation needs or, as most have it, without.
    pub async fn prepare(with_features: bool) -> Result<Self> {
        let postgres = Postgres::start().await?;
        let keycloak = Keycloak::start_on(&postgres, with_features).await?;
        Ok(Self { keycloak, _postgres: postgres })
    }
}
