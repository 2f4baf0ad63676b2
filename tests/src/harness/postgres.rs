//! A real PostgreSQL of the test's own, for a Keycloak whose answers must survive its being killed.
//!
//! It must never listen beyond loopback, and never touch a cluster that it did not make.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::process::{Process, find_program, temporary_dir};
use super::{Failure, Result, ports};

const START: Duration = Duration::from_mins(1);
const STOP: Duration = Duration::from_secs(5);
const READY: &str = "database system is ready to accept connections";
/// Both the superuser and, as PostgreSQL has it, not the database's name.
const USER: &str = "keycloak";

/// A running PostgreSQL; gone with its data when dropped.
pub struct Postgres {
    process: Process,
    port: u16,
    password: String,
    _dir: TempDir,
}

impl Postgres {
    /// An empty cluster that writes to disk before it answers, as it is delivered.
    pub async fn start() -> Result<Self> {
        let (initdb, postgres) = (program("initdb")?, program("postgres")?);
        let account = Account::find()?;
        let dir = temporary_dir("postgres")?;
        account.own(dir.path())?;
        let (password, data) = (uuid::Uuid::new_v4().simple().to_string(), dir.path().join("data"));
        let password_file = dir.path().join("password");
        fs::write(&password_file, &password)?;
        fs::set_permissions(&password_file, fs::Permissions::from_mode(0o600))?;
        account.own(&password_file)?;
        let mut make = account.command(&initdb);
        make.args(["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--username", USER]);
        make.arg("--pwfile").arg(&password_file).arg("--pgdata").arg(&data);
        let done = make.stdin(Stdio::null()).output()?;
        if !done.status.success() {
            return Err(Failure::new(format!("initdb: {}", String::from_utf8_lossy(&done.stderr))));
        }
        let port = ports::free()?;
        let mut serve = account.command(&postgres);
        serve.arg("-D").arg(&data).args(["-p", &port.to_string(), "-h", "127.0.0.1"]);
        serve.args(["-c", "unix_socket_directories=", "-c", "max_connections=150"]);
        let mut process = Process::spawn("postgres", serve, dir.path())?;
        let log = process.log_path().to_owned();
        let ready = || async { fs::read_to_string(&log).is_ok_and(|log| log.contains(READY)) };
        process.wait_ready(START, ready).await?;
        Ok(Self { process, port, password, _dir: dir })
    }

    /// Where Java finds it.
    pub fn jdbc_url(&self) -> String {
        format!("jdbc:postgresql://127.0.0.1:{}/postgres", self.port)
    }

    /// Who may do everything in it.
    pub fn user(&self) -> &'static str {
        USER
    }

    /// Their password.
    pub fn password(&self) -> &str {
        &self.password
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.process.quit(STOP); // a kill would leave its shared memory behind
    }
}

/// Whom PostgreSQL runs as: root it refuses.
enum Account {
    Own,
    Other { user: u32, group: u32 },
}

impl Account {
    fn find() -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Own);
        }
        let id = |what: &str| {
            let answer = Command::new("id").args([what, "postgres"]).output()?;
            let text = String::from_utf8_lossy(&answer.stdout);
            text.trim().parse::<u32>().map_err(|_| missing("the user `postgres`"))
        };
        Ok(Self::Other { user: id("-u")?, group: id("-g")? })
    }

    fn own(&self, path: &Path) -> Result<()> {
        match self {
            Self::Own => Ok(()),
            Self::Other { user, group } => Ok(chown(path, Some(*user), Some(*group))?),
        }
    }

    fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env("LC_ALL", "C").current_dir("/");
        if let Self::Other { user, group } = self {
            command.uid(*user).gid(*group);
        }
        command
    }
}

/// Where Debian and Homebrew keep the servers: one directory for each version, the version at the end of its name.
const PLACES: [&str; 3] = ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt"];

/// In `PATH`, or in one of those places: the newest.
fn program(name: &str) -> Result<PathBuf> {
    if let Some(file) = find_program(name) {
        return Ok(file);
    }
    let dirs = PLACES.iter().filter_map(|place| fs::read_dir(place).ok()).flatten().flatten();
    let newest = dirs.filter_map(|dir| {
        let version = dir.file_name().to_str()?.trim_start_matches("postgresql@").parse::<u32>().ok()?;
        let file = dir.path().join("bin").join(name);
        file.is_file().then_some((version, file))
    });
    newest.max().map(|(_, file)| file).ok_or_else(|| missing(name))
}

fn missing(what: &str) -> Failure {
    Failure::new(format!("{what} is missing: run `./test --install-only` or `apt-get install postgresql`"))
}
