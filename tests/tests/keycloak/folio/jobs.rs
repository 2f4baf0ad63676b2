//! The everyday life of a job: the first registration, the token in a module's hand, lifetime after lifetime.

use futures::future::try_join_all;
use serde_json::{Value, json};
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::realm::{Tokens, VAULT, claims};

use crate::folio::stage::{
    LIFE, READER, Shape, Stage, generation, live_claims, stage, unique, with_both, working_token,
};
use crate::folio::with_both_shapes;

/// How many lifetimes of an access token a long job lasts.
const LIFETIMES: u64 = 20;
/// Keycloak's own limit for a request's head is met at 8 KB or so; FOLIO's tokens have less than 1.
const SMALL: usize = 2048;

with_both_shapes! {
    the_documented_steps_lead_to_201
    hundreds_of_roles_are_not_in_the_token
}

async fn the_documented_steps_lead_to_201(shape: Shape) -> Result<()> {
    let (stage, job) = (stage().await?, unique("job"));
    let realm = stage.realm(shape);
    let user = realm.user("diku_admin")?;
    let proof = realm.login(user).await?;

    let registered = stage.register(shape, &job, &proof, json!({ "readers": [READER] })).await?.expect_status(201)?;

    assert_eq!(registered.body["user_id"], json!(user.user_id));
    let read = stage.reader(shape)?.get(&job).await?.expect_status(200)?;
    assert_eq!(read.body["user_id"], json!(user.user_id));
    let seen = claims(read.access_token());
    assert_eq!((&seen["azp"], &seen["sid"]), (&json!(VAULT), &json!(proof.sid())));
    assert_eq!((&seen["user_id"], &seen["keycloak_user_id"]), (&json!(user.user_id), &json!(user.sub)));
    working_token(realm, &stage.reader(shape)?, &job).await?;
    stage.release(shape, &[&job]).await
}

async fn hundreds_of_roles_are_not_in_the_token(shape: Shape) -> Result<()> {
    let stage = stage().await?;
    let realm = stage.realm(shape);
    let many = realm.user("diku_many")?;
    let proof = realm.login(many).await?;
    for acquisition in ["exchange", "impersonate"] {
        let job = stage.job(shape, &proof, json!({ "acquisition": acquisition })).await?;
        let size = working_token(realm, &stage.registrar(shape)?, &job).await?.len();
        assert!((500..SMALL).contains(&size), "{acquisition}: {size} bytes");
        stage.release(shape, &[&job]).await?;
    }
    let metrics = stage.registrar(shape)?.http().get(&stage.metrics_url).send().await?.text().await?;
    let counted = |bound: &str| {
        let line = metrics.lines().find(|line| {
            line.starts_with("tokenvault_access_token_bytes_bucket") && line.contains(&format!("le=\"{bound}\""))
        });
        line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).unwrap_or_default()
    };
    assert!(counted("+Inf") >= 2.0, "{metrics}");
    assert!((counted("2048.0") - counted("+Inf")).abs() < 0.5, "no token of the vault's has 2 KB: {metrics}");
    Ok(())
}

/// What a module does for as long as its job lasts: it asks for a token, and calls with it.
async fn work(stage: &Stage, shape: Shape, acquisition: &str) -> Result<()> {
    let realm = stage.realm(shape);
    let user = stage.user(shape).await?;
    let proof: Tokens = realm.login(&user).await?;
    let job = stage.job(shape, &proof, json!({ "acquisition": acquisition })).await?;
    let client = stage.registrar(shape)?;
    let (mut sessions, mut expired_at): (Vec<Value>, Option<u64>) = (Vec::new(), None);
    let mut lifetimes = 0;
    while lifetimes < LIFETIMES {
        let seen = live_claims(&client, &job).await?;
        assert_eq!((&seen["user_id"], &seen["keycloak_user_id"]), (&json!(user.user_id), &json!(user.sub)));
        sessions.push(seen["sid"].clone());
        let issued = seen["iat"].as_u64().unwrap_or_default();
        if expired_at.is_none_or(|end| issued >= end) {
            // The token of the last lifetime is over by now.
            working_token(realm, &client, &job).await?;
            (lifetimes, expired_at) = (lifetimes + 1, seen["exp"].as_u64());
        }
        tokio::time::sleep(LIFE / 6).await;
    }
    sessions.dedup();
    let own = acquisition == "impersonate";
    assert_eq!((sessions.len(), sessions[0] == json!(proof.sid())), (1, !own), "{acquisition}: one session throughout");
    generation(&client, &job, LIFETIMES).await?;
    stage.release(shape, &[&job]).await
}

#[tokio::test]
async fn jobs_outlive_twenty_lifetimes_of_a_token() -> Result<()> {
    let stage = stage().await?;
    let all = with_both(["exchange", "impersonate"]);
    try_join_all(all.into_iter().map(|(shape, acquisition)| work(&stage, shape, acquisition))).await?;
    Ok(())
}
