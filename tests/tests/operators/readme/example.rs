//! The README's module, run as it stands there against `tokenvault dev`, beside which it is typed.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;
use tokenvault_tests::harness::process::{Process, SOON};
use tokenvault_tests::harness::root;
use tokenvault_tests::harness::vault::binary;
use tokenvault_tests::harness::{Failure, Result, ports};

use super::operator::run;

/// The block after `<!-- module: example -->`.
fn example() -> Result<String> {
    let text = fs::read_to_string(root().join("README.md"))?;
    let block = text.split_once("<!-- module: example -->\n```sh\n").and_then(|(_, rest)| rest.split_once("\n```\n"));
    let (block, _) = block.ok_or_else(|| Failure::new("the README has no module"))?;
    Ok(block.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_is_copied_from_the_readme_registers_reads_and_releases() -> Result<()> {
    let dir = tempfile::Builder::new().prefix("tokenvault-test-example-").tempdir()?;
    let [vault, management, idp] = [ports::free()?, ports::free()?, ports::free()?];
    let mut command = Command::new(binary()?);
    command.args(["dev", "--dir", "dev"]).current_dir(dir.path()).stdin(Stdio::null());
    for (option, port) in [("--port", vault), ("--management-port", management), ("--idp-port", idp)] {
        command.args([option, &port.to_string()]);
    }
    let mut dev = Process::spawn("dev", command, dir.path())?;
    tokenvault_tests::harness::install_tls_provider();
    let http = reqwest::Client::builder().no_proxy().build()?;
    let url = format!("http://127.0.0.1:{management}/readyz");
    let ready = || async { http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) };
    dev.wait_ready(SOON, ready).await?;

    let mut terminal = Command::new("bash");
    let block = example()?.replace(":8443", &format!(":{vault}")).replace(":8180", &format!(":{idp}"));
    terminal.args(["-euo", "pipefail", "-c", &block]).current_dir(dir.path()).stdin(Stdio::null());
    let said = run(terminal)?;

    let lines = example()?.lines().count();
    assert_eq!(lines, 9, "a module takes no more than a few lines");
    let answers: Vec<Value> =
        serde_json::Deserializer::from_str(&said).into_iter().collect::<std::result::Result<_, _>>()?;
    let [registered, read] = &answers[..] else { return Err(Failure::new(format!("two answers are printed: {said}"))) };
    assert_eq!(
        (&registered["job_id"], &registered["registrar"]),
        (&Value::from("job-1"), &Value::from("mod-data-import"))
    );
    assert!(read["access_token"].as_str().is_some_and(|token| !token.is_empty()), "a live token is printed");
    assert!(read["expires_in"].as_u64().is_some_and(|seconds| seconds >= 30), "{}", read["expires_in"]);
    Ok(())
}
