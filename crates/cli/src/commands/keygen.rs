//! `tokenvault keygen`: a fresh key for the keyring. The one command that prints a secret.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use tokenvault_core::ports::{Clock, Entropy};
use tokenvault_core::time::Timestamp;
use tokenvault_server::clock::SystemClock;
use tokenvault_server::config::keyring_entry;
use tokenvault_server::entropy::OsEntropy;

use crate::failure::Failure;

/// Print a fresh key for the keyring
///
/// The keyring is a TOML file of named keys; the primary one seals, all of
/// them open. A first keyring:
///
///   tokenvault keygen --primary --output keyring.toml
///
/// A further key, to be promoted by `tokenvault admin keys promote` once every
/// replica has it. Make it once, and append the same line to the keyring of each:
///
///   tokenvault keygen >> keyring.toml
///
/// A key's id is kept with everything it seals, and no other key may ever have
/// it: the default is the date and a random part. Whoever names a key must take
/// a name that none of this vault's keys has had. The vault keeps a check value
/// of each key in Redis and takes no other key of that id.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// The key's name: 1 to 32 letters, digits, '.', '_' or '-' [default: the date and a random part, such as
    /// k2026-11-30-5f0c9a3e]
    #[arg(long, value_parser = key_id)]
    id: Option<String>,
    /// Print a whole keyring with this key as its primary, instead of an entry to append
    #[arg(long)]
    primary: bool,
    /// Write it to a new file, for its owner alone, instead of printing it; a file that is there is never written over
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let id = args.id.clone().unwrap_or_else(|| default_id(SystemClock::start().now(), &OsEntropy));
    let entry = keyring_entry(&id, args.primary, &OsEntropy);
    match &args.output {
        None => Ok(out.write_all(entry.as_bytes())?),
        Some(file) => {
            create(file, entry.as_bytes())?;
            Ok(writeln!(out, "{}: made, with the key {id}", file.display())?)
        }
    }
}

/// A keyring that is overwritten loses every job that is sealed with it.
fn create(file: &Path, text: &[u8]) -> Result<(), Failure> {
    let what = format!("cannot write {}", file.display());
    let mut created =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => {
                Failure::new(format!("{} is there already, and stays as it is", file.display()))
            }
            _ => Failure::because(&what, error),
        })?;
    created.write_all(text).and_then(|()| created.sync_all()).map_err(|error| {
        // Half a keyring would be in the way of a whole one.
        drop(std::fs::remove_file(file));
        Failure::because(&what, error)
    })
}

/// Named by its day, since keys are rotated by the calendar, and by chance: two keys of one name would be taken for each other.
fn default_id(now: Timestamp, entropy: &dyn Entropy) -> String {
    let millis = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
    let date = jiff::Timestamp::from_millisecond(millis).unwrap_or_default().to_zoned(TimeZone::UTC);
    let mut chance = [0; 4];
    entropy.fill(&mut chance);
    format!("k{:04}-{:02}-{:02}-{:08x}", date.year(), date.month(), date.day(), u32::from_be_bytes(chance))
}

fn key_id(text: &str) -> Result<String, String> {
    let starts = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let continues = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    let good = (starts && continues && text.len() <= 32).then(|| text.to_owned());
    good.ok_or_else(|| "1 to 32 letters, digits, '.', '_' or '-', the first a letter or digit".to_owned())
}

#[cfg(test)]
mod tests {
    use tokenvault_core::ports::testing::SeededEntropy;
    use tokenvault_server::config::load_keyring;

    use super::*;

    #[test]
    fn a_primary_entry_is_a_keyring_to_which_others_can_be_appended() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keyring.toml");
        let entropy = SeededEntropy::new(1);
        let text =
            [keyring_entry("k1", true, &entropy).as_str(), keyring_entry("k2.next", false, &entropy).as_str()].concat();
        std::fs::write(&file, text).unwrap();
        let keyring = load_keyring(&file).unwrap();
        assert_eq!(keyring.primary(), "k1");
        assert_eq!(keyring.ids().collect::<Vec<_>>(), ["k1", "k2.next"]);
    }

    #[test]
    fn keys_differ() {
        assert_ne!(*keyring_entry("k", false, &OsEntropy), *keyring_entry("k", false, &OsEntropy));
    }

    #[test]
    fn a_key_is_named_by_its_day_and_no_two_alike() {
        let (late, entropy) = (Timestamp::parse_rfc3339("2026-11-30T23:59:59Z").unwrap(), SeededEntropy::new(1));
        let (one, other) = (default_id(late, &entropy), default_id(late, &entropy));
        assert!(one.starts_with("k2026-11-30-") && one.len() == "k2026-11-30-".len() + 8, "{one}");
        assert_ne!(one, other);
        assert!(key_id(&one).is_ok());
        assert!(key_id(&default_id(Timestamp::from_millis(0), &entropy)).is_ok());
    }

    #[test]
    fn an_id_that_no_keyring_would_take_is_refused() {
        for id in ["", "-a", "a b", "ä", &"a".repeat(33)] {
            assert!(key_id(id).is_err(), "{id}");
        }
    }
}
