//! One replica: the product's own reconciler and use cases, on ports that end in the world.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokenvault_core::ids::{ClientId, ReplicaId, TenantId};
use tokenvault_core::memory::MemoryStore;
use tokenvault_core::policy::Settings;
use tokenvault_core::ports::testing::SeededEntropy;
use tokenvault_core::ports::{Client, Clock, NEWEST_SCHEMA};
use tokenvault_core::record::{Acquisition, OnLogout};
use tokenvault_core::seal::Keyring;
use tokenvault_core::secret::ClientSecret;
use tokenvault_keycloak::{Credentials, KeycloakProvider, TenantConfig};
use tokenvault_server::clock::SyncedClock;
use tokenvault_vault::jobs::{self, Vault};
use tokenvault_vault::keyring::KeyringState;
use tokenvault_vault::observer::Unobserved;
use tokenvault_vault::reconciler::{Reconciler, ReconcilerOptions};
use tokenvault_vault::replica::ReplicaState;
use tokenvault_vault::services::Services;
use tokenvault_vault::tenants::{TenantRules, Tenants};
use tokenvault_vault::wake::Wake;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::people::{REALM, UI};
use super::process::{Machine, MachineTime, Process};
use super::realm::BASE_URL;
use super::store::FaultyStore;
use super::wire::Wire;
use super::world::World;
use crate::naive;

/// How often a replica looks at the store's clock, as the product does.
const FOLLOW_EVERY: Duration = Duration::from_secs(2);
/// How long the answer to a refresh is waited for: two thirds of the quarantine, as in the product.
const REFRESH_PATIENCE: Duration = Duration::from_secs(20);

/// What all replicas of a simulation have in common.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, not the stages of one state")]
pub struct Setup {
    /// Whether the naive renewer is run instead of the reconciler.
    pub naive: bool,
    /// Whether the store shows nobody who is joining.
    pub hides_joining: bool,
    /// Whether the first no is the last.
    pub credulous: bool,
    /// Whether the tenant may exchange the vault's own access tokens.
    pub may_exchange: bool,
    /// How often the due index is looked at.
    pub poll: Duration,
}

/// A running replica.
pub struct Replica {
    /// Its process.
    pub process: Arc<Process>,
    /// Its use cases.
    pub vault: Arc<Vault>,
}

impl Replica {
    /// Starts a replica's next process, with nothing in its memory.
    pub fn start(world: &Arc<World>, number: usize, machine: &Arc<Machine>, setup: &Setup) -> Self {
        let process = {
            let mut processes = world.processes.lock();
            let process = Arc::new(Process::start(processes.len(), number, machine, world.time));
            processes.push(Arc::clone(&process));
            process
        };
        world.note(Some(&process), "process", "started", number as u64);
        let clock = Arc::new(SyncedClock::of(MachineTime(Arc::clone(&process))));
        let services = services(world, &process, &clock, setup);
        let stop = CancellationToken::new();
        let options = jobs::Options { default_min_ttl: Duration::from_secs(10) };
        let vault = Arc::new(Vault::new(services.clone(), options, stop.clone()));
        let options = ReconcilerOptions {
            replica: ReplicaId::parse(format!("replica-{number}")).expect("a replica's name"),
            lease: Duration::from_secs(30),
            poll_interval: setup.poll,
            concurrency: 16,
            spends_per_session: 8,
        };
        tokio::spawn(work(Arc::clone(&process), clock, services, options, stop, setup.naive));
        Self { process, vault }
    }
}

/// As the product's own start does it: the store's clock is heard once before anything else, and followed from then on.
async fn work(
    process: Arc<Process>,
    clock: Arc<SyncedClock<MachineTime>>,
    services: Services,
    options: ReconcilerOptions,
    stop: CancellationToken,
    naive: bool,
) {
    clock.sync(&*services.store).await;
    process.set_ready();
    let store = Arc::clone(&services.store);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(FOLLOW_EVERY).await;
            clock.sync(&*store).await;
        }
    });
    if naive {
        naive::run(services, options, stop).await;
    } else {
        Reconciler::new(services, options).run(stop).await;
    }
}

fn services(
    world: &Arc<World>,
    process: &Arc<Process>,
    clock: &Arc<SyncedClock<MachineTime>>,
    setup: &Setup,
) -> Services {
    let clock = Arc::clone(clock) as Arc<dyn Clock>;
    let entropy = Arc::new(SeededEntropy::new(world.state.lock().dice.bits()));
    let http = Arc::new(Wire { world: Arc::clone(world), process: Arc::clone(process) });
    let directory = BTreeMap::from([(tenant(), Arc::new(realm()))]);
    let provider = KeycloakProvider::new(Arc::new(directory), http, Arc::clone(&clock), entropy.clone());
    let key = ("k1".to_owned(), Zeroizing::new(vec![7; 32]));
    let replica = Arc::new(ReplicaState::default());
    replica.schema.hear(NEWEST_SCHEMA);
    Services {
        store: Arc::new(FaultyStore {
            world: Arc::clone(world),
            process: Arc::clone(process),
            hides_joining: setup.hides_joining,
        }),
        idp: Arc::new(provider),
        keyring: Arc::new(KeyringState::fixed(Keyring::new("k1", [key]).expect("a keyring"))),
        replica,
        fleet: Arc::new(MemoryStore::new(Arc::clone(&clock))),
        clock,
        entropy,
        tenants: Arc::new(Tenants::new([rules(setup)])),
        wake: Arc::new(Wake::default()),
        observer: Arc::new(Unobserved),
        journal: Arc::new(tokenvault_vault::journal::Unwritten),
    }
}

/// The tenant.
pub fn tenant() -> TenantId {
    TenantId::parse(REALM).expect("a tenant")
}

fn realm() -> TenantConfig {
    let secret = |text: &str| Credentials::Secret(ClientSecret::new(text));
    let (own, ui) = (ClientId::parse("tokenvault").expect("a client"), ClientId::parse(UI).expect("a client"));
    let issuer = format!("{BASE_URL}/realms/{REALM}");
    let mut config = TenantConfig::new(&issuer, None, own, secret("tokenvault-secret")).expect("an issuer");
    "user_id".clone_into(&mut config.user_id_claim);
    config.accepted_clients = BTreeSet::from([ui.clone()]);
    config.adopt_clients = BTreeMap::from([(ui, secret("login-app-secret"))]);
    config.refresh_patience = Some(REFRESH_PATIENCE);
    config
}

fn rules(setup: &Setup) -> TenantRules {
    TenantRules {
        client: Client { tenant: tenant(), id: ClientId::parse("tokenvault").expect("a client") },
        user_id_claim: "user_id".to_owned(),
        acquisition: Acquisition::Exchange,
        on_logout: OnLogout::Continue,
        default_job_life: Duration::from_hours(20),
        max_job_life: Duration::from_hours(24),
        max_children: 1_000,
        max_jobs_per_user: 1_000,
        max_records_per_module: 100_000,
        acquisitions: Acquisition::ALL.into(),
        adopt_clients: [ClientId::parse(UI).expect("a client")].into(),
        renewal: Settings {
            may_exchange: setup.may_exchange,
            doubt: if setup.credulous { Duration::ZERO } else { Settings::default().doubt },
            ..Settings::default()
        },
    }
}
