//! Changes of files that must not be taken up: what was in force stays, a metric and an event tell, and both are over when
//! the file is right.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use reqwest::Method;
use tempfile::TempDir;
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::certs::{Certificate, Subject, TestCa, Validity};
use tokenvault_tests::harness::policy::Module;
use tokenvault_tests::harness::process::{SOON, wait_until};
use tokenvault_tests::harness::redis::Redis;
use tokenvault_tests::harness::vault::{Vault, tokenvault};
use toml::{Table, Value};

const MODULE: &str = "mod-data-import";
const TENANT: &str = "here";

/// A vault with everything that is read again, and nobody to renew with: whom it lets in shows what is in force.
pub(crate) struct Stage {
    pub(crate) vault: Vault,
    pub(crate) files: TempDir,
    operators: TestCa,
    _redis: Redis,
}

impl Stage {
    pub(crate) async fn set(modules: &[Module]) -> Result<Self> {
        let (redis, files, operators) = (Redis::start().await?, tempfile::tempdir()?, TestCa::new()?);
        fs::write(files.path().join("secret"), "secret")?;
        fs::write(files.path().join("tenants.toml"), "[tenants.guest]\n")?;
        let text = |path: &Path| path.display().to_string();
        let mut keycloak = Table::new();
        for (key, value) in [
            ("issuer", "http://127.0.0.1:9/realms/{tenant}".to_owned()),
            ("client_id", "vault".to_owned()),
            ("client_secret_file", text(&files.path().join("secret"))),
            ("tenants_file", text(&files.path().join("tenants.toml"))),
        ] {
            keycloak.insert(key.to_owned(), value.into());
        }
        keycloak.insert("accepted_clients".to_owned(), Value::Array(vec!["ui".into()]));
        let crl = operators.publish_crl(&[], Validity::Now)?;
        let mut builder = Vault::builder()?
            .redis(&redis)
            .set("keycloak", keycloak)
            .set(&format!("tenants.{TENANT}"), Table::new())
            .revocations()?
            .admin()?
            .idp()?
            .set("admin.client_ca_file", text(&operators.cert_file()))
            .set("admin.client_crl_file", text(&crl));
        for module in modules {
            builder = builder.module(module.clone());
        }
        Ok(Self { vault: builder.start().await?, files, operators, _redis: redis })
    }

    async fn module() -> Result<Self> {
        Self::set(&[Module::new(MODULE).tenants(&[TENANT])]).await
    }

    /// The file that a key of the configuration names.
    pub(crate) fn file(&mut self, section: &str, key: &str) -> Result<PathBuf> {
        let config = fs::read_to_string(self.vault.replica().config_file())?.parse::<Table>()?;
        Ok(config[section][key].as_str().unwrap_or_default().into())
    }

    pub(crate) fn operator(&mut self, role: &str) -> Result<tokenvault_tests::harness::client::Client> {
        let uri = tokenvault_tests::harness::policy::uri(&format!("operator-{role}"));
        let (certificate, url) = (self.operators.client_uri(&uri)?, self.vault.replica().admin_url());
        tokenvault_tests::harness::client::Client::new(&url, self.vault.ca(), Some(&certificate))
    }

    /// Whether everybody who may call gets in over a new connection, at each listener.
    async fn serves(&mut self) -> Result<()> {
        self.vault.client(MODULE)?.get("none").await?.expect_status(404)?;
        self.operator("operate")?.call(Method::GET, "/admin/v1/status", None).await?.expect_status(200)?;
        self.vault.idp_client(0)?.call(Method::GET, "/", None).await?.expect_status(404)?;
        Ok(())
    }

    async fn refuses(&mut self, file: &str) -> Result<bool> {
        let labels = format!("file=\"{file}\"");
        Ok(self.vault.replica().metric("tokenvault_reload_refused", &labels).await? > 0.5)
    }

    async fn until_refused(&mut self, file: &str, refused: bool) -> Result<()> {
        let begun = Instant::now();
        while self.refuses(file).await? != refused {
            assert!(
                begun.elapsed() < SOON,
                "{file}: refused is not {refused}\n{}",
                self.vault.replica().process().log()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// What operators are told of files.
    pub(crate) async fn events(&mut self) -> Result<String> {
        let client = self.operator("view")?;
        let url = format!("{}/admin/v1/events?recent=1000&follow=false", client.base_url());
        Ok(client.http().get(url).send().await?.error_for_status()?.text().await?)
    }

    fn check_config(&mut self) -> Result<(bool, String)> {
        let config = self.vault.replica().config_file().display().to_string();
        let said = tokenvault(&["check-config", "--config", &config])?;
        Ok((said.status.success(), String::from_utf8_lossy(&said.stdout).into_owned()))
    }
}

/// A wrong content of some files at once, what it is refused as, and a part of what is said.
struct Case {
    file: &'static str,
    wrong: Vec<(PathBuf, Vec<u8>)>,
    said: &'static str,
}

impl Case {
    fn text(file: &'static str, path: &Path, text: &str, said: &'static str) -> Self {
        Self { file, wrong: vec![(path.to_owned(), text.as_bytes().to_vec())], said }
    }

    fn certificate(
        file: &'static str,
        [cert, key]: &[PathBuf; 2],
        wrong: &Certificate,
        said: &'static str,
    ) -> Result<Self> {
        let wrong = vec![(cert.clone(), fs::read(&wrong.cert)?), (key.clone(), fs::read(&wrong.key)?)];
        Ok(Self { file, wrong, said })
    }
}

fn cases(stage: &mut Stage) -> Result<Vec<Case>> {
    let policy = stage.file("policy", "file")?;
    let named = fs::read_to_string(&policy)?.replace(&format!("\"{TENANT}\""), "\"heer\"");
    let operators = stage.file("admin", "policy_file")?;
    let (keyring, files) = (stage.file("keyring", "file")?, stage.files.path().to_owned());
    let mut cases = vec![
        Case::text("policy", &policy, "nonsense", "is not TOML"),
        Case::text("policy", &policy, "", "there is none"),
        Case::text("policy", &policy, &named, "names the tenant heer"),
        Case::text("admin_policy", &operators, "[[operator]]\nname = \"x\"", "is missing"),
        Case::text("keyring", &keyring, "nonsense", "is not a keyring"),
        Case::text("tenants", &files.join("tenants.toml"), "[tenants.guest]\nisuer = 'x'", "did you mean `issuer`?"),
        Case::text("secrets", &files.join("secret"), "", "is empty"),
    ];
    let (expired, early) = (TestCa::valid(Validity::Expired)?, TestCa::valid(Validity::NotYet)?);
    for section in ["server", "admin", "idp"] {
        let name = match section {
            "server" => "server_certificate",
            "admin" => "admin_certificate",
            _ => "idp_certificate",
        };
        let own = [stage.file(section, "cert_file")?, stage.file(section, "key_file")?];
        for (subject, said) in [
            (Subject::server().validity(Validity::Expired), "expired on"),
            (Subject::server().validity(Validity::NotYet), "is not valid before"),
            (Subject::client().dns("localhost"), "is not for servers"),
        ] {
            cases.push(Case::certificate(name, &own, &stage.vault.ca().issue(&subject)?, said)?);
        }
        // Its key is another's, and a chain ends with a stranger.
        let other = stage.vault.ca().server()?;
        cases.push(Case::text(name, &own[0], &fs::read_to_string(&other.cert)?, "is not the key of the first"));
        let broken = fs::read_to_string(&own[0])? + &fs::read_to_string(TestCa::new()?.cert_file())?;
        cases.push(Case::text(name, &own[0], &broken, "is its issuer's"));
    }
    for (section, ca, crl) in
        [("server", "server_client_ca", "server_client_crl"), ("admin", "admin_client_ca", "admin_client_crl")]
    {
        let authorities = stage.file(section, "client_ca_file")?;
        let lists = stage.file(section, "client_crl_file")?;
        cases.push(Case::text(ca, &authorities, "", "contains no certificate"));
        cases.push(Case::text(ca, &authorities, &fs::read_to_string(expired.cert_file())?, "expired on"));
        cases.push(Case::text(ca, &authorities, &fs::read_to_string(early.cert_file())?, "is not valid before"));
        cases.push(Case::text(crl, &lists, "", "contains no certificate revocation list"));
        let good = fs::read(&lists)?;
        let authority = if section == "server" { stage.vault.ca() } else { &stage.operators };
        let expired = fs::read_to_string(authority.publish_crl(&[], Validity::Expired)?)?;
        fs::write(&lists, good)?;
        cases.push(Case::text(crl, &lists, &expired, "expired on"));
    }
    Ok(cases)
}

#[tokio::test]
async fn what_check_config_refuses_is_never_taken_up_and_told_until_it_is_right() -> Result<()> {
    let mut stage = Stage::module().await?;
    let cases = cases(&mut stage)?;
    let (sound, words) = stage.check_config()?;
    assert!(sound, "{words}");
    for Case { file, wrong, said } in &cases {
        let before: Vec<Vec<u8>> = wrong.iter().map(|(path, _)| fs::read(path)).collect::<std::io::Result<_>>()?;
        for (path, text) in wrong {
            fs::write(path, text)?;
        }
        let (sound, words) = stage.check_config()?;
        assert!(!sound && words.contains(said), "{file}: {said}: {words}");
        stage.until_refused(file, true).await?;
        // It stays so, and everybody is served as before.
        stage.serves().await?;
        let failures = format!("file=\"{file}\"");
        assert!(stage.vault.replica().metric("tokenvault_reload_failures_total", &failures).await? > 0.0);
        for ((path, _), text) in wrong.iter().zip(before) {
            fs::write(path, text)?;
        }
        stage.until_refused(file, false).await?;
        stage.serves().await?;
    }
    // No other file was taken for refused, and each was told.
    assert!(stage.vault.replica().metric("tokenvault_reload_refused", "").await? < 0.5);
    let events = stage.events().await?;
    let log = stage.vault.replica().process().log();
    for Case { file, said, .. } in &cases {
        assert!(events.contains(&format!("{file}: ")), "{file}: {events}");
        assert!(log.lines().any(|line| line.contains("ERROR") && line.contains(said)), "{file}: {said}");
    }
    assert!(events.contains("reload_refused") && !events.contains("BEGIN"), "{events}");
    Ok(())
}

#[tokio::test]
async fn an_expired_certificate_replaces_no_good_one_and_holds_up_no_revocation() -> Result<()> {
    let mut stage = Stage::module().await?;
    let ca = stage.vault.ca();
    let (gone, expired) =
        (ca.client_uri("spiffe://test/gone")?, ca.issue(&Subject::server().validity(Validity::Expired))?);
    let own = [stage.file("server", "cert_file")?, stage.file("server", "key_file")?];
    fs::copy(&expired.key, &own[1])?;
    fs::copy(&expired.cert, &own[0])?;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        stage.vault.client(MODULE)?.get("none").await?.expect_status(404)?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // Whoever is revoked meanwhile is gone meanwhile.
    stage.vault.client_with(&gone, 0)?.get("none").await?.expect_status(403)?;
    stage.vault.ca().publish_crl(&[&gone], Validity::Now)?;
    let vault = &stage.vault;
    wait_until("the revocation", SOON, || async {
        let asked = async { vault.client_with(&gone, 0)?.get("none").await };
        asked.await.is_err()
    })
    .await?;
    stage.vault.client(MODULE)?.get("none").await?.expect_status(404)?;
    // A start has nothing better: it says so, and operators still get in.
    stage.vault.replica().terminate(SOON).await?;
    stage.vault.replica().respawn()?;
    wait_until("operators to get in", SOON, || {
        let client = stage.operator("view");
        async move {
            let Ok(client) = client else { return false };
            client.call(Method::GET, "/admin/v1/status", None).await.is_ok_and(|answer| answer.status.is_success())
        }
    })
    .await?;
    let log = stage.vault.replica().process().log();
    assert!(log.contains("the vault has started with it, for it has nothing better"), "{log}");
    assert!(!stage.vault.replica().is_ready().await);
    Ok(())
}
