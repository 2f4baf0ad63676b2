//! What commands share: where they write, the configuration they read, the runtime they run on, and the signals that end them.

use std::io::Write;
use std::path::PathBuf;

use tokenvault_server::config::{Config, DEFAULT_FILE, Environment};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;
use crate::terminal::style::OutputStyle;

/// Where a command writes.
pub struct Console<'a> {
    /// Results.
    pub out: &'a mut dyn Write,
    /// Failures.
    pub err: &'a mut dyn Write,
    /// How results look.
    pub style: OutputStyle,
    /// How failures look.
    pub err_style: OutputStyle,
}

impl<'a> Console<'a> {
    /// Files or programs, and no terminal.
    pub fn plain(out: &'a mut dyn Write, err: &'a mut dyn Write) -> Self {
        Self { out, err, style: OutputStyle::plain(), err_style: OutputStyle::plain() }
    }
}

/// The option every command has that needs the configuration.
#[derive(Debug, clap::Args)]
pub(crate) struct ConfigFile {
    /// The configuration file; `TOKENVAULT_SECTION__KEY` variables override its keys
    #[arg(long = "config", short = 'c', value_name = "FILE", default_value = DEFAULT_FILE)]
    pub(crate) file: PathBuf,
}

impl ConfigFile {
    pub(crate) fn load(&self) -> Result<Config, Failure> {
        Ok(Config::load(&self.file, &Environment::of_process())?)
    }
}

/// The runtime commands run on.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

/// The signals that ask the process to end: SIGTERM and SIGINT. They are noticed from the moment this is made.
pub(crate) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Must be made inside a runtime.
    pub(crate) fn listen() -> Result<Self, Failure> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next one.
    pub(crate) async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
