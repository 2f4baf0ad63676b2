//! Each of the chart's values does something, and the chart's README says what.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tokenvault_tests::harness::{Failure, Result};

use super::chart::text;
use super::{root, yaml};

/// What a value other than the default changes in what is rendered.
enum Shows {
    /// This is there, and was not.
    There(&'static str),
    /// This was there, and is gone.
    Gone(&'static str),
}
use Shows::{Gone, There};

type Case = (&'static str, &'static str, Shows);

/// What must be on for the values below to matter.
const PARTS: &[&str] =
    &["--set-json=redis.enabled=true,serviceMonitor.enabled=true,prometheusRule.enabled=true,autoscaling.enabled=true"];

/// A value, another than its default as JSON, and what is seen of it where all of the chart's parts are on.
const CASES: &[Case] = &[
    ("nameOverride", r#""keeper""#, There("name: v-keeper-internal")),
    ("fullnameOverride", r#""keeper""#, There("name: keeper-redis")),
    ("commonLabels", r#"{"team":"libraries"}"#, There("team: libraries")),
    ("commonAnnotations", r#"{"contact":"libraries"}"#, There("contact: libraries")),
    ("autoscaling.enabled", "false", Gone("kind: HorizontalPodAutoscaler")),
    ("autoscaling.minReplicas", "3", There("minReplicas: 3")),
    ("autoscaling.maxReplicas", "9", There("maxReplicas: 9")),
    ("autoscaling.targetCPUUtilizationPercentage", "55", There("averageUtilization: 55")),
    ("autoscaling.targetMemoryUtilizationPercentage", "66", There("name: memory, target")),
    (
        "autoscaling.behavior",
        r#"{"scaleDown":{"stabilizationWindowSeconds":77}}"#,
        There("stabilizationWindowSeconds: 77"),
    ),
    ("updateStrategy", r#"{"rollingUpdate":{"maxSurge":4}}"#, There("maxSurge: 4")),
    ("revisionHistoryLimit", "3", There("revisionHistoryLimit: 3")),
    ("image.repository", r#""registry.example.org/vault""#, There("registry.example.org/vault:")),
    ("image.tag", r#""9.9""#, There("folioorg/tokenvault:9.9")),
    (
        "image.digest",
        r#""sha256:0000000000000000000000000000000000000000000000000000000000000000""#,
        There("vault@sha256:0"),
    ),
    ("image.pullPolicy", r#""Always""#, There("imagePullPolicy: Always")),
    ("imagePullSecrets", r#"[{"name":"registry"}]"#, There("- name: registry")),
    ("config", r#""[server]\nmax_wait = 29\n""#, There("max_wait = 29")),
    ("tenants", r#""[tenants.other]\n""#, There("TOKENVAULT_KEYCLOAK__TENANTS_FILE")),
    ("policy", r#""[[module]]\nname = \"mod-other\"\n""#, There("mod-other")),
    ("adminConfig", r#""[admin]\nlisten = \"0.0.0.0:9444\"\n""#, There("0.0.0.0:9444")),
    ("adminPolicy", r#""[[operator]]\nname = \"bob\"\n""#, There("name = \"bob\"")),
    ("existingConfigMap", r#""ours""#, There("configMap: { name: ours }")),
    ("secretFiles", r#"[{"secret":"ours","items":[{"key":"a","path":"b"}]}]"#, There("name: ours")),
    ("clientSecrets", r#""ours""#, There("secretName: ours, defaultMode: 0440, optional: true")),
    ("adminSecret", r#""ours""#, There("secretName: ours, defaultMode: 0440 }")),
    ("extraEnv", r#"[{"name":"OF","value":"{{ .Release.Name }}"}]"#, There("name: OF\n              value: 'v'")),
    ("envFrom", r#"[{"secretRef":{"name":"ours"}}]"#, There("secretRef:\n                name: ours")),
    ("extraVolumes", r#"[{"name":"more","emptyDir":{}}]"#, There("- emptyDir: {}\n          name: more")),
    ("extraVolumeMounts", r#"[{"name":"more","mountPath":"/more"}]"#, There("mountPath: /more")),
    (
        "initContainers",
        r#"[{"name":"before","image":"b"}]"#,
        There("initContainers:\n        - image: b\n          name: before"),
    ),
    ("extraContainers", r#"[{"name":"beside","image":"b"}]"#, There("- image: b\n          name: beside")),
    (
        "extraObjects",
        r#"[{"kind":"Certificate","metadata":{"name":"{{ .Release.Name }}-tls"}}]"#,
        There("name: 'v-tls'"),
    ),
    ("service.type", r#""LoadBalancer""#, There("type: LoadBalancer")),
    ("service.port", "4443", There("port: 4443\n")),
    ("service.nodePort", "30443", There("nodePort: 30443")),
    ("service.annotations", r#"{"of":"service"}"#, There("of: service")),
    ("service.labels", r#"{"of":"service"}"#, There("of: service")),
    ("internalService.annotations", r#"{"of":"internal"}"#, There("of: internal")),
    ("internalService.labels", r#"{"of":"internal"}"#, There("of: internal")),
    ("adminPort", "9444", There("name: admin, containerPort: 9444")),
    ("managementPort", "9081", There("name: management, containerPort: 9081")),
    ("stop.preStopSeconds", "15", There("sleep: { seconds: 15 }")),
    ("stop.shutdownDelaySeconds", "7", There("TOKENVAULT_SERVER__SHUTDOWN_DELAY, value: \"7\"")),
    ("stop.shutdownGraceSeconds", "25", There("TOKENVAULT_SERVER__SHUTDOWN_GRACE, value: \"25\"")),
    ("stop.spendSeconds", "50", There("terminationGracePeriodSeconds: 85")),
    ("terminationGracePeriodSeconds", "300", There("terminationGracePeriodSeconds: 300")),
    ("startupProbe", r#"{"httpGet":{"path":"/started"}}"#, There("path: /started")),
    ("livenessProbe", r#"{"httpGet":{"path":"/admin/health"}}"#, There("path: /admin/health")),
    ("readinessProbe", r#"{"periodSeconds":7}"#, There("periodSeconds: 7")),
    ("resources", r#"{"requests":{"cpu":"123m"}}"#, There("cpu: 123m")),
    ("podDisruptionBudget.enabled", "false", Gone("kind: PodDisruptionBudget")),
    ("podDisruptionBudget.maxUnavailable", r#""40%""#, There("maxUnavailable: 40%")),
    ("serviceAccount.create", "false", Gone("kind: ServiceAccount")),
    ("serviceAccount.name", r#""keeper""#, There("serviceAccountName: keeper")),
    ("serviceAccount.annotations", r#"{"of":"account"}"#, There("of: account")),
    ("serviceAccount.labels", r#"{"of":"account"}"#, There("of: account")),
    ("networkPolicy.enabled", "false", Gone("kind: NetworkPolicy")),
    ("networkPolicy.annotations", r#"{"of":"policy"}"#, There("of: policy")),
    ("networkPolicy.modules", r#"[{"podSelector":{"matchLabels":{"is":"module"}}}]"#, There("is: module")),
    ("networkPolicy.operators", r#"[{"podSelector":{"matchLabels":{"is":"operator"}}}]"#, There("is: operator")),
    ("networkPolicy.monitoring", r#"[{"podSelector":{"matchLabels":{"is":"prometheus"}}}]"#, There("is: prometheus")),
    ("networkPolicy.extraIngress", r#"[{"ports":[{"port":7777}]}]"#, There("port: 7777")),
    ("networkPolicy.restrictEgress", "false", There("policyTypes: [Ingress]")),
    ("networkPolicy.dns", r#"[{"ports":[{"protocol":"UDP","port":5353}]}]"#, There("port: 5353")),
    ("networkPolicy.egress", r#"[{"ports":[{"protocol":"TCP","port":4318}]}]"#, There("port: 4318")),
    ("serviceMonitor.enabled", "false", Gone("kind: ServiceMonitor")),
    ("serviceMonitor.interval", r#""77s""#, There("interval: 77s")),
    ("serviceMonitor.labels", r#"{"of":"monitor"}"#, There("of: monitor")),
    ("serviceMonitor.annotations", r#"{"of":"monitor"}"#, There("of: monitor")),
    ("prometheusRule.enabled", "false", Gone("kind: PrometheusRule")),
    ("prometheusRule.labels", r#"{"of":"rule"}"#, There("of: rule")),
    ("prometheusRule.annotations", r#"{"of":"rule"}"#, There("of: rule")),
    ("deploymentAnnotations", r#"{"of":"deployment"}"#, There("of: deployment")),
    ("podAnnotations", r#"{"of":"pod"}"#, There("of: pod")),
    ("podLabels", r#"{"of":"pod"}"#, There("of: pod")),
    ("podSecurityContext", r#"{"runAsUser":1234}"#, There("runAsUser: 1234")),
    ("securityContext", r#"{"runAsUser":1234}"#, There("runAsUser: 1234")),
    ("nodeSelector", r#"{"disk":"fast"}"#, There("disk: fast")),
    ("tolerations", r#"[{"key":"busy"}]"#, There("key: busy")),
    ("affinity", r#"{"podAffinity":{}}"#, There("podAffinity:")),
    ("topologySpreadConstraints", r#"[{"topologyKey":"{{ .Release.Name }}/zone"}]"#, There("topologyKey: 'v/zone'")),
    ("priorityClassName", r#""high""#, There("priorityClassName: high")),
    ("hostAliases", r#"[{"ip":"10.0.0.1","hostnames":["keycloak"]}]"#, There("ip: 10.0.0.1")),
    ("dnsConfig", r#"{"nameservers":["10.0.0.2"]}"#, There("- 10.0.0.2")),
    ("redis.enabled", "false", Gone("kind: StatefulSet")),
    ("redis.image.repository", r#""registry.example.org/redis""#, There("registry.example.org/redis:7.4-alpine")),
    ("redis.image.tag", r#""8""#, There("redis:8\"")),
    (
        "redis.image.digest",
        r#""sha256:0000000000000000000000000000000000000000000000000000000000000000""#,
        There("redis@sha256:0"),
    ),
    ("redis.image.pullPolicy", r#""Always""#, There("imagePullPolicy: Always")),
    ("redis.existingSecret", r#""ours""#, There("secretName: ours")),
    ("redis.persistence.enabled", "false", Gone("volumeClaimTemplates:")),
    ("redis.persistence.size", r#""9Gi""#, There("storage: 9Gi")),
    ("redis.persistence.storageClass", r#""fast""#, There("storageClassName: fast")),
    ("redis.persistence.existingClaim", r#""ours""#, There("claimName: ours")),
    ("redis.appendfsync", r#""everysec""#, There("appendfsync everysec")),
    ("redis.maxmemory", r#""99mb""#, There("maxmemory 99mb")),
    ("redis.resources", r#"{"requests":{"cpu":"123m"}}"#, There("cpu: 123m")),
    ("redis.podAnnotations", r#"{"of":"redis"}"#, There("of: redis")),
    ("redis.podSecurityContext", r#"{"runAsUser":1234}"#, There("runAsUser: 1234")),
    ("redis.nodeSelector", r#"{"disk":"fast"}"#, There("disk: fast")),
    ("redis.tolerations", r#"[{"key":"busy"}]"#, There("key: busy")),
    ("redis.affinity", r#"{"podAffinity":{}}"#, There("podAffinity:")),
];

/// Values that are looked at only beside others: those, first.
const BESIDE: &[(&[&str], Case)] = &[
    (&[], ("replicaCount", "5", There("replicas: 5"))),
    (
        &["--set-json=config=\"[idp]\\n\"", "--set-json=idpPort=8445"],
        ("idpPort", "9445", There("idp, containerPort: 9445")),
    ),
    (
        &["--set-json=config=\"[idp]\\n\"", "--set-json=idpPort=8445"],
        ("networkPolicy.identityProvider", r#"[{"podSelector":{"matchLabels":{"is":"idp"}}}]"#, There("is: idp")),
    ),
    (
        &["--set-json=config=\"[redis]\\n\"", "--set-json=redis.enabled=true"],
        ("redis.tls.enabled", "false", There("redis://v-tokenvault-redis:6379/0")),
    ),
];

fn chart() -> PathBuf {
    root().join("deploy/helm/tokenvault")
}

/// The paths of all values, with their defaults: as far down as the schema knows what is in them.
fn known() -> Result<BTreeMap<String, Value>> {
    let schema: Value = serde_json::from_str(&fs::read_to_string(chart().join("values.schema.json"))?)?;
    let (values, _) = yaml(&chart().join("values.yaml"))?;
    let mut found = BTreeMap::new();
    descend("", &schema, &values[0], &mut found)?;
    Ok(found)
}

fn descend(path: &str, schema: &Value, values: &Value, found: &mut BTreeMap<String, Value>) -> Result<()> {
    let Some(inner) = schema["properties"].as_object() else {
        found.insert(path.to_owned(), values.clone());
        return Ok(());
    };
    for (name, schema) in inner.iter().filter(|(name, _)| !path.is_empty() || *name != "global") {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let value = values.get(name).ok_or_else(|| Failure::new(format!("values.yaml has no {path}")))?;
        descend(&path, schema, value, found)?;
    }
    Ok(())
}

#[test]
fn each_value_changes_what_is_rendered() -> Result<()> {
    let cases = CASES.iter().map(|case| (PARTS, case)).chain(BESIDE.iter().map(|(beside, case)| (*beside, case)));
    let mut rendered: BTreeMap<&[&str], String> = BTreeMap::new();
    let mut idle = Vec::new();
    for (beside, (value, other, shows)) in cases.clone() {
        if !rendered.contains_key(beside) {
            rendered.insert(beside, text(beside)?);
        }
        let (before, set) = (&rendered[beside], format!("--set-json={value}={other}"));
        let after = text(&[beside, &[set.as_str()]].concat())?;
        let acts = match shows {
            There(what) => after.contains(what) && !before.contains(what),
            Gone(what) => before.contains(what) && !after.contains(what),
        };
        if !acts {
            idle.push(value);
        }
    }
    assert!(idle.is_empty(), "these values do not do what they should: {idle:?}");
    let shown: BTreeSet<String> = cases.map(|(_, (value, ..))| (*value).to_owned()).collect();
    let known: BTreeSet<String> = known()?.into_keys().collect();
    assert_eq!(shown, known, "each value has a case above");
    Ok(())
}

/// The README's rows below *Values*: a value, and its default where that is said literally.
fn documented() -> Result<BTreeMap<String, Option<String>>> {
    let readme = fs::read_to_string(chart().join("README.md"))?;
    let (_, values) = readme.split_once("\n## Values\n").ok_or_else(|| Failure::new("the README has no values"))?;
    let literal = |cell: &str| Some(cell.trim().strip_prefix('`')?.strip_suffix('`')?.to_owned());
    let rows = values.lines().filter_map(|row| {
        let mut cells = row.strip_prefix('|')?.split(" |");
        Some((literal(cells.next()?)?, literal(cells.next()?)))
    });
    Ok(rows.collect())
}

#[test]
fn the_readme_tells_of_each_value_and_of_no_other() -> Result<()> {
    let (documented, known) = (documented()?, known()?);
    assert_eq!(documented.keys().collect::<Vec<_>>(), known.keys().collect::<Vec<_>>());
    for (value, said) in documented {
        let default = match &known[&value] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let simple = !default.contains(['\n', '{', '[']);
        let literal = said.is_some_and(|said| said == default || value.ends_with("Probe"));
        let silent = matches!(default.as_str(), "" | "[]" | "{}");
        assert!(literal || silent || !simple, "{value}: the default is {default}");
    }
    Ok(())
}
