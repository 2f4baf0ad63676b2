//! The keyring's file: how it is read, and how an entry of it is written. No message here shows a key.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use tokenvault_core::ports::Entropy;
use tokenvault_core::seal::Keyring;
use tokenvault_vault::keyring::KeyringState;
use zeroize::Zeroizing;

use super::error::Finding;
use super::secret_file::read_text;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyringText {
    primary: String,
    keys: BTreeMap<String, String>,
}

/// Reads a keyring: TOML, `primary = "ID"` and under `[keys]` for each id 32 bytes in base64.
pub fn load_keyring(file: &Path) -> Result<Keyring, Finding> {
    parse_keyring(&read_text(file)?, &file.display().to_string())
}

/// Parses a keyring; `place` is what its findings call it.
pub fn parse_keyring(text: &str, place: &str) -> Result<Keyring, Finding> {
    // The parser's own message may quote the line, which may hold a key.
    let parsed: KeyringText = toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start].lines().count().max(1));
        Finding::new(
            place,
            format!("line {line}: is not a keyring: `primary = \"ID\"`, then `[keys]` with `ID = \"BASE64\"`"),
        )
    })?;
    let mut keys = Vec::new();
    for (id, encoded) in parsed.keys {
        let encoded = Zeroizing::new(encoded);
        let key = STANDARD.decode(encoded.as_bytes()).map(Zeroizing::new);
        let key = key.map_err(|_| Finding::new(place, format!("the key {id:?} is not base64")))?;
        keys.push((id, key));
    }
    Keyring::new(&parsed.primary, keys).map_err(|error| Finding::new(place, error.to_string()))
}

/// A ring that was read from a file, which is looked at from now on.
pub fn watched_keyring(file: &Path, ring: Keyring) -> KeyringState {
    KeyringState::of_file(file, ring, |file| load_keyring(file).map_err(|finding| finding.to_string()))
}

/// The entry with a fresh key; if it is the primary one, the keyring around it too.
pub fn keyring_entry(id: &str, primary: bool, entropy: &dyn Entropy) -> Zeroizing<String> {
    let mut key = Zeroizing::new([0; 32]);
    entropy.fill(key.as_mut());
    let key = Zeroizing::new(STANDARD.encode(key.as_ref()));
    let head = if primary { format!("primary = \"{id}\"\n\n[keys]\n") } else { String::new() };
    Zeroizing::new(format!("{head}\"{id}\" = \"{}\"\n", key.as_str()))
}
