//! Somebody who wants to be somebody else. Users write their own `user_id` here and choose their own names, so a proof may
//! say of either what its holder likes.

use serde_json::json;
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::realm::{LabUser, Tokens};

use crate::folio::stage::{Shape, Stage, live_claims, stage, unique};
use crate::folio::with_both_shapes;

with_both_shapes! {
    who_poses_as_another_user_gets_nothing_of_theirs
    a_victim_whose_id_is_somebodys_name_gets_nothing_of_that_ones
}

/// A proof whose `user_id` is the victim's, and whose `sub` is what Keycloak knows the victim by.
async fn posing(stage: &Stage, shape: Shape, attacker: &LabUser, victim: &LabUser) -> Result<Tokens> {
    let realm = stage.realm(shape);
    let tokens = realm.login(attacker).await?;
    realm.set_own_attribute(&tokens, "user_id", &victim.user_id).await?;
    realm.rename_own(&tokens, &victim.sub).await?;
    let proof = realm.login_named(attacker, &victim.sub).await?;
    assert_eq!((proof.claim("user_id"), proof.claim("sub")), (victim.user_id.clone(), victim.sub.clone()));
    Ok(proof)
}

/// Whatever comes of a registration in the victim's name, the token in the job is nobody's but the attacker's.
async fn assert_harmless(
    stage: &Stage,
    shape: Shape,
    (attacker, victim): (&LabUser, &LabUser),
    proof: &Tokens,
) -> Result<()> {
    for acquisition in ["exchange", "impersonate"] {
        let job = unique(acquisition);
        let terms = json!({ "acquisition": acquisition, "user_id": victim.user_id });
        let answer = stage.register(shape, &job, proof, terms).await?;
        if answer.status.as_u16() == 201 {
            let seen = live_claims(&stage.registrar(shape)?, &job).await?;
            assert_eq!(seen["keycloak_user_id"], json!(attacker.sub), "{acquisition}");
            stage.release(shape, &[&job]).await?;
        } else {
            assert!(["idp_rejected", "token_rejected", "unsupported"].contains(&answer.code()), "{answer:?}");
        }
    }
    Ok(())
}

async fn who_poses_as_another_user_gets_nothing_of_theirs(shape: Shape) -> Result<()> {
    let stage = stage().await?;
    let realm = stage.realm(shape);
    let (attacker, victim) = (stage.user(shape).await?, stage.user(shape).await?);
    let sessions = realm.admin().sessions(realm.name(), &victim.sub).await?.len();
    let proof = posing(&stage, shape, &attacker, &victim).await?;

    assert_harmless(&stage, shape, (&attacker, &victim), &proof).await?;
    // Now the name is the victim's id no longer, so that whoever asks for it finds the victim.
    realm.rename_own(&proof, &unique("harmless")).await?;
    assert_harmless(&stage, shape, (&attacker, &victim), &proof).await?;

    let after = realm.admin().sessions(realm.name(), &victim.sub).await?.len();
    assert_eq!(after, sessions, "nobody opened a session in the victim's name");
    Ok(())
}

async fn a_victim_whose_id_is_somebodys_name_gets_nothing_of_that_ones(shape: Shape) -> Result<()> {
    let stage = stage().await?;
    let realm = stage.realm(shape);
    let (attacker, victim) = (stage.user(shape).await?, stage.user(shape).await?);
    let victims = realm.login(&victim).await?;
    let before = stage.job(shape, &victims, json!({ "acquisition": "impersonate" })).await?;
    posing(&stage, shape, &attacker, &victim).await?;
    let sessions = realm.admin().sessions(realm.name(), &attacker.sub).await?.len();

    // Keycloak takes names for names first: asked for the victim's id, it opens a session of the attacker's.
    let job = unique("victims");
    let answer = stage.register(shape, &job, &victims, json!({ "acquisition": "impersonate" })).await?;

    assert_eq!((answer.status.as_u16(), answer.code()), (502, "idp_rejected"), "{answer:?}");
    stage.registrar(shape)?.get(&job).await?.expect_status(404)?;
    let after = realm.admin().sessions(realm.name(), &attacker.sub).await?.len();
    assert_eq!(after, sessions, "the session that was opened by mistake is given up");
    let seen = live_claims(&stage.registrar(shape)?, &before).await?;
    assert_eq!(seen["keycloak_user_id"], json!(victim.sub), "the victim's own job goes on");
    stage.release(shape, &[&before]).await
}
