//! What a realm remembers: users, user sessions, the client sessions inside them, and the chains of refresh tokens
//! inside those. Also the rules of time that belong to a session alone.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{ClientConfig, RealmSettings, RoleConfig, Roles, UserConfig};
use crate::keys::{DoubleSigningKey, RealmSecret};

pub(crate) struct Realm {
    pub(crate) issuer: String,
    pub(crate) settings: RealmSettings,
    /// The first one signs; all of them verify.
    pub(crate) keys: Vec<DoubleSigningKey>,
    pub(crate) secret: RealmSecret,
    pub(crate) clients: BTreeMap<String, ClientConfig>,
    pub(crate) roles: Roles,
    pub(crate) users_edit_themselves: bool,
    /// By Keycloak's own id, service accounts included.
    pub(crate) users: BTreeMap<String, User>,
    pub(crate) sessions: BTreeMap<UserSessionKey, UserSession>,
    /// `jti` of revoked access tokens, with the second they may be forgotten.
    pub(crate) revoked: BTreeMap<String, u64>,
    /// Tokens issued before this second are stale.
    pub(crate) not_before: u64,
}

impl Realm {
    pub(crate) fn user_by_name(&self, username: &str) -> Option<&User> {
        self.users.values().find(|u| u.config.username == username)
    }

    pub(crate) fn service_account_of(&self, client_id: &str) -> Option<&User> {
        self.users.values().find(|u| u.service_account_of.as_deref() == Some(client_id))
    }

    /// Whether a user may do what a role permits when they ask through a client: the client must get to see it.
    pub(crate) fn permits(&self, user: &str, client_id: &str, role: &RoleConfig) -> bool {
        let (Some(user), Some(client)) = (self.users.get(user), self.clients.get(client_id)) else { return false };
        self.roles.seen_by(client, &user.config).contains(role)
    }

    /// Takes a client out of a session; the session itself stays, even with no client left.
    pub(crate) fn detach(&mut self, key: &UserSessionKey, client_id: &str) {
        if let Some(session) = self.sessions.get_mut(key) {
            session.clients.remove(client_id);
        }
    }

    /// Ends a user's login: the session with everything in it, its offline twin as well if that is what was ended.
    pub(crate) fn end(&mut self, key: &UserSessionKey) {
        self.sessions.remove(key);
        if key.offline {
            self.sessions.remove(&UserSessionKey { sid: key.sid.clone(), offline: false });
        }
    }

    /// The session if it is still alive.
    pub(crate) fn live_session(&self, key: &UserSessionKey, now_ms: u64) -> Option<&UserSession> {
        self.sessions.get(key).filter(|s| s.alive(&self.settings, now_ms))
    }

    /// Forgets the client sessions of a session that have been idle for too long. Each times out by itself, however
    /// lively its neighbours, and is then as good as never made. Whoever has read a token's `sid` calls this first.
    pub(crate) fn prune(&mut self, sid: Option<&str>, now_ms: u64) {
        let Some(sid) = sid else { return };
        for key in [UserSessionKey::online(sid), UserSessionKey::offline(sid)] {
            if let Some(session) = self.sessions.get_mut(&key) {
                session.prune(&self.settings, now_ms);
            }
        }
    }

    /// Forgets what can no longer change an answer.
    pub(crate) fn sweep(&mut self, now_ms: u64) {
        let settings = &self.settings;
        self.sessions.retain(|_, s| s.alive(settings, now_ms));
        self.sessions.values_mut().for_each(|s| s.prune(settings, now_ms));
        self.revoked.retain(|_, until| *until >= now_ms / 1000);
    }
}

pub(crate) struct User {
    pub(crate) id: String,
    /// The name at first, which other properties were made from.
    pub(crate) born_as: String,
    pub(crate) config: UserConfig,
    pub(crate) service_account_of: Option<String>,
    pub(crate) not_before: u64,
}

/// Online and offline sessions share ids but not lives.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct UserSessionKey {
    pub(crate) sid: String,
    pub(crate) offline: bool,
}

impl UserSessionKey {
    pub(crate) fn online(sid: &str) -> Self {
        Self { sid: sid.to_owned(), offline: false }
    }

    pub(crate) fn offline(sid: &str) -> Self {
        Self { sid: sid.to_owned(), offline: true }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct UserSession {
    pub(crate) key: UserSessionKey,
    pub(crate) user: String,
    /// Seconds, as all bookkeeping of sessions.
    pub(crate) started: u64,
    pub(crate) last_refresh: u64,
    pub(crate) clients: BTreeMap<String, ClientSession>,
    pub(crate) impersonator: Option<Impersonator>,
}

/// Who made a session in somebody else's name.
#[derive(Debug, Clone)]
pub(crate) struct Impersonator {
    pub(crate) username: Option<String>,
    pub(crate) client_id: String,
}

impl UserSession {
    pub(crate) fn new(key: UserSessionKey, user: &str, now_s: u64) -> Self {
        Self {
            key,
            user: user.to_owned(),
            started: now_s,
            last_refresh: now_s,
            clients: BTreeMap::new(),
            impersonator: None,
        }
    }

    pub(crate) fn alive(&self, settings: &RealmSettings, now_ms: u64) -> bool {
        let idle_until = (self.last_refresh + idle(settings, self.key.offline)) * 1000;
        idle_until > now_ms && self.ends_ms(settings).is_none_or(|end| end > now_ms)
    }

    /// When the session ends whatever is done; offline ones have no such end.
    pub(crate) fn ends_ms(&self, settings: &RealmSettings) -> Option<u64> {
        (!self.key.offline).then(|| (self.started + settings.sso_session_max) * 1000)
    }

    pub(crate) fn touch(&mut self, now_s: u64) {
        self.last_refresh = self.last_refresh.max(now_s);
    }

    fn prune(&mut self, settings: &RealmSettings, now_ms: u64) {
        let idle = idle(settings, self.key.offline);
        self.clients.retain(|_, c| (c.timestamp + idle) * 1000 > now_ms);
    }
}

#[derive(Debug, Clone)]
pub(crate) struct ClientSession {
    pub(crate) started: u64,
    /// Last second a refresh token was issued here.
    pub(crate) timestamp: u64,
    /// The `scope` parameter as last given; it decides about `openid` in later answers too.
    pub(crate) scope: Option<String>,
    /// Clients whose tokens were exchanged into this session: revoking one of theirs detaches it.
    pub(crate) subject_clients: BTreeSet<String>,
    pub(crate) chains: BTreeMap<String, Chain>,
}

impl ClientSession {
    pub(crate) fn new(now_s: u64) -> Self {
        Self {
            started: now_s,
            timestamp: now_s,
            scope: None,
            subject_clients: BTreeSet::new(),
            chains: BTreeMap::new(),
        }
    }

    pub(crate) fn touch(&mut self, now_s: u64) {
        self.timestamp = self.timestamp.max(now_s);
    }
}

/// Bookkeeping of one chain: the token spent last, how often, and when its successor was made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Chain {
    pub(crate) spent: Option<String>,
    pub(crate) uses: u32,
    pub(crate) last_refresh: u64,
}

/// Keycloak's `offlineSessionIdleTimeout`: 30 days.
const OFFLINE_IDLE: u64 = 30 * 86_400;

pub(crate) fn idle(settings: &RealmSettings, offline: bool) -> u64 {
    if offline { OFFLINE_IDLE } else { settings.sso_session_idle }
}
