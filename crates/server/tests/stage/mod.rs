//! A vault on the stand-in for Keycloak and a store in memory, with one clock that all of them share and the test moves.
#![expect(clippy::panic, reason = "a test's helpers fail by panicking")]
#![expect(unreachable_pub, reason = "a test's module is public to that test alone")]

pub mod between;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use keycloak_double::{Double, DoubleClock as _, DoubleConfig, DoubleSystemClock, RealmConfig, ShiftedClock};
use serde_json::Value;
use tokenvault_core::ids::{ClientId, JobId, JobKey, ModuleName, ReplicaId, TenantId};
use tokenvault_core::memory::MemoryStore;
use tokenvault_core::policy::Settings;
use tokenvault_core::ports::{Client, Clock, Fleet, JobStore, NEWEST_SCHEMA, TokenStore};
use tokenvault_core::record::{Acquisition, OnLogout, Record};
use tokenvault_core::seal::Keyring;
use tokenvault_core::secret::{AccessToken, ClientSecret, RefreshToken};
use tokenvault_core::time::Timestamp;
use tokenvault_keycloak::{Credentials, HttpSettings, KeycloakProvider, ReqwestClient, TenantConfig, TrustAnchors};
use tokenvault_server::entropy::OsEntropy;
use tokenvault_vault::jobs::{self, Caller, LiveToken, ReadAnswer, ReadRequest, Registered, Registration, Vault};
use tokenvault_vault::keyring::KeyringState;
use tokenvault_vault::observer::Unobserved;
use tokenvault_vault::problem::Problem;
use tokenvault_vault::reconciler::{Reconciler, ReconcilerOptions};
use tokenvault_vault::services::Services;
use tokenvault_vault::tenants::{TenantRegistry, TenantRules, Tenants};
use tokenvault_vault::wake::Wake;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

pub const REALM: &str = "diku";
pub const LIFE: Duration = Duration::from_mins(1);
const OPTIONS: jobs::Options = jobs::Options { default_min_ttl: Duration::from_secs(10) };

struct Time(ShiftedClock);

impl Clock for Time {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.now_ms())
    }
}

pub struct Stage {
    pub keycloak: Double,
    pub vault: Arc<Vault>,
    pub store: Arc<MemoryStore>,
    pub clock: ShiftedClock,
    pub services: Services,
    pub tenants: Arc<Tenants>,
    http: reqwest::Client,
    stop: CancellationToken,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A pair of the user interface's.
pub struct Login {
    pub access: String,
    pub refresh: String,
}

pub fn job(name: &str) -> JobId {
    JobId::parse(name).expect("a job id")
}

pub fn caller(module: &str) -> Caller {
    Caller {
        module: ModuleName::parse(module).expect("a module"),
        tenant: tenant(),
        acquisitions: [Acquisition::Exchange, Acquisition::Impersonate, Acquisition::Adopt].into(),
        reads: true,
    }
}

fn tenant() -> TenantId {
    TenantId::parse(REALM).expect("a tenant")
}

pub fn request(login: &Login, acquisition: Acquisition) -> Registration {
    Registration {
        access_token: Some(AccessToken::new(login.access.clone())),
        user_id: None,
        refresh_token: (acquisition == Acquisition::Adopt).then(|| RefreshToken::new(login.refresh.clone())),
        acquisition: Some(acquisition),
        parent_job_id: None,
        readers: None,
        on_logout: None,
        expires_at: None,
    }
}

impl Stage {
    pub async fn set() -> Self {
        Self::with(|rules| rules, |realm| realm).await
    }

    pub async fn with(
        change: impl FnOnce(TenantRules) -> TenantRules,
        realm: impl FnOnce(RealmConfig) -> RealmConfig,
    ) -> Self {
        let clock = ShiftedClock::new(DoubleSystemClock);
        let realm = realm(RealmConfig::lab(REALM).with_settings(|s| s.access_token_lifespan = LIFE.as_secs()));
        let keycloak = Double::start(DoubleConfig::new().realm(realm).clock(clock.clone())).await.expect("the double");
        let time: Arc<dyn Clock> = Arc::new(Time(clock.clone()));
        let store = Arc::new(MemoryStore::new(Arc::clone(&time)));
        let key = ("k1".to_owned(), Zeroizing::new(vec![7; 32]));
        let tenants = Arc::new(Tenants::new([change(rules())]));
        let services = Services {
            store: Arc::clone(&store) as Arc<dyn TokenStore>,
            fleet: Arc::clone(&store) as Arc<dyn Fleet>,
            idp: Arc::new(provider(&keycloak, &time)),
            keyring: Arc::new(KeyringState::fixed(Keyring::new("k1", [key]).expect("a keyring"))),
            replica: Arc::default(),
            clock: time,
            entropy: Arc::new(OsEntropy),
            tenants: Arc::clone(&tenants) as Arc<dyn TenantRegistry>,
            wake: Arc::new(Wake::default()),
            observer: Arc::new(Unobserved),
            journal: Arc::new(tokenvault_vault::journal::Unwritten),
        };
        services.replica.schema.hear(NEWEST_SCHEMA);
        let stop = CancellationToken::new();
        let vault = Arc::new(Vault::new(services.clone(), OPTIONS, stop.clone()));
        tokio::spawn(Reconciler::new(services.clone(), reconciler_options()).run(stop.clone()));
        Self { keycloak, vault, store, clock, services, tenants, http: http(), stop }
    }

    /// Another vault, of services of which some differ.
    pub fn vault_with(&self, change: impl FnOnce(&mut Services)) -> Vault {
        let mut services = self.services.clone();
        change(&mut services);
        Vault::new(services, OPTIONS, self.stop.clone())
    }

    pub fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    pub async fn post(&self, path: &str, form: &[(&str, &str)]) -> (u16, Value) {
        self.post_as("login-app", path, form).await
    }

    async fn post_as(&self, client: &str, path: &str, form: &[(&str, &str)]) -> (u16, Value) {
        let url = format!("{}/realms/{REALM}/protocol/openid-connect/{path}", self.keycloak.base_url());
        let secret = format!("{client}-secret");
        let proof = [("client_id", client), ("client_secret", &secret)];
        let form: Vec<_> = proof.iter().chain(form).collect();
        let answer = self.http.post(url).form(&form).send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
    }

    pub async fn login(&self) -> Login {
        self.login_as("alice").await
    }

    pub async fn login_as(&self, user: &str) -> Login {
        self.login_at("login-app", user).await
    }

    pub async fn login_at(&self, client: &str, user: &str) -> Login {
        self.login_with(client, user, &format!("{user}-password")).await
    }

    pub async fn login_with(&self, client: &str, user: &str, password: &str) -> Login {
        let form = [("grant_type", "password"), ("username", user), ("password", password), ("scope", "openid")];
        pair(self.post_as(client, "token", &form).await)
    }

    /// A pair of the user interface's in the session of somebody else's token.
    pub async fn exchanged(&self, subject: &Login) -> Login {
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", &subject.access),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token"),
        ];
        pair(self.post("token", &form).await)
    }

    /// Whether the user interface's session still lives.
    pub async fn ui_lives(&self, login: &mut Login) -> bool {
        let (status, body) =
            self.post("token", &[("grant_type", "refresh_token"), ("refresh_token", &login.refresh)]).await;
        if let Some(next) = body["refresh_token"].as_str() {
            next.clone_into(&mut login.refresh);
            body["access_token"].as_str().expect("a token").clone_into(&mut login.access);
        }
        status == 200
    }

    pub async fn logout(&self, login: &Login) {
        let (status, _) = self.post("logout", &[("refresh_token", &login.refresh)]).await;
        assert_eq!(status, 204);
    }

    pub async fn register(&self, name: &str, request: Registration) -> Result<Registered, Problem> {
        self.vault.register(&caller("mod-di"), job(name), request).await
    }

    pub async fn read(&self, name: &str, wait: Duration) -> Result<LiveToken, Problem> {
        match self.vault.read(&caller("mod-di"), &job(name), ReadRequest { min_ttl: None, wait, known: None }).await? {
            ReadAnswer::Token(token) => Ok(token),
            ReadAnswer::NotModified(_) => panic!("nothing was said to be known"),
        }
    }

    pub async fn record(&self, name: &str) -> Record {
        self.store.load(&JobKey::new(tenant(), job(name))).await.expect("the store").expect("a record").record
    }

    /// Waits (a few real seconds at most) until the record is as it should be.
    pub async fn until(&self, name: &str, what: impl Fn(&Record) -> bool) -> Record {
        for _ in 0..400 {
            let record = self.record(name).await;
            if what(&record) {
                return record;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the record did not become what it should: {:?}", self.record(name).await)
    }
}

fn pair((status, body): (u16, Value)) -> Login {
    assert_eq!(status, 200, "{body}");
    let text = |name: &str| body[name].as_str().expect("a token").to_owned();
    Login { access: text("access_token"), refresh: text("refresh_token") }
}

fn http() -> reqwest::Client {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    reqwest::Client::builder().no_proxy().build().expect("a client")
}

/// The user interface's client of a plain realm, and of one as FOLIO makes it.
fn uis() -> [ClientId; 2] {
    ["login-app", &RealmConfig::folio_login_client(REALM)].map(|id| ClientId::parse(id).expect("a client"))
}

fn provider(keycloak: &Double, time: &Arc<dyn Clock>) -> KeycloakProvider {
    let issuer = format!("{}/realms/{REALM}", keycloak.base_url());
    let secret = |text: &str| Credentials::Secret(ClientSecret::new(text));
    let vault = ClientId::parse("tokenvault").expect("a client");
    let uis = uis();
    let mut config = TenantConfig::new(&issuer, None, vault, secret("tokenvault-secret")).expect("an issuer");
    "user_id".clone_into(&mut config.user_id_claim);
    config.adopt_clients = uis.iter().map(|ui| (ui.clone(), secret(&format!("{ui}-secret")))).collect();
    config.accepted_clients = BTreeSet::from(uis);
    let settings = HttpSettings {
        trust: TrustAnchors::Nobody,
        request_timeout: Duration::from_secs(30),
        ..HttpSettings::default()
    };
    let http = Arc::new(ReqwestClient::new(&settings).expect("a client"));
    let directory = BTreeMap::from([(tenant(), Arc::new(config))]);
    KeycloakProvider::new(Arc::new(directory), http, Arc::clone(time), Arc::new(OsEntropy))
}

fn rules() -> TenantRules {
    TenantRules {
        client: Client { tenant: tenant(), id: ClientId::parse("tokenvault").expect("a client") },
        user_id_claim: "user_id".to_owned(),
        acquisition: Acquisition::Exchange,
        on_logout: OnLogout::Continue,
        default_job_life: Duration::from_hours(20),
        max_job_life: Duration::from_hours(24),
        max_children: 2,
        max_jobs_per_user: 1_000,
        max_records_per_module: 100_000,
        acquisitions: Acquisition::ALL.into(),
        adopt_clients: uis().into(),
        renewal: Settings {
            retry_max: Duration::from_secs(1),
            doubt: Duration::from_millis(50),
            doubt_pause: Duration::from_millis(10),
            ..Settings::default()
        },
    }
}

fn reconciler_options() -> ReconcilerOptions {
    ReconcilerOptions {
        replica: ReplicaId::parse("stage").expect("a replica"),
        lease: Duration::from_secs(15),
        poll_interval: Duration::from_millis(10),
        concurrency: 16,
        spends_per_session: 8,
    }
}

impl Stage {
    /// Now, on the shared clock.
    pub fn now(&self) -> Timestamp {
        Time(self.clock.clone()).now()
    }
}
