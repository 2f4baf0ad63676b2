//! The running vault: listeners, reconciler and watchers, started together and stopped together.
//!
//! `serve`, `demo` and `dev` all start here. They differ in the configuration, and demonstrations also in the store. Nothing
//! here decides anything about a job.

mod common;
mod error;
mod listeners;
mod running;

use std::sync::Arc;

use tokenvault_core::ids::ReplicaId;
use tokenvault_core::ports::{Clock as _, Fleet};
use tokenvault_redis::SCHEMA;
use tokenvault_vault::fleet::Member;
use tokenvault_vault::journal::{Events, Journal, Recorder};
use tokenvault_vault::reconciler::{Reconciler, ReconcilerOptions};
use tokenvault_vault::services::Services;
use tokio_util::sync::CancellationToken;

use crate::audit::AuditLog;
use crate::clock::{self, SystemClock};
use crate::config::{Config, Secrets};
use crate::due_count;
use crate::notices::Notices;
use crate::reload::LiveSettings;
use crate::telemetry::metrics::Metrics;
use crate::web::shutdown::Shutdown;
use crate::wiring::{self, Wired};

pub use crate::wiring::Backing;
pub use error::StartError;
pub use running::Running;

use common::{Common, until};
use listeners::Listeners;

/// Starts the vault. Redis and Keycloak may be away: readiness tells about the former, registrations about the latter.
pub async fn start(config: &Config, backing: Backing) -> Result<Running, StartError> {
    start_with(config, backing, |services, options, stop| Reconciler::new(services, options).run(stop)).await
}

/// Starts the vault with something else in the reconciler's place: tests show with it what the reconciler is good for.
pub async fn start_with<Reconcile, Reconciling>(
    config: &Config,
    backing: Backing,
    reconcile: Reconcile,
) -> Result<Running, StartError>
where
    Reconcile: FnOnce(Services, ReconcilerOptions, CancellationToken) -> Reconciling,
    Reconciling: Future<Output = ()> + Send + 'static,
{
    start_on(config, backing, |_| {}, reconcile).await
}

/// The same on services that were changed: tests make one of them fail as no real one does.
pub async fn start_on<Reconcile, Reconciling>(
    config: &Config,
    backing: Backing,
    change: impl FnOnce(&mut Services),
    reconcile: Reconcile,
) -> Result<Running, StartError>
where
    Reconcile: FnOnce(Services, ReconcilerOptions, CancellationToken) -> Reconciling,
    Reconciling: Future<Output = ()> + Send + 'static,
{
    let secrets = config.load_secrets()?;
    let metrics = Arc::new(Metrics::new());
    let clock = Arc::new(SystemClock::start());
    let notices = Notices::new(Arc::clone(&metrics));
    let settings = LiveSettings::load(config, Arc::clone(&metrics), Arc::clone(&notices))?;
    let tenants = Arc::clone(settings.tenants());
    let Wired { mut services, keycloak } = wiring::services(config, &secrets, tenants, backing, &metrics, &clock)?;
    change(&mut services);
    clock.start_with(&*services.store, &*services.fleet).await;
    let options = reconciler_options(config, &services);
    let events = recorder(config, &secrets, &mut services, &options.replica, &metrics)?;
    notices.report_to(Arc::clone(&services.journal));
    let member = join_fleet(&services, &options.replica).await;
    let listeners = Listeners::bind(config).await?;
    let (address, management_address) = listeners.addresses(config);

    let replica = options.replica.clone();
    tracing::info!(%replica, "leases are taken under this name");
    let common = Common { services, metrics, notices, shutdown: Shutdown::default() };
    let mut tasks = listeners.serve(config, &common, &settings, replica, keycloak);
    let Common { services, metrics, shutdown, .. } = &common;
    tasks.extend([
        tokio::spawn(reconcile(services.clone(), options, common.stop())),
        tokio::spawn(member.run(common.stop())),
        tokio::spawn(until(common.stop(), settings.watch())),
        tokio::spawn(until(common.stop(), follow_store(clock, services, metrics))),
        tokio::spawn(until(common.stop(), publish(events, Arc::clone(&services.fleet)))),
        tokio::spawn(until(common.stop(), due_count::watch(services.clone(), Arc::clone(metrics)))),
    ]);
    tracing::info!(%address, %management_address, "the vault is listening");
    Ok(Running {
        address,
        management_address,
        shutdown: shutdown.clone(),
        delay: config.server.shutdown_delay,
        tasks,
        journal: Arc::clone(&services.journal),
        replica: Arc::clone(&services.replica),
        grace: config.server.shutdown_grace,
    })
}

/// A member of the fleet, which has heard what the fleet has decided if the store is there.
async fn join_fleet(services: &Services, replica: &ReplicaId) -> Member {
    let member = Member::new(services.clone(), replica.clone(), SCHEMA);
    if let Err(error) = member.begin().await {
        tracing::debug!(%error, "what the fleet has decided, and whether the keys are the right ones, will be heard later");
    }
    member
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
    clock::follow(clock, Arc::clone(&services.store), Arc::clone(&services.fleet), move |clock| {
        metrics.parts.set_clock(clock.machine_ahead_ms(), clock.ahead_of_store_ms());
    })
}
