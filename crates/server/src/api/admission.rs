//! Who is calling, and whether they may do what they ask for. All that the listener asks of the policy is asked here.

use std::marker::PhantomData;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use tokenvault_core::ids::ModuleName;
use tokenvault_vault::problem::{Code, Problem};

use super::context::ApiContext;
use super::jobs::{ModuleCall, ReachedUseCase};
use crate::callers::{Action, CallerPolicy};
use crate::tls::Peer;
use crate::web::{BodyBudget, ProblemResponse, RequestId, RequestPermits};

/// The tenant a caller means, as FOLIO names it.
pub(super) const TENANT: &str = "x-okapi-tenant";

/// The module that sends a request.
pub(super) fn module_of(context: &ApiContext, request: &Request) -> Option<ModuleName> {
    context.callers.module(request.extensions().get::<Peer>()?)
}

/// An action as a type: [`AdmittedModule`] asks the policy for it before the handler runs.
pub(super) trait RequiredAction {
    /// What the policy must grant.
    const ACTION: Action;
}

/// [`Action::Register`]
pub(super) struct ToRegister;
/// [`Action::Read`]
pub(super) struct ToRead;
/// [`Action::Release`]
pub(super) struct ToRelease;

impl RequiredAction for ToRegister {
    const ACTION: Action = Action::Register;
}

impl RequiredAction for ToRead {
    const ACTION: Action = Action::Read;
}

impl RequiredAction for ToRelease {
    const ACTION: Action = Action::Release;
}

/// The call of a caller that was admitted to what the handler needs.
pub(super) struct AdmittedModule<A> {
    /// The call.
    pub(super) call: ModuleCall,
    action: PhantomData<A>,
}

impl<A: RequiredAction> FromRequestParts<ApiContext> for AdmittedModule<A> {
    type Rejection = ProblemResponse;

    async fn from_request_parts(parts: &mut Parts, context: &ApiContext) -> Result<Self, ProblemResponse> {
        let request_id = parts.extensions.get::<RequestId>().map_or_else(|| "".into(), RequestId::shared);
        let reached = parts.extensions.get::<ReachedUseCase>().cloned().unwrap_or_default();
        let (permits, body_budget) = (RequestPermits::of(&parts.extensions), BodyBudget::of(&parts.extensions));
        let call = Arrival { request_id, reached, permits, body_budget };
        let call = admit(context, parts.extensions.get::<Peer>(), &parts.headers, A::ACTION, call)?;
        Ok(Self { call, action: PhantomData })
    }
}

/// What a request has come with to its admission.
pub(super) struct Arrival {
    pub(super) request_id: Arc<str>,
    pub(super) reached: ReachedUseCase,
    pub(super) permits: RequestPermits,
    pub(super) body_budget: BodyBudget,
}

/// Admits a request to an action, or tells why not.
pub(super) fn admit(
    context: &ApiContext,
    peer: Option<&Peer>,
    headers: &HeaderMap,
    action: Action,
    Arrival { request_id, reached, permits, body_budget }: Arrival,
) -> Result<ModuleCall, Problem> {
    let unknown = || Problem::new(Code::CallerUnknown, "The connection has no client certificate.");
    let peer = peer.ok_or_else(unknown)?;
    let mut tenants = headers.get_all(TENANT).iter();
    let tenant = match (tenants.next(), tenants.next()) {
        (None, _) => None,
        (Some(one), None) => Some(one.to_str().map_err(|_| ambiguous())?),
        _ => return Err(ambiguous()),
    };
    // Before, so that a change meanwhile is noticed.
    let policy = context.callers.version();
    let caller = context.callers.admit(peer, tenant, action)?;
    tracing::debug!(module = %caller.module, tenant = %caller.tenant, "the caller was admitted");
    Ok(ModuleCall { caller, policy, peer: peer.clone(), request_id, reached, permits, body_budget })
}

/// Whether a caller that was admitted, and may have waited since, would be admitted now.
pub(super) fn still_admitted(callers: &dyn CallerPolicy, call: &ModuleCall, action: Action) -> Result<(), Problem> {
    if call.policy.is_some() && call.policy == callers.version() {
        return Ok(());
    }
    let now = callers.admit(&call.peer, Some(call.caller.tenant.as_str()), action)?;
    let unknown = || Problem::new(Code::CallerUnknown, "The certificate maps to another module by now.");
    if now.module == call.caller.module { Ok(()) } else { Err(unknown()) }
}

fn ambiguous() -> Problem {
    Problem::new(Code::InvalidRequest, "x-okapi-tenant must be one tenant.")
}
