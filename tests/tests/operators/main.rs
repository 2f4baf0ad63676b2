//! What an operator does and sees: commands, configuration, logs, alerts, documents, and how the vault is shipped.

mod admin;
mod audit;
mod deploy;
mod doctor;
mod documents;
mod monitoring;
mod pause;
mod readme;
mod reload;
mod rollout;
mod shutdown;
mod terminal;
mod traces;
