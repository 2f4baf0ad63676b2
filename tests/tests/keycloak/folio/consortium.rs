//! Tokens of FOLIO's `impersonation-client`, which consortia's calls carry. Nobody logs in for them, so a tenant has to choose
//! to take them: who holds that client's secret can register jobs of any user.

use serde_json::json;
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::folio::IMPERSONATION_CLIENT;

use crate::folio::stage::{CONSORTIUM, Shape, live_claims, stage, unique};

#[tokio::test]
async fn a_tenant_that_chose_to_takes_a_consortiums_tokens() -> Result<()> {
    let stage = stage().await?;
    let user = stage.user(CONSORTIUM).await?;
    let proof = stage.realm(CONSORTIUM).consortium_token(&user.username).await?;
    assert_eq!(proof.claim("azp"), IMPERSONATION_CLIENT);

    let exchanged = stage.job(CONSORTIUM, &proof, json!({})).await?;
    let impersonated = stage.job(CONSORTIUM, &proof, json!({ "acquisition": "impersonate" })).await?;

    let client = stage.registrar(CONSORTIUM)?;
    for job in [&exchanged, &impersonated] {
        let seen = live_claims(&client, job).await?;
        assert_eq!((&seen["user_id"], &seen["keycloak_user_id"]), (&json!(user.user_id), &json!(user.sub)));
    }
    stage.release(CONSORTIUM, &[&exchanged, &impersonated]).await
}

#[tokio::test]
async fn a_tenant_that_did_not_refuses_them() -> Result<()> {
    let (stage, shape) = (stage().await?, Shape::Regular);
    let user = stage.user(shape).await?;
    let proof = stage.realm(shape).consortium_token(&user.username).await?;

    let answer = stage.register(shape, &unique("job"), &proof, json!({})).await?;

    assert_eq!((answer.status.as_u16(), answer.code()), (422, "token_rejected"), "{answer:?}");
    Ok(())
}
