//! Configurations that cannot be: `serve` and `check-config` end with status 1 and name the key or the file, never a
//! secret.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::process::{Process, SOON};
use tokenvault_tests::harness::vault::binary;
use toml::{Table, Value};

use crate::bad_input::stage::{Stage, stage};

/// What must never be shown, wherever it was put.
const MARK: &str = "mark-8d2f60c4a1";

struct Bench {
    dir: TempDir,
    good: Table,
    tenant: String,
    /// Whose files the good configuration names.
    _stage: Arc<Stage>,
}

impl Bench {
    async fn new() -> Result<Self> {
        let (stage, dir) = (stage().await?, tempfile::tempdir()?);
        Ok(Self { dir, good: stage.config.clone(), tenant: stage.realm.name().to_owned(), _stage: stage })
    }

    fn file(&self, name: &str, text: &str) -> Result<PathBuf> {
        let file = self.dir.path().join(name);
        std::fs::write(&file, text)?;
        Ok(file)
    }

    fn gone(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// The good configuration with one key set.
    fn with(&self, key: &str, value: impl Into<Value>) -> Table {
        let mut config = self.good.clone();
        put(&mut config, key, value.into());
        config
    }

    /// Asserts that both commands refuse the text, name all of `names` and do not show the mark.
    async fn assert_refused(&self, text: &str, names: &[&str]) -> Result<()> {
        let file = self.file("tokenvault.toml", text)?;
        for command in ["serve", "check-config"] {
            let (status, told) = self.run(command, &file, &[]).await?;
            assert_told(command, (status, &told), names);
        }
        Ok(())
    }

    async fn run(&self, command: &str, file: &Path, variables: &[(&str, &str)]) -> Result<(Option<i32>, String)> {
        let mut line = Command::new(binary()?);
        line.arg(command).arg("--config").arg(file).envs(variables.iter().copied());
        let logs = tempfile::tempdir()?;
        let mut process = Process::spawn(command, line, logs.path())?;
        let status = process.wait_for_exit(SOON).await?;
        Ok((status.code(), process.log()))
    }
}

#[track_caller]
fn assert_told(command: &str, (status, told): (Option<i32>, &str), names: &[&str]) {
    assert_eq!(status, Some(1), "{command}: {told}");
    for name in names {
        assert!(told.contains(name), "{command} does not name {name}: {told}");
    }
    assert!(!told.contains(MARK), "{command} shows what was written there: {told}");
    assert!(!told.contains("panicked"), "{told}");
}

fn put(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => drop(table.insert(key.to_owned(), value)),
        Some((head, rest)) => {
            let inner = table.entry(head).or_insert_with(|| Table::new().into());
            if let Some(inner) = inner.as_table_mut() {
                put(inner, rest, value);
            }
        }
    }
}

#[tokio::test]
async fn the_good_configuration_is_accepted() -> Result<()> {
    let bench = Bench::new().await?;
    let file = bench.file("tokenvault.toml", &toml::to_string(&bench.good)?)?;
    let (status, told) = bench.run("check-config", &file, &[]).await?;
    assert_eq!(status, Some(0), "{told}");
    Ok(())
}

#[tokio::test]
async fn a_key_that_is_unknown_or_of_another_form_is_named() -> Result<()> {
    let bench = Bench::new().await?;
    let tenant = |key: &str| format!("tenants.{}.{key}", bench.tenant);
    for (key, value, names) in [
        ("server.listn", Value::from(MARK), vec!["server.listn", "listen"]),
        ("servr.listen", Value::from(MARK), vec!["servr", "server"]),
        ("server.listen", Value::from(MARK), vec!["server.listen"]),
        ("server.tls12", Value::from(MARK), vec!["server.tls12"]),
        ("server.max_body", Value::from(1), vec!["server.max_body"]),
        ("server.body_timeout", Value::from(MARK), vec!["server.body_timeout"]),
        ("renewal.lease", Value::from(-1), vec!["renewal.lease"]),
        ("renewal.fraction", Value::from(2.0), vec!["renewal.fraction"]),
        ("telemetry.log_format", Value::from(MARK), vec!["telemetry.log_format"]),
        ("telemetry.log_level", Value::from(format!("{MARK}={MARK}")), vec!["telemetry.log_level"]),
        (&tenant("acepted_clients"), Value::from(MARK), vec!["acepted_clients", "accepted_clients"]),
        (&tenant("on_logout"), Value::from(MARK), vec!["on_logout"]),
        (&tenant("accepted_clients"), Value::from(vec![format!("{MARK} x")]), vec!["accepted_clients"]),
        (&tenant("provider"), Value::from("okapi"), vec!["provider"]),
        (&tenant("issuer"), Value::from(format!("https://user:{MARK}@kc/realms/x")), vec!["issuer"]),
        (&tenant("base_url"), Value::from(format!("https://kc/realms/x?{MARK}")), vec!["base_url"]),
    ] {
        bench.assert_refused(&toml::to_string(&bench.with(key, value))?, &names).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_secret_in_the_configuration_is_refused_with_the_way_out() -> Result<()> {
    let bench = Bench::new().await?;
    let tenant = |key: &str| format!("tenants.{}.{key}", bench.tenant);
    for (key, value, names) in [
        ("redis.url", format!("redis://:{MARK}@127.0.0.1:6379"), ["redis.url", "password_file"]),
        ("redis.url", format!("redis://user:{MARK}@127.0.0.1:6379/0"), ["redis.url", "password_file"]),
        ("redis.url", format!("redis://127.0.0.1:6379?password={MARK}"), ["redis.url", "password_file"]),
        ("redis.password", MARK.to_owned(), ["redis.password", "password_file"]),
        ("keycloak.client_secret", MARK.to_owned(), ["keycloak.client_secret", "client_secret_file"]),
        (&tenant("client_secret"), MARK.to_owned(), ["client_secret", "client_secret_file"]),
        (&tenant("private_key_jwt"), MARK.to_owned(), ["private_key_jwt", "private_key_jwt_file"]),
        ("keyring.keys", MARK.to_owned(), ["keyring.keys", "file"]),
    ] {
        bench.assert_refused(&toml::to_string(&bench.with(key, value))?, &names).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_secret_in_a_variable_is_refused_and_the_variable_named() -> Result<()> {
    let bench = Bench::new().await?;
    let file = bench.file("tokenvault.toml", &toml::to_string(&bench.good)?)?;
    for (variable, value) in [
        ("TOKENVAULT_REDIS__PASSWORD", MARK.to_owned()),
        ("TOKENVAULT_REDIS__URL", format!("redis://:{MARK}@127.0.0.1:6379")),
        ("TOKENVAULT_KEYCLOAK__CLIENT_SECRET", MARK.to_owned()),
        ("TOKENVAULT_SERVER__LISTEN", MARK.to_owned()),
    ] {
        for command in ["serve", "check-config"] {
            let (status, told) = bench.run(command, &file, &[(variable, &value)]).await?;
            assert_told(command, (status, &told), &[variable]);
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_file_that_is_missing_or_empty_is_named() -> Result<()> {
    let bench = Bench::new().await?;
    let gone = bench.gone("gone.pem");
    let secret = format!("tenants.{}.client_secret_file", bench.tenant);
    for key in [
        "keyring.file",
        "policy.file",
        "redis.password_file",
        "server.cert_file",
        "server.key_file",
        "server.client_ca_file",
        "server.client_crl_file",
        &secret,
    ] {
        bench.assert_refused(&toml::to_string(&bench.with(key, gone.clone()))?, &[&gone]).await?;
    }
    let empty = bench.file("empty", "")?.display().to_string();
    for key in ["keyring.file", "policy.file", "redis.password_file", "server.cert_file", "server.key_file", &secret] {
        bench.assert_refused(&toml::to_string(&bench.with(key, empty.clone()))?, &[&empty]).await?;
    }
    let nowhere = Path::new(&gone);
    for command in ["serve", "check-config"] {
        let (status, told) = bench.run(command, nowhere, &[]).await?;
        assert_told(command, (status, &told), &[&gone]);
    }
    Ok(())
}

#[tokio::test]
async fn a_file_with_something_else_in_it_is_named_and_not_quoted() -> Result<()> {
    let bench = Bench::new().await?;
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(MARK));
    let encoded = STANDARD.encode(MARK);
    let odd = bench.file("odd", &format!("{MARK}\n{pem}\nkey = \"{MARK}"))?.display().to_string();
    for key in ["keyring.file", "policy.file", "server.cert_file", "server.key_file", "server.client_ca_file"] {
        let config = bench.with(key, odd.clone());
        bench.assert_refused(&toml::to_string(&config)?, &[&odd]).await?;
    }
    let mut config = bench.good.clone();
    let tenant = config["tenants"][&bench.tenant].as_table_mut().into_iter();
    tenant.for_each(|tenant| drop(tenant.remove("client_secret_file")));
    put(&mut config, &format!("tenants.{}.private_key_jwt_file", bench.tenant), odd.into());
    let text = toml::to_string(&config)?;
    bench.assert_refused(&text, &[&bench.tenant]).await?;
    let file = bench.file("tokenvault.toml", &text)?;
    let (_, told) = bench.run("serve", &file, &[]).await?;
    assert!(!told.contains(&encoded), "{told}");
    Ok(())
}

#[tokio::test]
async fn a_keyring_that_cannot_seal_is_told_without_its_keys() -> Result<()> {
    let bench = Bench::new().await?;
    let of_length = |length: usize| STANDARD.encode(&MARK.repeat(8).as_bytes()[..length]);
    for keyring in [
        format!("primary = \"k1\"\n[keys]\nk1 = \"{}\"\n", of_length(16)),
        format!("primary = \"k1\"\n[keys]\nk1 = \"{}\"\n", of_length(33)),
        format!("primary = \"k1\"\n[keys]\nk1 = \"{MARK} {MARK}\"\n"),
        format!("primary = \"k2\"\n[keys]\nk1 = \"{}\"\n", of_length(32)),
        format!("primary = \"k1\"\n[keys]\nk1 = \"{}\"\nk1 = \"{MARK}\"\n", of_length(32)),
        format!("primary = \"k1\"\nkey = \"{MARK}\"\n[keys]\nk1 = \"{}\"\n", of_length(32)),
        format!("primary = \"k1\"\n[keys]\nk1 = {MARK}\n"),
        "primary = \"k1\"\n[keys]\n".to_owned(),
    ] {
        let file = bench.file("keyring.toml", &keyring)?.display().to_string();
        let text = toml::to_string(&bench.with("keyring.file", file.clone()))?;
        bench.assert_refused(&text, &[&file]).await?;
        let written = bench.file("tokenvault.toml", &text)?;
        let (_, told) = bench.run("serve", &written, &[]).await?;
        for length in [16, 32, 33] {
            assert!(!told.contains(&of_length(length)), "a key is shown: {told}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_is_not_toml_is_told_by_its_line_and_not_quoted() -> Result<()> {
    let bench = Bench::new().await?;
    for text in [
        format!("[redis]\npassword = \"{MARK}"),
        format!("[redis]\n{MARK}"),
        format!("{MARK} = \n"),
        format!("[redis]\nurl = {MARK}\n"),
        format!("[redis]\nurl = \"a\"\nurl = \"{MARK}\"\n"),
    ] {
        bench.assert_refused(&text, &["tokenvault.toml", "line "]).await?;
    }
    bench.assert_refused("", &["server.cert_file", "redis.url", "keyring.file", "policy.file", "tenants"]).await
}
