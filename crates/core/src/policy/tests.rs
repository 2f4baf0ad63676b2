//! The machine, looked at as values: nothing runs.

use super::*;
use crate::ids::{ClientId, Generation, JobId, JobKey, ModuleName, SessionId, Subject, TenantId, UserId};
use crate::ports::{CallError, Cause, Identity, Refusal};
use crate::record::{Acquisition, Anchor, EndReason, RefreshSlot, State, Suspension};
use crate::seal::Sealed;
use crate::secret::RefreshToken;

const LIFE: Duration = Duration::from_mins(1);

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(1_000_000 + seconds)
}

fn session(sid: &str, incarnation: u64) -> SessionRef {
    SessionRef {
        sid: SessionId::parse(sid).expect("sid"),
        client: ClientId::parse("vault").expect("client"),
        incarnation: Incarnation(incarnation),
    }
}

fn pair(token: &str, now: Timestamp, generation: u64) -> Pair {
    Pair {
        access: Sealed::from_bytes(vec![]),
        access_expires_at: now + LIFE,
        issued_at: now,
        scope: String::new(),
        rotated: false,
        epoch: None,
        refresh: RefreshSlot {
            sealed: Sealed::from_bytes(token.as_bytes().to_vec()),
            hash: RefreshToken::new(token).hash(),
            generation: Generation(generation),
            expires_at: Some(now + Duration::from_mins(30)),
            sends: 0,
        },
    }
}

fn record(acquisition: Acquisition) -> Record {
    Record {
        acquisition,
        expires_at: at(100_000),
        keep_until: at(200_000),
        session: Some(session("sid", 1)),
        pair: Some(pair("r1", at(0), 1)),
        access_life: LIFE,
        renew_at: Some(at(30)),
        due_at: Some(at(30)),
        ..Record::new(
            JobKey::new(TenantId::parse("diku").expect("tenant"), JobId::parse("job").expect("job")),
            UserId::parse("u").expect("user"),
            Subject::parse("s").expect("subject"),
            ModuleName::parse("mod-di").expect("module"),
            at(0),
        )
    }
}

/// A round that is walked step by step; the walker says what each step brings.
struct Walk {
    progress: Progress,
    settings: Settings,
    now: Timestamp,
    attempts: u64,
}

impl Walk {
    fn new(record: Record, now: Timestamp) -> Self {
        Self {
            progress: Progress::begin(record, Some(Incarnation(1))),
            settings: Settings { doubt: Duration::ZERO, ..Settings::default() },
            now,
            attempts: 0,
        }
    }

    /// One to whom the first no is not the last.
    fn doubting(mut self) -> Self {
        self.settings.doubt = Settings::default().doubt;
        self
    }

    fn without_exchange(mut self) -> Self {
        self.settings.may_exchange = false;
        self
    }

    fn next(&self) -> Step {
        plan(&self.progress, &self.moment())
    }

    fn moment(&self) -> Moment<'_> {
        Moment { now: self.now, roll: 0.5, settings: &self.settings }
    }

    #[track_caller]
    fn step(&mut self, expected: Step, outcome: Outcome) -> &mut Self {
        assert_eq!(self.next(), expected);
        self.progress = apply(self.progress.clone(), expected, outcome, &self.moment());
        self
    }

    /// The refresh token of a slot is not active, nor is its access token, where that one could be.
    #[track_caller]
    fn dead(&mut self, slot: Slot) -> &mut Self {
        self.step(Step::Probe(slot), INACTIVE);
        if self.next() == Step::Introspect(slot) {
            self.step(Step::Introspect(slot), INACTIVE);
        }
        self
    }

    #[track_caller]
    fn declare(&mut self, slot: Slot) -> &mut Self {
        self.attempts += 1;
        let attempt = AttemptId::from_bits(self.attempts);
        self.step(Step::Declare(slot), Outcome::Declared(attempt))
    }

    #[track_caller]
    fn issue(&mut self, step: Step, token: &str) -> &mut Self {
        let generation = self.record().generation.next().0;
        let issued = Issued {
            pair: pair(token, self.now, generation),
            expires_in: LIFE,
            identity: Identity::Same,
            session: None,
            account: None,
        };
        self.step(step, Outcome::Issued(Box::new(issued)))
    }

    /// The holder dies here: what it had found out is gone, the record stays.
    fn crash(&mut self, now: Timestamp) -> &mut Self {
        self.progress = Progress::begin(self.progress.record.clone(), Some(Incarnation(1)));
        self.now = now;
        self
    }

    fn record(&self) -> &Record {
        &self.progress.record
    }
}

const ACTIVE: Outcome = Outcome::Probed(Ok(true));
const INACTIVE: Outcome = Outcome::Probed(Ok(false));
const UNKNOWN: Outcome = Outcome::Failed(GrantError::Unknown(Cause::Interrupted));

fn refused(refusal: Refusal) -> Outcome {
    Outcome::Failed(GrantError::Refused(refusal))
}

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
        walk.step(Step::NextSpare, Outcome::Noted).step(Step::Probe(Slot::Spare), ACTIVE).declare(Slot::Spare);
        walk.step(Step::Spend(Slot::Spare), UNKNOWN);
    }
    let deadline = walk.record().intent.expect("an intent").deadline;
    assert_eq!(walk.next(), Step::Rest(deadline), "there is no other");
    walk.crash(deadline).step(Step::Probe(Slot::Current), INACTIVE).step(Step::Probe(Slot::Spare), INACTIVE);
    walk.step(Step::NextSpare, Outcome::Noted).step(Step::Probe(Slot::Spare), ACTIVE).declare(Slot::Spare);
    walk.issue(Step::Spend(Slot::Spare), "r6");
    assert!(walk.record().spare.is_none() && walk.record().reserve.is_empty(), "what was sent is no spare");
}

#[test]
fn a_spend_that_was_not_answered_in_time_does_not_cost_the_spare_while_keycloak_is_slow() {
    let mut start = record(Acquisition::Exchange);
    start.spare = Some(pair("r0", at(0), 0).refresh);
    let slow = Outcome::Failed(GrantError::Unknown(Cause::Timeout));
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
    let busy = Outcome::Failed(GrantError::Unknown(Cause::ServerError));
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
    walk.step(Step::Spend(Slot::Current), Outcome::Failed(GrantError::Unsent(Cause::Connect)));
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
fn an_inactive_token_is_never_exchanged_but_an_unsent_one_may_be_sent_to_learn_why() {
    let mut walk = Walk::new(record(Acquisition::Exchange), at(30));
    walk.dead(Slot::Current).declare(Slot::Current);
    walk.step(Step::Spend(Slot::Current), refused(Refusal::SessionNotActive));
    assert_eq!(walk.next(), Step::Finish(EndReason::SessionNotActive));
    walk.step(Step::Finish(EndReason::SessionNotActive), Outcome::Noted);
    assert_eq!(walk.record().state, State::Ended(EndReason::SessionNotActive));
    assert!(walk.record().pair.is_none() && walk.record().due_at.is_none());
    assert_eq!(walk.next(), Step::Done);
}

#[test]
fn a_token_of_an_earlier_life_of_the_client_session_is_refreshed_to_learn_why_it_is_dead_and_never_exchanged() {
    let mut walk = Walk::new(record(Acquisition::Exchange), at(30));
    walk.progress.round.incarnation = Some(Incarnation(2));
    walk.step(Step::Probe(Slot::Current), INACTIVE).declare(Slot::Current);
    walk.step(Step::Spend(Slot::Current), refused(Refusal::ClientSessionGone));
    assert_eq!(walk.next(), Step::Finish(EndReason::SessionRecreated));
}

#[test]
fn one_that_may_have_been_spent_is_not_sent_and_given_up_only_after_a_doubt() {
    let mut walk = Walk::new(record(Acquisition::Exchange), at(100));
    walk.progress.round.incarnation = Some(Incarnation(2));
    walk.step(Step::Probe(Slot::Current), INACTIVE).step(Step::DoubtStore, Outcome::Noted);
    assert_eq!(walk.next(), Step::Rest(at(105)), "whoever holds a newer pair writes it again meanwhile");
    walk.crash(at(105));
    walk.progress.round.incarnation = Some(Incarnation(2));
    walk.step(Step::Probe(Slot::Current), INACTIVE);
    assert_eq!(walk.next(), Step::Finish(EndReason::SessionRecreated));
}

#[test]
fn a_disabled_user_whose_pair_was_noted_under_the_old_number_is_waited_for() {
    let mut start = record(Acquisition::Exchange);
    start.pair.as_mut().expect("a pair").epoch = Some(StoreEpoch(7));
    let mut walk = Walk::new(start, at(100));
    (walk.progress.round.incarnation, walk.progress.round.epoch) = (Some(Incarnation(2)), Some(StoreEpoch(7)));
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
        Outcome::Issued(Box::new(Issued {
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
fn a_pair_of_the_new_life_that_was_noted_under_the_old_number_is_refreshed_and_never_exchanged() {
    let mut walk = Walk::new(record(Acquisition::Exchange), at(30));
    walk.progress.round.incarnation = Some(Incarnation(2));
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
    walk.step(Step::Impersonate, Outcome::Issued(Box::new(issued)));
    assert_eq!(walk.next(), Step::Rest(at(40)));
}

#[test]
fn a_session_is_not_given_up_because_the_vaults_client_is_refused() {
    let mut walk = Walk::new(record(Acquisition::Impersonate), at(100_000));
    walk.step(Step::Finish(EndReason::Expired), Outcome::Noted);
    walk.step(Step::Revoke, Outcome::Revoked(Err(CallError::Refused(Refusal::ClientRejected))));
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
        walk.step(Step::Exchange(Slot::Current), Outcome::Issued(Box::new(issued)));
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
        .step(Step::Exchange(Slot::Current), Outcome::Issued(Box::new(issued)));
    assert_eq!(walk.next(), Step::Rest(at(40)));
    assert_eq!(walk.record().access_life, Duration::from_secs(20));
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
        .step(Step::Exchange(Slot::Current), Outcome::Issued(Box::new(issued)));
    assert_eq!(walk.record().state, State::Ended(EndReason::IdentityChanged));
    assert!(walk.record().pair.is_none(), "there must be no moment in which it could be served");
}

#[test]
fn the_account_is_learnt_by_an_exchange_that_names_its_user_and_by_nothing_else() {
    let account = |id: &str| AccountId::parse(id).ok();
    let issued = |identity: Identity, id: &str| {
        let pair = pair("r2", at(30), 2);
        Outcome::Issued(Box::new(Issued { pair, expires_in: LIFE, identity, session: None, account: account(id) }))
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
fn an_impersonated_job_is_revoked_before_its_tombstone_and_stays_releasing_while_keycloak_is_away() {
    let mut walk = Walk::new(record(Acquisition::Impersonate), at(100_000));
    walk.step(Step::Finish(EndReason::Expired), Outcome::Noted);
    assert_eq!(walk.record().state, State::Releasing(EndReason::Expired));
    walk.step(Step::Revoke, Outcome::Revoked(Err(CallError::NoAnswer(Cause::Connect))));
    assert!(matches!(walk.next(), Step::Rest(_)));
    walk.crash(at(100_020)).step(Step::Revoke, Outcome::Revoked(Ok(())));
    walk.step(Step::Finish(EndReason::Expired), Outcome::Noted);
    assert_eq!(walk.record().state, State::Ended(EndReason::Expired));
    assert!(walk.record().pair.is_none());
}

#[test]
fn a_watched_user_session_that_ends_takes_the_impersonated_job_with_it() {
    let mut start = record(Acquisition::Impersonate);
    start.anchor = Some(Anchor { session: session("ui", 1), pair: pair("a1", at(0), 1) });
    let mut walk = Walk::new(start, at(30));
    walk.step(Step::Probe(Slot::Anchor), ACTIVE).issue(Step::Exchange(Slot::Anchor), "a2");
    walk.step(Step::Probe(Slot::Current), ACTIVE).issue(Step::Exchange(Slot::Current), "r2");
    walk.crash(at(60));
    walk.progress.record.anchor.as_mut().expect("an anchor").pair.epoch = Some(StoreEpoch(7));
    walk.progress.round.epoch = Some(StoreEpoch(7));
    walk.dead(Slot::Anchor).declare(Slot::Anchor);
    walk.step(Step::Spend(Slot::Anchor), refused(Refusal::SessionNotActive));
    assert_eq!(walk.next(), Step::Finish(EndReason::SessionNotActive));
}

#[test]
fn a_token_that_may_have_been_spent_is_doubted_and_never_sent_to_learn_why_it_is_dead() {
    let rotated = |walk: &mut Walk| walk.progress.record.pair.as_mut().expect("a pair").rotated = true;
    let expired = |walk: &mut Walk| walk.now = at(61);
    let barred = |walk: &mut Walk| walk.settings.may_exchange = false;
    for (case, change) in [("rotated", &rotated as &dyn Fn(&mut Walk)), ("expired", &expired), ("barred", &barred)] {
        let mut walk = Walk::new(record(Acquisition::Exchange), at(30));
        change(&mut walk);
        walk.dead(Slot::Current).step(Step::DoubtStore, Outcome::Noted);
        let Step::Rest(until) = walk.next() else { panic!("{case}: {:?}", walk.next()) };
        walk.crash(until);
        change(&mut walk);
        walk.now = walk.now.max(until);
        walk.dead(Slot::Current);
        walk.step(Step::Suspend, Outcome::Noted);
        assert_eq!(walk.record().state, State::Suspended(Suspension::Unclear), "{case}");
        walk.crash(at(2_000)).step(Step::Probe(Slot::Current), INACTIVE);
        assert_eq!(walk.next(), Step::Finish(EndReason::SessionExpired), "{case}: it does not wait for ever");
    }
}

#[test]
fn while_the_store_lives_on_unbroken_even_a_rotated_token_may_be_sent_to_learn_why() {
    for (store, expected) in [(7, Step::Declare(Slot::Current)), (8, Step::DoubtStore)] {
        let mut walk = Walk::new(record(Acquisition::Adopt), at(61));
        let pair = walk.progress.record.pair.as_mut().expect("a pair");
        (pair.rotated, pair.epoch) = (true, Some(StoreEpoch(7)));
        walk.progress.round.epoch = Some(StoreEpoch(store));
        walk.step(Step::Probe(Slot::Current), INACTIVE);
        assert_eq!(walk.next(), expected, "{store}");
    }
}

#[test]
fn a_doubted_token_that_proves_active_is_doubted_no_more() {
    let mut walk = Walk::new(record(Acquisition::Adopt), at(61));
    walk.step(Step::Probe(Slot::Current), INACTIVE).step(Step::DoubtStore, Outcome::Noted);
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
    walk.step(Step::Rest(until), Outcome::Noted).crash(at(600));
    walk.step(Step::Probe(Slot::Current), Outcome::Probed(Err(CallError::NoAnswer(Cause::Timeout))));
    assert_eq!((walk.next(), walk.record().failures), (Step::Rest(at(900)), 0), "nothing hangs on this answer yet");
    walk.crash(at(1790)).step(Step::Probe(Slot::Current), ACTIVE);
    assert_eq!(walk.next(), Step::Rest(at(1800)));
    walk.crash(at(1800)).step(Step::Probe(Slot::Current), ACTIVE);
    assert_eq!(walk.next(), Step::Exchange(Slot::Current));
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
    answered.progress.record.intent = None;
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
    walk.progress.round.epoch = Some(StoreEpoch(7));
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
fn a_renewal_waits_for_who_is_joining_until_readers_would_pay_for_it() {
    let mut start = record(Acquisition::Exchange);
    start.spare = Some(pair("r0", at(0), 0).refresh);
    let walked = |now, start: &Record| {
        let mut walk = Walk::new(start.clone(), now);
        walk.progress.round.joining = true;
        walk.step(Step::Probe(Slot::Current), Outcome::Probed(Ok(true)));
        walk.next()
    };
    assert_eq!(walked(at(30), &start), Step::Rest(at(30) + Duration::from_millis(300)));
    assert_eq!(walked(at(39), &start), Step::Rest(at(39) + Duration::from_millis(300)));
    assert_eq!(walked(at(40), &start), Step::Declare(Slot::Current), "a third of its life is left");

    start.spare.as_mut().expect("a spare").sends = 1;
    assert_eq!(walked(at(40), &start), Step::Rest(at(40) + Duration::from_millis(300)), "nothing could replace it");
    assert_eq!(walked(at(60), &start), Step::Declare(Slot::Current), "it is dead");
}

#[test]
fn the_pair_that_is_served_does_not_wait_for_who_joins_the_session_that_is_watched() {
    let mut start = record(Acquisition::Impersonate);
    start.anchor = Some(Anchor { session: session("ui", 1), pair: pair("a1", at(0), 1) });
    for (now, next) in [(at(30), Step::Rest(at(30) + Duration::from_millis(300))), (at(40), Step::Probe(Slot::Current))]
    {
        let mut walk = Walk::new(start.clone(), now);
        walk.progress.round.anchor_joining = true;
        walk.step(Step::Probe(Slot::Anchor), Outcome::Probed(Ok(true)));
        assert_eq!(walk.next(), next);
    }
}

#[test]
fn an_anchor_of_an_earlier_life_is_never_exchanged() {
    let mut start = record(Acquisition::Impersonate);
    start.anchor = Some(Anchor { session: session("ui", 1), pair: pair("a1", at(0), 1) });
    let mut walk = Walk::new(start, at(30));
    walk.progress.round.anchor_incarnation = Some(Incarnation(2));
    walk.step(Step::Probe(Slot::Anchor), ACTIVE);
    assert_eq!(walk.next(), Step::Probe(Slot::Current));
    walk.crash(at(900));
    walk.progress.round.anchor_incarnation = Some(Incarnation(2));
    walk.step(Step::Probe(Slot::Anchor), ACTIVE).declare(Slot::Anchor);
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

#[test]
fn what_dies_sooner_is_tried_again_sooner_however_often_it_has_failed() {
    let delay_at = |second, failures| {
        let mut walk = Walk::new(Record { failures, ..record(Acquisition::Exchange) }, at(second));
        walk.step(Step::Probe(Slot::Current), Outcome::Probed(Err(CallError::NoAnswer(Cause::Connect))));
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
        walk.step(Step::Probe(Slot::Current), Outcome::Probed(Err(CallError::NoAnswer(Cause::Connect))));
        let Step::Rest(until) = walk.next() else { panic!("must rest") };
        let delay = until.since(walk.now);
        assert!(delay >= last && delay <= walk.settings.retry_max);
        last = delay;
        walk.crash(until);
    }
    assert!(last > Duration::from_secs(9));
}

mod doubt;

mod reads {
    use super::*;

    fn ask(min_ttl: Option<u64>) -> Ask {
        Ask { min_ttl: min_ttl.map(Duration::from_secs), default_min_ttl: Duration::from_secs(10) }
    }

    #[test]
    fn a_token_is_served_while_it_has_the_life_that_was_asked_for() {
        let record = record(Acquisition::Exchange);
        assert_eq!(serve(&record, &ask(Some(30)), at(30)), Serve::Token(Duration::from_secs(30)));
        assert_eq!(serve(&record, &ask(Some(30)), at(31)), Serve::Renew);
        assert_eq!(serve(&record, &ask(None), at(50)), Serve::Token(Duration::from_secs(10)));
        assert_eq!(serve(&record, &ask(None), at(51)), Serve::Renew);
    }

    #[test]
    fn no_token_is_served_expired_or_at_its_last_breath() {
        let record = record(Acquisition::Exchange);
        for now in [at(60), at(61), at(1_000), Timestamp::from_millis(at(59).as_millis() + 500)] {
            assert_eq!(serve(&record, &ask(Some(0)), now), Serve::Renew, "{now}");
        }
    }

    #[test]
    fn more_than_any_token_lives_is_refused_with_the_most_there_can_be() {
        let record = record(Acquisition::Exchange);
        assert_eq!(serve(&record, &ask(Some(59)), at(0)), Serve::TooDemanding(Duration::from_secs(58)));
    }

    #[test]
    fn a_token_that_a_clock_far_ahead_stamped_is_not_served() {
        let record = record(Acquisition::Exchange);
        let earlier = |seconds| Timestamp::from_secs(at(0).as_secs() - seconds);
        assert_eq!(serve(&record, &ask(None), earlier(300)), Serve::Renew);
        assert!(matches!(serve(&record, &ask(None), earlier(1)), Serve::Token(_)));
    }

    #[test]
    fn what_has_ended_is_not_served_even_while_its_token_lives() {
        let mut record = record(Acquisition::Exchange);
        record.state = State::Releasing(EndReason::Released);
        assert_eq!(serve(&record, &ask(None), at(0)), Serve::Ended(EndReason::Released));
        record.state = State::Active;
        record.expires_at = at(5);
        assert_eq!(serve(&record, &ask(None), at(5)), Serve::Ended(EndReason::Expired));
    }

    #[test]
    fn near_the_sessions_end_a_reader_is_told_what_is_left() {
        let mut record = record(Acquisition::Exchange);
        record.session_ends_at = Some(at(60));
        assert_eq!(serve(&record, &ask(Some(30)), at(55)), Serve::TooDemanding(Duration::from_secs(5)));
        assert_eq!(serve(&record, &ask(None), at(55)), Serve::Token(Duration::from_secs(5)));
    }
}
