//! What a step requires, what is owed after it, and what is written.

use super::*;

const SLOTS: [Slot; 3] = [Slot::Current, Slot::Spare, Slot::Anchor];

fn issued(identity: Identity) -> StepOutcome {
    StepOutcome::Issued(Box::new(Issued {
        pair: pair("r2", at(30), 2),
        expires_in: LIFE,
        identity,
        session: None,
        account: None,
    }))
}

/// Carries a step out at an instant.
fn turn(record: Record, step: Step, outcome: StepOutcome, now: Timestamp) -> Turn {
    let settings = Settings::default();
    conclude(begin(record), step, outcome, &DecisionInput { now, roll: 0.5, settings: &settings })
}

fn due() -> Record {
    record(Acquisition::Exchange)
}

fn declared(slot: Slot) -> Record {
    let mut walk = Walk::new(due(), at(120));
    walk.step(Step::Probe(slot), ACTIVE).declare(slot);
    walk.record().clone()
}

#[test]
fn nothing_that_could_hurt_is_sent_without_a_look_at_the_lease_and_that_look_is_the_last_wait() {
    let sent = SLOTS.into_iter().flat_map(|slot| [Step::Exchange(slot), Step::Spend(slot)]);
    for step in sent.chain([Step::Impersonate, Step::Revoke]) {
        let after_the_lease = step.requirements().iter().rev().take_while(|one| **one != Requirement::Lease);
        assert!(step.requirements().contains(&Requirement::Lease), "{step:?}");
        assert!(after_the_lease.eq(step.requirements().iter().filter(|one| **one == Requirement::TimelyIntent)));
    }
}

#[test]
fn a_spend_is_declared_with_a_permit_and_sent_while_its_intent_leaves_keycloak_enough_time() {
    assert_eq!(Step::Declare(Slot::Spare).requirements(), [Requirement::SpendPermit, Requirement::Lease]);
    assert!(Step::Spend(Slot::Spare).requirements().contains(&Requirement::TimelyIntent));
    assert!(Step::Spend(Slot::Spare).requirements().contains(&Requirement::HeldShutdown));
    let (record, time_to_answer) = (declared(Slot::Current), Duration::from_secs(20));
    assert!(intent_is_timely(&record, at(130), time_to_answer));
    assert!(!intent_is_timely(&record, at(131), time_to_answer));
    assert!(!intent_is_timely(&due(), at(0), time_to_answer), "nothing was declared");
}

#[test]
fn an_exchange_looks_at_who_joins_before_it_asks_for_leave_and_at_the_lease_last() {
    let expected = [Requirement::UnchangedPeers, Requirement::ExchangePermission, Requirement::Lease];
    assert_eq!(Step::Exchange(Slot::Anchor).requirements(), expected);
}

#[test]
fn only_an_end_by_time_is_looked_up_again() {
    assert_eq!(Step::Finish(EndReason::Expired).requirements(), [Requirement::NewestEnd]);
    assert!(Step::Finish(EndReason::SessionNotActive).requirements().is_empty());
}

#[test]
fn a_question_requires_nothing_and_what_only_writes_sends_nothing() {
    for slot in SLOTS {
        assert!(Step::Probe(slot).requirements().is_empty() && Step::Introspect(slot).requirements().is_empty());
        assert_eq!(Step::Declare(slot).request(), None);
        assert_eq!(Step::Spend(slot).request(), Some(Request::Refresh(slot)));
    }
    let attempt = AttemptId::from_bits(7);
    assert_eq!(Step::Declare(Slot::Current).unsent_outcome(|| attempt), StepOutcome::Declared(attempt));
    assert_eq!(Step::Suspend.unsent_outcome(|| attempt), StepOutcome::Noted);
}

#[test]
fn the_answer_to_a_spend_and_a_new_session_must_be_durable_and_nothing_else() {
    for slot in SLOTS {
        let spent = Step::Spend(slot).obligations(&issued(Identity::Missing));
        assert_eq!((spent.durability, spent.returns_permit), (Durability::SpendAnswer, true));
        assert_eq!(Step::Spend(slot).obligations(&UNKNOWN).durability, Durability::Repeatable);
        assert_eq!(Step::Exchange(slot).obligations(&issued(Identity::Same)).durability, Durability::Repeatable);
    }
    assert_eq!(Step::Impersonate.obligations(&issued(Identity::Same)).durability, Durability::NewSession);
    assert_eq!(Step::Impersonate.obligations(&UNKNOWN).durability, Durability::Repeatable);
}

#[test]
fn the_stores_life_is_asked_for_where_a_dead_token_may_be_sent_to_learn_why() {
    for (slot, expected) in [(Slot::Current, true), (Slot::Anchor, true), (Slot::Spare, false)] {
        assert_eq!(Step::Probe(slot).obligations(&INACTIVE).asks_epoch, expected);
        assert!(!Step::Probe(slot).obligations(&ACTIVE).asks_epoch);
        assert!(!Step::Introspect(slot).obligations(&INACTIVE).asks_epoch);
    }
}

#[test]
fn what_an_outcome_says_of_keycloak_is_told_apart_from_what_it_says_of_the_client() {
    let step = Step::Exchange(Slot::Current);
    for (outcome, reply, may_exchange) in [
        (issued(Identity::Same), KeycloakReply::Answered, Some(true)),
        (refused(Refusal::NotAllowed), KeycloakReply::Answered, Some(false)),
        (refused(Refusal::TokenTooLong), KeycloakReply::Answered, None),
        (refused(Refusal::ClientRejected), KeycloakReply::ClientRejected, None),
        (UNKNOWN, KeycloakReply::NoAnswer, None),
        (StepOutcome::Noted, KeycloakReply::NotAsked, None),
    ] {
        let owed = step.obligations(&outcome);
        assert_eq!((owed.reply, owed.may_exchange), (reply, may_exchange), "{outcome:?}");
    }
    let by_spending = Step::Spend(Slot::Current).obligations(&refused(Refusal::NotAllowed));
    assert_eq!(by_spending.may_exchange, None, "it was not an exchange that was refused");
    assert!(KeycloakReply::NoAnswer > KeycloakReply::ClientRejected, "the worst counts");
}

#[test]
fn a_rest_goes_with_the_step_before_it_and_gives_the_lease_back() {
    let exchanged = turn(due(), Step::Exchange(Slot::Current), issued(Identity::Same), at(30));
    assert!(exchanged.is_written() && exchanged.releases_lease() && exchanged.is_last());
    assert_eq!(exchanged.after().due_at, Some(at(60)));
    let probed = turn(due(), Step::Probe(Slot::Current), ACTIVE, at(30));
    assert!(!probed.is_written() && !probed.is_last(), "an exchange follows");
}

#[test]
fn the_answer_to_a_spend_is_written_by_itself_and_gives_no_lease_back() {
    let spent = turn(declared(Slot::Current), Step::Spend(Slot::Current), issued(Identity::Same), at(121));
    assert!(spent.is_written() && !spent.releases_lease() && !spent.is_last());
}

#[test]
fn an_end_gives_the_lease_back_and_says_which_client_session_is_over() {
    for (reason, supersedes) in [(EndReason::ClientSessionGone, true), (EndReason::SessionLost, false)] {
        let ended = turn(due(), Step::Finish(reason), StepOutcome::Noted, at(30));
        assert!(ended.releases_lease() && ended.is_last() && ended.has_ended());
        assert_eq!(ended.ending(), Some(reason));
        assert_eq!(ended.superseded_session().is_some(), supersedes);
        assert_eq!(ended.events().collect::<Vec<_>>(), [JobEvent::Ended(reason)]);
    }
}

#[test]
fn a_job_with_a_session_of_the_vaults_own_ends_once_and_is_a_tombstone_after_the_revocation() {
    let reason = EndReason::SessionNotActive;
    let begun = turn(record(Acquisition::Impersonate), Step::Finish(reason), StepOutcome::Noted, at(30));
    assert!(!begun.has_ended() && !begun.is_last());
    assert_eq!(begun.events().collect::<Vec<_>>(), [JobEvent::Ended(reason)]);
    let completed = turn(begun.after().clone(), Step::Finish(reason), StepOutcome::Noted, at(31));
    assert!(completed.has_ended() && completed.ending() == Some(reason));
    assert_eq!(completed.events().next(), None, "it was told before");
}

#[test]
fn what_became_of_a_job_is_told_in_order_and_a_job_that_has_ended_says_nothing_more() {
    let renewed = turn(due(), Step::Exchange(Slot::Current), issued(Identity::Same), at(30));
    assert_eq!(renewed.events().collect::<Vec<_>>(), [JobEvent::Renewed]);
    let doubted = turn(due(), Step::Doubt(Slot::Current), StepOutcome::Noted, at(30));
    assert_eq!(doubted.events().collect::<Vec<_>>(), [JobEvent::DoubtBegun]);
    let nameless = turn(declared(Slot::Current), Step::Spend(Slot::Current), issued(Identity::Missing), at(121));
    let suspended = JobEvent::Suspended(Suspension::IdentityMissing);
    assert_eq!(nameless.events().collect::<Vec<_>>(), [JobEvent::Renewed, suspended]);
    let ended = Record { state: State::Ended(EndReason::Released), due_at: None, ..due() };
    let nothing = turn(ended, Step::Done, StepOutcome::Noted, at(30));
    assert!(nothing.is_last() && !nothing.is_written() && nothing.ending().is_none());
    assert_eq!(nothing.events().next(), None);
}
