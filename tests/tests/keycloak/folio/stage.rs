//! What the tests share, for as long as any of them runs: one vault with two of FOLIO's realms as its tenants, set up and
//! configured as docs/folio.md says. Tests are kept apart by their users and job ids.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokenvault_tests::harness::client::{Answer, Client};
use tokenvault_tests::harness::folio::{FolioRealm, IMPERSONATION_CLIENT};
use tokenvault_tests::harness::keycloak::keycloak;
use tokenvault_tests::harness::policy::Module;
use tokenvault_tests::harness::process::{SOON, poll};
use tokenvault_tests::harness::realm::{LabUser, Tokens, VAULT, claims};
use tokenvault_tests::harness::redis::Redis;
use tokenvault_tests::harness::setup_script::{FOLIO, said, setup};
use tokenvault_tests::harness::shared::SharedWhileUsed;
use tokenvault_tests::harness::vault::{Vault, VaultBuilder};
use tokenvault_tests::harness::{Failure, Result};
use toml::{Table, Value as Toml};

/// The module that registers jobs.
pub(crate) const REGISTRAR: &str = "mod-data-import";
/// A module that only reads.
pub(crate) const READER: &str = "mod-inventory";
/// How long the vault's own access tokens live. The UI's live 10 minutes, as FOLIO's do.
pub(crate) const LIFE: Duration = Duration::from_secs(3);
/// How many roles `diku_many` has.
const ROLES: usize = 400;
/// How many roles somebody has at most whose regular token Keycloak still exchanges: it takes 20 000 characters.
const ROLES_IN_A_TOKEN: usize = 200;
/// How often the script is run where Keycloak answers it with 500.
const TRIES: usize = 4;
/// How long a read waits for a renewal.
const WAIT: &str = "wait=20";

/// How a realm's UI tokens look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shape {
    Lightweight,
    Regular,
}

/// The realm whose tenant also accepts tokens of [`IMPERSONATION_CLIENT`].
pub(crate) const CONSORTIUM: Shape = Shape::Lightweight;

/// The stage.
pub(crate) struct Stage {
    pub(crate) vault: Vault,
    pub(crate) metrics_url: String,
    realms: BTreeMap<Shape, FolioRealm>,
    files: Files,
    _redis: Redis,
}

/// The stage that is up, or a new one.
pub(crate) async fn stage() -> Result<Arc<Stage>> {
    static UP: SharedWhileUsed<Stage> = SharedWhileUsed::new();
    UP.get(Stage::start).await
}

impl Stage {
    async fn start() -> Result<Self> {
        let light = FolioRealm::builder().many_roles(ROLES);
        let regular = FolioRealm::builder().many_roles(ROLES_IN_A_TOKEN).regular();
        let (light, regular) = tokio::try_join!(light.create(), regular.create())?;
        let mut realms = BTreeMap::from([(Shape::Lightweight, light), (Shape::Regular, regular)]);
        let files = Files::new()?;
        let names: Vec<String> = realms.values().map(|realm| realm.name().to_owned()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        files.set_up(&names, FOLIO).await?;
        // The first tenant has chosen to take a consortium's tokens as well.
        files.set_up(&names[..1], &["--ui-client", IMPERSONATION_CLIENT, "--user-id-claim", "user_id"]).await?;
        for (shape, realm) in &mut realms {
            shorten(realm).await?;
            realm.learn_secret(VAULT, &files.secret(realm.name())?);
            let accepted = if *shape == CONSORTIUM { &[IMPERSONATION_CLIENT][..] } else { &[] };
            files.add_tenant(realm, accepted)?;
        }
        let redis = Redis::start().await?;
        let mut vault = files.vault(&redis).await?.start().await?;
        let metrics_url = format!("{}/metrics", vault.replica().management_url());
        Ok(Self { vault, metrics_url, realms, files, _redis: redis })
    }

    pub(crate) fn realm(&self, shape: Shape) -> &FolioRealm {
        &self.realms[&shape]
    }

    pub(crate) fn files(&self) -> &Files {
        &self.files
    }

    /// A client of [`REGISTRAR`] for a realm's tenant.
    pub(crate) fn registrar(&self, shape: Shape) -> Result<Client> {
        self.vault.client(REGISTRAR)?.for_tenant(self.realm(shape).name())
    }

    /// A client of [`READER`] for a realm's tenant.
    pub(crate) fn reader(&self, shape: Shape) -> Result<Client> {
        self.vault.client(READER)?.for_tenant(self.realm(shape).name())
    }

    /// A user of the test's own.
    pub(crate) async fn user(&self, shape: Shape) -> Result<LabUser> {
        self.realm(shape).add_user(&unique("user")).await
    }

    /// Registers a job with a user's token, and more members.
    pub(crate) async fn register(&self, shape: Shape, job: &str, proof: &Tokens, more: Value) -> Result<Answer> {
        self.registrar(shape)?.put(job, &with(json!({ "access_token": proof.access_token }), more)).await
    }

    /// The jobs are done.
    pub(crate) async fn release(&self, shape: Shape, jobs: &[&str]) -> Result<()> {
        let client = self.registrar(shape)?;
        for job in jobs {
            client.delete(job).await?.expect_status(204)?;
        }
        Ok(())
    }

    /// A job that was registered with a user's token.
    pub(crate) async fn job(&self, shape: Shape, proof: &Tokens, more: Value) -> Result<String> {
        let job = unique("job");
        self.register(shape, &job, proof, more).await?.expect_status(201)?;
        Ok(job)
    }
}

/// The vault's tokens die young, so that their lifetimes pass quickly. Nothing else differs from FOLIO's times.
async fn shorten(realm: &FolioRealm) -> Result<()> {
    let life = LIFE.as_secs().to_string();
    realm.admin().set_client_attribute(realm.name(), VAULT, "access.token.lifespan", &life).await
}

/// The vault's files, as the documents say they are to be written.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new() -> Result<Self> {
        let files = Self(tempfile::Builder::new().prefix("tokenvault-test-folio-").tempdir()?);
        fs::write(files.tenants_file(), "")?;
        Ok(files)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn tenants_file(&self) -> PathBuf {
        self.path("tenants.toml")
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// `deploy/keycloak/setup.sh`, as an operator runs it.
    pub(crate) async fn set_up(&self, realms: &[&str], more: &[&str]) -> Result<()> {
        let secret = self.text("secrets/{realm}/client-secret");
        let mut arguments = vec!["--impersonate", "--secret-file", secret.as_str()];
        arguments.extend(realms.iter().flat_map(|realm| ["--realm", realm]));
        let mut run = setup(keycloak().await?, &arguments, more)?;
        for _ in 1..TRIES {
            // Keycloak stumbles over its own caches at times, when many realms are changed at once: run it again at will.
            if run.status.success() || !said(&run).contains(": 500 ") {
                break;
            }
            run = setup(keycloak().await?, &arguments, more)?;
        }
        if run.status.success() { Ok(()) } else { Err(Failure::new(said(&run))) }
    }

    /// The secret that the script wrote down.
    pub(crate) fn secret(&self, realm: &str) -> Result<String> {
        Ok(fs::read_to_string(self.path(&format!("secrets/{realm}/client-secret")))?.trim_end().to_owned())
    }

    /// Adds a tenant to the file of tenants. `accepted` are clients beside the one that users log in with.
    pub(crate) fn add_tenant(&self, realm: &FolioRealm, accepted: &[&str]) -> Result<()> {
        let mut tenants: Table = toml::from_str(&fs::read_to_string(self.tenants_file())?)?;
        let mut tenant = Table::new();
        let names = [realm.login_client()].into_iter().chain(accepted.iter().copied());
        tenant.insert("accepted_clients".to_owned(), Toml::Array(names.map(Toml::from).collect()));
        let secret = self.text(&format!("secrets/{}/login-client", realm.name()));
        fs::write(&secret, realm.secret(realm.login_client()))?;
        let adopted = Table::from_iter([(realm.login_client().to_owned(), Toml::from(secret))]);
        tenant.insert("adopt_clients".to_owned(), adopted.into());
        let all = tenants.entry("tenants").or_insert_with(|| Table::new().into());
        if let Some(all) = all.as_table_mut() {
            all.insert(realm.name().to_owned(), tenant.into());
        }
        self.replace_tenants(&toml::to_string(&tenants)?)
    }

    /// Takes a tenant out of the file of tenants.
    pub(crate) fn remove_tenant(&self, name: &str) -> Result<()> {
        let mut tenants: Table = toml::from_str(&fs::read_to_string(self.tenants_file())?)?;
        if let Some(all) = tenants.get_mut("tenants").and_then(Toml::as_table_mut) {
            all.remove(name);
        }
        self.replace_tenants(&toml::to_string(&tenants)?)
    }

    fn replace_tenants(&self, text: &str) -> Result<()> {
        let staged = self.path("tenants.new");
        fs::write(&staged, text)?;
        fs::rename(&staged, self.tenants_file())?;
        Ok(())
    }

    /// A vault with docs/folio.md's configuration.
    pub(crate) async fn vault(&self, redis: &Redis) -> Result<VaultBuilder> {
        Ok(Vault::builder()?
            .redis(redis)
            .set("keycloak.issuer", format!("{}/realms/{{tenant}}", keycloak().await?.base_url()))
            .set("keycloak.client_id", VAULT)
            .set("keycloak.client_secret_file", self.text("secrets/{tenant}/client-secret"))
            .set("keycloak.user_id_claim", "user_id")
            .set("keycloak.accepted_clients", vec!["{tenant}-login-application"])
            .set("keycloak.tenants_file", self.text("tenants.toml"))
            .set("keycloak.on_logout", "continue")
            .set("server.default_min_ttl", 1)
            .module(Module::new(REGISTRAR).tenants(&["*"]).register(&["exchange", "impersonate", "adopt"]))
            .module(Module::new(READER).tenants(&["*"]).register(&[]).actions(&["read"])))
    }
}

/// A name nobody else has.
pub(crate) fn unique(what: &str) -> String {
    format!("{what}-{}", &tokenvault_tests::harness::realm::unique_name()[4..])
}

/// The members of both.
pub(crate) fn with(mut body: Value, more: Value) -> Value {
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    body
}

/// The claims of the live token that a module is given for a job.
pub(crate) async fn live_claims(client: &Client, job: &str) -> Result<Value> {
    let answer = client.get_with(job, WAIT).await?.expect_status(200)?;
    Ok(claims(answer.access_token()))
}

/// The live token of a job, which Keycloak decides about as it does about its user's own: FOLIO's administrators may read
/// items and not delete them. A token that died on its way, as they do on a machine that has much to do, is asked for again.
pub(crate) async fn working_token(realm: &FolioRealm, client: &Client, job: &str) -> Result<String> {
    poll("a token that works", SOON, || async {
        let read = client.get_with(job, WAIT).await.ok().filter(|answer| answer.status.is_success())?;
        let token = read.access_token();
        let may = |method: &'static str| realm.decide(token, method, "/inventory/items");
        let decided = (may("GET").await.ok()?, may("DELETE").await.ok()?);
        (decided == (200, 403) && realm.is_active(token).await.ok()?).then(|| token.to_owned())
    })
    .await
}

/// Waits until a job has had at least this many pairs.
pub(crate) async fn generation(client: &Client, job: &str, at_least: u64) -> Result<Answer> {
    poll(&format!("generation {at_least}"), LIFE * 30, || async {
        let answer = client.get_with(job, WAIT).await.ok().filter(|answer| answer.status.is_success())?;
        (answer.body["generation"].as_u64() >= Some(at_least)).then_some(answer)
    })
    .await
}

/// Waits until a job is no longer served, and returns what its reader hears then.
pub(crate) async fn ended(client: &Client, job: &str) -> Result<Answer> {
    poll("the job's end", SOON, || async { client.get(job).await.ok().filter(|answer| answer.status.as_u16() == 410) })
        .await
}

/// Each of these with each shape.
pub(crate) fn with_both<T: Copy, const N: usize>(these: [T; N]) -> Vec<(Shape, T)> {
    let shapes = [Shape::Lightweight, Shape::Regular].into_iter();
    shapes.flat_map(|shape| these.into_iter().map(move |this| (shape, this))).collect()
}
