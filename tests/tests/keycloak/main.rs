//! What the vault does with Keycloak, what Keycloak does to it, and how a realm is set up for it.

mod backchannel_logout;
mod doubt;
mod end_reasons;
mod folio;
mod max_reuse;
mod policies;
mod private_key_jwt;
mod provider;
mod scenarios;
mod setup;
