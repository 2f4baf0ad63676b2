//! The realms' public keys: fetched when needed, kept while Keycloak is away, forgotten when Keycloak has dropped them.
//!
//! Only keys that can verify one of the allowed asymmetric algorithms are kept at all, each with the algorithms it may be
//! used with: a public key can never be taken for an HMAC secret.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use parking_lot::Mutex;
use serde_json::Value;
use tokenvault_core::ports::Cause;
use tokenvault_core::time::Timestamp;
use url::Url;

use crate::flight::Flight;

/// Not more often than this, however many tokens with unknown keys come in.
const FLOOR: Duration = Duration::from_secs(10);
/// After a failure sooner: until it succeeds, registrations are turned away.
const FLOOR_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// After this the keys are asked for again, so that a key that was withdrawn is forgotten.
const MAX_AGE: Duration = Duration::from_mins(10);

/// A key that can verify.
pub(crate) struct VerifyingKey {
    kid: String,
    algorithms: &'static [Algorithm],
    pub(crate) key: DecodingKey,
}

impl VerifyingKey {
    /// Reads a JWK (RFC 7517); `None` if it is not for signatures, is too weak, or is of a kind that is not allowed.
    pub(crate) fn read(jwk: &Value) -> Option<Self> {
        let member = |name: &str| jwk.get(name).and_then(Value::as_str);
        if member("use").is_some_and(|usage| usage != "sig") {
            return None;
        }
        let operations = jwk.get("key_ops").and_then(Value::as_array);
        if operations.is_some_and(|operations| !operations.iter().any(|operation| operation == "verify")) {
            return None;
        }
        let declared = member("alg");
        let (algorithms, key) = match (member("kty")?, member("crv")) {
            ("RSA", _) => {
                let modulus = URL_SAFE_NO_PAD.decode(member("n")?).ok()?;
                let strong = modulus.iter().skip_while(|byte| **byte == 0).count() >= 2048 / 8;
                let key = DecodingKey::from_rsa_components(member("n")?, member("e")?).ok().filter(|_| strong)?;
                (declared_among(declared, RSA)?, key)
            }
            ("EC", Some(curve)) => {
                let algorithms = declared_among(declared, ec_algorithm(curve)?)?;
                (algorithms, DecodingKey::from_ec_components(member("x")?, member("y")?).ok()?)
            }
            ("OKP", Some("Ed25519")) => {
                (declared_among(declared, &[Algorithm::EdDSA])?, DecodingKey::from_ed_components(member("x")?).ok()?)
            }
            _ => return None,
        };
        Some(Self { kid: member("kid")?.to_owned(), algorithms, key })
    }

    /// Whether this key may be used with an algorithm.
    pub(crate) fn allows(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }
}

const RSA: &[Algorithm] =
    &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];

fn ec_algorithm(curve: &str) -> Option<&'static [Algorithm]> {
    match curve {
        "P-256" => Some(&[Algorithm::ES256]),
        "P-384" => Some(&[Algorithm::ES384]),
        _ => None,
    }
}

/// Of the algorithms the kind of key allows, the one it declares; all if it declares none.
fn declared_among(declared: Option<&str>, possible: &'static [Algorithm]) -> Option<&'static [Algorithm]> {
    let Some(name) = declared else { return Some(possible) };
    let at = possible.iter().position(|algorithm| format!("{algorithm:?}") == name)?;
    Some(&possible[at..=at])
}

type Keys = Arc<Vec<Arc<VerifyingKey>>>;

#[derive(Default)]
struct Known {
    keys: Keys,
    fetched_at: Option<Timestamp>,
    tried: Option<(Timestamp, Result<(), Cause>)>,
}

#[derive(Default)]
struct RealmKeys {
    known: Mutex<Known>,
    flight: Flight<Result<(), Cause>>,
}

/// Every realm's keys, by the address of the key set.
#[derive(Default)]
pub(crate) struct KeyCache {
    realms: Mutex<HashMap<Url, Arc<RealmKeys>>>,
}

impl KeyCache {
    /// The key of that id; `None` if the realm has none, an error if that could not be found out. `fetch` asks for the
    /// key set and is called only if needed.
    pub(crate) async fn find<F>(
        &self,
        jwks: &Url,
        kid: &str,
        now: Timestamp,
        fetch: impl FnOnce() -> F,
    ) -> Result<Option<Arc<VerifyingKey>>, Cause>
    where
        F: Future<Output = Result<Vec<Value>, Cause>>,
    {
        let realm = Arc::clone(self.realms.lock().entry(jwks.clone()).or_default());
        let ticket = realm.flight.ticket();
        let (key, due) = realm.look(kid, now);
        // Whoever holds a key that is only due for a look need not wait for somebody else's.
        if !due || (key.is_some() && realm.flight.busy()) {
            return realm.verdict(key);
        }
        let outcome = realm.flight.board(ticket, async { realm.learn(fetch().await, now) }).await;
        if outcome.is_err() {
            tracing::warn!(url = %jwks, "the realm's keys could not be fetched");
        }
        let (key, _) = realm.look(kid, now);
        realm.verdict(key)
    }
}

impl RealmKeys {
    /// The key, and whether the key set is to be fetched for it.
    fn look(&self, kid: &str, now: Timestamp) -> (Option<Arc<VerifyingKey>>, bool) {
        let known = self.known.lock();
        let key = known.keys.iter().find(|key| key.kid == kid).cloned();
        let fresh = known.fetched_at.is_some_and(|at| age(at, now) < MAX_AGE);
        let rests = known
            .tried
            .as_ref()
            .is_some_and(|(at, outcome)| age(*at, now) < if outcome.is_ok() { FLOOR } else { FLOOR_AFTER_FAILURE });
        let served = key.is_some() && fresh;
        let due = !served && !rests;
        (key, due)
    }

    /// A key that is known counts, also while Keycloak is away. One that is not known is missing only if the last fetch
    /// could have brought it.
    fn verdict(&self, key: Option<Arc<VerifyingKey>>) -> Result<Option<Arc<VerifyingKey>>, Cause> {
        match (key, &self.known.lock().tried) {
            (None, Some((_, Err(cause)))) => Err(*cause),
            (key, _) => Ok(key),
        }
    }

    fn learn(&self, answer: Result<Vec<Value>, Cause>, now: Timestamp) -> Result<(), Cause> {
        let mut known = self.known.lock();
        let read = answer.and_then(|keys| {
            let keys: Vec<_> = keys.iter().filter_map(VerifyingKey::read).map(Arc::new).collect();
            // A realm without a single signing key is no realm; rather keep what there was.
            if keys.is_empty() { Err(Cause::Unintelligible) } else { Ok(keys) }
        });
        let outcome = read.map(|keys| {
            known.keys = Arc::new(keys);
            known.fetched_at = Some(now);
        });
        known.tried = Some((now, outcome));
        outcome
    }
}

/// How long ago; an instant in the future (the clock was set back) counts as long ago.
fn age(at: Timestamp, now: Timestamp) -> Duration {
    if at > now { Duration::MAX } else { now.since(at) }
}

#[cfg(test)]
mod tests;
