//! Sealing: the one module that holds a cipher.
//!
//! AES-256-GCM under a key derived by HKDF-SHA-256 (RFC 5869) for each write from a keyring key and a fresh 32-byte
//! salt, so a nonce can never repeat under one key. Associated data bind a sealed token to its place: header, tenant,
//! user, job, generation and field, each length-prefixed; moved anywhere else it does not open. What stands beside it in
//! the clear (when it dies, what it is good for) is bound as well: rewritten, the token does not open.
//!
//! Layout: `TV`, format, length of the key id, key id, salt (32 bytes), ciphertext with its 16-byte tag. Format 2 binds
//! what stands beside the value, format 1 does not.
//!
//! A seal is opened with the key that its header names and no other; keys are never tried in turn. That a key of the right
//! name is the right key is another matter: a ring may hold keys in doubt ([`KeyDoubt`]).

use std::collections::BTreeMap;
use std::fmt;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::ids::{Generation, JobKey, UserId};
use crate::ports::Entropy;

const MAGIC: &[u8; 2] = b"TV";
/// Bound to its place.
const FORMAT_CONTEXT: u8 = 1;
/// Bound to its place and to what stands beside it.
const FORMAT_DATA: u8 = 2;
/// The magic, the format and the length of the key id.
const FIXED: usize = MAGIC.len() + 2;
const SALT: usize = 32;
const TAG: usize = 16;
const KEY: usize = 32;
const NONCE: usize = 12;

/// Sealed bytes: safe to store, log-safe only by its length.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Sealed(Vec<u8>);

impl Sealed {
    /// Takes over bytes from the store; whether they open is another matter.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes to store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The id of the key it was sealed with.
    pub fn key_id(&self) -> Option<&str> {
        split(&self.0).ok().map(|parts| parts.key_id)
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

/// The field a token is sealed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealedField {
    /// The access token that reads are served from.
    Access,
    /// A refresh token, current or spare: a spare is the current one of an earlier generation, sealed once.
    Refresh,
    /// The access token of the watched pair in the user's session.
    AnchorAccess,
    /// The refresh token of the watched pair in the user's session.
    AnchorRefresh,
    /// No token: a digest of what a record says in the clear about whose it is and who may have it.
    Terms,
}

impl SealedField {
    fn name(self) -> &'static str {
        match self {
            Self::Access => "access_token",
            Self::Refresh => "refresh_token",
            Self::AnchorAccess => "anchor_access_token",
            Self::AnchorRefresh => "anchor_refresh_token",
            Self::Terms => "terms",
        }
    }
}

/// The place a sealed token belongs to.
#[derive(Debug, Clone, Copy)]
pub struct SealContext<'a> {
    /// Tenant and job.
    pub key: &'a JobKey,
    /// The job's user.
    pub user: &'a UserId,
    /// The generation of the pair; `None` for what stays the same from one pair to the next.
    pub generation: Option<Generation>,
    /// The field.
    pub field: SealedField,
    /// What stands beside it in the clear and is to be believed only if this opens. With `None` format 1 is sealed.
    pub associated_data: Option<&'a [u8]>,
}

/// Why something could not be opened (or sealed).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The header is cut or not ours.
    #[error("the sealed value is malformed")]
    Malformed,
    /// The header names a key that is not in the keyring.
    #[error("the sealed value's key is not in the keyring")]
    UnknownKey,
    /// The value was altered, moved or rolled back.
    #[error("the sealed value does not belong here or was altered")]
    Forged,
    /// The key of that id is not the one that sealed, or nothing shows yet that it is. Says nothing against the value.
    #[error("the key of the sealed value's id is not known to be the one that sealed it")]
    KeyInDoubt,
}

impl SealError {
    /// The stable code, for metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownKey => "unknown_key",
            Self::Forged => "forged",
            Self::KeyInDoubt => "key_in_doubt",
        }
    }
}

/// Why a key is not trusted to be the one of its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyDoubt {
    /// Nothing is known for it or against it. What it opens, it has sealed; what it does not open says nothing.
    Untried,
    /// It is another one.
    Wrong,
}

/// Why a keyring cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// Key ids: `^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$`.
    #[error("the key id {0:?} is not 1 to 32 letters, digits, '.', '_' or '-'")]
    KeyId(String),
    /// AES-256 takes 32 bytes.
    #[error("the key {id:?} is {length} bytes long; it must be 32")]
    KeyLength {
        /// The key's id.
        id: String,
        /// Its length in bytes.
        length: usize,
    },
    /// The primary key must be one of the keys.
    #[error("the primary key {0:?} is not among the keys")]
    NoPrimary(String),
}

/// Named keys, one of which seals; all of them open.
#[derive(Clone)]
pub struct Keyring {
    primary: String,
    keys: BTreeMap<String, Zeroizing<[u8; KEY]>>,
    doubts: BTreeMap<String, KeyDoubt>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (primary, keys, doubts) = (&self.primary, self.keys.keys(), &self.doubts);
        f.debug_struct("Keyring").field("primary", primary).field("keys", &keys).field("doubts", doubts).finish()
    }
}

impl Keyring {
    /// Builds a keyring from key ids and raw 32-byte keys.
    pub fn new(
        primary: &str,
        keys: impl IntoIterator<Item = (String, Zeroizing<Vec<u8>>)>,
    ) -> Result<Self, KeyringError> {
        let mut ring = BTreeMap::new();
        for (id, key) in keys {
            let named = !id.is_empty()
                && id.len() <= 32
                && id.starts_with(|c: char| c.is_ascii_alphanumeric())
                && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
            if !named {
                return Err(KeyringError::KeyId(id));
            }
            let mut bytes = Zeroizing::new([0; KEY]);
            if key.len() != KEY {
                return Err(KeyringError::KeyLength { id, length: key.len() });
            }
            bytes.copy_from_slice(&key);
            ring.insert(id, bytes);
        }
        if !ring.contains_key(primary) {
            return Err(KeyringError::NoPrimary(primary.to_owned()));
        }
        Ok(Self { primary: primary.to_owned(), keys: ring, doubts: BTreeMap::new() })
    }

    /// The id of the key that seals.
    pub fn primary(&self) -> &str {
        &self.primary
    }

    /// The ids of all keys.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }

    /// What tells a key from another one of the same id, and gives nothing of it away: 16 hexadecimal digits derived from it.
    pub fn check(&self, id: &str) -> Option<String> {
        let mut digest = [0; 8];
        Hkdf::<Sha256>::new(None, self.keys.get(id)?.as_slice())
            .expand(b"tokenvault key check v1", &mut digest)
            .expect("8 bytes are far below HKDF-SHA-256's limit of 8160");
        Some(format!("{:016x}", u64::from_be_bytes(digest)))
    }

    /// The same keys, with another of them sealing; `None` where it is not among them.
    #[must_use]
    pub fn with_primary(&self, id: &str) -> Option<Self> {
        self.keys.contains_key(id).then(|| Self { primary: id.to_owned(), ..self.clone() })
    }

    /// The same keys, with these of them in doubt and no others.
    #[must_use]
    pub fn doubting(&self, doubts: BTreeMap<String, KeyDoubt>) -> Self {
        Self { doubts, ..self.clone() }
    }

    /// Whether the key that seals is beyond doubt. To be asked before anything is begun that ends in a sealed value.
    pub fn may_seal(&self) -> bool {
        !self.doubts.contains_key(&self.primary)
    }

    /// Seals a text for its place.
    ///
    /// # Panics
    /// Only on texts of more than 64 GiB, which AES-GCM cannot take.
    pub fn seal(&self, context: SealContext<'_>, text: &str, entropy: &dyn Entropy) -> Sealed {
        let id = self.primary.as_bytes();
        let key = self.keys.get(&self.primary).expect("the constructor checked that the primary is present");
        let mut out = Vec::with_capacity(FIXED + id.len() + SALT + text.len() + TAG);
        out.extend_from_slice(MAGIC);
        out.push(if context.associated_data.is_some() { FORMAT_DATA } else { FORMAT_CONTEXT });
        out.push(u8::try_from(id.len()).expect("the constructor limits key ids to 32 bytes"));
        out.extend_from_slice(id);
        let header = out.len();
        let mut salt = [0; SALT];
        entropy.fill(&mut salt);
        out.extend_from_slice(&salt);
        let aad = encode_context(&out[..header], context);
        let (cipher, nonce) = derive(key, &salt);
        let sealed = cipher
            .encrypt(&Nonce::from(*nonce), Payload { msg: text.as_bytes(), aad: &aad })
            .expect("AES-GCM only refuses texts of more than 64 GiB");
        out.extend_from_slice(&sealed);
        Sealed(out)
    }

    /// Opens what was sealed for this place.
    pub fn open(&self, context: SealContext<'_>, sealed: &Sealed) -> Result<Zeroizing<String>, SealError> {
        let parts = split(&sealed.0)?;
        let key = self.keys.get(parts.key_id).ok_or(SealError::UnknownKey)?;
        let does_not_open = match self.doubts.get(parts.key_id) {
            None => SealError::Forged,
            Some(KeyDoubt::Untried) => SealError::KeyInDoubt,
            Some(KeyDoubt::Wrong) => return Err(SealError::KeyInDoubt),
        };
        let associated_data = match parts.format {
            FORMAT_DATA => Some(context.associated_data.ok_or(does_not_open)?),
            _ => None,
        };
        let aad = encode_context(parts.header, SealContext { associated_data, ..context });
        let (cipher, nonce) = derive(key, parts.salt);
        let bytes = cipher
            .decrypt(&Nonce::from(*nonce), Payload { msg: parts.ciphertext, aad: &aad })
            .map_err(|_| does_not_open)?;
        String::from_utf8(bytes).map(Zeroizing::new).map_err(|error| {
            drop(Zeroizing::new(error.into_bytes()));
            SealError::Malformed
        })
    }
}

struct SealLayout<'a> {
    header: &'a [u8],
    format: u8,
    key_id: &'a str,
    salt: &'a [u8],
    ciphertext: &'a [u8],
}

fn split(bytes: &[u8]) -> Result<SealLayout<'_>, SealError> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(SealError::Malformed)?;
    let (&format, rest) = rest.split_first().ok_or(SealError::Malformed)?;
    if !matches!(format, FORMAT_CONTEXT | FORMAT_DATA) {
        return Err(SealError::Malformed);
    }
    let (&id_length, rest) = rest.split_first().ok_or(SealError::Malformed)?;
    let (id, rest) = rest.split_at_checked(usize::from(id_length)).ok_or(SealError::Malformed)?;
    let (salt, ciphertext) = rest.split_at_checked(SALT).ok_or(SealError::Malformed)?;
    if ciphertext.len() < TAG {
        return Err(SealError::Malformed);
    }
    Ok(SealLayout {
        header: &bytes[..FIXED + id.len()],
        format,
        key_id: std::str::from_utf8(id).map_err(|_| SealError::Malformed)?,
        salt,
        ciphertext,
    })
}

fn derive(key: &[u8; KEY], salt: &[u8]) -> (Aes256Gcm, Zeroizing<[u8; NONCE]>) {
    let mut okm = Zeroizing::new([0; KEY + NONCE]);
    Hkdf::<Sha256>::new(Some(salt), key)
        .expand(b"tokenvault seal v1", okm.as_mut_slice())
        .expect("44 bytes are far below HKDF-SHA-256's limit of 8160");
    let mut nonce = Zeroizing::new([0; NONCE]);
    nonce.copy_from_slice(&okm[KEY..]);
    let mut derived = Zeroizing::new([0; KEY]);
    derived.copy_from_slice(&okm[..KEY]);
    (Aes256Gcm::new(&Key::<Aes256Gcm>::from(*derived)), nonce)
}

fn encode_context(header: &[u8], context: SealContext<'_>) -> Vec<u8> {
    let generation = context.generation.unwrap_or(Generation(0)).0.to_be_bytes();
    let parts: [&[u8]; 6] = [
        header,
        context.key.tenant.as_str().as_bytes(),
        context.user.as_str().as_bytes(),
        context.key.job.as_str().as_bytes(),
        &generation,
        context.field.name().as_bytes(),
    ];
    let all = || parts.into_iter().chain(context.associated_data);
    let mut out = Vec::with_capacity(all().map(|part| part.len() + 4).sum());
    for part in all() {
        let length = u32::try_from(part.len()).expect("ids are at most 255 bytes, and no scope is 4 GiB long");
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{JobId, TenantId};
    use crate::ports::testing::SeededEntropy;

    fn ring(primary: &str) -> Keyring {
        let keys = [("k1", 1_u8), ("k2", 2)].map(|(id, byte)| (id.to_owned(), Zeroizing::new(vec![byte; KEY])));
        Keyring::new(primary, keys).expect("a good keyring")
    }

    fn key(job: &str) -> JobKey {
        key_in("diku", job)
    }

    fn key_in(tenant: &str, job: &str) -> JobKey {
        JobKey::new(TenantId::parse(tenant).expect("tenant"), JobId::parse(job).expect("job"))
    }

    /// A seal of either format at its place.
    fn formats() -> [Option<&'static [u8]>; 2] {
        [None, Some(b"until noon")]
    }

    #[test]
    fn what_was_sealed_opens_at_its_place_and_nowhere_else() {
        let (ring, entropy) = (ring("k1"), SeededEntropy::new(1));
        let (here, there, abroad) = (key("a"), key("b"), key_in("other", "a"));
        let (alice, bob) = (UserId::parse("alice").expect("user"), UserId::parse("bob").expect("user"));
        for associated_data in formats() {
            let context = SealContext {
                key: &here,
                user: &alice,
                generation: Some(Generation(3)),
                field: SealedField::Access,
                associated_data,
            };
            let sealed = ring.seal(context, "token", &entropy);
            assert_eq!(ring.open(context, &sealed).as_deref().map(String::as_str), Ok("token"));
            for elsewhere in [
                SealContext { key: &there, ..context },
                SealContext { key: &abroad, ..context },
                SealContext { user: &bob, ..context },
                SealContext { generation: Some(Generation(2)), ..context },
                SealContext { generation: Some(Generation(4)), ..context },
                SealContext { field: SealedField::Refresh, ..context },
            ] {
                assert_eq!(ring.open(elsewhere, &sealed).err(), Some(SealError::Forged), "{elsewhere:?}");
            }
        }
    }

    #[test]
    fn what_stands_beside_a_token_cannot_be_rewritten_under_it() {
        let (ring, entropy) = (ring("k1"), SeededEntropy::new(5));
        let (here, alice) = (key("a"), UserId::parse("alice").expect("user"));
        let until = |associated_data: Option<&'static [u8]>| SealContext {
            key: &here,
            user: &alice,
            generation: Some(Generation(3)),
            field: SealedField::Access,
            associated_data,
        };
        let sealed = ring.seal(until(Some(b"until noon")), "token", &entropy);
        assert!(ring.open(until(Some(b"until noon")), &sealed).is_ok());
        for other in [Some(b"until midnight".as_slice()), Some(b""), None] {
            assert_eq!(ring.open(until(other), &sealed).err(), Some(SealError::Forged), "{other:?}");
        }
        // What was sealed before there was a format 2 says nothing of it.
        let older = ring.seal(until(None), "token", &entropy);
        assert!(ring.open(until(Some(b"until midnight")), &older).is_ok());
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_is_noticed() {
        let (ring, entropy) = (ring("k1"), SeededEntropy::new(2));
        let (here, alice) = (key("a"), UserId::parse("alice").expect("user"));
        for associated_data in formats() {
            let context = SealContext {
                key: &here,
                user: &alice,
                generation: Some(Generation(1)),
                field: SealedField::Access,
                associated_data,
            };
            let sealed = ring.seal(context, "a token", &entropy);
            for bit in 0..sealed.0.len() * 8 {
                let mut flipped = sealed.clone();
                flipped.0[bit / 8] ^= 1 << (bit % 8);
                assert!(ring.open(context, &flipped).is_err(), "bit {bit}");
            }
            for length in 0..sealed.0.len() {
                assert!(ring.open(context, &Sealed(sealed.0[..length].to_vec())).is_err(), "{length} bytes");
            }
        }
    }

    #[test]
    fn a_new_primary_seals_and_the_old_key_still_opens() {
        let entropy = SeededEntropy::new(3);
        let (here, alice) = (key("a"), UserId::parse("alice").expect("user"));
        let context = SealContext {
            key: &here,
            user: &alice,
            generation: Some(Generation(1)),
            field: SealedField::Refresh,
            associated_data: None,
        };
        let old = ring("k1").seal(context, "old", &entropy);
        let new = ring("k2").seal(context, "new", &entropy);
        assert_eq!((old.key_id(), new.key_id()), (Some("k1"), Some("k2")));
        assert!(ring("k2").open(context, &old).is_ok());
        let only_k2 = Keyring::new("k2", [("k2".to_owned(), Zeroizing::new(vec![2; KEY]))]).expect("a keyring");
        assert_eq!(only_k2.open(context, &old).err(), Some(SealError::UnknownKey));
    }

    #[test]
    fn a_key_in_doubt_calls_nothing_forged_and_a_wrong_one_opens_nothing() {
        let entropy = SeededEntropy::new(6);
        let (here, alice) = (key("a"), UserId::parse("alice").expect("user"));
        let context = SealContext {
            key: &here,
            user: &alice,
            generation: Some(Generation(1)),
            field: SealedField::Access,
            associated_data: None,
        };
        let sealed = ring("k1").seal(context, "token", &entropy);
        let other = Keyring::new("k1", [("k1".to_owned(), Zeroizing::new(vec![9; KEY]))]).expect("a keyring");
        let doubting = |ring: &Keyring, doubt| ring.doubting(BTreeMap::from([("k1".to_owned(), doubt)]));

        assert_eq!(other.open(context, &sealed).err(), Some(SealError::Forged), "one that is trusted says so");
        for doubt in [KeyDoubt::Untried, KeyDoubt::Wrong] {
            let other = doubting(&other, doubt);
            assert_eq!(other.open(context, &sealed).err(), Some(SealError::KeyInDoubt));
            assert!(!other.may_seal());
        }

        // What opens vouches for itself; what is known to be wrong is not tried.
        assert!(doubting(&ring("k1"), KeyDoubt::Untried).open(context, &sealed).is_ok());
        assert_eq!(doubting(&ring("k1"), KeyDoubt::Wrong).open(context, &sealed).err(), Some(SealError::KeyInDoubt));
        let beside = doubting(&ring("k1"), KeyDoubt::Wrong).with_primary("k2").expect("it is there");
        assert!(beside.may_seal(), "the other key is not in doubt");
        assert!(ring("k1").may_seal());
    }

    #[test]
    fn two_seals_of_the_same_text_differ() {
        let (ring, entropy) = (ring("k1"), SeededEntropy::new(4));
        let (here, alice) = (key("a"), UserId::parse("alice").expect("user"));
        let context = SealContext {
            key: &here,
            user: &alice,
            generation: Some(Generation(1)),
            field: SealedField::Access,
            associated_data: None,
        };
        assert_ne!(ring.seal(context, "x", &entropy), ring.seal(context, "x", &entropy));
    }

    #[test]
    fn a_bad_keyring_says_what_is_wrong_and_shows_no_key() {
        let short = Keyring::new("a", [("a".to_owned(), Zeroizing::new(vec![77; 31]))]).err().map(|e| e.to_string());
        assert_eq!(short.as_deref(), Some("the key \"a\" is 31 bytes long; it must be 32"));
        assert!(matches!(
            Keyring::new("b", [("a".to_owned(), Zeroizing::new(vec![1; 32]))]),
            Err(KeyringError::NoPrimary(_))
        ));
        assert!(!format!("{:?}", ring("k1")).contains("[1"));
    }
}
