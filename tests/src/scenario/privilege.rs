//! What a user may do, and who gets to see it: roles held in whatever way, shown by introspection, hidden by a client's
//! scope.

use keycloak_double::{ClientConfig, Mapper, RealmConfig, RoleConfig, UserConfig};
use serde_json::Value;

use super::lab::{DENIED, Lab};
use super::{ALICE, UI, VAULT};
use crate::harness::Result;

/// Users who manage the realm, each in another way, and two who do not.
const PEOPLE: [&str; 6] = ["direct", "composite", "group", "group-composite", "librarian", "nobody"];

/// A realm with all of them, whose proofs are lightweight ones.
pub fn people(realm: RealmConfig) -> RealmConfig {
    let user = |name: &str| UserConfig::new(name, format!("{name}-password")).without_roles();
    let usual = |name: &str| user(name).default_roles();
    let audience = Mapper::audience(VAULT).in_lightweight_tokens();
    realm
        .with_client(UI, |c| c.without_mappers().lightweight(true).mapper(audience))
        .role("adminRole", &[])
        .role("steward", &[RoleConfig::management("view-users")])
        .group("wardens", &[RoleConfig::management("view-realm")])
        .group("stewards", &[RoleConfig::realm("steward")])
        .user(usual("direct").role(RoleConfig::management("realm-admin")))
        .user(usual("composite").role(RoleConfig::realm("steward")))
        .user(usual("group").group("wardens"))
        .user(usual("group-composite").group("stewards"))
        .user(usual("librarian").role(RoleConfig::realm("adminRole")))
        .user(user("nobody"))
}

/// Introspection of a user's proof shows the roles of `realm-management` that they hold: as their own, inside another role,
/// by a group.
pub async fn introspection_shows_roles_however_they_are_held(lab: &mut Lab) -> Result<()> {
    for name in PEOPLE {
        let body = introspected(lab, name).await?;
        let manages = body["resource_access"]["realm-management"].is_object();
        lab.fact(&format!("{name} manages the realm: {manages}"), manages != ["librarian", "nobody"].contains(&name));
        let none = body["realm_access"].is_null() && body["resource_access"].is_null();
        lab.fact(&format!("{name} shows no role: {none}"), none == (name == "nobody"));
    }
    Ok(())
}

/// The same where the client that users log in with has no full scope: nobody shows a role, whatever they may.
pub async fn clients_without_full_scope_hide_roles(lab: &mut Lab) -> Result<()> {
    lab.client(UI, |c| c.full_scope(false)).await?;
    for lightweight in [true, false] {
        lab.client(UI, |c| c.lightweight(lightweight)).await?;
        for name in ["direct", "librarian"] {
            let body = introspected(lab, name).await?;
            let none = body["realm_access"].is_null() && body["resource_access"].is_null();
            lab.fact(&format!("{name} shows no role"), none);
        }
    }
    lab.admin_mut().map_scope(UI, &RoleConfig::realm("adminRole")).await?;
    let body = introspected(lab, "librarian").await?;
    lab.note("with that role in its scope, the librarian's", &body["realm_access"]["roles"]);
    let body = introspected(lab, "direct").await?;
    lab.fact("the administrator still shows none", body["realm_access"].is_null() && body["resource_access"].is_null());
    Ok(())
}

/// Introspection shows what holds by now, not when the token was issued, with regular tokens as well.
pub async fn introspection_tells_of_now(lab: &mut Lab) -> Result<()> {
    for lightweight in [false, true] {
        lab.client(UI, |c| c.lightweight(lightweight)).await?;
        let name = if lightweight { "nobody" } else { "librarian" };
        let ui = lab.login_as(UI, name, &format!("{name}-password"), "openid").await?;
        let answer = lab.introspect(VAULT, ui.access()).await?;
        lab.expect(&format!("introspection of {name}'s proof"), &answer, "200 active");
        lab.admin().grant(name, &RoleConfig::management("manage-users")).await?;
        let answer = lab.introspect(VAULT, ui.access()).await?;
        lab.expect("introspection after a role was granted", &answer, "200 active");
        let shown = answer.body["resource_access"]["realm-management"].is_object();
        lab.fact("it shows the role", shown);
    }
    Ok(())
}

async fn introspected(lab: &mut Lab, name: &str) -> Result<Value> {
    let ui = lab.login_as(UI, name, &format!("{name}-password"), "openid").await?;
    let answer = lab.introspect(VAULT, ui.access()).await?;
    lab.expect(&format!("introspection of {name}'s proof"), &answer, "200 active");
    Ok(answer.body)
}

/// The vault's client has no full scope: its service account may impersonate only where the role is in its scope mappings.
/// The tokens it gets carry no role of the user's but that one, of whoever holds it.
pub async fn impersonation_needs_the_role_in_scope(lab: &mut Lab) -> Result<()> {
    lab.client(VAULT, |c| c.full_scope(false)).await?;
    let answer = lab.impersonate(ALICE).await?;
    lab.expect("without the role in its scope", &answer, DENIED);
    let service = lab.service_token_of(VAULT).await?;
    lab.expect("the service account's token", &service, "200");
    lab.admin_mut().map_scope(VAULT, &RoleConfig::management("impersonation")).await?;
    let answer = lab.impersonate_with(service.access(), ALICE, &[]).await?;
    lab.expect("with it, and a token from before", &answer, "200");
    let service = lab.service_token_of(VAULT).await?;
    lab.expect("the service account's token", &service, "200");
    let own = lab.impersonate("composite").await?;
    lab.expect("impersonation of a steward", &own, "200");
    let answer = lab.introspect(VAULT, own.access()).await?;
    lab.expect("introspection", &answer, "200 active");
    for (what, about) in [("the token", own.claims()), ("introspection", answer.body)] {
        let none = about["realm_access"].is_null() && about["resource_access"].is_null();
        lab.fact(&format!("{what} shows no role"), none);
    }
    let own = lab.impersonate("direct").await?;
    lab.expect("impersonation of one who may do everything", &own, "200");
    lab.note("the roles in that token", &own.claims()["resource_access"]["realm-management"]["roles"]);
    let answer = lab.impersonate_with(own.access(), ALICE, &[]).await?;
    lab.expect("impersonation with that token", &answer, "200");
    lab.client(VAULT, |c| c.lightweight(true)).await?;
    let answer = lab.impersonate(ALICE).await?;
    lab.expect("by a lightweight service token", &answer, "200");
    Ok(())
}

/// Whoever holds the role may impersonate through any client that has it in scope, and the session is that client's.
pub async fn users_with_the_role_may_impersonate(lab: &mut Lab) -> Result<()> {
    let ui = lab.login_as(UI, "direct", "direct-password", "openid").await?;
    let form = [("grant_type", super::lab::EXCHANGE), ("subject_token", ui.access()), ("requested_subject", ALICE)];
    let answer = lab.post("token", UI, &form).await?;
    lab.expect("by an administrator who logged in", &answer, "200");
    let answer = lab.refresh(UI, answer.refresh()).await?;
    lab.expect("refresh by the client it went through", &answer, "200");
    lab.client(UI, |c: ClientConfig| c.full_scope(false)).await?;
    let ui = lab.login_as(UI, "direct", "direct-password", "openid").await?;
    let form = [("grant_type", super::lab::EXCHANGE), ("subject_token", ui.access()), ("requested_subject", ALICE)];
    let answer = lab.post("token", UI, &form).await?;
    lab.expect("through a client without full scope", &answer, DENIED);
    Ok(())
}
