//! The binary `tokenvault`.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tokenvault::Allocator = tokenvault::ALLOCATOR;

fn main() -> ExitCode {
    tokenvault::main()
}
