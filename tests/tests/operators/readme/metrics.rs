//! The list of metrics and the list of commands are whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use tokenvault_tests::harness::policy::Module;
use tokenvault_tests::harness::process::{SOON, poll};
use tokenvault_tests::harness::realm::LabRealm;
use tokenvault_tests::harness::redis::Redis;
use tokenvault_tests::harness::vault::{Replica, Vault, tokenvault};
use tokenvault_tests::harness::{Failure, Result, root};

/// A family: its name as a query would say it (a histogram's without a suffix), its type, and its labels.
type Families = BTreeMap<String, (String, BTreeSet<String>)>;

/// The rows of docs/reference/metrics.md.
fn documented_metrics() -> Result<Families> {
    let text = fs::read_to_string(root().join("docs/reference/metrics.md"))?;
    let rows = text.lines().filter(|line| line.starts_with("| `")).map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let labels = cells[3].split('`').skip(1).step_by(2).map(str::to_owned).collect();
        (cells[1].trim_matches('`').to_owned(), (cells[2].to_owned(), labels))
    });
    Ok(rows.collect())
}

/// The labels of a series' line. Whether a histogram's bucket is one is no label of the vault's.
fn labels(series: &str) -> BTreeSet<String> {
    let listed = series.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map_or("", |(listed, _)| listed);
    let names = listed.split("\",").filter_map(|pair| Some(pair.split_once('=')?.0.to_owned()));
    names.filter(|name| name != "le").collect()
}

/// What is served, in the same form.
async fn served_metrics(replica: &Replica) -> Result<Families> {
    let text = replica.metrics().await?;
    let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let families = families.map(|(name, kind)| {
        let written = match kind {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.to_owned(),
        };
        let series = text.lines().filter(|line| {
            let rest = line.strip_prefix(written.as_str()).map(|rest| rest.trim_start_matches("_bucket"));
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        (written.clone(), (kind.to_owned(), series.flat_map(labels).collect()))
    });
    Ok(families.collect())
}

/// Damages a job's sealed access token, as somebody with access to Redis could.
async fn forge(redis: &Redis, job: &str) -> Result<()> {
    let mut connection = redis.connection().await?;
    let keys: Vec<String> = redis::cmd("KEYS").arg(format!("tv:*:job:*:{job}")).query_async(&mut connection).await?;
    let key = keys.first().ok_or_else(|| Failure::new(format!("Redis has no job {job}")))?;
    let _: () = redis::cmd("HSET").arg(key).arg("at").arg("not what was sealed").query_async(&mut connection).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_that_are_served_are_the_metrics_that_are_documented() -> Result<()> {
    let (realm, redis) = (LabRealm::builder().at_ttl(8).create().await?, Redis::start().await?);
    let builder = Vault::builder()?.redis(&redis).tenant(&realm)?.module(Module::new("mod-di"));
    let mut vault = builder.start().await?;
    let client = vault.client("mod-di")?;
    let proof = realm.login("alice").await?;
    for job in ["renewed", "released", "forged"] {
        client.register(job, &proof).await?.expect_status(201)?;
    }
    client.get("renewed").await?.expect_status(200)?;
    client.get("there-is-none").await?.expect_status(404)?;
    client.delete("released").await?.expect_status(204)?;
    forge(&redis, "forged").await?;
    client.get_with("forged", "wait=0").await?;

    let documented = documented_metrics()?;
    let replica = vault.replica();
    // A family with labels appears with its first series, so renewals are waited for.
    let wait = poll("a first series of every metric", SOON, || async {
        served_metrics(replica).await.ok().filter(|served| *served == documented)
    });

    if wait.await.is_err() {
        assert_eq!(served_metrics(replica).await?, documented);
    }
    Ok(())
}

#[test]
fn every_command_is_written_about() -> Result<()> {
    let help = String::from_utf8(tokenvault(&["--help"])?.stdout)?;
    let (_, list) = help.split_once("Commands:\n").ok_or_else(|| Failure::new("--help lists no commands"))?;
    let commands: Vec<&str> =
        list.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next()).collect();
    let mut written = fs::read_to_string(root().join("README.md"))?;
    // The reference is made from the commands themselves, and would name them all.
    for folder in ["docs", "docs/howto"] {
        for entry in fs::read_dir(root().join(folder))? {
            let file = entry?.path();
            if file.extension().is_some_and(|extension| extension == "md") {
                written.push_str(&fs::read_to_string(file)?);
            }
        }
    }

    let unmentioned: Vec<&&str> = commands
        .iter()
        .filter(|command| **command != "help")
        .filter(|command| !["tokenvault", "--"].iter().any(|before| written.contains(&format!("{before} {command}"))))
        .collect();

    assert!(commands.len() > 5, "{help}");
    assert!(unmentioned.is_empty(), "neither README.md nor docs/ mentions {unmentioned:?}");
    Ok(())
}
