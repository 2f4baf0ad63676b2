//! The claims of two tokens side by side: the UI's token, and the token that a module gets. People read them; nothing is
//! verified here, and no token is shown.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use tokenvault_core::secret::AccessToken;

use super::environment::DemoEnvironment;
use super::error::DemoError;
use super::files::WORKER;
use super::module::{JobRegistration, TokenRead};
use super::realm::random_uuid;
use super::ui_session::UiSession;

/// The claims that modules and operators ask about, in the order they are shown.
const CLAIMS: [&str; 7] = ["azp", "aud", "sub", "user_id", "keycloak_user_id", "sid", "scope"];

/// What is said where a token has no such claim.
const NONE: &str = "-";

/// What a token says; never the token itself.
#[derive(Debug, Clone)]
pub(super) struct DisplayedClaims {
    size: usize,
    payload: Value,
}

impl DisplayedClaims {
    pub(super) fn of(token: &AccessToken) -> Result<Self, DemoError> {
        let unreadable = || DemoError::refused("an access token that can be read", 200, &Value::Null);
        let payload = token.expose().split('.').nth(1).ok_or_else(unreadable)?;
        let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| unreadable())?;
        let payload = serde_json::from_slice(&payload).map_err(|_| unreadable())?;
        Ok(Self { size: token.expose().len(), payload })
    }

    /// A claim as a word or several.
    fn claim(&self, name: &str) -> String {
        match &self.payload[name] {
            Value::Null => NONE.to_owned(),
            Value::String(text) => text.clone(),
            Value::Array(texts) => texts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
            other => other.to_string(),
        }
    }

    /// How many roles it carries, of the realm and of all clients.
    fn roles(&self) -> String {
        let clients = self.payload["resource_access"].as_object().into_iter().flat_map(|clients| clients.values());
        let holders = clients.chain([&self.payload["realm_access"]]);
        match holders.filter_map(|holder| holder["roles"].as_array()).map(Vec::len).sum::<usize>() {
            0 => "none".to_owned(),
            roles => roles.to_string(),
        }
    }

    /// In one line.
    pub(super) fn line(&self) -> String {
        let said = ["azp", "aud", "sub", "user_id"].map(|name| format!("{name} {}", self.claim(name)));
        format!("{}, roles {}, {} bytes", said.join(", "), self.roles(), self.size)
    }
}

/// The two tokens of a job: what the user's consent was proved with, and what the job's modules are handed.
#[derive(Debug, Clone)]
pub struct TokenComparison {
    ui: DisplayedClaims,
    module: DisplayedClaims,
}

impl TokenComparison {
    /// Logs the user in, registers a job, reads its token as a module does, and releases it.
    pub async fn of(environment: &DemoEnvironment<'_>) -> Result<Self, DemoError> {
        let session = UiSession::log_in(environment.idp).await?;
        let (registrar, worker) = (environment.registrar()?, environment.worker()?);
        let job = random_uuid(&*environment.entropy);
        let registration = JobRegistration {
            reader: WORKER,
            survives_logout: environment.settings.survive_logout,
            expires_at: environment.clock.now() + environment.settings.at_ttl * 2,
        };
        registrar.register(&job, &session.access_token, &registration).await?;
        let read = worker.read(&job).await?;
        registrar.release(&job).await?;
        let ui = DisplayedClaims::of(&session.access_token)?;
        session.log_out(environment.idp).await?;
        match read {
            TokenRead::Token(held) => Ok(Self { ui, module: DisplayedClaims::of(&held.access_token)? }),
            TokenRead::NotYet | TokenRead::Over(_) => Err(DemoError::refused("the vault's token", 503, &Value::Null)),
        }
    }

    /// A line for each claim; one token below the other where a terminal has no room for both side by side.
    pub fn shown(&self, width: Option<usize>) -> String {
        let rows = self.rows();
        let beside = rows.iter().map(|(name, ui, module)| format!("  {name:<18} {ui:<38} {module}\n"));
        let beside: Vec<String> = beside.collect();
        if beside.iter().all(|row| width.is_none_or(|width| row.trim_end().chars().count() <= width)) {
            return beside.concat();
        }
        let below = rows.iter().map(|(name, ui, module)| format!("  {name:<18} {ui}\n{:21}{module}\n", ""));
        below.collect::<Vec<_>>().concat()
    }

    fn rows(&self) -> Vec<(&'static str, String, String)> {
        let size = |token: &DisplayedClaims| format!("{} bytes", token.size);
        let mut rows = vec![("", "the UI's token".to_owned(), "in a module's hand".to_owned())];
        rows.extend(CLAIMS.map(|name| (name, self.ui.claim(name), self.module.claim(name))));
        rows.push(("roles", self.ui.roles(), self.module.roles()));
        rows.push(("size", size(&self.ui), size(&self.module)));
        rows
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn token(payload: &Value) -> AccessToken {
        AccessToken::new(format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(payload.to_string())))
    }

    #[test]
    fn a_token_is_shown_by_what_it_says() {
        let regular = token(&json!({
            "azp": "tokenvault",
            "aud": ["tokenvault", "account"],
            "sub": "5e0c",
            "realm_access": { "roles": ["adminRole", "offline_access"] },
            "resource_access": { "account": { "roles": ["view-profile"] } },
        }));
        let claims = DisplayedClaims::of(&regular).unwrap();
        let size = regular.expose().len();
        let expected = format!("azp tokenvault, aud tokenvault account, sub 5e0c, user_id -, roles 3, {size} bytes");
        assert_eq!(claims.line(), expected);
        assert!(!claims.line().contains("e30."), "the token itself is not shown");
    }

    #[test]
    fn a_lightweight_token_has_no_roles_and_says_so() {
        let claims = DisplayedClaims::of(&token(&json!({ "azp": "diku-login-application" }))).unwrap();
        assert_eq!((claims.roles().as_str(), claims.claim("aud").as_str()), ("none", "-"));
    }

    #[test]
    fn two_tokens_stand_side_by_side_where_there_is_room() {
        let of = |sub: &str| DisplayedClaims::of(&token(&json!({ "sub": sub }))).unwrap();
        let (ui, module) = ("0d2a3a3c-6d31-43b7-a3a6-1f3f0a0a5b1c", "7b1f7d0e-97a6-4f0c-8a53-5f0a4f7c2d9e");
        let tokens = TokenComparison { ui: of(ui), module: of(module) };
        let beside = format!("  {:<18} {ui}   {module}\n", "sub");
        assert!(tokens.shown(None).contains(&beside) && tokens.shown(Some(140)).contains(&beside));
        let narrow = tokens.shown(Some(80));
        assert!(narrow.contains(&format!("{ui}\n{:21}{module}\n", "")), "{narrow}");
        assert!(narrow.lines().all(|line| line.chars().count() <= 80), "{narrow}");
    }

    #[test]
    fn what_is_no_token_is_refused() {
        assert!(DisplayedClaims::of(&AccessToken::new("opaque")).is_err());
        assert!(DisplayedClaims::of(&AccessToken::new("e30.!!.c2ln")).is_err());
    }
}
