//! Standard token exchange (RFC 8693).

use futures::future::try_join_all;
use keycloak_double::{ClientConfig, RealmConfig};

use super::lab::{ACCESS_TOKEN, EXCHANGE, INVALID, Lab, NO_SESSION, REFRESH_TOKEN};
use super::{STRANGER, UI, VAULT};
use crate::harness::Result;

const TOO_LONG: &str = "400 invalid_request: The size of OIDC parameter 'subject_token' is longer than allowed.";

/// The user interface's access token becomes a pair of the vault's own in the same session, and the two live side by side.
pub async fn a_pair_of_ones_own_in_the_same_session(lab: &mut Lab) -> Result<()> {
    let ui = lab.login().await?;
    lab.expect("login", &ui, "200");
    let own = lab.exchange(ui.access()).await?;
    lab.expect("exchange", &own, "200");
    lab.fact("the session is the same", own.sid() == ui.sid());
    lab.life("the refresh token", &own.body["refresh_expires_in"], 1800);
    lab.seconds(1).await;
    let answer = lab.refresh(UI, ui.refresh()).await?;
    lab.expect("refresh by the user interface", &answer, "200");
    let answer = lab.refresh(VAULT, own.refresh()).await?;
    lab.expect("refresh by the vault", &answer, "200");
    let answer = lab.exchange_by(VAULT, ui.access(), REFRESH_TOKEN, &[("scope", "openid")]).await?;
    lab.expect("exchange with openid", &answer, "200");
    let answer = lab.exchange(ui.access()).await?;
    lab.expect("the next exchange remembers openid, without an ID token", &answer, "200");
    lab.logout(UI, ui.refresh()).await?;
    let answer = lab.refresh(VAULT, answer.refresh()).await?;
    lab.expect("refresh by the vault after the user's logout", &answer, NO_SESSION);
    Ok(())
}

/// A token may have 20 000 characters; a longer one is refused before anybody looks at it.
pub async fn a_subject_token_has_a_longest_length(lab: &mut Lab) -> Result<()> {
    for length in [20_000, 20_001] {
        let answer = lab.exchange(&"x".repeat(length)).await?;
        let expected = if length > 20_000 { TOO_LONG } else { INVALID };
        lab.expect(&format!("exchange of {length} characters"), &answer, expected);
    }
    let ui = lab.login().await?;
    let own = lab.exchange(ui.access()).await?;
    lab.expect("exchange of a token", &own, "200");
    Ok(())
}

/// What a token says is up to the mappers of the client that exchanges, not of the one that logged in.
pub async fn mappers_of_the_exchanging_client_count(lab: &mut Lab) -> Result<()> {
    let ui = lab.login().await?;
    let own = lab.exchange(ui.access()).await?;
    lab.expect("exchange", &own, "200");
    lab.fact("the user interface's token has a user_id", ui.claims()["user_id"].is_string());
    lab.fact("the vault's token has none", own.claims()["user_id"].is_null());
    lab.fact("it names nobody in aud", own.claims()["aud"].as_str() != Some(VAULT));
    let answer = lab.exchange(own.access()).await?;
    lab.expect("exchange of one's own token does not need one's own audience", &answer, "200");
    let answer = lab.introspect(VAULT, own.access()).await?;
    lab.expect("introspection does", &answer, "200 inactive");
    Ok(())
}

/// Exchanging one's own token consumes nothing, in a row or at once, and every unspent refresh token stays good.
pub async fn ones_own_exchange_consumes_nothing(lab: &mut Lab) -> Result<()> {
    let ui = lab.login().await?;
    let first = lab.exchanged(ui.access()).await?;
    let mut latest = first.clone();
    for _ in 0..5 {
        latest = lab.exchange(latest.access()).await?;
        lab.expect("the next exchange", &latest, "200");
    }
    let all = try_join_all((0..16).map(|_| lab.exchange(latest.access()))).await?;
    lab.note("of 16 at once succeed", all.iter().filter(|a| a.status == 200).count());
    lab.seconds(1).await;
    let answer = lab.probe(VAULT, first.refresh()).await?;
    lab.expect("probe of the first", &answer, "200 active");
    let answer = lab.refresh(VAULT, first.refresh()).await?;
    lab.expect("refresh of the first", &answer, "200");
    let answer = lab.refresh(VAULT, latest.refresh()).await?;
    lab.expect("refresh of the latest", &answer, "200");
    let answer = lab.refresh(VAULT, all[7].refresh()).await?;
    lab.expect("refresh of one in the middle", &answer, "200");
    let answer = lab.refresh(UI, ui.refresh()).await?;
    lab.expect("the user interface", &answer, "200");
    Ok(())
}

/// A token from before the client session was made anew: looking at it is harmless, exchanging it ends the whole user
/// session.
pub async fn a_stale_token_ends_the_session(lab: &mut Lab) -> Result<()> {
    let ui = lab.login().await?;
    let earlier = lab.exchanged(ui.access()).await?;
    lab.revoke(VAULT, earlier.refresh()).await?;
    let answer = lab.probe(VAULT, earlier.refresh()).await?;
    lab.expect("probe, while the client session is gone", &answer, "200 inactive");
    lab.seconds(2).await;
    let later = lab.exchanged(ui.access()).await?;

    let answer = lab.probe(VAULT, earlier.refresh()).await?;
    lab.expect("probe of the earlier refresh token", &answer, "200 inactive");
    let answer = lab.introspect(VAULT, earlier.access()).await?;
    lab.expect("introspection of the earlier access token", &answer, "200 inactive");
    let answer = lab.refresh(VAULT, earlier.refresh()).await?;
    let words = "400 invalid_grant: refresh token issued before the client session started";
    lab.expect("refresh with the earlier refresh token", &answer, words);
    let answer = lab.revoke(VAULT, earlier.refresh()).await?;
    lab.expect("revocation of the earlier refresh token", &answer, "200 invalid_token: Invalid token");
    let answer = lab.revoke(VAULT, earlier.access()).await?;
    lab.expect("revocation of the earlier access token", &answer, "200 invalid_token: Invalid token");
    let answer = lab.probe(VAULT, later.refresh()).await?;
    lab.expect("all of that was harmless", &answer, "200 active");

    let answer = lab.exchange(earlier.access()).await?;
    lab.expect("exchange of the earlier access token", &answer, INVALID);
    let answer = lab.refresh(UI, ui.refresh()).await?;
    lab.expect("the user interface", &answer, NO_SESSION);
    let answer = lab.refresh(VAULT, later.refresh()).await?;
    lab.expect("the later pair", &answer, NO_SESSION);
    Ok(())
}

/// A realm with a second user interface, whose tokens the first one may exchange.
pub fn with_a_second_interface(realm: RealmConfig) -> RealmConfig {
    realm
        .with_client(UI, ClientConfig::token_exchange)
        .with_client(STRANGER, |client| client.direct_access_grants().audience(UI))
}

/// The same of a token of another client's: what counts is when that client's session began, not the vault's. Asking about
/// the token tells, and harms nobody.
pub async fn a_stale_token_of_another_clients_ends_the_session_too(lab: &mut Lab) -> Result<()> {
    let portal = lab.login_with(STRANGER, "openid").await?;
    let earlier = lab.exchange_by(UI, portal.access(), REFRESH_TOKEN, &[]).await?;
    lab.expect("the user interface comes into the portal's session", &earlier, "200");
    lab.revoke(UI, earlier.refresh()).await?;
    lab.seconds(2).await;
    let later = lab.exchange_by(UI, portal.access(), REFRESH_TOKEN, &[]).await?;
    lab.expect("and comes again", &later, "200");

    let answer = lab.introspect(VAULT, earlier.access()).await?;
    lab.expect("introspection of its earlier access token", &answer, "200 inactive");
    let answer = lab.introspect(VAULT, later.access()).await?;
    lab.expect("introspection of its later one", &answer, "200 active");
    let answer = lab.refresh(STRANGER, portal.refresh()).await?;
    lab.expect("all of that was harmless", &answer, "200");

    let answer = lab.exchange(earlier.access()).await?;
    lab.expect("exchange of the earlier access token", &answer, INVALID);
    let answer = lab.refresh(UI, later.refresh()).await?;
    lab.expect("the user interface", &answer, NO_SESSION);
    Ok(())
}

/// While the client session is merely gone, exchanging such a token does no harm; and one made anew within the second
/// of grace takes the old tokens for its own.
pub async fn a_missing_client_session_does_no_harm(lab: &mut Lab) -> Result<()> {
    let ui = lab.login().await?;
    let own = lab.exchanged(ui.access()).await?;
    lab.revoke(VAULT, own.refresh()).await?;
    lab.seconds(2).await;
    let answer = lab.exchange(own.access()).await?;
    lab.expect("exchange while the client session is gone", &answer, INVALID);
    let answer = lab.refresh(UI, ui.refresh()).await?;
    lab.expect("the user interface", &answer, "200");

    let own = loop {
        let ui = lab.login().await?;
        let own = lab.exchanged(ui.access()).await?;
        lab.revoke(VAULT, own.refresh()).await?;
        let later = lab.exchanged(ui.access()).await?;
        // A busy machine may need longer than the grace for this: then it shows nothing.
        if later.issued() <= own.issued() + 1 {
            break own;
        }
    };
    let answer = lab.probe(VAULT, own.refresh()).await?;
    lab.expect("probe of the earlier token within the second", &answer, "200 active");
    let answer = lab.exchange(own.access()).await?;
    lab.expect("exchange of the earlier token within the second", &answer, "200");
    Ok(())
}

/// An exchange for an access token alone makes no client session, and does not keep the user's session awake.
pub async fn access_tokens_alone_leave_no_trace(lab: &mut Lab) -> Result<()> {
    lab.settings(|s| {
        s.sso_session_idle = 12;
        s.access_token_lifespan = 60;
    })
    .await?;
    let ui = lab.login().await?;
    let alone = lab.exchange_by(VAULT, ui.access(), ACCESS_TOKEN, &[]).await?;
    lab.expect("for an access token", &alone, "200");
    let answer = lab.exchange_by(VAULT, alone.access(), ACCESS_TOKEN, &[]).await?;
    lab.expect("and once more", &answer, "200");
    let answer = lab.exchange(alone.access()).await?;
    let words =
        "400 invalid_request: Refresh token not valid as requested_token_type because creating a new session is needed";
    lab.expect("then for a refresh token", &answer, words);
    let sessions = lab.admin().sessions(super::ALICE).await?;
    lab.note("sessions", format!("{sessions:?}"));
    lab.seconds(8).await;
    let answer = lab.exchange_by(VAULT, ui.access(), ACCESS_TOKEN, &[]).await?;
    lab.expect("for an access token shortly before the session is idle", &answer, "200");
    lab.seconds(6).await;
    let answer = lab.exchange_by(VAULT, ui.access(), ACCESS_TOKEN, &[]).await?;
    lab.expect("and after", &answer, INVALID);

    let ui = lab.login().await?;
    lab.seconds(8).await;
    let own = lab.exchange(ui.access()).await?;
    lab.expect("for a refresh token before the session is idle", &own, "200");
    lab.seconds(8).await;
    let answer = lab.exchange(own.access()).await?;
    lab.expect("exchange of the vault's own token after that", &answer, "200");
    let answer = lab.exchange(ui.access()).await?;
    lab.expect("exchange of the user interface's token after that", &answer, INVALID);
    Ok(())
}

/// Each client session times out by itself, silently, whatever its neighbours do. Its access tokens are invalid then, and
/// dangerous as soon as it is made anew.
pub async fn client_sessions_time_out_by_themselves(lab: &mut Lab) -> Result<()> {
    lab.settings(|s| {
        s.sso_session_idle = 12;
        s.access_token_lifespan = 60;
    })
    .await?;
    let ui = lab.login().await?;
    let own = lab.exchanged(ui.access()).await?;
    lab.seconds(8).await;
    let ui = lab.refresh(UI, ui.refresh()).await?;
    lab.expect("the user interface stays awake", &ui, "200");
    lab.seconds(8).await;
    let sessions = lab.admin().sessions(super::ALICE).await?;
    lab.note("sessions", format!("{sessions:?}"));
    let answer = lab.exchange(own.access()).await?;
    lab.expect("exchange of the vault's own token", &answer, INVALID);
    let answer = lab.introspect(VAULT, own.access()).await?;
    lab.expect("introspection of it", &answer, "200 inactive");
    let answer = lab.probe(VAULT, own.refresh()).await?;
    lab.expect("probe", &answer, "200 inactive");
    let answer = lab.exchange(ui.access()).await?;
    lab.expect("exchange of the user interface's token", &answer, "200");
    let answer = lab.exchange(own.access()).await?;
    lab.expect("exchange of the vault's own token from before", &answer, INVALID);
    let answer = lab.refresh(UI, ui.refresh()).await?;
    lab.expect("the user interface after that", &answer, NO_SESSION);
    Ok(())
}

/// Near the session's end the lives are cut to it, and then there is nothing left.
pub async fn lives_are_cut_to_the_sessions_end(lab: &mut Lab) -> Result<()> {
    lab.settings(|s| {
        s.sso_session_max = 9;
        s.sso_session_idle = 1800;
        s.access_token_lifespan = 60;
    })
    .await?;
    let ui = lab.login().await?;
    lab.life("the access token", &ui.body["expires_in"], 9);
    lab.life("the refresh token", &ui.body["refresh_expires_in"], 9);
    lab.seconds(4).await;
    let own = lab.exchange(ui.access()).await?;
    lab.expect("exchange in the middle", &own, "200");
    lab.life("the access token", &own.body["expires_in"], 4);
    lab.life("the refresh token", &own.body["refresh_expires_in"], 4);
    lab.seconds(6).await;
    let answer = lab.exchange(own.access()).await?;
    lab.expect("exchange after the end", &answer, INVALID);
    let answer = lab.refresh(VAULT, own.refresh()).await?;
    lab.expect("refresh after the end", &answer, "400 invalid_grant: Token is not active");
    Ok(())
}

/// An expired access token is as invalid as any other.
pub async fn expired_tokens_are_invalid(lab: &mut Lab) -> Result<()> {
    lab.settings(|s| s.access_token_lifespan = 1).await?;
    let ui = lab.login().await?;
    lab.seconds(2).await;
    let answer = lab.exchange(ui.access()).await?;
    lab.expect("exchange of an expired token", &answer, INVALID);
    let answer = lab.introspect(VAULT, ui.access()).await?;
    lab.expect("introspection of it", &answer, "200 inactive");
    let answer = lab.refresh(UI, ui.refresh()).await?;
    lab.expect("refresh", &answer, "200");
    Ok(())
}

/// Refusals of the parameters, none of which hurts.
pub async fn refusals_do_no_harm(lab: &mut Lab) -> Result<()> {
    let ui = lab.login().await?;
    let own = lab.exchanged(ui.access()).await?;
    for (more, words) in [
        (("audience", "nobody"), "400 invalid_client: Audience not found"),
        (("audience", STRANGER), "400 invalid_request: Requested audience not available: stranger"),
        (("scope", "nonsense"), "400 invalid_scope: Invalid scopes: nonsense"),
        (
            ("scope", "openid offline_access"),
            "400 invalid_request: Scope offline_access not allowed for token exchange",
        ),
    ] {
        let answer = lab.exchange_by(VAULT, ui.access(), REFRESH_TOKEN, &[more]).await?;
        lab.expect(more.1, &answer, words);
    }
    let answer = lab.exchange_by(VAULT, ui.access(), REFRESH_TOKEN, &[("audience", VAULT)]).await?;
    lab.expect("one's own audience", &answer, "200");
    let answer = lab.exchange_by(VAULT, ui.access(), "nonsense", &[]).await?;
    lab.expect("an unknown type", &answer, "400 invalid_request: requested_token_type unsupported");
    let answer = lab.exchange(own.refresh()).await?;
    lab.expect("a refresh token as the subject", &answer, INVALID);
    let answer = lab.exchange("garbage").await?;
    lab.expect("garbage as the subject", &answer, INVALID);
    let id_token = ui.body["id_token"].as_str().unwrap_or_default();
    let answer = lab.exchange(id_token).await?;
    lab.expect("an ID token as the subject", &answer, INVALID);
    let form = [("grant_type", EXCHANGE), ("subject_token", ui.access()), ("subject_token_type", REFRESH_TOKEN)];
    let answer = lab.post("token", VAULT, &form).await?;
    lab.expect(
        "an access token called a refresh token",
        &answer,
        "400 invalid_request: Invalid token type, must be access token",
    );
    let answer = lab.refresh(VAULT, own.refresh()).await?;
    lab.expect("the pair from before", &answer, "200");
    Ok(())
}

/// Who may exchange: the client the token was issued to, and those it names in `aud`.
pub async fn only_the_audience_may_exchange(lab: &mut Lab) -> Result<()> {
    let ui = lab.login().await?;
    let answer = lab.exchange_by(STRANGER, ui.access(), REFRESH_TOKEN, &[]).await?;
    lab.expect("by a client outside aud", &answer, "403 access_denied: Client is not within the token audience");
    let own = lab.exchanged(ui.access()).await?;
    let answer = lab.exchange_by(UI, own.access(), REFRESH_TOKEN, &[]).await?;
    lab.expect("the other way round", &answer, "403 access_denied: Client is not within the token audience");
    Ok(())
}

/// Where a client may not use the standard exchange, the legacy one takes over if the server has it: it grants what the
/// standard one would have refused.
pub async fn the_legacy_exchange_takes_over(lab: &mut Lab) -> Result<()> {
    lab.client(VAULT, keycloak_double::ClientConfig::no_token_exchange).await?;
    let ui = lab.login().await?;
    let own = lab.exchange(ui.access()).await?;
    lab.expect("exchange by a client without the standard one", &own, "200");
    let answer = lab.refresh(VAULT, own.refresh()).await?;
    lab.expect("refresh", &answer, "200");
    let answer = lab.exchange(own.access()).await?;
    lab.expect("exchange of one's own", &answer, "200");
    let answer = lab.exchange_by(VAULT, ui.access(), REFRESH_TOKEN, &[("audience", STRANGER)]).await?;
    lab.expect("for another audience", &answer, super::lab::DENIED);

    lab.client(VAULT, keycloak_double::ClientConfig::token_exchange_without_refresh_tokens).await?;
    let answer = lab.exchange(ui.access()).await?;
    lab.expect(
        "for a refresh token, where only access tokens are allowed",
        &answer,
        "400 invalid_request: requested_token_type unsupported",
    );
    let answer = lab.exchange_by(VAULT, ui.access(), ACCESS_TOKEN, &[]).await?;
    lab.expect("for an access token", &answer, "200");
    Ok(())
}

/// Offline sessions lend themselves for access tokens only.
pub async fn offline_sessions_give_access_tokens_only(lab: &mut Lab) -> Result<()> {
    let offline = lab.login_with(UI, "openid offline_access").await?;
    lab.expect("offline login", &offline, "200");
    let answer = lab.exchange(offline.access()).await?;
    let words =
        "400 invalid_request: Refresh token not valid as requested_token_type because creating a new session is needed";
    lab.expect("exchange for a refresh token", &answer, words);
    let answer = lab.exchange_by(VAULT, offline.access(), ACCESS_TOKEN, &[]).await?;
    lab.expect("exchange for an access token", &answer, "200");
    let service = lab.service_token().await?;
    let answer = lab.exchange(&service).await?;
    lab.expect("a service account's token for a refresh token", &answer, words);
    let answer = lab.exchange_by(VAULT, &service, ACCESS_TOKEN, &[]).await?;
    lab.expect("a service account's token for an access token", &answer, "200");
    Ok(())
}
