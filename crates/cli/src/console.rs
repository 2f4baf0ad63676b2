//! What commands share: where they write, the configuration they read, the runtime they run on, and the requests to end.

use std::io::Write;
use std::path::PathBuf;

use tokenvault_server::config::{Config, DEFAULT_FILE, Environment};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;
use crate::terminal::look::Look;

/// Where a command writes.
pub struct Console<'a> {
    /// Results.
    pub out: &'a mut dyn Write,
    /// Failures.
    pub err: &'a mut dyn Write,
    /// What the results are shown on.
    pub look: Look,
    /// What the failures are shown on.
    pub err_look: Look,
}

impl<'a> Console<'a> {
    /// Files or programs, and no terminal.
    pub fn plain(out: &'a mut dyn Write, err: &'a mut dyn Write) -> Self {
        Self { out, err, look: Look::plain(), err_look: Look::plain() }
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
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// The requests to end: SIGTERM and SIGINT, noticed from the moment this is made.
pub(crate) struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    /// Must be made inside a runtime.
    pub(crate) fn listen() -> Result<Self, Failure> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Until the next one.
    pub(crate) async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
