//! `tokenvault doctor`, run as an operator would: every hazard is provoked on real files, a real Redis or a real
//! Keycloak, and told with a remedy; a sound set-up has none.

mod accepted;
mod clocks;
mod files;
mod folio;
mod keycloak;
mod limits;
mod redis;
mod secrets;
mod settings;
mod sizes;
mod stage;
mod stand_in;

use stage::Stage;
use tokenvault_tests::harness::Result;

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_set_up_has_no_hazards() -> Result<()> {
    let stage = Stage::sound().await?;

    let plain = stage.examine(&[])?;
    let whole = stage.examine_whole(&[]).await?;

    assert!(plain.succeeded && plain.hazards().is_empty(), "{plain}");
    assert!(whole.succeeded && whole.hazards().is_empty(), "{whole}");
    assert_eq!(plain.verdict("session-length"), "not_checked", "the vault's client cannot know, and says so: {plain}");
    assert_eq!(whole.verdict("session-length"), "fine", "{whole}");
    assert!(whole.verdicts("not_checked").is_empty(), "{whole}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_has_a_line_for_each_check_and_names_remedies() -> Result<()> {
    let mut stage = Stage::without_keycloak().await?;
    stage.set("management.listen", "0.0.0.0:9080");

    let output = stage.run(&["--output", "table"])?;

    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let hazards: Vec<&str> = said.lines().filter(|line| line.starts_with("HAZARD")).collect();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        matches!(hazards[..], [line] if line.contains("management-public") && line.contains(" → listen on loopback")),
        "{said}"
    );
    assert!(said.contains("not checked  rotation"), "{said}");
    assert!(said.trim_end().lines().last().is_some_and(|line| line.contains("1 hazards, 0 accepted")), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_hazard_is_shown_and_does_not_fail() -> Result<()> {
    let mut stage = Stage::without_keycloak().await?;
    stage.set("management.listen", "0.0.0.0:9080");

    let found = stage.examine(&["--accept", "management-public"])?;

    assert!(found.succeeded, "{found}");
    assert_eq!(found.verdict("management-public"), "accepted");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_printed() -> Result<()> {
    let stage = Stage::sound().await?;
    let token = stage.administrator().await?;

    let output = stage.run(&["--keycloak-admin-token", &token])?;

    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    for secret in stage.secrets()? {
        assert!(!said.contains(&secret), "a secret is in {said}");
    }
    Ok(())
}
