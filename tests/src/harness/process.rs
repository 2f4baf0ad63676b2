//! Child processes that cannot outlive the test, and waiting for them without guessing how long they take.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use tempfile::TempDir;

use super::{Failure, Result, failure};

/// How much of a log a failing test shows.
const TAIL_LINES: usize = 40;
/// How the names of the harness's temporary directories begin.
const TEMPORARY: &str = "tokenvault-test-";
const POLL: Duration = Duration::from_millis(30);
/// How long a test waits for what comes about by itself. It is how long a failure takes and no promise: a machine that is busy
/// with other work may need much of it.
pub const SOON: Duration = Duration::from_mins(1);

/// Kills something when this process ends in whatever way, also by SIGKILL: the watcher reads a pipe whose other end
/// only this process holds, so the end of the process is the end of the pipe. Dropped, it ends without acting.
pub(super) struct Watcher(Child);

impl Watcher {
    /// Runs `script` with `arguments` as `$1` and so on once this process is gone.
    pub(super) fn arm(script: &str, arguments: &[&str]) -> Result<Self> {
        let child = Command::new("sh")
            .args(["-c", &format!("read -r _; {script}"), "sh"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0) // a Ctrl-C meant for the tests must not end the watcher first
            .spawn()?;
        Ok(Self(child))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// `$1`: the group to kill; `$2`: the directory to delete after it, if any.
const CLEAN_UP: &str = r#"kill -s KILL -- "-$1"; [ -z "$2" ] || { sleep 1; rm -rf -- "$2"; }"#;

/// The harness's own temporary directories are deleted by their guards; where no guard runs, the watcher does it.
fn leftover(dir: &Path) -> String {
    let own = dir.starts_with(std::env::temp_dir())
        && dir.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(TEMPORARY));
    if own { dir.display().to_string() } else { String::new() }
}

/// A temporary directory of the harness's.
pub(super) fn temporary_dir(what: &str) -> Result<TempDir> {
    Ok(tempfile::Builder::new().prefix(&format!("{TEMPORARY}{what}-")).tempdir()?)
}

/// A child process in a process group of its own, its output in a log file; killed when dropped.
pub struct Process {
    name: String,
    child: Child,
    exited: Option<ExitStatus>,
    log: PathBuf,
    silent: bool,
    watcher: Watcher,
}

impl Process {
    /// Starts `command`; its output is appended to `<name>.log` in `log_dir`.
    pub fn spawn(name: &str, mut command: Command, log_dir: &Path) -> Result<Self> {
        fs::create_dir_all(log_dir)?;
        let log = log_dir.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .map_err(|e| Failure::from(e).context(format!("starting {}", command.get_program().display())))?;
        let watcher = Watcher::arm(CLEAN_UP, &[&child.id().to_string(), &leftover(log_dir)])?;
        Ok(Self { name: name.to_owned(), child, exited: None, log, silent: false, watcher })
    }

    /// The process id, which is also its group's.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where its output goes.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// Everything it has printed so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The last lines it has printed.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }

    /// How it ended, if it has.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        if self.exited.is_none() {
            self.exited = self.child.try_wait().ok().flatten();
        }
        self.exited
    }

    /// SIGKILL to the whole group; returns when it is gone.
    pub fn kill(&mut self) {
        if self.exit_status().is_none() {
            let _ = kill_process_group(self.pid(), Signal::KILL); // gone already is what is wanted
            self.exited = self.child.wait().ok();
        }
    }

    /// SIGKILL to one that another will follow, whose end nobody need be told of.
    pub fn retire(&mut self) {
        self.silent = true;
        self.kill();
    }

    /// SIGSTOP: it stays, holds its connections and answers nothing.
    pub fn pause(&mut self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    pub fn resume(&mut self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// SIGTERM, then waits for it to end by itself.
    pub async fn terminate(&mut self, within: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait_for_exit(within).await
    }

    /// SIGHUP.
    pub fn hang_up(&mut self) -> Result<()> {
        self.signal(Signal::HUP)
    }

    /// SIGQUIT, and SIGKILL where that has not ended it in time. Blocks: for a guard's drop.
    pub(super) fn quit(&mut self, within: Duration) {
        let deadline = Instant::now() + within;
        if self.signal(Signal::QUIT).is_ok() {
            while self.exit_status().is_none() && Instant::now() < deadline {
                std::thread::sleep(POLL);
            }
        }
        self.kill();
    }

    /// Waits for it to end by itself.
    pub async fn wait_for_exit(&mut self, within: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.exit_status() {
                return Ok(status);
            }
            if Instant::now() > deadline {
                return Err(Failure::new(format!("{} did not end within {within:?}", self.name)));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until `ready` says so, and fails at once if the process ends instead.
    pub async fn wait_ready<F, Fut>(&mut self, within: Duration, mut ready: F) -> Result<()>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = bool>,
    {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.exit_status() {
                return Err(Failure::new(format!("{} ended ({status}):\n{}", self.name, self.log_tail())));
            }
            if ready().await {
                return Ok(());
            }
            if Instant::now() > deadline {
                let tail = self.log_tail();
                return Err(Failure::new(format!("{} was not ready within {within:?}:\n{tail}", self.name)));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn signal(&mut self, signal: Signal) -> Result<()> {
        // Checked first: a process that was waited for has given its id back to the system.
        if let Some(status) = self.exit_status() {
            return Err(Failure::new(format!("{} has ended already ({status})", self.name)));
        }
        kill_process_group(self.pid(), signal)?; // Keycloak's is a shell with the server as its child
        Ok(())
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Process {
    #[allow(clippy::print_stderr, reason = "a failing test shows what its processes said")]
    fn drop(&mut self) {
        self.kill();
        if failure::seen() && !self.silent {
            eprintln!("--- {}: end of {}\n{}", self.name, self.log.display(), self.log_tail());
        }
        let _ = &self.watcher; // dropped after the kill: were this process to die in between, the watcher still acts
    }
}

/// Polls `predicate` until it holds; `what` completes the sentence "waited for …".
pub async fn wait_until<F, Fut>(what: &str, within: Duration, mut predicate: F) -> Result<()>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    poll(what, within, || {
        let holds = predicate();
        async move { holds.await.then_some(()) }
    })
    .await
}

/// Polls `question` until it has an answer; `what` completes the sentence "waited for …".
pub async fn poll<T, F, Fut>(what: &str, within: Duration, mut question: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + within;
    loop {
        if let Some(answer) = question().await {
            return Ok(answer);
        }
        if Instant::now() > deadline {
            return Err(Failure::new(format!("waited for {what} in vain for {within:?}")));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Looks a program up in `PATH`.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}
