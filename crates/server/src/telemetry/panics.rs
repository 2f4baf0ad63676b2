//! What is told of a panic: where it was and in which thread, and never what it says. That may be made of whatever was in
//! hand, a token among it.

use std::io::Write as _;
use std::panic::{self, PanicHookInfo};
use std::thread;

/// From now on every panic of this process is told so. To be called before anything else is done.
pub fn install() {
    panic::set_hook(Box::new(tell));
}

fn tell(panicked: &PanicHookInfo<'_>) {
    let place = panicked.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let current = thread::current();
    let thread = current.name().unwrap_or("without a name");
    if tracing::dispatcher::has_been_set() {
        tracing::error!(place, thread, "a panic: this is a defect of the vault's, please report it");
    } else {
        // A hook that panicked would end the process, so what cannot be written is not told.
        drop(writeln!(std::io::stderr(), "tokenvault: a panic at {place} in the thread {thread}: please report it"));
    }
}
