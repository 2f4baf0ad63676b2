//! The UI with its user: logs in, refreshes its session, logs out. It must know nothing of the vault.

use serde_json::Value;
use tokenvault_core::secret::{AccessToken, RefreshToken};

use super::error::DemoError;
use super::identity_provider::DemoIdp;

/// A user's session at the UI.
pub(super) struct UiSession {
    pub(super) access_token: AccessToken,
    refresh_token: RefreshToken,
}

impl UiSession {
    /// The user logs in.
    pub(super) async fn log_in(idp: &DemoIdp) -> Result<Self, DemoError> {
        let form = [
            ("grant_type", "password"),
            ("scope", "openid"),
            ("username", idp.realm.user),
            ("password", idp.realm.password.expose()),
        ];
        Self::from_answer(&post(idp, "token", "the user logs in", &form).await?)
    }

    /// The UI rotates its pair: the refresh token it had is spent from now on.
    pub(super) async fn refresh(&mut self, idp: &DemoIdp) -> Result<(), DemoError> {
        let form = [("grant_type", "refresh_token"), ("refresh_token", self.refresh_token.expose())];
        *self = Self::from_answer(&post(idp, "token", "the UI refreshes its session", &form).await?)?;
        Ok(())
    }

    /// The user logs out; the whole session ends.
    pub(super) async fn log_out(self, idp: &DemoIdp) -> Result<(), DemoError> {
        let form = [("refresh_token", self.refresh_token.expose())];
        post(idp, "logout", "the user logs out", &form).await.map(drop)
    }

    fn from_answer(answer: &Value) -> Result<Self, DemoError> {
        let token = |name: &str| {
            let missing = || DemoError::refused("the identity provider's answer", 200, &Value::Null);
            answer[name].as_str().ok_or_else(missing)
        };
        Ok(Self {
            access_token: AccessToken::new(token("access_token")?),
            refresh_token: RefreshToken::new(token("refresh_token")?),
        })
    }
}

async fn post(idp: &DemoIdp, endpoint: &str, what: &str, form: &[(&str, &str)]) -> Result<Value, DemoError> {
    let mut whole = vec![("client_id", idp.realm.ui_client.as_str()), ("client_secret", idp.realm.ui_secret.expose())];
    whole.extend_from_slice(form);
    let url = format!("{}/protocol/openid-connect/{endpoint}", idp.realm_url);
    let answer = idp.http.post(url).form(&whole).send().await.map_err(DemoError::unreachable(what))?;
    let status = answer.status();
    let body: Value = answer.json().await.unwrap_or_default();
    if status.is_success() { Ok(body) } else { Err(DemoError::refused(what, status.as_u16(), &body)) }
}
