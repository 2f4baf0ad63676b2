//! The machine, looked at as values: nothing runs.

mod anchor;
mod doubt;
mod end;
mod exchange;
mod pace;
mod reads;
mod restore;
mod spend;
mod turn;
mod unread;

use std::time::Duration;

use super::*;
use crate::ids::{
    AccountId, AttemptId, ClientId, Generation, Incarnation, JobId, JobKey, ModuleName, SessionId, StoreEpoch, Subject,
    TenantId, UserId,
};
use crate::ports::{CallError, Cause, GrantError, Identity, Refusal};
use crate::record::{
    Acquisition, Anchor, EndReason, Pair, ReadView, Record, RefreshSlot, SessionRef, Slot, State, Suspension,
};
use crate::seal::Sealed;
use crate::secret::RefreshToken;
use crate::time::Timestamp;

const LIFE: Duration = Duration::from_mins(1);

/// What a read of a whole record is answered.
fn serve(record: &Record, ask: &Ask, now: Timestamp) -> Serve {
    super::serve(&ReadView::of(record, None), ask, now)
}

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

fn begin(record: Record) -> Round {
    let mut round = Round::begin(record);
    round.findings.incarnation = Some(Incarnation(1));
    round
}

/// A round that is walked step by step; the walker says what each step brings.
struct Walk {
    round: Round,
    settings: Settings,
    now: Timestamp,
    attempts: u64,
}

impl Walk {
    fn new(record: Record, now: Timestamp) -> Self {
        Self {
            round: begin(record),
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
        plan(&self.round, &self.input())
    }

    fn input(&self) -> DecisionInput<'_> {
        DecisionInput { now: self.now, roll: 0.5, settings: &self.settings }
    }

    #[track_caller]
    fn step(&mut self, expected: Step, outcome: StepOutcome) -> &mut Self {
        assert_eq!(self.next(), expected);
        self.round = apply(self.round.clone(), expected, outcome, &self.input());
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
        self.step(Step::Declare(slot), StepOutcome::Declared(attempt))
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
        self.step(step, StepOutcome::Issued(Box::new(issued)))
    }

    /// The holder dies here: what it had found out is gone, the record stays.
    fn crash(&mut self, now: Timestamp) -> &mut Self {
        self.round = begin(self.round.record.clone());
        self.now = now;
        self
    }

    fn record(&self) -> &Record {
        &self.round.record
    }
}

const ACTIVE: StepOutcome = StepOutcome::Probed(Ok(true));
const INACTIVE: StepOutcome = StepOutcome::Probed(Ok(false));
const UNKNOWN: StepOutcome = StepOutcome::Failed(GrantError::Unknown(Cause::Interrupted));

fn refused(refusal: Refusal) -> StepOutcome {
    StepOutcome::Failed(GrantError::Refused(refusal))
}
