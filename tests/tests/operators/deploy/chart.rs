//! The chart: what it renders is what Kubernetes accepts, its pods find their files, and what cannot be is refused by name.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tokenvault_tests::harness::tools::{said, tool};
use tokenvault_tests::harness::vault::{binary, tokenvault};
use tokenvault_tests::harness::{Failure, Result};

use super::{root, temporary, yaml};

/// The chart as text.
pub(super) fn text(values: &[&str]) -> Result<String> {
    text_of("v", values)
}

/// The same in a release of that name.
pub(super) fn text_of(release: &str, values: &[&str]) -> Result<String> {
    let mut command = Command::new(tool("helm")?);
    command.args(["template", release, "tokenvault", "--kube-version", "1.31.0"]).args(values);
    let output = command.current_dir(root().join("deploy/helm")).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        return Err(Failure::new(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The chart, rendered.
pub(super) fn render(dir: &Path, values: &[&str]) -> Result<(Vec<Value>, PathBuf)> {
    render_of("v", dir, values)
}

/// The same in a release of that name.
pub(super) fn render_of(release: &str, dir: &Path, values: &[&str]) -> Result<(Vec<Value>, PathBuf)> {
    let file = dir.join("rendered.yaml");
    fs::write(&file, text_of(release, values)?)?;
    let documents = yaml(&file)?.0.into_iter().filter(|document| !document.is_null());
    Ok((documents.collect(), file))
}

/// The first document of a kind.
pub(super) fn of<'a>(documents: &'a [Value], kind: &str) -> &'a Value {
    documents.iter().find(|document| document["kind"] == kind).unwrap_or(&Value::Null)
}

/// What the chart says where it does not render.
pub(super) fn refusal(values: &[&str]) -> String {
    text(values).err().map(|refusal| refusal.to_string()).unwrap_or_default()
}

/// All parts of the chart that are off by themselves.
pub(super) const PARTS: &str =
    "--set=serviceMonitor.enabled=true,prometheusRule.enabled=true,redis.enabled=true,autoscaling.enabled=true";

const EVERYTHING: &[&str] = &[
    PARTS,
    "--set=networkPolicy.operators[0].podSelector.matchLabels.app=operators",
    "--set=commonLabels.team=libraries,commonAnnotations.contact=libraries,podAnnotations.contact=night-shift",
    "--set-json=initContainers=[{\"name\":\"wait\",\"image\":\"busybox:1\",\"command\":[\"true\"]}]",
    "--set-json=extraContainers=[{\"name\":\"beside\",\"image\":\"busybox:1\",\"command\":[\"true\"]}]",
    "--set-json=extraVolumes=[{\"name\":\"more\",\"emptyDir\":{}}]",
    "--set-json=extraVolumeMounts=[{\"name\":\"more\",\"mountPath\":\"/more\"}]",
    "--set-json=extraEnv=[{\"name\":\"TOKENVAULT_TELEMETRY__LOG_LEVEL\",\"value\":\"debug\"}]",
    "--set-json=extraObjects=[{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"{{ .Release.Name }}-more\"}}]",
];

/// The Prometheus operator's kinds, of which Kubernetes has no schemas: what must be right in them.
pub(super) fn watched(documents: &[Value]) -> Result<()> {
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
    let chart = root().join("deploy/helm/tokenvault");
    let (clean, words) = said(Command::new(tool("helm")?).args(["lint", "--strict"]).arg(&chart))?;
    assert!(clean, "{words}");
    // Beside the chart's own: Redis has four objects, then an autoscaler and the object that was asked for.
    for (values, known, unknown) in [(&[][..], 7, 0), (EVERYTHING, 13, 2)] {
        let (documents, file) = render(dir.path(), values)?;
        let (valid, words) =
            said(Command::new(tool("kubernetes-validate")?).args(["-k", "1.31", "--strict"]).arg(&file))?;
        assert!(valid && words.matches(" passed for resource ").count() == known, "{words}");
        assert_eq!(documents.len(), known + unknown, "beside those, ServiceMonitor and PrometheusRule");
        if unknown > 0 {
            watched(&documents)?;
        }
    }
    Ok(())
}

#[test]
fn the_charts_pods_may_do_nothing() -> Result<()> {
    let dir = temporary()?;
    let (documents, _) = render(dir.path(), &["--set=redis.enabled=true"])?;
    for kind in ["Deployment", "StatefulSet"] {
        let pod = &of(&documents, kind)["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        assert_eq!(
            container["securityContext"],
            json!({ "allowPrivilegeEscalation": false, "privileged": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] } }),
            "{kind}"
        );
        assert_eq!((&pod["automountServiceAccountToken"], &pod["enableServiceLinks"]), (&json!(false), &json!(false)));
        assert_eq!(pod["securityContext"]["runAsNonRoot"], json!(true), "{kind}");
    }
    let container = &of(&documents, "Deployment")["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/readyz");
    assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/healthz", "Redis away is no reason to kill a vault");
    assert_eq!(of(&documents, "PodDisruptionBudget")["spec"]["maxUnavailable"], 1);
    let ingress = of(&documents, "NetworkPolicy")["spec"]["ingress"].as_array().cloned().unwrap_or_default();
    assert_eq!(ingress.len(), 2, "modules and Prometheus, and nobody else: {ingress:?}");
    assert!(of(&documents, "Secret").is_null(), "secrets are named, never made");
    Ok(())
}

/// A pod's `/etc/tokenvault`, laid out in a directory, with files such as its Secrets hold.
struct Files {
    dir: PathBuf,
    etc: PathBuf,
}

impl Files {
    fn new(dir: &Path) -> Result<Self> {
        let (made, words) = said(
            Command::new(root().join("deploy/certificates.sh")).arg(dir.join("tls")).args(["server", "localhost"]),
        )?;
        assert!(made, "{words}");
        fs::write(dir.join("keyring.toml"), tokenvault(&["keygen", "--primary"])?.stdout)?;
        fs::write(dir.join("secret"), "a secret")?;
        Ok(Self { dir: dir.to_owned(), etc: dir.join("etc") })
    }

    /// What a Secret has under this key, at this path of the pod.
    fn put(&self, key: &str, path: &Path) -> Result<()> {
        let original = match key {
            "tls.crt" => "tls/server.pem",
            "tls.key" => "tls/server.key",
            "ca.crt" => "tls/modules-ca.pem",
            "keyring.toml" => "keyring.toml",
            _ => "secret",
        };
        fs::create_dir_all(path.parent().unwrap_or(path))?;
        Ok(symlink(self.dir.join(original), path)?)
    }

    /// Mounts what the Deployment mounts. A Secret that is mounted whole has these keys.
    fn mount(&self, documents: &[Value], whole: &BTreeMap<&str, &[&str]>) -> Result<()> {
        let pod = &of(documents, "Deployment")["spec"]["template"]["spec"];
        for mount in pod["containers"][0]["volumeMounts"].as_array().into_iter().flatten() {
            let place = mount["mountPath"].as_str().unwrap_or_default().replace("/etc/tokenvault/", "");
            let place = self.etc.join(place);
            fs::create_dir_all(&place)?;
            let mut volumes = pod["volumes"].as_array().into_iter().flatten();
            let volume = volumes.find(|volume| volume["name"] == mount["name"]).unwrap_or(&Value::Null);
            for (name, text) in configuration(volume, documents) {
                fs::write(place.join(name), text.as_str().unwrap_or_default())?;
            }
            let projected = volume["projected"]["sources"].as_array().into_iter().flatten();
            for secret in projected.map(|source| &source["secret"]).chain([&volume["secret"]]) {
                self.put_items(secret, &place)?;
            }
            for key in whole.get(mount["name"].as_str().unwrap_or_default()).copied().into_iter().flatten() {
                self.put(key, &place.join(key))?;
            }
        }
        Ok(())
    }

    fn put_items(&self, secret: &Value, place: &Path) -> Result<()> {
        for item in secret["items"].as_array().into_iter().flatten() {
            let path = place.join(item["path"].as_str().unwrap_or_default());
            self.put(item["key"].as_str().unwrap_or_default(), &path)?;
        }
        Ok(())
    }

    /// What the vault says of its configuration, with the container's variables.
    fn check(&self, documents: &[Value]) -> Result<(bool, String)> {
        let container = &of(documents, "Deployment")["spec"]["template"]["spec"]["containers"][0];
        let mut command = Command::new(binary()?);
        command.args(["check-config", "--config"]).arg(self.etc.join("config/tokenvault.toml"));
        for variable in container["env"].as_array().into_iter().flatten() {
            let value = variable["value"].as_str().unwrap_or_default();
            let value = value.replace("/etc/tokenvault", &self.etc.display().to_string());
            command.env(variable["name"].as_str().unwrap_or_default(), value);
        }
        said(&mut command)
    }
}

/// The files of the chart's `ConfigMap`, where this volume is that.
fn configuration(volume: &Value, documents: &[Value]) -> Vec<(String, Value)> {
    let config = of(documents, "ConfigMap");
    let own = volume["configMap"]["name"] == config["metadata"]["name"];
    let files = config["data"].as_object().filter(|_| own).into_iter().flatten();
    files.map(|(name, text)| (name.clone(), text.clone())).collect()
}

/// Renders the chart, lays its pod's files out, and has the vault check them.
fn checked(values: &[&str], tenants: &[&str]) -> Result<(bool, String)> {
    let dir = temporary()?;
    let (documents, _) = render(dir.path(), values)?;
    let files = Files::new(dir.path())?;
    files.mount(&documents, &BTreeMap::from([("clients", tenants), ("admin", &["tls.crt", "tls.key", "ca.crt"])]))?;
    files.check(&documents)
}

#[test]
fn the_charts_pods_find_their_files() -> Result<()> {
    for values in [&[][..], &["--set=redis.enabled=true"]] {
        let (good, words) = checked(values, &["diku"])?;
        assert!(good, "{values:?}: {words}");
        assert!(words.contains("admin"), "operators have a listener: {words}");
    }
    Ok(())
}

#[test]
fn the_example_for_folio_is_what_kubernetes_and_the_vault_accept() -> Result<()> {
    let dir = temporary()?;
    let example = ["--values", "tokenvault/examples/folio.yaml", "--namespace", "eureka"];
    let (documents, file) = render(dir.path(), &example)?;
    let (valid, words) = said(Command::new(tool("kubernetes-validate")?).args(["-k", "1.31", "--strict"]).arg(&file))?;
    assert!(valid && words.matches(" passed for resource ").count() == 11, "{words}");
    let certificates: Vec<&Value> = documents.iter().filter(|document| document["kind"] == "Certificate").collect();
    assert_eq!(certificates[0]["spec"]["dnsNames"][0], "v-tokenvault.eureka.svc", "the name that modules call");

    let (good, words) = checked(&example, &["diku", "college"])?;

    assert!(good, "{words}");
    assert!(words.contains("diku") && words.contains("college"), "both tenants are there: {words}");
    let (good, words) = checked(&example, &["diku"])?;
    assert!(!good && words.contains("college"), "a tenant without its secret is named: {words}");
    Ok(())
}

#[test]
fn impossible_values_are_refused_by_name() {
    for (values, named) in [
        ("--set=replicaCount=0", "replicaCount"),
        ("--set=idpPort=8445", "no section [idp]"),
        ("--set-json=adminConfig=\"# none\"", "no section [admin]"),
        ("--set-json=config=\"[idp]\\n\"", "idpPort is 0"),
        ("--set-json=config=\"idp.max_rate = 9\"", "idpPort is 0"),
        ("--set-json=config=\"[idp\"", "`config` is not TOML"),
        ("--set-json=tenants=\"[tenants.a\"", "`tenants` is not TOML"),
        ("--set-json=config=\"server = 1\"", "server is not a table"),
        ("--set=redis.enabled=true,redis.tls.enabled=false", "redis.ca_file"),
        ("--set-json=podLabels={\"cost\":5}", "podLabels.cost"),
        ("--set-json=podAnnotations={\"scrape\":true}", "podAnnotations.scrape"),
        ("--set-json=extraEnv=[{\"name\":\"N\",\"value\":5}]", "extraEnv.0.value"),
        ("--set=typo=1", "typo"),
    ] {
        let refusal = refusal(&[values]);
        assert!(refusal.contains(named), "{values}: {refusal:?}");
    }
}

#[test]
fn what_would_stand_twice_in_a_pod_is_refused_by_name() {
    for (values, named) in [
        ("extraEnv=[{\"name\":\"HOME\",\"value\":\"/a\"},{\"name\":\"HOME\",\"value\":\"/b\"}]", "HOME"),
        ("extraVolumes=[{\"name\":\"config\",\"emptyDir\":{}}]", "config"),
        (
            "extraVolumeMounts=[{\"name\":\"config\",\"mountPath\":\"/etc/tokenvault/secrets\"}]",
            "/etc/tokenvault/secrets",
        ),
        ("extraContainers=[{\"name\":\"tokenvault\",\"image\":\"busybox:1\"}]", "tokenvault"),
        ("initContainers=[{\"name\":\"tokenvault\",\"image\":\"busybox:1\"}]", "tokenvault"),
        ("adminPort=9080", "9080"),
        ("managementPort=8443", "8443"),
    ] {
        let (value, _) = values.split_once('=').unwrap_or_default();
        let refusal = refusal(&[&format!("--set-json={values}")]);
        assert!(refusal.contains(value) && refusal.contains(named), "{values}: {refusal:?}");
    }
}

#[test]
fn a_section_of_ones_own_is_not_written_twice() -> Result<()> {
    for own in [
        r#"[admin]\nlisten = \"0.0.0.0:9444\"\n"#,
        r#"[ admin ]\nlisten = \"0.0.0.0:9444\"\n"#,
        r#"admin.listen = \"0.0.0.0:9444\"\n"#,
        r#"admin = { listen = \"0.0.0.0:9444\" }\n"#,
    ] {
        let rendered = text(&[&format!("--set-json=config=\"{own}\""), "--set=adminPort=9444"])?;
        let written = (rendered.matches("0.0.0.0:9444").count(), rendered.matches("0.0.0.0:8444").count());
        assert_eq!(written, (1, 0), "{rendered}");
    }
    let off = text(&["--set=adminPort=0"])?;
    assert!(!off.contains("[admin]") && !off.contains("tokenvault-admin"), "{off}");
    Ok(())
}
