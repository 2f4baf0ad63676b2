//! `panicking-serve serve --config FILE`: the product on an identity provider that panics with a token in hand, once in the
//! middle of a registration and a few times in the middle of a renewal.
//!
//! `panicking-serve after` begins as the product's own binary does, and `panicking-serve plainly` as nobody should; then
//! both panic with what they read from standard input. It must never be run for anything but tests.

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use tokenvault_core::ids::{AccountId, TenantId};
use tokenvault_core::ports::{
    CallError, Client, Grant, GrantError, IdentityProvider, Introspection, Proof, ProofError,
};
use tokenvault_core::secret::{AccessToken, RefreshToken};
use tokenvault_server::config::{Config, Environment};
use tokenvault_server::runtime::{self, Backing};
use tokenvault_server::telemetry::{logs, panics};
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::realm::claims;
use tokenvault_vault::reconciler::Reconciler;

/// Registrations for this user panic.
const UNLUCKY: &str = "bob";
/// How many renewals panic before they go well.
const RENEWALS: u32 = 2;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["serve", "--config", file] => {
            panics::install();
            serve(Path::new(file)).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
        }
        // The product's own arguments are what this process was given, so they are wrong; by then it has begun as ever.
        ["after"] => {
            let _ = tokenvault::main();
            panic_with_what_is_read()
        }
        _ => panic_with_what_is_read(),
    }
}

#[expect(clippy::panic, reason = "that is what it is for")]
fn panic_with_what_is_read() -> ExitCode {
    let mut text = String::new();
    match std::io::stdin().read_to_string(&mut text) {
        Ok(_) => panic!("in hand: {text}"),
        Err(_) => ExitCode::FAILURE,
    }
}

#[tokio::main]
async fn serve(file: &Path) -> Result<()> {
    let config = Config::load(file, &Environment::default())?;
    logs::start(&config.telemetry);
    let renewals = Arc::new(AtomicU32::new(0));
    let running = runtime::start_on(
        &config,
        Backing::Redis,
        |parts| parts.idp = Arc::new(Panicking { inner: Arc::clone(&parts.idp), renewals }),
        |parts, options, stop| Reconciler::new(parts, options).run(stop),
    )
    .await?;
    tokio::signal::ctrl_c().await?;
    running.finish().await;
    Ok(())
}

/// Keycloak, until it panics.
struct Panicking {
    inner: Arc<dyn IdentityProvider>,
    renewals: Arc<AtomicU32>,
}

#[async_trait]
impl IdentityProvider for Panicking {
    async fn verify(&self, tenant: &TenantId, token: &AccessToken) -> std::result::Result<Proof, ProofError> {
        let verified = self.inner.verify(tenant, token).await;
        let user = claims(token.expose())["preferred_username"].take();
        assert!(user != UNLUCKY, "this token was verified: {}", token.expose());
        verified
    }

    async fn exchange(&self, client: &Client, subject: &AccessToken) -> std::result::Result<Grant, GrantError> {
        self.inner.exchange(client, subject).await
    }

    async fn refresh(&self, client: &Client, token: &RefreshToken) -> std::result::Result<Grant, GrantError> {
        self.inner.refresh(client, token).await
    }

    async fn impersonate(&self, client: &Client, account: &AccountId) -> std::result::Result<Grant, GrantError> {
        self.inner.impersonate(client, account).await
    }

    async fn probe(&self, client: &Client, token: &RefreshToken) -> std::result::Result<bool, CallError> {
        let renewals = self.renewals.fetch_add(1, Ordering::Relaxed);
        assert!(renewals >= RENEWALS, "this token was to be probed: {}", token.expose());
        self.inner.probe(client, token).await
    }

    async fn introspect(&self, client: &Client, token: &AccessToken) -> std::result::Result<Introspection, CallError> {
        self.inner.introspect(client, token).await
    }

    async fn revoke(&self, client: &Client, token: &RefreshToken) -> std::result::Result<(), CallError> {
        self.inner.revoke(client, token).await
    }
}
