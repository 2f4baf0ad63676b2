//! What the process keeps from everybody else on its machine: no core file, no look into its memory, no file it could write
//! but its log; and it works as nobody on a read-only root.
#![cfg(target_os = "linux")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests watch real processes, so they read the real clock and ask over real networks"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokenvault_tests::harness::process::{SOON, find_program, wait_until};
use tokenvault_tests::harness::vault::binary;
use tokenvault_tests::harness::{Failure, Result};
use tokenvault_tests::siege::stage::{JOB, Stage};

const NOBODY: &str = "65534";

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A program in the vault's place that prepares what it runs in, and then becomes it. Every file that the configuration
/// names is given to nobody first.
fn wrapper(dir: &Path, prepare: &str, become_it: &str) -> Result<PathBuf> {
    let (file, vault) = (dir.join("vault.sh"), binary()?);
    let script = format!(
        r#"#!/bin/sh
set -e
ulimit -c "$(ulimit -H -c)"
if [ "$(id -u)" = 0 ]; then
  sed -n 's/.*= *"\(\/[^"]*\)".*/\1/p' "$3" | while read -r named; do chown {NOBODY} "$named" "$(dirname "$named")"; done
  chown {NOBODY} "$3" "$(dirname "$3")"
fi
{prepare}
exec {become_it} "{vault}" "$@"
"#,
        vault = vault.display(),
    );
    fs::write(&file, script)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
    Ok(file)
}

/// As nobody, where the tests run as root; as who runs them otherwise.
fn as_nobody() -> Result<String> {
    if !is_root() {
        return Ok(String::new());
    }
    let program = find_program("setpriv").ok_or_else(|| Failure::new("setpriv is missing: install util-linux"))?;
    Ok(format!(
        "{} --reuid={NOBODY} --regid={NOBODY} --clear-groups --no-new-privs --bounding-set=-all",
        program.display()
    ))
}

/// Runs a command with the vault's own user id and no privileges.
fn beside(script: &str) -> Result<Output> {
    let shell = format!("{} sh -c '{script}'", as_nobody()?);
    Ok(Command::new("sh").args(["-c", &shell]).stdin(Stdio::null()).output()?)
}

async fn stage(prepare: &str, dir: &Path) -> Result<Stage> {
    Stage::as_program(wrapper(dir, prepare, &as_nobody()?)?).await
}

#[tokio::test]
async fn nobody_looks_into_its_memory_and_it_leaves_no_core() -> Result<()> {
    let dir = tempfile::tempdir()?;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
    let mut stage = stage("", dir.path()).await?;
    stage.good()?.get(JOB).await?.expect_status(200)?;
    let pid = stage.vault.process_ids()[0];

    let limits = fs::read_to_string(format!("/proc/{pid}/limits"))?;
    let limit = |name: &str| -> Vec<String> {
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().take(2).map(str::to_owned).collect()
    };
    assert_eq!(limit("Max core file size"), ["0", "0"]);
    let files = limit("Max open files");
    assert_eq!(files[0], files[1], "as many as it may have");

    // What ptrace may do, /proc/PID/mem may do as well, and it is refused to the same user.
    for secret in ["mem", "environ", "maps"] {
        let looked = beside(&format!("head -c 1 /proc/{pid}/{secret}"))?;
        assert!(!looked.status.success(), "{secret} was shown to the same user");
        assert!(String::from_utf8_lossy(&looked.stderr).contains("ermission denied"), "{looked:?}");
    }
    assert!(beside(&format!("head -c 1 /proc/{pid}/cmdline"))?.status.success(), "the look itself works");

    for signal in [Signal::SEGV, Signal::ABORT] {
        let pid = stage.vault.process_ids()[0];
        let pid = Pid::from_raw(i32::try_from(pid)?).ok_or_else(|| Failure::new("no process"))?;
        // The runtime's handler of a SIGSEGV gives way to the system's, and so to the second one, once the first has arrived.
        let process = stage.vault.replica().process();
        for _ in 0..100 {
            if process.exit_status().is_some() {
                break;
            }
            let _ = kill_process(pid, signal);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let status = process.wait_for_exit(SOON).await?;
        assert_eq!((status.signal(), status.core_dumped()), (Some(signal.as_raw()), false));
        stage.vault.replica().restart().await?;
    }
    let cores = fs::read_dir(dir.path())?.chain(fs::read_dir(".")?).filter_map(std::result::Result::ok);
    let cores: Vec<String> = cores.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    assert!(!cores.iter().any(|name| name == "core" || name.starts_with("core.")), "{cores:?}");
    Ok(())
}

#[tokio::test]
async fn every_command_is_closed_before_it_reads_its_first_file() -> Result<()> {
    let dir = tempfile::tempdir()?;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
    // Whoever opens it waits until somebody writes, which nobody does: so each command is looked at just then.
    let config = dir.path().join("tokenvault.toml");
    assert!(Command::new("mkfifo").args(["-m", "0666"]).arg(&config).status()?.success());
    let program = as_nobody()?;
    for command in ["serve", "check-config", "doctor", "migrate"] {
        let line = format!(
            "ulimit -c \"$(ulimit -H -c)\"; exec {program} {} {command} --config {}",
            binary()?.display(),
            config.display()
        );
        let mut child = Command::new("sh").args(["-c", &line]).stdin(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let pid = child.id();
        let closed = async || {
            let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
            let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap_or_default();
            core.split_whitespace().skip(4).take(2).eq(["0", "0"])
        };
        let looked = wait_until(command, SOON, async || closed().await).await;
        let shown = beside(&format!("head -c 1 /proc/{pid}/environ"))?;
        child.kill()?;
        child.wait()?;
        looked?;
        assert!(!shown.status.success(), "{command}: its environment was shown to the same user");
    }
    Ok(())
}

#[tokio::test]
async fn it_runs_as_nobody_on_a_read_only_root_and_has_no_file_to_write() -> Result<()> {
    let dir = tempfile::tempdir()?;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
    let read_only = "mount --make-rprivate / && mount --rbind / / && mount -o remount,bind,ro /";
    let own_mounts =
        is_root() && Command::new("unshare").args(["--mount", "true"]).status().is_ok_and(|it| it.success());
    let program = if own_mounts {
        let inner =
            wrapper(dir.path(), &format!("{read_only}\n! touch /tokenvault-was-here 2>/dev/null"), &as_nobody()?)?;
        let outer = dir.path().join("own-mounts.sh");
        fs::write(&outer, format!("#!/bin/sh\nexec unshare --mount {} \"$@\"\n", inner.display()))?;
        fs::set_permissions(&outer, fs::Permissions::from_mode(0o755))?;
        outer
    } else {
        // Without mounts of one's own only what it has open can be looked at.
        wrapper(dir.path(), "", &as_nobody()?)?
    };
    let stage = Stage::as_program(program).await?;
    stage.good()?.get(JOB).await?.expect_status(200)?;

    let pid = stage.vault.process_ids()[0];
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    if is_root() {
        assert!(status.lines().any(|line| line == format!("Uid:\t{NOBODY}\t{NOBODY}\t{NOBODY}\t{NOBODY}")), "{status}");
        for number in fs::read_dir(format!("/proc/{pid}/fd"))? {
            let number = number?;
            let target = fs::read_link(number.path())?;
            let is_file = target.starts_with("/") && !target.starts_with("/dev") && !target.starts_with("/proc");
            let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{}", number.file_name().to_string_lossy()))?;
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap_or_default();
            let writes = u32::from_str_radix(flags.trim(), 8).is_ok_and(|flags| flags & 3 != 0);
            let is_log = target.extension().is_some_and(|extension| extension == "log");
            assert!(!(is_file && writes) || is_log, "{} can be written", target.display());
        }
    }
    Ok(())
}
