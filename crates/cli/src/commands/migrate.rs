//! `tokenvault migrate`: moves the store to the schema this version writes.

use std::sync::Arc;

use indicatif::ProgressBar;
use tokenvault_core::ids::AttemptId;
use tokenvault_core::ports::{Entropy as _, KeyStore as _};
use tokenvault_core::seal::Keyring;
use tokenvault_redis::RedisStore;
use tokenvault_server::entropy::OsEntropy;
use tokenvault_server::wiring;
use tokenvault_vault::keyring::{self, KeyVerdict};

use crate::console::{ConfigFile, Console};
use crate::failure::Failure;
use crate::migration::{Migration, MigrationEvent};
use crate::terminal::progress;

/// Move the store to the schema this version writes
///
/// Replicas go on serving while it runs. Run it once all replicas are of this version; where older ones are still alive it
/// prepares everything, says which they are, and is to be run again. Stopped anywhere, it is run again.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// Only tell what there is to do
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(args: &Args, console: &mut Console<'_>) -> Result<(), Failure> {
    let config = args.config.load()?;
    let secrets = config.load_secrets()?;
    let failed = |error: &dyn std::fmt::Display| Failure::because("cannot migrate", error.to_string());
    crate::console::runtime()?.block_on(async {
        let redis = wiring::redis(&config.redis);
        let store = RedisStore::connect(&redis).map_err(|error| failed(&error))?;
        let promoted = store.promoted_key().await.map_err(|error| failed(&error))?;
        let keyring = match &promoted {
            Some(key) => secrets
                .keyring
                .with_primary(key)
                .ok_or_else(|| failed(&format!("the promoted key {key:?} is not in the keyring")))?,
            None => secrets.keyring.clone(),
        };
        hold_against(&store, &keyring, args.dry_run).await.map_err(|error| failed(&error))?;
        let migration = Migration {
            store: Arc::new(store),
            keyring: Arc::new(keyring),
            entropy: Arc::new(OsEntropy),
            name: format!("migrate-{}", AttemptId::from_bits(OsEntropy.bits())),
        };
        let bar = progress::records(console.style.is_terminal());
        let told = migration.run(args.dry_run, |word| tell(word, &bar, console)).await;
        bar.finish_and_clear();
        told.map(drop).map_err(|error| failed(&error))
    })
}

/// Whether the keys are the right ones: what is sealed with a wrong one, no replica could open. Vouches for the key that seals
/// where nothing is stored under its id yet.
async fn hold_against(store: &RedisStore, ring: &Keyring, dry_run: bool) -> Result<(), String> {
    let known = keyring::examine(store, ring).await.map_err(|error| error.to_string())?;
    if let Some((id, why)) = known.iter().find_map(|(id, known)| match known {
        KeyVerdict::Wrong(why) => Some((id, why)),
        _ => None,
    }) {
        return Err(format!("the key {id:?} is a wrong one: {why}; put the right keyring file back"));
    }
    let (id, check) = (ring.primary(), ring.check(ring.primary()).unwrap_or_default());
    if let (Some(KeyVerdict::Proved(proof)), false) = (known.get(id), dry_run) {
        let stands = store.vouch_for_key(id, &check, *proof).await.map_err(|error| error.to_string())?;
        if stands != check {
            return Err(format!("another replica holds another key by the id {id:?}, with the check value {stands}"));
        }
    }
    Ok(())
}

/// Prints a step as a line. Progress is a bar on a terminal and a line in a file.
fn tell(word: &MigrationEvent<'_>, bar: &ProgressBar, console: &mut Console<'_>) {
    match word {
        MigrationEvent::Progress(pass, total) if console.style.is_terminal() => {
            progress::show(bar, pass.seen, *total, format!("{} changed, {} failed", pass.changed, pass.failed));
        }
        // A closed terminal must not end a migration.
        word => bar.suspend(|| drop(writeln!(console.out, "{}", console.style.wrap(&word.to_string(), 2)))),
    }
}
