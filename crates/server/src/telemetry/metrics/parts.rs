//! What the vault stands on: the store and its clock, Keycloak, and the keys.

use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use tokenvault_core::ports::Refusal;
use tokenvault_core::seal::SealError;
use tokenvault_keycloak::Operation;
use tokenvault_redis::Unreadable;

use super::registrar::{CounterFamily, HistogramFamily, Registrar, size};

/// Everything that Keycloak is asked.
const CALLS: [Operation; 8] = [
    Operation::Exchange,
    Operation::Refresh,
    Operation::Impersonate,
    Operation::ServiceAccount,
    Operation::Probe,
    Operation::Introspect,
    Operation::Revoke,
    Operation::Jwks,
];

/// The words for why Keycloak gave no answer.
pub(crate) const NO_ANSWER: [&str; 6] =
    ["connect", "timeout", "interrupted", "server_error", "unintelligible", "throttled"];

/// Whom the vault keeps connections to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// An address of Keycloak's.
    Keycloak,
    /// The store.
    Redis,
}

impl Backend {
    pub(super) const ALL: [Self; 2] = [Self::Keycloak, Self::Redis];

    fn as_str(self) -> &'static str {
        match self {
            Self::Keycloak => "keycloak",
            Self::Redis => "redis",
        }
    }
}

/// The operation of the store that reads of tokens are.
const READ: &str = "read";

/// What is measured of the store, Keycloak and the keys.
pub struct PartMetrics {
    store_duration: HistogramFamily,
    /// That of reads: looked up once, for there are many.
    store_reads: OnceLock<Histogram>,
    rollbacks: Counter,
    short_acks: Counter,
    store_refuses_writes: Gauge,
    connections_left: CounterFamily,
    clock_skew: Gauge<f64, AtomicU64>,
    clock_ahead: Gauge<f64, AtomicU64>,
    keycloak_requests: CounterFamily,
    keycloak_duration: HistogramFamily,
    token_bytes: Histogram,
    seal_failures: CounterFamily,
    keyring_refused: Gauge,
    wrong_keys: Family<Vec<(&'static str, String)>, Gauge>,
}

impl PartMetrics {
    pub(super) fn register(r: &mut Registrar) -> Self {
        Self {
            store_duration: r
                .latencies("store_operation_duration_seconds", "Time the store took to answer, by operation"),
            store_reads: OnceLock::new(),
            rollbacks: r.add(
                "store_rollbacks",
                "Records found at an older generation than was seen before: the store has lost writes",
            ),
            short_acks: r.add(
                "store_short_acks",
                "Writes that fewer replicas of Redis acknowledged in time than redis.ack_replicas asks for",
            ),
            store_refuses_writes: r.add("store_refuses_writes", "Whether the store answers and takes no more writes"),
            connections_left: r.add(
                "connections_left",
                "Times that all connections to a part were left because nobody answered over them",
            ),
            clock_skew: r.add(
                "clock_skew_seconds",
                "How far this machine's clock is ahead of the vault's, which follows the store's",
            ),
            clock_ahead: r.add(
                "clock_ahead_of_store_seconds",
                "How far the vault's clock is ahead of the store's, which has stepped and is approached slowly",
            ),
            keycloak_requests: r.add("keycloak_requests", "Requests to Keycloak by call and outcome"),
            keycloak_duration: r.latencies("keycloak_request_duration_seconds", "Time Keycloak took to answer"),
            token_bytes: r.with(
                "access_token_bytes",
                "Size of the access tokens that Keycloak granted to the vault",
                size(),
            ),
            seal_failures: r
                .add("seal_failures", "Sealed values that did not open, and records that cannot be read, by kind"),
            keyring_refused: r
                .add("keyring_refused", "Whether the keyring file cannot be used and an older ring stays in force"),
            wrong_keys: r
                .add("keyring_wrong_key", "Of each key of the keyring, whether it is another one than that of its id"),
        }
    }

    /// Makes the series that alerts ask for, at zero.
    pub(super) fn count_from_zero(&self) {
        let of_seals = [SealError::Malformed, SealError::UnknownKey, SealError::Forged].map(SealError::code);
        for kind in of_seals.into_iter().chain(Unreadable::ALL.map(Unreadable::code)) {
            drop(self.seal_failures.get_or_create(&vec![("kind", kind)]));
        }
        for to in Backend::ALL {
            drop(self.connections_left.get_or_create(&vec![("to", to.as_str())]));
        }
        for call in CALLS {
            for outcome in NO_ANSWER.into_iter().chain([Refusal::ClientRejected.code()]) {
                drop(self.keycloak_requests.get_or_create(&vec![("call", call.as_str()), ("outcome", outcome)]));
            }
        }
    }

    fn store_operations(&self, operation: &'static str) -> Histogram {
        self.store_duration.get_or_create(&vec![("op", operation)]).clone()
    }

    /// The store was asked for something.
    pub fn store_operation(&self, operation: &'static str, took: Duration) {
        let took = took.as_secs_f64();
        match operation {
            READ => self.store_reads.get_or_init(|| self.store_operations(READ)).observe(took),
            _ => self.store_operations(operation).observe(took),
        }
    }

    /// A record was found at an older generation than was seen before.
    pub fn rolled_back(&self) {
        self.rollbacks.inc();
    }

    /// A write was acknowledged by fewer replicas than were asked for.
    pub fn short_ack(&self) {
        self.short_acks.inc();
    }

    /// Whether the store answers and takes no more writes.
    pub fn set_store_refuses_writes(&self, refuses: bool) {
        self.store_refuses_writes.set(i64::from(refuses));
    }

    /// All connections to a part were left because nobody answered over them.
    pub fn connections_left(&self, to: Backend) {
        self.connections_left.get_or_create(&vec![("to", to.as_str())]).inc();
    }

    /// How far the machine's clock is ahead of the vault's, and the vault's of the store's.
    #[expect(clippy::cast_precision_loss, reason = "nobody's clock is off by 2^52 ms")]
    pub fn set_clock(&self, machine_ahead_ms: i64, ahead_of_store_ms: i64) {
        self.clock_skew.set(machine_ahead_ms as f64 / 1000.0);
        self.clock_ahead.set(ahead_of_store_ms as f64 / 1000.0);
    }

    /// A request to Keycloak was answered, or was not.
    pub fn keycloak_request(&self, call: &'static str, outcome: &'static str, took: Duration) {
        self.keycloak_requests.get_or_create(&vec![("call", call), ("outcome", outcome)]).inc();
        self.keycloak_duration.get_or_create(&vec![("call", call)]).observe(took.as_secs_f64());
    }

    /// Keycloak granted an access token of so many bytes.
    #[expect(clippy::cast_precision_loss, reason = "no answer of Keycloak's is read beyond some hundred KiB")]
    pub fn granted(&self, bytes: usize) {
        self.token_bytes.observe(bytes as f64);
    }

    /// A sealed value did not open.
    pub fn seal_failure(&self, error: SealError) {
        self.seal_failures.get_or_create(&vec![("kind", error.code())]).inc();
    }

    /// A record was found that cannot be read.
    pub fn unreadable(&self, why: Unreadable) {
        self.seal_failures.get_or_create(&vec![("kind", why.code())]).inc();
    }

    /// Whether the keyring file is such that an older ring stays in force.
    pub(super) fn set_keyring_refused(&self, refused: bool) {
        self.keyring_refused.set(i64::from(refused));
    }

    /// Of each key of the ring, whether it is another one than that of its id.
    pub fn set_wrong_keys<'a>(&self, keys: impl Iterator<Item = (&'a str, bool)>) {
        self.wrong_keys.clear();
        for (id, wrong) in keys {
            self.wrong_keys.get_or_create(&vec![("key", id.to_owned())]).set(i64::from(wrong));
        }
    }
}
