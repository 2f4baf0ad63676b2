//! What is said of the measurements: medians with their spread, as JSON and as a table.

use std::fmt::Write as _;

use serde::Serialize;

/// The middle of several measurements, and the least and the greatest of them.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The greatest.
    pub most: f64,
}

impl Spread {
    /// Of these measurements; all zero where there are none.
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or_default();
        Self { median: at(values.len() / 2), least: at(0), most: at(values.len().saturating_sub(1)) }
    }
}

/// A server under load.
#[derive(Debug, Serialize)]
pub struct Row {
    /// The server, and how it was asked.
    pub name: String,
    /// Answers a second.
    pub per_second: Spread,
    /// Processor time of the server's for each, in microseconds.
    pub cpu_micros: Spread,
    /// What the slowest hundredth took at least, in milliseconds.
    pub p99_millis: Spread,
}

/// The rows as a table in Markdown, each compared with the row of that name.
pub fn table(rows: &[Row], compared_with: &str) -> String {
    let base = rows.iter().find(|row| row.name == compared_with);
    let ratio = |row: &Row| base.map_or(0.0, |base| row.per_second.median / base.per_second.median);
    let mut text = format!(
        "| server | requests a second | of {compared_with} | CPU a request, µs | p99, ms |\n| --- | --: | --: | --: | --: |\n"
    );
    for row in rows {
        let Row { name, per_second: rate, cpu_micros: cpu, p99_millis: p99 } = row;
        let _ = writeln!(
            text,
            "| {name} | {:.0} ({:.0}–{:.0}) | {:.2} | {:.1} ({:.1}–{:.1}) | {:.2} |",
            rate.median,
            rate.least,
            rate.most,
            ratio(row),
            cpu.median,
            cpu.least,
            cpu.most,
            p99.median
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_three_is_told_with_both_ends() {
        let spread = Spread::of(vec![3.0, 1.0, 2.0]);
        assert_eq!((spread.median, spread.least, spread.most), (2.0, 1.0, 3.0));
    }
}
