//! What ends a job, what suspends it, and what does neither.

use super::*;

#[test]
fn a_disabled_user_whose_pair_was_noted_under_the_old_number_is_waited_for() {
    let mut start = record(Acquisition::Exchange);
    start.pair.as_mut().expect("a pair").epoch = Some(StoreEpoch(7));
    let mut walk = Walk::new(start, at(100));
    (walk.round.findings.incarnation, walk.round.findings.epoch) = (Some(Incarnation(2)), Some(StoreEpoch(7)));
    walk.step(Step::Probe(Slot::Current), INACTIVE).declare(Slot::Current);
    walk.step(Step::Spend(Slot::Current), refused(Refusal::UserDisabled));
    assert_eq!(walk.record().state, State::Suspended(Suspension::UserDisabled));
}

#[test]
fn a_refusal_in_unknown_words_suspends_and_ends_nothing() {
    for refusal in [Refusal::Other, Refusal::NotAllowed, Refusal::TokenTooLong] {
        let mut walk = Walk::new(record(Acquisition::Adopt), at(100));
        walk.step(Step::Probe(Slot::Current), ACTIVE).declare(Slot::Current);
        walk.step(Step::Spend(Slot::Current), refused(refusal));
        assert_eq!(walk.record().state, State::Suspended(Suspension::Unclear), "{refusal:?}");
        assert_eq!(walk.record().pair.as_ref().map(|pair| pair.refresh.sends), Some(1), "that it was sent is known");
        walk.crash(at(200)).step(Step::Probe(Slot::Current), ACTIVE).declare(Slot::Current);
        walk.issue(Step::Spend(Slot::Current), "r2");
        assert_eq!(walk.record().state, State::Active);
    }
}

#[test]
fn a_token_that_names_nobody_is_not_taken_for_another_users() {
    let nameless = || {
        let pair = pair("r2", at(30), 2);
        StepOutcome::Issued(Box::new(Issued {
            pair,
            expires_in: LIFE,
            identity: Identity::Missing,
            session: None,
            account: None,
        }))
    };
    let mut walk = Walk::new(record(Acquisition::Exchange), at(30));
    let before = walk.record().pair.clone();
    walk.step(Step::Probe(Slot::Current), ACTIVE).step(Step::Exchange(Slot::Current), nameless());
    assert_eq!((walk.record().state, &walk.record().pair), (State::Active, &before), "what there is stays");
    assert_eq!(walk.record().failures, 1);

    // What a spend brings is the only pair there is.
    let mut walk = Walk::new(record(Acquisition::Adopt), at(100));
    walk.step(Step::Probe(Slot::Current), ACTIVE).declare(Slot::Current);
    walk.step(Step::Spend(Slot::Current), nameless());
    assert_eq!(walk.record().state, State::Suspended(Suspension::IdentityMissing));
    assert_eq!(walk.record().generation, Generation(2));
}

#[test]
fn a_session_is_not_given_up_because_the_vaults_client_is_refused() {
    let mut walk = Walk::new(record(Acquisition::Impersonate), at(100_000));
    walk.step(Step::Finish(EndReason::Expired), StepOutcome::Noted);
    walk.step(Step::Revoke, StepOutcome::Revoked(Err(CallError::Refused(Refusal::ClientRejected))));
    assert!(matches!(walk.next(), Step::Rest(_)) && walk.record().pair.is_some());
}

#[test]
fn a_session_ended_by_somebody_else_is_not_undone_by_impersonating_again() {
    let mut walk = Walk::new(record(Acquisition::Impersonate), at(30));
    walk.dead(Slot::Current).declare(Slot::Current);
    walk.step(Step::Spend(Slot::Current), refused(Refusal::SessionNotActive));
    assert_eq!(walk.next(), Step::Finish(EndReason::SessionNotActive));
}

#[test]
fn a_disabled_user_suspends_the_job_and_enabling_restores_it() {
    let mut walk = Walk::new(record(Acquisition::Exchange), at(30));
    walk.dead(Slot::Current).declare(Slot::Current);
    walk.step(Step::Spend(Slot::Current), refused(Refusal::UserDisabled));
    assert_eq!(walk.record().state, State::Suspended(Suspension::UserDisabled));
    walk.crash(at(45)).dead(Slot::Current);
    assert!(matches!(walk.next(), Step::Rest(_)), "asking again must not spend anything");
    walk.crash(at(56)).step(Step::Probe(Slot::Current), ACTIVE).issue(Step::Exchange(Slot::Current), "r2");
    assert_eq!(walk.record().state, State::Active);
}

#[test]
fn a_renewed_token_of_another_user_ends_the_job() {
    let mut walk = Walk::new(record(Acquisition::Exchange), at(30));
    let issued = Issued {
        pair: pair("r2", at(30), 2),
        expires_in: LIFE,
        identity: Identity::Another,
        session: None,
        account: None,
    };
    walk.step(Step::Probe(Slot::Current), ACTIVE)
        .step(Step::Exchange(Slot::Current), StepOutcome::Issued(Box::new(issued)));
    assert_eq!(walk.record().state, State::Ended(EndReason::IdentityChanged));
    assert!(walk.record().pair.is_none(), "there must be no moment in which it could be served");
}

#[test]
fn an_impersonated_job_is_revoked_before_its_tombstone_and_stays_releasing_while_keycloak_is_away() {
    let mut walk = Walk::new(record(Acquisition::Impersonate), at(100_000));
    walk.step(Step::Finish(EndReason::Expired), StepOutcome::Noted);
    assert_eq!(walk.record().state, State::Releasing(EndReason::Expired));
    walk.step(Step::Revoke, StepOutcome::Revoked(Err(CallError::NoAnswer(Cause::Connect))));
    assert!(matches!(walk.next(), Step::Rest(_)));
    walk.crash(at(100_020)).step(Step::Revoke, StepOutcome::Revoked(Ok(())));
    walk.step(Step::Finish(EndReason::Expired), StepOutcome::Noted);
    assert_eq!(walk.record().state, State::Ended(EndReason::Expired));
    assert!(walk.record().pair.is_none());
}

#[test]
fn a_refused_impersonation_is_asked_for_again_and_suspends_the_job_when_its_pair_has_died() {
    let mut start = record(Acquisition::Impersonate);
    start.session_ends_at = Some(at(60));
    let mut walk = Walk::new(start, at(30));
    walk.step(Step::Impersonate, refused(Refusal::NotAllowed));
    assert!(matches!(walk.next(), Step::Rest(_)));
    walk.crash(at(60)).step(Step::Impersonate, refused(Refusal::NotAllowed));
    assert_eq!(walk.record().state, State::Suspended(Suspension::ImpersonationRefused));
    walk.crash(at(200)).issue(Step::Impersonate, "r2");
    assert_eq!(walk.record().state, State::Active, "the role is back, or the user is enabled again");
}

#[test]
fn a_session_of_the_vaults_own_that_lapsed_during_an_outage_is_acquired_again() {
    let mut walk = Walk::new(record(Acquisition::Impersonate), at(2_000));
    walk.step(Step::Probe(Slot::Current), INACTIVE);
    assert_eq!(walk.next(), Step::Impersonate);
    let mut walk = Walk::new(record(Acquisition::Exchange), at(2_000));
    walk.step(Step::Probe(Slot::Current), INACTIVE);
    assert_eq!(walk.next(), Step::Finish(EndReason::SessionExpired));
}
