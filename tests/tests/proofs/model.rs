//! The renewal machine, explored exhaustively as deep as a test may take. `cargo run --release -p tokenvault-tests --bin
//! explore -- --depth N` goes deeper.

use std::time::Duration;

use tokenvault_core::ids::Generation;
use tokenvault_core::record::{Acquisition, EndReason, State};
use tokenvault_tests::model::catalogue::STARTS;
use tokenvault_tests::model::judge::Violation;
use tokenvault_tests::model::world::{Budget, Event, Rules, World};
use tokenvault_tests::model::{Explored, explore};

#[test]
fn no_order_of_events_loses_a_job_sends_a_token_twice_or_ends_a_users_session() {
    for start in STARTS {
        let found = explore(start.world(Rules::default(), start.budget), start.quick, |_, _| ());
        assert!(found.violations.is_empty(), "{}: {:?}", start.name, found.violations);
        assert!(found.states > 1_000 && found.renewed > 0, "{}: nothing was explored: {found:?}", start.name);
    }
}

/// The shorter the delays that faults account for, the stricter the promises.
#[test]
fn without_faults_every_end_is_known_soon_and_no_key_costs_a_job_that_may_exchange() {
    for start in STARTS.iter().filter(|start| start.name.starts_with("prompt")) {
        let budget = Budget { faults: 0, ..start.budget };
        let found = explore(start.world(Rules::default(), budget), 22, |_, _| ());
        assert!(found.violations.is_empty(), "{}: {:?}", start.name, found.violations);
        assert!(found.ended > 0, "{}: no job ended: {found:?}", start.name);
    }
}

/// One job, somebody who revokes, and another registration, of which nothing may be lost.
fn beside_a_newcomer(rules: Rules) -> Explored {
    let budget = Budget { others: 1, newcomers: 1, ..Budget::default() };
    explore(World::new(rules, Acquisition::Exchange, 1, false, budget), 13, |_, _| ())
}

/// One job, and somebody who may end its session or a Keycloak that may err.
fn in_doubt(rules: Rules, budget: Budget) -> Explored {
    explore(World::new(rules, Acquisition::Exchange, 1, false, budget), 14, |_, _| ())
}

fn doubting(doubt: Duration) -> Rules {
    let mut rules = Rules::default();
    (rules.settings.doubt, rules.settings.doubt_pause) = (doubt, doubt);
    rules
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

#[test]
fn a_first_no_that_is_the_last_is_seen_to_lose_a_job_while_keycloak_errs() {
    let found = in_doubt(doubting(Duration::ZERO), Budget { errors: 1, ..Budget::default() });
    assert_eq!(first(&found), Some(Violation::ExcessLoss));
}

#[test]
fn a_doubt_without_end_is_seen_to_keep_a_job_whose_session_has_ended() {
    let rules = Rules { prompt: true, ends_within: Some(Duration::from_secs(45)), ..doubting(Duration::from_hours(1)) };
    let found = in_doubt(rules, Budget { others: 1, ..Budget::default() });
    assert_eq!(first(&found), Some(Violation::Outlived));
}

/// One sequence of events, walked in the world that is explored.
struct Walk(World);

impl Walk {
    fn new(jobs: usize, budget: Budget) -> Self {
        Self(World::new(Rules::default(), Acquisition::Exchange, jobs, false, budget))
    }

    fn beside_a_newcomer() -> Self {
        Self::new(1, Budget { others: 1, newcomers: 1, ..Budget::default() })
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

    /// The same until it is settled whether its session lives.
    fn see_through(&mut self, job: u8) {
        self.renew(job);
        while self.0.record(job.into()).is_some_and(|record| record.doubt.is_some()) {
            self.renew(job);
        }
    }

    /// Lets a replica claim a job that has come due.
    fn claim(&mut self, job: u8) {
        while !self.0.events().contains(&Event::Claim(job)) {
            self.take(Event::Tick);
        }
        self.take(Event::Claim(job));
    }

    /// Whether a refresh token was spent for the job's pair.
    fn has_spent(&self, job: usize) -> bool {
        self.0.record(job).and_then(|record| record.pair.as_ref()).is_some_and(|pair| pair.rotated)
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
    let mut walk = Walk::beside_a_newcomer();
    for event in [Event::Detach, Event::Join(1), Event::Register, Event::Registered] {
        walk.take(event);
    }
    walk.see_through(0);
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
    let mut walk = Walk::beside_a_newcomer();
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
    walk.see_through(0);
    assert_eq!(walk.state(0), State::Ended(EndReason::ClientSessionGone));
    assert_eq!(walk.0.sessions_live(), (true, true));
}

#[test]
fn a_job_outlives_a_keycloak_that_errs_for_a_moment() {
    let mut walk = Walk::new(1, Budget { errors: 1, ..Budget::default() });
    let first = walk.generation(0);
    walk.claim(0);
    walk.take(Event::ErrBegins);
    walk.see_through(0);
    assert_eq!((walk.state(0), walk.generation(0)), (State::Active, first.next()));
    assert!(!walk.has_spent(0));
}

#[test]
fn a_key_that_is_deleted_costs_no_job_whatever_it_was_for() {
    for (event, spends) in [(Event::DeleteHmacKey, false), (Event::DeleteSigningKey, true)] {
        let mut walk = Walk::new(2, Budget { keys: 1, ..Budget::default() });
        let first = walk.generation(0);
        walk.take(event);
        for job in 0..2 {
            walk.see_through(job);
            let place = usize::from(job);
            assert_eq!((walk.state(place), walk.generation(place)), (State::Active, first.next()), "{event:?}");
            assert_eq!(walk.has_spent(place), spends, "{event:?}");
        }
    }
}

#[test]
fn a_token_that_is_too_long_is_renewed_by_spending_and_its_neighbours_is_not() {
    let mut walk = Walk::new(2, Budget { oversized: 1, ..Budget::default() });
    let first = walk.generation(0);
    walk.take(Event::Outgrow(0));
    for _ in 0..2 {
        walk.renew(0);
        walk.renew(1);
    }
    assert_eq!([0, 1].map(|job| walk.state(job)), [State::Active; 2]);
    assert_eq!([0, 1].map(|job| walk.generation(job)), [first.next().next(); 2]);
    assert_eq!([0, 1].map(|job| walk.has_spent(job)), [true, false]);
}

#[test]
fn an_announced_logout_is_believed_at_the_first_no() {
    let mut walk = Walk::new(1, Budget { announcements: 1, ..Budget::default() });
    walk.take(Event::Announce);
    walk.renew(0);
    assert_eq!(walk.state(0), State::Active, "the session has not ended yet");
    walk.take(Event::LogOut);
    walk.renew(0);
    assert_eq!(walk.state(0), State::Ended(EndReason::SessionNotActive));
}
