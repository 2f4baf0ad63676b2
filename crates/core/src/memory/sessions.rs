//! The entries that gather jobs by their client session, and who is on the way into it.

use std::collections::BTreeMap;

use super::expiring::{ExpiringMap, ORPHAN_KEEP};
use crate::ids::{AttemptId, Incarnation, JobId, ModuleName, SessionKey};
use crate::ports::{
    HOLD, HOLD_GAP, JOINING, Join, Joined, LONGEST_HOLD, MOST_JOINING, MOST_JOINING_OF_ONE, SessionEntry, SessionLook,
};
use crate::time::Timestamp;

#[derive(Clone, Default)]
struct Session {
    incarnation: Incarnation,
    /// Each with whether it has come to live here.
    jobs: BTreeMap<JobId, bool>,
    marks: BTreeMap<(JobId, AttemptId), Mark>,
    /// Later with every join.
    joined: Timestamp,
    hold: Option<Hold>,
}

#[derive(Clone)]
struct Mark {
    since: Timestamp,
    by: ModuleName,
}

#[derive(Clone, Copy)]
struct Hold {
    since: Timestamp,
    until: Timestamp,
}

impl Session {
    fn entry(&self, now: Timestamp) -> SessionEntry {
        let mut joining: BTreeMap<JobId, Timestamp> = BTreeMap::new();
        for ((job, _), mark) in self.marks.iter().filter(|(_, mark)| now < mark.since + JOINING) {
            let since = joining.entry(job.clone()).or_default();
            *since = mark.since.max(*since);
        }
        SessionEntry { incarnation: self.incarnation, jobs: self.jobs.keys().cloned().collect(), joining }
    }

    fn is_joining(&self, job: &JobId) -> bool {
        self.marks.keys().any(|(other, _)| other == job)
    }

    fn drop_vanished(&mut self, now: Timestamp) {
        self.marks.retain(|_, mark| now < mark.since + JOINING);
    }

    /// What was never superseded is known as well without an entry.
    fn tells_nothing(&self) -> bool {
        self.jobs.is_empty() && self.marks.is_empty() && self.incarnation == Incarnation::default()
    }

    fn join(&mut self, join: &Join<'_>, now: Timestamp) -> Joined {
        self.drop_vanished(now);
        if self.marks.contains_key(&(join.job.clone(), join.attempt)) {
            return Joined::In(self.incarnation);
        }
        if self.hold.is_some_and(|hold| now < hold.until) {
            return Joined::Held;
        }
        let of_one = self.marks.values().filter(|mark| mark.by == *join.by).count();
        if self.marks.len() >= MOST_JOINING || of_one >= MOST_JOINING_OF_ONE {
            return Joined::Busy;
        }
        if !self.jobs.contains_key(join.job) && self.jobs.len() >= join.most_jobs {
            return Joined::Full;
        }
        // One that is in without being marked may be so for a reason of somebody else's: it is not taken out again.
        let lives = self.jobs.get(join.job).is_some_and(|lives| *lives || !self.is_joining(join.job));
        self.jobs.insert(join.job.clone(), lives);
        self.marks.insert((join.job.clone(), join.attempt), Mark { since: now, by: join.by.clone() });
        self.joined = now.max(Timestamp::from_millis(self.joined.as_millis() + 1));
        Joined::In(self.incarnation)
    }

    /// Keeps newcomers out, for somebody is joining while a renewal is about to exchange.
    fn hold(&mut self, now: Timestamp) {
        let standing = self.hold.filter(|hold| now < hold.until);
        let may_begin = self.hold.is_none_or(|hold| now >= hold.until + HOLD_GAP);
        self.hold = match standing {
            Some(hold) => Some(Hold { until: hold.until.max((now + HOLD).min(hold.since + LONGEST_HOLD)), ..hold }),
            None if may_begin => Some(Hold { since: now, until: now + HOLD }),
            None => self.hold,
        };
    }
}

/// The entries by client session.
#[derive(Clone, Default)]
pub(super) struct Sessions(ExpiringMap<SessionKey, Session>);

impl Sessions {
    pub(super) fn join(&mut self, join: &Join<'_>, now: Timestamp) -> Joined {
        let known = self.0.get(join.session, now).is_some();
        let joined = self.0.extend(join.session, if known { now } else { join.keep_until }, now).join(join, now);
        match joined {
            Joined::In(_) => drop(self.0.extend(join.session, join.keep_until, now)),
            _ if !known => self.0.forget(join.session),
            _ => {}
        }
        joined
    }

    pub(super) fn enter(
        &mut self,
        key: &SessionKey,
        job: &JobId,
        keep_until: Timestamp,
        now: Timestamp,
    ) -> Incarnation {
        let session = self.0.extend(key, keep_until, now);
        session.jobs.insert(job.clone(), true);
        session.incarnation
    }

    pub(super) fn finish_join(&mut self, key: &SessionKey, (job, attempt): (&JobId, AttemptId), now: Timestamp) {
        let Some(session) = self.0.get(key, now) else { return };
        let marked = session.marks.remove(&(job.clone(), attempt)).is_some();
        if marked || session.jobs.contains_key(job) {
            session.jobs.insert(job.clone(), true);
        }
    }

    pub(super) fn cancel_join(&mut self, key: &SessionKey, (job, attempt): (&JobId, AttemptId), now: Timestamp) {
        let Some(session) = self.0.get(key, now) else { return };
        if session.marks.remove(&(job.clone(), attempt)).is_none() {
            return;
        }
        session.drop_vanished(now);
        if session.jobs.get(job) == Some(&false) && !session.is_joining(job) {
            session.jobs.remove(job);
        }
        if session.tells_nothing() {
            self.0.forget(key);
        }
    }

    pub(super) fn leave(&mut self, key: &SessionKey, job: &JobId, now: Timestamp) {
        let Some(session) = self.0.get(key, now) else { return };
        session.drop_vanished(now);
        if !session.is_joining(job) {
            session.jobs.remove(job);
        } else if let Some(lives) = session.jobs.get_mut(job) {
            *lives = false;
        }
        if session.tells_nothing() {
            self.0.forget(key);
        }
    }

    pub(super) fn entry(&mut self, key: &SessionKey, now: Timestamp) -> Option<SessionEntry> {
        self.0.get(key, now).map(|session| session.entry(now))
    }

    pub(super) fn look_at(
        &mut self,
        key: &SessionKey,
        job: &JobId,
        exchanges: bool,
        now: Timestamp,
    ) -> Option<SessionLook> {
        let session = self.0.get(key, now)?;
        session.drop_vanished(now);
        let joining = session.marks.keys().any(|(other, _)| other != job);
        if exchanges && joining {
            session.hold(now);
        }
        Some(SessionLook { incarnation: session.incarnation, joins: session.joined.as_millis().to_string(), joining })
    }

    pub(super) fn supersede(&mut self, key: &SessionKey, seen: Incarnation, now: Timestamp) -> Incarnation {
        let session = match self.0.get(key, now) {
            Some(_) => self.0.extend(key, now, now),
            None => self.0.extend(key, now + ORPHAN_KEEP, now),
        };
        session.incarnation = session.incarnation.max(seen.next());
        session.incarnation
    }
}
