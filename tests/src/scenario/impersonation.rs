//! Sessions of the vault's own: the legacy exchange with `requested_subject`.

use keycloak_double::ServiceAccountConfig;

use super::lab::{ACCESS_TOKEN, DENIED, DETACHED, EXCHANGE, INVALID, Lab, NO_SESSION, REFRESH_TOKEN, SPENT};
use super::{ALICE, UI, VAULT};
use crate::harness::Result;

/// Every impersonation opens a session of its own, which the user's logout does not touch.
pub async fn every_impersonation_is_a_session_of_its_own(lab: &mut Lab) -> Result<()> {
    let ui = lab.login().await?;
    let one = lab.impersonate(ALICE).await?;
    lab.expect("impersonation by name", &one, "200");
    let id = ui.claims()["sub"].as_str().unwrap_or_default().to_owned();
    let two = lab.impersonate(&id).await?;
    lab.expect("impersonation by id", &two, "200");
    lab.fact("the sessions differ", one.sid() != two.sid() && one.sid() != ui.sid());
    let answer = lab.introspect(VAULT, one.access()).await?;
    lab.expect("introspection names who acts", &answer, "200 active");
    let answer = lab.exchange(one.access()).await?;
    lab.expect("exchange inside it", &answer, "200");
    lab.logout(UI, ui.refresh()).await?;
    let answer = lab.refresh(VAULT, one.refresh()).await?;
    lab.expect("refresh after the user's logout", &answer, "200");
    let answer = lab.exchange(two.access()).await?;
    lab.expect("exchange after the user's logout", &answer, "200");
    let answer = lab.exchange(ui.access()).await?;
    lab.expect("exchange of the user interface's token", &answer, INVALID);
    Ok(())
}

/// What may be asked for: the scopes of the service account's token and no others, an access token alone, no other
/// client's audience.
pub async fn impersonation_grants_what_the_service_account_has(lab: &mut Lab) -> Result<()> {
    let service = lab.service_token().await?;
    let ask = async |lab: &Lab, more: &[(&str, &str)]| lab.impersonate_with(&service, ALICE, more).await;
    let answer = ask(lab, &[]).await?;
    lab.expect("nothing in particular", &answer, "200");
    let answer = ask(lab, &[("requested_token_type", ACCESS_TOKEN)]).await?;
    lab.expect("an access token", &answer, "200");
    let answer = ask(lab, &[("subject_token_type", ACCESS_TOKEN)]).await?;
    lab.expect("with the subject's type", &answer, "200");
    let answer = ask(lab, &[("scope", "openid offline_access")]).await?;
    lab.expect("more scopes than the service account's token has", &answer, "200");
    let answer = ask(lab, &[("scope", "nonsense")]).await?;
    lab.expect("an unknown scope", &answer, "200");
    let answer = ask(lab, &[("audience", UI)]).await?;
    lab.expect("another client's audience", &answer, DENIED);
    let answer = ask(lab, &[("audience", "nobody")]).await?;
    lab.expect("an unknown audience", &answer, "400 invalid_client: Audience not found");
    let answer = ask(lab, &[("requested_token_type", "nonsense")]).await?;
    lab.expect("an unknown type", &answer, "400 invalid_request: requested_token_type unsupported");
    let answer = ask(lab, &[("subject_token_type", REFRESH_TOKEN)]).await?;
    lab.expect("a wrong subject type", &answer, "400 invalid_request: Invalid token type, must be access token");
    Ok(())
}

/// Who may not, and whom one may not: always in the same words.
pub async fn impersonation_is_denied_in_the_same_words(lab: &mut Lab) -> Result<()> {
    let answer = lab.impersonate("nobody").await?;
    lab.expect("an unknown user", &answer, DENIED);
    lab.admin().enable_user(ALICE, false).await?;
    let answer = lab.impersonate(ALICE).await?;
    lab.expect("a disabled user", &answer, DENIED);
    lab.admin().enable_user(ALICE, true).await?;
    let ui = lab.login().await?;
    let answer = lab.impersonate_with(ui.access(), "bob", &[]).await?;
    lab.expect("by a user without the role", &answer, DENIED);
    let own = lab.exchanged(ui.access()).await?;
    let answer = lab.impersonate_with(own.access(), "bob", &[]).await?;
    lab.expect("by a user through the vault's client", &answer, DENIED);
    let answer = lab.impersonate_with("garbage", ALICE, &[]).await?;
    lab.expect("by garbage", &answer, INVALID);
    let answer = lab.post("token", VAULT, &[("grant_type", EXCHANGE), ("requested_subject", ALICE)]).await?;
    let words = "500 unknown_error: For more on this error consult the server log.";
    lab.expect("by nobody at all", &answer, words);
    lab.admin_mut().may_impersonate(false).await?;
    let answer = lab.impersonate(ALICE).await?;
    lab.expect("without the role", &answer, DENIED);
    lab.admin_mut().may_impersonate(true).await?;
    let answer = lab.impersonate(ALICE).await?;
    lab.expect("with the role again", &answer, "200");
    Ok(())
}

/// The role counts when it is used: a service token from before it was taken away is no good any more.
pub async fn the_role_is_looked_up_at_each_use(lab: &mut Lab) -> Result<()> {
    let service = lab.service_token().await?;
    lab.admin_mut().may_impersonate(false).await?;
    let answer = lab.impersonate_with(&service, ALICE, &[]).await?;
    lab.expect("with a token from before the role was taken", &answer, DENIED);
    Ok(())
}

/// Impersonation takes no notice of a logout, so a live session must be proved in another way.
pub async fn impersonation_does_not_ask_for_a_login(lab: &mut Lab) -> Result<()> {
    let ui = lab.login().await?;
    lab.logout(UI, ui.refresh()).await?;
    let answer = lab.impersonate(ALICE).await?;
    lab.expect("after the user's logout", &answer, "200");
    lab.admin().logout_user(ALICE).await?;
    let answer = lab.impersonate(ALICE).await?;
    lab.expect("after a logout by an administrator", &answer, "200");
    lab.admin().push_not_before(lab.admin().second()).await?;
    lab.seconds(1).await;
    let answer = lab.impersonate(ALICE).await?;
    lab.expect("after not-before was pushed", &answer, "200");
    Ok(())
}

/// A user whose *name* is another user's id is taken in that one's place.
pub async fn names_come_before_ids(lab: &mut Lab) -> Result<()> {
    let trap = lab.impersonate(TRAP_ID).await?;
    lab.expect("impersonation by an id that is also a name", &trap, "200");
    lab.note("the username in the answer", &trap.claims()["preferred_username"]);
    lab.fact("the sub is another", trap.claims()["sub"] != TRAP_ID);
    Ok(())
}

/// The id of a user in the realm of [`names_come_before_ids`], and the name of another.
pub const TRAP_ID: &str = "7d7f4a33-6a01-4a3b-8d0a-6f1f3a1f9b11";

/// In a session opened by impersonation, detached by reuse, the probe fails instead of saying no, and introspection says
/// yes about access tokens that no exchange takes any more.
pub async fn a_detached_session_of_ones_own_looks_alive(lab: &mut Lab) -> Result<()> {
    let first = lab.impersonated().await?;
    let second = lab.refreshed(VAULT, first.refresh()).await?;
    lab.seconds(1).await;
    let answer = lab.refresh(VAULT, first.refresh()).await?;
    lab.expect("the spent token again", &answer, SPENT);
    let answer = lab.probe(VAULT, second.refresh()).await?;
    lab.expect("probe of its successor", &answer, "400 invalid_request: Failed to introspect token.");
    let answer = lab.introspect(VAULT, second.access()).await?;
    lab.expect("introspection of its access token", &answer, "200 active");
    let answer = lab.refresh(VAULT, second.refresh()).await?;
    lab.expect("refresh of the successor", &answer, DETACHED);
    let answer = lab.exchange(second.access()).await?;
    lab.expect("exchange of its access token", &answer, INVALID);
    let answer = lab.revoke(VAULT, second.refresh()).await?;
    lab.expect("revocation of the successor", &answer, "200");
    let answer = lab.refresh(VAULT, second.refresh()).await?;
    lab.expect("refresh after it", &answer, DETACHED);
    Ok(())
}

/// Revoking a refresh token ends a session of one's own, for nobody else is in it; revoking an access token does not, until
/// it was exchanged.
pub async fn revocation_ends_a_session_of_ones_own(lab: &mut Lab) -> Result<()> {
    let own = lab.impersonated().await?;
    let answer = lab.revoke(VAULT, own.refresh()).await?;
    lab.expect("revocation of the refresh token", &answer, "200");
    let answer = lab.refresh(VAULT, own.refresh()).await?;
    lab.expect("refresh after it", &answer, NO_SESSION);
    let answer = lab.probe(VAULT, own.refresh()).await?;
    lab.expect("probe after it", &answer, "200 inactive");
    let sessions = lab.admin().sessions(ALICE).await?;
    lab.note("sessions", format!("{sessions:?}"));

    let own = lab.impersonated().await?;
    lab.revoke(VAULT, own.access()).await?;
    let next = lab.refresh(VAULT, own.refresh()).await?;
    lab.expect("refresh after revocation of the access token", &next, "200");
    let newest = lab.exchanged(next.access()).await?;
    lab.revoke(VAULT, next.access()).await?;
    let answer = lab.refresh(VAULT, newest.refresh()).await?;
    lab.expect("refresh after revocation of an access token that was exchanged", &answer, DETACHED);
    Ok(())
}

/// A client that can act for itself but was never given the role.
pub async fn a_plain_service_account_may_not(lab: &mut Lab) -> Result<()> {
    let answer = lab.impersonate(ALICE).await?;
    lab.expect("impersonation", &answer, DENIED);
    Ok(())
}

/// The realm for [`a_plain_service_account_may_not`].
pub fn plain(realm: keycloak_double::RealmConfig) -> keycloak_double::RealmConfig {
    realm.with_client(VAULT, |c| c.service_account(ServiceAccountConfig::Plain))
}
