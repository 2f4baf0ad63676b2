//! What the chart's objects are called and labelled, and who relies on it.

use std::process::Command;

use serde_json::{Value, json};
use tokenvault_tests::harness::tools::{said, tool};
use tokenvault_tests::harness::{Failure, Result};

use super::chart::{PARTS, of, refusal, render, render_of, text_of, watched};
use super::temporary;

/// The longest name that Helm lets a release have.
const LONGEST: &str = "imports-of-the-consortium-and-all-its-member-librarie";

/// A release, the name that its objects are to have, and that of its Redis.
const NAMES: &[(&str, &[&str], &str, &str)] = &[
    ("tokenvault", &[], "tokenvault", "tokenvault-redis"),
    ("my-tokenvault", &[], "my-tokenvault", "my-tokenvault-redis"),
    ("v", &[], "v-tokenvault", "v-tokenvault-redis"),
    ("v", &["--set=nameOverride=keeper"], "v-keeper", "v-keeper-redis"),
    ("v", &["--set=fullnameOverride=keeper"], "keeper", "keeper-redis"),
    (LONGEST, &[], LONGEST, "imports-of-the-consortium-and-all-its-member-l-redis"),
    (
        "imports-of-the-consortium-and-all-its-members",
        &[],
        "imports-of-the-consortium-and-all-its-members-tokenva",
        "imports-of-the-consortium-and-all-its-members-redis",
    ),
];

/// An object that repeats what the notes, which are shown to who installs, say of a certificate.
const NOTES: &str = concat!(
    r#"--set-json=extraObjects=[{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"notes"},"data":"#,
    r#"{"said":"{{ include \"tokenvault/templates/NOTES.txt\" . | regexFind \"must name .*\" }}"}}]"#
);

fn names<'a>(documents: &'a [Value], kind: &str) -> Vec<&'a str> {
    let documents = documents.iter().filter(|document| document["kind"] == kind);
    documents.filter_map(|document| document["metadata"]["name"].as_str()).collect()
}

/// A variable of the vault's container.
fn variable<'a>(documents: &'a [Value], name: &str) -> &'a str {
    let container = &of(documents, "Deployment")["spec"]["template"]["spec"]["containers"][0];
    let mut variables = container["env"].as_array().into_iter().flatten();
    variables.find(|variable| variable["name"] == name).and_then(|found| found["value"].as_str()).unwrap_or_default()
}

#[test]
fn objects_find_each_other_whatever_the_release_is_called() -> Result<()> {
    for (release, values, name, redis) in NAMES {
        let dir = temporary()?;
        let (documents, file) = render_of(release, dir.path(), &[&[PARTS], *values].concat())?;
        let (valid, words) = said(Command::new(tool("kubernetes-validate")?).args(["-k", "1.31"]).arg(file))?;
        assert!(valid, "{release} {values:?}: {words}");
        let internal = format!("{name}-internal");
        assert_eq!(names(&documents, "Service"), [*redis, *name, internal.as_str()], "{release} {values:?}");
        assert_eq!(names(&documents, "StatefulSet"), [*redis]);
        let set = &of(&documents, "StatefulSet")["spec"];
        assert_eq!(
            (&set["serviceName"], &set["template"]["spec"]["volumes"][0]["configMap"]["name"]),
            (&json!(redis), &json!(redis))
        );
        assert!(names(&documents, "ConfigMap").contains(redis));
        assert_eq!(variable(&documents, "TOKENVAULT_REDIS__URL"), format!("rediss://{redis}:6380/0"));
        assert!(internal.len() <= 63, "a Service is called by a label of DNS: {internal}");
        // Its pods carry the label controller-revision-hash: its name, a dash, and up to ten more.
        assert!(redis.len() + 11 <= 63, "none of this Redis' pods could be made: {redis}");
    }
    Ok(())
}

#[test]
fn a_name_that_no_service_can_have_is_refused() {
    for wrong in ["1vault", "Vault", "my_vault", "my.vault"] {
        let refusal = refusal(&[&format!("--set=fullnameOverride={wrong}")]);
        assert!(refusal.contains("fullnameOverride") && refusal.contains(wrong), "{refusal:?}");
    }
}

#[test]
fn the_notes_and_the_example_say_what_redis_certificate_must_name() -> Result<()> {
    for (release, values, _, redis) in NAMES {
        let rendered = text_of(release, &[&["--set=redis.enabled=true", NOTES], *values].concat())?;
        assert!(rendered.contains(&format!("'must name {redis}'")), "{release}: {rendered}");

        let example = ["--values", "tokenvault/examples/folio.yaml"];
        let (documents, _) = render_of(release, temporary()?.path(), &[&example, *values].concat())?;
        let certificate = documents
            .iter()
            .find(|document| document["kind"] == "Certificate" && document["metadata"]["name"] == "tokenvault-redis");
        let certificate = certificate.ok_or_else(|| Failure::new("the example has no certificate for Redis"))?;
        let called = variable(&documents, "TOKENVAULT_REDIS__URL");
        assert_eq!(
            format!("rediss://{}:6380/0", certificate["spec"]["dnsNames"][0].as_str().unwrap_or_default()),
            called
        );
        let mounted = &of(&documents, "StatefulSet")["spec"]["template"]["spec"]["volumes"][1]["secret"]["secretName"];
        assert_eq!(&certificate["spec"]["secretName"], mounted);
    }
    Ok(())
}

/// Labels for all objects, and others of the same keys for some.
const LABELS: &[&str] = &[
    PARTS,
    r#"--set-json=commonLabels={"team":"all","cost":"1","app.kubernetes.io/name":"x","app.kubernetes.io/component":"x"}"#,
    r#"--set-json=podLabels={"team":"pod","cost":null,"app.kubernetes.io/instance":"x","helm.sh/chart":"ours"}"#,
    r#"--set-json=service={"labels":{"team":"service"}}"#,
    r#"--set-json=internalService={"labels":{"team":"internal","app.kubernetes.io/component":"y"}}"#,
    r#"--set-json=serviceAccount={"labels":{"team":"account"}}"#,
    r#"--set-json=serviceMonitor.labels={"team":"monitor"}"#,
    r#"--set-json=prometheusRule.labels={"team":"rule"}"#,
    r#"--set-json=commonAnnotations={"team":"all"}"#,
    r#"--set-json=podAnnotations={"team":"","checksum/config":"x"}"#,
];

#[test]
fn of_two_labels_the_more_specific_counts_and_those_that_select_before_all() -> Result<()> {
    let (documents, _) = render(temporary()?.path(), LABELS)?;
    for (kind, team) in [
        ("ServiceAccount", "account"),
        ("ServiceMonitor", "monitor"),
        ("PrometheusRule", "rule"),
        ("Deployment", "all"),
        ("HorizontalPodAutoscaler", "all"),
    ] {
        assert_eq!(of(&documents, kind)["metadata"]["labels"]["team"], team, "{kind}");
    }
    let services = documents.iter().filter(|document| document["kind"] == "Service");
    let teams: Vec<&Value> = services.map(|service| &service["metadata"]["labels"]["team"]).collect();
    assert_eq!(teams, ["all", "service", "internal"]);
    let pod = &of(&documents, "Deployment")["spec"]["template"]["metadata"];
    assert_eq!((&pod["labels"]["team"], &pod["labels"]["helm.sh/chart"]), (&json!("pod"), &json!("ours")));
    assert!(pod["labels"]["cost"].is_null(), "null takes a label out");
    assert_eq!(pod["annotations"]["team"], "", "an empty text is a text");
    assert_ne!(pod["annotations"]["checksum/config"], "x", "a change of the configuration rolls the pods");
    for kind in ["Deployment", "StatefulSet"] {
        let workload = of(&documents, kind);
        let selected = workload["spec"]["selector"]["matchLabels"].as_object();
        for (key, value) in selected.ok_or_else(|| Failure::new("nothing is selected"))? {
            assert_eq!(&workload["spec"]["template"]["metadata"]["labels"][key], value, "{kind}: {key}");
        }
    }
    watched(&documents)
}
