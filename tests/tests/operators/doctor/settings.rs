//! The realm's settings, seen with an administrator's token.

use serde_json::json;
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::realm::VAULT;

use crate::doctor::stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_do_not_fit_the_configuration_are_hazards() -> Result<()> {
    let mut stage = Stage::sound().await?;
    let set = async |stage: &Stage, settings| stage.realm().admin().update_realm(stage.realm().name(), &settings).await;

    stage.tenant("refresh_token_max_reuse", 1);
    let found = stage.examine_whole(&[]).await?;
    found.expect_only("rotation", "the realm's max reuse is 0", "set `refresh_token_max_reuse` to 0")?;
    stage.tenant("refresh_token_max_reuse", 0);

    set(&stage, json!({ "ssoSessionMaxLifespan": 36_000 })).await?;
    let found = stage.examine_whole(&[]).await?;
    found.expect_only("session-length", "sessions end after 36000 s", "SSO Session Max")?;
    set(&stage, json!({ "ssoSessionMaxLifespan": 86_400 })).await?;

    set(&stage, json!({ "ssoSessionIdleTimeout": 900 })).await?;
    stage.examine_whole(&[]).await?.expect_only("session-idle", "idle out after 900 s", "SSO Session Idle")?;
    set(&stage, json!({ "ssoSessionIdleTimeout": 86_400 })).await?;

    stage.tenant("user_id_claim", "folio_user");
    let found = stage.examine_whole(&[]).await?;
    assert_eq!(found.hazards(), ["claims", "accepted-client"], "neither client maps it: {found}");
    assert!(found.line("claims")["finding"].to_string().contains("has no mapper for `folio_user`"), "{found}");
    assert!(found.remedy("claims").contains("--user-id-claim"), "{found}");
    stage.tenant("user_id_claim", "sub");
    assert_eq!(stage.examine_whole(&[]).await?.verdict("claims"), "fine");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_may_not_see_the_settings_leaves_them_unchecked() -> Result<()> {
    let stage = Stage::sound().await?;
    let weak = stage.realm().service_token(VAULT).await?;
    stage.private("weak-token", &weak.access_token)?;
    let file = stage.file("weak-token").display().to_string();

    let found = stage.examine(&["--keycloak-admin-token", &file])?;

    assert!(found.succeeded, "{found}");
    for check in ["rotation", "session-length", "session-idle", "claims"].iter().chain(UNSEEN) {
        assert_eq!(found.verdict(check), "not_checked", "{check}: {found}");
    }
    Ok(())
}

/// What the vault's own client never sees.
const UNSEEN: &[&str] = &[
    "session-limit",
    "consent",
    "accepted-client",
    "proof-age",
    "impersonating-client",
    "writable-user-id",
    "token-size",
    "proof-size",
];

#[tokio::test(flavor = "multi_thread")]
async fn what_only_an_administrator_sees_is_told_as_not_checked_without_one() -> Result<()> {
    let stage = Stage::sound().await?;

    let found = stage.examine(&[])?;

    assert!(found.succeeded, "{found}");
    for check in UNSEEN {
        assert_eq!(found.verdict(check), "not_checked", "{check}: {found}");
        assert!(found.remedy(check).contains("--keycloak-admin-token"), "{check}: {found}");
    }
    assert_eq!(found.verdict("roles-hidden"), "nothing", "nobody needs it where nobody impersonates: {found}");
    let whole = stage.examine_whole(&[]).await?;
    for check in UNSEEN {
        assert_eq!(whole.verdict(check), "fine", "{check}: {whole}");
    }

    stage.register("impersonate")?;
    assert_eq!(stage.examine(&[])?.verdict("roles-hidden"), "not_checked");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_cannot_be_read_leaves_impersonation_unchecked() -> Result<()> {
    let stage = Stage::sound().await?;
    std::fs::remove_file(stage.file("policy.toml"))?;

    let found = stage.examine(&[])?;

    assert_eq!(found.hazards(), ["policy"], "{found}");
    for check in ["keycloak-impersonation", "roles-hidden"] {
        assert_eq!(found.verdict(check), "not_checked", "{check}: {found}");
    }
    Ok(())
}
