//! The stand-in by itself: each module shows one side of Keycloak that it plays.

mod endings;
mod exchange;
mod http;
mod impersonation;
mod lab;
mod mapping;
mod rotation;
