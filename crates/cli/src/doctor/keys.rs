//! The keyring, compared with what the store knows of its keys: a key may have the right name and the wrong value.

use std::collections::BTreeMap;

use tokenvault_core::ports::{KeyProof, KeyStore as _};
use tokenvault_core::seal::Keyring;
use tokenvault_redis::{InspectError, RedisStore};
use tokenvault_server::config::load_keyring;
use tokenvault_server::wiring;
use tokenvault_vault::keyring::{self, KeyVerdict};

use super::examination::Examination;
use super::report::DoctorReport;

const CHECK: &str = "keyring";
const REMEDY: &str = "put the right keyring file back before anything is restarted with this one; a new key takes a new id (docs/runbooks/wrong-key.md)";
const LACKS: &str = "add its line to the file, from a replica's that has it (`tokenvault admin keys list`)";

/// Holds each key against its check value, and where there is none, against what is stored. Vouches for nothing.
pub(super) async fn examine(examination: &Examination<'_>, answers: bool, report: &mut DoctorReport) {
    let file = &examination.config.keyring.file;
    let unknown =
        |report: &mut DoctorReport, why: &str| report.unknown(CHECK, file.display().to_string(), why, "see above");
    let Ok(ring) = load_keyring(file) else { return unknown(report, "it cannot be read") };
    if !answers {
        return unknown(report, "its keys could not be held against what Redis knows of them");
    }
    match known(examination, &ring).await {
        Ok((known, promoted)) => {
            for (id, known) in &known {
                judge(&ring, id, known, report);
            }
            if let Some(id) = promoted.filter(|id| ring.check(id).is_none()) {
                report.hazard(CHECK, &id, "the fleet seals with this key, and the file lacks it", LACKS);
            }
        }
        Err(error) => unknown(report, &format!("Redis does not tell what it knows of its keys: {error}")),
    }
}

/// What is known of the ring's keys, and the key that was promoted last.
async fn known(
    examination: &Examination<'_>,
    ring: &Keyring,
) -> Result<(BTreeMap<String, KeyVerdict>, Option<String>), InspectError> {
    let redis = &examination.config.redis;
    let store = RedisStore::connect(&wiring::redis(redis))?;
    Ok((keyring::examine(&store, ring).await?, store.promoted_key().await?))
}

fn judge(ring: &Keyring, id: &str, known: &KeyVerdict, report: &mut DoctorReport) {
    let check = ring.check(id).unwrap_or_default();
    let finding = match known {
        KeyVerdict::Wrong(why) => return report.hazard(CHECK, id, format!("a wrong key: {why}"), REMEDY),
        KeyVerdict::TermsSeal => "the store knows it by this id",
        KeyVerdict::Proved(KeyProof::Opened) => "it opens what is stored under this id",
        KeyVerdict::Proved(KeyProof::Unused) => "new: nothing is stored under this id yet",
    };
    report.fine(CHECK, id, format!("{finding}; its check value is {check}"));
}
