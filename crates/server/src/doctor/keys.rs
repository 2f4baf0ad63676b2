//! The keyring, held against what the store knows of its keys: a key of the right name may be a wrong one.

use std::collections::{BTreeMap, BTreeSet};

use tokenvault_core::ports::{Fleet, KeyProof, StoreError};
use tokenvault_core::seal::Keyring;
use tokenvault_redis::RedisStore;

use super::{Examination, Report};
use crate::config::load_keyring;
use crate::keyring::{Evidence, Finding, Standing};
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
        Ok((vouched, evidence)) => judge(&ring, &vouched, &evidence, report),
        Err(error) => unknown(report, &format!("Redis does not tell what it knows of its keys: {error}")),
    }
}

type Known = (BTreeMap<String, String>, Evidence);

async fn known(examination: &Examination<'_>, ring: &Keyring) -> Result<Known, StoreError> {
    let redis = &examination.config.redis;
    let password = redis.read_password().map_err(|_| StoreError::Unavailable("authentication"))?;
    let store = RedisStore::connect(&wiring::redis(redis, password))?;
    let vouched = store.key_checks().await?;
    let open: BTreeSet<String> = ring.ids().filter(|id| !vouched.contains_key(*id)).map(str::to_owned).collect();
    let evidence = if open.is_empty() { Evidence::default() } else { Evidence::gather(&store, ring, &open).await? };
    Ok((vouched, evidence))
}

fn judge(ring: &Keyring, vouched: &BTreeMap<String, String>, evidence: &Evidence, report: &mut Report) {
    let at_home = ring.ids().any(|id| vouched.get(id) == ring.check(id).as_ref());
    for (id, own) in ring.ids().filter_map(|id| Some((id, ring.check(id)?))) {
        let Some(vouched) = vouched.get(id) else {
            unvouched(id, evidence.finding(id, at_home), report);
            continue;
        };
        match Standing::against(vouched, &own) {
            Standing::Wrong(why) => report.hazard(CHECK, id, format!("a wrong key: {why}"), REMEDY),
            _ => report.fine(CHECK, id, format!("the key that the store knows by this id, with the check value {own}")),
        }
    }
}

fn unvouched(id: &str, finding: Finding, report: &mut Report) {
    match (finding, Standing::refuted(finding)) {
        (_, Some(Standing::Wrong(why))) => report.hazard(CHECK, id, format!("a wrong key: {why}"), REMEDY),
        (Finding::Proved(KeyProof::Opened), _) => report.fine(CHECK, id, "opens what is stored under this id"),
        _ => report.fine(CHECK, id, "new: nothing is stored under this id yet"),
    }
}
