//! `tokenvault serve`: the service, until it is asked to stop.

use tokio::signal::unix::{SignalKind, signal};

use super::{ConfigFile, Failure, Stop};
use crate::config::Config;
use crate::hardening;
use crate::runtime::{self, Backing};
use crate::telemetry::logs;
use crate::telemetry::traces::Traces;

/// Run the vault
///
/// Runs until SIGTERM or SIGINT, then takes no new requests, finishes what is in hand within `server.shutdown_grace`
/// and exits. Where it holds the only live refresh token of a job, it waits for the store beyond that. A second signal
/// ends it at once. SIGHUP opens the audit file again after it was moved. Logs go to standard
/// error.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let config = args.config.load()?;
    let runtime = super::runtime()?;
    let traces = {
        let _entered = runtime.enter();
        Traces::of(&config.telemetry, &config.file)?
    };
    logs::start_with(&config.telemetry, &traces);
    hardening::apply();
    let served = runtime.block_on(serve(&config));
    traces.finish();
    served
}

async fn serve(config: &Config) -> Result<(), Failure> {
    let mut stop = Stop::listen()?;
    let starting = runtime::start(config, Backing::Redis);
    let mut running = tokio::select! {
        running = starting => running.map_err(|error| Failure::because("cannot start", error))?,
        () = stop.asked() => return Ok(()),
    };
    // Whatever rotates files may say so; nobody who closes a terminal is to stop a service by it.
    let mut moved = signal(SignalKind::hangup())?;
    let fallen = loop {
        tokio::select! {
            Some(()) = moved.recv() => running.reopen(),
            () = stop.asked() => break false,
            () = running.fallen() => break true,
        }
    };
    if fallen {
        tracing::error!("a part of the vault has come to its end by itself: stopping, to be started again as a whole");
    } else {
        tracing::info!("stopping");
    }
    running.stop();
    tokio::select! {
        finished = running.finish() => if finished {
            tracing::info!("stopped");
        } else {
            tracing::warn!("stopped late, or with something unfinished: `server.shutdown_grace` was over");
        },
        () = stop.asked() => tracing::warn!("asked twice: stopped without waiting"),
    }
    if fallen { Err(Failure::new("a part of the vault came to its end by itself; the log says where")) } else { Ok(()) }
}
