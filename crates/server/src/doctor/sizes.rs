//! How big tokens get. Keycloak makes examples of them without touching anybody's session; they are made for users who
//! are likely to hold many roles.

use std::collections::BTreeMap;

use serde_json::Value;
use tokenvault_keycloak::{ServiceAccount, Unlearnt, quoted};

use super::Report;
use super::keycloak::{AGAIN, Realm};
use super::view::{Client, View, elements, text};

/// Servers refuse a request whose head is bigger than this in many places, Keycloak's own among them; other headers need
/// room as well.
const TOO_LARGE: usize = 8192;
/// Keycloak takes no longer token for exchange, unless its option says otherwise; earlier versions of 26 took a fifth of it.
const TOO_LONG_TO_EXCHANGE: usize = 20_000;

/// Roles whose holders are looked up.
const ROLES: usize = 20;
/// Holders of each.
const HOLDERS: usize = 5;
/// Users for whom examples are made.
const USERS: usize = 20;

/// Makes the examples and judges the biggest one of each client.
pub(super) async fn examine(
    view: &View<'_>,
    vault: &Client,
    accepted: &[Client],
    account: &ServiceAccount,
    report: &mut Report,
) {
    let (check, realm) = ("token-size", view.realm);
    let users = match users(view).await {
        Ok(users) => users,
        Err(error) => return untold(realm, &error, report),
    };
    match biggest(view, vault, &users, account.envelope).await {
        Ok(Some((size, user))) if size > TOO_LARGE => report.hazard(
            check,
            realm.name(),
            format!("the vault's token for the user {user} has {size} bytes: servers refuse heads of that size (431), Keycloak's own among them"),
            smaller(vault),
        ),
        Ok(Some((size, user))) => {
            report.fine(check, realm.name(), format!("the biggest of the vault's tokens for {} users has {size} bytes (for the user {user})", users.len()));
        }
        Ok(None) => report.unknown(check, realm.name(), "the realm has no users yet", "run it again when it has"),
        Err(error) => return untold(realm, &error, report),
    }
    for client in accepted {
        match biggest(view, client, &users, account.envelope).await {
            Ok(Some((size, user))) if size > TOO_LONG_TO_EXCHANGE => report.hazard(
                "proof-size",
                realm.name(),
                format!("the token of {} for the user {user} has {size} characters, and Keycloak takes {TOO_LONG_TO_EXCHANGE} at most for exchange: registrations with it fail", client.name),
                format!("switch \"Always use lightweight access token\" on for {}, as FOLIO does, and {AGAIN}; or raise Keycloak's option spi-login-protocol--openid-connect--req-token-params-default-max-size", client.name),
            ),
            Ok(Some((size, user))) => {
                report.fine("proof-size", realm.name(), format!("the biggest of {}'s tokens has {size} characters (for the user {user})", client.name));
            }
            Ok(None) => {}
            Err(error) => untold(realm, &error, report),
        }
    }
}

fn untold(realm: &Realm<'_>, error: &Unlearnt, report: &mut Report) {
    let remedy = "take a token of an administrator with the roles view-users, view-clients and view-realm";
    report.unknown("token-size", realm.name(), format!("no examples of tokens: {error}"), remedy);
}

fn smaller(vault: &Client) -> String {
    if vault.switch("fullScopeAllowed") == Some(true) {
        format!(
            "take \"Full scope allowed\" from the vault's client, and keep realm-management/impersonation in its scope mappings where it impersonates: {AGAIN}, without --full-scope, does both"
        )
    } else {
        "take roles out of the scope mappings of the vault's client, or mappers and client scopes that modules do not need".to_owned()
    }
}

/// The biggest example, and whose it is. What is made is the token's payload; an envelope of the same size stands around
/// every token of a realm.
async fn biggest(
    view: &View<'_>,
    client: &Client,
    users: &[String],
    envelope: usize,
) -> Result<Option<(usize, String)>, Unlearnt> {
    let mut biggest = None;
    for id in users {
        let path =
            format!("/clients/{}/evaluate-scopes/generate-example-access-token?scope=openid&userId={id}", client.id);
        let payload = view.get(&path).await?.to_string().len();
        // Six bits a character (RFC 4648 §5, without padding).
        let size = (payload * 4).div_ceil(3) + envelope;
        if biggest.as_ref().is_none_or(|(most, _)| size > *most) {
            biggest = Some((size, id.clone()));
        }
    }
    Ok(biggest)
}

/// Keycloak's ids of users. Holders of roles that are spread over the realm's: who has many is likely to be among them.
async fn users(view: &View<'_>) -> Result<Vec<String>, Unlearnt> {
    let roles = view.get("/roles?briefRepresentation=true&first=0&max=5000").await?;
    let roles: Vec<&Value> = elements(&roles).filter(|role| !is_everybodys(role)).collect();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for role in roles.iter().step_by(roles.len().div_ceil(ROLES).max(1)) {
        let path =
            format!("/roles/{}/users?briefRepresentation=true&first=0&max={HOLDERS}", quoted(text(&role["name"])));
        count(&view.get(&path).await?, &mut seen);
    }
    count(&view.get(&format!("/users?briefRepresentation=true&first=0&max={HOLDERS}")).await?, &mut seen);
    let mut users: Vec<_> = seen.into_iter().collect();
    users.sort_by_key(|(_, hits)| std::cmp::Reverse(*hits));
    Ok(users.into_iter().take(USERS).map(|(user, _)| user).collect())
}

fn count(found: &Value, seen: &mut BTreeMap<String, usize>) {
    for user in elements(found) {
        *seen.entry(text(&user["id"]).to_owned()).or_default() += 1;
    }
}

/// The roles every user has tell nothing about who has many.
fn is_everybodys(role: &Value) -> bool {
    let name = text(&role["name"]);
    name.starts_with("default-roles-") || name == "offline_access" || name == "uma_authorization"
}
