//! What the process asks of the system for itself, before it reads its first secret.
//!
//! No core file is written and no other process of the same user may look into this one's memory (`ptrace`, `/proc/PID/mem`,
//! `/proc/PID/environ`): both would show tokens and keys. And the service takes as many file descriptors as it may have, for
//! each connection is one. A refusal of the system is logged, and
//! the start goes on: a container may have done the same already.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Closes this process to others; each command does so before anything else, for most of them read secrets. It cannot be
/// undone. Nothing is logged yet: the log's settings are not read. [`apply`] logs it later.
pub(crate) fn close() {
    let _ = no_core();
    let _ = undumpable();
}

/// Hardens this process for serving.
pub(crate) fn apply() {
    told("core files cannot be switched off", no_core());
    told("the process's memory cannot be closed to others", undumpable());
    let files = getrlimit(Resource::Nofile);
    let all = Rlimit { current: files.maximum, maximum: files.maximum };
    told("the limit of open files cannot be raised", setrlimit(Resource::Nofile, all));
}

fn no_core() -> rustix::io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
}

#[cfg(target_os = "linux")]
fn undumpable() -> rustix::io::Result<()> {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
}

#[cfg(not(target_os = "linux"))]
fn undumpable() -> rustix::io::Result<()> {
    Err(rustix::io::Errno::NOSYS)
}

fn told(what: &str, outcome: rustix::io::Result<()>) {
    if let Err(error) = outcome {
        tracing::warn!(%error, "{what}");
    }
}
