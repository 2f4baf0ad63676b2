//! Reading one secret file. No message here repeats what is in it.

use std::path::Path;

use tokenvault_core::secret::ClientSecret;
use zeroize::Zeroizing;

use super::error::Finding;

pub(super) fn read_text(file: &Path) -> Result<Zeroizing<String>, Finding> {
    let place = || file.display().to_string();
    std::fs::read_to_string(file)
        .map(Zeroizing::new)
        .map_err(|error| Finding::new(place(), format!("cannot be read: {error}")))
}

/// Reads a secret; one line end at its end is not part of it.
pub fn read_secret(file: &Path) -> Result<ClientSecret, Finding> {
    let text = read_text(file)?;
    let secret = text.strip_suffix('\n').unwrap_or(&text);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    if secret.is_empty() {
        return Err(Finding::new(file.display().to_string(), "is empty; it must hold a secret"));
    }
    Ok(ClientSecret::new(secret))
}
