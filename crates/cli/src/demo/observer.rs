//! How the scenario is shown while it runs: bars on a terminal, lines elsewhere, nothing where a program reads the result.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::jobs::JobProgress;
use crate::terminal::style::wrapped;

/// Is told what happens. Times are since the jobs started.
pub trait DemoObserver {
    /// Something worth a line happened.
    fn tell(&self, at: Duration, line: &str);
    /// The job with the plain token has been at a record.
    fn plain(&self, at: Duration, progress: &JobProgress);
    /// The job with the vault has been at a record.
    fn vaulted(&self, at: Duration, progress: &JobProgress);
    /// Nothing more is coming.
    fn close(&self) {}
}

/// Shows nothing.
#[derive(Debug, Clone, Copy)]
pub struct NoOutput;

impl DemoObserver for NoOutput {
    fn tell(&self, _at: Duration, _line: &str) {}
    fn plain(&self, _at: Duration, _progress: &JobProgress) {}
    fn vaulted(&self, _at: Duration, _progress: &JobProgress) {}
}

/// Between two lines of the plain log that only say how far the jobs are.
const LOG_EVERY: Duration = Duration::from_secs(3);

/// A line for each event and one every few seconds, for files and pipes.
pub struct ProgressLog<'a> {
    out: RefCell<&'a mut dyn Write>,
    plain: RefCell<JobProgress>,
    next: Cell<Duration>,
}

impl<'a> ProgressLog<'a> {
    /// Writes there.
    pub fn to(out: &'a mut dyn Write) -> Self {
        Self { out: RefCell::new(out), plain: RefCell::default(), next: Cell::new(LOG_EVERY) }
    }
}

impl DemoObserver for ProgressLog<'_> {
    fn tell(&self, at: Duration, line: &str) {
        // The result counts even where the log cannot be written.
        drop(writeln!(self.out.borrow_mut(), "{:5.1} s  {line}", at.as_secs_f64()));
    }

    fn plain(&self, _at: Duration, progress: &JobProgress) {
        self.plain.replace(progress.clone());
    }

    fn vaulted(&self, at: Duration, progress: &JobProgress) {
        if at >= self.next.get() {
            self.next.set(at + LOG_EVERY);
            let plain = describe_plain(&self.plain.borrow());
            self.tell(at, &format!("plain token: {plain}; through the vault: {}", describe_vaulted(progress)));
        }
    }
}

/// Two bars, and the events above them.
pub struct ProgressBars {
    bars: MultiProgress,
    plain: ProgressBar,
    vaulted: ProgressBar,
    width: usize,
}

impl ProgressBars {
    /// On standard output, for so many records a job; lines are broken at the terminal's width.
    pub fn new(records: u64, width: Option<usize>) -> Self {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
        let bar = |name: &'static str| bars.add(ProgressBar::new(records).with_style(style("green")).with_prefix(name));
        let (plain, vaulted) = (bar("plain token"), bar("with the vault"));
        Self { bars, plain, vaulted, width: width.unwrap_or(usize::MAX) }
    }
}

impl DemoObserver for ProgressBars {
    fn tell(&self, at: Duration, line: &str) {
        // Where the terminal is gone, the result still counts.
        let line = format!("{:5.1} s  {line}", at.as_secs_f64());
        drop(self.bars.println(wrapped(&line, self.width, 9)));
    }

    fn plain(&self, _at: Duration, progress: &JobProgress) {
        if progress.failed == 1 {
            self.plain.set_style(style("red"));
        }
        advance(&self.plain, progress, describe_plain(progress));
    }

    fn vaulted(&self, _at: Duration, progress: &JobProgress) {
        if progress.failed == 1 {
            self.vaulted.set_style(style("red"));
        }
        advance(&self.vaulted, progress, describe_vaulted(progress));
    }

    fn close(&self) {
        self.plain.abandon();
        self.vaulted.abandon();
    }
}

fn advance(bar: &ProgressBar, progress: &JobProgress, message: String) {
    bar.set_message(message);
    bar.set_position(progress.done + progress.failed);
}

fn style(colour: &str) -> ProgressStyle {
    ProgressStyle::with_template(&format!("{{prefix:>14}} {{bar:24.{colour}/dim}} {{wide_msg}}"))
        .expect("the template is a constant that indicatif understands, as a test shows")
        .progress_chars("━╸─")
}

fn describe_plain(progress: &JobProgress) -> String {
    match progress.first_401 {
        None => format!("{} saved", progress.done),
        Some(_) => format!("{} saved, {} refused: 401", progress.done, progress.failed),
    }
}

fn describe_vaulted(progress: &JobProgress) -> String {
    let token = match (progress.generation, progress.left, &progress.over) {
        (_, _, Some(code)) => format!("no more tokens: {code}"),
        (Some(generation), Some(left), None) => {
            // A job's first pair is of generation 1.
            let renewals = generation.saturating_sub(1);
            format!("{renewals} renewals, token {generation} has {:.1} s left", left.as_secs_f64())
        }
        _ => "no token yet".to_owned(),
    };
    match progress.failed {
        0 => format!("{} saved, {token}", progress.done),
        failed => format!("{} saved, {failed} refused, {token}", progress.done),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bars_can_be_drawn() {
        let live = ProgressBars::new(10, None);
        let progress = JobProgress { done: 3, failed: 1, ..JobProgress::default() };
        live.plain(Duration::ZERO, &progress);
        live.vaulted(Duration::ZERO, &progress);
        live.close();
        assert_eq!(live.plain.position(), 4);
    }

    #[test]
    fn the_log_says_now_and_then_how_far_the_jobs_are() {
        let mut out = Vec::new();
        let log = ProgressLog::to(&mut out);
        for second in 0..7 {
            let progress = JobProgress { done: second * 10, ..JobProgress::default() };
            log.plain(Duration::from_secs(second), &progress);
            log.vaulted(Duration::from_secs(second), &progress);
        }
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.starts_with("  3.0 s  plain token: 30 saved; through the vault: 30 saved"), "{text}");
    }
}
