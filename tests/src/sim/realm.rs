//! The realm of a simulation, as FOLIO has it.

use std::sync::LazyLock;

use keycloak_double::{DoubleSeededEntropy, DoubleSigningKey, Features, Keycloak, RealmConfig, Request, UserConfig};

use super::people::REALM;
use super::world::World;

/// Where the realm would be if there were a network.
pub const BASE_URL: &str = "http://keycloak.sim";

/// One key for all realms: making one takes time, and which it is makes no difference.
static KEY: LazyLock<DoubleSigningKey> =
    LazyLock::new(|| DoubleSigningKey::ed25519([7; 32]).expect("any seed makes a key"));

/// A Keycloak with a realm whose users are `user0`, `user1` and so on.
pub fn keycloak(users: usize, access_life: u64, legacy_exchange: bool, seed: u64) -> Keycloak {
    let features = Features { token_exchange_v1: legacy_exchange };
    let mut keycloak = Keycloak::new(BASE_URL, features, DoubleSeededEntropy::new(seed));
    let mut realm = RealmConfig::lab(REALM)
        .with_settings(|settings| settings.access_token_lifespan = access_life)
        .signing_key(KEY.clone());
    for user in 0..users {
        let (name, id) = (format!("user{user}"), format!("00000000-0000-4000-8000-00000000000{user}"));
        realm = realm.user(UserConfig::new(name.clone(), format!("{name}-password")).user_id(id));
    }
    keycloak.add_realm(realm).expect("a realm with a key of its own");
    keycloak
}

/// Whether Keycloak holds an access token to be active.
pub fn is_active(world: &World, access: &str) -> bool {
    let form = [("client_id", "tokenvault"), ("client_secret", "tokenvault-secret"), ("token", access)];
    let path = format!("/realms/{REALM}/protocol/openid-connect/token/introspect");
    let answer = world.keycloak.lock().handle(world.time.now_ms(), &Request::post(path, form));
    answer.body.contains("\"active\":true")
}
