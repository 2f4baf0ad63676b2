//! Alerts, runbooks and the dashboard speak of what a running vault tells, and a real Prometheus understands them.

mod stage;
mod units;
mod vocabulary;

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;
use stage::Monitored;
use tokenvault_tests::harness::process::{SOON, poll, wait_until};
use tokenvault_tests::harness::tools::{said, tool};
use tokenvault_tests::harness::{Failure, Result, root};

/// One alert, as alerts.yaml has it: its name, its expression, its page.
struct Alert {
    name: String,
    expression: String,
    page: String,
}

fn alerts() -> Result<Vec<Alert>> {
    let text = fs::read_to_string(root().join("deploy/prometheus/alerts.yaml"))?;
    let rules = text.split("      - alert: ").skip(1);
    let read = rules.map(|rule| {
        let part = |from: &str, to: &str| {
            let (_, rest) = rule.split_once(from)?;
            rest.split_once(to).map(|(part, _)| part.trim().to_owned())
        };
        let page =
            rule.split_once("/docs/runbooks/").map(|(_, page)| page.lines().next().unwrap_or_default().to_owned());
        let whole = (rule.lines().next(), part("        expr: ", "\n        labels"), page);
        let (Some(name), Some(expression), Some(page)) = whole else {
            return Err(Failure::new(format!("a rule that this test cannot read: {rule}")));
        };
        Ok(Alert { name: name.to_owned(), expression, page })
    });
    read.collect()
}

fn dashboard() -> Result<Value> {
    Ok(serde_json::from_str(&fs::read_to_string(root().join("deploy/grafana/tokenvault.json"))?)?)
}

/// The queries of the dashboard's panels.
fn queries() -> Result<Vec<String>> {
    let panels = dashboard()?["panels"].as_array().cloned().unwrap_or_default();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default());
    Ok(targets.filter_map(|target| target["expr"].as_str().map(str::to_owned)).collect())
}

/// The queries of its annotations, which have an answer only while something fires.
fn annotations() -> Result<Vec<String>> {
    let listed = dashboard()?["annotations"]["list"].as_array().cloned().unwrap_or_default();
    Ok(listed.iter().filter_map(|annotation| annotation["expr"].as_str().map(str::to_owned)).collect())
}

#[test]
fn prometheus_accepts_the_rules_and_every_alert_is_provoked_and_cleared() -> Result<()> {
    let dir = root().join("deploy/prometheus");
    let promtool = tool("promtool")?;
    let (checked, words) = said(Command::new(&promtool).args(["check", "rules", "alerts.yaml"]).current_dir(&dir))?;
    assert!(checked, "{words}");
    let (tested, words) = said(Command::new(&promtool).args(["test", "rules", "alerts.test.yaml"]).current_dir(&dir))?;
    assert!(tested, "{words}");
    let tests = fs::read_to_string(dir.join("alerts.test.yaml"))?;
    for Alert { name, .. } in alerts()? {
        let fires = tests.contains(&format!("alertname: {name}\n        exp_alerts:\n          - exp_labels"));
        let clears = tests.matches(&format!("alertname: {name}, exp_alerts: []")).count() == 2;
        assert!(fires && clears, "alerts.test.yaml does not provoke and clear {name}");
    }
    Ok(())
}

#[test]
fn every_alert_has_a_page_and_every_page_an_alert() -> Result<()> {
    let dir = root().join("docs/runbooks");
    let mut pages = BTreeSet::new();
    for entry in fs::read_dir(&dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name != "README.md" {
            pages.insert(name);
        }
    }
    let (index, symptoms) =
        (fs::read_to_string(dir.join("README.md"))?, fs::read_to_string(root().join("docs/operations.md"))?);
    for Alert { name, page, .. } in alerts()? {
        let text = fs::read_to_string(dir.join(&page)).map_err(|error| Failure::new(format!("{page}: {error}")))?;
        let sections = ["## What it means", "## What users see", "## Look at", "## Do"];
        assert!(text.starts_with(&format!("# {name}\n")), "{page} is not about {name}");
        assert!(
            sections.iter().all(|section| text.contains(section)) && text.contains("```sh"),
            "{page} lacks a section"
        );
        assert!(index.contains(&format!("| {name} |")), "docs/runbooks/README.md does not list {name}");
        assert!(pages.remove(&page), "two alerts lead to {page}");
        let reachable = page == "replica-down.md" || symptoms.contains(&format!("runbooks/{page}"));
        assert!(reachable, "no symptom in docs/operations.md leads to {page}");
    }
    assert!(pages.is_empty(), "pages without an alert: {pages:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_vault_answers_every_query_and_an_alert_fires_and_clears() -> Result<()> {
    let mut monitored = Monitored::start().await?;

    let served = vocabulary::served(&monitored.exposition().await?);
    let asked = alerts()?.into_iter().map(|alert| alert.expression).chain(queries()?);
    let unserved: Vec<String> = asked.flat_map(|expression| vocabulary::unserved(&expression, &served)).collect();
    assert!(unserved.is_empty(), "asked for and not served: {unserved:?}");
    let inputs = vocabulary::inputs(&fs::read_to_string(root().join("deploy/prometheus/alerts.test.yaml"))?);
    let invented = vocabulary::invented(&inputs, &served);
    assert!(inputs.len() > 20 && invented.is_empty(), "alerts.test.yaml has series no vault serves: {invented:#?}");

    // A rate needs two scrapes, so what is empty at first is asked again.
    let mut open = queries()?;
    let answered = poll("an answer to each of the dashboard's queries", SOON, || {
        let (monitored, asked) = (&monitored, open.clone());
        async move {
            let mut left = Vec::new();
            for query in asked {
                match monitored.query(&query).await {
                    Ok(result) if !result.is_empty() => {}
                    _ => left.push(query),
                }
            }
            left.is_empty().then_some(())
        }
    });
    if answered.await.is_err() {
        let mut empty = Vec::new();
        for query in std::mem::take(&mut open) {
            if monitored.query(&query).await?.is_empty() {
                empty.push(query);
            }
        }
        return Err(Failure::new(format!("queries without an answer: {empty:#?}")));
    }

    assert!(!monitored.firing().await?.contains("TokenvaultDown"));
    monitored.vault.replica().kill();
    monitored.until("TokenvaultDown fires", |firing| firing.contains("TokenvaultDown")).await?;
    let annotations = annotations()?;
    assert!(!annotations.is_empty(), "the dashboard marks when an alert fires");
    for annotation in annotations {
        // What fires is stored a moment later.
        let shown = async || monitored.query(&annotation).await.is_ok_and(|shown| !shown.is_empty());
        wait_until(&format!("an alert that fires in {annotation}"), SOON, shown).await?;
    }
    monitored.vault.replica().restart().await?;
    monitored.until("TokenvaultDown clears", |firing| !firing.contains("TokenvaultDown")).await
}
