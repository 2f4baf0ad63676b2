//! The binary `tokenvault`.

use std::process::ExitCode;

fn main() -> ExitCode {
    tokenvault::cli::main()
}
