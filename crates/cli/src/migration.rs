//! Moving the store from one schema to the next, while replicas serve.
//!
//! First everything is added that the next schema needs; older replicas ignore it. When no older replica is alive, all records
//! are checked once more and the number is moved on. What only the new schema may have is done after that. A migration that was
//! interrupted can be run again: it recognises what is done. It must never move the number on while something is missing that the
//! next schema demands.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokenvault_core::ids::{AttemptId, ReplicaId};
use tokenvault_core::pair::{Sealer, TermsSeal};
use tokenvault_core::ports::{Entropy, Filter, InventoryStore, JobStore, ReplicaStore, StoreError, Stored, Write};
use tokenvault_core::record::{Record, State};
use tokenvault_core::seal::Keyring;
use tokenvault_redis::{RedisStore, SCHEMA};

/// The schema in which every record's terms are vouched for.
const WITH_TERMS: u32 = 2;
/// The first schema that keeps whose a job is as one field.
const PACKED_SINCE: u32 = 4;
/// How long the lock outlives a migration that was killed.
const LOCK: Duration = Duration::from_secs(20);
/// Records looked at between two words on how far it has come.
const PAGE: usize = 200;
/// How often a record that changes meanwhile is tried.
const TRIES: u32 = 8;

/// Why a migration did not come to its end. Nothing is lost by any of these.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The store.
    #[error("the store: {0}")]
    Store(#[from] StoreError),
    /// Another one is running.
    #[error("another migration is running; where it was killed, its lock ends within {} s", LOCK.as_secs())]
    Locked,
    /// Older replicas are alive.
    #[error("these replicas do not know schema {SCHEMA}: {}; run this again when they are gone", names(.0))]
    OldReplicas(Vec<ReplicaId>),
    /// Records changed each time that they were to be packed.
    #[error("{0} records could not be packed; run this again")]
    Unpacked(u64),
    /// Records cannot be brought to the next schema.
    #[error("{0} records cannot be read or vouched for; put the missing keys back, or end those jobs")]
    Unreadable(u64),
}

fn names(replicas: &[ReplicaId]) -> String {
    replicas.iter().map(ReplicaId::as_str).collect::<Vec<_>>().join(", ")
}

/// How many records a pass has looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MigrationProgress {
    /// Records looked at.
    pub seen: u64,
    /// Records that were, or with a dry run would have been, changed.
    pub changed: u64,
    /// Records that cannot be changed.
    pub failed: u64,
}

/// What a migration reports while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrationEvent<'a> {
    /// What it does now, or has done.
    Step(&'a str),
    /// How far a pass is, and about how many records there are.
    Progress(MigrationProgress, u64),
}

impl fmt::Display for MigrationEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step(step) => f.write_str(step),
            Self::Progress(MigrationProgress { seen, changed, failed }, _) => {
                write!(f, "  {seen} records seen, {changed} changed, {failed} failed")
            }
        }
    }
}

/// What is done to each record.
#[derive(Debug, Clone, Copy)]
enum Work {
    /// Its terms are vouched for.
    Vouch,
    /// What it says of whose it is becomes one field.
    Pack,
}

/// What a migration works with.
pub struct Migration {
    /// The store.
    pub store: Arc<RedisStore>,
    /// The keys, with the primary that the fleet seals with.
    pub keyring: Arc<Keyring>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Names this run.
    pub name: String,
}

impl Migration {
    /// Migrates, or with `dry_run` only reports what is to be done. Answers with the schema afterwards.
    pub async fn run(&self, dry_run: bool, mut tell: impl FnMut(&MigrationEvent<'_>)) -> Result<u32, MigrateError> {
        let schema = self.store.schema().await?;
        if schema == SCHEMA && !self.store.expects_unpacked().await? {
            tell(&MigrationEvent::Step(&format!("schema {schema}: nothing to do")));
            return Ok(schema);
        }
        if dry_run {
            let pass = if schema < WITH_TERMS {
                self.pass(Work::Vouch, true, &mut tell).await?
            } else {
                self.pass(Work::Pack, true, &mut tell).await?
            };
            let (changed, seen) = (pass.changed, pass.seen);
            tell(&MigrationEvent::Step(&format!(
                "schema {schema} would become {SCHEMA}: {changed} of {seen} records to change"
            )));
            return Ok(schema);
        }
        self.keep_lock().await?;
        let moved = self.move_on(schema, &mut tell).await;
        let _ = self.store.unlock_migration(&self.name).await;
        moved
    }

    async fn keep_lock(&self) -> Result<(), MigrateError> {
        if self.store.lock_migration(&self.name, LOCK).await? { Ok(()) } else { Err(MigrateError::Locked) }
    }

    async fn move_on(&self, mut schema: u32, tell: &mut impl FnMut(&MigrationEvent<'_>)) -> Result<u32, MigrateError> {
        if schema < WITH_TERMS {
            tell(&MigrationEvent::Step(&format!("schema {schema}: vouching for the terms of all records")));
            self.pass(Work::Vouch, false, tell).await?;
        }
        let replicas = self.store.replicas().await?;
        let old: Vec<ReplicaId> =
            replicas.into_iter().filter(|replica| replica.schema < SCHEMA).map(|replica| replica.id).collect();
        if !old.is_empty() {
            return Err(MigrateError::OldReplicas(old));
        }
        if schema < WITH_TERMS {
            tell(&MigrationEvent::Step("no older replica is alive: looking through all records once more"));
            let last = self.pass(Work::Vouch, false, tell).await?;
            if last.failed > 0 {
                return Err(MigrateError::Unreadable(last.failed));
            }
        }
        if schema < PACKED_SINCE {
            self.store.expect_unpacked().await?;
        }
        while schema < SCHEMA {
            self.keep_lock().await?;
            self.store.advance_schema(schema).await?;
            schema += 1;
            tell(&MigrationEvent::Step(&format!("schema {schema}: done")));
        }
        // Replicas that have not heard of the schema yet are refused such writes as would undo this, and hear of it by that.
        self.store.schema().await?;
        tell(&MigrationEvent::Step("packing what all records say of whose they are"));
        let packed = self.pass(Work::Pack, false, tell).await?;
        if packed.failed > 0 {
            return Err(MigrateError::Unpacked(packed.failed));
        }
        self.store.all_are_packed().await?;
        Ok(schema)
    }

    /// Does a work to each record.
    async fn pass(
        &self,
        work: Work,
        dry_run: bool,
        tell: &mut impl FnMut(&MigrationEvent<'_>),
    ) -> Result<MigrationProgress, MigrateError> {
        let total = self.store.estimate().await?;
        let (mut pass, mut from) = (MigrationProgress::default(), None);
        loop {
            let page = self.store.walk(&Filter::default(), from.as_deref(), PAGE).await?;
            pass.failed += page.unreadable;
            for stored in page.records {
                match work {
                    Work::Vouch => self.vouch_for(stored, dry_run, &mut pass).await?,
                    Work::Pack => self.pack(stored, dry_run, &mut pass).await?,
                }
            }
            if !dry_run {
                self.keep_lock().await?;
            }
            from = page.next;
            tell(&MigrationEvent::Progress(pass, total));
            if from.is_none() {
                return Ok(pass);
            }
        }
    }

    /// What has ended stays as it is until it is forgotten.
    async fn pack(&self, stored: Stored, dry_run: bool, pass: &mut MigrationProgress) -> Result<(), StoreError> {
        pass.seen += 1;
        let key = stored.record.key.clone();
        let mut found = Some(stored);
        for _ in 0..TRIES {
            let Some(before) = found.map(|stored| stored.record) else { return Ok(()) };
            if matches!(before.state, State::Ended(_)) || self.store.is_packed(&key).await? {
                return Ok(());
            }
            let attempt = AttemptId::from_bits(self.entropy.bits());
            if dry_run || self.store.pack(&before, attempt).await?.is_done() {
                pass.changed += 1;
                return Ok(());
            }
            found = self.store.load(&key).await?;
        }
        pass.failed += 1;
        Ok(())
    }

    async fn vouch_for(&self, stored: Stored, dry_run: bool, pass: &mut MigrationProgress) -> Result<(), StoreError> {
        pass.seen += 1;
        let key = stored.record.key.clone();
        let mut found = Some(stored);
        for _ in 0..TRIES {
            let Some(before) = found.map(|stored| stored.record) else { return Ok(()) };
            if matches!(before.state, State::Ended(_)) {
                return Ok(());
            }
            let sealer = Sealer {
                keyring: Arc::clone(&self.keyring),
                entropy: &*self.entropy,
                key: &before.key,
                user: &before.user,
                // Only terms are sealed here.
                binds: false,
            };
            // In schema 1 nobody vouches for anything, so what is found there is taken for true: an older replica that changes
            // the terms leaves the old seal on them.
            if sealer.check_terms(&before) == Ok(TermsSeal::Valid) {
                return Ok(());
            }
            if sealer.open_access(&before).is_err() && before.pair.is_some() {
                pass.failed += 1;
                return Ok(());
            }
            let after = Record { terms: Some(sealer.seal_terms(&before)), ..before.clone() };
            let attempt = AttemptId::from_bits(self.entropy.bits());
            let write = Write::between(&before, &after, attempt).on_terms_of(&before);
            if dry_run || self.store.write(&write).await?.is_done() {
                pass.changed += 1;
                return Ok(());
            }
            found = self.store.load(&key).await?;
        }
        pass.failed += 1;
        Ok(())
    }
}
