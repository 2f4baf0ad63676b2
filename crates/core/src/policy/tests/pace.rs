//! How soon a job is looked at again.

use super::*;

#[test]
fn a_session_renewed_seldom_is_asked_about_in_between() {
    let mut start = record(Acquisition::Exchange);
    start.access_life = Duration::from_hours(1);
    start.renew_at = Some(at(1800));
    start.pair.as_mut().expect("a pair").access_expires_at = at(3600);
    let mut walk = Walk::new(start, at(300));
    walk.step(Step::Probe(Slot::Current), ACTIVE);
    assert_eq!(walk.next(), Step::Rest(at(600)));
    let Step::Rest(until) = walk.next() else { panic!("must rest") };
    walk.step(Step::Rest(until), StepOutcome::Noted).crash(at(600));
    walk.step(Step::Probe(Slot::Current), StepOutcome::Probed(Err(CallError::NoAnswer(Cause::Timeout))));
    assert_eq!((walk.next(), walk.record().failures), (Step::Rest(at(900)), 0), "nothing hangs on this answer yet");
    walk.crash(at(1790)).step(Step::Probe(Slot::Current), ACTIVE);
    assert_eq!(walk.next(), Step::Rest(at(1800)));
    walk.crash(at(1800)).step(Step::Probe(Slot::Current), ACTIVE);
    assert_eq!(walk.next(), Step::Exchange(Slot::Current));
}

#[test]
fn what_dies_sooner_is_tried_again_sooner_however_often_it_has_failed() {
    let delay_at = |second, failures| {
        let mut walk = Walk::new(Record { failures, ..record(Acquisition::Exchange) }, at(second));
        walk.step(Step::Probe(Slot::Current), StepOutcome::Probed(Err(CallError::NoAnswer(Cause::Connect))));
        let Step::Rest(until) = walk.next() else { panic!("must rest") };
        until.since(walk.now)
    };
    let delays = [30, 40, 50, 56].map(|second| delay_at(second, 10));
    assert!(delays.is_sorted_by(|sooner, later| sooner > later), "{delays:?}");
    assert!(delay_at(30, 10) <= Duration::from_secs(30) / 8);
    assert_eq!(delay_at(59, 10), delay_at(59, 0), "but not more often than after the first failure");
    assert!(delay_at(61, 10) > Duration::from_secs(9), "a dead one has nothing more to lose");
}

#[test]
fn failures_back_off_up_to_the_limit() {
    let mut walk = Walk::new(record(Acquisition::Exchange), at(61));
    let mut last = Duration::ZERO;
    for _ in 0..12 {
        walk.step(Step::Probe(Slot::Current), StepOutcome::Probed(Err(CallError::NoAnswer(Cause::Connect))));
        let Step::Rest(until) = walk.next() else { panic!("must rest") };
        let delay = until.since(walk.now);
        assert!(delay >= last && delay <= walk.settings.retry_max);
        last = delay;
        walk.crash(until);
    }
    assert!(last > Duration::from_secs(9));
}
