//! What goes wrong between the vault and Keycloak, as the provider tells it: whether a token may have been spent.

use std::time::Duration;

use keycloak_double::{Endpoint, Fault, Moment};
use tokenvault_core::ports::{CallError, Cause, GrantError, IdentityProvider, ProofError};
use tokenvault_tests::harness::{Result, ports};

use super::stage::{Backing, Setting, Stage, provider};

async fn stage() -> Result<Stage> {
    Stage::double(Setting::default()).await
}

fn next_fault(stage: &Stage, endpoint: Endpoint, fault: Fault) {
    if let Backing::Double(double) = &stage.backing {
        double.faults().next(endpoint, fault);
    }
}

#[tokio::test]
async fn while_keycloak_is_away_nothing_is_sent() -> Result<()> {
    let stage = stage().await?;
    let login = stage.login().await?;
    let issuer = format!("http://127.0.0.1:{}/realms/lab", ports::free()?);
    let config = tokenvault_keycloak::TenantConfig::new(
        &issuer,
        None,
        stage.vault.id.clone(),
        tokenvault_keycloak::Credentials::Secret(tokenvault_core::secret::ClientSecret::new("secret")),
    )?;
    let away = provider(&stage.tenant, config)?;

    let unsent = Some(GrantError::Unsent(Cause::Connect));
    assert_eq!(away.refresh(&stage.vault, &login.refresh).await.err(), unsent);
    assert_eq!(away.exchange(&stage.vault, &login.access).await.err(), unsent);
    assert_eq!(away.impersonate(&stage.vault, &stage.alice()?).await.err(), unsent);
    let no_answer = Err(CallError::NoAnswer(Cause::Connect));
    assert_eq!(away.probe(&stage.vault, &login.refresh).await, no_answer);
    assert_eq!(away.verify(&stage.tenant, &login.access).await.err(), Some(ProofError::KeysUnavailable));
    Ok(())
}

#[tokio::test]
async fn an_answer_that_cannot_be_believed_leaves_the_outcome_open() -> Result<()> {
    let stage = stage().await?;
    let login = stage.login().await?;
    for (fault, cause) in [
        (Fault::Status(Moment::Before, 500), Cause::ServerError),
        (Fault::Status(Moment::After, 503), Cause::ServerError),
        (Fault::Html(Moment::After, 200), Cause::Unintelligible),
        (Fault::Html(Moment::Before, 400), Cause::Unintelligible),
        (Fault::Html(Moment::Before, 403), Cause::Unintelligible),
        (Fault::Html(Moment::After, 502), Cause::ServerError),
        (Fault::Drop(Moment::Before), Cause::Interrupted),
        (Fault::Drop(Moment::After), Cause::Interrupted),
    ] {
        let own = stage.provider.exchange(&stage.vault, &login.access).await?;
        next_fault(&stage, Endpoint::Refresh, fault);
        let refreshed = stage.provider.refresh(&stage.vault, &own.refresh).await;
        assert_eq!(refreshed.err(), Some(GrantError::Unknown(cause)), "{fault:?}");
    }
    Ok(())
}

#[tokio::test]
async fn an_answer_cut_anywhere_leaves_the_outcome_open_and_the_token_is_sent_once() -> Result<()> {
    let stage = stage().await?;
    let login = stage.login().await?;
    for bytes in (0..1500).step_by(37) {
        let own = stage.provider.exchange(&stage.vault, &login.access).await?;
        next_fault(&stage, Endpoint::Refresh, Fault::Cut(bytes));
        let refreshed = stage.provider.refresh(&stage.vault, &own.refresh).await;
        let error = refreshed.err();
        assert!(matches!(error, Some(GrantError::Unknown(_))), "cut at {bytes}: {error:?}");
        assert_eq!(stage.provider.probe(&stage.vault, &own.refresh).await, Ok(false), "it was spent, unheard");
    }
    Ok(())
}

#[tokio::test]
async fn a_late_answer_leaves_the_outcome_open() -> Result<()> {
    let stage = stage().await?;
    let login = stage.login().await?;
    let own = stage.provider.exchange(&stage.vault, &login.access).await?;
    next_fault(&stage, Endpoint::Refresh, Fault::Delay(Duration::from_mins(1)));

    let refreshed = stage.provider.refresh(&stage.vault, &own.refresh).await;

    assert_eq!(refreshed.err(), Some(GrantError::Unknown(Cause::Timeout)));
    assert_eq!(stage.provider.probe(&stage.vault, &own.refresh).await, Ok(false), "it was spent, unheard");
    Ok(())
}
