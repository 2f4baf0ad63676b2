//! The pair that watches the user's session.

use super::*;

#[test]
fn a_watched_user_session_that_ends_takes_the_impersonated_job_with_it() {
    let mut start = record(Acquisition::Impersonate);
    start.anchor = Some(Anchor { session: session("ui", 1), pair: pair("a1", at(0), 1) });
    let mut walk = Walk::new(start, at(30));
    walk.step(Step::Probe(Slot::Anchor), ACTIVE).issue(Step::Exchange(Slot::Anchor), "a2");
    walk.step(Step::Probe(Slot::Current), ACTIVE).issue(Step::Exchange(Slot::Current), "r2");
    walk.crash(at(60));
    walk.round.record.anchor.as_mut().expect("an anchor").pair.epoch = Some(StoreEpoch(7));
    walk.round.findings.epoch = Some(StoreEpoch(7));
    walk.dead(Slot::Anchor).declare(Slot::Anchor);
    walk.step(Step::Spend(Slot::Anchor), refused(Refusal::SessionNotActive));
    assert_eq!(walk.next(), Step::Finish(EndReason::SessionNotActive));
}

#[test]
fn after_a_long_outage_the_anchor_is_spent_as_carefully_as_the_pair() {
    let mut start = record(Acquisition::Impersonate);
    start.anchor = Some(Anchor { session: session("ui", 1), pair: pair("a1", at(0), 1) });
    let mut early = Walk::new(start.clone(), at(120));
    early.step(Step::Probe(Slot::Anchor), ACTIVE);
    assert_eq!(early.next(), Step::Probe(Slot::Current), "it lives long enough without being spent");
    let mut walk = Walk::new(start, at(900));
    walk.step(Step::Probe(Slot::Anchor), ACTIVE).declare(Slot::Anchor).step(Step::Spend(Slot::Anchor), UNKNOWN);
    assert_eq!(walk.next(), Step::Rest(at(930)));
    walk.crash(at(930)).step(Step::Probe(Slot::Anchor), INACTIVE);
    assert_eq!(walk.next(), Step::Finish(EndReason::SpendLost), "unwatched, it must not go on");
    let mut answered = walk;
    answered.round.record.intent = None;
    answered.crash(at(931)).step(Step::Probe(Slot::Anchor), ACTIVE).declare(Slot::Anchor);
    answered.issue(Step::Spend(Slot::Anchor), "a2").step(Step::Probe(Slot::Current), ACTIVE);
    assert_eq!(answered.record().slot(Slot::Anchor).map(|token| token.hash), Some(RefreshToken::new("a2").hash()));
    assert_eq!((answered.record().intent, answered.record().generation), (None, Generation(1)));
}

#[test]
fn a_disabled_user_suspends_a_watched_job_and_enabling_brings_it_back() {
    let mut start = record(Acquisition::Impersonate);
    let mut anchor = pair("a1", at(0), 1);
    anchor.epoch = Some(StoreEpoch(7));
    start.anchor = Some(Anchor { session: session("ui", 1), pair: anchor });
    let mut walk = Walk::new(start, at(30));
    walk.round.findings.epoch = Some(StoreEpoch(7));
    walk.dead(Slot::Anchor).declare(Slot::Anchor);
    walk.step(Step::Spend(Slot::Anchor), refused(Refusal::UserDisabled));
    assert_eq!(walk.record().state, State::Suspended(Suspension::UserDisabled));
    walk.crash(at(45)).dead(Slot::Anchor);
    assert!(matches!(walk.next(), Step::Rest(_)));
    walk.crash(at(56)).step(Step::Probe(Slot::Anchor), ACTIVE).issue(Step::Exchange(Slot::Anchor), "a2");
    walk.step(Step::Probe(Slot::Current), ACTIVE).issue(Step::Exchange(Slot::Current), "r2");
    assert_eq!(walk.record().state, State::Active);
}

#[test]
fn the_pair_that_is_served_does_not_wait_for_who_joins_the_session_that_is_watched() {
    let mut start = record(Acquisition::Impersonate);
    start.anchor = Some(Anchor { session: session("ui", 1), pair: pair("a1", at(0), 1) });
    for (now, next) in [(at(30), Step::Rest(at(30) + Duration::from_millis(300))), (at(40), Step::Probe(Slot::Current))]
    {
        let mut walk = Walk::new(start.clone(), now);
        walk.round.findings.anchor_joining = true;
        walk.step(Step::Probe(Slot::Anchor), StepOutcome::Probed(Ok(true)));
        assert_eq!(walk.next(), next);
    }
}

#[test]
fn an_anchor_of_an_earlier_life_is_never_exchanged() {
    let mut start = record(Acquisition::Impersonate);
    start.anchor = Some(Anchor { session: session("ui", 1), pair: pair("a1", at(0), 1) });
    let mut walk = Walk::new(start, at(30));
    walk.round.findings.anchor_incarnation = Some(Incarnation(2));
    walk.step(Step::Probe(Slot::Anchor), ACTIVE);
    assert_eq!(walk.next(), Step::Probe(Slot::Current));
    walk.crash(at(900));
    walk.round.findings.anchor_incarnation = Some(Incarnation(2));
    walk.step(Step::Probe(Slot::Anchor), ACTIVE).declare(Slot::Anchor);
}
