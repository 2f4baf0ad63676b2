//! A vault's own services in this process, before the stand-in for Keycloak and behind a proxy, with one clock that all of
//! them share and the test moves.
#![expect(clippy::panic, reason = "a test's helpers fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use keycloak_double::{Clock as _, Double, DoubleConfig, RealmConfig, ShiftedClock, SigningKey, SystemClock};
use serde_json::Value;
use tokenvault_core::ids::{ClientId, JobId, JobKey, ModuleName, ReplicaId, TenantId};
use tokenvault_core::memory::MemoryStore;
use tokenvault_core::policy::Settings;
use tokenvault_core::ports::{Client, Clock, Fleet, JobStore, NEWEST_SCHEMA, TokenStore};
use tokenvault_core::record::{Acquisition, EndReason, OnLogout, Record};
use tokenvault_core::seal::Keyring;
use tokenvault_core::secret::{AccessToken, ClientSecret, RefreshToken};
use tokenvault_core::time::Timestamp;
use tokenvault_keycloak::{Credentials, HttpSettings, KeycloakProvider, ReqwestClient, TenantConfig, TrustAnchors};
use tokenvault_server::entropy::OsEntropy;
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::proxy::Proxy;
use tokenvault_vault::jobs::{self, Caller, LiveToken, ReadAnswer, ReadRequest, Registration, Vault};
use tokenvault_vault::keyring::KeyringState;
use tokenvault_vault::observer::Observer;
use tokenvault_vault::problem::Problem;
use tokenvault_vault::reconciler::{Reconciler, ReconcilerOptions};
use tokenvault_vault::services::Services;
use tokenvault_vault::tenants::{TenantRules, Tenants};
use tokenvault_vault::wake::Wake;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

const REALM: &str = "diku";
const UI: &str = "login-app";
const VAULT: &str = "tokenvault";
/// Real time that a whole sweep may take.
const PATIENCE: Duration = Duration::from_mins(3);

/// An access token's life.
pub(crate) const LIFE: Duration = Duration::from_mins(10);

struct Time(ShiftedClock);

impl Clock for Time {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.now_ms())
    }
}

/// Counts what the vault tells its metrics.
#[derive(Default)]
pub(crate) struct Heard {
    counts: Mutex<BTreeMap<String, usize>>,
}

impl Heard {
    fn note(&self, what: String) {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner).entry(what).or_default() += 1;
    }

    /// How often `step:outcome`, `ended:reason` or `ambiguous` was told.
    pub(crate) fn count(&self, what: &str) -> usize {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).get(what).copied().unwrap_or_default()
    }
}

impl Observer for Heard {
    fn renewal_step(&self, step: &'static str, outcome: &'static str, _: Duration) {
        self.note(format!("{step}:{outcome}"));
    }

    fn ended(&self, reason: EndReason) {
        self.note(format!("ended:{}", reason.code()));
    }

    fn ambiguous_spend(&self) {
        self.note("ambiguous".to_owned());
    }
}

pub(crate) struct Stage {
    pub(crate) keycloak: Double,
    pub(crate) proxy: Proxy,
    pub(crate) heard: Arc<Heard>,
    vault: Vault,
    store: Arc<MemoryStore>,
    clock: ShiftedClock,
    http: reqwest::Client,
    stop: CancellationToken,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A pair as the stand-in answered it.
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl Stage {
    /// A stage; its vault may exchange its own access tokens only where `exchanging`, and renews so many jobs at a time.
    pub(crate) async fn set(exchanging: bool, concurrency: usize) -> Result<Self> {
        let clock = ShiftedClock::new(SystemClock);
        let realm = RealmConfig::lab(REALM)
            .with_settings(|settings| settings.access_token_lifespan = LIFE.as_secs())
            .signing_key(SigningKey::ed25519([7; 32])?); // thousands of signatures, cheap ones
        let keycloak = Double::start(DoubleConfig::new().realm(realm).clock(clock.clone())).await?;
        let proxy = Proxy::to(keycloak.base_url().trim_start_matches("http://")).await?;
        let time: Arc<dyn Clock> = Arc::new(Time(clock.clone()));
        let (store, heard) = (Arc::new(MemoryStore::new(Arc::clone(&time))), Arc::new(Heard::default()));
        let services = Services {
            store: Arc::clone(&store) as Arc<dyn TokenStore>,
            fleet: Arc::clone(&store) as Arc<dyn Fleet>,
            idp: Arc::new(provider(&keycloak, &proxy, &time)?),
            keyring: Arc::new(KeyringState::fixed(Keyring::new(
                "k1",
                [("k1".to_owned(), Zeroizing::new(vec![7; 32]))],
            )?)),
            replica: Arc::default(),
            clock: time,
            entropy: Arc::new(OsEntropy),
            tenants: Arc::new(Tenants::new([rules(exchanging)?])),
            wake: Arc::new(Wake::default()),
            observer: Arc::clone(&heard) as Arc<dyn Observer>,
            journal: Arc::new(tokenvault_vault::journal::Unwritten),
        };
        let stop = CancellationToken::new();
        let options = jobs::Options { default_min_ttl: Duration::from_secs(10) };
        services.replica.schema.hear(NEWEST_SCHEMA);
        let vault = Vault::new(services.clone(), options, stop.clone());
        tokio::spawn(Reconciler::new(services, reconciler_options(concurrency)?).run(stop.clone()));
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build()?;
        Ok(Self { keycloak, proxy, heard, vault, store, clock, http, stop })
    }

    /// Time passes for everybody.
    pub(crate) fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    /// Alice logs in at the user interface.
    pub(crate) async fn login(&self) -> Result<Tokens> {
        let form =
            [("grant_type", "password"), ("username", "alice"), ("password", "alice-password"), ("scope", "openid")];
        self.token(self.keycloak.base_url(), UI, &form).await
    }

    /// How long the answer is in which a client gets a pair, asked for through the proxy: to an exchange, or to a refresh.
    pub(crate) async fn answer_length(&self, client: &str, refresh: bool) -> Result<usize> {
        let proxy = self.proxy.url("http");
        let mut pair = self.login().await?;
        if client == VAULT {
            let form = [
                ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
                ("subject_token", &pair.access),
                ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
                ("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token"),
            ];
            pair = self.token(&proxy, VAULT, &form).await?;
        }
        if refresh {
            self.token(&proxy, client, &[("grant_type", "refresh_token"), ("refresh_token", &pair.refresh)]).await?;
        }
        Ok(self.proxy.last_answer())
    }

    async fn token(&self, base_url: &str, client: &str, form: &[(&str, &str)]) -> Result<Tokens> {
        let secret = format!("{client}-secret");
        let mut whole = vec![("client_id", client), ("client_secret", &secret)];
        whole.extend_from_slice(form);
        let url = format!("{base_url}/realms/{REALM}/protocol/openid-connect/token");
        let answer: Value = self.http.post(url).form(&whole).send().await?.error_for_status()?.json().await?;
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        Ok(Tokens { access: text("access_token"), refresh: text("refresh_token") })
    }

    /// A module registers a job.
    pub(crate) async fn register(&self, name: &str, tokens: &Tokens, acquisition: Acquisition) {
        let adopted = (acquisition == Acquisition::Adopt).then(|| RefreshToken::new(tokens.refresh.clone()));
        let registration = Registration {
            access_token: Some(AccessToken::new(tokens.access.clone())),
            user_id: None,
            refresh_token: adopted,
            acquisition: Some(acquisition),
            parent_job_id: None,
            readers: None,
            on_logout: None,
            expires_at: None,
        };
        let registered = self.vault.register(&caller(), job(name), registration).await;
        assert!(registered.is_ok(), "{name}: {registered:?}");
    }

    /// What a module is answered at once.
    pub(crate) async fn read(&self, name: &str) -> Result<LiveToken, Problem> {
        let request = ReadRequest { min_ttl: None, wait: Duration::ZERO, known: None };
        match self.vault.read(&caller(), &job(name), request).await? {
            ReadAnswer::Token(token) => Ok(token),
            ReadAnswer::NotModified(_) => panic!("nothing was said to be known"),
        }
    }

    /// A job's record.
    pub(crate) async fn record(&self, name: &str) -> Record {
        self.store.load(&JobKey::new(tenant(), job(name))).await.expect("the store").expect("a record").record
    }

    /// Waits in real time until the records of all these jobs are as they should be.
    pub(crate) async fn until_all(&self, jobs: &[String], what: impl Fn(&Record) -> bool) {
        let begun = std::time::Instant::now();
        for name in jobs {
            loop {
                let record = self.record(name).await;
                if what(&record) {
                    break;
                }
                assert!(begun.elapsed() < PATIENCE, "{name} did not become what it should: {record:?}");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}

fn provider(keycloak: &Double, proxy: &Proxy, time: &Arc<dyn Clock>) -> Result<KeycloakProvider> {
    let issuer = format!("{}/realms/{REALM}", keycloak.base_url());
    let secret = |client: &str| Credentials::Secret(ClientSecret::new(format!("{client}-secret")));
    let ui = ClientId::parse(UI)?;
    let mut config = TenantConfig::new(&issuer, Some(&proxy.url("http")), ClientId::parse(VAULT)?, secret(VAULT))?;
    "user_id".clone_into(&mut config.user_id_claim);
    config.accepted_clients = BTreeSet::from([ui.clone()]);
    config.adopt_clients = BTreeMap::from([(ui, secret(UI))]);
    let settings = HttpSettings {
        trust: TrustAnchors::Nobody,
        request_timeout: Duration::from_secs(30),
        ..HttpSettings::default()
    };
    let http = Arc::new(ReqwestClient::new(&settings)?);
    let directory = BTreeMap::from([(tenant(), Arc::new(config))]);
    Ok(KeycloakProvider::new(Arc::new(directory), http, Arc::clone(time), Arc::new(OsEntropy)))
}

fn rules(exchanging: bool) -> Result<TenantRules> {
    let (retry_min, retry_max) = (Duration::from_millis(10), Duration::from_millis(50));
    Ok(TenantRules {
        client: Client { tenant: tenant(), id: ClientId::parse(VAULT)? },
        user_id_claim: "user_id".to_owned(),
        acquisition: Acquisition::Exchange,
        on_logout: OnLogout::Continue,
        default_job_life: Duration::from_hours(20),
        max_job_life: Duration::from_hours(24),
        max_children: 2,
        max_jobs_per_user: 10_000,
        max_records_per_module: 100_000,
        acquisitions: Acquisition::ALL.into(),
        adopt_clients: [ClientId::parse(UI)?].into(),
        renewal: Settings {
            retry_min,
            retry_max,
            may_exchange: exchanging,
            // Thousands of jobs are spent and read before it is over; the clock that the test moves runs on meanwhile.
            quarantine: Duration::from_mins(2),
            // Keycloak does not err here, and thousands of jobs end.
            doubt: Duration::ZERO,
            ..Settings::default()
        },
    })
}

fn reconciler_options(concurrency: usize) -> Result<ReconcilerOptions> {
    Ok(ReconcilerOptions {
        replica: ReplicaId::parse("stage")?,
        lease: Duration::from_mins(1),
        poll_interval: Duration::from_millis(1),
        concurrency,
        spends_per_session: 8,
    })
}

fn tenant() -> TenantId {
    TenantId::parse(REALM).expect("a tenant")
}

fn job(name: &str) -> JobId {
    JobId::parse(name).expect("a job id")
}

fn caller() -> Caller {
    Caller {
        module: ModuleName::parse("mod-di").expect("a module"),
        tenant: tenant(),
        acquisitions: [Acquisition::Exchange, Acquisition::Impersonate, Acquisition::Adopt].into(),
        reads: true,
    }
}
