//! What a module meets that calls the vault: registrations, reads, refusals, connections.

mod api_description;
mod bad_input;
mod connections;
mod early_refusals;
mod end_to_end;
