//! `tokenvault serve`: the service, until it is asked to stop.

use std::pin::pin;

use tokenvault_server::config::Config;
use tokenvault_server::runtime::{self, Backing, Running};
use tokenvault_server::telemetry::logs;
use tokenvault_server::telemetry::otlp::Traces;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::console::{ConfigFile, StopSignals};
use crate::failure::Failure;
use crate::hardening;

/// Run the vault
///
/// Runs until SIGTERM or SIGINT. Then `/readyz` says no, and everything is served as before for `server.shutdown_delay`,
/// so that balancers hear of it first; another signal ends that. After it no new requests are taken, what is in hand is
/// finished within `server.shutdown_grace`, and it exits. Where it holds the only live refresh token of a job, it waits for
/// the store beyond that; a signal meanwhile ends it at once. SIGHUP opens the audit file again after it was moved. Logs
/// go to standard error.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigFile,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let config = args.config.load()?;
    let runtime = crate::console::runtime()?;
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
    let mut stop = StopSignals::listen()?;
    let starting = runtime::start(config, Backing::Redis);
    let mut running = tokio::select! {
        running = starting => running.map_err(|error| Failure::because("cannot start", error))?,
        () = stop.received() => return Ok(()),
    };
    let mut signals = Signals { stop, moved: signal(SignalKind::hangup())? };
    let mut fallen = signals.attend(&mut running, std::future::pending()).await;
    if !fallen && !config.server.shutdown_delay.is_zero() {
        let delay = config.server.shutdown_delay.as_secs_f64();
        tracing::info!(
            delay,
            "leaving: not ready any more, and serving until balancers have heard of it; a second signal ends that"
        );
        let heard = running.leave();
        fallen = signals.attend(&mut running, heard).await;
    }
    let mut stop = signals.stop;
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
        () = stop.received() => tracing::warn!("asked twice: stopped without waiting"),
    }
    if fallen { Err(Failure::new("a part of the vault came to its end by itself; the log says where")) } else { Ok(()) }
}

/// The signals that a running vault listens to.
struct Signals {
    stop: StopSignals,
    /// Whatever rotates files may say so; nobody who closes a terminal is to stop a service by it.
    moved: Signal,
}

impl Signals {
    /// Lets the vault run until this comes about or it is asked to stop; `true` where a part of it fell before.
    async fn attend(&mut self, running: &mut Running, until: impl Future<Output = ()>) -> bool {
        let mut until = pin!(until);
        loop {
            tokio::select! {
                Some(()) = self.moved.recv() => running.reopen(),
                () = self.stop.received() => return false,
                () = until.as_mut() => return false,
                () = running.fallen() => return true,
            }
        }
    }
}
