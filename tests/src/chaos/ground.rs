//! Keycloak on PostgreSQL: what storms stand on. Starting it takes most of a minute, so storms may share it.
//!
//! It must never be the Keycloak that other tests share: a storm may kill it.

use super::Acquisition;
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
    /// A fresh one, with the feature that impersonation needs where it is needed; where it is there, clients that may not
    /// exchange by the standard may do so all the same.
    pub async fn prepare(acquisition: Acquisition) -> Result<Self> {
        let postgres = Postgres::start().await?;
        let keycloak = Keycloak::start_on(&postgres, acquisition == Acquisition::Impersonate).await?;
        Ok(Self { keycloak, _postgres: postgres })
    }
}
