//! Where a job stands in its life, and why: stable codes for people, metrics and the store.

/// What kind of end it is, as a reader is told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndKind {
    /// Over as planned: released, expired, or revoked by an operator.
    Job,
    /// The session at the identity provider is gone.
    Session,
    /// The vault lost its grant; the user must register the job again.
    Reauth,
}

macro_rules! codes {
    ($(#[$doc:meta])* $type:ident { $($(#[$vdoc:meta])* $variant:ident = $code:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type {
            $($(#[$vdoc])* $variant,)+
        }

        impl $type {
            /// Every one of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The stable code.
            pub fn code(self) -> &'static str {
                match self {
                    $(Self::$variant => $code,)+
                }
            }

            /// Parses a code.
            pub fn parse(code: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.code() == code)
            }
        }
    };
}

codes!(
    /// Why a job ended.
    EndReason {
        /// Its registrar released it.
        Released = "released",
        /// Its `expires_at` passed.
        Expired = "expired",
        /// An operator revoked it.
        Revoked = "revoked",
        /// The user session is no longer active: logged out, or ended by an administrator.
        SessionNotActive = "session_not_active",
        /// The user session lives, but the vault's client session in it is gone (revoked, or reuse was detected).
        ClientSessionGone = "client_session_gone",
        /// Somebody sent a refresh token that had been spent.
        TokenReused = "token_reused",
        /// Everything issued before a point in time was declared void (not-before), or the token was superseded.
        TokenStale = "token_stale",
        /// The session reached its idle or its maximum life.
        SessionExpired = "session_expired",
        /// The client session was re-created by somebody else; tokens of its earlier life must not be sent.
        SessionRecreated = "session_recreated",
        /// The session is gone, and how could not be learnt.
        SessionLost = "session_lost",
        /// The answer to a spent refresh token was lost, and there was nothing to replace it.
        SpendLost = "spend_lost",
        /// The identity provider no longer accepts the token.
        TokenRefused = "token_refused",
        /// A renewed token belonged to somebody else.
        IdentityChanged = "identity_changed",
    }
);

codes!(
    /// Why a job is suspended.
    Suspension {
        /// The user is disabled.
        UserDisabled = "user_disabled",
        /// The user's consent is missing.
        ConsentMissing = "consent_missing",
        /// The session is dead, and why cannot be learnt: it may have ended, or its user be disabled.
        Unclear = "unclear",
        /// The newest access token does not say whose it is: a mapper of the vault's client was taken out.
        IdentityMissing = "identity_missing",
        /// A new session of the vault's own is refused: its role is missing, or the user is disabled or gone.
        ImpersonationRefused = "impersonation_refused",
    }
);

/// Which of a state's codes is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownState {
    /// The state's own.
    Code,
    /// Its reason's.
    Reason,
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

    /// Why it stands there: the stable code of its reason.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Active => None,
            Self::Suspended(reason) => Some(reason.code()),
            Self::Releasing(reason) | Self::Ended(reason) => Some(reason.code()),
        }
    }

    /// Reads a state back from its code and its reason's.
    pub fn parse(code: &str, reason: Option<&str>) -> Result<Self, UnknownState> {
        let end = || reason.and_then(EndReason::parse).ok_or(UnknownState::Reason);
        match code {
            "active" => Ok(Self::Active),
            "suspended" => reason.and_then(Suspension::parse).map(Self::Suspended).ok_or(UnknownState::Reason),
            "releasing" => end().map(Self::Releasing),
            "ended" => end().map(Self::Ended),
            _ => Err(UnknownState::Code),
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

impl EndReason {
    /// What a reader is told.
    pub fn kind(self) -> EndKind {
        match self {
            Self::Released | Self::Expired | Self::Revoked => EndKind::Job,
            Self::SessionNotActive
            | Self::ClientSessionGone
            | Self::TokenReused
            | Self::TokenStale
            | Self::SessionExpired
            | Self::SessionRecreated
            | Self::SessionLost => EndKind::Session,
            Self::SpendLost | Self::TokenRefused | Self::IdentityChanged => EndKind::Reauth,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_distinct_and_reads_back() {
        for reason in EndReason::ALL {
            assert_eq!(EndReason::parse(reason.code()), Some(*reason));
        }
        for reason in Suspension::ALL {
            assert_eq!(Suspension::parse(reason.code()), Some(*reason));
        }
    }
}
