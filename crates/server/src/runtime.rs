//! The running vault: listeners, reconciler and watchers, started together and stopped together.
//!
//! `serve`, `demo` and `dev` all start here; what differs is the configuration, and for demonstrations the store.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokenvault_core::ids::{ReplicaId, Shard};
use tokenvault_core::ports::{Clock as _, Fleet, StoreError};
use tokenvault_redis::SCHEMA;
use tokenvault_vault::fleet::Member;
use tokenvault_vault::jobs::{self, Vault};
use tokenvault_vault::journal::{Events, Journal, Recorder};
use tokenvault_vault::reconciler::{Reconciler, ReconcilerOptions};
use tokenvault_vault::replica::ReplicaState;
use tokenvault_vault::services::Services;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Office, Operators};
use crate::api::{self, App};
use crate::audit::AuditLog;
use crate::backchannel::{self, BackChannel};
use crate::callers::PolicyFile;
use crate::clock::SystemClock;
use crate::config::{Admin, Config, ConfigError, Secrets};
use crate::doors::{Door, Doors};
use crate::management::{self, Management};
use crate::notices::Notices;
use crate::readiness;
use crate::reload::Live;
use crate::telemetry::metrics::Metrics;
use crate::tls::{self, Holders, Nobody, TlsError, TlsState};
use crate::web::leaving::Leaving;
use crate::wiring::{self, Wired, WiringError};

pub use crate::wiring::Backing;

/// Why the vault does not start. Every one of these is for the operator: it names the file or the key.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration, or a file it names.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its services do not fit together.
    #[error(transparent)]
    Wiring(#[from] WiringError),
    /// The listener's certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The policy file.
    #[error("{0}")]
    Policy(String),
    /// The audit log cannot be opened.
    #[error("audit.file: {}: cannot be opened: {problem}", .file.display())]
    Audit {
        /// The file.
        file: PathBuf,
        /// What the system says.
        problem: std::io::Error,
    },
    /// An address cannot be listened on.
    #[error("{listener}: cannot listen on {address}: {problem}")]
    Listen {
        /// The section of the configuration.
        listener: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system says.
        problem: std::io::Error,
    },
}

/// A vault that runs.
pub struct Running {
    address: SocketAddr,
    management_address: SocketAddr,
    leaving: Leaving,
    delay: Duration,
    tasks: Vec<JoinHandle<()>>,
    journal: Arc<dyn Journal>,
    replica: Arc<ReplicaState>,
    grace: Duration,
}

impl Running {
    /// Where modules call.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where health and metrics are.
    pub fn management_address(&self) -> SocketAddr {
        self.management_address
    }

    /// Says that it leaves, and lets `server.shutdown_delay` pass, in which everything is served as ever. When half of it is over,
    /// the connections that stand are asked to move. Dropped, it hastens nothing: whoever waits for it stops the vault in the end.
    pub fn leave(&self) -> impl Future<Output = ()> + use<> {
        let (leaving, half) = (self.leaving.clone(), self.delay / 2);
        async move {
            leaving.tell();
            tokio::time::sleep(half).await;
            leaving.move_on();
            tokio::time::sleep(half).await;
        }
    }

    /// Begins to stop: no new connections, waiting reads are answered, renewals in hand are finished.
    pub fn stop(&self) {
        self.leaving.stop();
    }

    /// Until a part has come to its end by itself, which takes a panic. A vault that serves and renews nothing, or renews and
    /// serves nothing, must not go on as if it were well.
    pub async fn fallen(&mut self) {
        let (_, fallen, _) = futures::future::select_all(&mut self.tasks).await;
        drop(self.tasks.swap_remove(fallen));
    }

    /// Stops and waits until everything is finished; `false` if something was not within the grace period. The answer to
    /// a spend is waited for beyond that, however long the store is away: it may be the only live refresh token there is.
    pub async fn finish(self) -> bool {
        self.stop();
        let finished = tokio::time::timeout(self.grace, futures::future::join_all(self.tasks)).await.is_ok();
        if let spends @ 1.. = self.replica.in_flight.spends() {
            tracing::warn!(
                spends,
                "refresh tokens were spent and what they brought is not written yet: waiting for the store; a second signal would lose it"
            );
            self.replica.in_flight.until_spends_are_written().await;
        }
        self.journal.flush().await;
        finished
    }

    /// Somebody has moved the audit log away: it is opened by its name again.
    pub fn reopen(&self) {
        self.journal.reopen();
    }
}

/// How often the number of due records is counted for the metrics.
const COUNT_DUE_EVERY: Duration = Duration::from_secs(10);

/// Starts the vault. Redis and Keycloak may be away: readiness tells about the former, registrations about the latter.
pub async fn start(config: &Config, backing: Backing) -> Result<Running, StartError> {
    start_with(config, backing, |services, options, stop| Reconciler::new(services, options).run(stop)).await
}

/// Starts the vault with something else in the reconciler's place: tests show with it what the reconciler is good for.
pub async fn start_with<Renewal, Renewing>(
    config: &Config,
    backing: Backing,
    renewal: Renewal,
) -> Result<Running, StartError>
where
    Renewal: FnOnce(Services, ReconcilerOptions, CancellationToken) -> Renewing,
    Renewing: Future<Output = ()> + Send + 'static,
{
    start_on(config, backing, |_| {}, renewal).await
}

/// The same on services that were changed: tests make one of them fail as no real one does.
pub async fn start_on<Renewal, Renewing>(
    config: &Config,
    backing: Backing,
    change: impl FnOnce(&mut Services),
    renewal: Renewal,
) -> Result<Running, StartError>
where
    Renewal: FnOnce(Services, ReconcilerOptions, CancellationToken) -> Renewing,
    Renewing: Future<Output = ()> + Send + 'static,
{
    let secrets = config.load_secrets()?;
    let metrics = Arc::new(Metrics::new());
    let clock = Arc::new(SystemClock::start());
    let notices = Notices::new(Arc::clone(&metrics));
    let live = Live::load(config, Arc::clone(&metrics), Arc::clone(&notices))?;
    let tenants = Arc::clone(live.tenants());
    let Wired { mut services, keycloak } = wiring::services(config, &secrets, tenants, backing, &metrics, &clock)?;
    change(&mut services);
    clock.start_with(&*services.store, &*services.fleet).await;
    let renewing = reconciler_options(config, &services);
    let events = recorder(config, &secrets, &mut services, &renewing.replica, &metrics)?;
    notices.tell_to(Arc::clone(&services.journal));
    let member = Member::new(services.clone(), renewing.replica.clone(), SCHEMA);
    if let Err(error) = member.begin().await {
        tracing::debug!(%error, "what the fleet has decided, and whether the keys are the right ones, will be heard later");
    }
    let tls = TlsState::load(&config.server)?;
    let modules = listen("server", config.server.listen).await?;
    let managers = listen("management", config.management.listen).await?;
    let idp = match &config.idp {
        Some(section) => Some((section, listen("idp", section.listen).await?, TlsState::load(section)?)),
        None => None,
    };
    let desk = match &config.admin {
        Some(section) => Some(Desk::open(section).await?),
        None => None,
    };
    let (address, management_address) =
        (local(&modules, config.server.listen), local(&managers, config.management.listen));

    let leaving = Leaving::default();
    let stop = leaving.stopping().clone();
    let options = jobs::Options { default_min_ttl: config.server.default_min_ttl };
    let vault = Arc::new(Vault::new(services.clone(), options, stop.clone()));
    let callers = Arc::clone(&live) as Arc<dyn api::Callers>;
    let app = App {
        jobs: Arc::new(api::Recorded::new(vault, Arc::clone(&callers), Arc::clone(&services.journal))),
        callers,
        limits: Arc::new((&config.server).into()),
        metrics: Arc::clone(&metrics),
        journal: Arc::clone(&services.journal),
        clock: Arc::clone(&services.clock),
    };
    let (options, journal, state) = (renewing, Arc::clone(&services.journal), Arc::clone(&services.replica));
    let replica = options.replica.clone();
    tracing::info!(%replica, "leases are taken under this name");
    let ready = readiness::of(&services, &tls);
    let management = Management { parts: Arc::new(ready), metrics: Arc::clone(&metrics), leaving: leaving.clone() };
    let doors = Doors::here(config);
    let limits = doors.modules.of(api::connection_limits(&config.server));
    let mut tasks = vec![
        tokio::spawn(tls::serve(
            modules,
            Arc::clone(&tls),
            api::router(app),
            limits,
            Arc::clone(&live) as Arc<dyn Holders>,
            Some(Arc::clone(&metrics)),
            leaving.clone(),
        )),
        tokio::spawn(management::serve(managers, management::router(management), doors.management, stop.clone())),
        tokio::spawn(renewal(services.clone(), options, stop.clone())),
        tokio::spawn(until(stop.clone(), tls.watch(Arc::clone(&metrics), Arc::clone(&notices)))),
        tokio::spawn(until(stop.clone(), live.watch())),
        tokio::spawn(until(stop.clone(), follow_store(clock, &services, &metrics))),
        tokio::spawn(until(stop.clone(), publish(events, Arc::clone(&services.fleet)))),
        tokio::spawn(member.run(stop.clone())),
        tokio::spawn(until(stop.clone(), count_due(services.clone(), Arc::clone(&metrics)))),
    ];
    if let Some(desk) = desk {
        let office = Office::new(services.clone(), replica);
        tasks.extend(desk.serve(office, doors.admin, (&metrics, &notices), &leaving));
    }
    if let Some((section, listener, tls)) = idp {
        tracing::info!(address = %local(&listener, section.listen), "the identity provider may call");
        let backchannel = BackChannel::new(section, services, keycloak, Arc::clone(&metrics), stop.clone());
        let (router, limits) = (backchannel.router(), doors.idp.of(backchannel::limits()));
        tasks.push(tokio::spawn(tls::serve(
            listener,
            Arc::clone(&tls),
            router,
            limits,
            Arc::new(Nobody),
            None,
            leaving.clone(),
        )));
        tasks.push(tokio::spawn(until(stop.clone(), tls.watch(metrics, notices))));
    }
    tracing::info!(%address, %management_address, "the vault is listening");
    let (delay, grace) = (config.server.shutdown_delay, config.server.shutdown_grace);
    Ok(Running { address, management_address, leaving, delay, tasks, journal, replica: state, grace })
}

/// Where operators call.
struct Desk {
    listener: TcpListener,
    tls: Arc<TlsState>,
    policy: Arc<PolicyFile<Operators>>,
}

impl Desk {
    async fn open(section: &Admin) -> Result<Self, StartError> {
        let policy = PolicyFile::load(&section.policy_file).map_err(|error| StartError::Policy(error.to_string()))?;
        Ok(Self { listener: listen("admin", section.listen).await?, tls: TlsState::load(section)?, policy })
    }

    fn serve(
        self,
        office: Office,
        door: Door,
        (metrics, notices): (&Arc<Metrics>, &Arc<Notices>),
        leaving: &Leaving,
    ) -> [JoinHandle<()>; 3] {
        let (Self { listener, tls, policy }, stop) = (self, leaving.stopping());
        if let Ok(address) = listener.local_addr() {
            tracing::info!(%address, "operators may call");
        }
        let journal = office.journal();
        let operators = Arc::clone(&policy) as Arc<dyn admin::Admits>;
        let holders = Arc::clone(&policy) as Arc<dyn Holders>;
        let app = admin::App::new(Arc::new(office), operators, journal, Arc::clone(metrics), stop.clone());
        [
            tokio::spawn(tls::serve(
                listener,
                Arc::clone(&tls),
                app.router(),
                door.of(admin::limits()),
                holders,
                None,
                leaving.clone(),
            )),
            tokio::spawn(until(stop.clone(), tls.watch(Arc::clone(metrics), Arc::clone(notices)))),
            tokio::spawn(until(stop.clone(), policy.watch(Arc::clone(notices)))),
        ]
    }
}

/// Gives the services their journal; what it tells operators is for somebody to publish.
fn recorder(
    config: &Config,
    secrets: &Secrets,
    services: &mut Services,
    replica: &ReplicaId,
    metrics: &Arc<Metrics>,
) -> Result<Events, StartError> {
    let log = match (&config.audit.file, &secrets.audit_hash_key) {
        (Some(file), Some(key)) => {
            let (clock, metrics) = (Arc::clone(&services.clock), Arc::clone(metrics));
            let log = AuditLog::open(file, &config.audit, key, replica.to_string(), clock, metrics);
            let log = log.map_err(|problem| StartError::Audit { file: file.clone(), problem })?;
            Some(Box::new(log) as Box<dyn Journal>)
        }
        _ => None,
    };
    let (recorder, events) = Recorder::new(log, replica.clone(), Arc::clone(&services.clock));
    services.journal = Arc::new(recorder);
    Ok(events)
}

async fn publish(events: Events, fleet: Arc<dyn Fleet>) {
    events.publish(&*fleet).await;
}

async fn listen(listener: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|problem| StartError::Listen { listener, address, problem })
}

fn local(listener: &TcpListener, asked: SocketAddr) -> SocketAddr {
    listener.local_addr().unwrap_or(asked)
}

async fn until(stop: CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = work => {}
    }
}

fn reconciler_options(config: &Config, services: &Services) -> ReconcilerOptions {
    let renewal = &config.renewal;
    let name = format!("replica-{}", services.attempt());
    ReconcilerOptions {
        replica: ReplicaId::parse(name).expect("a word, a dash and hexadecimal digits are visible ASCII"),
        lease: renewal.lease,
        poll_interval: renewal.poll_interval,
        concurrency: renewal.concurrency,
        spends_per_session: renewal.spends_per_session,
    }
}

fn follow_store(
    clock: Arc<SystemClock>,
    services: &Services,
    metrics: &Arc<Metrics>,
) -> impl Future<Output = ()> + use<> {
    let metrics = Arc::clone(metrics);
    crate::clock::follow(clock, Arc::clone(&services.store), Arc::clone(&services.fleet), move |clock| {
        metrics.set_clock(clock.machine_ahead_ms(), clock.ahead_of_store_ms());
    })
}

async fn count_due(services: Services, metrics: Arc<Metrics>) {
    loop {
        // Half a count is none: what was counted before stays.
        if let Ok(due) = due_now(&services).await {
            metrics.set_due(due);
        }
        tokio::time::sleep(COUNT_DUE_EVERY).await;
    }
}

async fn due_now(services: &Services) -> Result<u64, StoreError> {
    let (now, mut due) = (services.clock.now(), 0);
    for shard in Shard::all() {
        due += services.store.count_due(shard, now).await?;
    }
    Ok(due)
}

#[cfg(test)]
mod tests {
    use tokenvault_vault::journal::Unwritten;

    use super::*;

    #[tokio::test]
    async fn a_part_that_falls_is_noticed_and_the_others_can_still_be_stopped() {
        let leaving = Leaving::default();
        let stop = leaving.stopping().clone();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut running = Running {
            address: nowhere,
            management_address: nowhere,
            tasks: vec![tokio::spawn(stop.cancelled_owned()), tokio::spawn(async { panic!("fallen") })],
            leaving,
            delay: Duration::ZERO,
            journal: Arc::new(Unwritten),
            replica: Arc::default(),
            grace: Duration::from_mins(1),
        };

        running.fallen().await;

        assert_eq!(running.tasks.len(), 1);
        assert!(running.finish().await);
    }
}
