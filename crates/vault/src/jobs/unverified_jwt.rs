//! Looking into a JWT without believing it.
//!
//! Used only where nothing depends on it being true: to recognise a repeated registration by the same authenticated
//! registrar before its proof is looked at (an old proof may have expired by then), to read the life of a deposited
//! refresh token that only Keycloak can verify, and to word a refusal.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use tokenvault_core::time::Timestamp;

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

/// Whether a JWT names this client in its audience, unverified.
pub(super) fn is_meant_for(token: &str, client: &str) -> bool {
    match claims(token).as_ref().and_then(|claims| claims.get("aud")) {
        Some(Value::String(one)) => one == client,
        Some(Value::Array(several)) => several.iter().any(|one| one.as_str() == Some(client)),
        _ => false,
    }
}

/// Whether a JWT's `nbf` lies ahead, unverified.
pub(super) fn begins_after(token: &str, now: Timestamp) -> bool {
    let not_before = claims(token).and_then(|claims| claims.get("nbf")?.as_f64());
    #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit a double's 53 bits")]
    not_before.is_some_and(|seconds| seconds * 1000.0 > now.as_millis() as f64)
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

    #[test]
    fn an_audience_is_one_name_or_several() {
        for (claims, meant) in [
            (r#"{"aud":"vault"}"#, true),
            (r#"{"aud":["account","vault"]}"#, true),
            (r#"{"aud":["account"]}"#, false),
            (r#"{"aud":"vaults"}"#, false),
            ("{}", false),
        ] {
            let token = format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims));
            assert_eq!(is_meant_for(&token, "vault"), meant, "{claims}");
        }
    }

    #[test]
    fn a_token_may_count_only_from_a_moment_on() {
        for (claims, ahead) in [
            (r#"{"nbf":1001}"#, true),
            (r#"{"nbf":1000.5}"#, true),
            (r#"{"nbf":1000}"#, false),
            (r#"{"nbf":0}"#, false),
            (r#"{"nbf":"1001"}"#, false),
            ("{}", false),
        ] {
            let token = format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims));
            assert_eq!(begins_after(&token, Timestamp::from_secs(1000)), ahead, "{claims}");
        }
    }
}
