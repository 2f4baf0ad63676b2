//! What a token says of its user: Keycloak's own claims and the client's mappers.

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use serde_json::{Value, json};

use crate::config::{ClientConfig, Mapper, RoleConfig, Source};
use crate::state::{Realm, User};
use crate::token::IssuedClaims;

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// A regular access token.
    Regular,
    /// A lightweight access token: what is mapped for those, and nothing else.
    Lightweight,
    /// ID tokens and introspection: everything, whatever the access token hides.
    Whole,
}

impl Extent {
    fn has(self, mapper: &Mapper) -> bool {
        match self {
            Self::Regular => mapper.access_token,
            Self::Lightweight => mapper.lightweight,
            Self::Whole => true,
        }
    }
}

/// Adds to a client's token what is to be said of a user at this moment.
pub(crate) fn describe(realm: &Realm, client_id: &str, user_id: &str, extent: Extent, claims: &mut IssuedClaims) {
    let Some(client) = realm.clients.get(client_id) else { return };
    let Some(user) = realm.users.get(user_id) else { return };
    if extent != Extent::Lightweight {
        standard(realm, client, user, claims);
    }
    let (first, then): (Vec<_>, Vec<_>) =
        client.mappers.iter().filter(|m| extent.has(m)).partition(|m| m.source == Source::Subject);
    for mapper in first.into_iter().chain(then) {
        apply(mapper, client, user, claims);
    }
}

/// What Keycloak's own client scopes map.
fn standard(realm: &Realm, client: &ClientConfig, user: &User, claims: &mut IssuedClaims) {
    claims.sub = Some(user.id.clone());
    let mut put = |name: &str, value: Value| claims.extra.insert(name.to_owned(), value);
    put("acr", json!("1"));
    put("preferred_username", json!(user.config.username));
    put("email_verified", json!(false));
    if let Some(owner) = &user.service_account_of {
        put("client_id", json!(owner));
    }
    let (mut own, mut clients) = (Vec::new(), BTreeMap::<_, Vec<_>>::new());
    for role in realm.roles.seen_by(client, &user.config) {
        match role {
            RoleConfig::Realm(name) => own.push(name),
            RoleConfig::Client(id, name) => clients.entry(id).or_default().push(name),
        }
    }
    if !own.is_empty() {
        put("realm_access", json!({"roles": own}));
    }
    if !clients.is_empty() {
        let access: BTreeMap<_, _> = clients.iter().map(|(id, roles)| (id, json!({"roles": roles}))).collect();
        put("resource_access", json!(access));
    }
    for id in clients.keys().filter(|id| **id != client.client_id) {
        claims.aud.add(id);
    }
}

fn apply(mapper: &Mapper, client: &ClientConfig, user: &User, claims: &mut IssuedClaims) {
    match &mapper.source {
        Source::Audience(client) => claims.aud.add(client),
        Source::Subject => claims.sub = Some(user.id.clone()),
        Source::PairwiseSubject => claims.sub = Some(pairwise(&client.client_id, &user.id)),
        Source::Property { property, claim } => write(claims, claim, property_of(user, property)),
        Source::Attribute { attribute, claim } => {
            // Names, addresses and the like are attributes as well; Keycloak keeps them in one place.
            let own = user.config.attributes.get(attribute).cloned();
            let known = if attribute == "id" { None } else { property_of(user, attribute) };
            write(claims, claim, known.or(own));
        }
    }
}

fn property_of(user: &User, property: &str) -> Option<String> {
    match property {
        "id" => Some(user.id.clone()),
        "username" => Some(user.config.username.clone()),
        "email" => Some(format!("{}@example.org", user.born_as)),
        "firstName" => Some(user.born_as.clone()),
        "lastName" => Some("Example".to_owned()),
        _ => None,
    }
}

fn write(claims: &mut IssuedClaims, claim: &str, value: Option<String>) {
    let Some(value) = value else { return };
    if claim == "sub" {
        claims.sub = Some(value);
    } else {
        claims.extra.insert(claim.to_owned(), json!(value));
    }
}

/// The same for the same client and user, and another for each other.
fn pairwise(client_id: &str, user_id: &str) -> String {
    let hash = digest::digest(&digest::SHA256, format!("{client_id}\n{user_id}").as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_ref()[..16]);
    uuid::Builder::from_md5_bytes(bytes).into_uuid().to_string()
}
