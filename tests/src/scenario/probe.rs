//! Introspection: the harmless probe of refresh tokens, and what it says about access tokens.

use super::lab::Lab;
use super::{STRANGER, UI, VAULT};
use crate::harness::Result;

/// With the hint and by the owner, the probe tells unspent from spent, and books nothing.
pub async fn the_probe_tells_and_books_nothing(lab: &mut Lab) -> Result<()> {
    let first = lab.login().await?;
    for _ in 0..3 {
        let answer = lab.probe(UI, first.refresh()).await?;
        lab.expect("probe of an unspent token", &answer, "200 active");
    }
    let second = lab.refresh(UI, first.refresh()).await?;
    lab.expect("refresh after three probes", &second, "200");
    lab.seconds(1).await;
    let answer = lab.probe(UI, first.refresh()).await?;
    lab.expect("probe of the spent token", &answer, "200 inactive");
    let answer = lab.probe(UI, second.refresh()).await?;
    lab.expect("probe of its successor", &answer, "200 active");
    let answer = lab.refresh(UI, second.refresh()).await?;
    lab.expect("refresh after probing the spent one", &answer, "200");
    lab.logout(UI, second.refresh()).await?;
    let answer = lab.probe(UI, answer.refresh()).await?;
    lab.expect("probe after logout", &answer, "200 inactive");
    Ok(())
}

/// Without the hint, with another one, or by another client, the answer says nothing.
pub async fn the_probe_needs_its_hint_and_its_owner(lab: &mut Lab) -> Result<()> {
    let ui = lab.login().await?;
    let pair = lab.exchanged(ui.access()).await?;
    let answer = lab.introspect(VAULT, pair.refresh()).await?;
    lab.expect("a refresh token without a hint", &answer, "200 inactive");
    let hinted = async |lab: &Lab, token: &str, hint: &str| {
        lab.post("token/introspect", VAULT, &[("token", token), ("token_type_hint", hint)]).await
    };
    let answer = hinted(lab, pair.refresh(), "access_token").await?;
    lab.expect("a refresh token called an access token", &answer, "200 inactive");
    let answer = hinted(lab, pair.access(), "refresh_token").await?;
    lab.expect("an access token called a refresh token", &answer, "200 inactive");
    let answer = hinted(lab, pair.refresh(), "nonsense").await?;
    lab.expect("an unknown hint", &answer, "400 invalid_request: Unsupported token type.");
    let answer = lab.probe(UI, pair.refresh()).await?;
    lab.expect("by another client", &answer, "200 inactive");
    let answer = lab.probe(VAULT, "garbage").await?;
    lab.expect("garbage", &answer, "200 inactive");
    let answer = lab.post("token/introspect", VAULT, &[]).await?;
    lab.expect("nothing", &answer, "400 invalid_request: Token not provided.");
    let answer = lab.probe(VAULT, pair.refresh()).await?;
    lab.expect("properly", &answer, "200 active");
    Ok(())
}

/// An access token is only described to a client that it names in `aud`, not even to the one it was issued to.
pub async fn access_tokens_are_described_to_their_audience(lab: &mut Lab) -> Result<()> {
    let ui = lab.login().await?;
    let answer = lab.introspect(VAULT, ui.access()).await?;
    lab.expect("by the audience", &answer, "200 active");
    let answer = lab.introspect(UI, ui.access()).await?;
    lab.expect("by the client it was issued to", &answer, "200 inactive");
    let answer = lab.introspect(STRANGER, ui.access()).await?;
    lab.expect("by a stranger", &answer, "200 inactive");
    Ok(())
}

/// Where tokens may be sent more than once, `active` does not mean unspent.
pub async fn with_reuse_allowed_active_is_not_unspent(lab: &mut Lab) -> Result<()> {
    lab.settings(|s| s.refresh_token_max_reuse = 1).await?;
    let pair = lab.login().await?;
    lab.refreshed(UI, pair.refresh()).await?;
    lab.seconds(1).await;
    let answer = lab.probe(UI, pair.refresh()).await?;
    lab.expect("probe after one send", &answer, "200 active");
    lab.refreshed(UI, pair.refresh()).await?;
    let answer = lab.probe(UI, pair.refresh()).await?;
    lab.expect("probe after two sends", &answer, "200 inactive");
    Ok(())
}
