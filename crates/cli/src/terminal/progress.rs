//! The progress of something that goes over all records: a bar for people, nothing for programs.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar over records, as wide as there is room; drawn on standard error, and only where somebody watches.
pub(crate) fn records(terminal: bool) -> ProgressBar {
    let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let template = "{wide_bar} {pos}/{len} records, {msg}, {eta} left";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(0), target).with_style(style)
}

/// So many are done of so many there are, or were when they were counted.
pub(crate) fn show(bar: &ProgressBar, done: u64, total: u64, message: String) {
    bar.set_length(total.max(done));
    bar.set_position(done);
    bar.set_message(message);
}
