//! The binary `tokenvault`.

use std::alloc::System;
use std::process::ExitCode;

use zeroizing_alloc::ZeroAlloc;

/// Memory is wiped before it is given back. The vault's own types wipe what they hold; the libraries that a token passes through
/// (TLS, HTTP, Redis) copy it into buffers of their own, and only here are those in reach.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    tokenvault::main()
}
