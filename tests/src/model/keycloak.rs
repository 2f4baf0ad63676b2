//! Keycloak as far as one client session of the vault's matters: which tokens are good, and what an act destroys.
//!
//! Reuse of a refresh token detaches the client session. An access token from an earlier life of the client session, sent
//! for exchange, ends the user's whole session. Both were measured; see docs/keycloak.md.

use std::collections::{BTreeMap, BTreeSet};

use tokenvault_core::ports::Refusal;

/// An access token's life in seconds.
pub const LIFE: u64 = 60;

/// Names a pair; its access token and its refresh token go by the same number.
pub type PairId = u16;

/// The state of one client session, and what the vault did to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not the stages of one state")]
pub struct Keycloak {
    /// Whether the user's session lives.
    pub user_alive: bool,
    /// Whether the client session in it lives.
    pub client_alive: bool,
    /// Which life the client session is in.
    pub life: u8,
    /// Pairs by number: the life they were issued in, and when.
    issued: BTreeMap<PairId, (u8, u64)>,
    spent: BTreeSet<PairId>,
    /// A refresh token that had been spent was sent again.
    pub reused: bool,
    /// An exchange with a token of an earlier life ended the user's session.
    pub killed_user_session: bool,
}

impl Keycloak {
    /// A session with its first pair, number 0, issued at `now`.
    pub fn new(now: u64) -> Self {
        let mut keycloak = Self { user_alive: true, client_alive: true, life: 1, ..Self::default() };
        keycloak.issue(now);
        keycloak
    }

    fn issue(&mut self, now: u64) -> PairId {
        let id = PairId::try_from(self.issued.len()).expect("the exploration is shallow");
        self.issued.insert(id, (self.life, now));
        id
    }

    /// The newest pair there is.
    pub fn newest(&self) -> PairId {
        self.issued.keys().next_back().copied().unwrap_or_default()
    }

    fn is_of_this_life(&self, pair: PairId) -> bool {
        self.issued.get(&pair).is_some_and(|(life, _)| *life == self.life)
    }

    /// Introspection with the refresh-token hint.
    pub fn probe(&self, pair: PairId) -> bool {
        self.user_alive && self.client_alive && self.is_of_this_life(pair) && !self.spent.contains(&pair)
    }

    /// The refresh grant.
    pub fn refresh(&mut self, pair: PairId, now: u64) -> Result<PairId, Refusal> {
        if !self.user_alive {
            return Err(Refusal::SessionNotActive);
        }
        if !self.client_alive || !self.is_of_this_life(pair) {
            return Err(Refusal::ClientSessionGone);
        }
        if !self.spent.insert(pair) {
            self.reused = true;
            self.client_alive = false;
            return Err(Refusal::TokenReused);
        }
        Ok(self.issue(now))
    }

    /// Token exchange of the access token of a pair.
    pub fn exchange(&mut self, pair: PairId, now: u64) -> Result<PairId, Refusal> {
        let born = self.issued.get(&pair).map_or(0, |(_, born)| *born);
        if now >= born + LIFE || !self.user_alive || !self.client_alive {
            return Err(Refusal::SubjectInvalid);
        }
        if !self.is_of_this_life(pair) {
            self.user_alive = false;
            self.killed_user_session = true;
            return Err(Refusal::SubjectInvalid);
        }
        Ok(self.issue(now))
    }

    /// A new session of the vault's own.
    pub fn impersonate(&mut self, now: u64) -> PairId {
        self.life += 1;
        self.user_alive = true;
        self.client_alive = true;
        self.issue(now)
    }

    /// The user registers another job after the client session was revoked: it is created anew.
    pub fn recreate(&mut self) {
        self.life += 1;
        self.client_alive = true;
    }
}
