//! What else a proxy does to a request, and what the provider makes of it: may the token be spent, or certainly not?

use std::time::Duration;

use tokenvault_core::ports::{Cause, Grant, GrantError, IdentityProvider, Refusal};
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::process::{SOON, wait_until};
use tokenvault_tests::harness::proxy::Fault;
use tokenvault_tests::harness::realm::LabRealm;

use super::lab::Lane;

const PATIENCE: Duration = Duration::from_secs(6);

async fn refresh(lane: &Lane, pair: &Grant, fault: Fault) -> Result<Grant, GrantError> {
    lane.proxy.strike(fault, 1, "grant_type=refresh_token");
    let result = lane.through.refresh(&lane.vault, &pair.refresh).await;
    lane.proxy.clear();
    result
}

#[tokio::test]
async fn a_request_that_never_arrived_may_have_arrived_until_the_probe_says_otherwise() -> Result<()> {
    let realm = LabRealm::builder().create().await?;
    let lane = Lane::lay(&realm, PATIENCE).await?;
    let pair = lane.pair(&realm).await?;

    let dropped = refresh(&lane, &pair, Fault::DropRequest).await;
    assert_eq!(dropped.err(), Some(GrantError::Unknown(Cause::Interrupted)));
    assert!(lane.lives(&pair).await?, "it was not spent, which only the probe can tell");

    lane.proxy.set(Fault::Refuse);
    let refused = lane.through.refresh(&lane.vault, &pair.refresh).await;
    assert!(matches!(refused, Err(GrantError::Unsent(_) | GrantError::Unknown(_))), "{refused:?}");
    lane.proxy.clear();
    assert!(lane.through.refresh(&lane.vault, &pair.refresh).await.is_ok());
    Ok(())
}

#[tokio::test]
async fn an_answer_that_comes_too_late_is_unknown_and_one_that_comes_late_is_an_answer() -> Result<()> {
    let realm = LabRealm::builder().create().await?;
    let lane = Lane::lay(&realm, PATIENCE).await?;
    let own = lane.pair(&realm).await?;

    let patient = lane.next(&own).await?;
    assert!(refresh(&lane, &patient, Fault::Delay(PATIENCE / 4)).await.is_ok());

    for fault in [Fault::Delay(PATIENCE * 2), Fault::SwallowAnswer] {
        let pair = lane.next(&own).await?;
        let result = refresh(&lane, &pair, fault).await;
        assert_eq!(result.err(), Some(GrantError::Unknown(Cause::Timeout)), "{fault:?}");
        assert!(!lane.lives(&pair).await?, "it was spent, unheard");
    }
    Ok(())
}

/// The everyday renewal may be delivered twice: both are carried out, and nothing is lost.
#[tokio::test]
async fn an_exchange_that_is_delivered_twice_does_no_harm() -> Result<()> {
    let realm = LabRealm::builder().create().await?;
    let lane = Lane::lay(&realm, PATIENCE).await?;
    let mut own = lane.pair(&realm).await?;
    for (number, after) in [Duration::ZERO, Duration::from_millis(50)].into_iter().enumerate() {
        lane.proxy.strike(Fault::Duplicate(after), 1, "requested_token_type");
        let next = lane.through.exchange(&lane.vault, &own.access).await?;
        wait_until("the copy's answer", SOON, || async { lane.proxy.copies().len() > number }).await?;
        assert!(lane.lives(&own).await? && lane.lives(&next).await?);
        own = next;
    }
    assert_eq!(lane.proxy.copies(), ["HTTP/1.1 200 OK", "HTTP/1.1 200 OK"]);
    Ok(())
}

/// Nobody who holds a refresh token can survive that the network sends it twice: to Keycloak it is reuse. What must hold
/// is that this is told as what it is, and that the user's session lives on.
#[tokio::test]
async fn a_refresh_that_is_delivered_twice_is_reuse_and_is_told_as_such() -> Result<()> {
    let realm = LabRealm::builder().create().await?;
    let lane = Lane::lay(&realm, PATIENCE).await?;
    for after in [Duration::ZERO, Duration::from_millis(1500)] {
        let ui = realm.login("alice").await?;
        let proof = tokenvault_core::secret::AccessToken::new(ui.access_token.as_str());
        let pair = lane.direct.exchange(&lane.vault, &proof).await?;
        let before = lane.proxy.copies().len();

        let result = refresh(&lane, &pair, Fault::Duplicate(after)).await;
        wait_until("the copy's answer", SOON, || async { lane.proxy.copies().len() > before }).await?;

        // Either of the two may have come first where they travelled together.
        let newest = match result {
            Ok(next) => next,
            Err(error) => {
                assert_eq!(error, GrantError::Refused(Refusal::TokenReused), "{after:?}");
                pair
            }
        };
        assert!(!lane.lives(&newest).await?, "the client session is detached, and the newest token with it");
        let told = lane.direct.refresh(&lane.vault, &newest.refresh).await;
        assert_eq!(told.err(), Some(GrantError::Refused(Refusal::ClientSessionGone)));
        realm.refresh(tokenvault_tests::harness::realm::LOGIN_APP, ui.refresh()).await?;
    }
    Ok(())
}
