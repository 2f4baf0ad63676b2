//! The tokens of a record, sealed, and what may be known of them without opening them.

use std::time::Duration;

use super::state::EndReason;
use crate::ids::{AttemptId, ClientId, Generation, Incarnation, SessionId, StoreEpoch};
use crate::seal::Sealed;
use crate::secret::TokenHash;
use crate::time::Timestamp;

/// How many unspent refresh tokens are kept beside the spare.
pub const MOST_IN_RESERVE: usize = 2;

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
