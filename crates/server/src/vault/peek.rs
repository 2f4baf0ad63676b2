//! Looking into a JWT without believing it.
//!
//! Used only where nothing depends on it being true: to recognise a repeated registration by the same authenticated
//! registrar before its proof is looked at (an old proof may have expired by then), and to read the life of a deposited
//! refresh token that only Keycloak can verify.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// The claims of a JWT, unverified; `None` for anything else.
pub(super) fn claims(token: &str) -> Option<Value> {
    let mut parts = token.split('.');
    let payload = parts.nth(1)?;
    parts.next()?;
    if parts.next().is_some() {
        return None;
    }
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

/// A text claim of a JWT, unverified.
pub(super) fn text(token: &str, claim: &str) -> Option<String> {
    claims(token)?.get(claim)?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_jwt_has_claims() {
        let token = format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(r#"{"sub":"alice"}"#));
        assert_eq!(text(&token, "sub").as_deref(), Some("alice"));
        for other in ["", "opaque", "a.b", "a.b.c", &format!("{token}.more")] {
            assert_eq!(text(other, "sub"), None, "{other}");
        }
    }
}
