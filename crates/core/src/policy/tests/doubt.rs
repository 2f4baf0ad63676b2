//! Keycloak says that a session is over: when it is believed, and what is done until then.

use super::*;

const FIFTEENTH: u64 = 5;

/// A record whose pair was written in the store's present life, so that its token may be sent to learn why it is dead.
fn unbroken(acquisition: Acquisition) -> Walk {
    let mut start = record(acquisition);
    start.pair.as_mut().expect("a pair").epoch = Some(StoreEpoch(7));
    let mut walk = Walk::new(start, at(30)).doubting();
    walk.round.findings.epoch = Some(StoreEpoch(7));
    walk
}

impl Walk {
    /// The next round begins when the last one said.
    #[track_caller]
    fn wait(&mut self) -> &mut Self {
        let Step::Rest(until) = self.next() else { panic!("{:?}", self.next()) };
        self.step(Step::Rest(until), StepOutcome::Noted).crash(until);
        self.round.findings.epoch = Some(StoreEpoch(7));
        self
    }

    /// Every answer is no, until something else than another question follows; answers how long that took.
    #[track_caller]
    fn all_no(&mut self, slot: Slot) -> Duration {
        let began = self.now;
        loop {
            self.dead(slot);
            if !matches!(self.next(), Step::Doubt(_)) {
                return self.now.since(began);
            }
            self.step(Step::Doubt(slot), StepOutcome::Noted);
            if !matches!(self.next(), Step::Rest(_)) {
                return self.now.since(began);
            }
            self.wait();
        }
    }
}

#[test]
fn a_session_is_over_after_every_answer_for_the_whole_doubt_was_no_and_its_end_is_learnt_only_then() {
    let mut walk = unbroken(Acquisition::Exchange);
    assert_eq!(walk.all_no(Slot::Current), Duration::from_secs(75));
    walk.declare(Slot::Current).step(Step::Spend(Slot::Current), refused(Refusal::SessionNotActive));
    assert_eq!(walk.next(), Step::Finish(EndReason::SessionNotActive));
    walk.step(Step::Finish(EndReason::SessionNotActive), StepOutcome::Noted);
    assert_eq!(walk.record().doubt, None);
}

#[test]
fn one_yes_lifts_the_doubt_and_the_next_one_begins_anew() {
    let mut walk = unbroken(Acquisition::Exchange);
    for _ in 0..14 {
        walk.dead(Slot::Current).step(Step::Doubt(Slot::Current), StepOutcome::Noted).wait();
    }
    walk.now = at(130);
    walk.step(Step::Probe(Slot::Current), ACTIVE);
    assert_eq!(walk.record().doubt, None);
    walk.crash(at(131));
    walk.round.findings.epoch = Some(StoreEpoch(7));
    assert_eq!(walk.all_no(Slot::Current), Duration::from_secs(75));
}

#[test]
fn while_it_is_in_doubt_nobody_hurries_the_next_question_but_a_logout_token() {
    let mut walk = unbroken(Acquisition::Exchange);
    walk.dead(Slot::Current).step(Step::Doubt(Slot::Current), StepOutcome::Noted);
    let next = at(30 + FIFTEENTH);
    assert_eq!(walk.next(), Step::Rest(next));
    walk.round.record.due_at = Some(at(31));
    walk.crash(at(31));
    assert_eq!(walk.next(), Step::Rest(next), "a reader made it due");
    walk.round.record.announced_at = Some(at(31));
    walk.round.findings.epoch = Some(StoreEpoch(7));
    walk.step(Step::Probe(Slot::Current), INACTIVE).declare(Slot::Current);
}

#[test]
fn a_logout_token_makes_the_first_no_the_last() {
    let mut walk = unbroken(Acquisition::Exchange);
    walk.round.record.announced_at = Some(at(29));
    walk.step(Step::Probe(Slot::Current), INACTIVE).declare(Slot::Current);
    walk.step(Step::Spend(Slot::Current), refused(Refusal::SessionNotActive));
    assert_eq!(walk.next(), Step::Finish(EndReason::SessionNotActive));

    let mut stale = unbroken(Acquisition::Exchange);
    stale.round.record.announced_at = Some(Timestamp::from_secs(1_000_000 - 31));
    stale.dead(Slot::Current);
    assert_eq!(stale.next(), Step::Doubt(Slot::Current), "of a logout of a minute ago nothing is known");
}

#[test]
fn while_a_logout_is_under_way_nothing_is_exchanged_or_spent() {
    for (now, what) in [(30, "exchanged"), (100, "spent")] {
        let mut walk = Walk::new(record(Acquisition::Exchange), at(now)).doubting();
        walk.round.record.announced_at = Some(at(now - 1));
        walk.step(Step::Probe(Slot::Current), ACTIVE);
        assert_eq!(walk.next(), Step::Rest(at(now + 10)), "not {what}");
        walk.crash(at(now + 25)).step(Step::Probe(Slot::Current), ACTIVE);
        assert!(matches!(walk.next(), Step::Exchange(_) | Step::Declare(_)), "it lives after all");
    }
}

#[test]
fn a_dead_refresh_token_does_not_end_a_pair_whose_access_token_is_active() {
    let mut walk = unbroken(Acquisition::Exchange);
    walk.step(Step::Probe(Slot::Current), INACTIVE).step(Step::Introspect(Slot::Current), ACTIVE);
    walk.step(Step::Doubt(Slot::Current), StepOutcome::Noted);
    assert_eq!(
        walk.next(),
        Step::Rest(at(30 + FIFTEENTH)),
        "the session may just be ending: a second look comes first"
    );
    walk.wait().step(Step::Probe(Slot::Current), INACTIVE).step(Step::Introspect(Slot::Current), ACTIVE);
    walk.issue(Step::Exchange(Slot::Current), "r2");
    assert_eq!((walk.record().generation, walk.record().doubt), (Generation(2), None));
}

#[test]
fn the_second_look_comes_in_time_for_an_access_token_that_dies_soon() {
    let mut walk = unbroken(Acquisition::Exchange);
    walk.now = at(52);
    walk.step(Step::Probe(Slot::Current), INACTIVE).step(Step::Introspect(Slot::Current), ACTIVE);
    walk.step(Step::Doubt(Slot::Current), StepOutcome::Noted);
    assert_eq!(walk.next(), Step::Rest(at(54)), "8 s are left");
}

#[test]
fn an_access_token_that_is_active_and_refused_as_a_subject_is_a_no() {
    let mut walk = unbroken(Acquisition::Impersonate);
    walk.step(Step::Probe(Slot::Current), INACTIVE).step(Step::Introspect(Slot::Current), ACTIVE);
    walk.step(Step::Doubt(Slot::Current), StepOutcome::Noted).wait();
    walk.step(Step::Probe(Slot::Current), INACTIVE).step(Step::Introspect(Slot::Current), ACTIVE);
    walk.step(Step::Exchange(Slot::Current), refused(Refusal::SubjectInvalid));
    walk.step(Step::Probe(Slot::Current), INACTIVE).step(Step::Doubt(Slot::Current), StepOutcome::Noted);
    assert_eq!(walk.record().doubt.expect("a doubt").lasted, Duration::from_secs(FIFTEENTH));
}

#[test]
fn an_access_token_of_an_earlier_life_is_neither_asked_about_nor_exchanged() {
    let mut walk = unbroken(Acquisition::Exchange);
    walk.round.findings.incarnation = Some(Incarnation(2));
    walk.step(Step::Probe(Slot::Current), INACTIVE);
    assert_eq!(walk.next(), Step::Doubt(Slot::Current));
}

#[test]
fn an_active_access_token_that_must_not_be_exchanged_is_served_while_it_lives() {
    let mut walk = unbroken(Acquisition::Exchange).without_exchange();
    walk.step(Step::Probe(Slot::Current), INACTIVE).step(Step::Introspect(Slot::Current), ACTIVE);
    assert_eq!(walk.next(), Step::Rest(at(40)));
    walk.crash(at(70)).step(Step::Probe(Slot::Current), INACTIVE);
    assert_ne!(walk.next(), Step::Introspect(Slot::Current), "it is dead");
}

#[test]
fn time_in_which_nobody_answered_is_no_evidence() {
    let mut walk = unbroken(Acquisition::Exchange);
    walk.dead(Slot::Current).step(Step::Doubt(Slot::Current), StepOutcome::Noted).wait();
    for (now, lasted) in [(200, 7_500), (900, 0)] {
        walk.crash(at(now));
        walk.round.findings.epoch = Some(StoreEpoch(7));
        walk.dead(Slot::Current).step(Step::Doubt(Slot::Current), StepOutcome::Noted);
        assert_eq!(walk.record().doubt.expect("a doubt").lasted, Duration::from_millis(lasted), "at {now} s");
        assert!(matches!(walk.next(), Step::Rest(_)));
    }
}

#[test]
fn an_answer_is_evidence_from_when_it_was_heard_and_not_from_when_it_was_counted() {
    let mut walk = unbroken(Acquisition::Exchange);
    walk.dead(Slot::Current).step(Step::Doubt(Slot::Current), StepOutcome::Noted).wait();
    walk.dead(Slot::Current);
    walk.now = at(37);
    walk.step(Step::Doubt(Slot::Current), StepOutcome::Noted);
    let doubt = walk.record().doubt.expect("a doubt");
    assert_eq!((doubt.lasted, doubt.heard_at), (Duration::from_secs(FIFTEENTH), at(37)));
}

#[test]
fn an_active_access_token_is_no_no_so_the_doubt_begins_when_that_is_inactive_too() {
    let mut walk = unbroken(Acquisition::Exchange);
    walk.step(Step::Probe(Slot::Current), INACTIVE).step(Step::Introspect(Slot::Current), ACTIVE);
    walk.step(Step::Doubt(Slot::Current), StepOutcome::Noted).wait();
    assert_eq!(walk.all_no(Slot::Current), Duration::from_secs(75));
}

#[test]
fn what_was_said_of_an_earlier_generation_is_no_evidence() {
    let mut walk = unbroken(Acquisition::Exchange);
    walk.dead(Slot::Current).step(Step::Doubt(Slot::Current), StepOutcome::Noted).wait();
    walk.round.record.generation = Generation(2);
    walk.dead(Slot::Current).step(Step::Doubt(Slot::Current), StepOutcome::Noted);
    assert_eq!(walk.record().doubt.expect("a doubt").lasted, Duration::ZERO);
}

#[test]
fn a_refused_refresh_begins_a_doubt_and_the_token_is_sent_again_when_keycloak_says_yes() {
    let mut walk = unbroken(Acquisition::Exchange);
    walk.now = at(100);
    walk.step(Step::Probe(Slot::Current), ACTIVE).declare(Slot::Current);
    walk.step(Step::Spend(Slot::Current), refused(Refusal::ClientSessionGone));
    walk.step(Step::Doubt(Slot::Current), StepOutcome::Noted);
    assert_eq!(walk.record().slot(Slot::Current).expect("a token").sends, 0, "it was not consumed");
    walk.wait().step(Step::Probe(Slot::Current), ACTIVE).declare(Slot::Current);
    walk.issue(Step::Spend(Slot::Current), "r2");
    assert_eq!(walk.record().doubt, None);
}

#[test]
fn who_says_yes_to_every_probe_and_no_to_every_refresh_is_believed_in_the_end() {
    let mut walk = unbroken(Acquisition::Exchange);
    walk.now = at(100);
    while walk.now <= at(200) {
        walk.step(Step::Probe(Slot::Current), ACTIVE).declare(Slot::Current);
        walk.step(Step::Spend(Slot::Current), refused(Refusal::TokenStale));
        walk.step(Step::Doubt(Slot::Current), StepOutcome::Noted);
        if walk.next() == Step::Finish(EndReason::TokenStale) {
            assert_eq!(walk.now, at(175));
            return;
        }
        walk.wait();
    }
    panic!("it never ends");
}

#[test]
fn a_reason_that_was_told_once_is_not_asked_for_again() {
    let mut walk = unbroken(Acquisition::Exchange);
    walk.now = at(100);
    walk.step(Step::Probe(Slot::Current), ACTIVE).declare(Slot::Current);
    walk.step(Step::Spend(Slot::Current), refused(Refusal::ClientSessionGone));
    walk.step(Step::Doubt(Slot::Current), StepOutcome::Noted).wait();
    walk.all_no(Slot::Current);
    assert_eq!(walk.next(), Step::Finish(EndReason::ClientSessionGone));
}

#[test]
fn a_token_that_lost_its_key_is_at_fault_and_not_its_session_so_a_session_of_ones_own_is_acquired_anew() {
    for (acquisition, expected) in
        [(Acquisition::Impersonate, Step::Impersonate), (Acquisition::Exchange, Step::Finish(EndReason::TokenRefused))]
    {
        let mut walk = unbroken(acquisition);
        walk.now = at(100);
        walk.all_no(Slot::Current);
        walk.declare(Slot::Current).step(Step::Spend(Slot::Current), refused(Refusal::TokenInvalid));
        assert_eq!(walk.next(), expected);
    }
    let mut denied = unbroken(Acquisition::Impersonate);
    denied.all_no(Slot::Current);
    denied.declare(Slot::Current).step(Step::Spend(Slot::Current), refused(Refusal::TokenInvalid));
    let end = Step::Finish(EndReason::TokenRefused);
    assert_eq!(denied.next(), end, "its access token was no longer active either: the session is over");
}

#[test]
fn no_end_of_a_session_of_ones_own_is_undone_by_acquiring_again() {
    for refusal in [Refusal::SessionNotActive, Refusal::ClientSessionGone, Refusal::TokenReused, Refusal::TokenStale] {
        let mut walk = unbroken(Acquisition::Impersonate);
        walk.now = at(100);
        walk.all_no(Slot::Current);
        walk.declare(Slot::Current).step(Step::Spend(Slot::Current), refused(refusal));
        assert!(matches!(walk.next(), Step::Finish(_)), "{refusal:?}");
    }
}

#[test]
fn a_spend_that_was_lost_ends_its_job_only_after_the_doubt() {
    let mut walk = Walk::new(record(Acquisition::Adopt), at(120)).without_exchange().doubting();
    walk.step(Step::Probe(Slot::Current), ACTIVE).declare(Slot::Current).crash(at(150));
    walk.dead(Slot::Current).step(Step::Doubt(Slot::Current), StepOutcome::Noted).crash(at(151));
    assert_eq!(walk.next(), Step::Rest(at(155)), "nobody hurries it");
    walk.crash(at(155));
    assert_eq!(walk.all_no(Slot::Current), Duration::from_secs(70));
    assert_eq!(walk.next(), Step::Finish(EndReason::SpendLost));
}

#[test]
fn a_no_about_the_watched_session_and_one_about_the_own_one_do_not_add_up() {
    let mut walk = unbroken(Acquisition::Impersonate);
    let mut anchor = pair("a1", at(0), 1);
    anchor.epoch = Some(StoreEpoch(7));
    walk.round.record.anchor = Some(Anchor { session: session("ui", 1), pair: anchor });
    walk.dead(Slot::Anchor).step(Step::Doubt(Slot::Anchor), StepOutcome::Noted).wait();
    walk.step(Step::Probe(Slot::Anchor), ACTIVE);
    assert_eq!(walk.record().doubt, None);
    walk.crash(at(36));
    walk.round.findings.epoch = Some(StoreEpoch(7));
    walk.dead(Slot::Anchor).step(Step::Doubt(Slot::Anchor), StepOutcome::Noted).wait();
    assert_eq!(walk.all_no(Slot::Anchor), Duration::from_secs(70), "5 s were over");
    walk.declare(Slot::Anchor).step(Step::Spend(Slot::Anchor), refused(Refusal::SessionNotActive));
    assert_eq!(walk.next(), Step::Finish(EndReason::SessionNotActive));
}

#[test]
fn a_token_that_needed_no_spend_when_the_doubt_began_may_be_sent_when_it_ends_unless_the_store_broke() {
    for (epoch, expected) in [(8, Step::Declare(Slot::Current)), (9, Step::DoubtStore)] {
        // Written in another life of the store than the one it is in.
        let mut walk = unbroken(Acquisition::Exchange);
        walk.round.findings.epoch = Some(StoreEpoch(8));
        walk.dead(Slot::Current).step(Step::Doubt(Slot::Current), StepOutcome::Noted);
        walk.round.record.doubt.as_mut().expect("a doubt").lasted = Duration::from_secs(75);
        walk.crash(at(100));
        walk.round.findings.epoch = Some(StoreEpoch(epoch));
        walk.dead(Slot::Current);
        assert_eq!(walk.next(), expected);
    }
}

#[test]
fn while_the_session_is_in_doubt_a_living_token_is_served_however_little_is_left() {
    let mut walk = unbroken(Acquisition::Exchange);
    walk.dead(Slot::Current).step(Step::Doubt(Slot::Current), StepOutcome::Noted);
    let ask = |min_ttl| Ask { min_ttl, default_min_ttl: Duration::from_secs(20) };
    let left = Duration::from_secs(8);
    assert_eq!(serve(walk.record(), &ask(None), at(52)), Serve::Token(left));
    assert_eq!(serve(walk.record(), &ask(Some(Duration::from_secs(20))), at(52)), Serve::Renew);
    assert_eq!(serve(walk.record(), &ask(None), at(60)), Serve::Renew);
    assert_eq!(serve(&record(Acquisition::Exchange), &ask(None), at(52)), Serve::Renew, "something newer can come");
}

#[test]
fn a_refused_spare_does_not_make_anybody_forget_that_the_newest_token_is_under_way() {
    for refusal in [refused(Refusal::ClientSessionGone), StepOutcome::Failed(GrantError::Unsent(Cause::Connect))] {
        let mut start = record(Acquisition::Exchange);
        start.spare = Some(pair("r0", at(0), 0).refresh);
        let mut walk = Walk::new(start, at(120)).doubting();
        walk.step(Step::Probe(Slot::Current), ACTIVE).declare(Slot::Current).step(Step::Spend(Slot::Current), UNKNOWN);
        walk.step(Step::Probe(Slot::Spare), ACTIVE).declare(Slot::Spare).step(Step::Spend(Slot::Spare), refusal);
        assert_eq!(walk.record().intent.map(|intent| intent.slot), Some(Slot::Current));
        walk.crash(at(130)).step(Step::Probe(Slot::Spare), INACTIVE);
        assert_eq!(walk.next(), Step::Rest(at(150)), "its request may still be at work");
    }
}

#[test]
fn sends_that_are_used_up_end_a_job_though_the_probe_says_yes_for_ever() {
    let mut walk = Walk::new(record(Acquisition::Adopt), at(120)).without_exchange().doubting();
    walk.settings.max_reuse = 1;
    walk.step(Step::Probe(Slot::Current), ACTIVE).declare(Slot::Current).crash(at(200));
    walk.step(Step::Probe(Slot::Current), ACTIVE).declare(Slot::Current).crash(at(300));
    walk.step(Step::Probe(Slot::Current), ACTIVE);
    assert_eq!(walk.next(), Step::Finish(EndReason::SpendLost));
}

#[test]
fn an_announced_end_is_an_end_also_where_the_reason_cannot_be_learnt() {
    // Nothing is known of the store's life in which the pair was written.
    let mut walk = Walk::new(record(Acquisition::Exchange), at(61)).doubting();
    walk.round.record.announced_at = Some(at(60));
    walk.dead(Slot::Current).step(Step::DoubtStore, StepOutcome::Noted);
    assert_eq!(walk.next(), Step::Finish(EndReason::SessionNotActive));

    let mut watched = Walk::new(record(Acquisition::Impersonate), at(61)).doubting();
    watched.round.record.anchor = Some(Anchor { session: session("ui", 1), pair: pair("a1", at(0), 1) });
    watched.round.record.announced_at = Some(at(60));
    watched.dead(Slot::Anchor);
    assert_eq!(watched.next(), Step::Finish(EndReason::SessionNotActive));
}

#[test]
fn an_announced_end_does_not_wait_for_a_spend_whose_answer_is_lost() {
    let mut walk = Walk::new(record(Acquisition::Exchange), at(120)).doubting();
    walk.step(Step::Probe(Slot::Current), ACTIVE).declare(Slot::Current).crash(at(121));
    assert_eq!(walk.next(), Step::Rest(at(150)));
    walk.round.record.announced_at = Some(at(121));
    walk.step(Step::Probe(Slot::Current), INACTIVE);
    assert_eq!(walk.next(), Step::Finish(EndReason::SessionNotActive));
}

#[test]
fn while_a_logout_is_under_way_no_spare_is_spent_either() {
    let mut start = record(Acquisition::Exchange);
    start.spare = Some(pair("r0", at(0), 0).refresh);
    start.announced_at = Some(at(119));
    let mut walk = Walk::new(start, at(120)).doubting();
    walk.step(Step::Probe(Slot::Current), INACTIVE).step(Step::Probe(Slot::Spare), ACTIVE);
    assert!(matches!(walk.next(), Step::Rest(_)), "{:?}", walk.next());
}

#[test]
fn the_looks_in_the_middle_of_a_doubt_ask_about_the_newest_token_alone() {
    let mut start = record(Acquisition::Exchange);
    start.spare = Some(pair("r0", at(0), 0).refresh);
    start.pair.as_mut().expect("a pair").epoch = Some(StoreEpoch(7));
    let mut walk = Walk::new(start, at(30)).doubting();
    walk.round.findings.epoch = Some(StoreEpoch(7));
    let all = |walk: &mut Walk| {
        walk.dead(Slot::Current)
            .step(Step::Probe(Slot::Spare), INACTIVE)
            .step(Step::Doubt(Slot::Current), StepOutcome::Noted);
    };
    all(&mut walk);
    walk.wait();
    all(&mut walk);
    for _ in 0..13 {
        walk.wait().step(Step::Probe(Slot::Current), INACTIVE).step(Step::Doubt(Slot::Current), StepOutcome::Noted);
    }
    all(walk.wait());
    assert_eq!(walk.next(), Step::Declare(Slot::Current));
}

#[test]
fn a_session_of_ones_own_that_may_have_been_ended_is_not_acquired_anew_when_its_token_lapses() {
    let mut walk = Walk::new(record(Acquisition::Impersonate), at(2_000)).doubting();
    walk.round.record.lost_since = Some(at(1_000));
    walk.dead(Slot::Current);
    assert_eq!(walk.next(), Step::Finish(EndReason::SessionExpired));
}
