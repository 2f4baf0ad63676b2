//! Renewals by exchange, and what keeps them from it.

use super::*;

#[test]
fn nothing_is_done_before_it_is_due() {
    let walk = Walk::new(record(Acquisition::Exchange), at(29));
    assert_eq!(walk.next(), Step::Rest(at(30)));
}

#[test]
fn the_everyday_renewal_probes_exchanges_and_keeps_the_unspent_token_as_the_spare() {
    let mut walk = Walk::new(record(Acquisition::Exchange), at(30));
    walk.step(Step::Probe(Slot::Current), ACTIVE).issue(Step::Exchange(Slot::Current), "r2");
    assert_eq!(walk.next(), Step::Rest(at(60)));
    assert_eq!(walk.record().generation, Generation(2));
    assert_eq!(walk.record().spare.as_ref().map(|spare| spare.hash), Some(RefreshToken::new("r1").hash()));
    assert!(walk.record().intent.is_none());
}

#[test]
fn a_lost_exchange_answer_costs_nothing_and_is_tried_again_soon() {
    let mut walk = Walk::new(record(Acquisition::Exchange), at(30));
    walk.step(Step::Probe(Slot::Current), ACTIVE).step(Step::Exchange(Slot::Current), UNKNOWN);
    let Step::Rest(until) = walk.next() else { panic!("{:?}", walk.next()) };
    assert!(until < at(31));
    walk.crash(until).step(Step::Probe(Slot::Current), ACTIVE).issue(Step::Exchange(Slot::Current), "r2");
}

#[test]
fn an_inactive_token_is_never_exchanged_but_an_unsent_one_may_be_sent_to_learn_why() {
    let mut walk = Walk::new(record(Acquisition::Exchange), at(30));
    walk.dead(Slot::Current).declare(Slot::Current);
    walk.step(Step::Spend(Slot::Current), refused(Refusal::SessionNotActive));
    assert_eq!(walk.next(), Step::Finish(EndReason::SessionNotActive));
    walk.step(Step::Finish(EndReason::SessionNotActive), StepOutcome::Noted);
    assert_eq!(walk.record().state, State::Ended(EndReason::SessionNotActive));
    assert!(walk.record().pair.is_none() && walk.record().due_at.is_none());
    assert_eq!(walk.next(), Step::Done);
}

#[test]
fn a_token_of_an_earlier_life_of_the_client_session_is_refreshed_to_learn_why_it_is_dead_and_never_exchanged() {
    let mut walk = Walk::new(record(Acquisition::Exchange), at(30));
    walk.round.findings.incarnation = Some(Incarnation(2));
    walk.step(Step::Probe(Slot::Current), INACTIVE).declare(Slot::Current);
    walk.step(Step::Spend(Slot::Current), refused(Refusal::ClientSessionGone));
    assert_eq!(walk.next(), Step::Finish(EndReason::SessionRecreated));
}

#[test]
fn a_pair_of_the_new_life_that_was_noted_under_the_old_number_is_refreshed_and_never_exchanged() {
    let mut walk = Walk::new(record(Acquisition::Exchange), at(30));
    walk.round.findings.incarnation = Some(Incarnation(2));
    walk.step(Step::Probe(Slot::Current), ACTIVE).declare(Slot::Current).issue(Step::Spend(Slot::Current), "r2");
    assert_eq!(walk.record().session.as_ref().map(|session| session.incarnation), Some(Incarnation(2)));
    assert_eq!(walk.next(), Step::Rest(at(60)));
}

#[test]
fn a_new_session_shorter_than_the_last_is_used_and_not_replaced_at_once() {
    let mut start = record(Acquisition::Impersonate);
    start.session_ends_at = Some(at(60));
    let mut walk = Walk::new(start, at(30));
    let mut short = pair("r2", at(30), 2);
    short.access_expires_at = at(50);
    short.refresh.expires_at = Some(at(50));
    let issued = Issued {
        pair: short,
        expires_in: Duration::from_secs(20),
        identity: Identity::Same,
        session: Some(session("sid-2", 0)),
        account: None,
    };
    walk.step(Step::Impersonate, StepOutcome::Issued(Box::new(issued)));
    assert_eq!(walk.next(), Step::Rest(at(40)));
}

#[test]
fn a_refused_exchange_falls_back_to_spending_after_a_fresh_probe() {
    let mut walk = Walk::new(record(Acquisition::Adopt), at(30));
    walk.step(Step::Probe(Slot::Current), ACTIVE).step(Step::Exchange(Slot::Current), refused(Refusal::NotAllowed));
    walk.step(Step::Probe(Slot::Current), ACTIVE);
    assert_eq!(walk.next(), Step::Declare(Slot::Current));
}

#[test]
fn a_pair_cut_to_the_sessions_end_is_the_last_one_of_an_exchange_and_renews_an_impersonation() {
    for (acquisition, expected) in
        [(Acquisition::Exchange, Step::Rest(at(50))), (Acquisition::Impersonate, Step::Impersonate)]
    {
        let mut walk = Walk::new(record(acquisition), at(30));
        let mut cut = pair("r2", at(30), 2);
        cut.access_expires_at = at(50);
        cut.refresh.expires_at = Some(at(50));
        let issued = Issued {
            pair: cut,
            expires_in: Duration::from_secs(20),
            identity: Identity::Same,
            session: None,
            account: None,
        };
        walk.step(Step::Probe(Slot::Current), ACTIVE);
        walk.step(Step::Exchange(Slot::Current), StepOutcome::Issued(Box::new(issued)));
        assert_eq!(walk.next(), expected);
    }
}

#[test]
fn a_lowered_access_token_life_is_not_mistaken_for_a_sessions_end() {
    let mut walk = Walk::new(record(Acquisition::Exchange), at(30));
    let mut shorter = pair("r2", at(30), 2);
    shorter.access_expires_at = at(50);
    let issued = Issued {
        pair: shorter,
        expires_in: Duration::from_secs(20),
        identity: Identity::Same,
        session: None,
        account: None,
    };
    walk.step(Step::Probe(Slot::Current), ACTIVE)
        .step(Step::Exchange(Slot::Current), StepOutcome::Issued(Box::new(issued)));
    assert_eq!(walk.next(), Step::Rest(at(40)));
    assert_eq!(walk.record().access_life, Duration::from_secs(20));
}

#[test]
fn the_account_is_learnt_by_an_exchange_that_names_its_user_and_by_nothing_else() {
    let account = |id: &str| AccountId::parse(id).ok();
    let issued = |identity: Identity, id: &str| {
        let pair = pair("r2", at(30), 2);
        StepOutcome::Issued(Box::new(Issued { pair, expires_in: LIFE, identity, session: None, account: account(id) }))
    };
    let learnt = |known: Option<AccountId>, spent: bool, identity: Identity| {
        let mut start = record(Acquisition::Exchange);
        start.account = known;
        let mut walk = Walk::new(start, at(if spent { 100 } else { 30 }));
        walk.step(Step::Probe(Slot::Current), ACTIVE);
        let step = if spent { Step::Spend(Slot::Current) } else { Step::Exchange(Slot::Current) };
        if spent {
            walk.declare(Slot::Current);
        }
        walk.step(step, issued(identity, "k-1"));
        walk.record().account.clone()
    };
    assert_eq!(learnt(None, false, Identity::Same), account("k-1"));
    assert_eq!(learnt(account("k-0"), false, Identity::Same), account("k-0"), "it is learnt once");
    assert_eq!(learnt(None, false, Identity::Missing), None);
    assert_eq!(learnt(None, false, Identity::Another), None);
    assert_eq!(learnt(None, true, Identity::Same), None, "what a spend brings is written by whoever holds the lease");
}

#[test]
fn a_renewal_waits_for_who_is_joining_until_readers_would_pay_for_it() {
    let mut start = record(Acquisition::Exchange);
    start.spare = Some(pair("r0", at(0), 0).refresh);
    let walked = |now, start: &Record| {
        let mut walk = Walk::new(start.clone(), now);
        walk.round.findings.joining = true;
        walk.step(Step::Probe(Slot::Current), StepOutcome::Probed(Ok(true)));
        walk.next()
    };
    assert_eq!(walked(at(30), &start), Step::Rest(at(30) + Duration::from_millis(300)));
    assert_eq!(walked(at(39), &start), Step::Rest(at(39) + Duration::from_millis(300)));
    assert_eq!(walked(at(40), &start), Step::Declare(Slot::Current), "a third of its life is left");

    start.spare.as_mut().expect("a spare").sends = 1;
    assert_eq!(walked(at(40), &start), Step::Rest(at(40) + Duration::from_millis(300)), "nothing could replace it");
    assert_eq!(walked(at(60), &start), Step::Declare(Slot::Current), "it is dead");
}
