//! Each command as operators see it, for people and for programs: recorded whole, with what differs from run to run
//! replaced.

use std::fmt::Write;

use serde_json::{Value, json};
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::process::SOON;
use tokenvault_tests::harness::realm::{LabRealm, Tokens};
use tokenvault_tests::harness::vault::tokenvault;

use crate::admin::stage::{Said, Stage};

/// What was typed and what was answered.
pub(crate) struct Transcript {
    text: String,
    known: Vec<(String, &'static str)>,
}

impl Transcript {
    pub(crate) fn of(realm: &LabRealm) -> Result<Self> {
        let mut known = vec![(realm.name().to_owned(), "[tenant-name---]")];
        for (name, user, subject) in [
            ("alice", "[the-user-id-of-alice---------------]", "[the-sub-of-alice-------------------]"),
            ("bob", "[the-user-id-of-bob-----------------]", "[the-sub-of-bob---------------------]"),
        ] {
            let of = realm.user(name)?;
            known.push((of.user_id.clone(), user));
            known.push((of.sub.clone(), subject));
        }
        Ok(Self { text: String::new(), known })
    }

    /// Replaces a session's id, too.
    fn know(&mut self, tokens: &Tokens) {
        self.known.push((tokens.sid(), "[the-session-id--------]"));
    }

    pub(crate) fn note(&mut self, text: &str) {
        let _ = writeln!(self.text, "# {text}\n");
    }

    pub(crate) fn add(&mut self, arguments: &[&str], said: &Said) {
        let quoted: Vec<String> = arguments
            .iter()
            .map(|argument| if argument.contains(' ') { format!("'{argument}'") } else { (*argument).to_owned() })
            .collect();
        let _ = write!(self.text, "$ tokenvault admin {}\n{}", quoted.join(" "), uncounted(&said.out));
        if !said.err.is_empty() {
            let _ = writeln!(self.text, "(standard error)\n{}", said.err.trim_end());
        }
        if said.status != 0 {
            let _ = writeln!(self.text, "(status {})", said.status);
        }
        self.text.push('\n');
    }

    /// With the same words in every run.
    pub(crate) fn text(&self) -> String {
        let mut text = self.text.clone();
        for (own, word) in &self.known {
            text = text.replace(own, word);
        }
        let mut steady = String::new();
        let mut word = String::new();
        for c in text.chars().chain(std::iter::once('\n')) {
            if c.is_ascii_alphanumeric() || "-:._+".contains(c) {
                word.push(c);
                continue;
            }
            steady.push_str(&replaced(&std::mem::take(&mut word)));
            steady.push(c);
        }
        steady
    }
}

/// The status without its count by state, which is made now and then, in whichever replica.
fn uncounted(out: &str) -> String {
    if let Ok(Value::Object(mut status)) = serde_json::from_str(out)
        && status.remove("states").is_some()
    {
        return format!("{:#}\n", Value::Object(status));
    }
    let line = |line: &str| match line.strip_prefix("jobs   ") {
        Some(_) => "jobs         [as counted]\n".to_owned(),
        None => format!("{line}\n"),
    };
    out.lines().map(line).collect()
}

/// Replaces what differs from run to run by something of the same width, so that columns stay where they are.
fn replaced(word: &str) -> String {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (stripped, dot) = word.strip_suffix(['.', ':']).map_or((word, ""), |rest| (rest, &word[rest.len()..]));
    let time = stripped.len() >= 20 && stripped.ends_with('Z') && stripped.as_bytes()[10] == b'T';
    let time_of_day = stripped.len() == 8 && stripped.split(':').map(digits).collect::<Vec<_>>() == [true; 3];
    let replica = stripped.strip_prefix("replica-").is_some_and(|id| id.len() == 16);
    let check = stripped.trim_matches(['"', ',']).len() == 16
        && stripped.trim_matches(['"', ',']).bytes().all(|b| b.is_ascii_hexdigit());
    let event = stripped.split_once('-').is_some_and(|(at, n)| at.len() == 13 && digits(at) && digits(n));
    let place = match () {
        () if time => "[the-time----------]".to_owned(),
        () if time_of_day => "[time--]".to_owned(),
        () if replica => "[the-replica-----------]".to_owned(),
        () if check => stripped.replace(|c: char| c.is_ascii_hexdigit(), "-"),
        () if event => "[event]".to_owned(),
        () if stripped == env!("CARGO_PKG_VERSION") => "0.0.0".to_owned(),
        () => return word.to_owned(),
    };
    format!("{place}{dot}")
}

pub(crate) fn settings() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_omit_expression(true);
    settings.set_prepend_module_to_snapshot(false);
    settings
}

/// Plays every command once.
async fn play(output: &str) -> Result<String> {
    let mut stage = Stage::set(600, 1).await?;
    let keyring = stage.vault.dir().join("keyring.toml");
    let entry = String::from_utf8_lossy(&tokenvault(&["keygen", "--id", "k2"])?.stdout).into_owned();
    std::fs::write(&keyring, format!("{}{entry}", std::fs::read_to_string(&keyring)?))?;
    stage.vault.replica().terminate(SOON).await?;
    stage.vault.replica().restart().await?;
    let tenant = stage.realm.name().to_owned();
    let (of_alice, of_bob) = (stage.login("alice").await?, stage.login("bob").await?);
    let (alice, bob) = (stage.realm.user("alice")?.user_id.clone(), stage.realm.user("bob")?.user_id.clone());
    stage.register("import-1", &of_alice, json!({"readers": ["mod-inventory", "mod-source-record-manager"]})).await?;
    stage.register("import-1.part-7", &of_alice, json!({"parent_job_id": "import-1"})).await?;
    stage.register("import-2", &of_alice, json!({})).await?;
    stage.register("nightly", &of_bob, json!({"acquisition": "impersonate"})).await?;

    let mut told = Transcript::of(&stage.realm)?;
    told.know(&of_alice);
    for arguments in [
        &["status"][..],
        &["jobs", "list"],
        &["jobs", "list", "--tenant", &tenant, "--user", &bob, "--state", "active"],
        &["jobs", "list", "--expiring-before", "2020-01-01T00:00:00Z"],
        &["jobs", "renew", &tenant, "import-1", "import-2", "--dry-run"],
        &["jobs", "renew", &tenant, "import-1", "--wait", "20"],
        &["jobs", "show", &tenant, "import-1.part-7"],
        &["jobs", "revoke", &tenant, "import-2", "--dry-run"],
        &["jobs", "revoke", &tenant, "import-2"],
        &["jobs", "revoke", &tenant, "import-2", "import-1.part-7", "--yes"],
        &["jobs", "show", &tenant, "import-2"],
        &["users", "revoke", &tenant, &alice, "--dry-run"],
        &["users", "revoke", &tenant, &alice, "--yes"],
        &["keys", "list"],
        &["keys", "promote", "k2", "--wait", "20"],
        &["keys", "promote", "k2"],
        &["reseal", "--status"],
        &["reseal", "--dry-run"],
        &["reseal", "--yes", "--wait"],
        &["keys", "list", "--count"],
        &["pause", "--for", "10m", "--reason", "Keycloak is being upgraded", "--dry-run"],
        &["pause", "--for", "10m", "--reason", "Keycloak is being upgraded", "--yes"],
        &["status"],
        &["resume"],
        &["resume"],
        &["events", "--recent", "1", "--no-follow"],
    ] {
        let said = stage.admin(&[arguments, &["--output", output]].concat())?;
        told.add(arguments, &said);
    }
    Ok(told.text())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_command_is_shown_to_people_as_recorded() -> Result<()> {
    let told = play("table").await?;
    settings().bind(|| insta::assert_snapshot!("table", told));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_command_is_shown_to_programs_as_recorded() -> Result<()> {
    let told = play("json").await?;
    settings().bind(|| insta::assert_snapshot!("json", told));
    Ok(())
}
