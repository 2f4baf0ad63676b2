//! The renewal machine, explored exhaustively as deep as a test may take. `cargo run --release -p tokenvault-tests --bin
//! explore -- --depth N` goes deeper.

use tokenvault_core::ids::Generation;
use tokenvault_core::record::{Acquisition, EndReason, State};
use tokenvault_tests::model::catalogue::STARTS;
use tokenvault_tests::model::world::{Budget, Event, Rules, Violation, World};
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

/// One sequence of events, walked in the world that is explored.
struct Walk(World);

impl Walk {
    fn new() -> Self {
        let budget = Budget { others: 1, newcomers: 1, ..Budget::default() };
        Self(World::new(Rules::default(), Acquisition::Exchange, 1, false, budget))
    }

    fn take(&mut self, event: Event) {
        assert!(self.0.events().contains(&event), "{event:?} cannot happen now: {:?}", self.0.events());
        self.0 = self.0.after(event);
        assert_eq!((self.0.violation(), self.0.gap()), (None, None), "after {event:?}");
    }

    /// What a replica would do next for a job, if one has anything to do for it now.
    fn turn_of(&self, job: u8) -> Option<Event> {
        let of = |event: &Event| match *event {
            Event::Act(of, _) | Event::Arrive(of, _) | Event::Hear(of, _) => of == job,
            _ => false,
        };
        let events = self.0.events();
        events.iter().copied().find(of).or_else(|| events.into_iter().find(|event| *event == Event::Claim(job)))
    }

    /// Lets time pass until a job comes due, and then has a replica do all there is to do for it.
    fn renew(&mut self, job: u8) {
        while self.turn_of(job).is_none() {
            self.take(Event::Tick);
        }
        while let Some(event) = self.turn_of(job) {
            self.take(event);
        }
    }

    fn state(&self, job: usize) -> State {
        self.0.record(job).expect("the job is there").state
    }

    fn generation(&self, job: usize) -> Generation {
        self.0.record(job).expect("the job is there").generation
    }
}

#[test]
fn a_job_whose_client_session_was_created_anew_by_a_second_one_ends_and_harms_nobody() {
    let mut walk = Walk::new();
    for event in [Event::Detach, Event::Join(1), Event::Register, Event::Registered] {
        walk.take(event);
    }
    walk.renew(0);
    assert_eq!(walk.state(0), State::Ended(EndReason::ClientSessionGone));
    assert_eq!(walk.0.sessions_live(), (true, true));

    // The second job's pair was noted under the life that the first one's end has closed: it lives on all the same.
    let first = walk.generation(1);
    walk.renew(1);
    assert_eq!(walk.state(1), State::Active);
    assert!(walk.generation(1) > first);
    assert_eq!(walk.0.sessions_live(), (true, true));
}

#[test]
fn an_exchange_waits_for_a_second_job_that_joins_while_the_client_session_is_ended() {
    let mut walk = Walk::new();
    while walk.turn_of(0).is_none() {
        walk.take(Event::Tick);
    }
    walk.take(Event::Join(1));
    // The token is still good when it is probed, and of an earlier life from then on.
    for event in [Event::Claim(0), Event::Act(0, 0), Event::Detach, Event::Register] {
        walk.take(event);
    }
    let first = walk.generation(0);
    while let Some(event) = walk.turn_of(0).filter(|_| walk.0.events().contains(&Event::Registered)) {
        walk.take(event);
    }
    assert_eq!((walk.state(0), walk.generation(0)), (State::Active, first), "it is not exchanged");
    walk.take(Event::Registered);
    walk.renew(0);
    assert_eq!(walk.state(0), State::Ended(EndReason::ClientSessionGone));
    assert_eq!(walk.0.sessions_live(), (true, true));
}
