//! One set of questions, two identity providers: a real Keycloak and the stand-in. Each scenario runs against both at
//! the same time, says what it expects, and leaves a transcript; the expectations must hold and the transcripts agree.
//!
//! A scenario must never look at which provider it talks to, and never touch a realm that is not its own.

pub mod endings;
pub mod exchange;
pub mod idp;
pub mod impersonation;
pub mod lab;
pub mod lightweight;
pub mod people;
pub mod privilege;
pub mod probe;
pub mod refusals;
pub mod rotation;
pub mod transcript;

use std::panic::AssertUnwindSafe;
use std::sync::OnceLock;

use futures::FutureExt as _;
use keycloak_double::{ClientConfig, DoubleSigningKey, RealmConfig, RealmSettings, UserConfig};
use tokio::sync::Semaphore;

use crate::harness::{Failure, Result};
use idp::Idp;
use lab::Lab;
use transcript::Transcript;

/// So many realms at a time: more would only make Keycloak slow, and slow answers straddle seconds.
static PLACES: Semaphore = Semaphore::const_new(4);

/// The client that a user interface logs in with. Its tokens name the vault in `aud`.
pub const UI: &str = "login-app";
/// The vault's client.
pub const VAULT: &str = "tokenvault";
/// A client that is in nobody's audience.
pub const STRANGER: &str = "stranger";
/// The user who logs in.
pub const ALICE: &str = "alice";

/// The laboratory realm of the demonstration, with a stranger and a second user.
pub fn realm() -> RealmConfig {
    RealmConfig::lab(unique_name())
        .with_settings(lives)
        .client(ClientConfig::new(STRANGER, "stranger-secret").token_exchange())
        .user(UserConfig::new("bob", "bob-password"))
}

/// A realm as FOLIO makes it, set up for the vault.
pub fn folio() -> RealmConfig {
    RealmConfig::folio_like(unique_name()).with_settings(lives)
}

fn unique_name() -> String {
    format!("scenario-{}", uuid::Uuid::new_v4().simple())
}

fn lives(settings: &mut RealmSettings) {
    settings.access_token_lifespan = 180;
    settings.sso_session_idle = 1800;
    settings.sso_session_max = 36_000;
}

/// Runs a scenario against both providers, in realms made from `realm`, and compares what they said.
pub async fn agree<S>(realm: RealmConfig, scenario: S) -> Result<()>
where
    S: AsyncFn(&mut Lab) -> Result<()>,
{
    let Ok(_place) = PLACES.acquire().await else { return Err(Failure::new("the semaphore is never closed")) };
    let real = Idp::real(&realm).await?;
    let double = Idp::double(&realm, key()).await?;
    let (real, double) = tokio::join!(run(real, &scenario), run(double, &scenario));
    let (real, double) = (real?, double?);
    let mut complaints = real.complaints("Keycloak");
    complaints.extend(double.complaints("the stand-in"));
    complaints.extend(real.differences(&double));
    if complaints.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("\n  {}\nKeycloak's transcript:\n{real}", complaints.join("\n  "))))
}

/// Runs a scenario and clears up behind it, whatever happened.
async fn run<S>(idp: Idp, scenario: &S) -> Result<Transcript>
where
    S: AsyncFn(&mut Lab) -> Result<()>,
{
    let name = idp.name();
    let mut lab = Lab::new(idp)?;
    let outcome = AssertUnwindSafe(scenario(&mut lab)).catch_unwind().await;
    let (idp, transcript) = lab.into_parts();
    idp.clear().await?;
    match outcome {
        Ok(Ok(())) => Ok(transcript),
        Ok(Err(failure)) => Err(failure.context(format!("with {name}, after\n{transcript}"))),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// One key for all of the stand-in's realms: making one takes longer than most scenarios.
fn key() -> DoubleSigningKey {
    static KEY: OnceLock<DoubleSigningKey> = OnceLock::new();
    KEY.get_or_init(|| DoubleSigningKey::generate().expect("the system has randomness")).clone()
}
