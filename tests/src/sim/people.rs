//! Users and their interfaces: what others do at Keycloak, none of which passes a fault point.

use keycloak_double::{Answer, Request};
use serde_json::Value;
use tokenvault_core::secret::{RefreshToken, TokenHash};

use super::joins::Excuse;
use super::world::{Violation, World};

/// The realm.
pub const REALM: &str = "diku";
/// The client of the user interface.
pub const UI: &str = "login-app";

/// A pair of the user interface's.
#[derive(Debug, Clone)]
pub struct Login {
    /// Keycloak's session.
    pub sid: String,
    /// The access token.
    pub access: String,
    /// When it was issued, in milliseconds since the beginning.
    pub issued_at: u64,
    /// The refresh token.
    pub refresh: String,
    /// The access token from before the last refresh.
    pub earlier: Option<String>,
}

impl Login {
    /// Names the refresh token.
    pub fn hash(&self) -> TokenHash {
        RefreshToken::new(self.refresh.as_str()).hash()
    }
}

/// A user session, and what others did to it.
#[derive(Debug)]
pub struct Session {
    /// Its id.
    pub sid: String,
    user: usize,
    /// It was ended, by others or by a violation that is counted already.
    pub over: bool,
    /// It was ended by others, or by what is excused.
    pub excused: bool,
    /// When the vault's client session in it was last ended by others.
    pub revoked_at: Option<u64>,
}

/// The users.
#[derive(Debug, Default)]
pub struct People {
    users: Vec<(String, Option<Login>, bool)>,
    sessions: Vec<Session>,
}

impl People {
    /// Users by their names, logged in nowhere.
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self { users: names.into_iter().map(|name| (name, None, true)).collect(), sessions: Vec::new() }
    }

    /// Whether a user is disabled just now.
    pub fn is_disabled(&self, user: usize) -> bool {
        !self.users[user].2
    }

    /// How many users there are.
    pub fn count(&self) -> usize {
        self.users.len()
    }

    /// Whether others ended the pair that began in a session at an instant.
    pub fn ended(&self, sid: &str, began: u64) -> bool {
        let session = self.sessions.iter().find(|session| session.sid == sid);
        session.is_some_and(|session| session.excused || session.revoked_at.is_some_and(|at| at >= began))
    }
}

impl World {
    fn ask(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        let secret = [("client_id", UI), ("client_secret", "login-app-secret")];
        let path = format!("/realms/{REALM}/protocol/openid-connect/{path}");
        let request = Request::post(path, secret.iter().chain(form).copied());
        self.keycloak.lock().handle(self.time.now_ms(), &request)
    }

    fn login_of(&self, answer: &Answer) -> Option<Login> {
        let body = answer.value();
        let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
        Some(Login {
            sid: text("session_state")?,
            access: text("access_token")?,
            issued_at: self.now(),
            refresh: text("refresh_token")?,
            earlier: None,
        })
    }

    /// A new session of a user's.
    pub fn log_in(&self, user: usize) -> Option<Login> {
        let name = self.people.lock().users[user].0.clone();
        let password = format!("{name}-password");
        let form = [("grant_type", "password"), ("username", name.as_str()), ("password", password.as_str())];
        let login = self.login_of(&self.ask("token", &form))?;
        let session = Session { sid: login.sid.clone(), user, over: false, excused: false, revoked_at: None };
        self.people.lock().sessions.push(session);
        self.note(None, "ui", "logs-in", user as u64);
        self.remark(|| format!("sid {}", login.sid));
        Some(login)
    }

    /// The pair of a user's interface, fresh enough to be a proof.
    pub fn proof(&self, user: usize) -> Option<Login> {
        self.ui_refreshes(user);
        let login = self.people.lock().users[user].1.clone();
        if login.is_some() {
            return login;
        }
        let login = self.log_in(user)?;
        self.people.lock().users[user].1 = Some(login.clone());
        Some(login)
    }

    /// A user's interface renews its own pair.
    pub fn ui_refreshes(&self, user: usize) {
        let Some(login) = self.people.lock().users[user].1.clone() else { return };
        let answer = self.ask("token", &[("grant_type", "refresh_token"), ("refresh_token", &login.refresh)]);
        self.note(None, "ui", "refreshes", u64::from(answer.status));
        let next = self.login_of(&answer).map(|next| Login { earlier: Some(login.access), ..next });
        let enabled = self.people.lock().users[user].2;
        if next.is_none() && enabled {
            self.watch_sessions(None);
        }
        if next.is_some() || enabled {
            self.people.lock().users[user].1 = next;
        }
    }

    /// A user logs out.
    pub fn ui_logs_out(&self, user: usize) {
        let Some(login) = self.people.lock().users[user].1.take() else { return };
        let answer = self.ask("logout", &[("refresh_token", &login.refresh)]);
        if let Some(session) = self.people.lock().sessions.iter_mut().find(|session| session.sid == login.sid) {
            // If it was over before, somebody else ended it, and that is counted elsewhere.
            session.excused |= !session.over;
            session.over = true;
        }
        self.note(None, "ui", "logs-out", u64::from(answer.status));
    }

    /// A user's interface revokes its access token, or the one before: Keycloak then also ends the client sessions exchanged
    /// from its tokens, the vault's among them. The interface goes on with its refresh token. The one before is what a second
    /// tab holds: a registration under way with the newer one is not stopped by that, and begins the next life.
    pub fn ui_revokes(&self, user: usize) {
        let Some(login) = self.people.lock().users[user].1.clone() else { return };
        let earlier = login.earlier.as_ref().filter(|_| self.state.lock().dice.below(2) == 0);
        let answer = self.ask("revoke", &[("token", earlier.unwrap_or(&login.access))]);
        let now = self.now();
        let session_of = |session: &&mut Session| session.sid == login.sid && answer.body.is_empty();
        if let Some(session) = self.people.lock().sessions.iter_mut().find(session_of) {
            session.revoked_at = Some(now);
        }
        self.note(None, "ui", "revokes", u64::from(answer.status));
        self.ui_refreshes(user);
    }

    /// Disables or enables a user; answers whether that changed anything.
    pub fn set_enabled(&self, user: usize, enabled: bool) -> bool {
        let mut people = self.people.lock();
        let (name, _, is) = &mut people.users[user];
        let changed = *is != enabled;
        *is = enabled;
        self.keycloak.lock().set_user_enabled(REALM, name, enabled).expect("the users are there");
        drop(people);
        if changed {
            self.note(None, "user", if enabled { "enabled" } else { "disabled" }, user as u64);
        }
        changed
    }

    /// Looks whether every user session is still there that nobody ended. `excuse`: what was just done is excused.
    pub fn watch_sessions(&self, excuse: Option<Excuse>) {
        let mut people = self.people.lock();
        let now_ms = self.time.now_ms();
        let mut killed = Vec::new();
        for user in 0..people.users.len() {
            let name = people.users[user].0.clone();
            let alive = self.keycloak.lock().live_sessions(REALM, &name, now_ms).expect("the users are there");
            let gone = |session: &&mut Session| {
                session.user == user && !session.over && !alive.iter().any(|alive| alive.sid == session.sid)
            };
            for session in people.sessions.iter_mut().filter(gone) {
                session.over = true;
                session.excused = excuse.is_some();
                killed.push(session.sid.clone());
            }
        }
        drop(people);
        for sid in killed {
            self.remark(|| format!("the session {sid} is gone"));
            match excuse {
                Some(Excuse::JoinedInFlight) => {
                    self.state.lock().gaps += 1;
                    self.note(None, "session", "ended-in-the-gap", 0);
                }
                Some(Excuse::JoinLost) => {
                    self.state.lock().joins_lost += 1;
                    self.note(None, "session", "ended-by-a-lost-join", 0);
                }
                None => self.violate(Violation::UiSessionKilled),
            }
        }
    }
}
