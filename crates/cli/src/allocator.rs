//! The memory that the binary works in.

use mimalloc::MiMalloc;
use zeroizing_alloc::ZeroAlloc;

/// Memory is wiped before it is given back. The vault's own types wipe what they hold; the libraries that a token passes through
/// (TLS, HTTP, Redis) copy it into buffers of their own, and only here are those in reach.
///
/// Below it stands an allocator with a heap for each thread: a request allocates some dozens of times, and the system's
/// allocator took a tenth of its processor time.
pub type Allocator = ZeroAlloc<MiMalloc>;

/// For a `#[global_allocator]`.
pub const ALLOCATOR: Allocator = ZeroAlloc(MiMalloc);
