//! What is shipped beside the binary holds what it promises: the unit is confined, the image is sound, the chart renders to
//! what Kubernetes accepts, the bill of materials is whole.

mod chart;
mod manual;
mod names;
mod redis;
mod samples;
mod stop;
mod twice;
mod values;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tokenvault_tests::harness::tools::{said, tool};
use tokenvault_tests::harness::vault::tokenvault;
use tokenvault_tests::harness::{Failure, Result, root};

fn temporary() -> Result<tempfile::TempDir> {
    Ok(tempfile::Builder::new().prefix("tokenvault-test-deploy-").tempdir()?)
}

#[cfg(target_os = "linux")]
#[test]
fn the_unit_is_confined() -> Result<()> {
    let mut command = Command::new(tool("systemd-analyze")?);
    command.args(["security", "--offline=true", "--threshold=15", "--no-pager", "tokenvault.service"]);
    let (confined, words) = said(command.current_dir(root().join("deploy/systemd")))?;
    assert!(confined, "the exposure is above 1.5: {words}");
    assert!(words.contains("Overall exposure level"), "{words}");
    Ok(())
}

/// The first number after a word in a file below `deploy`.
fn number(file: &str, word: &str) -> Result<u64> {
    let text = fs::read_to_string(root().join("deploy").join(file))?;
    let (_, rest) = text.split_once(word).ok_or_else(|| Failure::new(format!("{file} has no {word}")))?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().map_err(|_| Failure::new(format!("{file}: {word} has no number")))
}

#[test]
fn nobody_kills_a_vault_that_may_hold_the_only_live_refresh_token() -> Result<()> {
    let grace = number("tokenvault.toml", "shutdown_delay = ")? + number("tokenvault.toml", "shutdown_grace = ")?;
    let spend = number("helm/tokenvault/values.yaml", "spendSeconds: ")?;
    for (file, word) in
        [("systemd/tokenvault.service", "TimeoutStopSec="), ("compose/compose.yaml", "stop_grace_period: ")]
    {
        let patience = number(file, word)?;
        assert!(patience >= grace + spend + 5, "{file} waits {patience} s; a stop may take {grace} and {spend}");
    }
    Ok(())
}

#[test]
fn the_image_is_as_the_linter_wants_it_and_runs_as_nobody() -> Result<()> {
    let file = root().join("deploy/Dockerfile");
    let (clean, words) = said(Command::new(tool("hadolint")?).arg(&file))?;
    assert!(clean, "{words}");
    let text = fs::read_to_string(file)?;
    let (_, shipped) = text.rsplit_once("\nFROM ").ok_or_else(|| Failure::new("one stage only"))?;
    for line in
        ["gcr.io/distroless/", "\nUSER 65532:65532", "\"healthcheck\"", "ENTRYPOINT [\"/usr/local/bin/tokenvault\"]"]
    {
        assert!(shipped.contains(line), "the shipped stage has no {line}");
    }
    assert!(!shipped.contains("\nRUN "), "there is no shell in it");
    Ok(())
}

#[test]
fn the_compose_file_finds_what_its_preparation_makes() -> Result<()> {
    let dir = temporary()?;
    let copied = Command::new("cp").args(["-R", "."]).arg(dir.path()).current_dir(root().join("deploy")).status()?;
    assert!(copied.success());
    let compose = dir.path().join("compose");
    for round in ["first", "second"] {
        let (prepared, words) = said(&mut Command::new(compose.join("prepare.sh")))?;
        assert!(prepared, "{round}: {words}");
    }
    let config = compose.join("etc/tokenvault.toml").display().to_string();
    let checked = tokenvault(&["check-config", "--config", &config])?;
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    assert!(!compose.join("etc/tls/modules-ca.key").exists(), "who has it can make itself every module");

    let (read, words) = yaml(&compose.join("compose.yaml"))?;
    let services = &read[0]["services"];
    let vault = &services["vault"];
    assert_eq!((&vault["read_only"], &vault["cap_drop"]), (&json!(true), &json!(["ALL"])), "{words}");
    for mount in services
        .as_object()
        .into_iter()
        .flatten()
        .flat_map(|(_, service)| service["volumes"].as_array().cloned().unwrap_or_default())
    {
        let source = mount.as_str().and_then(|mount| mount.split(':').next()).unwrap_or_default();
        assert!(!source.starts_with('.') || compose.join(source).exists(), "{source} is not there");
    }
    Ok(())
}

/// Reads YAML as Kubernetes' strictest readers do: a key that stands twice in a map is a mistake.
const READER: &str = r#"
import json, sys, yaml

class Strict(yaml.SafeLoader):
    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                sys.exit(f"{node.start_mark}: {key} stands there twice")
        return super().construct_mapping(node, deep)

print(json.dumps(list(yaml.load_all(open(sys.argv[1]), Strict))))
"#;

/// The documents of a YAML file.
fn yaml(file: &Path) -> Result<(Vec<Value>, String)> {
    // The interpreter that has kubernetes-validate has a YAML reader.
    let python = tool("kubernetes-validate")?.with_file_name("python3");
    let output = Command::new(python).args(["-c", READER]).arg(file).stdin(Stdio::null()).output()?;
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    let documents: Vec<Value> = serde_json::from_slice(&output.stdout).map_err(|_| Failure::new(&complaint))?;
    Ok((documents, complaint))
}

#[test]
fn the_bill_of_materials_names_what_is_linked_and_nothing_else() -> Result<()> {
    let output = Command::new(root().join("deploy/sbom.sh")).stdin(Stdio::null()).output()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let bill: Value = serde_json::from_slice(&output.stdout)?;
    let components = bill["components"].as_array().cloned().unwrap_or_default();
    let has = |name: &str| components.iter().any(|component| component["name"] == name);
    assert_eq!(
        (&bill["bomFormat"], &bill["metadata"]["component"]["name"]),
        (&json!("CycloneDX"), &json!("tokenvault"))
    );
    assert!(has("rustls") && has("aws-lc-rs") && has("tokenvault-core"), "what is linked");
    assert!(
        !has("keycloak-double") && !has("testcontainers") && !has("insta"),
        "what only tests and demonstrations use"
    );
    for component in &components {
        let ours = component["name"].as_str().is_some_and(|name| name.starts_with("tokenvault"));
        assert!(component["licenses"][0]["expression"].is_string(), "{component} has no licence");
        assert!(ours || component["hashes"][0]["content"].is_string(), "{component} has no checksum");
    }
    Ok(())
}
