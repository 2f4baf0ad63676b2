//! Programs that check what is shipped beside the binary: in `PATH`, or where `./test` puts them.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use super::process::find_program;
use super::{Failure, Result};

/// Where a program is.
pub fn tool(name: &str) -> Result<PathBuf> {
    let cache = std::env::var_os("TOKENVAULT_CACHE").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/tokenvault")));
    let kept = cache.into_iter().flat_map(|cache| [cache.join("bin").join(name), cache.join("venv/bin").join(name)]);
    find_program(name)
        .into_iter()
        .chain(kept)
        .find(|file| file.is_file())
        .ok_or_else(|| Failure::new(format!("{name} is missing: run `./test --install-only`")))
}

/// Runs one to its end: what it said on both streams, and whether it succeeded.
pub fn said(command: &mut Command) -> Result<(bool, String)> {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output()?;
    Ok((status.success(), format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr))))
}
