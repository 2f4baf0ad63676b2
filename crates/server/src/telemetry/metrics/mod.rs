//! The metrics, in Prometheus' words: of jobs, of what the vault stands on, and of the process. Every name and label is
//! listed in `docs/reference/metrics.md`, and a test holds the two together.

mod jobs;
mod parts;
mod process;
mod registrar;
mod reloaded_file;

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use tokenvault_core::ports::{Census, Clock};
use tokenvault_core::record::{EndReason, Suspension};
use tokenvault_core::seal::SealError;
use tokenvault_vault::observer::{DoubtOutcome, Observer};

pub use jobs::JobMetrics;
pub(crate) use parts::NO_ANSWER;
pub use parts::{Backend, PartMetrics};
pub use process::ProcessMetrics;
pub use reloaded_file::ReloadedFile;

use registrar::Registrar;

/// All metrics of a process.
pub struct Metrics {
    registry: Registry,
    /// Of jobs.
    pub jobs: JobMetrics,
    /// Of the store, Keycloak and the keys.
    pub parts: PartMetrics,
    /// Of the process itself.
    pub process: ProcessMetrics,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Registers everything under the prefix `tokenvault_`.
    ///
    /// What alerts ask for is there before it has happened: a rate sees the first of a series only where a zero was before
    /// it.
    pub fn new() -> Self {
        let mut registrar = Registrar::new();
        let jobs = JobMetrics::register(&mut registrar);
        let parts = PartMetrics::register(&mut registrar);
        let process = ProcessMetrics::register(&mut registrar);
        jobs.count_from_zero();
        parts.count_from_zero();
        process.count_from_zero();
        Self { registry: registrar.finish(), jobs, parts, process }
    }

    /// The exposition, in the `OpenMetrics` text format.
    pub fn encode(&self) -> String {
        let mut out = String::new();
        prometheus_client::encoding::text::encode(&mut out, &self.registry)
            .expect("writing to a String cannot fail, and every metric encodes itself");
        out
    }
}

/// The metrics as the use cases and the reconciler see them; the clock dates the reconciler's successes.
pub struct MetricsObserver {
    /// Where it is counted.
    pub metrics: Arc<Metrics>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

impl Observer for MetricsObserver {
    fn renewal_step(&self, step: &'static str, outcome: &'static str, took: Duration) {
        self.metrics.jobs.renewal_step(step, outcome, took);
    }

    fn renewal_lag(&self, lag: Duration) {
        self.metrics.jobs.renewal_lag(lag);
    }

    fn ended(&self, reason: EndReason) {
        self.metrics.jobs.ended(reason);
    }

    fn suspended(&self, why: Suspension) {
        self.metrics.jobs.suspended(why);
    }

    fn rolled_back(&self) {
        self.metrics.parts.rolled_back();
    }

    fn ambiguous_spend(&self) {
        self.metrics.jobs.ambiguous_spend();
    }

    fn doubt(&self, outcome: DoubtOutcome) {
        self.metrics.jobs.doubt(outcome);
    }

    fn lease_lost(&self) {
        self.metrics.jobs.lease_lost();
    }

    fn seal_failure(&self, error: SealError) {
        self.metrics.parts.seal_failure(error);
    }

    fn read(&self, outcome: &'static str, took: Duration, ttl: Option<Duration>) {
        self.metrics.jobs.read(outcome, took, ttl);
    }

    fn granted(&self, bytes: usize) {
        self.metrics.parts.granted(bytes);
    }

    fn reconciled(&self) {
        self.metrics.jobs.reconciled_at(self.clock.now());
    }

    fn jobs_counted(&self, census: &Census) {
        self.metrics.jobs.set_counts(census);
    }

    fn paused(&self, paused: bool) {
        self.metrics.jobs.set_paused(paused);
    }

    fn store_refuses_writes(&self, refuses: bool) {
        self.metrics.parts.set_store_refuses_writes(refuses);
    }

    fn keyring_refused(&self, refused: bool) {
        self.metrics.parts.set_keyring_refused(refused);
        self.metrics.process.reload(ReloadedFile::Keyring, refused);
    }

    fn keys_judged(&self, keys: &[(&str, bool)]) {
        self.metrics.parts.set_wrong_keys(keys.iter().copied());
    }
}

#[cfg(test)]
mod tests {
    use tokenvault_core::ports::Cause;
    use tokenvault_core::ports::testing::ManualClock;

    use tokenvault_core::time::Timestamp;
    use tokenvault_redis::Unreadable;

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
        metrics.parts.unreadable(Unreadable::Misplaced);
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
