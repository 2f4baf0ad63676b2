//! Who a token says the user is, and what of it users and administrators can change: names, attributes, and never
//! Keycloak's own id.

use keycloak_double::{Mapper, RealmConfig};

use super::lab::{DENIED, Lab};
use super::transcript::Reply;
use super::{ALICE, UI, VAULT};
use crate::harness::Result;

/// The user interface maps the user's name onto `sub`, as FOLIO's does.
pub fn name_for_sub(realm: RealmConfig) -> RealmConfig {
    let by_name = Mapper::property("username", "sub").in_lightweight_tokens();
    realm.users_edit_themselves().with_client(UI, |c| c.mapper(by_name).mapper(Mapper::subject()))
}

/// `sub` is what each client's mappers make of it: in one session two clients' tokens may name the user differently. The
/// subject mapper loses against one that maps a property onto `sub`.
pub async fn sub_is_up_to_each_clients_mappers(lab: &mut Lab) -> Result<()> {
    let ui = lab.login().await?;
    lab.expect("login", &ui, "200");
    lab.note("the user interface's sub", &ui.claims()["sub"]);
    let own = lab.exchange(ui.access()).await?;
    lab.expect("exchange", &own, "200");
    lab.fact("the vault's sub is another", own.claims()["sub"] != ui.claims()["sub"]);
    lab.fact("it is Keycloak's own id", own.claims()["sub"] == own.claims()["keycloak_user_id"]);
    lab.fact("the session is the same", own.sid() == ui.sid());
    lab.fact("the user id is the same", own.claims()["user_id"] == ui.claims()["user_id"]);
    let answer = lab.introspect(VAULT, ui.access()).await?;
    lab.expect("introspection of the user interface's token", &answer, "200 active");
    lab.note("its sub", &answer.body["sub"]);
    Ok(())
}

/// A rename changes `sub` where the name is mapped onto it, and neither session, user id nor Keycloak's own id; tokens from
/// before stay good.
pub async fn a_rename_changes_nothing_but_names(lab: &mut Lab) -> Result<()> {
    let (ui, old) = (lab.login().await?, lab.login().await?);
    let own = lab.exchanged(ui.access()).await?;
    lab.admin().rename(ALICE, "alicia").await?;

    let again = lab.refresh(UI, ui.refresh()).await?;
    lab.expect("refresh by the user interface", &again, "200");
    lab.note("its sub", &again.claims()["sub"]);
    let next = lab.exchange(own.access()).await?;
    lab.expect("exchange of the vault's own token", &next, "200");
    for name in ["sid", "sub", "user_id", "keycloak_user_id"] {
        lab.fact(&format!("its {name} is what it was"), next.claims()[name] == own.claims()[name]);
    }
    let answer = lab.refresh(VAULT, own.refresh()).await?;
    lab.expect("refresh by the vault", &answer, "200");
    let answer = lab.exchange(old.access()).await?;
    lab.expect("exchange of a proof with the old name", &answer, "200");
    let answer = lab.introspect(VAULT, old.access()).await?;
    lab.expect("introspection of it", &answer, "200 active");
    lab.note("its sub by now", &answer.body["sub"]);
    lab.note("its username", &answer.body["username"]);
    let answer = lab.impersonate(ALICE).await?;
    lab.expect("impersonation by the old name", &answer, DENIED);
    let id = own.claims()["keycloak_user_id"].as_str().unwrap_or_default().to_owned();
    let answer = lab.impersonate(&id).await?;
    lab.expect("impersonation by Keycloak's own id", &answer, "200");
    Ok(())
}

/// Attributes are whatever was written into them; a property cannot be written. An attribute named `id` does not stand in
/// for the property `id`.
pub async fn no_attribute_hides_a_property(lab: &mut Lab) -> Result<()> {
    let said = |lab: &mut Lab, when: &str, reply: &Reply, before: &Reply| {
        let (now, then) = (reply.claims(), before.claims());
        lab.note(&format!("the user id {when}"), &now["user_id"]);
        lab.note(&format!("the attribute id {when}"), &now["attribute_id"]);
        lab.note(&format!("a property that is none {when}"), &now["no_property"]);
        lab.fact(
            &format!("Keycloak's own id {when} is as before"),
            now["keycloak_user_id"] == then["keycloak_user_id"],
        );
        lab.fact(&format!("sub {when} is as before"), now["sub"] == then["sub"]);
    };
    let ui = lab.login().await?;
    let first = lab.exchanged(ui.access()).await?;
    said(lab, "at first", &first, &first.clone());
    let bob = "11111111-2222-4333-8444-555555555555";
    lab.admin().set_attribute(ALICE, "id", bob).await?;
    lab.admin().set_attribute(ALICE, "user_id", bob).await?;
    lab.admin().set_attribute(ALICE, "keycloak_user_id", bob).await?;
    let next = lab.exchanged(first.access()).await?;
    said(lab, "in the next exchange", &next, &first);
    let other = lab.impersonated().await?;
    said(lab, "in another session", &other, &first);
    let answer = lab.impersonate(bob).await?;
    lab.expect("impersonation by what was written", &answer, DENIED);
    Ok(())
}

/// The realm for it.
pub fn attributes(realm: RealmConfig) -> RealmConfig {
    realm.users_edit_themselves().with_client(VAULT, |c| {
        c.mapper(Mapper::attribute("id", "attribute_id")).mapper(Mapper::property("user_id", "no_property"))
    })
}

/// A pairwise `sub` is another for each client, and no name by which anybody can be impersonated.
pub async fn pairwise_subjects_differ_by_client(lab: &mut Lab) -> Result<()> {
    let ui = lab.login().await?;
    lab.expect("login", &ui, "200");
    let own = lab.exchange(ui.access()).await?;
    lab.expect("exchange", &own, "200");
    lab.fact("the vault's sub is another", own.claims()["sub"] != ui.claims()["sub"]);
    lab.fact("the session is the same", own.sid() == ui.sid());
    let again = lab.refresh(UI, ui.refresh()).await?;
    lab.expect("refresh by the user interface", &again, "200");
    lab.fact("its sub is what it was", again.claims()["sub"] == ui.claims()["sub"]);
    let pairwise = ui.claims()["sub"].as_str().unwrap_or_default().to_owned();
    let answer = lab.impersonate(&pairwise).await?;
    lab.expect("impersonation by the pairwise sub", &answer, DENIED);
    let answer = lab.introspect(VAULT, ui.access()).await?;
    lab.expect("introspection of the user interface's token", &answer, "200 active");
    Ok(())
}

/// The realm for it.
pub fn pairwise(realm: RealmConfig) -> RealmConfig {
    realm.with_client(UI, |c| c.mapper(Mapper::pairwise_subject()))
}
