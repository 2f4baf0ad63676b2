//! The process itself: its listeners, its audit log, and the files that it reads again.

use prometheus_client::metrics::gauge::Gauge;
use tokenvault_core::time::Timestamp;
use tokenvault_vault::problem::Code;

use super::registrar::{CounterFamily, GaugeFamily, Registrar, gauge_value};
use super::reloaded_file::ReloadedFile;

/// What is measured of the process.
pub struct ProcessMetrics {
    rejections: CounterFamily,
    connections: Gauge,
    backchannel_logouts: CounterFamily,
    audit_entries: CounterFamily,
    audit_up: Gauge,
    tenants: Gauge,
    reload_failures: CounterFamily,
    reload_refused: GaugeFamily,
    certificate_not_after: GaugeFamily,
}

impl ProcessMetrics {
    pub(super) fn register(r: &mut Registrar) -> Self {
        let metrics = Self {
            rejections: r.add("rejections", "Requests that were refused, by code"),
            connections: r.add("connections", "Open connections on the module listener"),
            backchannel_logouts: r
                .add("backchannel_logouts", "Requests of the identity provider's listener, by outcome"),
            audit_entries: r.add("audit_entries", "Entries of the audit log, by what became of them"),
            audit_up: r.add("audit_up", "Whether the audit log can be written; 1 where none is kept"),
            tenants: r.add("tenants", "Tenants that are served"),
            reload_failures: r.add(
                "reload_failures",
                "Looks at a file that found a change which is refused; what was in force before stays",
            ),
            reload_refused: r
                .add("reload_refused", "Whether what a file says now is refused and what was in force before stays"),
            certificate_not_after: r
                .add("certificate_not_after_timestamp_seconds", "When a certificate in use expires"),
        };
        r.info("build", "The running version", vec![("version", env!("CARGO_PKG_VERSION"))]);
        metrics
    }

    /// Makes the series that alerts ask for, at zero.
    pub(super) fn count_from_zero(&self) {
        drop(self.backchannel_logouts.get_or_create(&vec![("outcome", "accepted")]));
        for outcome in ["written", "refused", "lost"] {
            drop(self.audit_entries.get_or_create(&vec![("outcome", outcome)]));
        }
        for file in ReloadedFile::ALL {
            drop(self.reload_failures.get_or_create(&vec![("file", file.as_str())]));
            drop(self.reload_refused.get_or_create(&vec![("file", file.as_str())]));
        }
        let turned_away = ["handshake_cut", "too_many_connections"];
        for reason in [Code::StoreUnavailable.as_str(), Code::TooManyRequests.as_str()].into_iter().chain(turned_away) {
            drop(self.rejections.get_or_create(&vec![("reason", reason)]));
        }
        self.audit_well(true);
    }

    /// A request was refused with this problem code, or a connection for this reason.
    pub fn rejected(&self, code: &'static str) {
        self.rejections.get_or_create(&vec![("reason", code)]).inc();
    }

    /// A connection was opened on the module listener.
    pub fn connection_opened(&self) {
        self.connections.inc();
    }

    /// A connection was closed.
    pub fn connection_closed(&self) {
        self.connections.dec();
    }

    /// A request of the identity provider's listener was answered.
    pub fn backchannel_logout(&self, outcome: &'static str) {
        self.backchannel_logouts.get_or_create(&vec![("outcome", outcome)]).inc();
    }

    /// Entries of the audit log were `written`, `refused` (what they tell of was not done), or `lost`.
    pub fn audit_entries(&self, outcome: &'static str, entries: usize) {
        self.audit_entries.get_or_create(&vec![("outcome", outcome)]).inc_by(entries as u64);
    }

    /// Whether the audit log can be written.
    pub fn audit_well(&self, well: bool) {
        self.audit_up.set(i64::from(well));
    }

    /// How many tenants are served.
    pub fn set_tenants(&self, count: usize) {
        self.tenants.set(gauge_value(count as u64));
    }

    /// A file was looked at, and what it says now is refused or is not.
    pub fn reload(&self, file: ReloadedFile, refused: bool) {
        self.reload_refused.get_or_create(&vec![("file", file.as_str())]).set(i64::from(refused));
        if refused {
            self.reload_failures.get_or_create(&vec![("file", file.as_str())]).inc();
        }
    }

    /// When a certificate expires.
    pub fn certificate(&self, usage: &'static str, not_after: Timestamp) {
        self.certificate_not_after.get_or_create(&vec![("use", usage)]).set(gauge_value(not_after.as_secs()));
    }
}
