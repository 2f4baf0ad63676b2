//! What others do: registrants, registrars, and a store that loses writes.

use std::sync::Arc;
use std::time::Duration;

use tokenvault_core::policy::{DecisionInput, Round, Step, StepOutcome, apply};
use tokenvault_core::record::{Acquisition, EndReason, Record, State};
use tokenvault_core::time::Timestamp;

use super::job::{Job, Named, Snapshot, first_record, is_in_the_users_session};
use super::world::{DOUBT, Registrant, World};

/// From a logout token until the jobs of its session are renewed, should it live on: the back channel's.
const SETTLED: Duration = Duration::from_secs(25);

impl World {
    /// A registration joins the session's entry before it asks Keycloak for anything.
    pub(super) fn join(&mut self, place: usize) {
        self.budget.newcomers -= 1;
        // One that came to nothing has left its entry, and is tried again under the same id.
        let again = self.jobs[place].is_none() && self.entry.members[place] != 0;
        if !again {
            self.serials += 1;
            self.entry.members[place] = self.serials;
        }
        self.entry.joining[place] = Some(self.now);
        let serial = self.entry.members[place];
        let (entry, since) = (self.entry, self.now);
        self.registrant = Some(Registrant { job: place, serial, entry, since, alive: true, answer: None });
    }

    pub(super) fn register(&mut self) {
        let Some(mut registrant) = self.registrant.take() else { return };
        let answer = self.keycloak.register(registrant.serial, self.now).filter(|_| registrant.alive);
        if let Some(pair) = answer {
            registrant.answer = Some(Named(pair));
            self.registrant = Some(registrant);
        }
    }

    /// The record is noted under the incarnation that was read with the joining.
    pub(super) fn registered(&mut self) {
        let Some(registrant) = self.registrant.take() else { return };
        let Some(Named(pair)) = registrant.answer else { return };
        let mut record = first_record(Acquisition::Exchange, pair, None, registrant.since);
        record.session = Some(super::job::session("s", registrant.entry.incarnation));
        self.jobs[registrant.job] = Some(Job::new(record));
        self.entry.joining[registrant.job] = None;
    }

    pub(super) fn registrant_dies(&mut self) {
        self.budget.faults -= 1;
        self.registrant = self.registrant.take().filter(|registrant| registrant.answer.is_none());
        if let Some(registrant) = &mut self.registrant {
            registrant.alive = false;
        }
    }

    /// Keycloak begins to end the user's session, and says so: every job in it is told, made due, and renewed only when Keycloak
    /// is done for certain.
    pub(super) fn announce(&mut self) {
        self.budget.announcements -= 1;
        let (now, settled) = (self.now, self.now + SETTLED);
        self.keycloak.ending_since = Some(now);
        for job in self.jobs.iter_mut().flatten() {
            if matches!(job.record.state, State::Ended(_)) || !is_in_the_users_session(&job.record) {
                continue;
            }
            let record = Arc::make_mut(&mut job.record);
            record.announced_at = Some(now);
            if record.renew_at.is_none_or(|renew_at| renew_at <= now || renew_at >= settled) {
                record.renew_at = Some(settled);
            }
            if job.lease.is_none() {
                record.due_at = record.due_at.map(|due_at| due_at.min(now));
            }
        }
    }

    /// Keycloak sees its sessions again.
    pub(super) fn see_again(&mut self, at: Timestamp) {
        let Some(since) = self.keycloak.errs_since.take() else { return };
        self.misled |= self.is_believed_since(since, at);
    }

    /// Whether a no that was said since then may have been believed.
    pub(super) fn is_believed_since(&self, since: Timestamp, at: Timestamp) -> bool {
        self.rules.errs_for > DOUBT && since + DOUBT <= at
    }

    /// `DELETE`: looked at and written in one go, for whatever comes in between makes it begin anew.
    pub(super) fn release(&mut self, place: usize) {
        self.budget.releases -= 1;
        let at = DecisionInput { now: self.now, roll: 0.0, settings: &self.rules.settings };
        let Some(job) = &mut self.jobs[place] else { return };
        let before = Record::clone(&job.record);
        let round = Round::begin(before.clone());
        let after = apply(round, Step::Finish(EndReason::Released), StepOutcome::Noted, &at).record;
        job.write(&before, &after, None, false);
        job.over = true;
        if let State::Ended(_) = after.state {
            self.entry.members[place] = 0;
            self.entry.joining[place] = None;
        }
    }

    pub(super) fn remember(&mut self, place: usize) {
        self.budget.rollbacks -= 1;
        self.snapshot = self.jobs[place].as_ref().map(|job| Snapshot {
            job: place,
            record: Arc::clone(&job.record),
            lease: job.lease,
            spent: false,
        });
    }

    /// The record is an older one of its own. What a lost write had ended lives on, and nobody can know.
    pub(super) fn go_back(&mut self) {
        let Some(Snapshot { job: place, record, lease, spent }) = self.snapshot.take() else { return };
        self.epoch.0 += 1;
        let Some(job) = &mut self.jobs[place] else { return };
        let forgotten = job.record.intent.is_some_and(|intent| record.intent != Some(intent));
        let rotated = job.record.pair.as_ref().is_some_and(|pair| pair.rotated);
        job.robbed |= spent || (rotated && job.record.generation > record.generation);
        job.lost_intent |= forgotten;
        job.record = record;
        job.lease = lease;
        job.over = false;
    }
}
