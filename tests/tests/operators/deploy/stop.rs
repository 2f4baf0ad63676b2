//! A pod is never given less time to stop than its vault may need to keep the answer to a spent refresh token.

use serde_json::{Value, json};
use tokenvault_tests::harness::Result;

use super::chart::{of, refusal, render, text};
use super::{number, temporary};

#[test]
fn a_pod_has_time_for_all_that_a_stop_may_take() -> Result<()> {
    let grace = |values: &[&str]| -> Result<(Value, Value, Value)> {
        let (documents, _) = render(temporary()?.path(), values)?;
        let pod = &of(&documents, "Deployment")["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        Ok((
            pod["terminationGracePeriodSeconds"].clone(),
            container["lifecycle"]["preStop"]["sleep"]["seconds"].clone(),
            json!([container["env"][0]["value"], container["env"][1]["value"]]),
        ))
    };
    assert_eq!(grace(&[])?, (json!(75), Value::Null, json!(["20", "10"])));
    let longer =
        ["--set=stop.preStopSeconds=15,stop.shutdownDelaySeconds=8,stop.shutdownGraceSeconds=60,stop.spendSeconds=50"];
    assert_eq!(grace(&longer)?, (json!(138), json!(15), json!(["60", "8"])));
    assert_eq!(grace(&["--set=terminationGracePeriodSeconds=300"])?.0, json!(300));
    let paused = ["--set=stop.preStopSeconds=15", "--kube-version=1.29.0"];
    assert_eq!(grace(&paused)?, (json!(90), Value::Null, json!(["20", "10"])), "older ones know no pause");
    Ok(())
}

#[test]
fn less_time_than_a_stop_may_take_is_refused_by_name() {
    for (values, named) in [
        ("--set=terminationGracePeriodSeconds=74", "terminationGracePeriodSeconds is 74, but a stop may take 75"),
        ("--set=livenessProbe.terminationGracePeriodSeconds=74", "livenessProbe.terminationGracePeriodSeconds is 74"),
        ("--set=startupProbe.terminationGracePeriodSeconds=74", "startupProbe.terminationGracePeriodSeconds is 74"),
        (r#"--set-json=config="[server]\nshutdown_grace = 60\n""#, "stop.shutdownGraceSeconds"),
        (r#"--set-json=config="[server]\nshutdown_delay = 60\n""#, "stop.shutdownDelaySeconds"),
        (r#"--set-json=config="server.shutdown_grace = 60""#, "stop.shutdownGraceSeconds"),
        (r#"--set-json=config="server = { shutdown_grace = 60 }""#, "stop.shutdownGraceSeconds"),
        (r#"--set-json=config="[server]\n\"shutdown_grace\" = 60""#, "stop.shutdownGraceSeconds"),
    ] {
        let refusal = refusal(&[values]);
        assert!(refusal.contains(named), "{values}: {refusal:?}");
    }
}

/// The names of the variables that the vault's container has.
fn variables(values: &[&str]) -> Result<Vec<String>> {
    let (documents, _) = render(temporary()?.path(), values)?;
    let container = &of(&documents, "Deployment")["spec"]["template"]["spec"]["containers"][0];
    let variables = container["env"].as_array().into_iter().flatten();
    Ok(variables.filter_map(|variable| variable["name"].as_str()).map(str::to_owned).collect())
}

#[test]
fn no_variable_stands_twice_the_shutdown_grace_least_of_all() -> Result<()> {
    let values = ["--set=redis.enabled=true", r#"--set-json=tenants="[tenants.other]\n""#];
    let own = variables(&values)?;
    assert_eq!(own.len(), 6, "{own:?}");
    // The vault knows them in any case, and of two it takes one or the other.
    for name in own.iter().flat_map(|name| [name.clone(), name.to_lowercase()]) {
        let twice = format!(r#"--set-json=extraEnv=[{{"name":"{name}","value":"100"}}]"#);
        let refusal = refusal(&[&values[..], &[&twice]].concat());
        assert!(refusal.contains(&name) && refusal.contains("the chart sets itself"), "{name}: {refusal:?}");
    }
    let free = variables(&[r#"--set-json=extraEnv=[{"name":"TOKENVAULT_REDIS__URL","value":"redis://other"}]"#])?;
    let own = ["TOKENVAULT_SERVER__SHUTDOWN_GRACE", "TOKENVAULT_SERVER__SHUTDOWN_DELAY"];
    assert_eq!(free, [&own[..], &["TOKENVAULT_REDIS__URL"]].concat(), "what the chart leaves alone");
    Ok(())
}

fn variable(name: &str, value: &str) -> String {
    format!(r#"extraEnv=[{{"name":"{name}","value":"{value}"}}]"#)
}

#[test]
fn a_spend_has_the_time_that_keycloak_and_redis_may_take() -> Result<()> {
    let written = |key: &str| number("tokenvault.toml", &format!("\n{key} = "));
    let redis = 2 * (written("connect_timeout")? + written("response_timeout")?);
    let usual = written("quarantine")? * 2 / 3 + redis;
    for (values, least) in [
        ("stop.preStopSeconds=10".to_owned(), usual),
        (r#"config="[renewal]\nquarantine = 200\n""#.to_owned(), 134 + redis),
        (r#"config="renewal.quarantine = 200""#.to_owned(), 134 + redis),
        (r#"config="renewal = { quarantine = 200 }""#.to_owned(), 134 + redis),
        (r#"config="[keycloak]\nrequest_timeout = 120\n""#.to_owned(), 120 + redis),
        (r#"config="keycloak = { request_timeout = 119.5 }""#.to_owned(), 120 + redis),
        (r#"config="[tenants.diku]\nrequest_timeout = 120\n""#.to_owned(), 120 + redis),
        (r#"tenants="[tenants.other]\nrequest_timeout = 120\n""#.to_owned(), 120 + redis),
        (r#"config="redis.response_timeout = 20""#.to_owned(), usual + 36),
        (r#"config="redis = { ack_replicas = 1, ack_timeout = 30 }""#.to_owned(), usual + 30),
        (variable("TOKENVAULT_RENEWAL__QUARANTINE", "200"), 134 + redis),
        (variable("tokenvault_keycloak__request_timeout", "120"), 120 + redis),
        (variable("TOKENVAULT_TENANTS__DIKU__REQUEST_TIMEOUT", "120"), 120 + redis),
    ] {
        let (values, spend) =
            (format!("--set-json={values}"), |seconds: u64| format!("--set=stop.spendSeconds={seconds}"));
        let refusal = refusal(&[&values, &spend(least - 1)]);
        let named =
            format!("stop.spendSeconds is {}, but the answer to a spent refresh token may take {least} ", least - 1);
        assert!(refusal.contains(&named), "{values}: {refusal:?}");
        text(&[&values, &spend(least)])?;
    }
    Ok(())
}

#[test]
fn what_a_spend_may_take_is_known_or_refused() -> Result<()> {
    let elsewhere =
        r#"{"name":"TOKENVAULT_RENEWAL__QUARANTINE","valueFrom":{"configMapKeyRef":{"name":"a","key":"b"}}}"#;
    let refused = refusal(&[&format!("--set-json=extraEnv=[{elsewhere}]")]);
    assert!(refused.contains("renewal.quarantine"), "{refused:?}");
    let theirs = "--set=existingConfigMap=ours";
    let slow = format!("--set-json={}", variable("TOKENVAULT_RENEWAL__QUARANTINE", "200"));
    assert!(refusal(&[theirs, &slow]).contains("stop.spendSeconds"), "a variable counts before any file");
    text(&[theirs, r#"--set-json=config="[renewal]\nquarantine = 200\n""#])?;
    text(&["--set=livenessProbe=null,startupProbe=null,tenants=null,extraEnv=null"])?;
    Ok(())
}
