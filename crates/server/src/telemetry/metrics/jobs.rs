//! Reads, renewals, and how jobs end.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use tokenvault_core::policy::Step;
use tokenvault_core::ports::{Census, Refusal};
use tokenvault_core::record::{EndReason, Slot, Suspension};
use tokenvault_core::time::Timestamp;
use tokenvault_vault::observer::DoubtOutcome;
use tokenvault_vault::problem::Code;

use super::registrar::{CounterFamily, GaugeFamily, HistogramFamily, Registrar, gauge_value, latency, lateness, life};

/// The outcome of a read that was given a token.
const TOKEN: &str = "token";

/// What is measured of jobs.
pub struct JobMetrics {
    reads: CounterFamily,
    /// That of the reads that were given a token: looked up once, for there are many.
    reads_of_tokens: Counter,
    read_duration: Histogram,
    token_ttl: Histogram,
    renewals: CounterFamily,
    renewal_duration: HistogramFamily,
    renewal_lag: Histogram,
    renewals_due: Gauge,
    ended: CounterFamily,
    suspended: CounterFamily,
    doubts: CounterFamily,
    ambiguous_spends: Counter,
    leases_lost: Counter,
    jobs: GaugeFamily,
    jobs_counted: Gauge<f64, AtomicU64>,
    paused: Gauge,
    last_success: Gauge<f64, AtomicU64>,
}

impl JobMetrics {
    pub(super) fn register(r: &mut Registrar) -> Self {
        let reads: CounterFamily = r.add("reads", "Token reads by outcome");
        let reads_of_tokens = reads.get_or_create(&vec![("outcome", TOKEN)]).clone();
        Self {
            reads_of_tokens,
            reads,
            read_duration: r.with("read_duration_seconds", "Time a read took, its wait included", latency()),
            token_ttl: r.with("token_ttl_seconds", "Life left in the access tokens that reads were given", life()),
            renewals: r.add("renewals", "Steps of renewals by outcome"),
            renewal_duration: r.latencies("renewal_duration_seconds", "Time a step of a renewal took"),
            renewal_lag: r.with(
                "renewal_lag_seconds",
                "How long a record had been due when it was claimed",
                lateness(),
            ),
            renewals_due: r.add("renewals_due", "Records that are due now, over all replicas"),
            ended: r.add("jobs_ended", "Jobs that ended, by reason"),
            suspended: r.add("jobs_suspended", "Jobs that were suspended, by reason"),
            doubts: r.add(
                "doubts",
                "Sessions that Keycloak said were over: how often that began to be doubted, and how the doubts ended",
            ),
            ambiguous_spends: r.add("ambiguous_spends", "Spent refresh tokens whose answer was lost"),
            leases_lost: r.add("leases_lost", "Leases that another replica had taken over"),
            jobs: r.add("jobs", "Jobs by state, over all replicas"),
            jobs_counted: r
                .add("jobs_counted_timestamp_seconds", "When the jobs were counted that tokenvault_jobs tells of"),
            paused: r.add("paused", "Whether an operator has paused renewal"),
            last_success: r
                .add("reconciler_last_success_timestamp_seconds", "When the reconciler last went through all shards"),
        }
    }

    /// Makes the series that alerts ask for, at zero.
    pub(super) fn count_from_zero(&self) {
        for why in Suspension::ALL {
            drop(self.suspended.get_or_create(&vec![("reason", why.code())]));
        }
        for reason in EndReason::ALL {
            drop(self.ended.get_or_create(&vec![("reason", reason.code())]));
        }
        for outcome in DoubtOutcome::ALL {
            drop(self.doubts.get_or_create(&vec![("outcome", outcome.code())]));
        }
        drop(self.reads.get_or_create(&vec![("outcome", Code::TokenNotReady.as_str())]));
        let barred = vec![("step", Step::Exchange(Slot::Current).code()), ("outcome", Refusal::NotAllowed.code())];
        drop(self.renewals.get_or_create(&barred));
    }

    /// A token was read, or was not.
    pub fn read(&self, outcome: &'static str, took: Duration, ttl: Option<Duration>) {
        match outcome {
            TOKEN => self.reads_of_tokens.inc(),
            _ => self.reads.get_or_create(&vec![("outcome", outcome)]).inc(),
        };
        self.read_duration.observe(took.as_secs_f64());
        if let Some(ttl) = ttl {
            self.token_ttl.observe(ttl.as_secs_f64());
        }
    }

    /// A step of a renewal was carried out.
    pub fn renewal_step(&self, step: &'static str, outcome: &'static str, took: Duration) {
        self.renewals.get_or_create(&vec![("step", step), ("outcome", outcome)]).inc();
        self.renewal_duration.get_or_create(&vec![("step", step)]).observe(took.as_secs_f64());
    }

    /// A record had been due for so long when it was claimed.
    pub fn renewal_lag(&self, lag: Duration) {
        self.renewal_lag.observe(lag.as_secs_f64());
    }

    /// How many records are due.
    pub fn set_due(&self, due: u64) {
        self.renewals_due.set(gauge_value(due));
    }

    /// A job ended.
    pub fn ended(&self, reason: EndReason) {
        self.ended.get_or_create(&vec![("reason", reason.code())]).inc();
    }

    /// A job was suspended.
    pub fn suspended(&self, why: Suspension) {
        self.suspended.get_or_create(&vec![("reason", why.code())]).inc();
    }

    /// The end of a session began to be doubted, or a doubt ended.
    pub fn doubt(&self, outcome: DoubtOutcome) {
        self.doubts.get_or_create(&vec![("outcome", outcome.code())]).inc();
    }

    /// The answer to a spend was lost.
    pub fn ambiguous_spend(&self) {
        self.ambiguous_spends.inc();
    }

    /// Another replica has taken over a lease.
    pub fn lease_lost(&self) {
        self.leases_lost.inc();
    }

    /// How many jobs there are in each state, and when they were counted, if that is known.
    pub fn set_counts(&self, census: &Census) {
        for (state, count) in
            [("active", census.active), ("suspended", census.suspended), ("releasing", census.releasing)]
        {
            self.jobs.get_or_create(&vec![("state", state)]).set(gauge_value(count));
        }
        #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit an f64's mantissa")]
        self.jobs_counted.set(census.counted_at.map_or(0.0, |at| at.as_millis() as f64 / 1000.0));
    }

    /// Whether renewal is paused.
    pub fn set_paused(&self, paused: bool) {
        self.paused.set(i64::from(paused));
    }

    /// The reconciler has been through all shards.
    #[expect(clippy::cast_precision_loss, reason = "seconds since the epoch are far below 2^52")]
    pub fn reconciled_at(&self, now: Timestamp) {
        self.last_success.set(now.as_millis() as f64 / 1000.0);
    }
}
