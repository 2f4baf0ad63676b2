//! A round: the record, and what was found out since it was claimed.

use crate::ids::{AttemptId, Incarnation, StoreEpoch};
use crate::record::{EndReason, Record, Slot};
use crate::time::Timestamp;

/// What was found out since the record was claimed. Forgotten with the lease: the next claim finds out anew.
#[derive(Debug, Clone, Default, PartialEq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "independent findings, not the stages of one state")]
pub struct Findings {
    pub(super) current: Option<bool>,
    pub(super) spare: Option<bool>,
    pub(super) anchor: Option<bool>,
    /// Whether the access token of the pair is active.
    pub(super) access: Option<bool>,
    /// The same of the anchor's.
    pub(super) anchor_access: Option<bool>,
    /// Whether an access token that is active was refused as the subject of an exchange all the same.
    pub(super) subject_refused: bool,
    /// A refresh token was refused, and its session is said to be over for this reason.
    pub(super) refused: Option<(Slot, EndReason)>,
    /// When the first no of this round was heard.
    pub(super) no_at: Option<Timestamp>,
    /// Whether this round's no has been counted.
    pub(super) doubted: bool,
    pub(super) declared: Option<AttemptId>,
    pub(super) verdict: Option<EndReason>,
    pub(super) rest_until: Option<Timestamp>,
    pub(super) exchange_barred: bool,
    pub(super) anchored: bool,
    pub(super) revoked: bool,
    pub(super) lost_spend: bool,
    /// How many tokens of the reserve took the spare's place.
    pub(super) taken: usize,
    /// The life the client session is in by now, as the session's entry says.
    pub incarnation: Option<Incarnation>,
    /// The same of the anchor's client session.
    pub anchor_incarnation: Option<Incarnation>,
    /// The life the store is in, asked for after the refresh token was found dead.
    pub epoch: Option<StoreEpoch>,
    /// Whether another job is just joining the client session of the pair: its exchange may create that session anew, and an
    /// exchange of this job's, arriving after it, would end the user's session.
    pub joining: bool,
    /// The same of the anchor's client session.
    pub anchor_joining: bool,
}

impl Findings {
    pub(super) fn probed(&self, slot: Slot) -> Option<bool> {
        match slot {
            Slot::Current => self.current,
            Slot::Spare => self.spare,
            Slot::Anchor => self.anchor,
        }
    }

    /// What was found out about a slot no longer holds: its client session's entry has changed.
    pub fn forget_slot(&mut self, slot: Slot) {
        self.note_probe(slot, None);
        self.note_access(slot, None);
    }

    pub(super) fn accessed(&self, slot: Slot) -> Option<bool> {
        if slot == Slot::Anchor { self.anchor_access } else { self.access }
    }

    pub(super) fn note_access(&mut self, slot: Slot, active: Option<bool>) {
        match slot {
            Slot::Anchor => self.anchor_access = active,
            Slot::Current | Slot::Spare => self.access = active,
        }
    }

    pub(super) fn note_probe(&mut self, slot: Slot, active: Option<bool>) {
        match slot {
            Slot::Current => self.current = active,
            Slot::Spare => self.spare = active,
            Slot::Anchor => self.anchor = active,
        }
    }

    /// Forgets all that was found out about tokens, and keeps what is known of the client sessions.
    pub(super) fn forget_tokens(&mut self) {
        *self = Self {
            incarnation: self.incarnation,
            anchor_incarnation: self.anchor_incarnation,
            joining: self.joining,
            anchor_joining: self.anchor_joining,
            ..Self::default()
        };
    }

    /// The pair was replaced: what was found out about the old one says nothing about the new one.
    pub(super) fn begin_new_pair(&mut self) {
        let anchored = self.anchored;
        self.forget_tokens();
        self.anchored = anchored;
    }
}

/// A record and what was found out about it in this round.
#[derive(Debug, Clone, PartialEq, Hash)]
pub struct Round {
    /// The record.
    pub record: Record,
    /// What this round has found out.
    pub findings: Findings,
}

impl Round {
    /// The start of a round.
    pub fn begin(record: Record) -> Self {
        Self { record, findings: Findings::default() }
    }
}

/// Whether the pair may be of an earlier life of its client session than the one known by now.
pub(super) fn is_of_an_earlier_life(record: &Record, findings: &Findings) -> bool {
    match (&record.session, findings.incarnation) {
        (Some(session), Some(known)) => known > session.incarnation,
        _ => false,
    }
}
