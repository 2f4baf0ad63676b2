//! Which keys of the ring are the ones of their ids: asked of the store, and where it does not know, of its records.
//!
//! Only a replica whose key has opened something vouches for a key that was in use; otherwise the first wrong key would become
//! the right one. A key under whose id nothing is stored is vouched for before anything is sealed with it: the store takes the
//! first and tells every other replica which one that is.

use std::collections::BTreeSet;
use std::time::Duration;

use tokenvault_core::ports::{KeyProof, StoreError};
use tokenvault_core::time::Timestamp;

use super::{IMPATIENT, Member};
use crate::keyring::{KeyEvidence, KeyFinding, KeyTrust};

/// For so long a start waits for what is known of keys that do not seal.
const AT_START: Duration = Duration::from_secs(1);
/// In how many rounds what was not proved is looked at again.
const SELDOM: u32 = 5;

impl Member {
    /// What must be known before anything is sealed: what was decided, and that the key that seals is the right one.
    pub async fn begin(&self) -> Result<(), StoreError> {
        self.hear().await?;
        let keyring = &self.services.keyring;
        let sealing = keyring.current().primary().to_owned();
        let (seals, others): (BTreeSet<_>, _) = keyring.unvouched().into_keys().partition(|id| *id == sealing);
        self.prove(&seals).await?;
        // So that the first word to the others has them all, where little is stored. The rest is found out meanwhile.
        drop(tokio::time::timeout(AT_START, self.prove(&others)).await);
        Ok(())
    }

    /// Proves what nobody has vouched for, as it comes up.
    pub(super) async fn prove_keys(&self) {
        let mut again = Timestamp::default();
        loop {
            let (unvouched, now) = (self.services.keyring.unvouched(), self.services.clock.now());
            let all = now >= again;
            let ids: BTreeSet<String> =
                unvouched.into_iter().filter(|(_, untried)| all || *untried).map(|(id, _)| id).collect();
            if all && !ids.is_empty() {
                again = now + self.pace.rhythm * SELDOM;
            }
            let pause = match self.prove(&ids).await {
                Ok(()) => IMPATIENT.min(self.pace.rhythm),
                Err(error) => {
                    tracing::debug!(%error, "the keys could not be held against what is stored");
                    self.pace.rhythm
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn prove(&self, ids: &BTreeSet<String>) -> Result<(), StoreError> {
        if ids.is_empty() {
            return Ok(());
        }
        let (fleet, keyring) = (&self.services.fleet, &self.services.keyring);
        let ring = keyring.current();
        let evidence = KeyEvidence::gather(&**fleet, &ring, ids).await?;
        for id in ids {
            let Some(check) = ring.check(id) else { continue };
            let at_home = keyring.checks().keys().any(|trusted| trusted != id);
            let finding = evidence.finding(id, at_home);
            let trust = match finding {
                KeyFinding::Proved(proof) => {
                    if proof == KeyProof::Opened {
                        keyring.conclude(id, &check, KeyTrust::Trusted);
                    }
                    KeyTrust::against(&fleet.vouch_for_key(id, &check, proof).await?, &check)
                }
                against => KeyTrust::refuted(against).unwrap_or(KeyTrust::Untried),
            };
            keyring.conclude(id, &check, trust);
        }
        Ok(())
    }
}
