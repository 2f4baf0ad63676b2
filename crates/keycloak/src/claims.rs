//! Claims of an access token, as read; whether they can be believed is the caller's to know.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use tokenvault_core::ports::Privilege;

/// A JWT's claims.
pub(crate) type JwtClaims = Map<String, Value>;

/// The claims of a JWT without looking at its signature. Only for a token that the token endpoint itself has just
/// answered over a connection that proved its identity (`OpenID` Connect Core §3.1.3.7, point 6). `None` if it is no JWT.
pub(crate) fn unverified(token: &str) -> Option<JwtClaims> {
    let mut parts = token.split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    decode(payload).filter(|_| parts.next().is_none())
}

/// A part of a JWT that is a JSON object.
pub(crate) fn decode(part: &str) -> Option<JwtClaims> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// A claim that is a text.
pub(crate) fn text<'a>(claims: &'a JwtClaims, name: &str) -> Option<&'a str> {
    claims.get(name)?.as_str()
}

/// Whether a token shows that impersonating its user is out of the question: a service account, or somebody who may
/// administer the realm (in the master realm: any realm). Errs on the side of yes.
pub(crate) fn privileged(claims: &JwtClaims, master: bool) -> bool {
    claims.contains_key("client_id") || is_service_account(claims) || administers(claims, master)
}

/// The same of an answer to introspection, which shows the roles that a lightweight token hides. It always has a
/// `client_id`: there it is a member of the answer (RFC 7662 §2.2) and no claim.
pub(crate) fn privilege(answer: &JwtClaims, master: bool) -> Privilege {
    if is_service_account(answer) || administers(answer, master) {
        Privilege::Privileged
    } else if answer.get("realm_access").is_some_and(shows_roles)
        || client_access(answer).any(|(_, access)| shows_roles(access))
    {
        Privilege::Ordinary
    } else {
        Privilege::Unknown
    }
}

/// Keycloak puts these claims into a service account's tokens. A user may choose such a name, and is refused then.
fn is_service_account(claims: &JwtClaims) -> bool {
    let named = |claim: &str| text(claims, claim).is_some_and(|name| name.starts_with("service-account-"));
    ["clientId", "clientHost", "clientAddress"].iter().any(|claim| claims.contains_key(*claim))
        || named("preferred_username")
        || named("username")
}

fn administers(claims: &JwtClaims, master: bool) -> bool {
    let of_realms = |client: &str| client == "realm-management" || (master && client.ends_with("-realm"));
    let manager = client_access(claims).any(|(client, roles)| of_realms(client) && has_roles(roles));
    let realm_admin = master
        && claims
            .get("realm_access")
            .and_then(|access| access.get("roles"))
            .and_then(Value::as_array)
            .is_some_and(|roles| roles.iter().any(|role| role == "admin" || role == "create-realm"));
    manager || realm_admin
}

fn client_access(claims: &JwtClaims) -> impl Iterator<Item = (&str, &Value)> {
    let access = claims.get("resource_access").and_then(Value::as_object);
    access.into_iter().flatten().map(|(client, roles)| (client.as_str(), roles))
}

/// Whether there certainly are roles.
fn shows_roles(access: &Value) -> bool {
    access.get("roles").and_then(Value::as_array).is_some_and(|roles| !roles.is_empty())
}

/// Whether there may be roles.
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
    fn introspection_tells_privileged_users_from_others_and_from_those_whose_roles_are_hidden() {
        let judge = |answer: Value| privilege(answer.as_object().unwrap(), false);
        let ui = |access: Value| json!({ "active": true, "client_id": "ui", "username": "alice", "resource_access": access });
        assert_eq!(judge(ui(json!({ "realm-management": { "roles": ["view-users"] } }))), Privilege::Privileged);
        assert_eq!(judge(json!({ "username": "service-account-x" })), Privilege::Privileged);
        assert_eq!(judge(json!({ "clientHost": "127.0.0.1" })), Privilege::Privileged);
        assert_eq!(judge(ui(json!({ "account": { "roles": ["view-profile"] } }))), Privilege::Ordinary);
        assert_eq!(
            judge(json!({ "client_id": "ui", "realm_access": { "roles": ["adminRole"] } })),
            Privilege::Ordinary
        );
        for hidden in [json!({}), json!({ "account": { "roles": [] } })] {
            assert_eq!(judge(ui(hidden)), Privilege::Unknown);
        }
        for hidden in [json!({ "roles": [] }), json!({}), json!({ "roles": "many" })] {
            assert_eq!(judge(json!({ "client_id": "ui", "realm_access": hidden })), Privilege::Unknown);
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
