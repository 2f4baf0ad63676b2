//! `tokenvault dev`: a vault for module developers, with everything around it, until Ctrl-C.

use std::future::pending;
use std::path::PathBuf;
use std::time::Duration;

use super::idp_args::RealParts;
use crate::console::{Console, StopSignals};
use crate::demo::{self, DemoEnvironment, DemoError, DemoSettings, DevLines, ListenPorts, TokenComparison, TokenShape};
use crate::failure::Failure;

/// Run a vault to develop modules against, with everything embedded
///
/// Starts an identity provider that behaves as Keycloak does, with a realm and a user, and a vault with a store in memory
/// and certificates for two modules. Prints where everything is, and curl lines that work as they are. Runs until Ctrl-C.
/// Never for production: its secrets are thrown about.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many seconds an access token lives
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    at_ttl: u64,
    /// Write certificates, secrets and configuration there and leave them, instead of somewhere temporary; the keyring and
    /// the certificates of an earlier run are used again
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The vault's port on loopback; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 8443)]
    port: u16,
    /// The port for health and metrics; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 9080)]
    management_port: u16,
    /// The embedded identity provider's port; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 8180)]
    idp_port: u16,
    /// Make the realm as FOLIO's tenant manager does (tenant `diku`, lightweight tokens of `diku-login-application`), and show
    /// what the UI's token says and what the token in a module's hand says
    #[arg(long)]
    folio: bool,
    /// Let jobs go on after their user's logout, in sessions of the vault's own (`impersonate`)
    #[arg(long)]
    survive_logout: bool,
    /// Log more of what the vault does
    #[arg(long, short)]
    verbose: bool,
    #[command(flatten)]
    real: RealParts,
}

pub(crate) fn run(args: &Args, console: &mut Console<'_>) -> Result<(), Failure> {
    let settings = DemoSettings {
        shape: if args.folio { TokenShape::Folio } else { TokenShape::Regular },
        at_ttl: Duration::from_secs(args.at_ttl),
        survive_logout: args.survive_logout,
        keycloak: args.real.keycloak()?,
        redis_url: args.real.redis_url.clone(),
        dir: args.dir.clone(),
        ports: ListenPorts { vault: args.port, management: args.management_port, idp: args.idp_port },
        log_level: if args.verbose { "info,tokenvault=debug" } else { "warn" }.to_owned(),
        logs: true,
    };
    crate::console::runtime()?.block_on(async {
        let mut stop = StopSignals::listen()?;
        let told = demo::with_environment(&settings, stop.received(), async |environment| {
            tell(environment, args.folio, console).await?;
            pending().await
        });
        told.await.map(|_: Option<()>| ()).map_err(Failure::from)
    })
}

async fn tell(environment: &DemoEnvironment<'_>, folio: bool, console: &mut Console<'_>) -> Result<(), DemoError> {
    let tokens = if folio {
        format!("\n{}", TokenComparison::of(environment).await?.shown(console.style.width()))
    } else {
        String::new()
    };
    let lines = DevLines::about(environment);
    let text = format!("{}{tokens}\nCtrl-C ends all of it.\n", lines.shown(|fact| console.style.wrap(fact, 21)));
    let told = console.out.write_all(text.as_bytes()).and_then(|()| console.out.flush());
    told.map_err(|error| DemoError::Io { what: "cannot write".to_owned(), error })
}
