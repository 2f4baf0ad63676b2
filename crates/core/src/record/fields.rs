//! A record as a flat map of fields: how it is stored, and what a change of it writes.
//!
//! A change is the difference of two encodings, so two writers that touch different fields (a registrar's readers, the
//! reconciler's pair) do not undo each other. Text fields stay readable for an operator with `HGETALL`; sealed ones are
//! binary. The fields that belong to a lease (`fence`, `lease_holder`, `lease_until`) and the list of recent attempts
//! are the store's own and never appear here.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::job_record::{Acquisition, OnLogout, Record};
use super::packed::NAMES;
use super::read_view::Access;
use super::state::{EndReason, State, UnknownState};
use super::tokens::{Anchor, Doubt, Intent, MOST_IN_RESERVE, Pair, RefreshSlot, SessionRef, Slot};
use crate::ids::{AttemptId, Generation, Incarnation, JobId, JobKey, StoreEpoch, TenantId};
use crate::seal::Sealed;
use crate::secret::TokenHash;
use crate::time::Timestamp;

/// A record's fields by name.
pub type Fields = BTreeMap<String, Vec<u8>>;

/// What a write sets and removes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldsChange {
    /// Fields to set.
    pub set: Fields,
    /// Fields to remove.
    pub remove: Vec<String>,
}

/// The fields of the tokens in reserve, with their metadata.
const RESERVE: [[&str; 2]; MOST_IN_RESERVE] = [["spare2", "spare2_meta"], ["spare3", "spare3_meta"]];

/// The fields of an intent.
const INTENT: [&str; 2] = ["intent", "intent_meta"];

/// A stored record that cannot be understood: the field, never its content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the stored field {0} is missing or malformed")]
pub struct FieldError(pub &'static str);

/// What turns `before` into `after`. Two groups are set whole or not at all. An intent: whoever declares one in place of another may
/// have been preceded by a writer who took that other one out. And what the store may keep as one field ([`NAMES`]): its seal
/// makes sure that two writers never change it at a time.
pub fn change(before: &Fields, after: &Fields) -> FieldsChange {
    let differs = |name: &str| before.get(name) != after.get(name);
    let groups: [&[&str]; 2] = [&INTENT, &NAMES];
    let changed = groups.map(|group| group.iter().any(|name| differs(name)));
    let goes_along = |name: &str| groups.iter().zip(changed).any(|(group, changed)| changed && group.contains(&name));
    FieldsChange {
        set: after
            .iter()
            .filter(|(name, _)| differs(name) || goes_along(name))
            .map(|(n, v)| (n.clone(), v.clone()))
            .collect(),
        remove: before.keys().filter(|name| !after.contains_key(*name)).cloned().collect(),
    }
}

#[derive(Serialize, Deserialize)]
struct SlotMeta {
    hash: String,
    generation: Generation,
    expires_at: Option<u64>,
    sends: u32,
}

#[derive(Serialize, Deserialize)]
struct PairMeta {
    expires_at: u64,
    issued_at: u64,
    scope: String,
    #[serde(default = "yes")]
    rotated: bool,
    #[serde(default)]
    epoch: Option<StoreEpoch>,
    refresh: SlotMeta,
}

/// What is not known is taken for what asks for more care.
fn yes() -> bool {
    true
}

#[derive(Serialize, Deserialize)]
struct IntentMeta {
    slot: Slot,
    hash: String,
    deadline: u64,
    #[serde(default)]
    learning: bool,
}

#[derive(Serialize, Deserialize)]
struct DoubtMeta {
    slot: Slot,
    generation: Generation,
    lasted: u64,
    heard_at: u64,
    why: Option<String>,
    denied: bool,
    unspent_in: Option<StoreEpoch>,
}

#[derive(Serialize, Deserialize)]
struct SessionMeta {
    sid: String,
    client: String,
    incarnation: Incarnation,
}

/// Writes a record as fields.
pub fn encode(record: &Record) -> Fields {
    let mut out = FieldWriter(Fields::new());
    out.text("tenant", &record.key.tenant);
    out.text("job", &record.key.job);
    out.text("user", &record.user);
    out.terms(record);
    if let Some(sealed) = &record.terms {
        out.bytes("terms", sealed.as_bytes());
    }
    out.text("keep", record.keep_until.as_millis());
    out.text("state", record.state.code());
    out.optional("reason", record.state.reason());
    out.text("gen", record.generation);
    if let Some(session) = &record.session {
        out.text("sid", &session.sid);
        out.text("client", &session.client);
        out.text("inc", session.incarnation);
    }
    if let Some(pair) = &record.pair {
        out.pair(["at", "rt", "pair"], pair);
    }
    if let Some(spare) = &record.spare {
        out.bytes("spare", spare.sealed.as_bytes());
        out.json("spare_meta", &slot_meta(spare));
    }
    for (token, [sealed, meta]) in record.reserve.iter().zip(RESERVE) {
        out.bytes(sealed, token.sealed.as_bytes());
        out.json(meta, &slot_meta(token));
    }
    if let Some(anchor) = &record.anchor {
        out.pair(["anchor_at", "anchor_rt", "anchor_pair"], &anchor.pair);
        out.json("anchor_session", &session_meta(&anchor.session));
    }
    if let Some(intent) = &record.intent {
        let meta = IntentMeta {
            slot: intent.slot,
            hash: intent.hash.to_string(),
            deadline: intent.deadline.as_millis(),
            learning: intent.learning,
        };
        out.text("intent", intent.attempt);
        out.json("intent_meta", &meta);
    }
    out.text("life", record.access_life.as_millis());
    out.optional("session_end", record.session_ends_at.map(Timestamp::as_millis));
    out.text("failures", record.failures);
    out.optional("lost", record.lost_since.map(Timestamp::as_millis));
    if let Some(doubt) = &record.doubt {
        out.json("doubt", &doubt_meta(doubt));
    }
    out.optional("announced", record.announced_at.map(Timestamp::as_millis));
    out.optional("renew", record.renew_at.map(Timestamp::as_millis));
    out.optional("due", record.due_at.map(Timestamp::as_millis));
    out.0
}

/// What a record says about whose it is and who may have it, as bytes that say nothing else: each field's name and value
/// with their lengths. Tenant, user and job are not among them; a seal is bound to those by itself.
pub fn terms(record: &Record) -> Vec<u8> {
    let mut fields = FieldWriter(Fields::new());
    fields.terms(record);
    let mut out = Vec::new();
    for part in fields.0.iter().flat_map(|(name, value)| [name.as_bytes(), value]) {
        out.extend_from_slice(&(part.len() as u64).to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

/// Reads a record back. Unknown fields are left alone: a newer replica may have written them.
pub fn decode(fields: &Fields) -> Result<Record, FieldError> {
    let read = FieldReader(fields);
    Ok(Record {
        key: JobKey::new(read.parsed::<TenantId>("tenant")?, read.parsed::<JobId>("job")?),
        user: read.parsed("user")?,
        subject: read.parsed("sub")?,
        account: read.maybe("account")?,
        registrar: read.parsed("registrar")?,
        readers: read.json("readers")?,
        acquisition: read.json::<Acquisition>("acquisition")?,
        on_logout: read.json::<OnLogout>("on_logout")?,
        parent: read.maybe("parent")?,
        created_at: read.time("created")?,
        expires_at: read.time("expires")?,
        terms: if read.has("terms") { Some(read.sealed("terms")?) } else { None },
        keep_until: read.time("keep")?,
        state: read.state()?,
        generation: Generation(read.parsed("gen")?),
        session: read.session()?,
        pair: if read.has("pair") { Some(read.pair(["at", "rt", "pair"])?) } else { None },
        spare: if read.has("spare_meta") {
            Some(slot(read.sealed("spare")?, &read.json("spare_meta")?, "spare_meta")?)
        } else {
            None
        },
        reserve: read.reserve()?,
        anchor: if read.has("anchor_session") { Some(read.anchor()?) } else { None },
        intent: if read.has("intent") { Some(read.intent()?) } else { None },
        access_life: Duration::from_millis(read.parsed("life")?),
        session_ends_at: read.maybe("session_end")?.map(Timestamp::from_millis),
        failures: read.parsed("failures")?,
        lost_since: read.maybe("lost")?.map(Timestamp::from_millis),
        doubt: if read.has("doubt") { Some(read.doubt()?) } else { None },
        announced_at: read.maybe("announced")?.map(Timestamp::from_millis),
        renew_at: read.maybe("renew")?.map(Timestamp::from_millis),
        due_at: read.maybe("due")?.map(Timestamp::from_millis),
    })
}

/// The access token of a stored pair, of its sealed value and what stands beside it.
pub(super) fn access_of_pair(sealed: Sealed, pair: &[u8]) -> Result<Access, FieldError> {
    #[derive(Deserialize)]
    struct AccessMeta<'a> {
        expires_at: u64,
        issued_at: u64,
        #[serde(borrow)]
        scope: Cow<'a, str>,
    }
    let meta: AccessMeta<'_> = serde_json::from_slice(pair).map_err(|_| FieldError("pair"))?;
    Ok(Access {
        sealed,
        expires_at: Timestamp::from_millis(meta.expires_at),
        issued_at: Timestamp::from_millis(meta.issued_at),
        scope: meta.scope.into_owned(),
    })
}

/// Whether a stored doubt is about the pair of this generation.
pub(super) fn standing_doubt(doubt: &[u8], generation: Generation) -> Result<bool, FieldError> {
    #[derive(Deserialize)]
    struct DoubtGeneration {
        generation: Generation,
    }
    let doubt: DoubtGeneration = serde_json::from_slice(doubt).map_err(|_| FieldError("doubt"))?;
    Ok(doubt.generation == generation)
}

fn slot_meta(slot: &RefreshSlot) -> SlotMeta {
    SlotMeta {
        hash: slot.hash.to_string(),
        generation: slot.generation,
        expires_at: slot.expires_at.map(Timestamp::as_millis),
        sends: slot.sends,
    }
}

fn doubt_meta(doubt: &Doubt) -> DoubtMeta {
    DoubtMeta {
        slot: doubt.slot,
        generation: doubt.generation,
        lasted: u64::try_from(doubt.lasted.as_millis()).unwrap_or(u64::MAX),
        heard_at: doubt.heard_at.as_millis(),
        why: doubt.why.map(|why| why.code().to_owned()),
        denied: doubt.denied,
        unspent_in: doubt.unspent_in,
    }
}

fn session_meta(session: &SessionRef) -> SessionMeta {
    SessionMeta { sid: session.sid.to_string(), client: session.client.to_string(), incarnation: session.incarnation }
}

fn slot(sealed: Sealed, meta: &SlotMeta, name: &'static str) -> Result<RefreshSlot, FieldError> {
    Ok(RefreshSlot {
        sealed,
        hash: TokenHash::parse(&meta.hash).ok_or(FieldError(name))?,
        generation: meta.generation,
        expires_at: meta.expires_at.map(Timestamp::from_millis),
        sends: meta.sends,
    })
}

struct FieldWriter(Fields);

impl FieldWriter {
    fn bytes(&mut self, name: &str, value: &[u8]) {
        self.0.insert(name.to_owned(), value.to_vec());
    }

    fn text(&mut self, name: &str, value: impl Display) {
        self.bytes(name, value.to_string().as_bytes());
    }

    fn optional(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    fn json(&mut self, name: &str, value: &impl Serialize) {
        let text = serde_json::to_vec(value).expect("these structures have only text keys and no failing Serialize");
        self.bytes(name, &text);
    }

    /// The order and spelling of these is part of what is sealed: changing it takes a schema step.
    fn terms(&mut self, record: &Record) {
        // Since schema 3. A record without it has the terms it had before.
        self.optional("account", record.account.as_ref());
        self.text("sub", &record.subject);
        self.text("registrar", &record.registrar);
        self.json("readers", &record.readers);
        self.json("acquisition", &record.acquisition);
        self.json("on_logout", &record.on_logout);
        self.optional("parent", record.parent.as_ref());
        self.text("created", record.created_at.as_millis());
        self.text("expires", record.expires_at.as_millis());
    }

    fn pair(&mut self, [access, refresh, meta]: [&str; 3], pair: &Pair) {
        self.bytes(access, pair.access.as_bytes());
        self.bytes(refresh, pair.refresh.sealed.as_bytes());
        let pair_meta = PairMeta {
            expires_at: pair.access_expires_at.as_millis(),
            issued_at: pair.issued_at.as_millis(),
            scope: pair.scope.clone(),
            rotated: pair.rotated,
            epoch: pair.epoch,
            refresh: slot_meta(&pair.refresh),
        };
        self.json(meta, &pair_meta);
    }
}

struct FieldReader<'a>(&'a Fields);

impl FieldReader<'_> {
    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn str(&self, name: &'static str) -> Result<&str, FieldError> {
        self.0.get(name).and_then(|value| std::str::from_utf8(value).ok()).ok_or(FieldError(name))
    }

    fn parsed<T: FromStr>(&self, name: &'static str) -> Result<T, FieldError> {
        self.str(name)?.parse().map_err(|_| FieldError(name))
    }

    fn maybe<T: FromStr>(&self, name: &'static str) -> Result<Option<T>, FieldError> {
        if self.has(name) { self.parsed(name).map(Some) } else { Ok(None) }
    }

    fn time(&self, name: &'static str) -> Result<Timestamp, FieldError> {
        self.parsed(name).map(Timestamp::from_millis)
    }

    fn json<T: for<'de> Deserialize<'de>>(&self, name: &'static str) -> Result<T, FieldError> {
        serde_json::from_str(self.str(name)?).map_err(|_| FieldError(name))
    }

    fn sealed(&self, name: &'static str) -> Result<Sealed, FieldError> {
        self.0.get(name).map(|bytes| Sealed::from_bytes(bytes.clone())).ok_or(FieldError(name))
    }

    fn state(&self) -> Result<State, FieldError> {
        State::parse(self.str("state")?, self.str("reason").ok()).map_err(|unknown| match unknown {
            UnknownState::Code => FieldError("state"),
            UnknownState::Reason => FieldError("reason"),
        })
    }

    fn session(&self) -> Result<Option<SessionRef>, FieldError> {
        if !self.has("sid") {
            return Ok(None);
        }
        let incarnation = Incarnation(self.parsed("inc")?);
        Ok(Some(SessionRef { sid: self.parsed("sid")?, client: self.parsed("client")?, incarnation }))
    }

    fn pair(&self, [access, refresh, meta]: [&'static str; 3]) -> Result<Pair, FieldError> {
        let pair: PairMeta = self.json(meta)?;
        Ok(Pair {
            access: self.sealed(access)?,
            access_expires_at: Timestamp::from_millis(pair.expires_at),
            issued_at: Timestamp::from_millis(pair.issued_at),
            scope: pair.scope,
            rotated: pair.rotated,
            epoch: pair.epoch,
            refresh: slot(self.sealed(refresh)?, &pair.refresh, meta)?,
        })
    }

    fn reserve(&self) -> Result<Vec<RefreshSlot>, FieldError> {
        let there = RESERVE.into_iter().take_while(|[_, meta]| self.has(meta));
        there.map(|[sealed, meta]| slot(self.sealed(sealed)?, &self.json(meta)?, meta)).collect()
    }

    fn anchor(&self) -> Result<Anchor, FieldError> {
        let name = "anchor_session";
        let meta: SessionMeta = self.json(name)?;
        let session = SessionRef {
            sid: meta.sid.parse().map_err(|_| FieldError(name))?,
            client: meta.client.parse().map_err(|_| FieldError(name))?,
            incarnation: meta.incarnation,
        };
        Ok(Anchor { session, pair: self.pair(["anchor_at", "anchor_rt", "anchor_pair"])? })
    }

    fn doubt(&self) -> Result<Doubt, FieldError> {
        let meta: DoubtMeta = self.json("doubt")?;
        let reason = |code: String| EndReason::parse(&code).ok_or(FieldError("doubt"));
        Ok(Doubt {
            slot: meta.slot,
            generation: meta.generation,
            lasted: Duration::from_millis(meta.lasted),
            heard_at: Timestamp::from_millis(meta.heard_at),
            why: meta.why.map(reason).transpose()?,
            denied: meta.denied,
            unspent_in: meta.unspent_in,
        })
    }

    fn intent(&self) -> Result<Intent, FieldError> {
        let meta: IntentMeta = self.json("intent_meta")?;
        Ok(Intent {
            attempt: AttemptId::parse(self.str("intent")?).ok_or(FieldError("intent"))?,
            slot: meta.slot,
            hash: TokenHash::parse(&meta.hash).ok_or(FieldError("intent_meta"))?,
            deadline: Timestamp::from_millis(meta.deadline),
            learning: meta.learning,
        })
    }
}
