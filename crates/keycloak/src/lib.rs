//! The identity provider on Keycloak (26.2 or later).
//!
//! What is asked is built by pure functions ([`request`]) and what is answered is read by pure functions ([`answer`],
//! with Keycloak's words in one table), so that both can be tested without a server. In between stands a small HTTP
//! port ([`HttpClient`]). [`KeycloakProvider`] carries out one request per act and retries nothing: whether a token may
//! be sent again is core's decision, never this crate's.
//!
//! This crate must never log or print a token, never put a secret into a URL, never follow a redirect with one, and
//! never turn an answer it does not understand into a definite no.

pub mod answer;
mod assertion;
mod claims;
mod flight;
mod http;
mod inspect;
mod jwks;
mod logout;
mod observe;
mod operation;
mod proof;
mod provider;
pub mod request;
mod reqwest_client;
mod service_account;
mod signature;
mod tenant;
#[cfg(test)]
mod testing;
mod words;

pub use assertion::{InvalidKey, SigningKey};
pub use http::{HttpAnswer, HttpClient, HttpRequest, HttpResult, Param, TransportFailure};
pub use inspect::{InspectionFailed, Inspector, OwnSession, ServiceAccount, audience, percent_encoded};
pub use logout::{LogoutError, LogoutToken};
pub use observe::{CallObserver, NoObserver};
pub use operation::Operation;
pub use provider::KeycloakProvider;
pub use reqwest_client::{ClientBuildError, HttpSettings, OnPoolLeft, ReqwestClient, TrustAnchors};
pub use tenant::{Credentials, Endpoints, InvalidIssuer, TenantConfig, TenantDirectory};
