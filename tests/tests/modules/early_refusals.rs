//! A refusal that is known before the body has come arrives all the same, on each listener and over both protocols. The client is curl,
//! for it takes the reset of a stream for an error whatever was answered.

use std::process::{Command, Stdio};

use serde_json::Value;
use tokenvault_tests::harness::certs::Certificate;
use tokenvault_tests::harness::policy::{self, Module};
use tokenvault_tests::harness::redis::Redis;
use tokenvault_tests::harness::tools::tool;
use tokenvault_tests::harness::vault::{Vault, VaultBuilder};
use tokenvault_tests::harness::{Failure, Result};

/// How often each refusal is asked for, over each protocol.
const TIMES: usize = 20;
const KIB: usize = 1024;
const JSON: &str = "content-type: application/json";
const FORM: &str = "content-type: application/x-www-form-urlencoded";

/// What is asked for, by whom, and what must be answered.
struct Refused {
    method: &'static str,
    path: &'static str,
    headers: &'static [&'static str],
    body: usize,
    status: u16,
    /// The problem's code, or the error where the identity provider is answered.
    code: &'static str,
}

const fn refused(method: &'static str, path: &'static str, status: u16, code: &'static str) -> Refused {
    Refused { method, path, headers: &[JSON], body: 50 * KIB, status, code }
}

/// A running vault, and what it stands on.
struct Stage {
    vault: Vault,
    _redis: Redis,
    dir: tempfile::TempDir,
}

impl Stage {
    /// Two tenants whose Keycloak is never asked for anything.
    async fn set(change: impl FnOnce(VaultBuilder) -> VaultBuilder) -> Result<Self> {
        let (redis, dir) = (Redis::start().await?, tempfile::tempdir()?);
        let secret = dir.path().join("client-secret");
        std::fs::write(&secret, "secret")?;
        let mut vault = Vault::builder()?.redis(&redis).admin()?.idp()?.set("telemetry.log_level", "warn");
        for tenant in ["diku", "other"] {
            let key = |name: &str| format!("tenants.{tenant}.{name}");
            vault = vault
                .set(&key("issuer"), format!("http://127.0.0.1:9/realms/{tenant}"))
                .set(&key("client_id"), "tokenvault")
                .set(&key("client_secret_file"), secret.display().to_string())
                .set(&key("user_id_claim"), "user_id")
                .set(&key("accepted_clients"), vec!["login-app"]);
        }
        let vault = vault
            .module(Module::new("mod-di").tenants(&["diku"]))
            .module(Module::new("mod-reader").tenants(&["diku"]).register(&[]).actions(&["read"]))
            .module(Module::new("mod-many"));
        Ok(Self { vault: change(vault).start().await?, _redis: redis, dir })
    }

    fn module(&self, module: &Module) -> Result<Certificate> {
        self.vault.ca().issue(&policy::subject(module))
    }

    /// Asks again and again; each time the whole refusal must arrive.
    fn arrives(&self, url: &str, by: Option<&Certificate>, asked: &Refused) -> Result<()> {
        for protocol in ["--http2", "--http1.1"] {
            let answers = (0..TIMES).map(|_| self.ask(&[protocol], url, by, asked));
            let mut lost = answers.collect::<Result<Vec<_>>>()?;
            lost.retain(|answer| !answer.is(asked));
            let what = format!("{} {} {} over {protocol}", asked.code, asked.method, asked.path);
            assert!(lost.is_empty(), "{what}: {} of {TIMES} did not arrive: {:?}", lost.len(), lost[0]);
        }
        Ok(())
    }

    /// One request, over a connection of its own.
    fn ask(&self, how: &[&str], url: &str, by: Option<&Certificate>, asked: &Refused) -> Result<Answered> {
        let body = self.dir.path().join(format!("body-{}", asked.body));
        std::fs::write(&body, "x".repeat(asked.body))?;
        let mut curl = Command::new(tool("curl")?);
        curl.args(["--silent", "--show-error", "--max-time", "30", "--write-out", "\n%{http_code} %{size_upload}"])
            .args(["--request", asked.method, "--data-binary", &format!("@{}", body.display())])
            .arg("--cacert")
            .arg(self.vault.ca().cert_file())
            .args(how);
        for header in asked.headers {
            curl.args(["--header", header]);
        }
        if let Some(by) = by {
            curl.arg("--cert").arg(&by.cert).arg("--key").arg(&by.key);
        }
        let done = curl.arg(format!("{url}{}", asked.path)).stdin(Stdio::null()).output()?;
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        let (answer, figures) = said.rsplit_once('\n').ok_or_else(|| Failure::new("curl said nothing"))?;
        let (status, uploaded) = figures.split_once(' ').unwrap_or_default();
        let body: Value = serde_json::from_str(answer).unwrap_or_default();
        let code = [&body["code"], &body["error"]].into_iter().find_map(Value::as_str).unwrap_or_default();
        Ok(Answered {
            well: done.status.success(),
            status: status.to_owned(),
            code: code.to_owned(),
            uploaded: uploaded.to_owned(),
            error: String::from_utf8_lossy(&done.stderr).into_owned(),
        })
    }
}

/// What curl makes of an answer.
#[derive(Debug)]
#[allow(dead_code, reason = "what it does not compare, a failing test shows")]
struct Answered {
    well: bool,
    status: String,
    code: String,
    /// How many bytes of the body were sent.
    uploaded: String,
    error: String,
}

impl Answered {
    fn is(&self, asked: &Refused) -> bool {
        self.well && self.status == asked.status.to_string() && self.code == asked.code
    }
}

#[tokio::test]
async fn a_module_hears_why_it_was_refused_before_its_body_was_read() -> Result<()> {
    let mut stage = Stage::set(|vault| vault).await?;
    let url = stage.vault.replica().url();
    let (di, reader) = (stage.module(&Module::new("mod-di"))?, stage.module(&Module::new("mod-reader"))?);
    let many = stage.module(&Module::new("mod-many"))?;
    for (by, asked) in [
        (&reader, refused("PUT", "/tokens/job", 403, "action_denied")),
        (&many, refused("PUT", "/tokens/job", 400, "tenant_missing")),
        (
            &di,
            Refused {
                headers: &[JSON, "x-okapi-tenant: other"],
                ..refused("PUT", "/tokens/job", 403, "tenant_denied")
            },
        ),
        (
            &di,
            Refused {
                headers: &["content-type: text/plain"],
                ..refused("PUT", "/tokens/job", 415, "unsupported_media_type")
            },
        ),
        (&di, Refused { body: 100 * KIB, ..refused("PUT", "/tokens/job", 413, "content_too_large") }),
        (&di, refused("PUT", "/nothing", 404, "not_found")),
        (&di, refused("POST", "/tokens/job", 405, "method_not_allowed")),
        (&di, refused("GET", "/tokens/job?wait=never", 400, "invalid_request")),
    ] {
        stage.arrives(&url, Some(by), &asked)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_client_that_waits_to_be_asked_for_its_body_is_refused_without_it() -> Result<()> {
    let mut stage = Stage::set(|vault| vault).await?;
    let (url, reader) = (stage.vault.replica().url(), stage.module(&Module::new("mod-reader"))?);
    let expecting = ["--http1.1", "--expect100-timeout", "60", "--header", "expect: 100-continue"];
    let asked = refused("PUT", "/tokens/job", 403, "action_denied");
    for _ in 0..TIMES {
        let answer = stage.ask(&expecting, &url, Some(&reader), &asked)?;
        assert!(answer.is(&asked) && answer.uploaded == "0", "{answer:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_module_that_calls_too_often_hears_so_whatever_it_sends() -> Result<()> {
    let mut stage = Stage::set(|vault| vault.set("server.register_rate", 1).set("server.register_burst", 1)).await?;
    let (url, reader) = (stage.vault.replica().url(), stage.module(&Module::new("mod-reader"))?);
    let asked = refused("PUT", "/tokens/job", 429, "too_many_requests");
    let (mut refusals, mut lost) = (0, Vec::new());
    while refusals + lost.len() < TIMES {
        match stage.ask(&["--http2"], &url, Some(&reader), &asked)? {
            answer if answer.is(&asked) => refusals += 1,
            // The one that it has a second.
            answer if answer.well && answer.code == "action_denied" => {}
            answer => lost.push(answer),
        }
    }
    assert!(lost.is_empty(), "{} of {TIMES} did not arrive: {:?}", lost.len(), lost[0]);
    Ok(())
}

#[tokio::test]
async fn an_operator_hears_why_it_was_refused_before_its_body_was_read() -> Result<()> {
    let mut stage = Stage::set(|vault| vault).await?;
    let url = stage.vault.replica().admin_url();
    let (view, operate) = (stage.vault.operator_certificate("view")?, stage.vault.operator_certificate("operate")?);
    for (by, asked) in [
        (&view, refused("POST", "/admin/v1/pause", 403, "action_denied")),
        (&operate, refused("POST", "/admin/v1/pause", 413, "content_too_large")),
        (
            &operate,
            Refused {
                headers: &["content-type: text/plain"],
                ..refused("POST", "/admin/v1/pause", 415, "unsupported_media_type")
            },
        ),
        (&view, refused("POST", "/admin/v1/nothing", 404, "not_found")),
        (&view, refused("PUT", "/admin/v1/status", 405, "method_not_allowed")),
    ] {
        stage.arrives(&url, Some(by), &asked)?;
    }
    Ok(())
}

#[tokio::test]
async fn the_identity_provider_hears_why_it_was_refused_before_its_body_was_read() -> Result<()> {
    let mut stage = Stage::set(|vault| vault).await?;
    let url = stage.vault.replica().idp_url();
    // Nobody is known here, and nobody is read much further than a logout token is long.
    let told = |method, path, status, code| Refused { body: 15 * KIB, ..refused(method, path, status, code) };
    for asked in [
        told("POST", "/backchannel-logout/nobody", 404, "not_found"),
        told("POST", "/nothing", 404, "not_found"),
        told("PUT", "/backchannel-logout/diku", 405, "method_not_allowed"),
        told("POST", "/backchannel-logout/diku", 415, "unsupported_media_type"),
        Refused {
            headers: &[FORM],
            body: 20 * KIB,
            ..told("POST", "/backchannel-logout/diku", 413, "content_too_large")
        },
    ] {
        stage.arrives(&url, None, &asked)?;
    }
    Ok(())
}
