//! The renewal machine, explored exhaustively: some 95 000 states each for two faults in thirteen events.

use tokenvault_core::record::Acquisition;
use tokenvault_tests::model::explore;
use tokenvault_tests::model::world::{Budget, World};

#[track_caller]
fn holds(world: World, depth: usize) {
    let found = explore(world, depth);
    assert!(found.violation.is_none(), "{:?}", found.violation);
    assert!(found.states > 1_000, "the exploration must not be empty: {found:?}");
}

#[test]
fn an_exchanged_job_survives_every_order_of_faults() {
    holds(World::new(Acquisition::Exchange, true, Budget { faults: 2, others: 0 }), 13);
}

#[test]
fn a_job_that_must_spend_never_sends_a_spent_token_and_is_lost_only_with_its_only_copy() {
    holds(World::new(Acquisition::Adopt, false, Budget { faults: 2, others: 0 }), 13);
}

#[test]
fn an_impersonated_job_survives_every_order_of_faults() {
    holds(World::new(Acquisition::Impersonate, false, Budget { faults: 2, others: 0 }), 13);
}

#[test]
fn others_may_log_out_and_revoke_without_the_vault_making_it_worse() {
    holds(World::new(Acquisition::Exchange, true, Budget { faults: 1, others: 2 }), 11);
}
