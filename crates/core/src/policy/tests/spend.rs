//! Renewals by spending: declared, lost, found again.

use super::*;

#[test]
fn an_expired_access_token_means_spending_and_only_after_an_intent() {
    let mut walk = Walk::new(record(Acquisition::Exchange), at(120));
    walk.step(Step::Probe(Slot::Current), ACTIVE).declare(Slot::Current);
    assert_eq!(walk.record().slot(Slot::Current).map(|token| token.sends), Some(1));
    assert_eq!(walk.record().intent.map(|intent| intent.deadline), Some(at(150)));
    walk.issue(Step::Spend(Slot::Current), "r2");
    assert!(walk.record().intent.is_none());
    assert!(walk.record().spare.is_none(), "a spent token is no spare");
}

#[test]
fn after_a_lost_spend_the_spare_is_used_at_once_and_the_spent_token_never_again() {
    let mut start = record(Acquisition::Exchange);
    start.spare = Some(pair("r0", at(0), 0).refresh);
    let mut walk = Walk::new(start, at(120));
    walk.step(Step::Probe(Slot::Current), ACTIVE).declare(Slot::Current).step(Step::Spend(Slot::Current), UNKNOWN);
    walk.step(Step::Probe(Slot::Spare), ACTIVE).declare(Slot::Spare).issue(Step::Spend(Slot::Spare), "r2");
    assert!(walk.record().spare.is_none());
    assert_eq!(walk.record().pair.as_ref().map(|pair| pair.refresh.hash), Some(RefreshToken::new("r2").hash()));
}

#[test]
fn a_crash_after_the_intent_without_a_spare_waits_for_the_deadline_and_lets_the_probe_decide() {
    for (active, expected) in [(ACTIVE, Step::Declare(Slot::Current)), (INACTIVE, Step::Finish(EndReason::SpendLost))] {
        let mut walk = Walk::new(record(Acquisition::Adopt), at(120)).without_exchange();
        walk.step(Step::Probe(Slot::Current), ACTIVE).declare(Slot::Current).crash(at(121));
        assert_eq!(walk.next(), Step::Rest(at(150)));
        walk.crash(at(150)).step(Step::Probe(Slot::Current), active);
        assert_eq!(walk.next(), expected);
    }
}

#[test]
fn every_unspent_token_in_reserve_is_good_for_one_more_lost_answer() {
    let mut walk = Walk::new(record(Acquisition::Exchange), at(30));
    for token in ["r2", "r3", "r4", "r5"] {
        walk.step(Step::Probe(Slot::Current), ACTIVE).issue(Step::Exchange(Slot::Current), token);
        walk.crash(walk.now + LIFE / 2);
    }
    let spares = walk.record().spare.iter().chain(&walk.record().reserve);
    let hashes: Vec<_> = spares.map(|token| token.hash).collect();
    assert_eq!(hashes, ["r4", "r3", "r2"].map(|token| RefreshToken::new(token).hash()), "the newest first");

    walk.crash(walk.now + LIFE);
    walk.step(Step::Probe(Slot::Current), ACTIVE).declare(Slot::Current).step(Step::Spend(Slot::Current), UNKNOWN);
    let now = walk.now;
    walk.step(Step::Probe(Slot::Spare), ACTIVE).declare(Slot::Spare).crash(now);
    for _ in 0..2 {
        walk.step(Step::NextSpare, StepOutcome::Noted).step(Step::Probe(Slot::Spare), ACTIVE).declare(Slot::Spare);
        walk.step(Step::Spend(Slot::Spare), UNKNOWN);
    }
    let deadline = walk.record().intent.expect("an intent").deadline;
    assert_eq!(walk.next(), Step::Rest(deadline), "there is no other");
    walk.crash(deadline).step(Step::Probe(Slot::Current), INACTIVE).step(Step::Probe(Slot::Spare), INACTIVE);
    walk.step(Step::NextSpare, StepOutcome::Noted).step(Step::Probe(Slot::Spare), ACTIVE).declare(Slot::Spare);
    walk.issue(Step::Spend(Slot::Spare), "r6");
    assert!(walk.record().spare.is_none() && walk.record().reserve.is_empty(), "what was sent is no spare");
}

#[test]
fn a_spend_that_was_not_answered_in_time_does_not_cost_the_spare_while_keycloak_is_slow() {
    let mut start = record(Acquisition::Exchange);
    start.spare = Some(pair("r0", at(0), 0).refresh);
    let slow = StepOutcome::Failed(GrantError::Unknown(Cause::Timeout));
    let mut walk = Walk::new(start, at(120));
    walk.step(Step::Probe(Slot::Current), ACTIVE).declare(Slot::Current).step(Step::Spend(Slot::Current), slow);
    assert_eq!(walk.next(), Step::Rest(at(150)));
    let mut late = Walk::new(walk.record().clone(), at(150));
    walk.crash(at(150)).step(Step::Probe(Slot::Current), ACTIVE).declare(Slot::Current);
    late.step(Step::Probe(Slot::Current), INACTIVE).step(Step::Probe(Slot::Spare), ACTIVE).declare(Slot::Spare);
}

#[test]
fn a_busy_keycloak_is_given_a_pause_before_the_spare_is_spent() {
    let mut start = record(Acquisition::Exchange);
    start.spare = Some(pair("r0", at(0), 0).refresh);
    let busy = StepOutcome::Failed(GrantError::Unknown(Cause::ServerError));
    let mut walk = Walk::new(start, at(120));
    walk.step(Step::Probe(Slot::Current), ACTIVE).declare(Slot::Current).step(Step::Spend(Slot::Current), busy);
    let Step::Rest(until) = walk.next() else { panic!("must rest") };
    walk.crash(until).step(Step::Probe(Slot::Spare), ACTIVE).declare(Slot::Spare);
}

#[test]
fn a_token_whose_send_never_arrived_is_found_again_after_the_spare_is_lost_as_well() {
    let mut start = record(Acquisition::Exchange);
    start.spare = Some(pair("r0", at(0), 0).refresh);
    let mut walk = Walk::new(start, at(120));
    walk.step(Step::Probe(Slot::Current), ACTIVE).declare(Slot::Current).step(Step::Spend(Slot::Current), UNKNOWN);
    walk.step(Step::Probe(Slot::Spare), ACTIVE).declare(Slot::Spare).step(Step::Spend(Slot::Spare), UNKNOWN);
    assert_eq!(walk.next(), Step::Rest(at(150)));
    walk.crash(at(150)).step(Step::Probe(Slot::Current), ACTIVE);
    walk.declare(Slot::Current).issue(Step::Spend(Slot::Current), "r2");
}

#[test]
fn a_lost_spend_of_an_impersonated_job_is_acquired_again() {
    let mut walk = Walk::new(record(Acquisition::Impersonate), at(120)).without_exchange();
    walk.step(Step::Probe(Slot::Current), ACTIVE).declare(Slot::Current).crash(at(200));
    walk.step(Step::Probe(Slot::Current), INACTIVE);
    assert_eq!(walk.next(), Step::Impersonate);
}

#[test]
fn a_spend_that_certainly_did_not_leave_is_taken_back() {
    let mut walk = Walk::new(record(Acquisition::Adopt), at(120)).without_exchange();
    walk.step(Step::Probe(Slot::Current), ACTIVE).declare(Slot::Current);
    walk.step(Step::Spend(Slot::Current), StepOutcome::Failed(GrantError::Unsent(Cause::Connect)));
    assert!(walk.record().intent.is_none());
    assert_eq!(walk.record().slot(Slot::Current).map(|token| token.sends), Some(0));
}

#[test]
fn with_max_reuse_the_durable_count_of_sends_limits_the_resends() {
    let mut walk = Walk::new(record(Acquisition::Adopt), at(120)).without_exchange();
    walk.settings.max_reuse = 1;
    walk.step(Step::Probe(Slot::Current), ACTIVE).declare(Slot::Current).crash(at(200));
    walk.step(Step::Probe(Slot::Current), ACTIVE).declare(Slot::Current).crash(at(300));
    walk.step(Step::Probe(Slot::Current), ACTIVE);
    assert_eq!(walk.next(), Step::Finish(EndReason::SpendLost), "two sends are all that a max reuse of 1 allows");
}

#[test]
fn one_that_may_have_been_spent_is_not_sent_and_given_up_only_after_a_doubt() {
    let mut walk = Walk::new(record(Acquisition::Exchange), at(100));
    walk.round.findings.incarnation = Some(Incarnation(2));
    walk.step(Step::Probe(Slot::Current), INACTIVE).step(Step::DoubtStore, StepOutcome::Noted);
    assert_eq!(walk.next(), Step::Rest(at(105)), "whoever holds a newer pair writes it again meanwhile");
    walk.crash(at(105));
    walk.round.findings.incarnation = Some(Incarnation(2));
    walk.step(Step::Probe(Slot::Current), INACTIVE);
    assert_eq!(walk.next(), Step::Finish(EndReason::SessionRecreated));
}

#[test]
fn a_token_that_may_have_been_spent_is_doubted_and_never_sent_to_learn_why_it_is_dead() {
    let rotated = |walk: &mut Walk| walk.round.record.pair.as_mut().expect("a pair").rotated = true;
    let expired = |walk: &mut Walk| walk.now = at(61);
    let barred = |walk: &mut Walk| walk.settings.may_exchange = false;
    for (case, change) in [("rotated", &rotated as &dyn Fn(&mut Walk)), ("expired", &expired), ("barred", &barred)] {
        let mut walk = Walk::new(record(Acquisition::Exchange), at(30));
        change(&mut walk);
        walk.dead(Slot::Current).step(Step::DoubtStore, StepOutcome::Noted);
        let Step::Rest(until) = walk.next() else { panic!("{case}: {:?}", walk.next()) };
        walk.crash(until);
        change(&mut walk);
        walk.now = walk.now.max(until);
        walk.dead(Slot::Current);
        walk.step(Step::Suspend, StepOutcome::Noted);
        assert_eq!(walk.record().state, State::Suspended(Suspension::Unclear), "{case}");
        walk.crash(at(2_000)).step(Step::Probe(Slot::Current), INACTIVE);
        assert_eq!(walk.next(), Step::Finish(EndReason::SessionExpired), "{case}: it does not wait for ever");
    }
}

#[test]
fn while_the_store_lives_on_unbroken_even_a_rotated_token_may_be_sent_to_learn_why() {
    for (store, expected) in [(7, Step::Declare(Slot::Current)), (8, Step::DoubtStore)] {
        let mut walk = Walk::new(record(Acquisition::Adopt), at(61));
        let pair = walk.round.record.pair.as_mut().expect("a pair");
        (pair.rotated, pair.epoch) = (true, Some(StoreEpoch(7)));
        walk.round.findings.epoch = Some(StoreEpoch(store));
        walk.step(Step::Probe(Slot::Current), INACTIVE);
        assert_eq!(walk.next(), expected, "{store}");
    }
}

#[test]
fn a_doubted_token_that_proves_active_is_doubted_no_more() {
    let mut walk = Walk::new(record(Acquisition::Adopt), at(61));
    walk.step(Step::Probe(Slot::Current), INACTIVE).step(Step::DoubtStore, StepOutcome::Noted);
    walk.crash(at(67)).step(Step::Probe(Slot::Current), ACTIVE).declare(Slot::Current);
    assert_eq!(walk.record().lost_since, None);
}

#[test]
fn an_unanswered_send_to_learn_why_a_session_died_does_not_bring_it_back_by_impersonation() {
    let mut walk = Walk::new(record(Acquisition::Impersonate), at(30));
    walk.dead(Slot::Current).declare(Slot::Current).crash(at(70));
    walk.step(Step::Probe(Slot::Current), INACTIVE);
    assert_eq!(walk.next(), Step::Suspend);
}
