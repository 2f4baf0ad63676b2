//! What is shipped beside the binary holds what it promises: the unit is confined, the image is sound, the chart renders to
//! what Kubernetes accepts, the bill of materials is whole.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tokenvault_tests::harness::tools::{said, tool};
use tokenvault_tests::harness::vault::tokenvault;
use tokenvault_tests::harness::{Failure, Result};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

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

/// The documents of a YAML file.
fn yaml(file: &Path) -> Result<(Vec<Value>, String)> {
    let script = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";
    // The interpreter that has kubernetes-validate has a YAML reader.
    let python = tool("kubernetes-validate")?.with_file_name("python3");
    let output = Command::new(python).args(["-c", script]).arg(file).stdin(Stdio::null()).output()?;
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    let documents: Vec<Value> = serde_json::from_slice(&output.stdout).map_err(|_| Failure::new(&complaint))?;
    Ok((documents, complaint))
}

/// The chart, rendered.
fn render(dir: &Path, values: &[&str]) -> Result<(Vec<Value>, PathBuf)> {
    let mut command = Command::new(tool("helm")?);
    command.args(["template", "v", "tokenvault", "--kube-version", "1.31.0"]).args(values);
    let output = command.current_dir(root().join("deploy/helm")).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        return Err(Failure::new(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    let file = dir.join("rendered.yaml");
    fs::write(&file, output.stdout)?;
    Ok((yaml(&file)?.0, file))
}

fn of<'a>(documents: &'a [Value], kind: &str) -> &'a Value {
    documents.iter().find(|document| document["kind"] == kind).unwrap_or(&Value::Null)
}

const EVERYTHING: &[&str] = &[
    "--set=adminPort=8444,idpPort=8445,serviceMonitor.enabled=true,prometheusRule.enabled=true,adminPolicy=[[operator]]",
    "--set=networkPolicy.operators[0].podSelector.matchLabels.app=operators",
    "--set=networkPolicy.identityProvider[0].podSelector.matchLabels.app=keycloak",
];

/// The Prometheus operator's kinds, of which Kubernetes has no schemas: what must be right in them.
fn watched(documents: &[Value]) -> Result<()> {
    let (monitor, rule) = (of(documents, "ServiceMonitor"), of(documents, "PrometheusRule"));
    let service = documents.iter().find(|document| document["metadata"]["name"] == "v-tokenvault-internal");
    let labels = service.map(|service| &service["metadata"]["labels"]).and_then(Value::as_object);
    for (name, value) in monitor["spec"]["selector"]["matchLabels"].as_object().into_iter().flatten() {
        assert_eq!(labels.and_then(|labels| labels.get(name)), Some(value), "the monitor finds the service");
    }
    assert_eq!(monitor["spec"]["endpoints"][0]["port"], "management");
    assert_eq!(
        labels.and_then(|labels| labels.get("app.kubernetes.io/name")),
        Some(&json!("tokenvault")),
        "the job's name"
    );
    let (alerts, _) = yaml(&root().join("deploy/prometheus/alerts.yaml"))?;
    assert_eq!(rule["spec"], alerts[0], "the chart ships the alerts that are tested");
    Ok(())
}

#[test]
fn the_chart_renders_to_what_kubernetes_accepts() -> Result<()> {
    let dir = temporary()?;
    let (clean, words) =
        said(Command::new(tool("helm")?).args(["lint", "--strict"]).arg(root().join("deploy/helm/tokenvault")))?;
    assert!(clean, "{words}");
    for values in [&[][..], EVERYTHING] {
        let (documents, file) = render(dir.path(), values)?;
        let (valid, words) =
            said(Command::new(tool("kubernetes-validate")?).args(["-k", "1.31", "--strict"]).arg(&file))?;
        assert!(valid && words.matches(" passed for resource ").count() == 7, "{words}");
        if !values.is_empty() {
            watched(&documents)?;
        }
        let extra = documents.len() - 7;
        assert_eq!(extra, if values.is_empty() { 0 } else { 2 }, "beside those, ServiceMonitor and PrometheusRule");
    }
    let wrong = render(dir.path(), &["--set=replicaCount=0"]);
    assert!(wrong.is_err(), "the chart's schema refuses values that cannot be");
    Ok(())
}

#[test]
fn the_charts_pods_may_do_nothing_and_find_their_files() -> Result<()> {
    let dir = temporary()?;
    let (documents, _) = render(dir.path(), &[])?;
    let pod = &of(&documents, "Deployment")["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(
        container["securityContext"],
        json!({ "allowPrivilegeEscalation": false, "privileged": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] } })
    );
    assert_eq!((&pod["automountServiceAccountToken"], &pod["enableServiceLinks"]), (&json!(false), &json!(false)));
    assert_eq!(
        (&pod["securityContext"]["runAsNonRoot"], &container["readinessProbe"]["httpGet"]["path"]),
        (&json!(true), &json!("/readyz"))
    );
    assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/healthz", "Redis away is no reason to kill a vault");
    assert_eq!(of(&documents, "PodDisruptionBudget")["spec"]["maxUnavailable"], 1);
    let ingress = of(&documents, "NetworkPolicy")["spec"]["ingress"].as_array().cloned().unwrap_or_default();
    assert_eq!(ingress.len(), 2, "modules and Prometheus, and nobody else: {ingress:?}");
    assert!(of(&documents, "Secret").is_null(), "secrets are named, never made");

    // The mounted files, laid out as in a pod: everything the configuration names is there.
    let etc = dir.path().join("etc");
    fs::create_dir_all(etc.join("config"))?;
    for (name, text) in of(&documents, "ConfigMap")["data"].as_object().into_iter().flatten() {
        fs::write(etc.join("config").join(name), text.as_str().unwrap_or_default())?;
    }
    let (made, words) = said(
        Command::new(root().join("deploy/certificates.sh")).arg(dir.path().join("tls")).args(["server", "localhost"]),
    )?;
    assert!(made, "{words}");
    fs::write(dir.path().join("keyring.toml"), tokenvault(&["keygen", "--primary"])?.stdout)?;
    fs::write(dir.path().join("secret"), "a secret")?;
    let tls = |name: &str| dir.path().join("tls").join(name);
    for source in pod["volumes"][1]["projected"]["sources"].as_array().into_iter().flatten() {
        for item in source["secret"]["items"].as_array().into_iter().flatten() {
            let path = etc.join("secrets").join(item["path"].as_str().unwrap_or_default());
            let original = match item["key"].as_str().unwrap_or_default() {
                "tls.crt" => tls("server.pem"),
                "tls.key" => tls("server.key"),
                "ca.crt" => tls("modules-ca.pem"),
                "keyring.toml" => dir.path().join("keyring.toml"),
                _ => dir.path().join("secret"),
            };
            fs::create_dir_all(path.parent().unwrap_or(&etc))?;
            symlink(original, path)?;
        }
    }
    let config = etc.join("config/tokenvault.toml").display().to_string();
    let checked = tokenvault(&["check-config", "--config", &config])?;
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    Ok(())
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
