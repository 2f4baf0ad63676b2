//! The demonstration shows what it promises, and what `dev` prints works as it is printed.

#![cfg(feature = "demo")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking")]

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::Value;
use tokenvault::{Console, run};

/// Runs `tokenvault demo` with these arguments; its status as `ExitCode` shows it, and the object it printed.
fn demo(arguments: &[&str]) -> (String, Value, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let arguments = ["tokenvault", "demo", "--output", "json"].iter().chain(arguments);
    let status = run(arguments, &mut Console::plain(&mut out, &mut err));
    let result = serde_json::from_slice(&out).unwrap_or(Value::Null);
    (format!("{status:?}"), result, String::from_utf8(err).unwrap())
}

fn success() -> String {
    format!("{:?}", std::process::ExitCode::SUCCESS)
}

#[test]
fn the_plain_job_dies_of_401_and_the_job_with_the_vault_finishes() {
    let (status, result, err) = demo(&["--at-ttl", "5", "--duration", "15"]);

    assert_eq!((status, err.as_str()), (success(), ""), "{result}");
    assert_eq!(result["ok"], true);
    let (plain, vault) = (&result["plain"], &result["vault"]);
    assert_eq!((&plain["records"], &vault["records"]), (&150.into(), &150.into()));
    let first_401 = plain["first_401_at_seconds"].as_f64().unwrap();
    assert!((4.0..=7.0).contains(&first_401), "{result}");
    assert!(plain["failed"].as_u64().unwrap() > 30, "{result}");
    assert_eq!((&vault["done"], &vault["failed"]), (&150.into(), &0.into()));
    assert!(vault["tokens_used"].as_u64().unwrap() >= 3, "{result}");
    assert!(vault["renewals"].as_u64() >= vault["tokens_used"].as_u64().map(|used| used - 1), "{result}");
}

#[test]
fn the_job_with_the_vault_survives_the_logout_it_was_registered_to_survive() {
    let (status, result, err) = demo(&["--at-ttl", "5", "--duration", "15", "--logout"]);

    assert_eq!((status, err.as_str()), (success(), ""), "{result}");
    assert_eq!(result["vault"]["done"], 150);
}

#[test]
fn the_log_for_people_ends_in_a_table_and_a_conclusion() {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let arguments = ["tokenvault", "demo", "--at-ttl", "5", "--duration", "15"];
    run(arguments, &mut Console::plain(&mut out, &mut err));

    let text = String::from_utf8(out).unwrap();
    for expected in [
        "diku_admin logs in at the UI",
        "the UI's token: azp diku-login-application, aud tokenvault, sub diku_admin, user_id ",
        "mod-data-import registers the job with the vault",
        "a module's token: azp tokenvault, aud tokenvault, sub ",
        "roles none",
        "plain token: 401, the access token has expired",
        "the UI refreshes its session",
        "access tokens used",
        "The job with the vault saved every record",
    ] {
        assert!(text.contains(expected), "{expected} is not in:\n{text}");
    }
    assert!(!text.contains("eyJ"), "a token was printed:\n{text}");
}

/// A running `tokenvault dev`, asked to end when dropped.
struct Dev {
    child: Child,
    stdout: BufReader<ChildStdout>,
    lines: Vec<String>,
}

impl Dev {
    fn start(more: &[&str]) -> Self {
        let arguments = ["dev", "--port", "0", "--management-port", "0", "--idp-port", "0"];
        let mut command = Command::new(env!("CARGO_BIN_EXE_tokenvault"));
        let mut child =
            command.args(arguments).args(more).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        // Made before anything else can fail, so that its drop ends the process.
        let mut dev = Self { child, stdout, lines: Vec::new() };
        loop {
            let mut line = String::new();
            assert!(dev.stdout.read_line(&mut line).unwrap() > 0, "it ended early:\n{}", dev.lines.concat());
            if line.starts_with("Ctrl-C ends") {
                return dev;
            }
            dev.lines.push(line);
        }
    }

    /// The value of a fact it printed.
    fn fact(&self, name: &str) -> String {
        let line = self.lines.iter().find_map(|line| line.trim_start().strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in:\n{}", self.lines.concat())).trim().to_owned()
    }

    /// Everything it printed that can be given to a shell.
    fn commands(&self) -> Vec<&str> {
        let commands = self.lines.iter().map(|line| line.trim_end());
        commands.filter(|line| line.starts_with("curl ") || line.starts_with("TOKEN=")).collect()
    }

    fn interrupt(&mut self) {
        let kill = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        assert!(kill.unwrap().success());
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn shell(script: &str) -> Output {
    Command::new("sh").args(["-c", script]).output().unwrap()
}

#[test]
fn what_dev_prints_works_as_it_is_and_nothing_of_it_stays() {
    if !shell("command -v curl").status.success() {
        eprintln!("skipped: there is no curl");
        return;
    }
    let mut dev = Dev::start(&[]);
    let commands = dev.commands();
    let [login, register, read, release] = commands[..] else { panic!("{commands:?}") };

    let registered = shell(&format!("{login}\n{register}"));
    let registered: Value = serde_json::from_slice(&registered.stdout).unwrap();
    assert_eq!((&registered["job_id"], &registered["state"]), (&"job-1".into(), &"active".into()), "{registered}");
    let token: Value = serde_json::from_slice(&shell(read).stdout).unwrap();
    assert_eq!(token["token_type"], "Bearer", "{token}");
    let released = String::from_utf8(shell(release).stdout).unwrap();
    assert!(released.contains(" 204"), "{released}");

    let management = dev.fact("management");
    let management = management.split("/readyz").next().unwrap();
    let health = ["healthcheck", "--url", management];
    assert!(Command::new(env!("CARGO_BIN_EXE_tokenvault")).args(health).status().unwrap().success());

    let dir = std::path::PathBuf::from(dev.fact("files"));
    assert!(dir.join("tokenvault.toml").exists());
    dev.interrupt();
    let mut rest = String::new();
    while dev.stdout.read_line(&mut rest).unwrap() > 0 {}
    assert!(dev.child.wait().unwrap().success());
    assert!(!dir.exists(), "{} was left", dir.display());
}

/// A claim's row in what `dev --folio` prints: what it is in the UI's token, and in the one in a module's hand.
fn row(dev: &Dev, claim: &str) -> (String, String) {
    let named = |line: &&String| line.split_whitespace().next() == Some(claim) && !line.contains("http");
    let line = dev.lines.iter().rev().find(named).unwrap_or_else(|| panic!("no {claim} in:\n{}", dev.lines.concat()));
    // Columns, for a scope has several words.
    let cells: Vec<&str> = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    let [_, ui, module] = cells[..] else { panic!("{line}") };
    (ui.to_owned(), module.to_owned())
}

fn bytes(size: &str) -> usize {
    size.strip_suffix(" bytes").and_then(|size| size.parse().ok()).unwrap_or_else(|| panic!("{size}"))
}

#[test]
fn dev_folio_shows_what_the_uis_token_says_and_what_the_one_in_a_modules_hand_says() {
    let dev = Dev::start(&["--folio"]);

    assert_eq!(dev.fact("tenant"), "diku");
    assert_eq!(row(&dev, "azp"), ("diku-login-application".to_owned(), "tokenvault".to_owned()));
    assert_eq!(row(&dev, "aud"), ("tokenvault".to_owned(), "tokenvault".to_owned()));
    let (name, sub) = row(&dev, "sub");
    let (none, keycloak_id) = row(&dev, "keycloak_user_id");
    assert_eq!((name.as_str(), none.as_str()), ("diku_admin", "-"), "FOLIO maps the name onto `sub`");
    assert_eq!(sub, keycloak_id, "the vault's token has Keycloak's own id");
    let (user, same_user) = row(&dev, "user_id");
    assert!(user == same_user && user.len() == 36 && user != keycloak_id, "{user} {same_user}");
    let (session, same_session) = row(&dev, "sid");
    assert_eq!(session, same_session, "an exchanged token is of the user's own session");
    assert_eq!(row(&dev, "roles"), ("none".to_owned(), "none".to_owned()));
    let (ui, module) = row(&dev, "size");
    assert!(bytes(&ui) < bytes(&module) && bytes(&module) < 2048, "{ui} {module}");
    assert!(!dev.lines.concat().contains("eyJ"), "no token is printed");
}

#[test]
fn what_dev_folio_prints_works_as_it_is() {
    if !shell("command -v curl").status.success() {
        eprintln!("skipped: there is no curl");
        return;
    }
    let dev = Dev::start(&["--folio", "--survive-logout"]);
    let commands = dev.commands();
    let [login, register, read, _] = commands[..] else { panic!("{commands:?}") };
    assert!(login.contains("client_id=diku-login-application") && login.contains("username=diku_admin"), "{login}");

    let registered = shell(&format!("{login}\n{register}"));

    let registered: Value = serde_json::from_slice(&registered.stdout).unwrap();
    assert_eq!(registered["state"], "active", "{registered}");
    let token: Value = serde_json::from_slice(&shell(read).stdout).unwrap();
    assert_eq!(token["user_id"], registered["user_id"], "{token}");
}
