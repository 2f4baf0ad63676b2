//! The chart's own Redis, run as its container would run it, with a local `redis-server` and the pod's paths moved into a
//! directory of the test's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tokenvault_tests::harness::process::{Process, SOON, poll};
use tokenvault_tests::harness::tools::said;
use tokenvault_tests::harness::{Failure, Result, ports};

use super::chart::render;
use super::{root, temporary};

const PASSWORD: &str = "quoted \"and\" $spaced";

struct OwnRedis {
    dir: tempfile::TempDir,
    port: String,
}

impl OwnRedis {
    fn new(values: &[&str]) -> Result<Self> {
        let own = Self { dir: temporary()?, port: ports::free()?.to_string() };
        for place in ["config", "secret", "run", "data"] {
            fs::create_dir(own.path(place))?;
        }
        own.certify("tls")?;
        fs::write(own.path("secret/password"), format!("{PASSWORD}\n"))?;
        let (documents, _) = render(own.dir.path(), &[&["--set=redis.enabled=true"], values].concat())?;
        let config = documents
            .iter()
            .find(|document| document["kind"] == "ConfigMap" && document["metadata"]["name"] == "v-tokenvault-redis");
        let files = config.map(|config| &config["data"]).and_then(Value::as_object);
        for (name, text) in files.ok_or_else(|| Failure::new("Redis has no configuration"))? {
            fs::write(own.path("config").join(name), own.moved(text.as_str().unwrap_or_default()))?;
        }
        Ok(own)
    }

    /// Puts another certificate of another authority into the Secret.
    fn certify(&self, name: &str) -> Result<()> {
        let tls = self.path(name);
        let (made, words) = said(Command::new(root().join("deploy/certificates.sh")).arg(&tls).args([
            "server",
            "v-tokenvault-redis",
            "localhost",
        ]))?;
        assert!(made, "{words}");
        for (from, to) in [("server.pem", "tls.crt"), ("server.key", "tls.key"), ("modules-ca.pem", "ca.crt")] {
            fs::copy(tls.join(from), self.path("secret").join(to))?;
        }
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The pod's paths and ports as the test has them.
    fn moved(&self, text: &str) -> String {
        let here = |name: &str| self.path(name).display().to_string();
        let moved = text.replace("/etc/redis/", &format!("{}/", self.dir.path().display()));
        let moved = moved.replace("/run/redis", &here("run")).replace("dir /data", &format!("dir {}", here("data")));
        moved.replace("6380", &self.port).replace("6379", &self.port)
    }

    async fn start(&self) -> Result<Process> {
        let mut command = Command::new("sh");
        command.arg(self.path("config/start.sh"));
        let redis = Process::spawn("redis", command, self.dir.path())?;
        poll("the chart's own Redis", SOON, || async { self.ready().ok() }).await?;
        Ok(redis)
    }

    /// The container's readiness probe.
    fn ready(&self) -> Result<()> {
        let (ready, words) = said(Command::new("sh").arg(self.path("config/ready.sh")))?;
        if ready { Ok(()) } else { Err(Failure::new(words)) }
    }

    fn ask(&self, password: &str, command: &[&str]) -> Result<String> {
        let mut cli = Command::new("redis-cli");
        cli.env("REDISCLI_AUTH", password)
            .args(["--no-auth-warning", "--tls", "--cacert"])
            .arg(self.path("secret/ca.crt"));
        Ok(said(cli.args(["-p", &self.port]).args(command))?.1.trim().to_owned())
    }
}

fn contains(dir: &Path, text: &str) -> Result<bool> {
    let mut found = false;
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        found |= if path.is_dir() {
            contains(&path, text)?
        } else {
            String::from_utf8_lossy(&fs::read(path)?).contains(text)
        };
    }
    Ok(found)
}

#[tokio::test]
async fn the_charts_own_redis_asks_for_its_password_evicts_nothing_and_keeps_what_it_acknowledged() -> Result<()> {
    let own = OwnRedis::new(&[])?;
    let mut redis = own.start().await?;
    assert_eq!(own.ask(PASSWORD, &["config", "get", "maxmemory-policy"])?, "maxmemory-policy\nnoeviction");
    assert_eq!(own.ask(PASSWORD, &["config", "get", "appendfsync"])?, "appendfsync\nalways");
    assert!(own.ask("guess", &["get", "job"])?.contains("NOAUTH"), "nobody gets in without the password");
    assert_eq!(own.ask(PASSWORD, &["set", "job", "kept"])?, "OK");

    redis.kill();
    let _again = own.start().await?;

    assert_eq!(own.ask(PASSWORD, &["get", "job"])?, "kept", "a crash loses nothing");
    for place in ["config", "run", "data"] {
        assert!(!contains(&own.path(place), "spaced")?, "the password is written down in {place}");
    }
    Ok(())
}

#[tokio::test]
async fn a_redis_that_takes_another_password_or_none_is_not_ready() -> Result<()> {
    let own = OwnRedis::new(&[])?;
    let _redis = own.start().await?;
    fs::write(own.path("secret/password"), "another")?;
    assert!(own.ready().is_err(), "the probe proves the password");
    Ok(())
}

#[tokio::test]
async fn a_renewed_certificate_is_served_without_a_restart_and_a_broken_one_never() -> Result<()> {
    let own = OwnRedis::new(&[])?;
    let _redis = own.start().await?;
    own.certify("renewed")?;
    assert!(own.ask(PASSWORD, &["ping"])?.contains("certificate verify failed"), "the old one is served");
    own.ready()?;
    assert_eq!(own.ask(PASSWORD, &["ping"])?, "PONG", "the new one is served");

    fs::write(own.path("secret/tls.crt"), "half written")?;

    own.ready()?;
    assert_eq!(own.ask(PASSWORD, &["ping"])?, "PONG");
    Ok(())
}

#[tokio::test]
async fn without_tls_it_serves_all_the_same() -> Result<()> {
    let config = "--set-json=config=\"[redis]\\nurl = \\\"redis://redis\\\"\\n\"";
    let own = OwnRedis::new(&["--set=redis.tls.enabled=false", config])?;
    let _redis = own.start().await?;
    own.ready()
}
