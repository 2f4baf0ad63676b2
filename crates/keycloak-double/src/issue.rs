//! Makes answers with tokens in them: which claims, how long they live, and what the issue leaves behind in the
//! session.

use aws_lc_rs::digest;
use serde_json::{Map, json};

use crate::access::{Passing, RequestSession};
use crate::answer::Answer;
use crate::entropy::{DoubleEntropy, uuid};
use crate::mapping::{self, Extent};
use crate::scopes::{self, Granted};
use crate::state::{ClientSession, Realm, UserSession, UserSessionKey, idle};
use crate::token::{self, Audience, BEARER, ID, IssuedClaims, OFFLINE, Origin, REFRESH};

/// How a grant shows in the id of the access tokens it makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GrantMark {
    Password,
    ClientCredentials,
    Refresh,
    Exchange,
    /// The legacy exchange leaves no mark.
    LegacyExchange,
}

impl GrantMark {
    fn mark(self) -> &'static str {
        match self {
            Self::Password => "ro",
            Self::ClientCredentials => "cc",
            Self::Refresh => "rt",
            Self::Exchange => "te",
            Self::LegacyExchange => "na",
        }
    }
}

/// Everything an issue takes from its surroundings.
pub(crate) struct Issuer<'a> {
    pub(crate) realm: &'a mut Realm,
    pub(crate) entropy: &'a mut dyn DoubleEntropy,
    pub(crate) now_ms: u64,
}

/// For whom, in which session, with which scopes.
pub(crate) struct Context {
    pub(crate) session: RequestSession,
    pub(crate) user: String,
    pub(crate) client_id: String,
    pub(crate) granted: Granted,
    /// Whether `scope` begins with `openid`. A client session remembers that from earlier requests, and so does a
    /// refresh token; the two need not agree.
    pub(crate) openid: bool,
    pub(crate) grant: GrantMark,
    /// The `audience` parameters; the token is narrowed to them.
    pub(crate) audience: Vec<String>,
}

/// What else goes into the answer beside the access token.
#[derive(Default)]
pub(crate) struct Extras {
    pub(crate) refresh: Option<Refreshable>,
    pub(crate) id_token: bool,
    pub(crate) issued_token_type: Option<&'static str>,
}

/// The refresh token to make.
pub(crate) enum Refreshable {
    /// The first of a new chain.
    First,
    /// The successor of a token.
    After(Box<IssuedClaims>),
}

impl Issuer<'_> {
    pub(crate) fn now_s(&self) -> u64 {
        self.now_ms / 1000
    }

    /// Attaches a client to a user session: creates its client session if there is none, and stores the requested scope.
    /// If `transient_if_missing` is set, a missing client session is not stored: it exists for this answer only. A session
    /// that is not stored is returned unchanged. The second value says whether the scope asks for an ID token (`openid`).
    pub(crate) fn attach_client(
        &mut self,
        session: RequestSession,
        client_id: &str,
        scope: Option<&str>,
        transient_if_missing: bool,
    ) -> (RequestSession, bool) {
        let now_s = self.now_s();
        let RequestSession::Stored(key) = &session else { return (session, scopes::is_openid(scope)) };
        let Some(kept) = self.realm.sessions.get_mut(key) else { return (session, scopes::is_openid(scope)) };
        if transient_if_missing && !kept.clients.contains_key(client_id) {
            return (RequestSession::Transient(Passing::beside(kept)), scopes::is_openid(scope));
        }
        let last_refresh = kept.last_refresh;
        let client = kept.clients.entry(client_id.to_owned()).or_insert_with(|| ClientSession::new(now_s));
        client.touch(last_refresh);
        if let Some(scope) = scope {
            client.scope = Some(scope.to_owned());
        }
        let openid = scopes::is_openid(client.scope.as_deref());
        (session, openid)
    }

    /// The claims of a new access token.
    pub(crate) fn access(&mut self, ctx: &Context) -> IssuedClaims {
        let now_s = self.now_s();
        let (sid, origin) = match &ctx.session {
            RequestSession::Stored(key) => {
                let offline = key.offline || ctx.granted.offline();
                (Some(key.sid.clone()), if offline { Origin::Offline } else { Origin::Online })
            }
            RequestSession::Transient(passing) => (passing.sid.clone(), passing.origin),
        };
        let lightweight = self.realm.clients.get(&ctx.client_id).is_some_and(|c| c.lightweight);
        let kind = if lightweight { "lt" } else { "rt" };
        let jti = format!("{}{kind}{}:{}", origin.prefix(), ctx.grant.mark(), uuid(self.entropy));
        let mut claims = IssuedClaims {
            exp: Some(self.access_ends(ctx)),
            iat: now_s,
            jti,
            iss: self.realm.issuer.clone(),
            aud: Audience::default(),
            sub: None,
            typ: BEARER.to_owned(),
            azp: ctx.client_id.clone(),
            sid,
            scope: Some(ctx.granted.text(ctx.openid)),
            reuse_id: None,
            extra: Map::new(),
        };
        if lightweight && origin == Origin::Transient {
            // Without a session nothing else would tell whose token it is.
            claims.sub = Some(ctx.user.clone());
        }
        let extent = if lightweight { Extent::Lightweight } else { Extent::Regular };
        mapping::describe(self.realm, &ctx.client_id, &ctx.user, extent, &mut claims);
        if !ctx.audience.is_empty() {
            claims.aud.0.retain(|a| ctx.audience.contains(a));
        }
        claims
    }

    /// The access token's end: its life, cut to the session's.
    fn access_ends(&self, ctx: &Context) -> u64 {
        let settings = &self.realm.settings;
        let own = self.now_ms + settings.access_token_lifespan * 1000;
        let session = match &ctx.session {
            _ if ctx.granted.offline() => None,
            RequestSession::Stored(key) => self.realm.sessions.get(key).and_then(|s| s.ends_ms(settings)),
            RequestSession::Transient(Passing { origin: Origin::OfflineTransientClient, .. }) => None,
            RequestSession::Transient(passing) => Some((passing.started + settings.sso_session_max) * 1000),
        };
        session.map_or(own, |end| own.min(end)) / 1000
    }

    /// Signs everything and puts the answer together.
    pub(crate) fn answer(&mut self, ctx: &Context, access: &IssuedClaims, extras: Extras) -> Answer {
        let dropped = matches!(ctx.grant, GrantMark::Refresh)
            && self.realm.clients.get(&ctx.client_id).is_some_and(|client| client.gives_no_next_token);
        // Made, with all that leaves behind, and then taken out of the answer.
        let refresh = extras.refresh.map(|kind| self.refresh(ctx, access, &kind)).filter(|_| !dropped);
        let now_s = self.now_s();
        let life = |c: &IssuedClaims| c.exp.map_or(0, |exp| exp.saturating_sub(now_s));
        let key = &self.realm.keys[0];
        let access_token = token::sign(access, key);
        let user_not_before = self.realm.users.get(&ctx.user).map_or(0, |u| u.not_before);
        let mut body = json!({
            "expires_in": life(access),
            "refresh_expires_in": refresh.as_ref().map_or(0, life),
            "token_type": "Bearer",
            "not-before-policy": self.realm.not_before.max(user_not_before),
            "scope": access.scope,
        });
        if let Some(refresh) = refresh {
            body["refresh_token"] = json!(token::sign_hs512(&refresh, &self.realm.secret));
        }
        if let Some(sid) = &access.sid {
            body["session_state"] = json!(sid);
        }
        if let Some(kind) = extras.issued_token_type {
            body["issued_token_type"] = json!(kind);
        }
        if extras.id_token {
            let id = self.id_token(ctx, access, &access_token);
            body["id_token"] = json!(token::sign(&id, &self.realm.keys[0]));
        }
        body["access_token"] = json!(access_token);
        Answer::json(200, &body)
    }

    fn id_token(&mut self, ctx: &Context, access: &IssuedClaims, access_token: &str) -> IssuedClaims {
        let hash = digest::digest(&digest::SHA256, access_token.as_bytes());
        let mut extra = Map::new();
        extra.insert("at_hash".to_owned(), json!(token::b64(&hash.as_ref()[..16])));
        let mut id = IssuedClaims { jti: uuid(self.entropy), typ: ID.to_owned(), scope: None, extra, ..access.clone() };
        mapping::describe(self.realm, &ctx.client_id, &ctx.user, Extent::Whole, &mut id);
        // Roles are for those who are asked to do something, not for those who ask.
        id.extra.retain(|name, _| !name.ends_with("_access"));
        IssuedClaims { aud: Audience(vec![ctx.client_id.clone()]), ..id }
    }

    /// The claims of a new refresh token, and the marks its issue leaves in the session.
    fn refresh(&mut self, ctx: &Context, access: &IssuedClaims, kind: &Refreshable) -> IssuedClaims {
        let now_s = self.now_s();
        let rotation = self.realm.settings.revoke_refresh_token;
        let (reuse_id, scope) = match kind {
            Refreshable::First => (rotation.then(|| uuid(self.entropy)), Some(ctx.granted.full_text(ctx.openid))),
            Refreshable::After(old) => (old.reuse_id.clone().filter(|_| rotation), old.scope.clone()),
        };
        let offline = scope.as_deref().is_some_and(|s| Granted::from_parameter(Some(s)).offline());
        let mut exp = None;
        if let RequestSession::Stored(key) = &ctx.session
            && let Some(session) = self.realm.sessions.get_mut(key)
        {
            session.touch(now_s);
            let ends = session.ends_ms(&self.realm.settings).map(|ms| ms / 1000);
            if let Some(client) = session.clients.get_mut(&ctx.client_id) {
                client.touch(now_s);
                if let (Refreshable::After(old), true) = (kind, rotation) {
                    client.chains.entry(old.chain()).or_default().last_refresh = now_s;
                }
                let idle_ends = client.timestamp + idle(&self.realm.settings, key.offline);
                exp = (!offline).then(|| ends.map_or(idle_ends, |end| end.min(idle_ends)));
            }
        }
        if offline {
            self.add_offline_session(ctx);
        }
        IssuedClaims {
            exp,
            iat: now_s,
            jti: uuid(self.entropy),
            iss: self.realm.issuer.clone(),
            aud: Audience(vec![self.realm.issuer.clone()]),
            sub: access.sub.clone(),
            typ: if offline { OFFLINE } else { REFRESH }.to_owned(),
            azp: ctx.client_id.clone(),
            sid: access.sid.clone(),
            scope,
            reuse_id,
            extra: Map::new(),
        }
    }

    /// Creates the offline session beside the user's session, with a client session for this client, where they are
    /// missing, and copies the scope. Does nothing for a session that is offline itself or that is not stored.
    fn add_offline_session(&mut self, ctx: &Context) {
        let RequestSession::Stored(key) = &ctx.session else { return };
        if key.offline {
            return;
        }
        let now_s = self.now_s();
        let twin = UserSessionKey::offline(&key.sid);
        let scope =
            self.realm.sessions.get(key).and_then(|s| s.clients.get(&ctx.client_id)).and_then(|c| c.scope.clone());
        let session =
            self.realm.sessions.entry(twin.clone()).or_insert_with(|| UserSession::new(twin, &ctx.user, now_s));
        let client = session.clients.entry(ctx.client_id.clone()).or_insert_with(|| ClientSession::new(now_s));
        client.scope = scope;
    }
}
