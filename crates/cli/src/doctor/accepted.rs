//! The accepted clients, whose users' access tokens are proofs: whether a registration with such a token can succeed, and whether
//! Keycloak shows which users are privileged. Only an administrator's token shows these clients.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use tokenvault_keycloak::InspectionFailed;

use super::admin_api::AdminApi;
use super::realm::{AGAIN, ExaminedRealm, mapping};
use super::realm_client::{ClaimSource, RealmClient};
use super::report::DoctorReport;

/// The oldest proof that is taken where `max_proof_age` is not set.
const PROOF_AGE_CAP: Duration = Duration::from_hours(1);

/// Looks at each. `vault` is the vault's own client as the administrator sees it.
pub(super) async fn examine(
    admin_api: &AdminApi<'_>,
    vault: &RealmClient,
    settings: &Value,
    may_impersonate: bool,
    report: &mut DoctorReport,
) -> Vec<RealmClient> {
    let (check, realm) = ("accepted-client", admin_api.realm);
    let mut clients = Vec::new();
    let keys = SigningKeys::learn(admin_api).await.unwrap_or_else(|error| {
        let remedy =
            "see in the realm's settings, under keys, that none signs with Ed448 or with RSA of less than 2048 bits";
        report.unknown(check, realm.name(), format!("the realm's keys: {error}"), remedy);
        SigningKeys::default()
    });
    for name in &realm.tenant.accepted_clients {
        match admin_api.client(name.as_str()).await {
            Ok(Some(client)) => {
                proofs(realm, &client, vault, (settings, &keys), report);
                let own = client.seconds("access.token.lifespan");
                if let Some(life) = own.or_else(|| settings["accessTokenLifespan"].as_u64()) {
                    age(realm, &client.name, Duration::from_secs(life), report);
                }
                if may_impersonate {
                    roles(realm, &client, report);
                }
                clients.push(client);
            }
            Ok(None) => report.hazard(
                check,
                realm.name(),
                format!("the realm has no client {name}: nobody brings a token of it"),
                "correct `accepted_clients` (FOLIO calls the client that users log in with <tenant>-login-application)",
            ),
            Err(error) => {
                let remedy = "see the line on the realm's settings, and look at the client by hand";
                let roles = may_impersonate.then_some("roles-hidden");
                for check in [check, "proof-age", "impersonating-client", "proof-size"].into_iter().chain(roles) {
                    report.unknown(check, realm.name(), format!("{name}: {error}"), remedy);
                }
            }
        }
    }
    clients
}

/// Whether a registration with a token of the client's can succeed.
fn proofs(
    realm: &ExaminedRealm<'_>,
    client: &RealmClient,
    vault: &RealmClient,
    (settings, keys): (&Value, &SigningKeys),
    report: &mut DoctorReport,
) {
    let (check, name) = ("accepted-client", client.name.as_str());
    let problems =
        [unusable(client, settings, keys), audience(realm, client), claim(realm, client), source(realm, client, vault)];
    let (before, claim) = (report.results.len(), realm.tenant.user_id_claim.as_str());
    for (finding, remedy) in problems.into_iter().flatten() {
        report.hazard(
            check,
            realm.name(),
            format!("{name} {finding}: no registration with its tokens succeeds"),
            remedy,
        );
    }
    if report.results.len() == before {
        let kind = if client.is_lightweight() { "lightweight" } else { "regular" };
        let own = realm.tenant.client_id.as_str();
        report.fine(check, realm.name(), format!("{name}: its {kind} tokens are for {own} and carry `{claim}`"));
    }
}

type Defect = Option<(String, String)>;

/// With which keys the realm signs.
#[derive(Default)]
struct SigningKeys {
    /// The key of each algorithm that new tokens are signed with, by Keycloak's ids of them.
    active: Value,
    /// Those that the vault cannot verify with.
    unusable: BTreeSet<String>,
}

impl SigningKeys {
    async fn learn(admin_api: &AdminApi<'_>) -> Result<Self, InspectionFailed> {
        let unusable = admin_api.realm.inspector.unusable_keys().await?;
        let active = admin_api.get("/keys").await?["active"].take();
        Ok(Self { active, unusable })
    }

    fn are_usable_for(&self, algorithm: &str) -> bool {
        self.active[algorithm].as_str().is_none_or(|kid| !self.unusable.contains(kid))
    }
}

fn unusable(client: &RealmClient, settings: &Value, keys: &SigningKeys) -> Defect {
    let algorithm = match client.attribute("access.token.signed.response.alg") {
        "" => settings["defaultSignatureAlgorithm"].as_str().unwrap_or_default(),
        own => own,
    };
    if client.switch("enabled") == Some(false) {
        Some(("is disabled".to_owned(), "enable it, or take it out of `accepted_clients`".to_owned()))
    } else if client.attribute("dpop.bound.access.tokens") == "true" {
        let finding = "has tokens that are bound to their users' keys (DPoP)".to_owned();
        Some((finding, "switch \"Require DPoP bound tokens\" off for it: Keycloak exchanges no such token".to_owned()))
    } else if algorithm.starts_with("HS") {
        let finding = format!("has its tokens signed with {algorithm}, which only Keycloak can verify");
        Some((finding, "choose RS256, PS256, ES256 or EdDSA as its \"Access token signature algorithm\"".to_owned()))
    } else if !keys.are_usable_for(algorithm) {
        let finding = format!(
            "has its tokens signed with {algorithm} by a key that the vault cannot use (Ed448, or RSA of less than 2048 bits)"
        );
        Some((
            finding,
            "give the realm a key of another kind for it, with a higher priority: Ed25519, or 2048 bits".to_owned(),
        ))
    } else {
        None
    }
}

fn audience(realm: &ExaminedRealm<'_>, client: &RealmClient) -> Defect {
    let own = realm.tenant.client_id.as_str();
    let finding = client.lacks(&format!("the audience {own}"), client.carries_audience(own))?;
    Some((finding, format!("{AGAIN}, and --ui-client {}", client.name)))
}

fn claim(realm: &ExaminedRealm<'_>, client: &RealmClient) -> Defect {
    let claim = realm.tenant.user_id_claim.as_str();
    let finding = client.lacks(&format!("`{claim}`"), client.carries_claim(claim))?;
    Some((finding, format!("{}; --ui-client {} must be among them", mapping(claim), client.name)))
}

/// Whether the claim is made of the same thing in the client's tokens and in the vault's.
fn source(realm: &ExaminedRealm<'_>, client: &RealmClient, vault: &RealmClient) -> Defect {
    let claim = realm.tenant.user_id_claim.as_str();
    let (theirs, own) = (client.sources(claim), vault.sources(claim));
    if theirs.is_empty() || own.is_empty() || (theirs == own && own.len() == 1) {
        return None;
    }
    let words =
        |sources: &BTreeSet<ClaimSource>| sources.iter().map(ClaimSource::words).collect::<Vec<_>>().join(" or ");
    let finding = format!("maps {} onto `{claim}`, the vault's client {}", words(&theirs), words(&own));
    let remedy = if claim == "sub" {
        format!(
            "know users by a claim that both map alike: in FOLIO `user_id_claim = \"user_id\"`, and {AGAIN}, and --user-id-claim user_id"
        )
    } else if theirs.len() > 1 {
        format!("leave one mapper for it on {}; then {}", client.name, mapping(claim))
    } else {
        mapping(claim)
    };
    Some((finding, remedy))
}

/// Whether Keycloak shows the roles of its users, so that privileged users can be recognised and refused.
fn roles(realm: &ExaminedRealm<'_>, client: &RealmClient, report: &mut DoctorReport) {
    let (check, name) = ("roles-hidden", client.name.as_str());
    if client.shows_roles() {
        return report.fine(check, realm.name(), format!("introspection of {name}'s tokens tells their users' roles"));
    }
    report.hazard(
        check,
        realm.name(),
        format!("introspection of {name}'s tokens does not tell all roles of their users: who is privileged is not seen, and impersonation is refused where no role is"),
        format!("switch \"Full scope allowed\" on for {name}, and give it the client scope `roles` by default (with lightweight access tokens its tokens stay small); or let no job ask for `impersonate`"),
    );
}

/// The same for the realm's tokens. A client's own tokens may live longer; only an administrator sees that.
pub(super) fn age_of_the_realm(realm: &ExaminedRealm<'_>, life: Duration, remedy: &str, report: &mut DoctorReport) {
    if realm.tenant.max_proof_age.unwrap_or(PROOF_AGE_CAP) < life {
        return age(realm, "the realm", life, report);
    }
    let finding = format!(
        "tokens of the realm live {} s, and are taken as proofs all that time; whether those of an accepted client live longer is not seen",
        life.as_secs()
    );
    report.unknown("proof-age", realm.name(), finding, remedy);
}

/// Whether a proof may be as old as the client's tokens get. A UI renews them when they are over, so that at a job's start
/// they are of any age.
pub(super) fn age(realm: &ExaminedRealm<'_>, whose: &str, life: Duration, report: &mut DoctorReport) {
    let check = "proof-age";
    let configured = realm.tenant.max_proof_age;
    let accepted = configured.unwrap_or(PROOF_AGE_CAP);
    let (seconds, life_s) = (accepted.as_secs(), life.as_secs());
    if accepted >= life {
        return report.fine(
            check,
            realm.name(),
            format!("tokens of {whose} live {life_s} s, and are taken as proofs all that time"),
        );
    }
    let set = if configured.is_some() { "`max_proof_age` is" } else { "without `max_proof_age` proofs are taken for" };
    report.hazard(
        check,
        realm.name(),
        format!("{set} {seconds} s, and tokens of {whose} live {life_s} s: a registration with an older one is refused (too_old), so a part of all jobs does not start"),
        if life <= PROOF_AGE_CAP {
            "leave `max_proof_age` out: a proof may then be as old as its token gets".to_owned()
        } else {
            format!("set `max_proof_age = {life_s}`, or let access tokens live shorter")
        },
    );
}
