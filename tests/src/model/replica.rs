//! What a replica does with a record: the reconciler's loop, one step an event.

use std::sync::Arc;
use std::time::Duration;
use tokenvault_core::ids::AttemptId;

use tokenvault_core::policy::{Issued, Moment, Outcome, Progress, Step, apply, plan};
use tokenvault_core::ports::{CallError, Cause, GrantError, Identity, Refusal};
use tokenvault_core::record::{EndReason, Pair, Record, Slot, State};

use super::job::{Named, Phase, Request, Worker, number, pair, session, subject};
use super::judge::{Gap, Violation};
use super::keycloak::{Exchanged, PairId, USERS};
use super::world::World;

/// How long the exchange of a registration that vanished may still be under way, as the reconciler believes.
const JOINING: Duration = Duration::from_secs(30);

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
        let mut progress = Progress::begin(Record::clone(&job.record), None);
        self.tell(place, &mut progress);
        let seen = self.entry;
        let worker = Worker { fence, until, progress, seen, probed: false, phase: Phase::Deciding };
        let free = usize::from(self.worker(place, 0).is_some());
        self.put(place, free, Some(worker));
    }

    /// Tells a round what the session's entry says.
    fn tell(&self, place: usize, progress: &mut Progress) {
        let Progress { record, round } = progress;
        let joins = self.entry.joining[1 - place].is_some_and(|since| self.now < since + JOINING);
        let joining = self.rules.minds_joining && joins;
        if !record.owns_session() {
            (round.incarnation, round.joining) = (Some(self.entry.incarnation), joining);
        }
        if record.anchor.is_some() {
            (round.anchor_incarnation, round.anchor_joining) = (Some(self.entry.incarnation), joining);
        }
    }

    pub(super) fn act(&mut self, place: usize, replica: usize) {
        let Some(worker) = self.worker(place, replica).map(|worker| Worker::clone(worker)) else { return };
        if let Phase::Closing(over) = worker.phase {
            return self.close(place, replica, over);
        }
        let step = plan(&worker.progress, &self.moment());
        match step {
            Step::Done => self.put(place, replica, None),
            Step::Probe(slot) => {
                let active = self.keycloak.probe(subject(&worker.progress.record, step));
                let mut worker = Worker { probed: active, ..worker };
                if !active && slot != Slot::Spare {
                    worker.progress.round.epoch = Some(self.epoch);
                }
                self.put(place, replica, Some(worker));
                self.settle(place, replica, step, Outcome::Probed(Ok(active)));
            }
            Step::Introspect(_) => {
                let pair = subject(&worker.progress.record, step);
                let active = self.keycloak.introspect(pair, self.now);
                let probed = active && self.keycloak.is_good_access(pair, self.now);
                self.put(place, replica, Some(Worker { probed, ..worker }));
                self.settle(place, replica, step, Outcome::Probed(Ok(active)));
            }
            Step::Declare(_) => {
                let attempt = AttemptId::from_bits(self.attempt(place));
                let holds = self.jobs[place].as_ref().is_some_and(|job| job.holds(&worker, self.now));
                if holds {
                    self.settle(place, replica, step, Outcome::Declared(attempt));
                } else {
                    self.put(place, replica, None);
                }
            }
            Step::Exchange(slot) if self.rules.looks_again && worker.seen != self.entry => {
                self.look_again(place, replica, slot);
            }
            Step::Exchange(_) | Step::Spend(_) | Step::Impersonate | Step::Revoke => self.send(place, replica, step),
            _ => self.settle(place, replica, step, Outcome::Noted),
        }
    }

    /// The entry has changed since the client session was probed, and that may have been created anew.
    fn look_again(&mut self, place: usize, replica: usize, slot: Slot) {
        let Some(mut worker) = self.worker(place, replica).map(|worker| Worker::clone(worker)) else { return };
        worker.progress.round.look_again(slot);
        self.tell(place, &mut worker.progress);
        worker.seen = self.entry;
        worker.probed = false;
        self.put(place, replica, Some(worker));
    }

    /// A number for an attempt that nobody uses.
    fn attempt(&self, place: usize) -> u64 {
        let Some(job) = &self.jobs[place] else { return 1 };
        let records = job.workers.iter().flatten().map(|worker| &worker.progress.record);
        let snapshot = self.snapshot.iter().filter(|snapshot| snapshot.job == place).map(|snapshot| &*snapshot.record);
        let records = records.chain([&*job.record]).chain(snapshot);
        let used: Vec<AttemptId> = records.filter_map(|record| record.intent).map(|intent| intent.attempt).collect();
        (1..=8).find(|bits| !used.contains(&AttemptId::from_bits(*bits))).expect("four records at most")
    }

    /// The lease is checked, and the entry was, right before; from here on the request is on its way.
    fn send(&mut self, place: usize, replica: usize, step: Step) {
        let Some(mut worker) = self.worker(place, replica).map(|worker| Worker::clone(worker)) else { return };
        let Some(job) = &self.jobs[place] else { return };
        let record = &worker.progress.record;
        let latest = self.now + self.rules.at_work;
        let late = matches!(step, Step::Spend(_)) && record.intent.is_none_or(|intent| latest > intent.deadline);
        if step != Step::Revoke && (late || !job.holds(&worker, self.now)) {
            return self.put(place, replica, None);
        }
        if step != Step::Revoke && job.over {
            self.violation = Some(Violation::SentAfterEnd);
        }
        let pair = Named(subject(record, step));
        worker.phase = Phase::Sent(Request { step, pair, since: self.now, seen: self.entry, probed: worker.probed });
        self.put(place, replica, Some(worker));
    }

    pub(super) fn arrive(&mut self, place: usize, replica: usize) {
        let Some(mut worker) = self.worker(place, replica).map(|worker| Worker::clone(worker)) else { return };
        let Phase::Sent(request) = worker.phase else { return };
        let outcome = match self.carry_out(place, &request) {
            Carried::Revoked => Outcome::Revoked(Ok(())),
            Carried::Granted(Err(refusal)) => Outcome::Failed(GrantError::Refused(refusal)),
            Carried::Granted(Ok(id)) => {
                let record = &worker.progress.record;
                let own = request.step == Step::Impersonate;
                let pair = pair(id, request.since, record.generation.next(), 0);
                Outcome::Issued(Box::new(Issued {
                    pair: Pair { epoch: Some(self.epoch), ..pair },
                    expires_in: super::keycloak::LIFE,
                    identity: Identity::Same,
                    account: None,
                    session: own.then(|| session("o", tokenvault_core::ids::Incarnation::default())),
                }))
            }
        };
        worker.phase = Phase::Answered(request.step, Box::new(outcome), request.since);
        self.put(place, replica, Some(worker));
    }

    pub(super) fn carry_out(&mut self, place: usize, request: &Request) -> Carried {
        let pair = request.pair.0;
        let oversized = self.jobs[place].as_ref().is_some_and(|job| job.oversized);
        match request.step {
            Step::Exchange(_) if oversized => Carried::Granted(Err(Refusal::TokenTooLong)),
            Step::Exchange(_) => Carried::Granted(match self.keycloak.exchange(pair, self.now) {
                Exchanged::Pair(pair) => Ok(pair),
                Exchanged::Refused(refusal) => Err(refusal),
                Exchanged::SessionEnded => {
                    self.fell_through(request);
                    Err(Refusal::SubjectInvalid)
                }
            }),
            Step::Spend(_) => {
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
            Step::Impersonate => Carried::Granted(Ok(self.keycloak.impersonate(self.now))),
            _ => {
                if self.keycloak.revoke(pair) == Some(USERS) {
                    self.violation = Some(Violation::NeighbourRevoked);
                }
                Carried::Revoked
            }
        }
    }

    /// A stale token has ended the user's session. What cannot be excluded is told apart from what must be.
    fn fell_through(&mut self, request: &Request) {
        let in_flight = request.seen.joining.iter().flatten().all(|joined| request.since >= *joined + JOINING);
        if self.rules.looks_again && request.probed && in_flight {
            self.gap = Some(Gap::JoinedInFlight);
        } else {
            self.violation = Some(Violation::UserSessionEnded);
        }
    }

    /// A spent token was sent again. Where the store lost the intent of a spend, and the probe was answered before that was
    /// carried out, nothing could have held it back.
    fn sent_twice(&mut self, place: usize, request: &Request) {
        if request.probed && self.jobs[place].as_ref().is_some_and(|job| job.lost_intent) {
            self.gap = Some(Gap::IntentLost);
        } else {
            self.violation = Some(Violation::SentTwice);
        }
    }

    pub(super) fn moment(&self) -> Moment<'_> {
        Moment { now: self.now, roll: 0.5, settings: &self.rules.settings }
    }

    pub(super) fn hear(&mut self, place: usize, replica: usize) {
        let Some(Phase::Answered(step, outcome, _)) = self.worker(place, replica).map(|worker| worker.phase.clone())
        else {
            return;
        };
        self.settle(place, replica, step, *outcome);
    }

    /// No answer: the replica does not know what became of its request.
    pub(super) fn unanswered(&mut self, place: usize, replica: usize) {
        let step = match self.worker(place, replica).map(|worker| &worker.phase) {
            Some(Phase::Sent(request)) => request.step,
            Some(Phase::Answered(step, ..)) => *step,
            _ => return,
        };
        let outcome = match step {
            Step::Revoke => Outcome::Revoked(Err(CallError::NoAnswer(Cause::Timeout))),
            _ => Outcome::Failed(GrantError::Unknown(Cause::Timeout)),
        };
        self.settle(place, replica, step, outcome);
    }

    pub(super) fn probe_fails(&mut self, place: usize, replica: usize) {
        let Some(worker) = self.worker(place, replica) else { return };
        let step = plan(&worker.progress, &self.moment());
        self.settle(place, replica, step, Outcome::Probed(Err(CallError::NoAnswer(Cause::Timeout))));
    }

    /// A request on the way goes on without whoever sent it.
    pub(super) fn haunt(&mut self, place: usize, replica: usize) {
        if let Some(Phase::Sent(request)) = self.worker(place, replica).map(|worker| worker.phase.clone())
            && request.step != Step::Revoke
        {
            self.ghosts.push((place, request));
        }
    }

    /// Applies an outcome and writes what came of it.
    fn settle(&mut self, place: usize, replica: usize, step: Step, outcome: Outcome) {
        let Some(mut worker) = self.worker(place, replica).map(|worker| Worker::clone(worker)) else { return };
        let rules = Arc::clone(&self.rules);
        let at = Moment { now: self.now, roll: 0.5, settings: &rules.settings };
        let before = worker.progress.record.clone();
        let answered = matches!((step, &outcome), (Step::Spend(_), Outcome::Issued(_)));
        let mut progress = apply(worker.progress, step, outcome, &at);
        let mut resting = matches!(step, Step::Rest(_));
        if let (false, Step::Rest(until)) = (answered, plan(&progress, &at)) {
            progress = apply(progress, Step::Rest(until), Outcome::Noted, &at);
            resting = true;
        }
        worker.progress = progress;
        worker.phase = Phase::Deciding;
        if before == worker.progress.record && !resting {
            return self.put(place, replica, Some(worker));
        }
        let after = worker.progress.record.clone();
        let fence = (!answered).then_some(worker.fence);
        let gives_back = resting || matches!(after.state, State::Ended(_));
        let Some(job) = &mut self.jobs[place] else { return };
        if !job.write(&before, &after, fence, gives_back) {
            return self.refused(place, replica, step, &before, &after);
        }
        if after.generation != before.generation {
            worker.probed = false;
            job.unheard = false;
        }
        self.judge_end(place, &before);
        let next = match after.state {
            State::Ended(reason) => Some(Worker { phase: closing(&before, reason), ..worker }),
            _ if resting => None,
            _ => Some(worker),
        };
        self.put(place, replica, next);
    }

    /// A write did not stand. An answer that was heard must not be lost with it; a new session is given up.
    fn refused(&mut self, place: usize, replica: usize, step: Step, before: &Record, after: &Record) {
        let acquired = after.generation != before.generation;
        let fresh = after.pair.as_ref().map(|pair| number(&pair.access)).filter(|_| acquired);
        if let (Step::Impersonate, Some(pair)) = (step, fresh) {
            let _ = self.keycloak.revoke(pair);
        }
        if let (Step::Spend(_), true, Some(job)) = (step, acquired, &mut self.jobs[place]) {
            job.restore(after);
        }
        self.put(place, replica, None);
    }

    /// The end of the client session is noted and the job taken out of its entry.
    fn close(&mut self, place: usize, replica: usize, over: Option<tokenvault_core::ids::Incarnation>) {
        if let Some(seen) = over {
            self.entry.incarnation = self.entry.incarnation.max(seen.next());
        }
        self.entry.members[place] = 0;
        self.entry.joining[place] = None;
        self.put(place, replica, None);
    }
}

fn closing(before: &Record, reason: EndReason) -> Phase {
    let over = matches!(reason, EndReason::ClientSessionGone | EndReason::TokenReused | EndReason::TokenStale);
    let session = before.session.as_ref().filter(|_| over && !before.owns_session());
    Phase::Closing(session.map(|session| session.incarnation))
}
