//! All that is kept for a job.

use std::collections::BTreeSet;
use std::time::Duration;

use super::state::State;
use super::tokens::{Anchor, Doubt, Intent, Pair, RefreshSlot, SessionRef, Slot};
use crate::ids::{AccountId, Generation, JobId, JobKey, ModuleName, SessionKey, Subject, UserId};
use crate::seal::Sealed;
use crate::time::Timestamp;

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
    /// An active record without a session and a pair, whose other fields say nothing yet. It is where every record begins: what
    /// else is known of one is set over it.
    pub fn new(key: JobKey, user: UserId, subject: Subject, registrar: ModuleName, created_at: Timestamp) -> Self {
        Self {
            key,
            user,
            subject,
            account: None,
            registrar,
            readers: BTreeSet::new(),
            acquisition: Acquisition::Exchange,
            on_logout: OnLogout::Revoke,
            parent: None,
            created_at,
            expires_at: created_at,
            terms: None,
            keep_until: created_at,
            state: State::Active,
            generation: Generation(1),
            session: None,
            pair: None,
            spare: None,
            reserve: Vec::new(),
            anchor: None,
            intent: None,
            access_life: Duration::ZERO,
            session_ends_at: None,
            failures: 0,
            lost_since: None,
            doubt: None,
            announced_at: None,
            renew_at: None,
            due_at: None,
        }
    }

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
    /// registrar may have changed meanwhile stays. Every field is named, so that a new one is asked for here.
    #[must_use]
    pub fn with_pair_of(&self, held: &Self) -> Self {
        let stored = self.clone();
        let held = held.clone();
        Self {
            key: stored.key,
            user: stored.user,
            subject: stored.subject,
            account: stored.account,
            registrar: stored.registrar,
            readers: stored.readers,
            acquisition: stored.acquisition,
            on_logout: stored.on_logout,
            parent: stored.parent,
            created_at: stored.created_at,
            expires_at: stored.expires_at,
            terms: stored.terms,
            // A tombstone that comes back to life is kept as long as the job was to be.
            keep_until: stored.keep_until.max(held.keep_until),
            state: held.state,
            generation: held.generation,
            session: held.session,
            pair: held.pair,
            spare: held.spare,
            reserve: held.reserve,
            anchor: held.anchor,
            intent: None,
            access_life: held.access_life,
            session_ends_at: held.session_ends_at,
            failures: 0,
            lost_since: None,
            doubt: None,
            announced_at: stored.announced_at,
            renew_at: held.renew_at,
            due_at: held.renew_at.or(held.due_at),
        }
    }

    /// Takes over what the registrar has changed in the store since this record was read. Every field is named, so that a new
    /// one is asked for here.
    pub fn take_terms_of(&mut self, stored: Self) {
        let Self {
            readers,
            expires_at,
            terms,
            key: _,
            user: _,
            subject: _,
            account: _,
            registrar: _,
            acquisition: _,
            on_logout: _,
            parent: _,
            created_at: _,
            keep_until: _,
            state: _,
            generation: _,
            session: _,
            pair: _,
            spare: _,
            reserve: _,
            anchor: _,
            intent: _,
            access_life: _,
            session_ends_at: _,
            failures: _,
            lost_since: _,
            doubt: _,
            announced_at: _,
            renew_at: _,
            due_at: _,
        } = stored;
        (self.expires_at, self.readers, self.terms) = (expires_at, readers, terms);
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
