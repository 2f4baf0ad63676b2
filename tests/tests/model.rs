//! The renewal machine, explored exhaustively as deep as a test may take. `cargo run --release -p tokenvault-tests --bin
//! explore -- --depth N` goes deeper.

use tokenvault_core::record::Acquisition;
use tokenvault_tests::model::catalogue::STARTS;
use tokenvault_tests::model::world::{Budget, Rules, Violation, World};
use tokenvault_tests::model::{Explored, explore};

#[test]
fn no_order_of_events_loses_a_job_sends_a_token_twice_or_ends_a_users_session() {
    for start in STARTS {
        let found = explore(start.world(Rules::default(), start.budget), start.quick, |_, _| ());
        assert!(found.violations.is_empty(), "{}: {:?}", start.name, found.violations);
        assert!(found.states > 1_000 && found.renewed > 0, "{}: nothing was explored: {found:?}", start.name);
    }
}

/// One job, somebody who revokes, and another registration, of which nothing may be lost.
fn beside_a_newcomer(rules: Rules) -> Explored {
    let budget = Budget { others: 1, newcomers: 1, ..Budget::default() };
    explore(World::new(rules, Acquisition::Exchange, 1, false, budget), 13, |_, _| ())
}

fn first(found: &Explored) -> Option<Violation> {
    found.violations.first().map(|(violation, _)| *violation)
}

#[test]
fn an_exchange_that_does_not_look_at_the_session_entry_again_is_seen_to_end_the_users_session() {
    let found = beside_a_newcomer(Rules { looks_again: false, ..Rules::default() });
    assert_eq!(first(&found), Some(Violation::UserSessionEnded));
}

#[test]
fn an_exchange_that_does_not_wait_for_those_who_are_joining_is_seen_to_end_the_users_session() {
    let found = beside_a_newcomer(Rules { minds_joining: false, ..Rules::default() });
    assert_eq!(first(&found), Some(Violation::UserSessionEnded));
}

#[test]
fn only_a_registration_that_begins_and_exchanges_while_an_exchange_is_on_its_way_is_not_held_off() {
    let found = beside_a_newcomer(Rules::default());
    assert!(found.violations.is_empty() && found.joined_in_flight > 0, "{found:?}");
}
