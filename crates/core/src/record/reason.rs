//! Why a job ended or is suspended: stable codes for people, metrics and the store.

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
