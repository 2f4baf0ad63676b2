//! Whose a job is and who may read its token, as one field of a record.
//!
//! These dozen values are written together and read with every read, so from schema 4 on the store keeps them as one field
//! ([`PACKED`]) instead of twelve: a read is answered with fewer values, and a record takes less memory. Before that each is a
//! field of its own, as [`encode`](super::encode) writes them.
//!
//! Layout: a version byte, then for each value its index in [`NAMES`] (1 byte), its length (2 bytes, big-endian) and its bytes. A
//! value that does not apply is left out.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Weak};

use parking_lot::RwLock;
use sha2::{Digest, Sha256};

use super::fields::{FieldError, Fields};
use super::job_record::{Acquisition, Record};
use crate::ids::{AccountId, JobId, JobKey, ModuleName, TenantId, UserId};
use crate::seal::{Keyring, Sealed};
use crate::time::Timestamp;

/// The field that holds the packed values.
pub const PACKED: &str = "who";

const VERSION: u8 = 1;

/// The packed fields. From the fourth on they are the terms, in the order in which they are digested.
pub const NAMES: [&str; 12] = [
    "tenant",
    "job",
    "user",
    "account",
    "acquisition",
    "created",
    "expires",
    "on_logout",
    "parent",
    "readers",
    "registrar",
    "sub",
];

const FIRST_TERM: usize = 3;

/// Replaces the fields of [`NAMES`] by the packed one. Fields that hold none of them stay as they are.
pub fn pack(fields: &mut Fields) {
    let mut packed = vec![VERSION];
    for (index, name) in (0_u8..).zip(NAMES) {
        let Some(value) = fields.remove(name) else { continue };
        let length =
            u16::try_from(value.len()).expect("names, times and a list of some hundred modules are far shorter");
        packed.push(index);
        packed.extend_from_slice(&length.to_be_bytes());
        packed.extend_from_slice(&value);
    }
    if packed.len() > 1 {
        fields.insert(PACKED.to_owned(), packed);
    }
}

/// Replaces the packed field by those it holds, where it is there.
pub fn unpack(fields: &mut Fields) -> Result<(), FieldError> {
    let Some(packed) = fields.remove(PACKED) else { return Ok(()) };
    for (name, value) in NAMES.into_iter().zip(values(&packed)?) {
        if let Some(value) = value {
            fields.insert(name.to_owned(), value.to_vec());
        }
    }
    Ok(())
}

/// The packed values in the order of [`NAMES`].
fn values(packed: &[u8]) -> Result<[Option<&[u8]>; NAMES.len()], FieldError> {
    const MALFORMED: FieldError = FieldError(PACKED);
    let mut rest = packed.strip_prefix(&[VERSION]).ok_or(MALFORMED)?;
    let mut values = [None; NAMES.len()];
    while let Some((&[index, high, low], after)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (value, after) = after.split_at_checked(length).ok_or(MALFORMED)?;
        *values.get_mut(usize::from(index)).ok_or(MALFORMED)? = Some(value);
        rest = after;
    }
    if rest.is_empty() { Ok(values) } else { Err(MALFORMED) }
}

/// The SHA-256 of a record's terms: what the seal on them vouches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TermsDigest([u8; 32]);

impl TermsDigest {
    /// Of a record.
    pub fn of(record: &Record) -> Self {
        Self(Sha256::digest(super::terms(record)).into())
    }

    /// In hex.
    pub fn to_hex(self) -> String {
        let mut text = String::with_capacity(2 * self.0.len());
        for byte in self.0 {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(digit), 16).expect("four bits are a hexadecimal digit"));
            }
        }
        text
    }

    /// The same as [`of`](Self::of) a record with these values.
    fn of_values(values: &[Option<&[u8]>; NAMES.len()]) -> Self {
        let mut digest = Sha256::new();
        for (name, value) in NAMES.iter().zip(values).skip(FIRST_TERM) {
            let Some(value) = value else { continue };
            for part in [name.as_bytes(), value] {
                digest.update((part.len() as u64).to_be_bytes());
                digest.update(part);
            }
        }
        Self(digest.finalize().into())
    }
}

/// Whose a job is and who may read its token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Tenant and job id.
    pub key: JobKey,
    /// The user.
    pub user: UserId,
    /// The identity provider's own id of the user.
    pub account: Option<AccountId>,
    /// The module that registered the job.
    pub registrar: ModuleName,
    /// The modules that may read, beside the registrar.
    pub readers: BTreeSet<ModuleName>,
    /// How the pair was come by.
    pub acquisition: Acquisition,
    /// The job whose pair this one shares.
    pub parent: Option<JobId>,
    /// When the job was registered.
    pub created_at: Timestamp,
    /// The job's hard end.
    pub expires_at: Timestamp,
    /// What the seal on them vouches for.
    pub digest: TermsDigest,
    /// Under which key ring which seal was found to vouch for them.
    pub vouched: Vouched,
}

/// Remembers that a seal was found to vouch for terms, so that it need not be opened with each read of them.
#[derive(Default)]
pub struct Vouched(RwLock<Option<(Sealed, Weak<Keyring>)>>);

impl Vouched {
    /// Whether this seal was found to, under this very ring.
    pub fn by(&self, seal: &Sealed, keyring: &Arc<Keyring>) -> bool {
        let known = self.0.read();
        known.as_ref().is_some_and(|(known, ring)| std::ptr::eq(ring.as_ptr(), Arc::as_ptr(keyring)) && known == seal)
    }

    /// Remembers that it was.
    pub fn note(&self, seal: &Sealed, keyring: &Arc<Keyring>) {
        *self.0.write() = Some((seal.clone(), Arc::downgrade(keyring)));
    }
}

impl fmt::Debug for Vouched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vouched")
    }
}

/// Nothing is remembered of another's.
impl Clone for Vouched {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// What is remembered makes no difference between terms.
impl PartialEq for Vouched {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Vouched {}

impl Terms {
    /// Of a record.
    pub fn of(record: &Record) -> Self {
        Self {
            key: record.key.clone(),
            user: record.user.clone(),
            account: record.account.clone(),
            registrar: record.registrar.clone(),
            readers: record.readers.clone(),
            acquisition: record.acquisition,
            parent: record.parent.clone(),
            created_at: record.created_at,
            expires_at: record.expires_at,
            digest: TermsDigest::of(record),
            vouched: Vouched::default(),
        }
    }

    /// Of the packed field.
    pub fn unpack(packed: &[u8]) -> Result<Self, FieldError> {
        let values = values(packed)?;
        let [tenant, job, user, account, acquisition, created, expires, _, parent, readers, registrar, _] = values;
        let text = |name: &'static str, value: Option<&[u8]>| {
            value.and_then(|value| std::str::from_utf8(value).ok().map(str::to_owned)).ok_or(FieldError(name))
        };
        let time = |name, value| text(name, value)?.parse().map(Timestamp::from_millis).map_err(|_| FieldError(name));
        let malformed = |name| move |_| FieldError(name);
        let optional = |name, value: Option<_>| value.map(|value| text(name, Some(value))).transpose();
        let tenant = TenantId::parse(text("tenant", tenant)?).map_err(|_| FieldError("tenant"))?;
        let job = JobId::parse(text("job", job)?).map_err(|_| FieldError("job"))?;
        Ok(Self {
            key: JobKey::new(tenant, job),
            user: UserId::parse(text("user", user)?).map_err(|_| FieldError("user"))?,
            account: optional("account", account)?
                .map(AccountId::parse)
                .transpose()
                .map_err(|_| FieldError("account"))?,
            registrar: ModuleName::parse(text("registrar", registrar)?).map_err(|_| FieldError("registrar"))?,
            readers: serde_json::from_slice(readers.unwrap_or_default()).map_err(malformed("readers"))?,
            acquisition: serde_json::from_slice(acquisition.unwrap_or_default()).map_err(malformed("acquisition"))?,
            parent: optional("parent", parent)?.map(JobId::parse).transpose().map_err(|_| FieldError("parent"))?,
            created_at: time("created", created)?,
            expires_at: time("expires", expires)?,
            digest: TermsDigest::of_values(&values),
            vouched: Vouched::default(),
        })
    }

    /// Whether a module may read this job's tokens.
    pub fn may_read(&self, module: &ModuleName) -> bool {
        self.registrar == *module || self.readers.contains(module)
    }
}

/// What is remembered is kept in so many parts, that readers do not wait for each other.
const PARTS: usize = 16;
/// So many jobs' terms are remembered in each; then it is begun anew.
const MOST_KNOWN: usize = 32_768 / PARTS;

/// The terms that were unpacked lately, by the bytes that they were unpacked from.
#[derive(Debug, Default)]
pub struct UnpackedTerms([RwLock<ByJob>; PARTS]);

/// The packed bytes, and what was unpacked from them.
type ByJob = HashMap<JobKey, (Box<[u8]>, Arc<Terms>)>;

impl UnpackedTerms {
    /// The terms that a packed field of this job's holds.
    pub fn of(&self, key: &JobKey, packed: &[u8]) -> Result<Arc<Terms>, FieldError> {
        let sum =
            key.job.as_str().bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
        let part = &self.0[sum % PARTS];
        if let Some((known, terms)) = part.read().get(key)
            && **known == *packed
        {
            return Ok(Arc::clone(terms));
        }
        let terms = Arc::new(Terms::unpack(packed)?);
        let mut jobs = part.write();
        if jobs.len() >= MOST_KNOWN {
            jobs.clear();
        }
        jobs.insert(key.clone(), (packed.into(), Arc::clone(&terms)));
        Ok(terms)
    }
}
