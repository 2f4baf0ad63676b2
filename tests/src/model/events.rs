//! What can happen next, and what happens then.

use std::sync::Arc;
use std::time::Duration;

use tokenvault_core::policy::{Request, plan};

use super::job::{Job, Phase};
use super::keycloak::Key;
use super::world::{Event, World};

/// How long Keycloak may take to end a session that it has announced the end of.
const ENDING: Duration = Duration::from_secs(20);
/// How long the policy heeds such an announcement.
const ANNOUNCED: Duration = Duration::from_mins(1);

impl World {
    /// Everything that can happen next.
    pub fn events(&self) -> Vec<Event> {
        let mut events = Vec::with_capacity(16);
        for place in 0..self.jobs.len() {
            self.events_of(place, &mut events);
        }
        let at_work =
            |event: &Event| matches!(event, Event::Claim(_) | Event::Act(..) | Event::Arrive(..) | Event::Hear(..));
        let waits = self.rules.prompt && events.iter().any(at_work);
        if !waits && self.next_instant().is_some() {
            events.push(Event::Tick);
        }
        events.extend((0..self.ghosts.len()).map(|ghost| Event::Ghost(small(ghost))));
        self.events_of_others(&mut events);
        events
    }

    fn events_of(&self, place: usize, events: &mut Vec<Event>) {
        let Some(job) = &self.jobs[place] else { return };
        let (faulty, j) = (self.budget.faults > 0, small(place));
        if job.due().is_some_and(|due| due <= self.now) && job.workers.iter().any(Option::is_none) {
            events.push(Event::Claim(j));
        }
        for (replica, worker) in job.workers.iter().enumerate() {
            let Some(worker) = worker else { continue };
            let w = small(replica);
            match &worker.phase {
                Phase::Deciding => {
                    events.push(Event::Act(j, w));
                    if faulty && asks_about_a_token(plan(&worker.round, &self.input()).request()) {
                        events.push(Event::ProbeFails(j, w));
                    }
                }
                Phase::Closing(_) => events.push(Event::Act(j, w)),
                Phase::Sent(request) => {
                    events.push(Event::Arrive(j, w));
                    if faulty {
                        events.push(Event::LoseRequest(j, w));
                        if !matches!(request.request(), Request::Revoke(_)) {
                            events.push(Event::Stall(j, w));
                        }
                    }
                }
                Phase::Answered(..) => {
                    events.push(Event::Hear(j, w));
                    if faulty {
                        events.push(Event::LoseAnswer(j, w));
                    }
                }
            }
            if faulty {
                events.push(Event::Crash(j, w));
            }
        }
        if self.budget.releases > 0 && job.record.state.is_live() {
            events.push(Event::Release(j));
        }
        if self.budget.rollbacks > 0 && self.snapshot.is_none() && !job.over {
            events.push(Event::Remember(j));
        }
        if self.budget.oversized > 0 && job.record.state.is_live() {
            events.push(Event::Outgrow(j));
        }
    }

    fn events_of_others(&self, events: &mut Vec<Event>) {
        let (user_alive, client_alive) = self.keycloak.lives();
        let ending = self.keycloak.ending_since.is_some();
        if user_alive && (self.budget.others > 0 || ending) {
            events.push(Event::LogOut);
        }
        if user_alive && client_alive && self.budget.others > 0 {
            events.push(Event::Detach);
        }
        if user_alive && !ending && self.budget.announcements > 0 {
            events.push(Event::Announce);
        }
        match self.keycloak.errs_since {
            Some(_) => events.push(Event::ErrEnds),
            None if self.budget.errors > 0 => events.push(Event::ErrBegins),
            None => {}
        }
        if self.budget.keys > 0 {
            events.extend([Event::DeleteHmacKey, Event::DeleteSigningKey]);
        }
        match &self.registrant {
            None if self.budget.newcomers > 0 => {
                let free = (0..self.jobs.len()).find(|place| self.is_free(*place));
                events.extend(free.map(|place| Event::Join(small(place))));
            }
            None => {}
            Some(registrant) => {
                let answered = registrant.answer.is_some();
                events.push(if answered { Event::Registered } else { Event::Register });
                if self.budget.faults > 0 && registrant.alive {
                    events.push(Event::RegistrantDies);
                    if !answered {
                        events.push(Event::RegistrationLost);
                    }
                }
            }
        }
        if let Some(snapshot) = &self.snapshot
            && self.jobs[snapshot.job].as_ref().is_some_and(|job| job.record != snapshot.record)
        {
            events.push(Event::GoBack);
        }
    }

    /// Whether a new job may take this place: there is none, or its end is over and done with.
    fn is_free(&self, place: usize) -> bool {
        let done = |job: &Job| job.over && job.record.due_at.is_none() && job.workers.iter().all(Option::is_none);
        self.jobs[place].as_ref().is_none_or(done)
            && self.ghosts.iter().all(|(job, _)| *job != place)
            && self.snapshot.as_ref().is_none_or(|snapshot| snapshot.job != place)
    }

    pub(super) fn happen(&mut self, event: Event) {
        match event {
            Event::Tick => self.tick(),
            Event::Claim(job) => self.claim(usize::from(job)),
            Event::Act(job, worker) => self.act(job.into(), worker.into()),
            Event::ProbeFails(job, worker) => {
                self.budget.faults -= 1;
                self.probe_fails(job.into(), worker.into());
            }
            Event::Arrive(job, worker) => self.arrive(job.into(), worker.into()),
            Event::Hear(job, worker) => self.hear(job.into(), worker.into()),
            Event::LoseRequest(job, worker) | Event::LoseAnswer(job, worker) => {
                self.budget.faults -= 1;
                self.unanswered(job.into(), worker.into());
            }
            Event::Stall(job, worker) => {
                self.budget.faults -= 1;
                self.haunt(job.into(), worker.into());
                self.unanswered(job.into(), worker.into());
            }
            Event::Crash(job, worker) => {
                self.budget.faults -= 1;
                self.haunt(job.into(), worker.into());
                self.put(job.into(), worker.into(), None);
            }
            Event::Ghost(ghost) => {
                let (job, request) = self.ghosts.remove(ghost.into());
                self.carry_out(job, &request);
            }
            Event::LogOut => {
                if self.keycloak.ending_since.is_none() {
                    self.budget.others -= 1;
                }
                self.keycloak.log_out();
                self.note_end();
            }
            Event::Detach => {
                self.budget.others -= 1;
                self.keycloak.detach();
                self.note_end();
            }
            Event::Announce => self.announce(),
            Event::ErrBegins => {
                self.budget.errors -= 1;
                self.keycloak.errs_since = Some(self.now);
            }
            Event::ErrEnds => self.see_again(self.now),
            Event::DeleteHmacKey => self.delete(Key::Hmac),
            Event::DeleteSigningKey => self.delete(Key::Signing),
            Event::Outgrow(job) => {
                self.budget.oversized -= 1;
                if let Some(job) = &mut self.jobs[usize::from(job)] {
                    job.oversized = true;
                }
            }
            Event::Join(job) => self.join(job.into()),
            Event::Register => self.register(),
            Event::Registered => self.registered(),
            Event::RegistrantDies => self.registrant_dies(),
            Event::RegistrationLost => {
                self.budget.faults -= 1;
                self.registrant = None;
            }
            Event::Release(job) => self.release(job.into()),
            Event::Remember(job) => self.remember(job.into()),
            Event::GoBack => self.go_back(),
        }
    }

    fn delete(&mut self, key: Key) {
        self.budget.keys -= 1;
        let settings = &self.rules.settings;
        let in_time = self.rules.in_time.filter(|_| settings.may_exchange);
        self.keycloak.delete(key, in_time, self.now);
    }

    /// The next instant at which something becomes possible, or impossible.
    fn next_instant(&self) -> Option<tokenvault_core::time::Timestamp> {
        let mut next = None;
        let mut offer = |instant: tokenvault_core::time::Timestamp| {
            if instant > self.now && next.is_none_or(|next| instant < next) {
                next = Some(instant);
            }
        };
        let at_work = self.rules.at_work;
        for job in self.jobs.iter().flatten() {
            job.due().into_iter().for_each(&mut offer);
            let anchor = job.record.anchor.as_ref().map(|anchor| &anchor.pair);
            job.record.pair.iter().chain(anchor).for_each(|pair| offer(pair.access_expires_at));
            job.record.intent.iter().for_each(|intent| offer(intent.deadline));
            job.record.announced_at.iter().for_each(|heard_at| offer(*heard_at + ANNOUNCED));
            for worker in job.workers.iter().flatten() {
                match &worker.phase {
                    Phase::Sent(request) => offer(request.since + at_work),
                    Phase::Answered(_, _, since) => offer(*since + at_work),
                    // The last moment at which it may send.
                    Phase::Deciding => offer(worker.until - Duration::from_millis(1)),
                    Phase::Closing(_) => {}
                }
            }
        }
        self.keycloak.errs_since.iter().for_each(|since| offer(*since + self.rules.errs_for));
        self.keycloak.ending_since.iter().for_each(|since| offer(*since + ENDING));
        self.ghosts.iter().for_each(|(_, request)| offer(request.since + at_work));
        self.registrant.iter().for_each(|registrant| offer(registrant.since + at_work));
        next
    }

    fn tick(&mut self) {
        let Some(next) = self.next_instant() else { return };
        self.now = next;
        let at_work = self.rules.at_work;
        let sees_again = self.keycloak.errs_since.map(|since| since + self.rules.errs_for);
        if let Some(end) = sees_again.filter(|end| *end <= next) {
            self.see_again(end);
        }
        if self.keycloak.ending_since.is_some_and(|since| since + ENDING <= next) {
            self.keycloak.log_out();
            self.note_end();
        }
        // What has not been carried out by now never will be, and what has not been heard is waited for no longer.
        for place in 0..self.jobs.len() {
            for replica in 0..2 {
                let since = self.worker(place, replica).and_then(|worker| match &worker.phase {
                    Phase::Sent(request) => Some(request.since),
                    Phase::Answered(_, _, since) => Some(*since),
                    Phase::Deciding | Phase::Closing(_) => None,
                });
                if since.is_some_and(|since| since + at_work <= next) {
                    self.unanswered(place, replica);
                }
            }
        }
        self.ghosts.retain(|(_, request)| request.since + at_work > next);
        self.registrant = self.registrant.take().filter(|registrant| registrant.since + at_work > next);
    }

    pub(super) fn worker(&self, place: usize, replica: usize) -> Option<&Arc<super::job::Worker>> {
        self.jobs[place].as_ref().and_then(|job| job.workers[replica].as_ref())
    }

    pub(super) fn put(&mut self, place: usize, replica: usize, worker: Option<super::job::Worker>) {
        if let Some(job) = &mut self.jobs[place] {
            job.workers[replica] = worker.map(Arc::new);
        }
    }
}

fn asks_about_a_token(request: Option<Request>) -> bool {
    matches!(request, Some(Request::IntrospectRefreshToken(_) | Request::IntrospectAccessToken(_)))
}

fn small(place: usize) -> u8 {
    u8::try_from(place).expect("there are two of each, and few ghosts")
}
