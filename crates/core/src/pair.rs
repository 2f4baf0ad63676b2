//! Between a token in the clear and a sealed one: the few lines that have both in hand.
//!
//! What the identity provider granted is sealed here before anything else is done with it, and opened again just before
//! it is sent or served.

use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::ids::{Generation, JobKey, UserId};
use crate::ports::{Entropy, Grant};
use crate::record::{Anchor, Pair, ReadView, Record, RefreshSlot, Slot, State, TermsDigest};
use crate::seal::{Keyring, SealContext, SealError, Sealed, SealedField};
use crate::secret::{AccessToken, RefreshToken, TokenHash};
use crate::time::Timestamp;

/// Seals and opens the tokens of one job.
#[derive(Clone)]
pub struct Sealer<'a> {
    /// The keys.
    pub keyring: Arc<Keyring>,
    /// Salts come from here.
    pub entropy: &'a dyn Entropy,
    /// The job.
    pub key: &'a JobKey,
    /// Its user.
    pub user: &'a UserId,
    /// Whether a seal also covers the plain fields beside a token: its times, its scope, its hash. This holds from schema 2
    /// on. Before that, a replica could be running that cannot open such a seal.
    pub binds: bool,
}

/// Which of a record's two pairs is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PairKind {
    /// The one reads are served from.
    Own,
    /// The watched one in the user's session.
    Anchor,
}

impl PairKind {
    fn fields(self) -> (SealedField, SealedField) {
        match self {
            Self::Own => (SealedField::Access, SealedField::Refresh),
            Self::Anchor => (SealedField::AnchorAccess, SealedField::AnchorRefresh),
        }
    }
}

/// What is said of an access token in the clear: from when and until when it lives, and for what it is good.
fn access_metadata(issued_at: Timestamp, expires_at: Timestamp, scope: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(16 + scope.len());
    out.extend_from_slice(&issued_at.as_millis().to_be_bytes());
    out.extend_from_slice(&expires_at.as_millis().to_be_bytes());
    out.extend_from_slice(scope.as_bytes());
    out
}

fn access_metadata_of(pair: &Pair) -> Vec<u8> {
    access_metadata(pair.issued_at, pair.access_expires_at, &pair.scope)
}

/// What is said of a refresh token in the clear and stays as it is: its hash and its end. How often it was sent does not.
fn refresh_metadata(hash: TokenHash, expires_at: Option<Timestamp>) -> Vec<u8> {
    let end = expires_at.map_or(u64::MAX, Timestamp::as_millis);
    [hash.to_string().as_bytes(), &end.to_be_bytes()].concat()
}

/// The seal over a record's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TermsSeal {
    /// It is there and it fits. A tombstone counts as such without a seal.
    Valid,
    /// There is none. An older version wrote the record, or somebody removed the seal.
    Missing,
}

/// A record sealed anew.
#[derive(Debug)]
pub struct Resealed {
    /// The record with everything that opened under the key that seals now.
    pub record: Record,
    /// Why each of the others did not open; they are as they were.
    pub failures: Vec<SealError>,
}

/// Comes by everything that is sealed in a record, with what stands beside it.
fn each_seal(record: &mut Record, mut visit: impl FnMut(Option<Generation>, SealedField, &mut Sealed, Option<&[u8]>)) {
    let own = record.generation;
    if let Some(terms) = &mut record.terms {
        visit(None, SealedField::Terms, terms, None);
    }
    if let Some(pair) = &mut record.pair {
        let associated_data = access_metadata_of(pair);
        visit(Some(own), SealedField::Access, &mut pair.access, Some(&associated_data));
    }
    if let Some(Anchor { pair, .. }) = &mut record.anchor {
        let associated_data = access_metadata_of(pair);
        visit(Some(pair.refresh.generation), SealedField::AnchorAccess, &mut pair.access, Some(&associated_data));
        let token = &mut pair.refresh;
        let associated_data = refresh_metadata(token.hash, token.expires_at);
        visit(Some(token.generation), SealedField::AnchorRefresh, &mut token.sealed, Some(&associated_data));
    }
    let own = record.pair.as_mut().map(|pair| &mut pair.refresh);
    for token in own.into_iter().chain(&mut record.spare).chain(&mut record.reserve) {
        let associated_data = refresh_metadata(token.hash, token.expires_at);
        visit(Some(token.generation), SealedField::Refresh, &mut token.sealed, Some(&associated_data));
    }
}

/// For everything that is sealed in a record: the id of the key that sealed it, and whether the ring's key of that id opens it.
pub fn openings(keyring: &Keyring, record: &Record) -> Vec<(String, bool)> {
    let mut all = Vec::new();
    let (key, user) = (&record.key, &record.user);
    each_seal(&mut record.clone(), |generation, field, sealed, associated_data| {
        let opens = keyring.open(SealContext { key, user, generation, field, associated_data }, sealed).is_ok();
        all.extend(sealed.key_id().map(|id| (id.to_owned(), opens)));
    });
    all
}

impl Sealer<'_> {
    fn context(&self, generation: Option<Generation>, field: SealedField) -> SealContext<'_> {
        SealContext { key: self.key, user: self.user, generation, field, associated_data: None }
    }

    /// Seals a token together with what stands beside it.
    fn seal_with(&self, context: SealContext<'_>, text: &str, associated_data: &[u8]) -> Sealed {
        self.keyring.seal(
            SealContext { associated_data: self.binds.then_some(associated_data), ..context },
            text,
            self.entropy,
        )
    }

    fn open_with(
        &self,
        context: SealContext<'_>,
        sealed: &Sealed,
        associated_data: &[u8],
    ) -> Result<Zeroizing<String>, SealError> {
        self.keyring.open(SealContext { associated_data: Some(associated_data), ..context }, sealed)
    }

    fn open_of_pair(&self, pair: &Pair, generation: Generation, field: SealedField) -> Result<AccessToken, SealError> {
        self.open_with(self.context(Some(generation), field), &pair.access, &access_metadata_of(pair))
            .map(|text| AccessToken::new(text.as_str()))
    }

    /// Seals what was granted. `asked_at` is the instant before the request was sent: lives are counted from there, and
    /// the access token's from the beginning of that second, since Keycloak counts in whole seconds and rounds down. So
    /// the vault believes a token dead a little before Keycloak does, never after.
    pub fn seal(&self, grant: &Grant, kind: PairKind, generation: Generation, asked_at: Timestamp) -> Pair {
        let (access, refresh) = kind.fields();
        let hash = grant.refresh.hash();
        let expires_at = grant.refresh_expires_in.map(|life: Duration| asked_at + life);
        let associated_data = refresh_metadata(hash, expires_at);
        let sealed = self.seal_with(self.context(Some(generation), refresh), grant.refresh.expose(), &associated_data);
        let mut pair = Pair {
            access: Sealed::from_bytes(Vec::new()),
            access_expires_at: Timestamp::from_secs(asked_at.as_secs()) + grant.expires_in,
            issued_at: asked_at,
            scope: grant.scope.clone(),
            rotated: false,
            epoch: None,
            refresh: RefreshSlot { sealed, hash, generation, expires_at, sends: 0 },
        };
        pair.access =
            self.seal_with(self.context(Some(generation), access), grant.access.expose(), &access_metadata_of(&pair));
        pair
    }

    /// Vouches for what a record says about whose it is and who may have it.
    pub fn seal_terms(&self, record: &Record) -> Sealed {
        self.keyring.seal(self.context(None, SealedField::Terms), &TermsDigest::of(record).to_hex(), self.entropy)
    }

    /// Whether the vault vouched for what a record says about whose it is and who may have it. A tombstone needs nobody to
    /// vouch for it: nothing is served for it, and the key of its seal may be gone.
    pub fn check_terms(&self, record: &Record) -> Result<TermsSeal, SealError> {
        self.check_digest(record.state, record.terms.as_ref(), || TermsDigest::of(record))
    }

    /// The same of what a read sees of a record.
    pub fn check_terms_of_view(&self, view: &ReadView) -> Result<TermsSeal, SealError> {
        if view.seal.as_ref().is_some_and(|seal| view.terms.vouched.by(seal, &self.keyring)) {
            return Ok(TermsSeal::Valid);
        }
        let checked = self.check_digest(view.state, view.seal.as_ref(), || view.terms.digest);
        if let (Ok(TermsSeal::Valid), Some(seal), false) =
            (checked, view.seal.as_ref(), matches!(view.state, State::Ended(_)))
        {
            view.terms.vouched.note(seal, &self.keyring);
        }
        checked
    }

    fn check_digest(
        &self,
        state: State,
        seal: Option<&Sealed>,
        digest: impl FnOnce() -> TermsDigest,
    ) -> Result<TermsSeal, SealError> {
        match seal {
            _ if matches!(state, State::Ended(_)) => Ok(TermsSeal::Valid),
            None => Ok(TermsSeal::Missing),
            Some(seal) => {
                let sealed = self.keyring.open(self.context(None, SealedField::Terms), seal)?;
                if *sealed == digest().to_hex() { Ok(TermsSeal::Valid) } else { Err(SealError::Forged) }
            }
        }
    }

    /// Opens the access token reads are served from. Its generation must be the record's: a pair that was rolled back
    /// under a newer record does not open.
    pub fn open_access(&self, record: &Record) -> Result<AccessToken, SealError> {
        let pair = record.pair.as_ref().ok_or(SealError::Malformed)?;
        self.open_of_pair(pair, record.generation, SealedField::Access)
    }

    /// The same of what a read sees of a record.
    pub fn open_access_of_view(&self, view: &ReadView) -> Result<AccessToken, SealError> {
        let access = view.access.as_ref().ok_or(SealError::Malformed)?;
        let associated_data = access_metadata(access.issued_at, access.expires_at, &access.scope);
        let context = self.context(Some(view.generation), SealedField::Access);
        self.open_with(context, &access.sealed, &associated_data).map(|text| AccessToken::new(text.as_str()))
    }

    /// Opens the access token that belongs to a slot, to be exchanged.
    pub fn open_subject(&self, record: &Record, slot: Slot) -> Result<AccessToken, SealError> {
        let Some(anchor) = record.anchor.as_ref().filter(|_| slot == Slot::Anchor) else {
            return self.open_access(record);
        };
        self.open_of_pair(&anchor.pair, anchor.pair.refresh.generation, SealedField::AnchorAccess)
    }

    /// Seals every token of a record anew for the place it has, unless the key that seals now has sealed it.
    pub fn reseal(&self, record: &Record) -> Resealed {
        let mut after = record.clone();
        let mut failures = Vec::new();
        each_seal(&mut after, |generation, field, sealed, associated_data| {
            if sealed.key_id() == Some(self.keyring.primary()) {
                return;
            }
            let context = SealContext { associated_data, ..self.context(generation, field) };
            match self.keyring.open(context, sealed) {
                Ok(text) => {
                    let context =
                        SealContext { associated_data: context.associated_data.filter(|_| self.binds), ..context };
                    *sealed = self.keyring.seal(context, &text, self.entropy);
                }
                Err(error) => failures.push(error),
            }
        });
        Resealed { record: after, failures }
    }

    /// Opens the refresh token of a slot.
    pub fn open_refresh(&self, record: &Record, slot: Slot) -> Result<RefreshToken, SealError> {
        let token = record.slot(slot).ok_or(SealError::Malformed)?;
        let field = if slot == Slot::Anchor { SealedField::AnchorRefresh } else { SealedField::Refresh };
        let associated_data = refresh_metadata(token.hash, token.expires_at);
        self.open_with(self.context(Some(token.generation), field), &token.sealed, &associated_data)
            .map(|text| RefreshToken::new(text.as_str()))
    }
}
