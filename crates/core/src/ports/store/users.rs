//! The lists of jobs by user, and how many records each module has: what limits a registration.

use async_trait::async_trait;

use super::super::error::StoreError;
use super::layer::{LayeredStore, StoreLayer, store_port};
use crate::ids::{JobId, JobKey, ModuleName, TenantId, UserId};
use crate::time::Timestamp;

store_port! {
    /// Keeps the lists of users' jobs. All methods are safe to repeat. A job is entered before its record is created.
    pub trait UserStore {
        /// Enters a job under its user, kept until `keep_until` at least.
        async fn add_to_user(&self, user: &UserId, key: &JobKey, keep_until: Timestamp) -> Result<(), StoreError>;

        /// The same, unless so many jobs are entered under the user already; answers whether the job is in. One that was
        /// entered before stays entered.
        async fn reserve_for_user(
            &self,
            user: &UserId,
            key: &JobKey,
            keep_until: Timestamp,
            max: usize,
        ) -> Result<bool, StoreError>;

        /// Takes a job from its user's list.
        async fn remove_from_user(&self, user: &UserId, key: &JobKey) -> Result<(), StoreError>;

        /// The jobs entered under a user, in order of their ids, after `after`, at most `limit`.
        async fn jobs_of_user(
            &self,
            tenant: &TenantId,
            user: &UserId,
            after: Option<&JobId>,
            limit: usize,
        ) -> Result<Vec<JobId>, StoreError>;
    }
}

store_port! {
    /// Counts the records of each module in a tenant.
    pub trait ShareStore {
        /// Counts one more record of a module's in a tenant, kept until then, unless there are `max`: what lives and what has ended.
        /// Answers whether it was counted. Counted by the hour.
        async fn take_share(
            &self,
            tenant: &TenantId,
            module: &ModuleName,
            keep_until: Timestamp,
            max: usize,
        ) -> Result<bool, StoreError>;

        /// Counts a record that was to be kept until `from` as kept until `to`, or not at all. One that was never counted is not.
        async fn move_share(
            &self,
            tenant: &TenantId,
            module: &ModuleName,
            from: Timestamp,
            to: Option<Timestamp>,
        ) -> Result<(), StoreError>;
    }
}
