//! What a client reads before it starts: the discovery document and the keys.

use serde_json::{Value, json};

use crate::answer::Answer;
use crate::grants::TOKEN_EXCHANGE;
use crate::keys::DoubleSigningKey;
use crate::state::Realm;

/// `/.well-known/openid-configuration` (`OpenID` Connect Discovery 1.0).
pub(crate) fn configuration(realm: &Realm) -> Answer {
    let issuer = &realm.issuer;
    let endpoint = |name: &str| format!("{issuer}/protocol/openid-connect/{name}");
    let secrets = json!(["client_secret_basic", "client_secret_post"]);
    Answer::json(
        200,
        &json!({
            "issuer": issuer,
            "authorization_endpoint": endpoint("auth"),
            "token_endpoint": endpoint("token"),
            "introspection_endpoint": endpoint("token/introspect"),
            "revocation_endpoint": endpoint("revoke"),
            "end_session_endpoint": endpoint("logout"),
            "jwks_uri": endpoint("certs"),
            "grant_types_supported": ["password", "client_credentials", "refresh_token", TOKEN_EXCHANGE],
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [realm.keys[0].algorithm()],
            "token_endpoint_auth_methods_supported": secrets,
            "introspection_endpoint_auth_methods_supported": secrets,
            "revocation_endpoint_auth_methods_supported": secrets,
            "scopes_supported": ["openid", "profile", "email", "offline_access"],
        }),
    )
}

/// The public keys (RFC 7517).
pub(crate) fn certs(realm: &Realm) -> Answer {
    let keys: Vec<Value> = realm.keys.iter().map(DoubleSigningKey::jwk).collect();
    Answer::json(200, &json!({"keys": keys}))
}
