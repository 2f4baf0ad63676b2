//! Why the store did not do something. Each cause of its absence has a stable code, for programs, and says in words what an
//! operator would look at.

use std::fmt;

/// Why the store did not do something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, or did not answer in time. Whether a write was done is unknown; repeat it with the same
    /// attempt id.
    #[error("the store is unavailable: {0}")]
    Unavailable(StoreCause),
    /// It holds something this version cannot read.
    #[error("the store holds a record that cannot be read: {0}")]
    Corrupt(String),
    /// Its schema is not one this version knows.
    #[error("the store's schema is {found}; this version knows {known}")]
    Schema {
        /// What was found.
        found: String,
        /// What this binary knows.
        known: u32,
    },
}

impl StoreError {
    /// Whether it answers, and takes no writes.
    pub fn is_refusal_to_write(&self) -> bool {
        use StoreCause::{CannotPersist, NoPermission, OutOfMemory, ReadOnly, TooFewReplicas};
        let Self::Unavailable(cause) = self else { return false };
        matches!(cause, OutOfMemory | CannotPersist | ReadOnly | TooFewReplicas | NoPermission)
    }

    /// Whether it is full: it takes nothing that needs more memory.
    pub fn is_full(&self) -> bool {
        *self == Self::Unavailable(StoreCause::OutOfMemory)
    }

    /// Whether the server that answers follows another one: the store is elsewhere.
    pub fn is_elsewhere(&self) -> bool {
        *self == Self::Unavailable(StoreCause::ReadOnly)
    }
}

macro_rules! causes {
    ($($(#[$doc:meta])* $cause:ident = $code:literal, $words:literal;)+) => {
        /// Why the store is unavailable.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum StoreCause {
            $($(#[$doc])* $cause,)+
            /// Nothing is known of its clock, by which all decisions are made.
            ClockUnheard,
            /// The pool of connections is closed.
            PoolClosed,
        }

        /// The causes that an operator can do something about, each code with its words.
        /// `docs/runbooks/store-unavailable.md` leads out of each.
        pub const CAUSES: [(&str, &str); 18] = [$(($code, $words)),+];

        impl StoreCause {
            /// The stable code.
            pub fn code(self) -> &'static str {
                match self {
                    $(Self::$cause => $code,)+
                    Self::ClockUnheard => "its clock has not been heard yet",
                    Self::PoolClosed => "pool",
                }
            }
        }
    };
}

causes! {
    /// The connection was refused.
    Refused = "refused", "nobody listens at its address";
    /// There was no connection in time.
    ConnectTimeout = "connect_timeout", "no connection came about in time";
    /// There was no answer in time.
    Timeout = "timeout", "it did not answer in time";
    /// The connection was closed under a command.
    ConnectionLost = "connection_lost", "it closed the connection";
    /// Any other failure of the network.
    Io = "io", "the connection to it broke, or its name is not known";
    /// There was no free connection in time.
    PoolExhausted = "pool_exhausted", "every connection was in use for too long";
    /// `NOAUTH` or `WRONGPASS`.
    Authentication = "authentication", "it does not accept the user or the password";
    /// `NOPERM`.
    NoPermission = "no_permission", "its user may not do what the vault does";
    /// `LOADING`.
    Loading = "loading", "it still reads its files after a start";
    /// `READONLY`: the store is elsewhere.
    ReadOnly = "read_only", "the server that answers is a replica: it follows another one";
    /// `MASTERDOWN`.
    MasterDown = "master_down", "the server that answers is a replica that has lost its primary";
    /// `OOM`.
    OutOfMemory = "out_of_memory", "it is full: its maxmemory is reached";
    /// `MISCONF`.
    CannotPersist = "cannot_persist", "it cannot write to its disk";
    /// `NOREPLICAS`.
    TooFewReplicas = "too_few_replicas", "it has fewer replicas than it is to have before it writes";
    /// No sentinel and no server of the cluster names one.
    NoPrimary = "no_primary", "nobody tells which server is the primary, or it is just being chosen";
    /// A slot of the cluster.
    Moving = "moving", "a part of the cluster is just being moved between its servers";
    /// Any other refusal.
    Server = "server", "it refused a command";
    /// An answer that is not Redis'.
    Protocol = "protocol", "what answers does not speak as Redis does";
}

/// The words, with the code for who searches for it.
impl fmt::Display for StoreCause {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code();
        match CAUSES.iter().find(|(known, _)| *known == code) {
            Some((_, words)) => write!(to, "{words} ({code})"),
            None => to.write_str(code),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_in_words_with_its_code() {
        let said = StoreError::Unavailable(StoreCause::Refused).to_string();
        assert_eq!(said, "the store is unavailable: nobody listens at its address (refused)");
        let said = StoreError::Unavailable(StoreCause::ClockUnheard).to_string();
        assert_eq!(said, "the store is unavailable: its clock has not been heard yet");
    }
}
