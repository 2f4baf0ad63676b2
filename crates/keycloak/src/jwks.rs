//! The realms' public keys: fetched when needed, kept while Keycloak is away, forgotten when Keycloak has dropped them.
//!
//! Only keys that can verify one of the allowed asymmetric algorithms are used, each with the algorithms it may be used with:
//! a public key can never be taken for an HMAC secret. Of other signing keys it is known that they are the realm's, so that
//! their tokens are not called forged.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use parking_lot::Mutex;
use serde_json::Value;
use tokenvault_core::ports::Cause;
use tokenvault_core::time::Timestamp;
use url::Url;

use crate::flight::Flight;
use crate::signature::{Algorithm, PublicKey};

/// Not more often than this, however many tokens with unknown keys come in.
const FLOOR: Duration = Duration::from_secs(10);
/// After a failure sooner: until it succeeds, registrations are turned away.
const FLOOR_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// After this the keys are asked for again, so that a key that was withdrawn is forgotten.
const MAX_AGE: Duration = Duration::from_mins(10);

/// A key of the realm's.
pub(crate) struct RealmKey {
    pub(crate) kid: String,
    /// What its signatures are verified with; `None` where it is of a kind that the vault cannot use, or is too weak.
    pub(crate) verifying: Option<VerifyingKey>,
}

/// A key that can verify.
pub(crate) struct VerifyingKey {
    algorithms: &'static [Algorithm],
    key: PublicKey,
}

impl RealmKey {
    /// Reads a JWK (RFC 7517); `None` if it is not for asymmetric signatures, or cannot be read.
    pub(crate) fn read(jwk: &Value) -> Option<Self> {
        let member = |name: &str| jwk.get(name).and_then(Value::as_str);
        if member("use").is_some_and(|usage| usage != "sig") {
            return None;
        }
        let operations = jwk.get("key_ops").and_then(Value::as_array);
        if operations.is_some_and(|operations| !operations.iter().any(|operation| operation == "verify")) {
            return None;
        }
        let kid = member("kid")?.to_owned();
        let unusable = Some(Self { kid: kid.clone(), verifying: None });
        let (possible, key) = match (member("kty")?, member("crv")) {
            ("RSA", _) => {
                let modulus = URL_SAFE_NO_PAD.decode(member("n")?).ok()?;
                let key = DecodingKey::from_rsa_components(member("n")?, member("e")?).ok()?;
                if modulus.iter().skip_while(|byte| **byte == 0).count() < 2048 / 8 {
                    return unusable;
                }
                (Algorithm::RSA, PublicKey::Common(key))
            }
            ("EC", Some(curve)) => {
                let Some((algorithms, length)) = Algorithm::of_curve(curve) else { return unusable };
                let (x, y) = (number(member("x")?, length)?, number(member("y")?, length)?);
                let key = if algorithms.contains(&Algorithm::Es512) {
                    PublicKey::P521([&[4], x.as_slice(), &y].concat())
                } else {
                    let text = |number: &[u8]| URL_SAFE_NO_PAD.encode(number);
                    PublicKey::Common(DecodingKey::from_ec_components(&text(&x), &text(&y)).ok()?)
                };
                (algorithms, key)
            }
            ("OKP", Some("Ed25519")) => {
                (Algorithm::ED25519, PublicKey::Common(DecodingKey::from_ed_components(member("x")?).ok()?))
            }
            // Ed448, and whatever is to come (RFC 9864 §2.2, `AKP`): the library has none of them.
            ("OKP" | "AKP", _) => return unusable,
            _ => return None,
        };
        let algorithms = declared_among(member("alg"), possible)?;
        Some(Self { kid, verifying: Some(VerifyingKey { algorithms, key }) })
    }
}

impl VerifyingKey {
    /// Whether a signature is this key's, and the algorithm one that it may be used with.
    pub(crate) fn verifies(&self, algorithm: Algorithm, signed: &str, signature: &str) -> bool {
        self.algorithms.contains(&algorithm) && self.key.verifies(algorithm, signed, signature)
    }
}

/// One of a point's two numbers (RFC 7518 §6.2.1.2), also where somebody has left out the zeros that it begins with.
fn number(text: &str, length: usize) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let zeros = length.checked_sub(bytes.len())?;
    Some([vec![0; zeros], bytes].concat())
}

/// Of the algorithms the kind of key allows, the one it declares; all if it declares none.
fn declared_among(declared: Option<&str>, possible: &'static [Algorithm]) -> Option<&'static [Algorithm]> {
    let Some(name) = declared else { return Some(possible) };
    let at = possible.iter().position(|algorithm| Some(*algorithm) == Algorithm::named(name))?;
    Some(&possible[at..=at])
}

#[derive(Default)]
struct FetchedKeys {
    keys: Arc<Vec<Arc<RealmKey>>>,
    fetched_at: Option<Timestamp>,
    tried: Option<(Timestamp, Result<(), Cause>)>,
}

#[derive(Default)]
struct KeySet {
    known: Mutex<FetchedKeys>,
    flight: Flight<Result<(), Cause>>,
}

/// Every realm's keys, by the address of the key set.
#[derive(Default)]
pub(crate) struct KeyCache {
    realms: Mutex<HashMap<Url, Arc<KeySet>>>,
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
    ) -> Result<Option<Arc<RealmKey>>, Cause>
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

impl KeySet {
    /// The key, and whether the key set is to be fetched for it.
    fn look(&self, kid: &str, now: Timestamp) -> (Option<Arc<RealmKey>>, bool) {
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
    fn verdict(&self, key: Option<Arc<RealmKey>>) -> Result<Option<Arc<RealmKey>>, Cause> {
        match (key, &self.known.lock().tried) {
            (None, Some((_, Err(cause)))) => Err(*cause),
            (key, _) => Ok(key),
        }
    }

    fn learn(&self, answer: Result<Vec<Value>, Cause>, now: Timestamp) -> Result<(), Cause> {
        let mut known = self.known.lock();
        let read = answer.and_then(|keys| {
            let keys: Vec<_> = keys.iter().filter_map(RealmKey::read).map(Arc::new).collect();
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
