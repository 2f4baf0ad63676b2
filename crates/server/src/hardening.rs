//! What the process asks of the system for itself, before it reads its first secret.
//!
//! No core file is written and no other process of the same user may look into this one's memory (`ptrace`, `/proc/PID/mem`,
//! `/proc/PID/environ`): both would show tokens and keys. And it takes as many file descriptors as it may have, for each
//! connection is one. What the system refuses is told and no reason not to start: a container may have seen to it already.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Hardens this process. It cannot be undone.
pub fn apply() {
    let nothing = Rlimit { current: Some(0), maximum: Some(0) };
    told("core files cannot be switched off", setrlimit(Resource::Core, nothing));
    told("the process's memory cannot be closed to others", undumpable());
    let files = getrlimit(Resource::Nofile);
    let all = Rlimit { current: files.maximum, maximum: files.maximum };
    told("the limit of open files cannot be raised", setrlimit(Resource::Nofile, all));
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
