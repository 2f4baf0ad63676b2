//! Who is calling, and whether they may do what they ask for.

use std::marker::PhantomData;

use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use tokenvault_core::ids::ModuleName;
use tokenvault_vault::jobs::Caller;
use tokenvault_vault::problem::{Code, Problem};

use super::App;
use super::jobs::Call;
use super::recorded::Reached;
use crate::callers::Action;
use crate::tls::Peer;
use crate::web::{Places, ProblemResponse, RequestId, Room};

/// The tenant a caller means, as FOLIO names it.
pub(super) const TENANT: &str = "x-okapi-tenant";

/// Knows which module a certificate belongs to and what it may do.
pub trait Callers: Send + Sync {
    /// The caller, if it may do this in the tenant it names (or in its only one).
    fn admit(&self, peer: &Peer, tenant: Option<&str>, action: Action) -> Result<Caller, Problem>;

    /// The module a certificate belongs to, whatever it may do.
    fn module(&self, peer: &Peer) -> Option<ModuleName>;
}

/// The module that sends a request.
pub(super) fn module_of(app: &App, request: &Request) -> Option<ModuleName> {
    app.callers.module(request.extensions().get::<Peer>()?)
}

/// Something a handler is there for, as a type: [`Admitted`] asks for it before the handler runs.
pub(super) trait Needs {
    /// What the policy must grant.
    const ACTION: Action;
}

/// [`Action::Register`]
pub(super) struct Register;
/// [`Action::Read`]
pub(super) struct Read;
/// [`Action::Release`]
pub(super) struct Release;

impl Needs for Register {
    const ACTION: Action = Action::Register;
}

impl Needs for Read {
    const ACTION: Action = Action::Read;
}

impl Needs for Release {
    const ACTION: Action = Action::Release;
}

/// The call of a caller that was admitted to what the handler needs.
pub(super) struct Admitted<N> {
    /// The call.
    pub(super) call: Call,
    needs: PhantomData<N>,
}

impl<N: Needs> FromRequestParts<App> for Admitted<N> {
    type Rejection = ProblemResponse;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ProblemResponse> {
        let unknown = || Problem::new(Code::CallerUnknown, "The connection has no client certificate.");
        let peer = parts.extensions.get::<Peer>().ok_or_else(unknown)?;
        let mut tenants = parts.headers.get_all(TENANT).iter();
        let tenant = match (tenants.next(), tenants.next()) {
            (None, _) => None,
            (Some(one), None) => Some(one.to_str().map_err(|_| ambiguous())?),
            _ => return Err(ambiguous().into()),
        };
        let caller = app.callers.admit(peer, tenant, N::ACTION)?;
        tracing::debug!(module = %caller.module, tenant = %caller.tenant, "the caller was admitted");
        let reached = parts.extensions.get::<Reached>().cloned().unwrap_or_default();
        let request_id = parts.extensions.get::<RequestId>().map_or_else(|| "".into(), RequestId::shared);
        let (places, room) = (Places::of(&parts.extensions), Room::of(&parts.extensions));
        let call = Call { caller, peer: peer.clone(), request_id, reached, places, room };
        Ok(Self { call, needs: PhantomData })
    }
}

fn ambiguous() -> Problem {
    Problem::new(Code::InvalidRequest, "x-okapi-tenant must be one tenant.")
}
