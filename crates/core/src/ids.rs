//! Names that come from outside, parsed once: whoever holds one of these types need not check it again.
//!
//! A name that does not parse never reaches a Redis key, a log line or a request to the identity provider.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// Why a text is not the name it was meant to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {problem}")]
pub struct InvalidName {
    what: &'static str,
    problem: &'static str,
}

fn check(what: &'static str, text: &str, max: usize, allowed: fn(usize, u8) -> bool) -> Result<(), InvalidName> {
    let problem = if text.is_empty() {
        "must not be empty"
    } else if text.len() > max {
        "is too long"
    } else if !text.bytes().enumerate().all(|(at, byte)| allowed(at, byte)) {
        "contains a character that is not allowed"
    } else {
        return Ok(());
    };
    Err(InvalidName { what, problem })
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $max:literal, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub struct $type(String);

        impl $type {
            /// Parses the name; the error says what is wrong without repeating the input.
            pub fn parse(text: impl Into<String>) -> Result<Self, InvalidName> {
                let text = text.into();
                check($what, &text, $max, $allowed)?;
                Ok(Self(text))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $type {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::parse(text)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::parse(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }
    };
}

fn visible(_: usize, byte: u8) -> bool {
    byte.is_ascii_graphic()
}

name!(
    /// One Keycloak realm: `^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`.
    TenantId, "the tenant", 63,
    |at, b| b.is_ascii_alphanumeric() || (at > 0 && matches!(b, b'_' | b'-'))
);
name!(
    /// A job execution id: `^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`, usually a UUID.
    JobId, "the job id", 128,
    |at, b| b.is_ascii_alphanumeric() || (at > 0 && matches!(b, b'.' | b'_' | b'-'))
);
name!(
    /// A user as the tenant's `user_id_claim` names them: up to 255 visible ASCII characters.
    UserId, "the user id", 255, visible
);
name!(
    /// The `sub` claim (RFC 7519 §4.1.2): up to 255 visible ASCII characters.
    Subject, "the subject", 255, visible
);
name!(
    /// The identity provider's own id of a user: it stays the same when the user is renamed, and users cannot choose it.
    AccountId, "the account id", 255, visible
);
name!(
    /// Keycloak's user session, the `sid` claim.
    SessionId, "the session id", 255, visible
);
name!(
    /// An OAuth client id (RFC 6749 §2.2): up to 255 visible ASCII characters.
    ClientId, "the client id", 255, visible
);
name!(
    /// A caller's module name: `^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`.
    ModuleName, "the module name", 128,
    |at, b| b.is_ascii_alphanumeric() || (at > 0 && matches!(b, b'.' | b'_' | b'-'))
);
name!(
    /// A replica of the vault, unique among those that run at a time.
    ReplicaId, "the replica id", 128, visible
);

/// Where a record lives: job ids are unique within a tenant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobKey {
    /// The tenant.
    pub tenant: TenantId,
    /// The job within it.
    pub job: JobId,
}

impl JobKey {
    /// Names a job of a tenant.
    pub fn new(tenant: TenantId, job: JobId) -> Self {
        Self { tenant, job }
    }

    /// The shard that the record and its due entry live in.
    pub fn shard(&self) -> Shard {
        Shard::of(&[self.tenant.as_str(), self.job.as_str()])
    }
}

impl fmt::Display for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.tenant, self.job)
    }
}

/// Keycloak's failure domain: reuse in one chain kills every chain of the same client in the same session.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey {
    /// The tenant.
    pub tenant: TenantId,
    /// The user session.
    pub sid: SessionId,
    /// The client within it.
    pub client: ClientId,
}

impl SessionKey {
    /// The shard that the session's entry lives in.
    pub fn shard(&self) -> Shard {
        Shard::of(&[self.tenant.as_str(), self.sid.as_str(), self.client.as_str()])
    }
}

/// One of the [`Shard::COUNT`] parts the store's keys are spread over. The number is part of every key: it never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard(u8);

impl Shard {
    /// How many shards there are.
    pub const COUNT: u8 = 64;

    /// The shard of a name made of parts: FNV-1a over the parts, each followed by a zero byte.
    pub fn of(parts: &[&str]) -> Self {
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        for part in parts {
            for byte in part.bytes().chain(std::iter::once(0)) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        }
        // Fold the high bits in: FNV's low bits alone are weak for short, similar names.
        let folded = hash ^ (hash >> 32);
        Self(u8::try_from(folded % u64::from(Self::COUNT)).expect("a remainder of 64 fits a byte"))
    }

    /// Every shard, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT).map(Self)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}", self.0)
    }
}

macro_rules! counter {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $type(pub u64);

        impl $type {
            /// The one after this.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

counter!(
    /// Counts the pairs a record has had; never restarts.
    Generation
);
counter!(
    /// Counts the lives of a (tenant, sid, client) as the vault saw them.
    Incarnation
);
counter!(
    /// Counts the leases a record has been given; a write under an old one is refused.
    Fence
);

/// Names an unbroken life of the store: while it is the same, no write that was acknowledged in it has been lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct StoreEpoch(pub u64);

/// Names one attempt to change something, so that repeating it after a lost answer is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(u64);

impl AttemptId {
    /// An attempt named by 64 random bits.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Parses what [`fmt::Display`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 16).then(|| u64::from_str_radix(text, 16).ok().map(Self)).flatten()
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_id_is_refused_where_it_could_break_a_key() {
        for bad in ["", ".hidden", "-x", "a b", "a:b", "a/b", "a{b}", "ü", "a\n", &"x".repeat(129)] {
            assert!(JobId::parse(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "0f6c8f5e-7f0c-4b0b-9a3e-0d7f6f2c9c11", "import_2026.11", &"x".repeat(128)] {
            assert!(JobId::parse(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn a_tenant_has_at_most_63_characters_and_no_dot() {
        assert!(TenantId::parse("x".repeat(63)).is_ok());
        assert!(TenantId::parse("x".repeat(64)).is_err());
        assert!(TenantId::parse("a.b").is_err());
    }

    #[test]
    fn shards_are_stable_and_spread_evenly() {
        let tenant = TenantId::parse("diku").expect("a tenant");
        let shard_of = |n: u32| JobKey::new(tenant.clone(), JobId::parse(format!("job-{n}")).expect("a job")).shard();
        assert_eq!(shard_of(1).to_string(), "35", "a record must be found again by a later version");
        let mut counts = [0_u32; 64];
        for n in 0..6_400 {
            counts[usize::from(shard_of(n).0)] += 1;
        }
        assert!(counts.iter().all(|&count| (40..200).contains(&count)), "{counts:?}");
    }

    #[test]
    fn parts_of_a_name_do_not_run_into_each_other() {
        let distinct =
            (0..50).filter(|n| Shard::of(&[&format!("a{n}"), "b"]) != Shard::of(&["a", &format!("{n}b")])).count();
        assert!(distinct > 40);
    }

    #[test]
    fn an_attempt_id_reads_back() {
        let id = AttemptId::from_bits(0x0012_3456_789a_bcde);
        assert_eq!(AttemptId::parse(&id.to_string()), Some(id));
        assert_eq!(AttemptId::parse("12"), None);
    }
}
