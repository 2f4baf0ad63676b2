//! Whom the vault never impersonates: whoever may administer the realm, however they may, and whatever of it the vault's own
//! client gets to see.

use serde_json::json;
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::folio::{FolioRealm, Holding};
use tokenvault_tests::harness::realm::{LabUser, VAULT, claims};
use tokenvault_tests::harness::redis::Redis;
use tokenvault_tests::harness::setup_script::FOLIO;

use crate::folio::stage::{Files, REGISTRAR, unique};

const LIGHTWEIGHT: &str = "client.use.lightweight.access.token.enabled";

/// An administrator of each kind.
async fn administrators(realm: &FolioRealm) -> Result<Vec<LabUser>> {
    let mut users = Vec::new();
    for (holding, role) in
        [(Holding::Direct, "view-users"), (Holding::Composite, "manage-users"), (Holding::Group, "realm-admin")]
    {
        let user = realm.add_user(&format!("{holding:?}").to_lowercase()).await?;
        realm.grant_management(&user, role, holding).await?;
        users.push(user);
    }
    Ok(users)
}

async fn nobody_impersonates_an_administrator(realm: FolioRealm) -> Result<()> {
    let (files, redis) = (Files::new()?, Redis::start().await?);
    files.set_up(&[realm.name()], FOLIO).await?;
    files.add_tenant(&realm, &[])?;
    let vault = files.vault(&redis).await?.start().await?;
    let client = vault.client(REGISTRAR)?.for_tenant(realm.name())?;
    let users = administrators(&realm).await?;
    let admin = realm.user("diku_admin")?;
    let register = async |user: &LabUser, acquisition: &str| {
        let (job, proof) = (unique("job"), realm.login(user).await?);
        let body = json!({ "access_token": proof.access_token, "acquisition": acquisition });
        client.put(&job, &body).await.map(|answer| (job, answer))
    };

    for (full, lightweight) in [(false, false), (true, false), (false, true), (true, true)] {
        let shape = format!("full scope {full}, lightweight {lightweight}");
        let mut own = realm.admin().client(realm.name(), VAULT).await?;
        own["fullScopeAllowed"] = json!(full);
        own["attributes"][LIGHTWEIGHT] = json!(lightweight.to_string());
        realm.admin().put_client(realm.name(), &own).await?;

        for user in &users {
            let (_, answer) = register(user, "impersonate").await?;
            assert_eq!((answer.status.as_u16(), answer.code()), (422, "unsupported"), "{user:?}, {shape}: {answer:?}");
            let sessions = realm.admin().sessions(realm.name(), &user.sub).await?;
            let own = sessions.iter().filter(|session| !session.to_string().contains(realm.login_client()));
            assert_eq!(own.count(), 0, "{user:?}, {shape}: a session was opened");
        }
        // FOLIO's own administrator administers FOLIO, not Keycloak.
        let (job, answer) = register(admin, "impersonate").await?;
        answer.expect_status(201)?;
        let seen = claims(client.get(&job).await?.expect_status(200)?.access_token());
        assert_eq!(seen["keycloak_user_id"], json!(admin.sub), "{shape}");
        // And who may be impersonated by nobody may have their jobs in their own session.
        let (exchanged, answer) = register(&users[0], "exchange").await?;
        answer.expect_status(201)?;
        for job in [job, exchanged] {
            client.delete(&job).await?.expect_status(204)?;
        }
    }

    // Where the client that users log in with has no full scope, an administrator looks like everybody else.
    let mut login = realm.admin().client(realm.name(), realm.login_client()).await?;
    login["fullScopeAllowed"] = json!(false);
    realm.admin().put_client(realm.name(), &login).await?;
    for user in [&users[0], admin] {
        let (_, answer) = register(user, "impersonate").await?;
        assert_eq!((answer.status.as_u16(), answer.code()), (422, "unsupported"), "{user:?} shows no role: {answer:?}");
        register(user, "exchange").await?.1.expect_status(201)?;
    }
    Ok(())
}

#[tokio::test]
async fn nobody_impersonates_an_administrator_who_has_lightweight_tokens() -> Result<()> {
    nobody_impersonates_an_administrator(FolioRealm::builder().create().await?).await
}

#[tokio::test]
async fn nobody_impersonates_an_administrator_who_has_regular_tokens() -> Result<()> {
    nobody_impersonates_an_administrator(FolioRealm::builder().regular().create().await?).await
}
