//! How sessions and tokens end, and in which words the next request hears of it.

use super::lab::{DETACHED, INVALID, Lab, NO_SESSION, SPENT, STALE};
use super::{ALICE, UI, VAULT};
use crate::harness::Result;

/// Logout with any refresh token of the session, even a spent one, ends it for every client.
pub async fn logout_ends_it_for_everybody(lab: &mut Lab) -> Result<()> {
    let ui = lab.login().await?;
    let other = lab.login().await?;
    let own = lab.exchanged(ui.access()).await?;
    let newer = lab.refreshed(VAULT, own.refresh()).await?;
    lab.seconds(1).await;
    let answer = lab.logout(UI, own.refresh()).await?;
    let words = "400 invalid_grant: Invalid refresh token. Token client and authorized client don't match";
    lab.expect("logout with another client's token", &answer, words);
    let answer = lab.logout(VAULT, own.refresh()).await?;
    lab.expect("logout with a spent token", &answer, "204");
    let answer = lab.refresh(VAULT, newer.refresh()).await?;
    lab.expect("the vault", &answer, NO_SESSION);
    let answer = lab.refresh(UI, ui.refresh()).await?;
    lab.expect("the user interface", &answer, NO_SESSION);
    let answer = lab.exchange(ui.access()).await?;
    lab.expect("exchange", &answer, INVALID);
    let answer = lab.introspect(VAULT, ui.access()).await?;
    lab.expect("introspection", &answer, "200 inactive");
    let answer = lab.logout(VAULT, own.refresh()).await?;
    lab.expect("logout once more", &answer, "204");
    let answer = lab.refresh(UI, other.refresh()).await?;
    lab.expect("the user's other login", &answer, "200");
    Ok(())
}

/// Revoking a refresh token, even a spent one, takes its client session with all its chains, and no other client's; a
/// session in which nobody is left disappears.
pub async fn revocation_takes_the_client_session(lab: &mut Lab) -> Result<()> {
    let ui = lab.login().await?;
    let own = lab.exchanged(ui.access()).await?;
    let sibling = lab.exchanged(ui.access()).await?;
    lab.refreshed(VAULT, own.refresh()).await?;
    let answer = lab.revoke(UI, own.refresh()).await?;
    lab.expect("revocation by another client", &answer, "400 invalid_request: Unmatching clients");
    let answer = lab.revoke(VAULT, own.refresh()).await?;
    lab.expect("revocation of a spent token", &answer, "200");
    let answer = lab.refresh(VAULT, sibling.refresh()).await?;
    lab.expect("the sibling chain", &answer, DETACHED);
    let answer = lab.revoke(VAULT, own.refresh()).await?;
    lab.expect("revocation once more", &answer, "200 invalid_token: Invalid token");
    let answer = lab.refresh(UI, ui.refresh()).await?;
    lab.expect("the user interface", &answer, "200");
    let answer = lab.revoke(UI, answer.refresh()).await?;
    lab.expect("revocation by the last client", &answer, "200");
    let answer = lab.refresh(UI, ui.refresh()).await?;
    lab.expect("the user interface afterwards", &answer, NO_SESSION);
    Ok(())
}

/// Revoking an access token makes it alone inactive, unless a token of its client was exchanged: then what came out of that
/// is detached, and after an exchange of one's own, one's own client session with it.
pub async fn revocation_reaches_what_was_exchanged(lab: &mut Lab) -> Result<()> {
    let ui = lab.login().await?;
    let answer = lab.revoke(UI, ui.access()).await?;
    lab.expect("revocation of a plain access token", &answer, "200");
    let answer = lab.introspect(VAULT, ui.access()).await?;
    lab.expect("introspection of it", &answer, "200 inactive");
    let answer = lab.exchange(ui.access()).await?;
    lab.expect("exchange of it", &answer, INVALID);
    let ui = lab.refresh(UI, ui.refresh()).await?;
    lab.expect("refresh", &ui, "200");

    let own = lab.exchanged(ui.access()).await?;
    lab.revoke(UI, ui.access()).await?;
    let answer = lab.refresh(VAULT, own.refresh()).await?;
    lab.expect("the vault after the user interface's access token was revoked", &answer, DETACHED);
    let ui = lab.refresh(UI, ui.refresh()).await?;
    lab.expect("the user interface after that", &ui, "200");

    lab.seconds(2).await;
    let first = lab.exchanged(ui.access()).await?;
    let second = lab.exchanged(first.access()).await?;
    lab.revoke(VAULT, first.access()).await?;
    let answer = lab.refresh(VAULT, second.refresh()).await?;
    lab.expect("the newest pair after an old access token of one's own was revoked", &answer, DETACHED);

    lab.seconds(2).await;
    let own = lab.exchanged(ui.access()).await?;
    lab.revoke(UI, ui.refresh()).await?;
    let answer = lab.refresh(VAULT, own.refresh()).await?;
    lab.expect("the vault after the user interface's refresh token was revoked", &answer, NO_SESSION);
    Ok(())
}

/// Revoking an access token that has expired reaches what was exchanged, too.
pub async fn revocation_of_an_expired_token(lab: &mut Lab) -> Result<()> {
    lab.settings(|s| s.access_token_lifespan = 5).await?;
    let ui = lab.login().await?;
    let own = lab.exchanged(ui.access()).await?;
    lab.seconds(6).await;
    let answer = lab.revoke(UI, ui.access()).await?;
    lab.expect("revocation of an expired access token", &answer, "200");
    let answer = lab.refresh(VAULT, own.refresh()).await?;
    lab.expect("what was exchanged from it", &answer, DETACHED);
    Ok(())
}

/// A disabled user is refused and comes back unharmed.
pub async fn a_disabled_user_comes_back(lab: &mut Lab) -> Result<()> {
    let ui = lab.login().await?;
    let own = lab.exchanged(ui.access()).await?;
    lab.admin().enable_user(ALICE, false).await?;
    let answer = lab.refresh(VAULT, own.refresh()).await?;
    lab.expect("refresh", &answer, "400 invalid_grant: User disabled");
    let answer = lab.probe(VAULT, own.refresh()).await?;
    lab.expect("probe", &answer, "200 inactive");
    let answer = lab.exchange(own.access()).await?;
    lab.expect("exchange", &answer, INVALID);
    let answer = lab.introspect(VAULT, ui.access()).await?;
    lab.expect("introspection", &answer, "200 inactive");
    let answer = lab.login_with(UI, "openid").await?;
    lab.expect("login", &answer, "400 invalid_grant: Account disabled");
    lab.admin().enable_user(ALICE, true).await?;
    let answer = lab.exchange(own.access()).await?;
    lab.expect("exchange after the user is enabled again", &answer, "200");
    let answer = lab.refresh(VAULT, own.refresh()).await?;
    lab.expect("refresh after the user is enabled again", &answer, "200");
    Ok(())
}

/// A deleted user leaves no session behind.
pub async fn a_deleted_user_leaves_nothing(lab: &mut Lab) -> Result<()> {
    let ui = lab.login().await?;
    let own = lab.impersonated().await?;
    lab.admin().delete_user(ALICE).await?;
    let answer = lab.refresh(UI, ui.refresh()).await?;
    lab.expect("refresh", &answer, NO_SESSION);
    let answer = lab.refresh(VAULT, own.refresh()).await?;
    lab.expect("refresh in a session of one's own", &answer, NO_SESSION);
    let answer = lab.probe(VAULT, own.refresh()).await?;
    lab.expect("probe", &answer, "200 inactive");
    let answer = lab.exchange(ui.access()).await?;
    lab.expect("exchange", &answer, INVALID);
    let answer = lab.impersonate(ALICE).await?;
    lab.expect("impersonation", &answer, super::lab::DENIED);
    Ok(())
}

/// An administrator ends one session, or all of a user's, those of one's own included.
pub async fn administrators_end_sessions(lab: &mut Lab) -> Result<()> {
    let ui = lab.login().await?;
    let shared = lab.exchanged(ui.access()).await?;
    let own = lab.impersonated().await?;
    lab.admin().delete_session(&ui.sid()).await?;
    let answer = lab.refresh(VAULT, shared.refresh()).await?;
    lab.expect("in the session that was deleted", &answer, NO_SESSION);
    let answer = lab.probe(VAULT, shared.refresh()).await?;
    lab.expect("probe there", &answer, "200 inactive");
    let own = lab.refresh(VAULT, own.refresh()).await?;
    lab.expect("in another session", &own, "200");
    let ui = lab.login().await?;
    lab.seconds(1).await;
    lab.admin().logout_user(ALICE).await?;
    let answer = lab.refresh(UI, ui.refresh()).await?;
    lab.expect("after the user was logged out", &answer, NO_SESSION);
    let answer = lab.refresh(VAULT, own.refresh()).await?;
    lab.expect("in a session of one's own after that", &answer, NO_SESSION);
    let answer = lab.exchange(ui.access()).await?;
    lab.expect("exchange after that", &answer, INVALID);
    Ok(())
}

/// Pushed not-before makes tokens stale, in the same words as a stale chain, but deletes nothing.
pub async fn not_before_deletes_nothing(lab: &mut Lab) -> Result<()> {
    let ui = lab.login().await?;
    let own = lab.exchanged(ui.access()).await?;
    lab.seconds(2).await;
    lab.admin().push_not_before(lab.admin().second()).await?;
    let answer = lab.refresh(VAULT, own.refresh()).await?;
    lab.expect("refresh", &answer, STALE);
    let answer = lab.probe(VAULT, own.refresh()).await?;
    lab.expect("probe", &answer, "200 inactive");
    let answer = lab.exchange(ui.access()).await?;
    lab.expect("exchange", &answer, INVALID);
    lab.admin().push_not_before(0).await?;
    let answer = lab.refresh(VAULT, own.refresh()).await?;
    lab.expect("refresh after it was taken back", &answer, "200");
    let answer = lab.exchange(ui.access()).await?;
    lab.expect("exchange after it was taken back", &answer, "200");
    Ok(())
}

/// An idle session is over.
pub async fn an_idle_session_is_over(lab: &mut Lab) -> Result<()> {
    lab.settings(|s| s.sso_session_idle = 10).await?;
    let ui = lab.login().await?;
    lab.life("the refresh token", &ui.body["refresh_expires_in"], 10);
    lab.seconds(6).await;
    let next = lab.refresh(UI, ui.refresh()).await?;
    lab.expect("refresh in time", &next, "200");
    lab.seconds(6).await;
    let next = lab.refresh(UI, next.refresh()).await?;
    lab.expect("and again in time", &next, "200");
    lab.seconds(12).await;
    let answer = lab.refresh(UI, next.refresh()).await?;
    lab.expect("refresh too late", &answer, "400 invalid_grant: Token is not active");
    let answer = lab.probe(UI, next.refresh()).await?;
    lab.expect("probe too late", &answer, "200 inactive");
    let answer = lab.exchange(next.access()).await?;
    lab.expect("exchange of a token that would still live", &answer, INVALID);
    Ok(())
}

/// A new key signs at once and the old one still verifies, until it is removed. Refresh tokens have a key of their own.
pub async fn signing_keys_come_and_go(lab: &mut Lab) -> Result<()> {
    let ui = lab.login().await?;
    lab.admin().rotate_key().await?;
    let own = lab.exchange(ui.access()).await?;
    lab.expect("exchange of a token signed with the old key", &own, "200");
    lab.fact("the new token is signed with another key", kid(ui.access()) != kid(own.access()));
    lab.admin().remove_old_keys().await?;
    let answer = lab.exchange(ui.access()).await?;
    lab.expect("exchange after the old key was removed", &answer, INVALID);
    let answer = lab.introspect(VAULT, ui.access()).await?;
    lab.expect("introspection after the old key was removed", &answer, "200 inactive");
    let answer = lab.exchange(own.access()).await?;
    lab.expect("exchange of a token signed with the new key", &answer, "200");
    let answer = lab.refresh(UI, ui.refresh()).await?;
    lab.expect("refresh with a token from before all that", &answer, "200");
    Ok(())
}

fn kid(token: &str) -> Option<String> {
    jsonwebtoken::decode_header(token).ok()?.kid
}

/// Missing consent is a matter of scope, and the probe does not know of it.
pub async fn missing_consent_is_a_matter_of_scope(lab: &mut Lab) -> Result<()> {
    let ui = lab.login().await?;
    let own = lab.exchanged(ui.access()).await?;
    lab.client(VAULT, |c| c.consent_required(true)).await?;
    let answer = lab.exchange(ui.access()).await?;
    let words = "400 invalid_scope: Missing consents for Token Exchange in client tokenvault";
    lab.expect("exchange", &answer, words);
    let answer = lab.refresh(VAULT, own.refresh()).await?;
    let words = "400 invalid_scope: Client no longer has requested consent from user";
    lab.expect("refresh", &answer, words);
    let answer = lab.probe(VAULT, own.refresh()).await?;
    lab.expect("probe", &answer, "200 active");
    let answer = lab.impersonate(ALICE).await?;
    lab.expect("impersonation", &answer, "400 invalid_client: Client requires user consent");
    lab.client(VAULT, |c| c.consent_required(false)).await?;
    let answer = lab.refresh(VAULT, own.refresh()).await?;
    lab.expect("refresh when it is not needed any more", &answer, "200");
    Ok(())
}

/// A disabled client is unknown, and its tokens are nobody's.
pub async fn a_disabled_client_is_unknown(lab: &mut Lab) -> Result<()> {
    let ui = lab.login().await?;
    let own = lab.exchanged(ui.access()).await?;
    lab.client(UI, |c| c.enabled(false)).await?;
    let answer = lab.refresh(UI, ui.refresh()).await?;
    let words = "401 invalid_client: Invalid client or Invalid client credentials";
    lab.expect("refresh by the disabled client", &answer, words);
    let answer = lab.exchange(ui.access()).await?;
    lab.expect("exchange of its access token", &answer, INVALID);
    let answer = lab.introspect(VAULT, ui.access()).await?;
    lab.expect("introspection of its access token", &answer, "200 inactive");
    let answer = lab.refresh(VAULT, own.refresh()).await?;
    lab.expect("refresh by the other client in the session", &answer, "200");
    lab.client(UI, |c| c.enabled(true)).await?;
    let answer = lab.refresh(UI, ui.refresh()).await?;
    lab.expect("refresh when it is enabled again", &answer, "200");
    Ok(())
}

/// Offline tokens outlive logins and know reuse; an administrator's logout makes them stale.
pub async fn offline_tokens_outlive_logins(lab: &mut Lab) -> Result<()> {
    let offline = lab.login_with(UI, "openid offline_access").await?;
    lab.expect("offline login", &offline, "200");
    lab.note("its refresh_expires_in", &offline.body["refresh_expires_in"]);
    let ui = lab.login().await?;
    lab.logout(UI, ui.refresh()).await?;
    let next = lab.refresh(UI, offline.refresh()).await?;
    lab.expect("refresh after another session's logout", &next, "200");
    let answer = lab.probe(UI, next.refresh()).await?;
    lab.expect("probe", &answer, "200 active");
    lab.seconds(1).await;
    let answer = lab.refresh(UI, offline.refresh()).await?;
    lab.expect("the spent token again", &answer, SPENT);
    let answer = lab.refresh(UI, next.refresh()).await?;
    lab.expect("its successor", &answer, DETACHED);

    let offline = lab.login_with(UI, "openid offline_access").await?;
    lab.seconds(1).await;
    lab.admin().logout_user(ALICE).await?;
    let answer = lab.refresh(UI, offline.refresh()).await?;
    lab.expect("after the user was logged out by an administrator", &answer, STALE);
    let answer = lab.logout(UI, offline.refresh()).await?;
    lab.expect("logout", &answer, "204");
    let answer = lab.refresh(UI, offline.refresh()).await?;
    lab.expect("after it", &answer, "400 invalid_grant: Offline user session not found");

    let offline = lab.login_with(UI, "openid offline_access").await?;
    let answer = lab.revoke(UI, offline.refresh()).await?;
    lab.expect("revocation", &answer, "200");
    let answer = lab.refresh(UI, offline.refresh()).await?;
    lab.expect("after it", &answer, "400 invalid_grant: Offline user session not found");
    Ok(())
}
