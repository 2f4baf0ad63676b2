//! The listeners: bound at the start, each with what it serves, and served until the shutdown.

use std::net::SocketAddr;
use std::sync::Arc;

use tokenvault_core::ids::ReplicaId;
use tokenvault_keycloak::KeycloakProvider;
use tokenvault_vault::jobs::{self, Vault};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::common::{Common, until};
use super::error::StartError;
use crate::admin::{self, AdminContext, AdminService, OperatorPolicy, Operators};
use crate::api::{self, ApiContext, AuditedJobs};
use crate::backchannel::{self, BackChannel};
use crate::callers::{CallerPolicy, PolicyFile};
use crate::capacity::ListenerCapacities;
use crate::config::{AdminSection, Config, IdpSection, ServerSection};
use crate::management::{self, ManagementContext};
use crate::readiness;
use crate::reload::LiveSettings;
use crate::telemetry::metrics::Metrics;
use crate::tls::{self, CallerLookup, ConnectionLimits, HttpService, NoCallers, TlsState};

/// All listeners of the configuration, bound.
pub(super) struct Listeners {
    modules: TlsListener,
    management: TcpListener,
    operators: Option<(TlsListener, Arc<PolicyFile<Operators>>)>,
    idp: Option<TlsListener>,
}

/// A bound listener and its certificates.
struct TlsListener {
    socket: TcpListener,
    tls: Arc<TlsState>,
}

/// What a listener serves, and to whom.
struct Endpoint<S> {
    listener: TlsListener,
    requests: S,
    limits: ConnectionLimits,
    callers: Arc<dyn CallerLookup>,
    /// Where its connections are counted.
    metrics: Option<Arc<Metrics>>,
}

impl Listeners {
    /// Binds every address and reads every certificate; the first failure is the answer.
    pub(super) async fn bind(config: &Config) -> Result<Self, StartError> {
        let tls = TlsState::load(&config.server)?;
        let modules = TlsListener { socket: listen("server", config.server.listen).await?, tls };
        let management = listen("management", config.management.listen).await?;
        let idp = match &config.idp {
            Some(section) => Some(for_idp(section).await?),
            None => None,
        };
        let operators = match &config.admin {
            Some(section) => Some(for_operators(section).await?),
            None => None,
        };
        Ok(Self { modules, management, operators, idp })
    }

    /// Where modules call, and where health and metrics are.
    pub(super) fn addresses(&self, config: &Config) -> (SocketAddr, SocketAddr) {
        let modules = local(&self.modules.socket, config.server.listen);
        (modules, local(&self.management, config.management.listen))
    }

    /// Serves on all of them; one task for each thing that goes on.
    pub(super) fn serve(
        self,
        config: &Config,
        common: &Common,
        settings: &Arc<LiveSettings>,
        replica: ReplicaId,
        keycloak: Arc<KeycloakProvider>,
    ) -> Vec<JoinHandle<()>> {
        let capacities = ListenerCapacities::here(config);
        let management = management(common, &self.modules.tls);
        let serving =
            management::serve(self.management, management::router(management), capacities.management, common.stop());
        let mut tasks = vec![tokio::spawn(serving)];
        let limits = capacities.modules.of(api::connection_limits(&config.server));
        tasks.extend(modules(&config.server, common, settings, self.modules, limits).serve(common));
        if let Some((listener, policy)) = self.operators {
            if let Ok(address) = listener.socket.local_addr() {
                tracing::info!(%address, "operators may call");
            }
            let watch = Arc::clone(&policy).watch(Arc::clone(&common.notices));
            tasks.push(tokio::spawn(until(common.stop(), watch)));
            let limits = capacities.admin.of(admin::connection_limits());
            tasks.extend(operators(common, replica, policy, listener, limits).serve(common));
        }
        if let (Some(listener), Some(section)) = (self.idp, &config.idp) {
            tracing::info!(address = %local(&listener.socket, section.listen), "the identity provider may call");
            let limits = capacities.idp.of(backchannel::connection_limits());
            tasks.extend(identity_provider(section, common, keycloak, listener, limits).serve(common));
        }
        tasks
    }
}

impl<S: HttpService> Endpoint<S> {
    fn serve(self, common: &Common) -> [JoinHandle<()>; 2] {
        let Self { listener: TlsListener { socket, tls }, requests, limits, callers, metrics } = self;
        let watch = Arc::clone(&tls).watch(Arc::clone(&common.metrics), Arc::clone(&common.notices));
        [
            tokio::spawn(tls::serve(socket, tls, requests, limits, callers, metrics, common.shutdown.clone())),
            tokio::spawn(until(common.stop(), watch)),
        ]
    }
}

async fn for_idp(section: &IdpSection) -> Result<TlsListener, StartError> {
    Ok(TlsListener { socket: listen("idp", section.listen).await?, tls: TlsState::load(section)? })
}

async fn for_operators(section: &AdminSection) -> Result<(TlsListener, Arc<PolicyFile<Operators>>), StartError> {
    let policy = PolicyFile::load(&section.policy_file).map_err(|error| StartError::Policy(error.to_string()))?;
    let socket = listen("admin", section.listen).await?;
    Ok((TlsListener { socket, tls: TlsState::load(section)? }, policy))
}

fn modules(
    section: &ServerSection,
    common: &Common,
    settings: &Arc<LiveSettings>,
    listener: TlsListener,
    limits: ConnectionLimits,
) -> Endpoint<impl HttpService> {
    let services = &common.services;
    let options = jobs::Options { default_min_ttl: section.default_min_ttl };
    let vault = Arc::new(Vault::new(services.clone(), options, common.stop()));
    let callers = Arc::clone(settings) as Arc<dyn CallerPolicy>;
    let context = ApiContext {
        jobs: Arc::new(AuditedJobs::new(vault, Arc::clone(&callers), Arc::clone(&services.journal))),
        callers,
        limits: Arc::new(section.into()),
        metrics: Arc::clone(&common.metrics),
        journal: Arc::clone(&services.journal),
        clock: Arc::clone(&services.clock),
    };
    let callers = Arc::clone(settings) as Arc<dyn CallerLookup>;
    let metrics = Some(Arc::clone(&common.metrics));
    Endpoint { listener, requests: api::service(context), limits, callers, metrics }
}

fn operators(
    common: &Common,
    replica: ReplicaId,
    policy: Arc<PolicyFile<Operators>>,
    listener: TlsListener,
    limits: ConnectionLimits,
) -> Endpoint<impl HttpService> {
    let service = AdminService::new(common.services.clone(), replica);
    let journal = service.journal();
    let operators = Arc::clone(&policy) as Arc<dyn OperatorPolicy>;
    let metrics = Arc::clone(&common.metrics);
    let context = AdminContext::new(Arc::new(service), operators, journal, metrics, common.stop());
    Endpoint { listener, requests: admin::router(context), limits, callers: policy, metrics: None }
}

fn identity_provider(
    section: &IdpSection,
    common: &Common,
    keycloak: Arc<KeycloakProvider>,
    listener: TlsListener,
    limits: ConnectionLimits,
) -> Endpoint<impl HttpService> {
    let metrics = Arc::clone(&common.metrics);
    let backchannel = BackChannel::new(section, common.services.clone(), keycloak, metrics, common.stop());
    Endpoint { listener, requests: backchannel.router(), limits, callers: Arc::new(NoCallers), metrics: None }
}

fn management(common: &Common, tls: &Arc<TlsState>) -> ManagementContext {
    ManagementContext {
        parts: Arc::new(readiness::of(&common.services, tls)),
        metrics: Arc::clone(&common.metrics),
        shutdown: common.shutdown.clone(),
    }
}

async fn listen(listener: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|problem| StartError::Listen { listener, address, problem })
}

fn local(listener: &TcpListener, asked: SocketAddr) -> SocketAddr {
    listener.local_addr().unwrap_or(asked)
}
