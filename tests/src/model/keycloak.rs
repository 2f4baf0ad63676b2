//! Keycloak as far as the vault's client in one user's sessions matters: which tokens are good, and what an act destroys.
//!
//! Reuse of a refresh token detaches the client session. An access token from an earlier life of the client session, sent
//! for exchange, ends the user's whole session. Both were measured; see docs/explain/keycloak.md. Here an earlier life is enough;
//! the real one forgives up to a second.
//!
//! It may err for a while: then it says no to whatever it is asked, and does nothing. A key of the realm may be deleted:
//! the tokens signed with it are no good any more, and harm nothing.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use tokenvault_core::ports::Refusal;
use tokenvault_core::time::Timestamp;

/// An access token's life.
pub const LIFE: Duration = Duration::from_mins(1);

/// Names a pair; its access token and its refresh token go by the same number. Numbers are used again.
pub type PairId = u8;

/// The user's own session; all others are the vault's.
pub const USERS: u8 = 0;

/// A pair that was issued.
#[derive(Debug, Clone, Copy)]
pub struct Issue {
    /// The session it lives in.
    pub session: u8,
    /// The life of the client session it was issued in.
    pub life: u8,
    born: Timestamp,
    spent: bool,
    void: Void,
}

impl Hash for Issue {
    // The session is hashed by what it is, and not by its number.
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.life, self.born, self.spent, self.void).hash(state);
    }
}

/// What a deleted key has made of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Void {
    /// Nothing.
    Neither,
    /// Its refresh token is no good any more; whether its access token had some life left.
    Refresh { in_time: bool },
    /// Its access token is no good any more.
    Access,
}

/// A key of the realm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// The one that refresh tokens are made with.
    Hmac,
    /// The one that access tokens are signed with.
    Signing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Session {
    user_alive: bool,
    client_alive: bool,
    life: u8,
}

/// What an exchange of an access token came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exchanged {
    /// A pair.
    Pair(PairId),
    /// A no.
    Refused(Refusal),
    /// The token was of an earlier life: the user's session has ended.
    SessionEnded,
}

/// The sessions and what was issued in them.
#[derive(Debug, Clone, Default)]
pub struct Keycloak {
    sessions: Vec<Option<Session>>,
    issued: Vec<Option<Issue>>,
    /// Which lives of the vault's client session in the user's session others have ended, as bits.
    ended_by_others: u32,
    /// Which registration began the life that the client session is in.
    pub creator: u8,
    /// Since when it errs about sessions, if it does.
    pub errs_since: Option<Timestamp>,
    /// Since when it has been about to end the user's session, of which it has told its clients.
    pub ending_since: Option<Timestamp>,
}

impl Keycloak {
    /// The user's session with a client session of the vault's in it.
    pub fn new() -> Self {
        let session = Session { user_alive: true, client_alive: true, life: 1 };
        Self { sessions: vec![Some(session)], ..Self::default() }
    }

    /// A pair, as long as anybody holds it.
    pub fn issue(&self, pair: PairId) -> Option<&Issue> {
        self.issued.get(usize::from(pair)).and_then(Option::as_ref)
    }

    fn session(&self, session: u8) -> Option<&Session> {
        self.sessions.get(usize::from(session)).and_then(Option::as_ref)
    }

    fn session_mut(&mut self, session: u8) -> Option<&mut Session> {
        self.sessions.get_mut(usize::from(session)).and_then(Option::as_mut)
    }

    /// Hashes a session by its state.
    pub fn hash_session(&self, session: u8, state: &mut impl Hasher) {
        (session == USERS, self.session(session)).hash(state);
    }

    /// Hashes what does not belong to a pair.
    pub fn hash_users(&self, state: &mut impl Hasher) {
        (self.session(USERS), self.ended_by_others, self.creator).hash(state);
        (self.errs_since, self.ending_since).hash(state);
    }

    /// Issues a pair in the life its session is in.
    fn grant(&mut self, session: u8, now: Timestamp) -> PairId {
        let life = self.session(session).map_or(0, |session| session.life);
        let place = put(&mut self.issued, Some(Issue { session, life, born: now, spent: false, void: Void::Neither }));
        PairId::try_from(place).expect("what nobody holds is forgotten")
    }

    /// A first pair, for a job that is there when the exploration begins.
    pub fn first(&mut self, now: Timestamp) -> PairId {
        self.grant(USERS, now)
    }

    /// Forgets what nobody holds.
    pub fn keep_only(&mut self, held: u64) {
        for (id, issue) in self.issued.iter_mut().enumerate() {
            if held & (1 << id) == 0 {
                *issue = None;
            }
        }
        while self.issued.last().is_some_and(Option::is_none) {
            self.issued.pop();
        }
        for id in 1..self.sessions.len() {
            let lived_in = self.issued.iter().flatten().any(|issue| usize::from(issue.session) == id);
            if !lived_in {
                self.sessions[id] = None;
            }
        }
        while self.sessions.last().is_some_and(Option::is_none) {
            self.sessions.pop();
        }
    }

    /// Whether the user's session lives, and the vault's client session in it.
    pub fn lives(&self) -> (bool, bool) {
        self.session(USERS).map_or((false, false), |session| (session.user_alive, session.client_alive))
    }

    /// Whether somebody else ended what this pair lives in.
    pub fn was_ended_by_others(&self, pair: PairId) -> bool {
        self.issue(pair).is_some_and(|issue| {
            let gone = !self.lives().0 || self.ending_since.is_some() || self.ended_by_others & (1 << issue.life) != 0;
            issue.session == USERS && gone
        })
    }

    /// Whether an access token has not expired.
    pub fn is_live_access(&self, pair: PairId, now: Timestamp) -> bool {
        self.issue(pair).is_some_and(|issue| now < issue.born + LIFE)
    }

    /// Whether the client session that a pair was issued in still lives.
    fn is_of_this_life(&self, issue: &Issue) -> bool {
        self.session(issue.session)
            .is_some_and(|session| session.user_alive && session.client_alive && session.life == issue.life)
    }

    /// Whether a refresh token is good, whatever is said of it.
    pub fn is_good_refresh(&self, pair: PairId) -> bool {
        let good =
            |issue: &Issue| self.is_of_this_life(issue) && !issue.spent && !matches!(issue.void, Void::Refresh { .. });
        self.issue(pair).is_some_and(good)
    }

    /// Whether an access token brings a pair if it is exchanged, whatever is said of it.
    pub fn is_good_access(&self, pair: PairId, now: Timestamp) -> bool {
        let good = |issue: &Issue| self.is_of_this_life(issue) && issue.void != Void::Access;
        self.is_live_access(pair, now) && self.issue(pair).is_some_and(good)
    }

    /// Whether the refresh token of a pair went with its key, and whether the access token had some life left then.
    pub fn lost_its_key(&self, pair: PairId) -> Option<bool> {
        match self.issue(pair)?.void {
            Void::Refresh { in_time } => Some(in_time),
            Void::Neither | Void::Access => None,
        }
    }

    /// Introspection with the refresh-token hint.
    pub fn probe(&self, pair: PairId) -> bool {
        self.errs_since.is_none() && self.is_good_refresh(pair)
    }

    /// Introspection of an access token. A detached session of the vault's own looks alive.
    pub fn introspect(&self, pair: PairId, now: Timestamp) -> bool {
        let Some(issue) = self.issue(pair).filter(|_| self.is_live_access(pair, now)) else { return false };
        let seems = self.is_of_this_life(issue)
            || (issue.session != USERS && self.session(issue.session).is_some_and(|session| session.user_alive));
        self.errs_since.is_none() && seems && issue.void != Void::Access
    }

    /// The refresh grant; also whether a spent token came back.
    pub fn refresh(&mut self, pair: PairId, now: Timestamp) -> (Result<PairId, Refusal>, bool) {
        let Some(issue) = self.issue(pair).copied() else { return (Err(Refusal::TokenInvalid), false) };
        if matches!(issue.void, Void::Refresh { .. }) {
            return (Err(Refusal::TokenInvalid), issue.spent);
        }
        if self.errs_since.is_some() {
            return (Err(Refusal::ClientSessionGone), issue.spent && self.is_of_this_life(&issue));
        }
        let Some(session) = self.session_mut(issue.session) else { return (Err(Refusal::SessionNotActive), false) };
        if !session.user_alive {
            return (Err(Refusal::SessionNotActive), false);
        }
        if !session.client_alive || session.life != issue.life {
            return (Err(Refusal::ClientSessionGone), false);
        }
        if issue.spent {
            session.client_alive = false;
            return (Err(Refusal::TokenReused), true);
        }
        self.issued[usize::from(pair)] = Some(Issue { spent: true, ..issue });
        (Ok(self.grant(issue.session, now)), false)
    }

    /// Token exchange of the access token of a pair.
    pub fn exchange(&mut self, pair: PairId, now: Timestamp) -> Exchanged {
        let refused = Exchanged::Refused(Refusal::SubjectInvalid);
        let Some(issue) = self.issue(pair).copied() else { return refused };
        if self.errs_since.is_some() || issue.void == Void::Access {
            return refused;
        }
        let Some(session) = self.session_mut(issue.session) else { return refused };
        if now >= issue.born + LIFE || !session.user_alive || !session.client_alive {
            return refused;
        }
        if session.life != issue.life {
            session.user_alive = false;
            return Exchanged::SessionEnded;
        }
        Exchanged::Pair(self.grant(issue.session, now))
    }

    /// A key of the realm is deleted, and with it goes every token made with it; `in_time` says how much life an access
    /// token must have left to bring the next pair for certain.
    pub fn delete(&mut self, key: Key, in_time: Option<Duration>, now: Timestamp) {
        for issue in self.issued.iter_mut().flatten() {
            issue.void = match key {
                Key::Hmac => {
                    let in_time = in_time.is_some_and(|life| now + life <= issue.born + LIFE);
                    Void::Refresh { in_time }
                }
                Key::Signing => Void::Access,
            };
        }
    }

    /// A session of the vault's own. It is had even for a user who has logged out.
    pub fn impersonate(&mut self, now: Timestamp) -> PairId {
        let session = Some(Session { user_alive: true, client_alive: true, life: 1 });
        let place = put(&mut self.sessions, session);
        self.grant(u8::try_from(place).expect("what nobody holds is forgotten"), now)
    }

    /// Exchange of the user's own access token for a registration: the client session is created anew where it is gone.
    pub fn register(&mut self, serial: u8, now: Timestamp) -> Option<PairId> {
        let errs = self.errs_since.is_some();
        let session = self.session_mut(USERS).filter(|session| session.user_alive && !errs)?;
        if !session.client_alive {
            session.client_alive = true;
            session.life += 1;
            self.creator = serial;
        }
        Some(self.grant(USERS, now))
    }

    /// Revocation of a refresh token, even of a spent one: its client session dies. Answers in which session.
    pub fn revoke(&mut self, pair: PairId) -> Option<u8> {
        let issue = *self.issue(pair)?;
        self.session_mut(issue.session)?.client_alive = false;
        Some(issue.session)
    }

    /// Somebody else revokes the vault's client session, or sends a spent refresh token of it.
    pub fn detach(&mut self) {
        if let Some(session) = self.session_mut(USERS) {
            session.client_alive = false;
            let bit = 1 << session.life;
            self.ended_by_others |= bit;
        }
    }

    /// The user logs out; sessions of the vault's own stay.
    pub fn log_out(&mut self) {
        self.ending_since = None;
        if let Some(session) = self.session_mut(USERS) {
            session.user_alive = false;
        }
    }
}

/// Puts something at the first free place.
fn put<T>(places: &mut Vec<Option<T>>, thing: Option<T>) -> usize {
    let place = places.iter().position(Option::is_none).unwrap_or(places.len());
    if place == places.len() {
        places.push(thing);
    } else {
        places[place] = thing;
    }
    place
}
