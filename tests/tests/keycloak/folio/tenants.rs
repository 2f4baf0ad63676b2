//! Tenants are realms, and several share a vault. They come and go while it runs.

use std::time::Duration;

use serde_json::json;
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::folio::FolioRealm;
use tokenvault_tests::harness::process::poll;
use tokenvault_tests::harness::setup_script::FOLIO;

use crate::folio::stage::{REGISTRAR, Shape, live_claims, stage, unique};

/// How long a change of the file of tenants may take to have its effect.
const PROMISED: Duration = Duration::from_secs(10);

#[tokio::test]
async fn two_tenants_share_a_vault_and_know_nothing_of_each_other() -> Result<()> {
    let (stage, job) = (stage().await?, unique("job"));
    for shape in [Shape::Lightweight, Shape::Regular] {
        let user = stage.user(shape).await?;
        let proof = stage.realm(shape).login(&user).await?;
        stage.register(shape, &job, &proof, json!({})).await?.expect_status(201)?;
        assert_eq!(live_claims(&stage.registrar(shape)?, &job).await?["keycloak_user_id"], json!(user.sub));
        let other = if shape == Shape::Regular { Shape::Lightweight } else { Shape::Regular };
        let foreign = stage.register(other, &unique("job"), &proof, json!({})).await?;
        assert_eq!(foreign.expect_status(422)?.code(), "token_rejected");
    }
    for shape in [Shape::Lightweight, Shape::Regular] {
        stage.release(shape, &[&job]).await?;
    }
    let nobodys = stage.vault.client(REGISTRAR)?.get(&job).await?;
    assert_eq!(nobodys.expect_status(400)?.code(), "tenant_missing");
    Ok(())
}

#[tokio::test]
async fn a_tenant_is_added_and_taken_out_while_the_vault_runs() -> Result<()> {
    let (stage, realm) = (stage().await?, FolioRealm::builder().suffix("-application").create().await?);
    let client = stage.vault.client(REGISTRAR)?.for_tenant(realm.name())?;
    let user = realm.user("diku_admin")?;
    let early = client.register(&unique("job"), &realm.login(user).await?).await?;
    assert_eq!(early.expect_status(403)?.code(), "tenant_denied");

    // Another of FOLIO's tools names the client that users log in with in another way.
    stage.files().set_up(&[realm.name()], &["--ui-client", "{realm}-application", FOLIO[2], FOLIO[3]]).await?;
    stage.files().add_tenant(&realm, &[])?;

    let (job, proof) = (unique("job"), realm.login(user).await?);
    poll("the new tenant's first job", PROMISED, || async {
        client.register(&job, &proof).await.ok().filter(|answer| answer.status.as_u16() == 201)
    })
    .await?;
    assert_eq!(live_claims(&client, &job).await?["sid"], json!(proof.sid()));
    for shape in [Shape::Lightweight, Shape::Regular] {
        let user = stage.user(shape).await?;
        let proof = stage.realm(shape).login(&user).await?;
        let job = stage.job(shape, &proof, json!({})).await?;
        stage.release(shape, &[&job]).await?;
    }

    stage.files().remove_tenant(realm.name())?;

    poll("the tenant's end", PROMISED, || async {
        client.get(&job).await.ok().filter(|answer| answer.status.as_u16() == 403)
    })
    .await?;
    Ok(())
}
