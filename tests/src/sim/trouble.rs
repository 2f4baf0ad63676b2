//! What is wrong with Keycloak itself, or with the way to it, for a while: it errs about sessions that live, its keys are
//! rotated and deleted, a user's tokens grow too long, connections freeze.

use keycloak_double::{Answer, DoubleSigningKey, Endpoint, Request};
use serde_json::json;

use tokenvault_core::ids::JobKey;
use tokenvault_core::record::{Acquisition, Record, Slot};

use super::module::claimed_user;
use super::oracle::Line;
use super::people::REALM;
use super::weather::KeyAct;
use super::world::{State, World};

/// As long as a doubt lasts, and a little more: an error and a disabled user in a row would be one long no.
const APART_MS: u64 = 90_000;

/// So many calls in a row are not answered before a frozen connection is left.
pub const UNANSWERED: u64 = 2;

/// What is wrong.
#[derive(Debug, Default)]
pub struct Trouble {
    errs_until: u64,
    /// Until when a user is disabled, and what was said of them lingers.
    disabled_until: u64,
    long: Vec<usize>,
    keys: u8,
    /// When a key was last deleted.
    deleted_at: Option<u64>,
    /// Whether the tenant may exchange the vault's own access tokens.
    pub may_exchange: bool,
}

impl Trouble {
    /// Nothing is wrong any more, but for what stays.
    pub fn end(&mut self) {
        (self.errs_until, self.disabled_until) = (0, 0);
    }

    /// Whether a user may be disabled now for so long. Not while Keycloak errs: nobody could tell one from the other, and both
    /// together would last longer than the doubt.
    pub fn may_disable(&mut self, now: u64, millis: u64) -> bool {
        let apart = |at: Option<u64>| at.is_none_or(|at| now >= at + APART_MS);
        let may = apart(Some(self.errs_until).filter(|until| *until > 0)) && apart(self.deleted_at);
        if may {
            self.disabled_until = self.disabled_until.max(now + millis);
        }
        may
    }
}

impl World {
    /// Keycloak errs about sessions that live.
    pub fn errs(&self, millis: u64) {
        let now = self.now();
        let trouble = &mut self.state.lock().trouble;
        let apart = |until: u64| until == 0 || now >= until + APART_MS;
        if !apart(trouble.errs_until) || !apart(trouble.disabled_until) {
            return;
        }
        trouble.errs_until = now + millis;
    }

    /// The tokens of a user are too long from now on.
    pub fn grow_tokens(&self, user: usize) {
        let mut locked = self.state.lock();
        let State { trouble, oracle, jobs, .. } = &mut *locked;
        trouble.long.push(user);
        for line in jobs.iter().filter(|job| job.user == user).filter_map(|job| job.line) {
            oracle.despair(line);
        }
        drop(locked);
        self.note(None, "user", "has-long-tokens", user as u64);
    }

    /// An administrator does something to a key.
    pub fn keys(&self, act: KeyAct) {
        let now = self.now();
        let serial = {
            let trouble = &mut self.state.lock().trouble;
            trouble.keys = trouble.keys.wrapping_add(1);
            trouble.keys
        };
        let key = || DoubleSigningKey::ed25519([serial; 32]).expect("any seed makes a key");
        let mut keycloak = self.keycloak.lock();
        let done = match act {
            // One at a time: an administrator deletes the next when everybody has tokens under the new ones.
            _ if act != KeyAct::RotateSigning && !self.may_delete_a_key(now) => return,
            KeyAct::RotateSigning => keycloak.rotate_signing_key(REALM, key()),
            KeyAct::DeleteEarlier => keycloak.remove_old_signing_keys(REALM),
            KeyAct::ReplaceSigning => {
                keycloak.rotate_signing_key(REALM, key()).and_then(|()| keycloak.remove_old_signing_keys(REALM))
            }
            KeyAct::ReplaceSecret => keycloak.replace_secret(REALM),
        };
        drop(keycloak);
        done.expect("the realm is there");
        let mut state = self.state.lock();
        if act != KeyAct::RotateSigning {
            state.trouble.deleted_at = Some(now);
        }
        if act == KeyAct::ReplaceSecret {
            let may_exchange = state.trouble.may_exchange;
            let lines = state.jobs.iter().filter(|job| {
                job.acquisition == Acquisition::Adopt || !may_exchange || state.trouble.long.contains(&job.user)
            });
            let hopeless: Vec<Line> = lines.filter_map(|job| job.line).collect();
            state.oracle.void(&hopeless);
        }
        drop(state);
        self.note(None, "keycloak", name(act), u64::from(serial));
    }

    /// Whether every job that lives has a pair from after the last deletion, and nobody is disabled: a dead refresh token and an
    /// access token that is not active would be told from a session that is over by nobody.
    fn may_delete_a_key(&self, now: u64) -> bool {
        let keys: Vec<JobKey> = self.state.lock().jobs.iter().map(|job| job.key.clone()).collect();
        let records: Vec<Record> = keys.iter().filter_map(|key| self.record(key)).collect();
        let state = self.state.lock();
        let trouble = &state.trouble;
        let enabled = trouble.disabled_until == 0 || now >= trouble.disabled_until + APART_MS;
        let since = |hash| state.oracle.issued_at(hash);
        let fresh = |record: &Record| {
            let slots = [Slot::Current, Slot::Anchor].into_iter().filter_map(|slot| record.slot(slot));
            slots.map(|slot| since(slot.hash)).all(|at| at.is_none_or(|at| Some(at) > trouble.deleted_at))
        };
        enabled && records.iter().filter(|record| record.state.is_live()).all(fresh)
    }

    /// What Keycloak answers while something is wrong with it; nothing where it answers as always.
    pub fn troubled_answer(&self, endpoint: Endpoint, request: &Request) -> Option<Answer> {
        let now = self.now();
        let state = self.state.lock();
        let errs = now < state.trouble.errs_until;
        let refused = |error: &str, description: &str| {
            Answer::json(400, &json!({ "error": error, "error_description": description }))
        };
        match endpoint {
            Endpoint::Introspect if errs => Some(Answer::json(200, &json!({ "active": false }))),
            Endpoint::Refresh if errs => Some(refused("invalid_grant", "Session doesn't have required client")),
            Endpoint::Exchange if errs => Some(refused("invalid_request", "Invalid token")),
            Endpoint::Exchange => {
                let user = request.field("subject_token").and_then(claimed_user)?;
                let long = state.trouble.long.contains(&user);
                let words = "The size of OIDC parameter 'subject_token' is longer than allowed.";
                long.then(|| refused("invalid_request", words))
            }
            _ => None,
        }
    }
}

fn name(act: KeyAct) -> &'static str {
    match act {
        KeyAct::RotateSigning => "rotates-signing-key",
        KeyAct::DeleteEarlier => "deletes-earlier-keys",
        KeyAct::ReplaceSigning => "replaces-signing-key",
        KeyAct::ReplaceSecret => "replaces-refresh-key",
    }
}
