//! docs/folio.md, followed to the letter.

use serde_json::json;
use tokenvault_tests::harness::realm::VAULT;
use tokenvault_tests::harness::{Result, root};

use super::operator::{Operator, Page, answer, run};

pub(super) const FOLIO: Page = Page {
    file: "docs/folio.md",
    order: &["yours", "keycloak", "files", "check", "serve", "try", "claims", "release", "child"],
    own: &["DIR", "KEYCLOAK", "TENANT", "REDIS", "VAULT_HOST", "VAULT", "KEYCLOAK_ADMIN_PASSWORD_FILE"],
};

/// Everything before the vault is started.
fn prepare(operator: &Operator) -> Result<String> {
    run(operator.script(&operator.block("keycloak")?))?;
    run(operator.script(&operator.block("files")?))?;
    run(operator.script(&operator.block("check")?))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_the_page_on_folio_has_a_tenant_from_nothing() -> Result<()> {
    let operator = Operator::new(&FOLIO).await?;
    let checked = prepare(&operator)?;
    assert!(checked.contains(" checks: 0 hazards, "), "{checked}");
    let _vault = operator.serve().await?;

    // The page tells of a split import's parts below, and they are registered while the parent lives.
    let blocks = ["try", "claims", "child", "release"].map(|name| operator.block(name));
    let commands = blocks.into_iter().collect::<Result<Vec<_>>>()?.join("\n");
    let mut terminal = operator.script(&commands);
    terminal.env("ACCESS_TOKEN", operator.login("diku_admin").await?);
    let said = run(terminal)?;

    let lines: Vec<&str> = said.lines().filter(|line| !line.is_empty()).collect();
    let (registered, read) = (answer(lines[0])?, answer(lines[1])?);
    assert_eq!((registered.1, read.1), ("201", "200"), "{}", registered.0);
    let [child, released] = lines[lines.len() - 2..] else { unreachable!("a slice of two") };
    assert_eq!((answer(child)?.1, answer(released)?.1), ("201", "204"), "{child}");
    let claims: serde_json::Value = serde_json::from_str(&lines[2..lines.len() - 2].join("\n"))?;
    let user = operator.realm.user("diku_admin")?;
    let expected = json!({
        "azp": VAULT,
        "aud": VAULT,
        "sub": user.sub,
        "user_id": user.user_id,
        "keycloak_user_id": user.sub,
        "realm_access": null,
    });
    assert_eq!(claims, expected, "the page's table says what modules are handed");
    let size = read.0["access_token"].as_str().map_or(0, str::len);
    assert!((1..2048).contains(&size), "the page says under 2 KB: {size}");
    Ok(())
}

/// A block with what the page's section on logouts says to change.
fn surviving(block: &str) -> String {
    let block = block.replace("--user-id-claim user_id", "--user-id-claim user_id --impersonate");
    let block = block.replace("\n[keycloak]\n", "\n[keycloak]\non_logout = \"continue\"\n");
    let block = block.replace(r#"register = ["exchange"]"#, r#"register = ["exchange", "impersonate"]"#);
    let asked = r#"\"acquisition\": \"impersonate\", \"on_logout\": \"continue\", \"readers\""#;
    block.replace(r#"\"readers\""#, asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_survives_the_logout_with_what_the_page_says_to_change() -> Result<()> {
    let mut operator = Operator::new(&FOLIO).await?;
    for block in ["keycloak", "files", "check"] {
        let said = run(operator.script(&surviving(&operator.block(block)?)))?;
        assert!(block != "check" || said.contains(" checks: 0 hazards, "), "{said}");
    }
    operator.learn_the_vaults_secret()?;
    let _vault = operator.serve().await?;
    let user = operator.realm.login(operator.realm.user("diku_admin")?).await?;

    let mut terminal = operator.script(&surviving(&operator.block("try")?));
    terminal.env("ACCESS_TOKEN", &user.access_token);
    let said = run(terminal)?;
    let lines: Vec<&str> = said.lines().collect();
    let ((_, registered), (read, _)) = (answer(lines[0])?, answer(lines[1])?);
    let token = read["access_token"].as_str().unwrap_or_default();
    operator.realm.logout_ui(&user).await?;

    assert_eq!(registered, "201", "FOLIO's `adminRole` makes nobody an administrator of Keycloak");
    let after = operator.realm.introspect(VAULT, token, "access_token").await?;
    assert_eq!((&after["active"], &after["azp"]), (&json!(true), &json!(VAULT)), "its session is not the user's");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_names_no_hazard_that_the_page_does_not() -> Result<()> {
    let operator = Operator::new(&FOLIO).await?;
    let page = std::fs::read_to_string(root().join(FOLIO.file))?;
    let accepted = " --accept writable-user-id";
    assert!(operator.block("check")?.contains(accepted));
    prepare(&operator)?;

    let check = operator.block("check")?.replace(accepted, " || true");
    let said = run(operator.script(&check))?;

    let hazards: Vec<&str> = said.lines().filter_map(|line| line.trim_start().strip_prefix("HAZARD")).collect();
    let named: Vec<&str> = hazards.iter().filter_map(|hazard| hazard.split_whitespace().next()).collect();
    assert_eq!(named, ["writable-user-id"], "{said}");
    assert!(page.contains("**`writable-user-id`.**"), "the page says what it means");
    Ok(())
}
