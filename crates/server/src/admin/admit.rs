//! Who is calling, and whether they may do this. Whoever may not is told so, and the journal is told of the attempt.

use axum::extract::{FromRequestParts, MatchedPath};
use axum::http::request::Parts;

use super::acts::By;
use super::policy::Role;
use super::{App, deed};
use crate::callers::Peer;
use crate::http::{Places, RequestId};
use crate::journal::Actor;
use crate::problem::{Code, Problem};

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

/// An operator who was admitted to a role: the extractor says which by its type parameter's constant.
pub(super) struct Admitted<const ROLE: u8>(pub(super) By);

pub(super) const VIEW: u8 = 0;
pub(super) const OPERATE: u8 = 1;

impl<const ROLE: u8> FromRequestParts<App> for Admitted<ROLE> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let request_id = parts.extensions.get::<RequestId>().map(ToString::to_string).unwrap_or_default();
        let needed = if ROLE == VIEW { Role::View } else { Role::Operate };
        let admitted = if let Some(peer) = parts.extensions.get::<Peer>() {
            app.operators.admit(peer, needed)
        } else {
            let problem = Problem::new(Code::CallerUnknown, "The connection has no client certificate.");
            Err(Refused { operator: None, problem })
        };
        match admitted {
            Ok(operator) => Ok(Self(By { operator, request_id, places: Places::of(&parts.extensions) })),
            Err(refused) => {
                let actor = refused.operator.map_or(Actor::Unknown, Actor::Operator);
                let route = parts.extensions.get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str);
                let what = format!("{} {route}", parts.method);
                tracing::warn!(?actor, what, code = refused.problem.code.as_str(), "an operator was refused");
                app.journal.record(deed::refused(actor, what, refused.problem.code, request_id));
                Err(refused.problem)
            }
        }
    }
}
