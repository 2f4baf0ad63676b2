//! The lost answer: between Keycloak's answer and its arrival anything may go wrong, at any byte.
//!
//! | module | what it shows |
//! | --- | --- |
//! | [`sweep`] | against real Keycloak: every byte offset of a refresh answer and of an exchange answer, cut there, is told as *unknown*, never as refused or unsent |
//! | [`faults`] | against real Keycloak: what else a proxy does to requests, double delivery included |
//! | [`machine`] | against the stand-in, over injected time: a job whose answer was cut at any byte goes on, or ends as the one thing that cannot be undone |
#![allow(clippy::disallowed_methods, reason = "real Keycloak has the real time, and sweeps tell how long they took")]

mod faults;
mod lab;
mod machine;
mod stage;
mod sweep;
