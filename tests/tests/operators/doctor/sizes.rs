//! How big tokens get for users whose roles come by groups and by roles that contain others, in a realm with more users than
//! are looked at.

use keycloak_double::Role;
use reqwest::Method;
use serde_json::{Value, json};
use tokenvault_tests::harness::folio::FolioRealm;
use tokenvault_tests::harness::{Failure, Result};

use crate::doctor::stage::Stage;

/// More than are looked at.
const USERS: usize = 60;

/// A realm with 400 roles that nobody has, and a vault with full scope.
async fn crowded() -> Result<Stage> {
    let crowd = (0..USERS).fold(FolioRealm::builder().many_roles(400), |realm, n| realm.user(&format!("crowd-{n}")));
    let stage = Stage::on_folio(crowd).await?;
    stage.set_up(&["--protect-user-id", "--full-scope"]).await?;
    let (admin, realm) = (stage.realm().admin(), stage.realm().name());
    let holder = admin.user_id(realm, "diku_many").await?;
    admin.delete_user(realm, &holder).await?;
    Ok(stage)
}

/// The roles that nobody has.
async fn many(stage: &Stage) -> Result<Value> {
    let (admin, realm) = (stage.realm().admin(), stage.realm().name());
    let roles = admin.call(Method::GET, &format!("/{realm}/roles?first=0&max=1000"), None).await?;
    let many = roles.as_array().into_iter().flatten();
    let many = many.filter(|role| role["name"].as_str().is_some_and(|name| name.starts_with("default-migrated-role-")));
    Ok(many.cloned().collect())
}

/// A user, the last by name, in a group within a group.
async fn in_a_group_within_a_group(stage: &Stage) -> Result<(String, String)> {
    let (admin, realm) = (stage.realm().admin(), stage.realm().name());
    let group = async |path: &str, name: &str| {
        admin.call(Method::POST, &format!("/{realm}{path}"), Some(&json!({ "name": name }))).await?;
        let groups = admin.call(Method::GET, &format!("/{realm}{path}?search={name}"), None).await?;
        let id = groups.as_array().into_iter().flatten().find(|group| group["name"] == name);
        id.and_then(|group| group["id"].as_str()).map(str::to_owned).ok_or_else(|| Failure::new("no group"))
    };
    let outer = group("/groups", "staff").await?;
    let inner = group(&format!("/groups/{outer}/children"), "cataloguers").await?;
    let user = admin.create_user(realm, &json!({ "username": "zz-last", "enabled": true })).await?;
    admin.call(Method::PUT, &format!("/{realm}/users/{user}/groups/{inner}"), None).await?;
    Ok((user, outer))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_whose_roles_come_by_a_group_is_seen() -> Result<()> {
    let stage = crowded().await?;
    let (user, group) = in_a_group_within_a_group(&stage).await?;
    let (admin, realm) = (stage.realm().admin(), stage.realm().name());
    let path = format!("/{realm}/groups/{group}/role-mappings/realm");
    admin.call(Method::POST, &path, Some(&many(&stage).await?)).await?;

    stage.examine_whole(&[]).await?.expect_only("token-size", &user, "but without --full-scope")?;

    // Without full scope tokens do not grow with anybody's roles.
    stage.set_up(&[]).await?;
    let found = stage.examine_whole(&[]).await?;
    assert!(found.succeeded && found.verdict("token-size") == "fine", "{found}");
    assert!(found.finding("token-size").contains(&format!("of {} users", USERS + 4)), "{found}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_whose_roles_come_by_one_that_contains_them_is_seen_and_a_part_of_the_users_is_not_called_fine()
-> Result<()> {
    let stage = crowded().await?;
    let (user, group) = in_a_group_within_a_group(&stage).await?;

    let found = stage.examine_whole(&[]).await?;
    assert!(found.succeeded && found.verdict("token-size") == "not_checked", "somebody else may have more: {found}");
    assert!(found.remedy("token-size").contains("but without --full-scope"), "{found}");

    let (admin, realm) = (stage.realm().admin(), stage.realm().name());
    admin.call(Method::POST, &format!("/{realm}/roles"), Some(&json!({ "name": "everything" }))).await?;
    admin.call(Method::POST, &format!("/{realm}/roles/everything/composites"), Some(&many(&stage).await?)).await?;
    let (of, role) = admin.role(realm, &Role::realm("everything")).await?;
    admin.call(Method::POST, &format!("/{realm}/groups/{group}/role-mappings/{of}"), Some(&json!([role]))).await?;
    stage.examine_whole(&[]).await?.expect_only("token-size", &user, "but without --full-scope")
}
