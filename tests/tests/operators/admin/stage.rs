//! A vault with an operators' listener, and an operator at the command line.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tokenvault_tests::harness::certs::Certificate;
use tokenvault_tests::harness::client::{Answer, Client};
use tokenvault_tests::harness::policy::Module;
use tokenvault_tests::harness::process::SOON;
use tokenvault_tests::harness::realm::{LabRealm, Tokens};
use tokenvault_tests::harness::redis::Redis;
use tokenvault_tests::harness::terminal::Terminal;
use tokenvault_tests::harness::vault::{Vault, binary};
use tokenvault_tests::harness::{Failure, Result};

pub(crate) const MODULE: &str = "mod-data-import";

pub(crate) struct Stage {
    pub(crate) vault: Vault,
    pub(crate) realm: LabRealm,
    // The store lives as long as the vault.
    _redis: Redis,
    operator: Certificate,
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) status: i32,
}

impl Said {
    /// Itself if it is done, else a failure that shows it.
    pub(crate) fn done(self) -> Result<Self> {
        if self.status == 0 { Ok(self) } else { Err(Failure::new(format!("{self:?}"))) }
    }

    /// The result for programs.
    pub(crate) fn json(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.out)?)
    }
}

impl Stage {
    pub(crate) async fn set(at_ttl: u64, replicas: usize) -> Result<Self> {
        let redis = Redis::options().append_only().start().await?;
        let realm = LabRealm::builder().at_ttl(at_ttl).create().await?;
        let vault = Vault::builder()?
            .redis(&redis)
            .tenant(&realm)?
            .module(Module::new(MODULE).register(&["exchange", "impersonate"]))
            .set(&format!("tenants.{}.on_logout", realm.name()), "continue")
            .admin()?
            .replicas(replicas)
            .start()
            .await?;
        let operator = vault.operator_certificate("operate")?;
        Ok(Self { vault, realm, _redis: redis, operator })
    }

    pub(crate) fn module(&self) -> Result<Client> {
        self.vault.client(MODULE)
    }

    pub(crate) async fn login(&self, user: &str) -> Result<Tokens> {
        Ok(self.realm.login(user).await?)
    }

    pub(crate) async fn register(&self, job: &str, proof: &Tokens, more: Value) -> Result<Answer> {
        let mut body = json!({ "access_token": proof.access_token });
        if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
            body.extend(more);
        }
        self.module()?.put(job, &body).await?.expect_status(201)
    }

    /// `tokenvault admin …` by the operator who may operate.
    pub(crate) fn admin(&mut self, arguments: &[&str]) -> Result<Said> {
        let operator = self.operator.clone();
        self.admin_as(&operator, arguments)
    }

    /// `tokenvault admin …` by somebody else.
    pub(crate) fn admin_as(&mut self, who: &Certificate, arguments: &[&str]) -> Result<Said> {
        let output = self.command(who, arguments)?.output()?;
        said(&output)
    }

    /// `tokenvault admin …` that goes on by itself, its results in a file and its complaints in another.
    pub(crate) fn admin_in_background(&mut self, (out, err): (&Path, &Path), arguments: &[&str]) -> Result<Child> {
        let (operator, out, err) = (self.operator.clone(), File::create(out)?, File::create(err)?);
        Ok(self.command(&operator, arguments)?.stdout(out).stderr(err).spawn()?)
    }

    /// `tokenvault admin …` by the same operator, with a person watching.
    pub(crate) fn admin_on_a_terminal(&mut self, arguments: &[&str]) -> Result<Terminal> {
        let operator = self.operator.clone();
        Terminal::start(self.command(&operator, arguments)?)
    }

    /// The same on a terminal of so many columns and of this kind, until it has ended, with these variables.
    pub(crate) async fn shown(
        &mut self,
        (width, kind): (u16, &str),
        variables: &[(&str, &str)],
        arguments: &[&str],
    ) -> Result<String> {
        let operator = self.operator.clone();
        let mut command = self.command(&operator, arguments)?;
        command.envs(variables.iter().copied());
        let (_, shown) = Terminal::start_with(width, kind, command)?.end(SOON).await?;
        Ok(shown)
    }

    fn command(&mut self, who: &Certificate, arguments: &[&str]) -> Result<Command> {
        let address = self.vault.replica().admin_url();
        let mut command = nobody()?;
        command.args(["--address", &address]);
        for (option, file) in [("--cacert", &self.vault.ca().cert_file()), ("--cert", &who.cert), ("--key", &who.key)] {
            command.arg(option).arg(file);
        }
        command.args(arguments);
        Ok(command)
    }

    /// A job as the operator sees it.
    pub(crate) fn job(&mut self, job: &str) -> Result<Value> {
        let tenant = self.realm.name().to_owned();
        self.admin(&["jobs", "show", &tenant, job, "--output", "json"])?.done()?.json()
    }
}

/// `tokenvault admin` by somebody without a home, a terminal or a certificate.
pub(crate) fn nobody() -> Result<Command> {
    let mut command = Command::new(binary()?);
    command.arg("admin").env("HOME", "/nonexistent").stdin(Stdio::null());
    Ok(command)
}

pub(crate) fn said(output: &std::process::Output) -> Result<Said> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let status = output.status.code().ok_or_else(|| Failure::new("the command was killed"))?;
    Ok(Said { out: text(&output.stdout), err: text(&output.stderr), status })
}
