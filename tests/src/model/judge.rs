//! What must never be, and what cannot be helped.

use std::time::Duration;

use tokenvault_core::policy::{Ask, Serve, serve};
use tokenvault_core::record::{Acquisition, EndKind, EndReason, Pair, ReadView, Record, Slot, State};

use super::job::{Job, is_in_the_users_session, number};
use super::world::World;

/// An access token with less than this left is not exchanged any more.
const EXCHANGE_MARGIN: Duration = Duration::from_millis(300);

/// What must never be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Violation {
    /// An exchange of a stale token ended the user's session.
    UserSessionEnded,
    /// A refresh token that the vault had spent was sent again.
    SentTwice,
    /// The vault revoked a client session that is not its own.
    NeighbourRevoked,
    /// A job was lost that need not have been.
    ExcessLoss,
    /// A job went on after its end.
    WentOn,
    /// Something was sent for a job that had ended.
    SentAfterEnd,
    /// An expired token was served.
    ExpiredServed,
    /// A job went on for too long after its session had ended.
    Outlived,
}

/// What was sent after a probe had said that it may be, and was wrong when it arrived. A stale exchange: the client session
/// ended after the probe was answered, and another registration's exchange created it anew before the vault's arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Gap {
    /// That registration joined the session's entry when the exchange was on its way already.
    JoinedInFlight,
    /// No stale exchange, but a spend: the store lost the intent of one that was still under way.
    IntentLost,
}

impl World {
    /// What is wrong with this state, if anything is.
    pub fn violation(&self) -> Option<Violation> {
        self.violation
            .or_else(|| self.jobs.iter().flatten().find_map(|job| self.misserved(job).or_else(|| self.outlived(job))))
    }

    fn misserved(&self, job: &Job) -> Option<Violation> {
        let ask = Ask { min_ttl: None, default_min_ttl: Duration::from_secs(1) };
        let served = matches!(serve(&ReadView::of(&job.record, None), &ask, self.now), Serve::Token(_));
        if job.over && (served || job.record.state.is_live()) {
            return Some(Violation::WentOn);
        }
        let pair = job.record.pair.as_ref().filter(|_| served)?;
        let live = self.keycloak.is_live_access(number(&pair.access), self.now);
        (!live).then_some(Violation::ExpiredServed)
    }

    /// Whether a job is active long after others have ended its session. While that is in doubt, its access token may be
    /// served; the doubt must end.
    fn outlived(&self, job: &Job) -> Option<Violation> {
        let end = self.ended_at? + self.rules.ends_within?;
        let stands = job.record.state == State::Active && is_in_the_users_session(&job.record);
        (stands && self.now > end).then_some(Violation::Outlived)
    }

    /// Others have ended the session.
    pub(super) fn note_end(&mut self) {
        if self.rules.ends_within.is_some() {
            self.ended_at.get_or_insert(self.now);
        }
    }

    /// A job has come to an end: was that a loss that need not have been?
    pub(super) fn judge_end(&mut self, place: usize, before: &Record) {
        let Some(job) = self.jobs[place].as_mut() else { return };
        let ended = before.state.is_live().then(|| job.record.state.end()).flatten();
        let Some(reason) = ended else { return };
        job.over = true;
        if reason.kind() == EndKind::Job {
            return;
        }
        let token = |slot| before.slot(slot).map(|token| number(&token.sealed));
        let by_others = [Slot::Current, Slot::Anchor]
            .into_iter()
            .filter_map(token)
            .any(|pair| self.keycloak.was_ended_by_others(pair));
        let own = before.tokens().map(|own| number(&own.sealed)).filter(|own| Some(*own) != token(Slot::Anchor));
        let refreshable = own.into_iter().any(|pair| self.keycloak.is_good_refresh(pair));
        let exchanges = self.rules.settings.may_exchange && !job.oversized;
        let exchangeable = |slot| {
            let left = pair_of(before, slot).is_some_and(|pair| pair.access_expires_at > self.now + EXCHANGE_MARGIN);
            exchanges && left && token(slot).is_some_and(|pair| self.keycloak.is_good_access(pair, self.now))
        };
        // It went with the key that it was made with, and there was no time, or no way, to exchange the access token.
        let keyless =
            |slot| token(slot).and_then(|pair| self.keycloak.lost_its_key(pair)) == Some(false) && !exchangeable(slot);
        let only_copy_unheard = job.unheard;
        let excused = if before.acquisition == Acquisition::Impersonate {
            // It can be impersonated again whenever it is lost, unless what watches its user's session was.
            (reason == EndReason::SpendLost && only_copy_unheard) || keyless(Slot::Anchor)
        } else {
            let had_another = refreshable || exchangeable(Slot::Current);
            !had_another && (only_copy_unheard || job.robbed || keyless(Slot::Current))
        };
        let misled =
            self.misled || self.keycloak.errs_since.is_some_and(|since| self.is_believed_since(since, self.now));
        if !by_others && !excused && !misled {
            self.violation = Some(Violation::ExcessLoss);
        }
    }
}

fn pair_of(record: &Record, slot: Slot) -> Option<&Pair> {
    match slot {
        Slot::Anchor => record.anchor.as_ref().map(|anchor| &anchor.pair),
        Slot::Current | Slot::Spare => record.pair.as_ref(),
    }
}
