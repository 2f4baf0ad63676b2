//! A panel shows each of its series in the unit that the series' expression has.

use serde_json::Value;
use tokenvault_tests::harness::Result;

use super::dashboard;

/// What an expression is a number of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quantity {
    PerSecond,
    Seconds,
    Bytes,
    Share,
    Moment,
    Count,
}
use Quantity::{Bytes, Count, Moment, PerSecond, Seconds, Share};

impl Quantity {
    /// Grafana's units for it.
    fn units(self) -> &'static [&'static str] {
        match self {
            PerSecond => &["ops", "reqps", "cps", "wps", "rps"],
            Seconds => &["s"],
            Bytes => &["bytes", "decbytes"],
            Share => &["percentunit"],
            Moment => &["dateTimeAsIso", "dateTimeFromNow"],
            Count => &["none", "short", "bool_yes_no"],
        }
    }

    /// Read from the functions of an expression and the names of its metrics.
    fn of(expression: &str) -> Self {
        let metric = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let metric = metric.filter(|word| word.starts_with("tokenvault_")).collect::<Vec<_>>();
        let measured = |end: &str| metric.iter().any(|name| name.trim_end_matches("_bucket").ends_with(end));
        if expression.contains("histogram_quantile(") {
            return if measured("_bytes") { Bytes } else { Seconds };
        }
        match () {
            () if expression.contains(") / ") => Share,
            () if measured("_timestamp_seconds") => {
                if expression.contains("time()") {
                    Seconds
                } else {
                    Moment
                }
            }
            () if expression.contains("rate(") => PerSecond,
            () if expression.contains("increase(") => Count,
            () if measured("_seconds") => Seconds,
            () if measured("_bytes") => Bytes,
            () => Count,
        }
    }
}

/// The unit that a panel shows one of its series in.
fn unit<'a>(panel: &'a Value, target: &Value) -> &'a str {
    let overrides = panel["fieldConfig"]["overrides"].as_array().map(Vec::as_slice).unwrap_or_default();
    let named = overrides
        .iter()
        .filter(|entry| entry["matcher"]["id"] == "byName" && entry["matcher"]["options"] == target["legendFormat"]);
    let set = named.flat_map(|entry| entry["properties"].as_array().into_iter().flatten());
    let own = set.filter(|property| property["id"] == "unit").find_map(|property| property["value"].as_str());
    own.or_else(|| panel["fieldConfig"]["defaults"]["unit"].as_str()).unwrap_or_default()
}

#[test]
fn every_series_of_the_dashboard_has_the_unit_of_its_expression() -> Result<()> {
    let dashboard = dashboard()?;
    let panels = dashboard["panels"].as_array().map(Vec::as_slice).unwrap_or_default();
    let (mut series, mut wrong) = (0, Vec::new());
    for panel in panels {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().unwrap_or_default();
            let (quantity, unit) = (Quantity::of(expression), unit(panel, target));
            series += 1;
            if !quantity.units().contains(&unit) {
                wrong.push(format!("{}: {unit:?} for {quantity:?}: {expression}", panel["title"]));
            }
        }
    }
    assert!(series > 20, "the dashboard has {series} series");
    assert!(wrong.is_empty(), "units that do not fit: {wrong:#?}");
    Ok(())
}

#[test]
fn an_expression_says_what_it_is_a_number_of() {
    for (expression, quantity) in [
        ("sum(rate(tokenvault_reads_total[5m]))", PerSecond),
        ("sum(irate(tokenvault_reads_total[5m])) > 0", PerSecond),
        ("sum(increase(tokenvault_reads_total[5m]))", Count),
        ("max(tokenvault_paused)", Count),
        ("sum(rate(tokenvault_reads_total{outcome=\"token\"}[5m])) / sum(rate(tokenvault_reads_total[5m]))", Share),
        ("histogram_quantile(0.5, rate(tokenvault_read_duration_seconds_bucket[5m]))", Seconds),
        ("histogram_quantile(0.5, rate(tokenvault_access_token_bytes_bucket[5m]))", Bytes),
        ("tokenvault_clock_skew_seconds", Seconds),
        ("time() - max(tokenvault_jobs_counted_timestamp_seconds)", Seconds),
        ("max(tokenvault_jobs_counted_timestamp_seconds)", Moment),
    ] {
        assert_eq!(Quantity::of(expression), quantity, "{expression}");
    }
}
