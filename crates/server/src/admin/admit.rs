//! Who is calling, and whether they may do this. Whoever may not is told so, and the journal is told of the attempt.

use std::marker::PhantomData;

use axum::extract::{FromRequestParts, MatchedPath};
use axum::http::request::Parts;
use tokenvault_vault::journal::Actor;
use tokenvault_vault::problem::{Code, Problem};

use super::acts::By;
use super::policy::Role;
use super::{App, deed};
use crate::tls::Peer;
use crate::web::{Places, ProblemResponse, RequestId};

/// Somebody may not do what they asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Refused {
    /// Who, if the policy knows them.
    pub operator: Option<String>,
    /// What they are told.
    pub problem: Problem,
}

/// Knows which operator a certificate belongs to and what they may do.
pub trait Admits: Send + Sync {
    /// The operator's name, if they have the role.
    fn admit(&self, peer: &Peer, needed: Role) -> Result<String, Refused>;
}

/// A role that a handler needs, as a type: [`Admitted`] asks for it before the handler runs.
pub(super) trait Needs {
    /// The least the operator must be.
    const ROLE: Role;
}

/// [`Role::View`]
pub(super) struct View;
/// [`Role::Operate`]
pub(super) struct Operate;

impl Needs for View {
    const ROLE: Role = Role::View;
}

impl Needs for Operate {
    const ROLE: Role = Role::Operate;
}

/// An operator who was admitted to the role that the handler needs.
pub(super) struct Admitted<N> {
    /// Who asks.
    pub(super) by: By,
    needs: PhantomData<N>,
}

impl<N: Needs> FromRequestParts<App> for Admitted<N> {
    type Rejection = ProblemResponse;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ProblemResponse> {
        let request_id = parts.extensions.get::<RequestId>().map(ToString::to_string).unwrap_or_default();
        let admitted = if let Some(peer) = parts.extensions.get::<Peer>() {
            app.operators.admit(peer, N::ROLE)
        } else {
            let problem = Problem::new(Code::CallerUnknown, "The connection has no client certificate.");
            Err(Refused { operator: None, problem })
        };
        match admitted {
            Ok(operator) => {
                let by = By { operator, request_id, places: Places::of(&parts.extensions) };
                Ok(Self { by, needs: PhantomData })
            }
            Err(refused) => {
                let actor = refused.operator.map_or(Actor::Unknown, Actor::Operator);
                let route = parts.extensions.get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str);
                let what = format!("{} {route}", parts.method);
                tracing::warn!(?actor, what, code = refused.problem.code.as_str(), "an operator was refused");
                app.journal.record(deed::refused(actor, what, refused.problem.code, request_id));
                Err(refused.problem.into())
            }
        }
    }
}
