//! Claims of an access token, as read; whether they can be believed is the caller's to know.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

/// A JWT's claims.
pub(crate) type Claims = Map<String, Value>;

/// The claims of a JWT without looking at its signature. Only for a token that the token endpoint itself has just
/// answered over a connection that proved its identity (`OpenID` Connect Core §3.1.3.7, point 6). `None` if it is no JWT.
pub(crate) fn unverified(token: &str) -> Option<Claims> {
    let mut parts = token.split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    decode(payload).filter(|_| parts.next().is_none())
}

/// A part of a JWT that is a JSON object.
pub(crate) fn decode(part: &str) -> Option<Claims> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// A claim that is a text.
pub(crate) fn text<'a>(claims: &'a Claims, name: &str) -> Option<&'a str> {
    claims.get(name)?.as_str()
}

/// Whether impersonating this user is out of the question: a service account, or somebody who may administer the realm
/// (in the master realm: any realm). Errs on the side of yes.
pub(crate) fn privileged(claims: &Claims, master: bool) -> bool {
    let service_account = claims.contains_key("client_id")
        || claims.contains_key("clientId")
        || text(claims, "preferred_username").is_some_and(|name| name.starts_with("service-account-"));
    let administers = |client: &str| client == "realm-management" || (master && client.ends_with("-realm"));
    let manager = claims
        .get("resource_access")
        .and_then(Value::as_object)
        .is_some_and(|access| access.iter().any(|(client, roles)| administers(client) && has_roles(roles)));
    let realm_admin = master
        && claims
            .get("realm_access")
            .and_then(|access| access.get("roles"))
            .and_then(Value::as_array)
            .is_some_and(|roles| roles.iter().any(|role| role == "admin" || role == "create-realm"));
    service_account || manager || realm_admin
}

fn has_roles(access: &Value) -> bool {
    access.get("roles").and_then(Value::as_array).is_none_or(|roles| !roles.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn is_privileged(claims: &Value, master: bool) -> bool {
        privileged(claims.as_object().unwrap(), master)
    }

    #[test]
    fn service_accounts_and_realm_managers_are_privileged() {
        for claims in [
            json!({ "client_id": "x" }),
            json!({ "clientId": "x" }),
            json!({ "preferred_username": "service-account-x" }),
            json!({ "resource_access": { "realm-management": { "roles": ["view-users"] } } }),
        ] {
            assert!(is_privileged(&claims, false), "{claims}");
        }
    }

    #[test]
    fn other_users_are_not() {
        for claims in [
            json!({ "preferred_username": "alice", "realm_access": { "roles": ["admin"] } }),
            json!({ "resource_access": { "account": { "roles": ["manage-account"] } } }),
            json!({ "resource_access": { "realm-management": { "roles": [] } } }),
            json!({ "resource_access": { "lab-realm": { "roles": ["x"] } } }),
        ] {
            assert!(!is_privileged(&claims, false), "{claims}");
        }
    }

    #[test]
    fn in_the_master_realm_administrators_of_any_realm_are_privileged() {
        for claims in [
            json!({ "realm_access": { "roles": ["admin"] } }),
            json!({ "resource_access": { "lab-realm": { "roles": ["manage-users"] } } }),
        ] {
            assert!(is_privileged(&claims, true), "{claims}");
        }
    }

    #[test]
    fn what_is_no_jwt_has_no_claims() {
        for opaque in ["", "abc", "a.b", "a.e30", "a.e30.c.d", "a.W10.c"] {
            assert!(unverified(opaque).is_none(), "{opaque}");
        }
        assert!(unverified("a.e30.c").is_some());
    }
}
