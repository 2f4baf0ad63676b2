//! The metrics, in Prometheus' words. Every name and label is listed in `docs/metrics.md`, and a test holds the two
//! together.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tokenvault_core::policy::Step;
use tokenvault_core::ports::{Census, Refusal};
use tokenvault_core::record::{EndReason, Slot, Suspension};
use tokenvault_core::seal::SealError;
use tokenvault_core::time::Timestamp;
use tokenvault_keycloak::answer::Call;
use tokenvault_redis::Unreadable;

use tokenvault_vault::observer::{DoubtOutcome, Observer};
use tokenvault_vault::problem::Code;

type Labels = Vec<(&'static str, &'static str)>;
type CounterFamily = Family<Labels, Counter>;
type HistogramFamily = Family<Labels, Histogram, fn() -> Histogram>;

/// 0.1 ms to 52 s: the store and HTTP. A read may wait for 30 s, and a refresh is waited for as long as two thirds of the
/// quarantine.
fn latency() -> Histogram {
    Histogram::new(exponential_buckets(0.000_1, 2.0, 20))
}

/// 10 ms to 22 min: how late something begins, after an outage as well.
fn lateness() -> Histogram {
    Histogram::new(exponential_buckets(0.01, 2.0, 18))
}

/// 1 s to about 18 h: lives.
fn life() -> Histogram {
    Histogram::new(exponential_buckets(1.0, 2.0, 17))
}

/// 512 bytes to 128 KiB: tokens. Above 8 KiB (a boundary of a bucket) they are a hazard.
fn size() -> Histogram {
    Histogram::new(exponential_buckets(512.0, 2.0, 9))
}

/// Everything that Keycloak is asked.
const CALLS: [Call; 8] = [
    Call::Exchange,
    Call::Refresh,
    Call::Impersonate,
    Call::ServiceAccount,
    Call::Probe,
    Call::Introspect,
    Call::Revoke,
    Call::Jwks,
];

/// The words for why Keycloak gave no answer.
pub(crate) const NO_ANSWER: [&str; 6] =
    ["connect", "timeout", "interrupted", "server_error", "unintelligible", "throttled"];

/// What is read again when its file changes, and may be refused then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReloadedFile {
    /// Which module may do what.
    Policy,
    /// Which tenants there are.
    Tenants,
    /// What the tenants' clients prove themselves with, and whom to trust to be Keycloak.
    Secrets,
    /// Which operator may do what.
    AdminPolicy,
    /// What tokens are sealed with.
    Keyring,
    /// The certificate, with its key, of the listener that modules call.
    ServerCertificate,
    /// Who signs modules' certificates.
    ServerClientCa,
    /// Which of those are revoked.
    ServerClientCrl,
    /// The same of the operators' listener.
    AdminCertificate,
    /// Who signs operators' certificates.
    AdminClientCa,
    /// Which of those are revoked.
    AdminClientCrl,
    /// The certificate, with its key, of the listener that Keycloak calls.
    IdpCertificate,
}

impl ReloadedFile {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Policy,
        Self::Tenants,
        Self::Secrets,
        Self::AdminPolicy,
        Self::Keyring,
        Self::ServerCertificate,
        Self::ServerClientCa,
        Self::ServerClientCrl,
        Self::AdminCertificate,
        Self::AdminClientCa,
        Self::AdminClientCrl,
        Self::IdpCertificate,
    ];

    /// The word, for metrics, logs and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Tenants => "tenants",
            Self::Secrets => "secrets",
            Self::AdminPolicy => "admin_policy",
            Self::Keyring => "keyring",
            Self::ServerCertificate => "server_certificate",
            Self::ServerClientCa => "server_client_ca",
            Self::ServerClientCrl => "server_client_crl",
            Self::AdminCertificate => "admin_certificate",
            Self::AdminClientCa => "admin_client_ca",
            Self::AdminClientCrl => "admin_client_crl",
            Self::IdpCertificate => "idp_certificate",
        }
    }
}

/// Whom the vault keeps connections to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// An address of Keycloak's.
    Keycloak,
    /// The store.
    Redis,
}

impl Backend {
    const ALL: [Self; 2] = [Self::Keycloak, Self::Redis];

    fn as_str(self) -> &'static str {
        match self {
            Self::Keycloak => "keycloak",
            Self::Redis => "redis",
        }
    }
}

/// All metrics of a process.
pub struct Metrics {
    registry: Registry,
    reads: CounterFamily,
    read_duration: Histogram,
    token_ttl: Histogram,
    token_bytes: Histogram,
    renewals: CounterFamily,
    renewal_duration: HistogramFamily,
    renewal_lag: Histogram,
    renewals_due: Gauge,
    ended: CounterFamily,
    suspended: CounterFamily,
    rollbacks: Counter,
    short_acks: Counter,
    connections_left: CounterFamily,
    clock_skew: Gauge<f64, AtomicU64>,
    clock_ahead: Gauge<f64, AtomicU64>,
    ambiguous_spends: Counter,
    doubts: CounterFamily,
    leases_lost: Counter,
    seal_failures: CounterFamily,
    keycloak_requests: CounterFamily,
    keycloak_duration: HistogramFamily,
    rejections: CounterFamily,
    store_duration: HistogramFamily,
    jobs: Family<Labels, Gauge>,
    jobs_counted: Gauge<f64, AtomicU64>,
    paused: Gauge,
    store_refuses_writes: Gauge,
    keyring_refused: Gauge,
    wrong_keys: Family<Vec<(&'static str, String)>, Gauge>,
    tenants: Gauge,
    reload_failures: CounterFamily,
    reload_refused: Family<Labels, Gauge>,
    audit_entries: CounterFamily,
    audit_up: Gauge,
    backchannel_logouts: CounterFamily,
    connections: Gauge,
    last_success: Gauge<f64, AtomicU64>,
    certificate_not_after: Family<Labels, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Registers everything under the prefix `tokenvault_`.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("tokenvault"),
            reads: CounterFamily::default(),
            read_duration: latency(),
            token_ttl: life(),
            token_bytes: size(),
            renewals: CounterFamily::default(),
            renewal_duration: HistogramFamily::new_with_constructor(latency as fn() -> Histogram),
            renewal_lag: lateness(),
            renewals_due: Gauge::default(),
            ended: CounterFamily::default(),
            suspended: CounterFamily::default(),
            rollbacks: Counter::default(),
            short_acks: Counter::default(),
            connections_left: CounterFamily::default(),
            clock_skew: Gauge::default(),
            clock_ahead: Gauge::default(),
            ambiguous_spends: Counter::default(),
            doubts: CounterFamily::default(),
            leases_lost: Counter::default(),
            seal_failures: CounterFamily::default(),
            keycloak_requests: CounterFamily::default(),
            keycloak_duration: HistogramFamily::new_with_constructor(latency as fn() -> Histogram),
            rejections: CounterFamily::default(),
            store_duration: HistogramFamily::new_with_constructor(latency as fn() -> Histogram),
            jobs: Family::default(),
            jobs_counted: Gauge::default(),
            paused: Gauge::default(),
            store_refuses_writes: Gauge::default(),
            keyring_refused: Gauge::default(),
            wrong_keys: Family::default(),
            tenants: Gauge::default(),
            reload_failures: CounterFamily::default(),
            reload_refused: Family::default(),
            audit_entries: CounterFamily::default(),
            audit_up: Gauge::default(),
            backchannel_logouts: CounterFamily::default(),
            connections: Gauge::default(),
            last_success: Gauge::default(),
            certificate_not_after: Family::default(),
        };
        metrics.register();
        metrics.count_from_zero();
        metrics.audit_well(true);
        metrics
    }

    /// What alerts ask for is there before it has happened: a rate sees the first of a series only where a zero was
    /// before it.
    fn count_from_zero(&self) {
        for why in Suspension::ALL {
            drop(self.suspended.get_or_create(&vec![("reason", why.code())]));
        }
        for reason in EndReason::ALL {
            drop(self.ended.get_or_create(&vec![("reason", reason.code())]));
        }
        let of_seals = [SealError::Malformed, SealError::UnknownKey, SealError::Forged].map(SealError::code);
        for kind in of_seals.into_iter().chain(Unreadable::ALL.map(Unreadable::code)) {
            drop(self.seal_failures.get_or_create(&vec![("kind", kind)]));
        }
        drop(self.backchannel_logouts.get_or_create(&vec![("outcome", "accepted")]));
        for outcome in DoubtOutcome::ALL {
            drop(self.doubts.get_or_create(&vec![("outcome", outcome.code())]));
        }
        for outcome in ["written", "refused", "lost"] {
            drop(self.audit_entries.get_or_create(&vec![("outcome", outcome)]));
        }
        for outcome in ["token", Code::TokenNotReady.as_str()] {
            drop(self.reads.get_or_create(&vec![("outcome", outcome)]));
        }
        for to in Backend::ALL {
            drop(self.connections_left.get_or_create(&vec![("to", to.as_str())]));
        }
        for what in ReloadedFile::ALL {
            drop(self.reload_failures.get_or_create(&vec![("file", what.as_str())]));
            drop(self.reload_refused.get_or_create(&vec![("file", what.as_str())]));
        }
        let turned_away = ["handshake_cut", "too_many_connections"];
        for reason in [Code::StoreUnavailable.as_str(), Code::TooManyRequests.as_str()].into_iter().chain(turned_away) {
            drop(self.rejections.get_or_create(&vec![("reason", reason)]));
        }
        let barred = vec![("step", Step::Exchange(Slot::Current).code()), ("outcome", Refusal::NotAllowed.code())];
        drop(self.renewals.get_or_create(&barred));
        for call in CALLS {
            for outcome in NO_ANSWER.into_iter().chain([Refusal::ClientRejected.code()]) {
                drop(self.keycloak_requests.get_or_create(&vec![("call", call.as_str()), ("outcome", outcome)]));
            }
        }
    }

    fn register(&mut self) {
        let r = &mut self.registry;
        r.register("reads", "Token reads by outcome", self.reads.clone());
        r.register("read_duration_seconds", "Time a read took, its wait included", self.read_duration.clone());
        r.register("token_ttl_seconds", "Life left in the access tokens that reads were given", self.token_ttl.clone());
        r.register(
            "access_token_bytes",
            "Size of the access tokens that Keycloak granted to the vault",
            self.token_bytes.clone(),
        );
        r.register("renewals", "Steps of renewals by outcome", self.renewals.clone());
        r.register("renewal_duration_seconds", "Time a step of a renewal took", self.renewal_duration.clone());
        r.register(
            "renewal_lag_seconds",
            "How long a record had been due when it was claimed",
            self.renewal_lag.clone(),
        );
        r.register("renewals_due", "Records that are due now, over all replicas", self.renewals_due.clone());
        r.register("jobs_ended", "Jobs that ended, by reason", self.ended.clone());
        r.register("jobs_suspended", "Jobs that were suspended, by reason", self.suspended.clone());
        r.register(
            "store_rollbacks",
            "Records found at an older generation than was seen before: the store has lost writes",
            self.rollbacks.clone(),
        );
        r.register(
            "store_short_acks",
            "Writes that fewer replicas of Redis acknowledged in time than redis.ack_replicas asks for",
            self.short_acks.clone(),
        );
        r.register(
            "connections_left",
            "Times that all connections to a part were left because nobody answered over them",
            self.connections_left.clone(),
        );
        r.register(
            "clock_skew_seconds",
            "How far this machine's clock is ahead of the vault's, which follows the store's",
            self.clock_skew.clone(),
        );
        r.register(
            "clock_ahead_of_store_seconds",
            "How far the vault's clock is ahead of the store's, which has stepped and is approached slowly",
            self.clock_ahead.clone(),
        );
        r.register(
            "doubts",
            "Sessions that Keycloak said were over: how often that began to be doubted, and how the doubts ended",
            self.doubts.clone(),
        );
        r.register("ambiguous_spends", "Spent refresh tokens whose answer was lost", self.ambiguous_spends.clone());
        r.register("leases_lost", "Leases that another replica had taken over", self.leases_lost.clone());
        r.register(
            "seal_failures",
            "Sealed values that did not open, and records that cannot be read, by kind",
            self.seal_failures.clone(),
        );
        r.register("keycloak_requests", "Requests to Keycloak by call and outcome", self.keycloak_requests.clone());
        r.register("keycloak_request_duration_seconds", "Time Keycloak took to answer", self.keycloak_duration.clone());
        r.register(
            "store_operation_duration_seconds",
            "Time the store took to answer, by operation",
            self.store_duration.clone(),
        );
        self.register_state();
    }

    /// What is so just now, and what is told of connections and listeners.
    fn register_state(&mut self) {
        let r = &mut self.registry;
        r.register("jobs", "Jobs by state, over all replicas", self.jobs.clone());
        r.register(
            "jobs_counted_timestamp_seconds",
            "When the jobs were counted that tokenvault_jobs tells of",
            self.jobs_counted.clone(),
        );
        r.register("paused", "Whether an operator has paused renewal", self.paused.clone());
        r.register(
            "store_refuses_writes",
            "Whether the store answers and takes no more writes",
            self.store_refuses_writes.clone(),
        );
        r.register(
            "keyring_refused",
            "Whether the keyring file cannot be used and an older ring stays in force",
            self.keyring_refused.clone(),
        );
        r.register(
            "keyring_wrong_key",
            "Of each key of the keyring, whether it is another one than that of its id",
            self.wrong_keys.clone(),
        );
        r.register("tenants", "Tenants that are served", self.tenants.clone());
        r.register(
            "reload_failures",
            "Looks at a file that found a change which is refused; what was in force before stays",
            self.reload_failures.clone(),
        );
        r.register(
            "reload_refused",
            "Whether what a file says now is refused and what was in force before stays",
            self.reload_refused.clone(),
        );
        r.register("rejections", "Requests that were refused, by code", self.rejections.clone());
        r.register("audit_entries", "Entries of the audit log, by what became of them", self.audit_entries.clone());
        r.register("audit_up", "Whether the audit log can be written; 1 where none is kept", self.audit_up.clone());
        r.register(
            "backchannel_logouts",
            "Requests of the identity provider's listener, by outcome",
            self.backchannel_logouts.clone(),
        );
        r.register("connections", "Open connections on the module listener", self.connections.clone());
        r.register(
            "reconciler_last_success_timestamp_seconds",
            "When the reconciler last went through all shards",
            self.last_success.clone(),
        );
        r.register(
            "certificate_not_after_timestamp_seconds",
            "When a certificate in use expires",
            self.certificate_not_after.clone(),
        );
        r.register("build", "The running version", Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]));
    }

    /// The exposition, in the `OpenMetrics` text format.
    pub fn encode(&self) -> String {
        let mut out = String::new();
        prometheus_client::encoding::text::encode(&mut out, &self.registry)
            .expect("writing to a String cannot fail, and every metric encodes itself");
        out
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

    /// All connections to a part were left because nobody answered over them.
    pub fn connections_left(&self, to: Backend) {
        self.connections_left.get_or_create(&vec![("to", to.as_str())]).inc();
    }

    /// The store was asked for something.
    pub fn store_operation(&self, operation: &'static str, took: Duration) {
        self.store_duration.get_or_create(&vec![("op", operation)]).observe(took.as_secs_f64());
    }

    /// A record was found that cannot be read.
    pub fn unreadable(&self, why: Unreadable) {
        self.seal_failures.get_or_create(&vec![("kind", why.code())]).inc();
    }

    /// A write was acknowledged by fewer replicas than were asked for.
    pub fn short_ack(&self) {
        self.short_acks.inc();
    }

    /// How many jobs there are in each state, and when they were counted, if that is known.
    pub fn set_jobs(&self, census: &Census) {
        for (state, count) in
            [("active", census.active), ("suspended", census.suspended), ("releasing", census.releasing)]
        {
            self.jobs.get_or_create(&vec![("state", state)]).set(i64::try_from(count).unwrap_or(i64::MAX));
            #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit an f64's mantissa")]
            self.jobs_counted.set(census.counted_at.map_or(0.0, |at| at.as_millis() as f64 / 1000.0));
        }
    }

    /// Whether renewal is paused.
    pub fn set_paused(&self, paused: bool) {
        self.paused.set(i64::from(paused));
    }

    /// Whether the store answers and takes no more writes.
    pub fn set_store_refuses_writes(&self, refuses: bool) {
        self.store_refuses_writes.set(i64::from(refuses));
    }

    /// Whether the keyring file is such that an older ring stays in force.
    pub fn set_keyring_refused(&self, refused: bool) {
        self.keyring_refused.set(i64::from(refused));
        self.reload(ReloadedFile::Keyring, refused);
    }

    /// Of each key of the ring, whether it is another one than that of its id.
    pub fn set_wrong_keys<'a>(&self, keys: impl Iterator<Item = (&'a str, bool)>) {
        self.wrong_keys.clear();
        for (id, wrong) in keys {
            self.wrong_keys.get_or_create(&vec![("key", id.to_owned())]).set(i64::from(wrong));
        }
    }

    /// How many tenants are served.
    pub fn set_tenants(&self, count: usize) {
        self.tenants.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// A file was looked at, and what it says now is refused or is not.
    pub fn reload(&self, what: ReloadedFile, refused: bool) {
        self.reload_refused.get_or_create(&vec![("file", what.as_str())]).set(i64::from(refused));
        if refused {
            self.reload_failures.get_or_create(&vec![("file", what.as_str())]).inc();
        }
    }

    /// A request was refused with this problem code.
    pub fn rejected(&self, code: &'static str) {
        self.rejections.get_or_create(&vec![("reason", code)]).inc();
    }

    /// Entries of the audit log were `written`, `refused` (what they tell of was not done), or `lost`.
    pub fn audit_entries(&self, outcome: &'static str, entries: usize) {
        self.audit_entries.get_or_create(&vec![("outcome", outcome)]).inc_by(entries as u64);
    }

    /// Whether the audit log can be written.
    pub fn audit_well(&self, well: bool) {
        self.audit_up.set(i64::from(well));
    }

    /// A request of the identity provider's listener was answered.
    pub fn backchannel_logout(&self, outcome: &'static str) {
        self.backchannel_logouts.get_or_create(&vec![("outcome", outcome)]).inc();
    }

    /// A connection was opened on the module listener.
    pub fn connection_opened(&self) {
        self.connections.inc();
    }

    /// A connection was closed.
    pub fn connection_closed(&self) {
        self.connections.dec();
    }

    /// How many records are due.
    pub fn set_due(&self, due: u64) {
        self.renewals_due.set(i64::try_from(due).unwrap_or(i64::MAX));
    }

    /// How far the machine's clock is ahead of the vault's, and the vault's of the store's.
    #[expect(clippy::cast_precision_loss, reason = "nobody's clock is off by 2^52 ms")]
    pub fn set_clock(&self, machine_ahead_ms: i64, ahead_of_store_ms: i64) {
        self.clock_skew.set(machine_ahead_ms as f64 / 1000.0);
        self.clock_ahead.set(ahead_of_store_ms as f64 / 1000.0);
    }

    /// When a certificate expires.
    pub fn certificate(&self, usage: &'static str, not_after: Timestamp) {
        let seconds = i64::try_from(not_after.as_secs()).unwrap_or(i64::MAX);
        self.certificate_not_after.get_or_create(&vec![("use", usage)]).set(seconds);
    }

    /// The reconciler has been through all shards.
    #[expect(clippy::cast_precision_loss, reason = "seconds since the epoch are far below 2^52")]
    pub fn reconciled_at(&self, now: Timestamp) {
        self.last_success.set(now.as_millis() as f64 / 1000.0);
    }
}

/// The metrics as the use cases and the reconciler see them; the clock dates the reconciler's successes.
pub struct MetricsObserver {
    /// Where it is counted.
    pub metrics: std::sync::Arc<Metrics>,
    /// What time it is.
    pub clock: std::sync::Arc<dyn tokenvault_core::ports::Clock>,
}

impl Observer for MetricsObserver {
    fn renewal_step(&self, step: &'static str, outcome: &'static str, took: Duration) {
        self.metrics.renewals.get_or_create(&vec![("step", step), ("outcome", outcome)]).inc();
        self.metrics.renewal_duration.get_or_create(&vec![("step", step)]).observe(took.as_secs_f64());
    }

    fn renewal_lag(&self, lag: Duration) {
        self.metrics.renewal_lag.observe(lag.as_secs_f64());
    }

    fn ended(&self, reason: EndReason) {
        self.metrics.ended.get_or_create(&vec![("reason", reason.code())]).inc();
    }

    fn suspended(&self, why: Suspension) {
        self.metrics.suspended.get_or_create(&vec![("reason", why.code())]).inc();
    }

    fn rolled_back(&self) {
        self.metrics.rollbacks.inc();
    }

    fn ambiguous_spend(&self) {
        self.metrics.ambiguous_spends.inc();
    }

    fn doubt(&self, outcome: DoubtOutcome) {
        self.metrics.doubts.get_or_create(&vec![("outcome", outcome.code())]).inc();
    }

    fn lease_lost(&self) {
        self.metrics.leases_lost.inc();
    }

    fn seal_failure(&self, error: SealError) {
        self.metrics.seal_failures.get_or_create(&vec![("kind", error.code())]).inc();
    }

    fn read(&self, outcome: &'static str, took: Duration, ttl: Option<Duration>) {
        self.metrics.reads.get_or_create(&vec![("outcome", outcome)]).inc();
        self.metrics.read_duration.observe(took.as_secs_f64());
        if let Some(ttl) = ttl {
            self.metrics.token_ttl.observe(ttl.as_secs_f64());
        }
    }

    fn granted(&self, bytes: usize) {
        self.metrics.granted(bytes);
    }

    fn reconciled(&self) {
        self.metrics.reconciled_at(self.clock.now());
    }

    fn jobs_counted(&self, census: &Census) {
        self.metrics.set_jobs(census);
    }

    fn paused(&self, paused: bool) {
        self.metrics.set_paused(paused);
    }

    fn store_refuses_writes(&self, refuses: bool) {
        self.metrics.set_store_refuses_writes(refuses);
    }

    fn keyring_refused(&self, refused: bool) {
        self.metrics.set_keyring_refused(refused);
    }

    fn keys_judged(&self, keys: &[(&str, bool)]) {
        self.metrics.set_wrong_keys(keys.iter().copied());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokenvault_core::ports::Cause;
    use tokenvault_core::ports::testing::ManualClock;

    use super::*;

    #[test]
    fn what_happens_is_counted_under_the_documented_names() {
        let metrics = Arc::new(Metrics::new());
        let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_700_000_000)));
        let observer = MetricsObserver { metrics: Arc::clone(&metrics), clock };
        observer.read("token", Duration::from_millis(2), Some(Duration::from_secs(100)));
        observer.renewal_step("exchange", "ok", Duration::from_millis(12));
        observer.ended(EndReason::Released);
        observer.reconciled();
        metrics.unreadable(Unreadable::Misplaced);
        let text = metrics.encode();
        for line in [
            "tokenvault_reads_total{outcome=\"token\"} 1",
            "tokenvault_renewals_total{step=\"exchange\",outcome=\"ok\"} 1",
            "tokenvault_jobs_ended_total{reason=\"released\"} 1",
            "tokenvault_reconciler_last_success_timestamp_seconds 1700000000",
            "tokenvault_seal_failures_total{kind=\"misplaced\"} 1",
            "tokenvault_build_info{version=",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }

    #[test]
    fn what_alerts_ask_for_counts_from_zero() {
        let text = Metrics::new().encode();
        let causes = [
            Cause::Connect,
            Cause::Timeout,
            Cause::Interrupted,
            Cause::ServerError,
            Cause::Unintelligible,
            Cause::Throttled,
        ];
        let no_answer = causes.map(|cause| format!("keycloak_requests_total{{call=\"refresh\",outcome=\"{cause}\"}}"));
        for series in [
            "keycloak_requests_total{call=\"probe\",outcome=\"client_rejected\"}",
            "rejections_total{reason=\"store_unavailable\"}",
            "rejections_total{reason=\"handshake_cut\"}",
            "renewals_total{step=\"exchange\",outcome=\"not_allowed\"}",
            "reads_total{outcome=\"token_not_ready\"}",
        ]
        .map(str::to_owned)
        .into_iter()
        .chain(no_answer)
        {
            assert!(text.contains(&format!("tokenvault_{series} 0\n")), "{series} in\n{text}");
        }
    }

    #[test]
    fn histograms_reach_beyond_the_longest_wait() {
        let text = Metrics::new().encode();
        let top = |name: &str| {
            let buckets = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix("_bucket{le=\""));
            let bounds = buckets.filter_map(|rest| rest.split_once('"')?.0.parse::<f64>().ok());
            bounds.filter(|bound| bound.is_finite()).fold(0.0, f64::max)
        };

        assert!(top("tokenvault_read_duration_seconds") > 30.0, "the longest wait of a read");
        assert!(top("tokenvault_renewal_lag_seconds") > 20.0 * 60.0, "a long outage");
    }
}
