//! What every admin command works with: the client of the vault, and where and how its result is printed.
//!
//! A command prints through this context and never to the console directly, so that JSON stays JSON.

use clap::ValueEnum;
use serde_json::Value;

use super::client::AdminClient;
use super::table::TextTable;
use super::time_formatter::TimeFormatter;
use crate::console::Console;
use crate::failure::Failure;
use crate::terminal::style::{OutputStyle, Tone};

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum OutputFormat {
    /// For people
    Table,
    /// For programs
    Json,
}

/// What every command works with.
pub(super) struct CommandContext<'a, 'c> {
    pub(super) client: AdminClient,
    pub(super) output: OutputFormat,
    pub(super) wide: bool,
    pub(super) console: &'a mut Console<'c>,
}

impl CommandContext<'_, '_> {
    /// Whether a program reads the result.
    pub(super) fn is_json(&self) -> bool {
        self.output == OutputFormat::Json
    }

    /// Prints a result for programs.
    pub(super) fn print_json(&mut self, value: &Value) -> Result<(), Failure> {
        Ok(writeln!(self.console.out, "{value:#}")?)
    }

    /// Prints a sentence of a result for people.
    pub(super) fn print_line(&mut self, text: impl std::fmt::Display) -> Result<(), Failure> {
        Ok(writeln!(self.console.out, "{}", self.console.style.wrap(&text.to_string(), 2))?)
    }

    /// Prints a table for people, and names the columns that do not fit.
    pub(super) fn print_table(&mut self, table: &TextTable) -> Result<(), Failure> {
        let shown = table.shown(&self.console.style, self.wide);
        writeln!(self.console.out, "{}", shown.text)?;
        if shown.left_out.is_empty() {
            return Ok(());
        }
        let more = format!("(no room for {}: --wide shows all)", shown.left_out.join(", "));
        let more = self.console.style.wrap(&more, 2);
        Ok(writeln!(self.console.out, "{}", self.console.style.paint(Tone::Faint, &more))?)
    }

    /// How times are written in the result.
    pub(super) fn times(&self) -> TimeFormatter {
        let style = if self.is_json() { OutputStyle::plain() } else { self.console.style.clone() };
        TimeFormatter::new(style, self.client.now())
    }
}
