//! The identity provider against real Keycloak and against its stand-in: the same acts, the same results.
#![allow(clippy::disallowed_methods, reason = "tests watch real processes, so they read the real clock")]

mod faults;
mod keycloak_only;
mod stage;
mod trust;

use std::time::Duration;

use tokenvault_core::ids::AccountId;
use tokenvault_core::ports::{CallError, GrantError, Identity, IdentityProvider, ProofError, Refusal};
use tokenvault_core::secret::{AccessToken, ClientSecret, RefreshToken};
use tokenvault_keycloak::Credentials;
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::process::{SOON, wait_until};

use stage::{Setting, Stage};

fn refused<T>(result: Result<T, GrantError>) -> Option<Refusal> {
    match result.err() {
        Some(GrantError::Refused(refusal)) => Some(refusal),
        _ => None,
    }
}

/// Each behaviour once on real Keycloak and once on the stand-in.
macro_rules! on_both {
    ($($name:ident $(with $setting:expr)?;)*) => {
        mod keycloak {
            $(#[tokio::test]
            async fn $name() -> super::Result<()> {
                #[allow(unused_mut, unused_assignments)]
                let mut setting = super::Setting::default();
                $(setting = $setting;)?
                super::$name(super::Stage::keycloak(setting).await?).await
            })*
        }
        mod double {
            $(#[tokio::test]
            async fn $name() -> super::Result<()> {
                #[allow(unused_mut, unused_assignments)]
                let mut setting = super::Setting::default();
                $(setting = $setting;)?
                super::$name(super::Stage::double(setting).await?).await
            })*
        }
    };
}

on_both! {
    a_users_access_token_is_a_proof;
    a_token_of_the_vaults_own_or_a_garbled_one_is_no_proof;
    an_exchange_gives_a_pair_in_the_users_session;
    the_vaults_own_access_token_is_exchanged_again_and_again;
    a_refresh_rotates_and_a_probe_sees_it_without_harm;
    a_spent_token_betrays_itself_and_takes_its_siblings_along;
    an_impersonation_opens_a_session_that_survives_the_users_logout;
    a_logout_ends_what_was_exchanged;
    a_revocation_ends_the_client_session_and_may_be_repeated;
    a_wrong_secret_is_the_clients_fault_in_every_call;
    a_disabled_user_is_told_where_keycloak_tells;
    a_token_that_is_none_or_is_anothers_is_invalid;
    a_deposited_pair_is_refreshed_as_its_own_client;
    missing_consent_is_named;
    an_impersonation_without_the_role_is_not_allowed with super::Setting { without_impersonation: true, ..super::Setting::default() };
    an_expired_token_is_named with super::Setting { session_max: Some(10), ..super::Setting::default() };
    a_pushed_not_before_makes_tokens_stale;
    an_offline_token_has_no_end;
    an_exchange_gives_no_offline_token;
}

async fn a_users_access_token_is_a_proof(stage: Stage) -> Result<()> {
    let login = stage.login().await?;

    let proof = stage.provider.verify(&stage.tenant, &login.access).await?;

    assert_eq!(proof.subject.as_str(), stage.alice()?.as_str());
    assert_ne!(proof.user.as_str(), proof.subject.as_str());
    assert_eq!(proof.client, stage.ui.id);
    assert!(!proof.privileged && proof.scope.contains("openid"));
    Ok(())
}

async fn a_token_of_the_vaults_own_or_a_garbled_one_is_no_proof(stage: Stage) -> Result<()> {
    let login = stage.login().await?;
    let own = stage.provider.exchange(&stage.vault, &login.access).await?.access;
    let garbled = AccessToken::new(format!("{}x", &login.access.expose()[..login.access.expose().len() - 5]));
    let refresh = AccessToken::new(login.refresh.expose());

    for (token, error) in
        [(own, ProofError::Client), (garbled, ProofError::Signature), (refresh, ProofError::Algorithm)]
    {
        assert_eq!(stage.provider.verify(&stage.tenant, &token).await.err(), Some(error));
    }
    Ok(())
}

async fn an_exchange_gives_a_pair_in_the_users_session(stage: Stage) -> Result<()> {
    let login = stage.login().await?;
    let proof = stage.provider.verify(&stage.tenant, &login.access).await?;

    let grant = stage.provider.exchange(&stage.vault, &login.access).await?;

    assert_eq!(grant.account, Some(stage.alice()?));
    assert_eq!(grant.user.as_ref(), Some(&proof.user));
    assert_eq!(grant.sid.as_ref(), Some(&proof.sid));
    assert!(!grant.privileged);
    assert!(grant.expires_in > Duration::from_mins(5) && grant.expires_in <= Duration::from_mins(10));
    assert!(grant.refresh_expires_in.is_some_and(|life| life > Duration::from_hours(1)));
    Ok(())
}

async fn the_vaults_own_access_token_is_exchanged_again_and_again(stage: Stage) -> Result<()> {
    let login = stage.login().await?;
    let first = stage.provider.exchange(&stage.vault, &login.access).await?;

    for _ in 0..3 {
        let next = stage.provider.exchange(&stage.vault, &first.access).await?;
        assert_eq!(next.sid, first.sid);
        assert_ne!(next.refresh.expose(), first.refresh.expose());
    }

    assert_eq!(stage.provider.probe(&stage.vault, &first.refresh).await, Ok(true), "nothing was consumed");
    Ok(())
}

async fn a_refresh_rotates_and_a_probe_sees_it_without_harm(stage: Stage) -> Result<()> {
    let login = stage.login().await?;
    let first = stage.provider.exchange(&stage.vault, &login.access).await?;

    let next = stage.provider.refresh(&stage.vault, &first.refresh).await?;

    assert_eq!((&next.account, &next.user, &next.sid), (&first.account, &first.user, &first.sid));
    for _ in 0..2 {
        assert_eq!(stage.provider.probe(&stage.vault, &first.refresh).await, Ok(false));
        assert_eq!(stage.provider.probe(&stage.vault, &next.refresh).await, Ok(true));
    }
    assert!(stage.provider.refresh(&stage.vault, &next.refresh).await.is_ok());
    Ok(())
}

async fn a_spent_token_betrays_itself_and_takes_its_siblings_along(stage: Stage) -> Result<()> {
    let login = stage.login().await?;
    let spent = stage.provider.exchange(&stage.vault, &login.access).await?;
    let sibling = stage.provider.exchange(&stage.vault, &spent.access).await?;
    let successor = stage.provider.refresh(&stage.vault, &spent.refresh).await?;

    let reused = stage.provider.refresh(&stage.vault, &spent.refresh).await;

    assert_eq!(refused(reused), Some(Refusal::TokenReused));
    for token in [&sibling.refresh, &successor.refresh] {
        assert_eq!(stage.provider.probe(&stage.vault, token).await, Ok(false));
        let after = stage.provider.refresh(&stage.vault, token).await;
        assert_eq!(refused(after), Some(Refusal::ClientSessionGone));
    }
    Ok(())
}

async fn an_impersonation_opens_a_session_that_survives_the_users_logout(stage: Stage) -> Result<()> {
    let login = stage.login().await?;
    let proof = stage.provider.verify(&stage.tenant, &login.access).await?;

    let own = stage.provider.impersonate(&stage.vault, &stage.alice()?).await?;
    stage.logout(&login).await?;

    assert_eq!((own.account.as_ref(), own.user.as_ref()), (Some(&stage.alice()?), Some(&proof.user)));
    assert!(own.sid.is_some() && own.sid.as_ref() != Some(&proof.sid) && !own.privileged);
    let next = stage.provider.exchange(&stage.vault, &own.access).await?;
    assert_eq!(next.sid, own.sid);
    assert!(stage.provider.refresh(&stage.vault, &own.refresh).await.is_ok());
    let again = stage.provider.impersonate(&stage.vault, &stage.alice()?).await?;
    assert_ne!(again.sid, own.sid);
    Ok(())
}

async fn a_logout_ends_what_was_exchanged(stage: Stage) -> Result<()> {
    let login = stage.login().await?;
    let own = stage.provider.exchange(&stage.vault, &login.access).await?;

    stage.logout(&login).await?;

    assert_eq!(stage.provider.probe(&stage.vault, &own.refresh).await, Ok(false));
    let refreshed = stage.provider.refresh(&stage.vault, &own.refresh).await;
    assert_eq!(refused(refreshed), Some(Refusal::SessionNotActive));
    let exchanged = stage.provider.exchange(&stage.vault, &login.access).await;
    assert_eq!(refused(exchanged), Some(Refusal::SubjectInvalid));
    Ok(())
}

async fn a_revocation_ends_the_client_session_and_may_be_repeated(stage: Stage) -> Result<()> {
    let login = stage.login().await?;
    let own = stage.provider.exchange(&stage.vault, &login.access).await?;
    let sibling = stage.provider.exchange(&stage.vault, &own.access).await?;

    for _ in 0..2 {
        assert_eq!(stage.provider.revoke(&stage.vault, &own.refresh).await, Ok(()));
    }

    let after = stage.provider.refresh(&stage.vault, &sibling.refresh).await;
    assert_eq!(refused(after), Some(Refusal::ClientSessionGone));
    assert_eq!(stage.provider.revoke(&stage.vault, &RefreshToken::new("garbage")).await, Ok(()));
    let foreign = stage.provider.revoke(&stage.vault, &login.refresh).await;
    assert_eq!(foreign, Err(CallError::Refused(Refusal::TokenInvalid)));
    Ok(())
}

async fn a_wrong_secret_is_the_clients_fault_in_every_call(stage: Stage) -> Result<()> {
    let login = stage.login().await?;
    let own = stage.provider.exchange(&stage.vault, &login.access).await?;
    let provider =
        stage.provider_with(|config| config.credentials = Credentials::Secret(ClientSecret::new("wrong")))?;
    let rejected = Some(Refusal::ClientRejected);

    assert_eq!(refused(provider.exchange(&stage.vault, &login.access).await), rejected);
    assert_eq!(refused(provider.refresh(&stage.vault, &own.refresh).await), rejected);
    assert_eq!(refused(provider.impersonate(&stage.vault, &stage.alice()?).await), rejected);
    let rejected = CallError::Refused(Refusal::ClientRejected);
    assert_eq!(provider.probe(&stage.vault, &own.refresh).await, Err(rejected));
    assert_eq!(provider.revoke(&stage.vault, &own.refresh).await, Err(rejected));
    assert!(stage.provider.refresh(&stage.vault, &own.refresh).await.is_ok(), "nothing was consumed");
    Ok(())
}

async fn a_disabled_user_is_told_where_keycloak_tells(stage: Stage) -> Result<()> {
    let login = stage.login().await?;
    let own = stage.provider.exchange(&stage.vault, &login.access).await?;
    stage.enable_alice(false).await?;

    assert_eq!(refused(stage.provider.refresh(&stage.vault, &own.refresh).await), Some(Refusal::UserDisabled));
    assert_eq!(refused(stage.provider.exchange(&stage.vault, &own.access).await), Some(Refusal::SubjectInvalid));
    let impersonated = stage.provider.impersonate(&stage.vault, &stage.alice()?).await;
    assert_eq!(refused(impersonated), Some(Refusal::NotAllowed));

    stage.enable_alice(true).await?;
    assert!(stage.provider.refresh(&stage.vault, &own.refresh).await.is_ok(), "nothing was consumed");
    Ok(())
}

async fn a_token_that_is_none_or_is_anothers_is_invalid(stage: Stage) -> Result<()> {
    let login = stage.login().await?;
    let invalid = Some(Refusal::TokenInvalid);

    assert_eq!(refused(stage.provider.refresh(&stage.vault, &RefreshToken::new("garbage")).await), invalid);
    assert_eq!(refused(stage.provider.refresh(&stage.vault, &login.refresh).await), invalid);
    let no_refresh_token = RefreshToken::new(login.access.expose());
    assert_eq!(refused(stage.provider.refresh(&stage.vault, &no_refresh_token).await), invalid);
    let exchanged = stage.provider.exchange(&stage.vault, &AccessToken::new("garbage")).await;
    assert_eq!(refused(exchanged), Some(Refusal::SubjectInvalid));
    let nobody = AccountId::parse("00000000-0000-4000-8000-000000000000")?;
    assert_eq!(refused(stage.provider.impersonate(&stage.vault, &nobody).await), Some(Refusal::NotAllowed));
    assert_eq!(stage.provider.probe(&stage.vault, &RefreshToken::new("garbage")).await, Ok(false));
    assert!(stage.provider.refresh(&stage.ui, &login.refresh).await.is_ok(), "the owner's token survived");
    Ok(())
}

async fn a_deposited_pair_is_refreshed_as_its_own_client(stage: Stage) -> Result<()> {
    let login = stage.login().await?;

    assert_eq!(stage.provider.probe(&stage.ui, &login.refresh).await, Ok(true));
    let proof = stage.provider.verify(&stage.tenant, &login.access).await?;
    let next = stage.provider.refresh(&stage.ui, &login.refresh).await?;

    assert_eq!(next.identity_in_session(&proof.user, &proof.sid), Identity::Same);
    assert_eq!(stage.provider.probe(&stage.ui, &login.refresh).await, Ok(false));
    Ok(())
}

async fn missing_consent_is_named(stage: Stage) -> Result<()> {
    let login = stage.login().await?;
    let own = stage.provider.exchange(&stage.vault, &login.access).await?;
    stage.require_consent().await?;

    let missing = Some(Refusal::ConsentMissing);
    assert_eq!(refused(stage.provider.exchange(&stage.vault, &login.access).await), missing);
    assert_eq!(refused(stage.provider.refresh(&stage.vault, &own.refresh).await), missing);
    Ok(())
}

async fn an_impersonation_without_the_role_is_not_allowed(stage: Stage) -> Result<()> {
    let impersonated = stage.provider.impersonate(&stage.vault, &stage.alice()?).await;
    assert_eq!(refused(impersonated), Some(Refusal::NotAllowed));
    Ok(())
}

async fn an_expired_token_is_named(stage: Stage) -> Result<()> {
    let login = stage.login().await?;
    let own = stage.provider.exchange(&stage.vault, &login.access).await?;
    assert!(own.expires_in <= Duration::from_secs(10), "the access token is cut to the session's end");

    let inactive = async || stage.provider.probe(&stage.vault, &own.refresh).await == Ok(false);
    wait_until("the session's end", SOON, inactive).await?;

    // In the second of the end itself it is the session that is over; after it, the token.
    let expired = async || match refused(stage.provider.refresh(&stage.vault, &own.refresh).await) {
        Some(Refusal::TokenExpired) => true,
        other => {
            assert_eq!(other, Some(Refusal::SessionNotActive));
            false
        }
    };
    wait_until("the token's end", SOON, expired).await
}

async fn a_pushed_not_before_makes_tokens_stale(stage: Stage) -> Result<()> {
    let login = stage.login().await?;
    let own = stage.provider.exchange(&stage.vault, &login.access).await?;
    stage.push_not_before().await?;

    assert_eq!(refused(stage.provider.refresh(&stage.vault, &own.refresh).await), Some(Refusal::TokenStale));
    assert_eq!(refused(stage.provider.exchange(&stage.vault, &own.access).await), Some(Refusal::SubjectInvalid));
    Ok(())
}

async fn an_offline_token_has_no_end(stage: Stage) -> Result<()> {
    let login = stage.login_with_scope("openid offline_access").await?;

    let next = stage.provider.refresh(&stage.ui, &login.refresh).await?;

    assert_eq!(next.refresh_expires_in, None);
    Ok(())
}

async fn an_exchange_gives_no_offline_token(stage: Stage) -> Result<()> {
    let provider = stage.provider_with(|config| config.exchange_scope = Some("openid offline_access".to_owned()))?;
    let login = stage.login().await?;

    assert_eq!(refused(provider.exchange(&stage.vault, &login.access).await), Some(Refusal::NotAllowed));

    // Keycloak does not refuse an impersonation for that; it leaves the scope out.
    let impersonated = provider.impersonate(&stage.vault, &stage.alice()?).await?;
    assert!(impersonated.refresh_expires_in.is_some() && !impersonated.scope.contains("offline_access"));
    Ok(())
}
