//! Makes a metric and registers it in one step, so that a metric's name, its meaning and its buckets stand in one line.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};

pub(super) type Labels = Vec<(&'static str, &'static str)>;
pub(super) type CounterFamily = Family<Labels, Counter>;
pub(super) type GaugeFamily = Family<Labels, Gauge>;
pub(super) type HistogramFamily = Family<Labels, Histogram, fn() -> Histogram>;

/// Registers metrics under the prefix `tokenvault_`.
pub(super) struct Registrar(Registry);

impl Registrar {
    pub(super) fn new() -> Self {
        Self(Registry::with_prefix("tokenvault"))
    }

    /// Registers a metric that starts empty: a counter, a gauge, or a family of them.
    pub(super) fn add<M: Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M {
        self.with(name, help, M::default())
    }

    /// Registers a metric that is made already.
    pub(super) fn with<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        self.0.register(name, help, metric.clone());
        metric
    }

    /// Registers latencies, told apart by labels.
    pub(super) fn latencies(&mut self, name: &str, help: &str) -> HistogramFamily {
        self.with(name, help, HistogramFamily::new_with_constructor(latency as fn() -> Histogram))
    }

    /// Registers what never changes.
    pub(super) fn info(&mut self, name: &str, help: &str, labels: Labels) {
        self.0.register(name, help, Info::new(labels));
    }

    pub(super) fn finish(self) -> Registry {
        self.0
    }
}

/// 0.1 ms to 52 s: the store and HTTP. A read may wait for 30 s, and a refresh is waited for as long as two thirds of the
/// quarantine.
pub(super) fn latency() -> Histogram {
    Histogram::new(exponential_buckets(0.000_1, 2.0, 20))
}

/// 10 ms to 22 min: how late something begins, after an outage as well.
pub(super) fn lateness() -> Histogram {
    Histogram::new(exponential_buckets(0.01, 2.0, 18))
}

/// 1 s to about 18 h: lives.
pub(super) fn life() -> Histogram {
    Histogram::new(exponential_buckets(1.0, 2.0, 17))
}

/// 512 bytes to 128 KiB: tokens. Above 8 KiB (a boundary of a bucket) they are a hazard.
pub(super) fn size() -> Histogram {
    Histogram::new(exponential_buckets(512.0, 2.0, 9))
}

/// A count as a gauge's value.
pub(super) fn gauge_value(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
