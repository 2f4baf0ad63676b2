//! The keyring, held against what the store knows of its keys: a key of the right name may be a wrong one.

use std::collections::BTreeMap;

use tokenvault_core::ports::{KeyProof, StoreError};
use tokenvault_core::seal::Keyring;
use tokenvault_redis::RedisStore;

use super::{Examination, Report};
use crate::config::load_keyring;
use crate::keyring::{self, Known};
use crate::wiring;

const CHECK: &str = "keyring";
const REMEDY: &str = "put the right keyring file back before anything is restarted with this one; a new key takes a new id (docs/runbooks/wrong-key.md)";

/// Holds each key against its check value, and where there is none, against what is stored. Vouches for nothing.
pub(super) async fn examine(examination: &Examination<'_>, answers: bool, report: &mut Report) {
    let file = &examination.config.keyring.file;
    let unknown = |report: &mut Report, why: &str| report.unknown(CHECK, file.display().to_string(), why, "see above");
    let Ok(ring) = load_keyring(file) else { return unknown(report, "it cannot be read") };
    if !answers {
        return unknown(report, "its keys could not be held against what Redis knows of them");
    }
    match known(examination, &ring).await {
        Ok(known) => known.iter().for_each(|(id, known)| judge(&ring, id, known, report)),
        Err(error) => unknown(report, &format!("Redis does not tell what it knows of its keys: {error}")),
    }
}

async fn known(examination: &Examination<'_>, ring: &Keyring) -> Result<BTreeMap<String, Known>, StoreError> {
    let redis = &examination.config.redis;
    let password = redis.read_password().map_err(|_| StoreError::Unavailable("authentication"))?;
    keyring::examine(&RedisStore::connect(&wiring::redis(redis, password))?, ring).await
}

fn judge(ring: &Keyring, id: &str, known: &Known, report: &mut Report) {
    let check = ring.check(id).unwrap_or_default();
    let finding = match known {
        Known::Wrong(why) => return report.hazard(CHECK, id, format!("a wrong key: {why}"), REMEDY),
        Known::Vouched => "the store knows it by this id",
        Known::Proved(KeyProof::Opened) => "it opens what is stored under this id",
        Known::Proved(KeyProof::Unused) => "new: nothing is stored under this id yet",
    };
    report.fine(CHECK, id, format!("{finding}; its check value is {check}"));
}
