//! What a replica does with a record: a round, one event for each thing that others can come between.
//!
//! What a step requires, what it sends, what is owed after it and what is written is said by the product's own
//! `tokenvault_core::policy`; here is only how the world of the model meets it.

use std::sync::Arc;
use std::time::Duration;

use tokenvault_core::ids::{AttemptId, Incarnation};
use tokenvault_core::policy::{
    DecisionInput, Durability, Issued, Request, Requirement, Round, Step, StepOutcome, Turn, conclude,
    intent_is_timely, plan,
};
use tokenvault_core::ports::{CallError, Cause, GrantError, Identity, Refusal};

use tokenvault_core::record::{Pair, Record};

use super::job::{InFlight, Named, Phase, Worker, number, pair, session, subject};
use super::judge::{Gap, Violation};
use super::keycloak::{Exchanged, PairId, USERS};
use super::world::World;

/// How long the exchange of a registration that vanished may still be under way, as the reconciler believes.
const JOINING: Duration = Duration::from_secs(30);

/// Whether a requirement is met.
enum Met {
    Yes,
    PlanAgain,
    GiveUp,
}

pub(super) enum Carried {
    Granted(Result<PairId, Refusal>),
    Revoked,
}

impl World {
    pub(super) fn claim(&mut self, place: usize) {
        let until = self.now + self.rules.lease;
        let Some(job) = &mut self.jobs[place] else { return };
        job.fence += 1;
        job.lease = Some(until);
        let fence = job.fence;
        let mut round = Round::begin(Record::clone(&job.record));
        self.note_peers(place, &mut round);
        let seen = self.entry;
        let worker = Worker { fence, until, round, seen, probed: false, phase: Phase::Deciding };
        let free = usize::from(self.worker(place, 0).is_some());
        self.put(place, free, Some(worker));
    }

    /// Notes in a round what the session's entry says.
    fn note_peers(&self, place: usize, round: &mut Round) {
        let Round { record, findings } = round;
        let joins = self.entry.joining[1 - place].is_some_and(|since| self.now < since + JOINING);
        let joining = self.rules.minds_joining && joins;
        if !record.owns_session() {
            (findings.incarnation, findings.joining) = (Some(self.entry.incarnation), joining);
        }
        if record.anchor.is_some() {
            (findings.anchor_incarnation, findings.anchor_joining) = (Some(self.entry.incarnation), joining);
        }
    }

    pub(super) fn act(&mut self, place: usize, replica: usize) {
        let Some(worker) = self.worker(place, replica).map(|worker| Worker::clone(worker)) else { return };
        if let Phase::Closing(over) = worker.phase {
            return self.close(place, replica, over);
        }
        let step = plan(&worker.round, &self.input());
        for requirement in step.requirements() {
            match self.meet(place, &worker, *requirement) {
                Met::Yes => {}
                Met::PlanAgain => return self.look_again(place, replica, step),
                Met::GiveUp => return self.put(place, replica, None),
            }
        }
        match step.request() {
            None => {
                let outcome = step.unsent_outcome(|| AttemptId::from_bits(self.attempt(place)));
                self.take_turn(place, replica, step, outcome);
            }
            Some(Request::IntrospectRefreshToken(_)) => {
                let active = self.keycloak.probe(subject(&worker.round.record, step));
                self.put(place, replica, Some(Worker { probed: active, ..worker }));
                self.take_turn(place, replica, step, StepOutcome::Probed(Ok(active)));
            }
            Some(Request::IntrospectAccessToken(_)) => {
                let pair = subject(&worker.round.record, step);
                let active = self.keycloak.introspect(pair, self.now);
                let probed = active && self.keycloak.is_good_access(pair, self.now);
                self.put(place, replica, Some(Worker { probed, ..worker }));
                self.take_turn(place, replica, step, StepOutcome::Probed(Ok(active)));
            }
            Some(request) => self.send(place, replica, step, request),
        }
    }

    /// Permits, shutdowns, a client's right to exchange and an end that is put off are not in the model: they are met.
    fn meet(&self, place: usize, worker: &Worker, requirement: Requirement) -> Met {
        let (record, at_work) = (&worker.round.record, self.rules.at_work);
        match requirement {
            Requirement::UnchangedPeers if self.rules.looks_again && worker.seen != self.entry => Met::PlanAgain,
            Requirement::Lease if !self.jobs[place].as_ref().is_some_and(|job| job.holds(worker, self.now)) => {
                Met::GiveUp
            }
            Requirement::TimelyIntent if !intent_is_timely(record, self.now, at_work) => Met::GiveUp,
            Requirement::UnchangedPeers
            | Requirement::Lease
            | Requirement::TimelyIntent
            | Requirement::SpendPermit
            | Requirement::HeldShutdown
            | Requirement::ExchangePermission
            | Requirement::NewestEnd => Met::Yes,
        }
    }

    /// The entry has changed since the client session was probed, and that may have been created anew.
    fn look_again(&mut self, place: usize, replica: usize, step: Step) {
        let Some(mut worker) = self.worker(place, replica).map(|worker| Worker::clone(worker)) else { return };
        if let Some(slot) = step.request().and_then(Request::slot) {
            worker.round.findings.forget_slot(slot);
        }
        self.note_peers(place, &mut worker.round);
        worker.seen = self.entry;
        worker.probed = false;
        self.put(place, replica, Some(worker));
    }

    /// A number for an attempt that nobody uses.
    fn attempt(&self, place: usize) -> u64 {
        let Some(job) = &self.jobs[place] else { return 1 };
        let records = job.workers.iter().flatten().map(|worker| &worker.round.record);
        let snapshot = self.snapshot.iter().filter(|snapshot| snapshot.job == place).map(|snapshot| &*snapshot.record);
        let records = records.chain([&*job.record]).chain(snapshot);
        let used: Vec<AttemptId> = records.filter_map(|record| record.intent).map(|intent| intent.attempt).collect();
        (1..=8).find(|bits| !used.contains(&AttemptId::from_bits(*bits))).expect("four records at most")
    }

    /// What the step requires was met right before; from here on the request is on its way.
    fn send(&mut self, place: usize, replica: usize, step: Step, request: Request) {
        let Some(mut worker) = self.worker(place, replica).map(|worker| Worker::clone(worker)) else { return };
        let Some(job) = &self.jobs[place] else { return };
        if job.over && !matches!(request, Request::Revoke(_)) {
            self.violation = Some(Violation::SentAfterEnd);
        }
        let pair = Named(subject(&worker.round.record, step));
        let (since, seen, probed) = (self.now, self.entry, worker.probed);
        worker.phase = Phase::Sent(InFlight { step, pair, since, seen, probed });
        self.put(place, replica, Some(worker));
    }

    pub(super) fn arrive(&mut self, place: usize, replica: usize) {
        let Some(mut worker) = self.worker(place, replica).map(|worker| Worker::clone(worker)) else { return };
        let Phase::Sent(request) = worker.phase else { return };
        let outcome = match self.carry_out(place, &request) {
            Carried::Revoked => StepOutcome::Revoked(Ok(())),
            Carried::Granted(Err(refusal)) => StepOutcome::Failed(GrantError::Refused(refusal)),
            Carried::Granted(Ok(id)) => {
                let record = &worker.round.record;
                let own = request.request() == Request::Impersonate;
                let pair = pair(id, request.since, record.generation.next(), 0);
                StepOutcome::Issued(Box::new(Issued {
                    pair: Pair { epoch: Some(self.epoch), ..pair },
                    expires_in: super::keycloak::LIFE,
                    identity: Identity::Same,
                    account: None,
                    session: own.then(|| session("o", Incarnation::default())),
                }))
            }
        };
        worker.phase = Phase::Answered(request.step, Box::new(outcome), request.since);
        self.put(place, replica, Some(worker));
    }

    pub(super) fn carry_out(&mut self, place: usize, request: &InFlight) -> Carried {
        let pair = request.pair.0;
        let oversized = self.jobs[place].as_ref().is_some_and(|job| job.oversized);
        match request.request() {
            Request::Exchange(_) if oversized => Carried::Granted(Err(Refusal::TokenTooLong)),
            Request::Exchange(_) => Carried::Granted(match self.keycloak.exchange(pair, self.now) {
                Exchanged::Pair(pair) => Ok(pair),
                Exchanged::Refused(refusal) => Err(refusal),
                Exchanged::SessionEnded => {
                    self.fell_through(request);
                    Err(Refusal::SubjectInvalid)
                }
            }),
            Request::Refresh(_) => {
                let (granted, came_back) = self.keycloak.refresh(pair, self.now);
                if came_back {
                    self.sent_twice(place, request);
                }
                if let (Ok(_), Some(job)) = (granted, &mut self.jobs[place]) {
                    job.unheard = true;
                    if let Some(snapshot) = self.snapshot.as_mut().filter(|snapshot| snapshot.job == place) {
                        snapshot.spent = true;
                    }
                }
                Carried::Granted(granted)
            }
            Request::Impersonate => Carried::Granted(Ok(self.keycloak.impersonate(self.now))),
            Request::Revoke(_) | Request::IntrospectRefreshToken(_) | Request::IntrospectAccessToken(_) => {
                if self.keycloak.revoke(pair) == Some(USERS) {
                    self.violation = Some(Violation::NeighbourRevoked);
                }
                Carried::Revoked
            }
        }
    }

    /// A stale token has ended the user's session. What cannot be excluded is told apart from what must be.
    fn fell_through(&mut self, request: &InFlight) {
        let in_flight = request.seen.joining.iter().flatten().all(|joined| request.since >= *joined + JOINING);
        if self.rules.looks_again && request.probed && in_flight {
            self.gap = Some(Gap::JoinedInFlight);
        } else {
            self.violation = Some(Violation::UserSessionEnded);
        }
    }

    /// A spent token was sent again. Where the store lost the intent of a spend, and the probe was answered before that was
    /// carried out, nothing could have held it back.
    fn sent_twice(&mut self, place: usize, request: &InFlight) {
        if request.probed && self.jobs[place].as_ref().is_some_and(|job| job.lost_intent) {
            self.gap = Some(Gap::IntentLost);
        } else {
            self.violation = Some(Violation::SentTwice);
        }
    }

    pub(super) fn input(&self) -> DecisionInput<'_> {
        DecisionInput { now: self.now, roll: 0.5, settings: &self.rules.settings }
    }

    pub(super) fn hear(&mut self, place: usize, replica: usize) {
        let Some(Phase::Answered(step, outcome, _)) = self.worker(place, replica).map(|worker| worker.phase.clone())
        else {
            return;
        };
        self.take_turn(place, replica, step, *outcome);
    }

    /// No answer: the replica does not know what became of its request.
    pub(super) fn unanswered(&mut self, place: usize, replica: usize) {
        let step = match self.worker(place, replica).map(|worker| &worker.phase) {
            Some(Phase::Sent(request)) => request.step,
            Some(Phase::Answered(step, ..)) => *step,
            _ => return,
        };
        let outcome = match step.request() {
            Some(Request::Revoke(_)) => StepOutcome::Revoked(Err(CallError::NoAnswer(Cause::Timeout))),
            _ => StepOutcome::Failed(GrantError::Unknown(Cause::Timeout)),
        };
        self.take_turn(place, replica, step, outcome);
    }

    pub(super) fn probe_fails(&mut self, place: usize, replica: usize) {
        let Some(worker) = self.worker(place, replica) else { return };
        let step = plan(&worker.round, &self.input());
        self.take_turn(place, replica, step, StepOutcome::Probed(Err(CallError::NoAnswer(Cause::Timeout))));
    }

    /// A request on the way goes on without whoever sent it.
    pub(super) fn haunt(&mut self, place: usize, replica: usize) {
        if let Some(Phase::Sent(request)) = self.worker(place, replica).map(|worker| worker.phase.clone())
            && !matches!(request.request(), Request::Revoke(_))
        {
            self.ghosts.push((place, request));
        }
    }

    /// Applies an outcome and writes what came of it.
    fn take_turn(&mut self, place: usize, replica: usize, step: Step, outcome: StepOutcome) {
        let Some(mut worker) = self.worker(place, replica).map(|worker| Worker::clone(worker)) else { return };
        let rules = Arc::clone(&self.rules);
        let at = DecisionInput { now: self.now, roll: 0.5, settings: &rules.settings };
        if step.obligations(&outcome).asks_epoch {
            worker.round.findings.epoch = Some(self.epoch);
        }
        let turn = conclude(worker.round, step, outcome, &at);
        worker.round = turn.round.clone();
        worker.phase = Phase::Deciding;
        let fence = (turn.owed.durability != Durability::SpendAnswer).then_some(worker.fence);
        let Some(job) = &mut self.jobs[place] else { return };
        if turn.is_written() && !job.write(&turn.before, turn.after(), fence, turn.releases_lease()) {
            return self.write_refused(place, replica, &turn);
        }
        if turn.after().generation != turn.before.generation {
            worker.probed = false;
            job.unheard = false;
        }
        if turn.is_written() {
            self.judge_end(place, &turn.before);
        }
        let next = if turn.is_written() && turn.has_ended() {
            Some(Worker { phase: Phase::Closing(over_life(&turn)), ..worker })
        } else {
            (!turn.is_last()).then_some(worker)
        };
        self.put(place, replica, next);
    }

    /// A write did not stand. An answer that was heard must not be lost with it; a new session is given up.
    fn write_refused(&mut self, place: usize, replica: usize, turn: &Turn) {
        match (turn.owed.durability, &turn.after().pair, &mut self.jobs[place]) {
            (Durability::NewSession, Some(pair), _) => {
                let _ = self.keycloak.revoke(number(&pair.access));
            }
            (Durability::SpendAnswer, _, Some(job)) => job.restore(turn.after(), self.now),
            _ => {}
        }
        self.put(place, replica, None);
    }

    /// The end of the client session is noted and the job taken out of its entry.
    fn close(&mut self, place: usize, replica: usize, over: Option<Incarnation>) {
        if let Some(seen) = over {
            self.entry.incarnation = self.entry.incarnation.max(seen.next());
        }
        self.entry.members[place] = 0;
        self.entry.joining[place] = None;
        self.put(place, replica, None);
    }
}

/// The life of the shared client session that is over with the turn.
fn over_life(turn: &Turn) -> Option<Incarnation> {
    turn.superseded_session().filter(|_| !turn.before.owns_session()).map(|session| session.incarnation)
}
