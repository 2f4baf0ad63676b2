//! What the vault keeps for a job, and the words for each stage of its life.
//!
//! A record never holds a token in the clear: tokens are [`Sealed`] before they come here, and everything the decisions
//! need (lives, hashes, counts) stands beside them.

mod fields;
mod reason;

use std::collections::BTreeSet;
use std::time::Duration;

pub use fields::{FieldError, Fields, FieldsChange, change, decode, encode, terms};
pub use reason::{EndKind, EndReason, Suspension};

use crate::ids::{
    AccountId, AttemptId, ClientId, Generation, Incarnation, JobId, JobKey, ModuleName, SessionId, SessionKey,
    StoreEpoch, Subject, UserId,
};
use crate::seal::Sealed;
use crate::secret::TokenHash;
use crate::time::Timestamp;

/// How many unspent refresh tokens are kept beside the spare.
pub const MOST_IN_RESERVE: usize = 2;

/// How the vault comes to its own pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Acquisition {
    /// Standard token exchange (RFC 8693): a chain of the vault's own in the user's session.
    Exchange,
    /// An exchange that proves the session lives, then a session of the vault's own by impersonation.
    Impersonate,
    /// A deposited pair, taken as it is.
    Adopt,
}

impl Acquisition {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Exchange, Self::Impersonate, Self::Adopt];
}

/// What becomes of the job when its user logs out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnLogout {
    /// The job goes on; only a session of the vault's own can do that.
    Continue,
    /// The job ends.
    Revoke,
}

/// Where a record stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Renewed when due.
    Active,
    /// Refused for now, for a reason that can pass; asked again until `expires_at`.
    Suspended(Suspension),
    /// Ended, but a session of the vault's own is still to be revoked at the identity provider.
    Releasing(EndReason),
    /// A tombstone: no secrets, kept so that a late renewal cannot bring the job back.
    Ended(EndReason),
}

impl State {
    /// The stable code that the store's scripts compare.
    pub fn code(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended(_) => "suspended",
            Self::Releasing(_) => "releasing",
            Self::Ended(_) => "ended",
        }
    }

    /// Whether tokens may still be served and renewed.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Active | Self::Suspended(_))
    }

    /// Why the job ended, once it has.
    pub fn end(self) -> Option<EndReason> {
        match self {
            Self::Releasing(reason) | Self::Ended(reason) => Some(reason),
            Self::Active | Self::Suspended(_) => None,
        }
    }
}

/// The client session a pair belongs to, as the vault saw it when the pair was issued.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SessionRef {
    /// Keycloak's user session.
    pub sid: SessionId,
    /// The client the pair was issued to.
    pub client: ClientId,
    /// The life of that client session; a token of an earlier one is never sent.
    pub incarnation: Incarnation,
}

/// A sealed refresh token and what may be known of it without opening it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RefreshSlot {
    /// The token.
    pub sealed: Sealed,
    /// Names the token without showing it.
    pub hash: TokenHash,
    /// The generation it was sealed under; part of the seal's associated data.
    pub generation: Generation,
    /// When Keycloak forgets it; `None` for an offline token.
    pub expires_at: Option<Timestamp>,
    /// How often it may have been sent to the token endpoint; counted before each send.
    pub sends: u32,
}

/// The pair that reads are served from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pair {
    /// The sealed access token.
    pub access: Sealed,
    /// When the access token expires, on the vault's clock: counted from before the request was sent.
    pub access_expires_at: Timestamp,
    /// When the pair was asked for.
    pub issued_at: Timestamp,
    /// The `scope` of the answer (RFC 6749 §5.1), empty if it had none.
    pub scope: String,
    /// Whether a refresh token was spent for it, or it was deposited: then the next one may be spent for its successor,
    /// and a store that lost that write would show its refresh token as never sent.
    pub rotated: bool,
    /// The store's life in which it was written, as far as that is known.
    pub epoch: Option<StoreEpoch>,
    /// The refresh token.
    pub refresh: RefreshSlot,
}

/// A pair in the user's session, kept only to see whether that session lives (`impersonate` with `on_logout = revoke`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Anchor {
    /// The user's session.
    pub session: SessionRef,
    /// The pair in it.
    pub pair: Pair,
}

/// Which refresh token of a record is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Slot {
    /// The newest pair's.
    Current,
    /// The previous generation's, unspent.
    Spare,
    /// The one in the user's session.
    Anchor,
}

/// Written before a refresh token is spent: whoever finds it knows that the token may be gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Intent {
    /// Names this spend; the answer commits only where this is still the one written.
    pub attempt: AttemptId,
    /// The slot whose token is sent.
    pub slot: Slot,
    /// The token's hash.
    pub hash: TokenHash,
    /// Until when a request sent under this intent may still be at work in Keycloak.
    pub deadline: Timestamp,
    /// Whether the token was known to be dead already and is sent to learn why: then nothing was lost by this spend.
    pub learning: bool,
}

/// The identity provider says that a session has ended, and is not believed at once: a cluster that has lost a node, or a
/// provider that just started, says so of sessions that live. While it lasts nothing is exchanged or spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Doubt {
    /// Whose session is meant: the anchor's ([`Slot::Anchor`]), or the pair's (any other slot).
    pub slot: Slot,
    /// The generation that was asked about. What was said of another one is no evidence.
    pub generation: Generation,
    /// For how long every answer has been no. Time in which nobody asked, or nobody answered, does not count.
    pub lasted: Duration,
    /// When the last no was heard.
    pub heard_at: Timestamp,
    /// What a refusal of a refresh token gave as the reason.
    pub why: Option<EndReason>,
    /// Whether the access token was inactive as well while it should have lived.
    pub denied: bool,
    /// The store's life in which the doubt began, where the refresh token certainly was not spent by then.
    pub unspent_in: Option<StoreEpoch>,
}

/// All that is kept for a job.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Record {
    /// Tenant and job id.
    pub key: JobKey,
    /// The user as the tenant's `user_id_claim` names them.
    pub user: UserId,
    /// The `sub` of the proof. It says whose the record is only where it is the user id claim: elsewhere it can be a name,
    /// or differ from client to client.
    pub subject: Subject,
    /// The identity provider's own id of the user, by which a session of the vault's own is asked for and compared.
    /// Absent where it was never learnt.
    pub account: Option<AccountId>,
    /// The module that registered the job, and alone may release it.
    pub registrar: ModuleName,
    /// The modules that may read, beside the registrar.
    pub readers: BTreeSet<ModuleName>,
    /// How the pair was come by.
    pub acquisition: Acquisition,
    /// What a logout of the user does.
    pub on_logout: OnLogout,
    /// The job whose pair this one shares; such a record has no pair of its own.
    pub parent: Option<JobId>,
    /// When the job was registered.
    pub created_at: Timestamp,
    /// The job's hard end.
    pub expires_at: Timestamp,
    /// Vouches for the terms above, from `subject` on: nobody without a key of the vault's can have written them. Absent
    /// where a version that did not know it wrote the record.
    pub terms: Option<Sealed>,
    /// When the store may forget the record altogether.
    pub keep_until: Timestamp,
    /// Where it stands.
    pub state: State,
    /// How many pairs it has had.
    pub generation: Generation,
    /// The client session of the pair.
    pub session: Option<SessionRef>,
    /// The pair; `None` for children and once the job has ended.
    pub pair: Option<Pair>,
    /// The previous generation's unspent refresh token.
    pub spare: Option<RefreshSlot>,
    /// Those of the generations before it, the newest first: each is good for one more lost answer.
    pub reserve: Vec<RefreshSlot>,
    /// The watched pair in the user's session.
    pub anchor: Option<Anchor>,
    /// A spend that was declared and whose answer has not been written yet.
    pub intent: Option<Intent>,
    /// The longest access token life seen in this record's answers.
    pub access_life: Duration,
    /// Set when Keycloak cut a token's life: nothing will live past this.
    pub session_ends_at: Option<Timestamp>,
    /// Failures since the last success.
    pub failures: u32,
    /// Since when the refresh token has been found dead without a reason. A moment is given to whoever may hold a newer
    /// pair that the store has lost.
    pub lost_since: Option<Timestamp>,
    /// Set while the identity provider says that the session has ended.
    pub doubt: Option<Doubt>,
    /// When a signed logout token of the session was heard.
    pub announced_at: Option<Timestamp>,
    /// When the pair is to be replaced. Until then a look at it is a probe and no more.
    pub renew_at: Option<Timestamp>,
    /// When the reconciler looks at it next; `None` for a tombstone.
    pub due_at: Option<Timestamp>,
}

impl Record {
    /// The pair that a slot belongs to: the watched one, or the one that reads are served from.
    pub fn pair_in(&self, slot: Slot) -> Option<&Pair> {
        match slot {
            Slot::Anchor => self.anchor.as_ref().map(|anchor| &anchor.pair),
            Slot::Current | Slot::Spare => self.pair.as_ref(),
        }
    }

    /// The refresh token in a slot.
    pub fn slot(&self, slot: Slot) -> Option<&RefreshSlot> {
        match slot {
            Slot::Spare => self.spare.as_ref(),
            Slot::Current | Slot::Anchor => self.pair_in(slot).map(|pair| &pair.refresh),
        }
    }

    /// The refresh token in a slot, to be counted.
    pub fn slot_mut(&mut self, slot: Slot) -> Option<&mut RefreshSlot> {
        match slot {
            Slot::Current => self.pair.as_mut().map(|pair| &mut pair.refresh),
            Slot::Spare => self.spare.as_mut(),
            Slot::Anchor => self.anchor.as_mut().map(|anchor| &mut anchor.pair.refresh),
        }
    }

    /// Every refresh token there is.
    pub fn tokens(&self) -> impl Iterator<Item = &RefreshSlot> {
        let slots = [Slot::Current, Slot::Spare, Slot::Anchor].into_iter().filter_map(|slot| self.slot(slot));
        slots.chain(&self.reserve)
    }

    /// The failure domain the pair lives in.
    pub fn session_key(&self) -> Option<SessionKey> {
        self.session.as_ref().map(|session| self.session_key_of(session))
    }

    /// The failure domain of a session that this record has a pair in.
    pub fn session_key_of(&self, session: &SessionRef) -> SessionKey {
        SessionKey { tenant: self.key.tenant.clone(), sid: session.sid.clone(), client: session.client.clone() }
    }

    /// The failure domains of the pair and of the anchor.
    pub fn session_keys(&self) -> impl Iterator<Item = SessionKey> {
        let anchor = self.anchor.as_ref().map(|anchor| &anchor.session);
        self.session.iter().chain(anchor).map(|session| self.session_key_of(session))
    }

    /// This record, which stands at an older generation, with the pair of a newer one that was held elsewhere. What its
    /// registrar may have changed meanwhile stays.
    #[must_use]
    pub fn with_pair_of(&self, held: &Self) -> Self {
        Self {
            state: held.state,
            generation: held.generation,
            session: held.session.clone(),
            pair: held.pair.clone(),
            spare: held.spare.clone(),
            reserve: held.reserve.clone(),
            anchor: held.anchor.clone(),
            intent: None,
            access_life: held.access_life,
            session_ends_at: held.session_ends_at,
            failures: 0,
            lost_since: None,
            doubt: None,
            renew_at: held.renew_at,
            due_at: held.renew_at.or(held.due_at),
            // A tombstone that comes back to life is kept as long as the job was to be.
            keep_until: self.keep_until.max(held.keep_until),
            ..self.clone()
        }
    }

    /// The doubt that is about the pair it has now.
    pub fn standing_doubt(&self) -> Option<&Doubt> {
        self.doubt.as_ref().filter(|doubt| doubt.generation == self.generation)
    }

    /// Whether a module may read this job's tokens.
    pub fn may_read(&self, module: &ModuleName) -> bool {
        self.registrar == *module || self.readers.contains(module)
    }

    /// Whether the pair lives in a session that is the vault's alone, so that revoking it hurts nobody else.
    pub fn owns_session(&self) -> bool {
        self.acquisition == Acquisition::Impersonate
    }

    /// Leaves of a record that has ended what is told of it: whose it was, and why it ended. Nobody vouches for the terms of an
    /// end. A child's names no readers: those who may read its parent were among them.
    pub fn bury(&mut self) {
        self.erase();
        self.terms = None;
        if self.parent.is_some() {
            self.readers.clear();
            self.account = None;
        }
    }

    /// Erases every secret.
    pub fn erase(&mut self) {
        self.pair = None;
        self.spare = None;
        self.reserve.clear();
        self.anchor = None;
        self.intent = None;
        self.doubt = None;
        self.announced_at = None;
    }
}
