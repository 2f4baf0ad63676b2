//! The keys, by their ids: who holds which, which one seals, and sealing everything with it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokenvault_core::ids::ReplicaId;
use tokenvault_core::ports::{Filter, LARGEST_PAGE, Promoted, ReplicaStatus, Resealing};
use tokenvault_vault::jobs::store_problem;
use tokenvault_vault::problem::{Code, Problem};
use tokenvault_vault::services::Services;

use super::events::publish;
use crate::admin::commands::{KeyHolders, KeyOverview};
use crate::admin::job_body::sealed_with;

/// Up to so many records are counted without being asked to.
const FEW: u64 = 10_000;
/// How long records are counted, below the request's own time-out. Half a count is none.
const PATIENCE: Duration = Duration::from_secs(40);

/// The keys; with a count of the records under each, if that can be had in time.
pub(super) async fn list(services: &Services, count: bool) -> Result<KeyOverview, Problem> {
    let fleet = &services.fleet;
    let replicas = fleet.replicas().await.map_err(store_problem)?;
    let promoted = fleet.promoted_key().await.map_err(store_problem)?;
    let checks = fleet.key_checks().await.map_err(store_problem)?;
    let count = count || fleet.estimate().await.map_err(store_problem)? <= FEW;
    let now = services.clock.now();
    let records = if count { count_records(services).await? } else { None };
    let counted_at = records.as_ref().map(|_| now);
    Ok(KeyOverview { counted_at, ..gather(&replicas, promoted, &checks, records.as_ref()) })
}

/// How many records have something sealed with each key; `None` if there are too many to count them in time.
async fn count_records(services: &Services) -> Result<Option<BTreeMap<String, u64>>, Problem> {
    let started = services.clock.now();
    let (everything, mut place) = (Filter::default(), None::<String>);
    let mut counts = BTreeMap::new();
    loop {
        let page = services.fleet.walk(&everything, place.as_deref(), LARGEST_PAGE);
        let page = page.await.map_err(store_problem)?;
        for stored in &page.records {
            for id in sealed_with(&stored.record) {
                *counts.entry(id.to_owned()).or_insert(0) += 1;
            }
        }
        place = page.next;
        if place.is_none() {
            return Ok(Some(counts));
        }
        if services.clock.now().since(started) >= PATIENCE {
            return Ok(None);
        }
    }
}

/// Makes a key the one that seals; `false` if it was already.
pub(super) async fn promote(services: &Services, replica: &ReplicaId, key: &str) -> Result<bool, Problem> {
    let fleet = &services.fleet;
    match fleet.promote(key).await.map_err(store_problem)? {
        Promoted::Done => {
            publish(services, replica, "promoted", Some(key.to_owned())).await;
            Ok(true)
        }
        Promoted::Already => Ok(false),
        Promoted::Missing(missing) => {
            let live = fleet.replicas().await.map_err(store_problem)?;
            let nobody = live.iter().all(|replica| !replica.keys.contains_key(key) && !replica.wrong.contains(key));
            let wrong = live.iter().any(|replica| replica.wrong.contains(key));
            Err(match (nobody, wrong) {
                (true, _) => unknown_key(),
                (_, true) => not_held("These replicas do not hold the key yet, or another one of its id.", &missing),
                (_, false) => not_held("These replicas do not hold the key yet.", &missing),
            })
        }
        Promoted::Differs(live) => Err(not_held(
            "The replicas hold different keys of this id, or another one than was used; compare their keyring files.",
            &live,
        )),
    }
}

/// Starts to seal every record with the primary key, unless that is under way.
pub(super) async fn reseal(services: &Services, replica: &ReplicaId) -> Result<Resealing, Problem> {
    let fleet = &services.fleet;
    let replicas = fleet.replicas().await.map_err(store_problem)?;
    let promoted = fleet.promoted_key().await.map_err(store_problem)?;
    let Some(key) = primary(&replicas, promoted) else {
        let each: Vec<_> = replicas.iter().map(|replica| replica.id.clone()).collect();
        return Err(not_held("The replicas' keyring files name different primary keys; promote one first.", &each));
    };
    let asked = Resealing {
        key: key.clone(),
        started_at: services.clock.now(),
        finished_at: None,
        total: fleet.estimate().await.map_err(store_problem)?,
        seen: 0,
        resealed: 0,
        failed: 0,
        cursor: None,
        worker: None,
    };
    let standing = fleet.start_resealing(&asked).await.map_err(store_problem)?;
    if standing.started_at == asked.started_at {
        publish(services, replica, "reseal_started", Some(key)).await;
    }
    Ok(standing)
}

fn primary(replicas: &[ReplicaStatus], promoted: Option<String>) -> Option<String> {
    let of_files: BTreeSet<&str> = replicas.iter().map(|replica| replica.primary.as_str()).collect();
    let agreed = if of_files.len() == 1 { of_files.first().map(|id| (*id).to_owned()) } else { None };
    promoted.or(agreed)
}

fn gather(
    replicas: &[ReplicaStatus],
    promoted: Option<String>,
    checks: &BTreeMap<String, String>,
    records: Option<&BTreeMap<String, u64>>,
) -> KeyOverview {
    let held = replicas.iter().flat_map(|replica| replica.keys.keys().chain(&replica.wrong));
    let needed = records.into_iter().flat_map(BTreeMap::keys);
    let ids: BTreeSet<&String> = held.chain(needed).collect();
    let named = |holds: bool, id: &String| -> Vec<ReplicaId> {
        let such = replicas.iter().filter(|replica| replica.keys.contains_key(id) == holds);
        such.map(|replica| replica.id.clone()).collect()
    };
    let keys = ids.into_iter().map(|id| KeyHolders {
        id: id.clone(),
        replicas: named(true, id),
        missing: named(false, id),
        wrong: replicas.iter().filter(|replica| replica.wrong.contains(id)).map(|replica| replica.id.clone()).collect(),
        check: checks.get(id).cloned(),
        records: records.map(|records| records.get(id).copied().unwrap_or(0)),
    });
    let (keys, was_promoted) = (keys.collect(), promoted.is_some());
    KeyOverview { keys, promoted: was_promoted, primary: primary(replicas, promoted), counted_at: None }
}

fn unknown_key() -> Problem {
    Problem::new(Code::KeyNotFound, "No live replica holds a key of this id; add it to the keyring files first.")
}

fn not_held(detail: &str, replicas: &[ReplicaId]) -> Problem {
    let names: Vec<String> = replicas.iter().map(ToString::to_string).collect();
    Problem::new(Code::KeyNotHeld, detail).with("replicas", names)
}

#[cfg(test)]
mod tests {
    use tokenvault_core::time::Timestamp;

    use super::*;

    fn replica(name: &str, primary: &str, keys: &[&str]) -> ReplicaStatus {
        ReplicaStatus {
            id: ReplicaId::parse(name).unwrap(),
            version: "1".to_owned(),
            schema: 1,
            started_at: Timestamp::default(),
            seen_at: Timestamp::default(),
            primary: primary.to_owned(),
            keys: keys.iter().map(|id| ((*id).to_owned(), "check".to_owned())).collect(),
            wrong: BTreeSet::new(),
            renewing: 0,
            clock_ahead_ms: 0,
        }
    }

    #[test]
    fn a_key_is_shown_with_who_holds_it_and_who_does_not() {
        let mut replicas = [replica("a", "k1", &["k1", "k2"]), replica("b", "k1", &["k1"])];
        replicas[1].wrong.insert("k2".to_owned());
        let checks = BTreeMap::from([("k1".to_owned(), "c1".to_owned())]);
        let records = BTreeMap::from([("k0".to_owned(), 3), ("k1".to_owned(), 5)]);
        let keys = gather(&replicas, None, &checks, Some(&records));
        let shown = |id: &str| keys.keys.iter().find(|key| key.id == id).unwrap();
        assert_eq!((keys.primary.as_deref(), keys.promoted), (Some("k1"), false));
        assert_eq!((shown("k2").replicas.len(), shown("k2").missing.len(), shown("k2").records), (1, 1, Some(0)));
        assert_eq!((shown("k0").replicas.len(), shown("k0").records), (0, Some(3)), "a key that is needed and gone");
        assert_eq!((shown("k1").check.as_deref(), shown("k2").check.as_deref()), (Some("c1"), None));
        assert_eq!((shown("k1").wrong.len(), shown("k2").wrong.as_slice()), (0, [replicas[1].id.clone()].as_slice()));
    }

    #[test]
    fn without_a_promotion_the_primary_is_what_all_files_agree_on() {
        let same = [replica("a", "k1", &["k1"]), replica("b", "k1", &["k1"])];
        let other = [replica("a", "k1", &["k1"]), replica("b", "k2", &["k2"])];
        assert_eq!(primary(&same, None).as_deref(), Some("k1"));
        assert_eq!(primary(&other, None), None);
        assert_eq!(primary(&other, Some("k9".to_owned())).as_deref(), Some("k9"));
        assert_eq!(primary(&[], None), None);
    }
}
