//! What a read decides on, and the sealed access token: a record without all that only a renewal needs.

use std::sync::Arc;
use std::time::Duration;

use super::fields::{FieldError, access_of_pair, standing_doubt};
use super::job_record::{Acquisition, Record};
use super::packed::{Terms, UnpackedTerms};
use super::state::{State, UnknownState};
use crate::ids::{Generation, JobKey};
use crate::seal::Sealed;
use crate::time::Timestamp;

/// The fields that a read asks for, in this order. [`ReadView::decode`] takes their values in it.
pub const READ_FIELDS: [&str; 16] = [
    super::packed::PACKED,
    "terms",
    "at",
    "pair",
    "state",
    "reason",
    "gen",
    "life",
    "session_end",
    "lost",
    "failures",
    "doubt",
    "announced",
    "renew",
    "due",
    "lease_until",
];

/// The access token of a pair, and what stands beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The token.
    pub sealed: Sealed,
    /// When it expires.
    pub expires_at: Timestamp,
    /// When it was asked for.
    pub issued_at: Timestamp,
    /// Its scope.
    pub scope: String,
}

/// What a read decides on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadView {
    /// Whose the job is and who may read it.
    pub terms: Arc<Terms>,
    /// Vouches for them.
    pub seal: Option<Sealed>,
    /// Where the job stands.
    pub state: State,
    /// How many pairs it has had.
    pub generation: Generation,
    /// Its access token.
    pub access: Option<Access>,
    /// The longest access token life seen.
    pub access_life: Duration,
    /// Nothing will live past this.
    pub session_ends_at: Option<Timestamp>,
    /// Whether its refresh token was found dead without a reason.
    pub is_lost: bool,
    /// Failures since the last success.
    pub failures: u32,
    /// Whether the identity provider says that the session of this very pair has ended.
    pub is_in_doubt: bool,
    /// When a signed logout token of the session was heard.
    pub announced_at: Option<Timestamp>,
    /// When the pair is to be replaced.
    pub renew_at: Option<Timestamp>,
    /// When the reconciler looks at it next.
    pub due_at: Option<Timestamp>,
    /// Until when a lease holds that was not given back.
    pub leased_until: Option<Timestamp>,
}

impl ReadView {
    /// Of a record, with the lease on it.
    pub fn of(record: &Record, leased_until: Option<Timestamp>) -> Self {
        Self {
            terms: Arc::new(Terms::of(record)),
            seal: record.terms.clone(),
            state: record.state,
            generation: record.generation,
            access: record.pair.as_ref().map(|pair| Access {
                sealed: pair.access.clone(),
                expires_at: pair.access_expires_at,
                issued_at: pair.issued_at,
                scope: pair.scope.clone(),
            }),
            access_life: record.access_life,
            session_ends_at: record.session_ends_at,
            is_lost: record.lost_since.is_some(),
            failures: record.failures,
            is_in_doubt: record.standing_doubt().is_some(),
            announced_at: record.announced_at,
            renew_at: record.renew_at,
            due_at: record.due_at,
            leased_until,
        }
    }

    /// Of the values of [`READ_FIELDS`] that a store has for a job. `Ok(None)` where the packed field is not there: the record is of an older schema, or there
    /// is none.
    pub fn decode(
        key: &JobKey,
        values: [Option<Vec<u8>>; READ_FIELDS.len()],
        known: &UnpackedTerms,
    ) -> Result<Option<Self>, FieldError> {
        let [
            who,
            seal,
            at,
            pair,
            state,
            reason,
            generation,
            life,
            end,
            lost,
            failures,
            doubt,
            announced,
            renew,
            due,
            lease,
        ] = values;
        let Some(who) = who else { return Ok(None) };
        let terms = known.of(key, &who)?;
        let state =
            State::parse(text("state", state.as_deref())?, reason.as_deref().and_then(|r| std::str::from_utf8(r).ok()))
                .map_err(|unknown| match unknown {
                    UnknownState::Code => FieldError("state"),
                    UnknownState::Reason => FieldError("reason"),
                })?;
        let generation = Generation(number("gen", generation.as_deref())?.ok_or(FieldError("gen"))?);
        let access = match (at, pair) {
            (Some(at), Some(pair)) => Some(access_of_pair(Sealed::from_bytes(at), &pair)?),
            (None, None) => None,
            _ => return Err(FieldError("pair")),
        };
        let time = |name, value: Option<Vec<u8>>| Ok(number(name, value.as_deref())?.map(Timestamp::from_millis));
        Ok(Some(Self {
            terms,
            seal: seal.map(Sealed::from_bytes),
            state,
            generation,
            access,
            access_life: Duration::from_millis(number("life", life.as_deref())?.ok_or(FieldError("life"))?),
            session_ends_at: time("session_end", end)?,
            is_lost: lost.is_some(),
            failures: number("failures", failures.as_deref())?
                .and_then(|failures| u32::try_from(failures).ok())
                .ok_or(FieldError("failures"))?,
            is_in_doubt: doubt.map(|doubt| standing_doubt(&doubt, generation)).transpose()?.unwrap_or(false),
            announced_at: time("announced", announced)?,
            renew_at: time("renew", renew)?,
            due_at: time("due", due)?,
            leased_until: time("lease_until", lease)?,
        }))
    }

    /// Whether the pair lives in a session that is the vault's alone.
    pub fn owns_session(&self) -> bool {
        self.terms.acquisition == Acquisition::Impersonate
    }
}

fn text<'a>(name: &'static str, value: Option<&'a [u8]>) -> Result<&'a str, FieldError> {
    value.and_then(|value| std::str::from_utf8(value).ok()).ok_or(FieldError(name))
}

fn number(name: &'static str, value: Option<&[u8]>) -> Result<Option<u64>, FieldError> {
    match value {
        None => Ok(None),
        Some(_) => text(name, value)?.parse().map(Some).map_err(|_| FieldError(name)),
    }
}
