//! Who is calling, and whether they may do this. A refusal is recorded in the journal.

use std::marker::PhantomData;

use axum::extract::{FromRequestParts, MatchedPath};
use axum::http::request::Parts;
use tokenvault_vault::journal::Actor;
use tokenvault_vault::problem::{Code, Problem};

use super::audited_action;
use super::commands::OperatorCall;
use super::context::AdminContext;
use super::operator_policy::{OperatorRefusal, Role};
use crate::tls::Peer;
use crate::web::{ProblemResponse, RequestId, RequestPermits};

/// A role as a type: [`AdmittedOperator`] asks the policy for it before the handler runs.
pub(super) trait RequiredRole {
    /// The least the operator must be.
    const ROLE: Role;
}

/// [`Role::View`]
pub(super) struct ToView;
/// [`Role::Operate`]
pub(super) struct ToOperate;

impl RequiredRole for ToView {
    const ROLE: Role = Role::View;
}

impl RequiredRole for ToOperate {
    const ROLE: Role = Role::Operate;
}

/// An operator who was admitted to the role that the handler needs.
pub(super) struct AdmittedOperator<R> {
    /// Who asks.
    pub(super) by: OperatorCall,
    role: PhantomData<R>,
}

impl<R: RequiredRole> FromRequestParts<AdminContext> for AdmittedOperator<R> {
    type Rejection = ProblemResponse;

    async fn from_request_parts(parts: &mut Parts, context: &AdminContext) -> Result<Self, ProblemResponse> {
        let request_id = parts.extensions.get::<RequestId>().map(ToString::to_string).unwrap_or_default();
        let admitted = if let Some(peer) = parts.extensions.get::<Peer>() {
            context.operators.admit(peer, R::ROLE)
        } else {
            let problem = Problem::new(Code::CallerUnknown, "The connection has no client certificate.");
            Err(OperatorRefusal { operator: None, problem })
        };
        match admitted {
            Ok(operator) => {
                let by = OperatorCall { operator, request_id, permits: RequestPermits::of(&parts.extensions) };
                Ok(Self { by, role: PhantomData })
            }
            Err(refused) => {
                let actor = refused.operator.map_or(Actor::Unknown, Actor::Operator);
                let route = parts.extensions.get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str);
                let what = format!("{} {route}", parts.method);
                tracing::warn!(?actor, what, code = refused.problem.code.as_str(), "an operator was refused");
                context.journal.record(audited_action::refused(actor, what, refused.problem.code, request_id));
                Err(refused.problem.into())
            }
        }
    }
}
