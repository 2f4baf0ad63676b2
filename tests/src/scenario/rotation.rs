//! The refresh grant: rotation, reuse, chains.

use futures::future::try_join_all;

use super::lab::{DETACHED, Lab, NO_SESSION, SPENT, STALE};
use super::{UI, VAULT};
use crate::harness::Result;

/// A refresh gives a new pair and leaves the old access token valid.
pub async fn old_access_tokens_stay_valid(lab: &mut Lab) -> Result<()> {
    let first = lab.login().await?;
    lab.expect("login", &first, "200");
    lab.life("the access token", &first.body["expires_in"], 180);
    lab.life("the refresh token", &first.body["refresh_expires_in"], 1800);
    let second = lab.refresh(UI, first.refresh()).await?;
    lab.expect("refresh", &second, "200");
    lab.fact("the refresh token is a new one", first.refresh() != second.refresh());
    for (which, pair) in [("old", &first), ("new", &second)] {
        let answer = lab.introspect(VAULT, pair.access()).await?;
        lab.expect(&format!("introspection of the {which} access token"), &answer, "200 active");
    }
    Ok(())
}

/// A spent token detaches the client session: its newest token, its sibling chains, its access tokens. Other clients in
/// the same user session notice nothing.
pub async fn reuse_detaches_the_client_session(lab: &mut Lab) -> Result<()> {
    let ui = lab.login().await?;
    let spent = lab.exchanged(ui.access()).await?;
    let sibling = lab.exchanged(ui.access()).await?;
    let next = lab.refreshed(VAULT, spent.refresh()).await?;
    lab.seconds(1).await;
    let answer = lab.refresh(VAULT, spent.refresh()).await?;
    lab.expect("the spent token again", &answer, SPENT);
    let answer = lab.refresh(VAULT, next.refresh()).await?;
    lab.expect("its successor", &answer, DETACHED);
    let answer = lab.refresh(VAULT, sibling.refresh()).await?;
    lab.expect("the sibling chain", &answer, DETACHED);
    let answer = lab.introspect(VAULT, next.access()).await?;
    lab.expect("introspection of the successor's access token", &answer, "200 inactive");
    let answer = lab.refresh(UI, ui.refresh()).await?;
    lab.expect("the user interface", &answer, "200");
    let sessions = lab.admin().sessions(super::ALICE).await?;
    lab.note("sessions", format!("{sessions:?}"));
    Ok(())
}

/// Even the only client's reuse leaves the user session itself standing, with no client in it.
pub async fn reuse_leaves_an_empty_session(lab: &mut Lab) -> Result<()> {
    let first = lab.login().await?;
    let second = lab.refreshed(UI, first.refresh()).await?;
    lab.seconds(1).await;
    let answer = lab.refresh(UI, first.refresh()).await?;
    lab.expect("the spent token again", &answer, SPENT);
    let answer = lab.refresh(UI, second.refresh()).await?;
    lab.expect("its successor", &answer, DETACHED);
    let answer = lab.logout(UI, second.refresh()).await?;
    lab.expect("logout", &answer, "204");
    let answer = lab.refresh(UI, second.refresh()).await?;
    lab.expect("the successor after it", &answer, NO_SESSION);
    Ok(())
}

/// How often a busy machine may try to get four requests into one second.
const ATTEMPTS: u32 = 20;

/// The bookkeeping is in whole seconds: what is rotated twice within one may come back.
pub async fn bookkeeping_is_in_whole_seconds(lab: &mut Lab) -> Result<()> {
    let mut attempts = 0;
    let (again, third) = loop {
        lab.begin_second().await;
        let first = lab.login().await?;
        let second = lab.refreshed(UI, first.refresh()).await?;
        let third = lab.refreshed(UI, second.refresh()).await?;
        let again = lab.refresh(UI, first.refresh()).await?;
        // A busy machine may need more than a second for this: then it shows nothing.
        attempts += 1;
        if again.issued() == first.issued() || attempts == ATTEMPTS {
            break (again, third);
        }
    };
    lab.expect("the first again, within the same second", &again, "200");
    let answer = lab.refresh(UI, third.refresh()).await?;
    lab.expect("the third", &answer, "200");
    Ok(())
}

/// An older ancestor is stale, which detaches just as reuse does.
pub async fn an_ancestor_is_stale(lab: &mut Lab) -> Result<()> {
    let first = lab.login().await?;
    lab.seconds(1).await;
    let second = lab.refreshed(UI, first.refresh()).await?;
    lab.seconds(1).await;
    let third = lab.refreshed(UI, second.refresh()).await?;
    let answer = lab.refresh(UI, first.refresh()).await?;
    lab.expect("the first again", &answer, STALE);
    let answer = lab.refresh(UI, third.refresh()).await?;
    lab.expect("the third", &answer, DETACHED);
    Ok(())
}

/// A maximum reuse of N allows N + 1 sends, and only the child issued last may be used.
pub async fn max_reuse_counts_further_sends(lab: &mut Lab) -> Result<()> {
    lab.settings(|s| s.refresh_token_max_reuse = 1).await?;
    let parent = lab.login().await?;
    for expected in ["200", "200", SPENT] {
        let answer = lab.refresh(UI, parent.refresh()).await?;
        lab.expect("the same token", &answer, expected);
    }

    let parent = lab.login().await?;
    lab.seconds(1).await;
    let elder = lab.refreshed(UI, parent.refresh()).await?;
    lab.seconds(1).await;
    let younger = lab.refreshed(UI, parent.refresh()).await?;
    lab.seconds(1).await;
    let grandchild = lab.refreshed(UI, younger.refresh()).await?;
    let answer = lab.refresh(UI, elder.refresh()).await?;
    lab.expect("the elder child after the younger was used", &answer, STALE);
    let answer = lab.refresh(UI, grandchild.refresh()).await?;
    lab.expect("the grandchild", &answer, DETACHED);
    Ok(())
}

/// Without rotation the same token works again and again.
pub async fn without_rotation_tokens_come_back(lab: &mut Lab) -> Result<()> {
    lab.settings(|s| s.revoke_refresh_token = false).await?;
    let pair = lab.login().await?;
    lab.seconds(1).await;
    for _ in 0..3 {
        let answer = lab.refresh(UI, pair.refresh()).await?;
        lab.expect("the same token", &answer, "200");
    }
    Ok(())
}

/// Another client's token is refused, and survives.
pub async fn a_foreign_token_survives(lab: &mut Lab) -> Result<()> {
    let ui = lab.login().await?;
    let answer = lab.refresh(VAULT, ui.refresh()).await?;
    let words = "400 invalid_grant: Invalid refresh token. Token client and authorized client don't match";
    lab.expect("refresh by another client", &answer, words);
    let answer = lab.refresh(UI, ui.refresh()).await?;
    lab.expect("refresh by its own", &answer, "200");
    Ok(())
}

/// Of many refreshes of one token at the same time as many succeed as may, and the winner's token is dead as well.
pub async fn simultaneous_refreshes_kill_the_winner(lab: &mut Lab) -> Result<()> {
    for max_reuse in [0, 1] {
        lab.settings(|s| s.refresh_token_max_reuse = max_reuse).await?;
        let pair = lab.login().await?;
        lab.seconds(1).await;
        let answers = try_join_all((0..16).map(|_| lab.refresh(UI, pair.refresh()))).await?;
        let winners: Vec<_> = answers.into_iter().filter(|a| a.status == 200).collect();
        lab.note(&format!("with max reuse {max_reuse} so many of 16 win"), winners.len());
        for winner in winners {
            let answer = lab.refresh(UI, winner.refresh()).await?;
            lab.expect("a winner's token", &answer, DETACHED);
        }
    }
    Ok(())
}

/// Two chains of one client rotate side by side.
pub async fn chains_rotate_independently(lab: &mut Lab) -> Result<()> {
    let ui = lab.login().await?;
    let mut one = lab.exchanged(ui.access()).await?;
    let mut two = lab.exchanged(ui.access()).await?;
    for _ in 0..2 {
        lab.seconds(1).await;
        one = lab.refresh(VAULT, one.refresh()).await?;
        lab.expect("the first chain", &one, "200");
        two = lab.refresh(VAULT, two.refresh()).await?;
        lab.expect("the second chain", &two, "200");
    }
    Ok(())
}

/// The answer to a refresh is lost: the old token probes inactive, a spare chain goes on, and only a blind retry does harm.
pub async fn a_spare_chain_survives_a_lost_answer(lab: &mut Lab) -> Result<()> {
    let ui = lab.login().await?;
    let pair = lab.exchanged(ui.access()).await?;
    let spare = lab.exchanged(pair.access()).await?;
    lab.refreshed(VAULT, pair.refresh()).await?;
    let answer = lab.probe(VAULT, pair.refresh()).await?;
    lab.expect("probe of the spent token", &answer, "200 inactive");
    let next = lab.refresh(VAULT, spare.refresh()).await?;
    lab.expect("the spare", &next, "200");
    let answer = lab.exchange(next.access()).await?;
    lab.expect("exchange of the spare's access token", &answer, "200");
    lab.seconds(1).await;
    let answer = lab.refresh(VAULT, pair.refresh()).await?;
    lab.expect("the blind retry", &answer, SPENT);
    let answer = lab.refresh(VAULT, next.refresh()).await?;
    lab.expect("the spare after it", &answer, DETACHED);
    let answer = lab.exchange(next.access()).await?;
    lab.expect("exchange of its access token", &answer, super::lab::INVALID);
    let answer = lab.refresh(UI, ui.refresh()).await?;
    lab.expect("the user interface", &answer, "200");
    Ok(())
}
