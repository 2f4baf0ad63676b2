//! What operators see on a terminal: as wide as it is, in words for people, in colours where they are wanted. What is no
//! terminal gets the same text as ever.

use std::fmt::Write as _;

use serde_json::json;
use tokenvault_tests::harness::process::{SOON, wait_until};
use tokenvault_tests::harness::terminal::{is_coloured, lines, too_wide};
use tokenvault_tests::harness::{Failure, Result};

use crate::admin::stage::Stage;
use crate::admin::transcripts::settings;

const JOB: &str = "4b1cf0de-3c5f-4c0e-9a51-0a4de0a3f9b4";
const OTHER: &str = "c0a8012e-77d1-4f5e-8d0b-5b8f9e2d7a61";
const REASON: &str = "Keycloak is being upgraded, and whoever needs tokens meanwhile should ask the people on call";

/// What was shown, with the same words in every run: what is not known beforehand is replaced, and so is the room between
/// columns.
fn steady(shown: &[String], known: &[(&str, &str)]) -> String {
    let mut steady = String::new();
    for line in shown {
        let line = known.iter().fold(line.clone(), |line, (own, word)| line.replace(own, word));
        let words: Vec<&str> = line.split(' ').collect();
        let number = |word: &str| word.bytes().all(|b| b.is_ascii_digit()) && !word.is_empty();
        let time = |word: &str| word.len() == 8 && word.split(':').count() == 3;
        let date = |word: &str| word.len() == 10 && word.split('-').map(number).collect::<Vec<_>>() == [true; 3];
        let told = words.iter().enumerate().map(|(at, word)| {
            let unit =
                words.get(at + 1).is_some_and(|unit| matches!(unit.trim_end_matches(')'), "s" | "m" | "h" | "d"));
            match *word {
                word if time(word) => "[time--]",
                word if date(word) => "[the-date]",
                word if number(word) && unit => "N",
                word => word,
            }
        });
        let told = told.collect::<Vec<_>>().join(" ");
        let (indent, told) = told.split_at(told.len() - told.trim_start().len());
        let cells = told.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
        steady.push_str(indent);
        steady.push_str(&cells.collect::<Vec<_>>().join("  "));
        steady.push('\n');
    }
    steady
}

/// A vault with what there is to be looked at: jobs with long names, one of them over, and a pause.
async fn busy() -> Result<Stage> {
    let mut stage = Stage::set(600, 2).await?;
    let (tenant, proof) = (stage.realm.name().to_owned(), stage.login("alice").await?);
    stage.register(JOB, &proof, json!({"readers": ["mod-inventory", "mod-source-record-manager"]})).await?;
    stage.register(OTHER, &proof, json!({})).await?;
    stage.admin(&["jobs", "revoke", &tenant, OTHER])?.done()?;
    stage.admin(&["pause", "--for", "20m", "--reason", REASON, "--yes"])?.done()?;
    Ok(stage)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_fits_its_terminal_and_is_coloured_on_no_other_and_where_colours_are_wanted() -> Result<()> {
    let mut stage = busy().await?;
    let (tenant, user) = (stage.realm.name().to_owned(), stage.realm.user("alice")?.user_id.clone());
    let commands = [
        &["status"][..],
        &["jobs", "list"],
        &["jobs", "list", "--state", "suspended"],
        &["jobs", "show", &tenant, JOB],
        &["jobs", "renew", &tenant, JOB, "--dry-run"],
        &["jobs", "renew", &tenant, JOB],
        &["jobs", "renew", &tenant, JOB, "no-such-job", "--yes"],
        &["jobs", "revoke", &tenant, JOB, "--dry-run"],
        &["jobs", "revoke", &tenant, OTHER],
        &["users", "revoke", &tenant, &user, "--dry-run"],
        &["keys", "list", "--count"],
        &["keys", "promote", "no-such-key"],
        &["reseal", "--dry-run"],
        &["reseal", "--yes", "--wait"],
        &["reseal", "--status"],
        &["pause", "--for", "20m", "--reason", REASON, "--yes"],
        &["pause", "--for", "20m", "--reason", REASON, "--dry-run"],
        &["events", "--recent", "20", "--no-follow"],
    ];
    let coloured = ["status", "jobs", "keys", "events"];
    for arguments in commands {
        for width in [80, 140] {
            let shown = stage.shown((width, "xterm-256color"), &[], arguments).await?;
            let wide = too_wide(&shown, usize::from(width));
            assert!(wide.is_empty(), "{arguments:?} at {width}: {wide:#?} of\n{shown}");
        }
        for (kind, variable) in [("xterm", ("NO_COLOR", "1")), ("xterm", ("CLICOLOR", "0")), ("dumb", ("A", "1"))] {
            let shown = stage.shown((80, kind), &[variable], arguments).await?;
            assert!(!is_coloured(&shown), "{arguments:?} with {kind} and {variable:?}: {shown:?}");
        }
        let piped = stage.admin(arguments)?;
        assert!(!format!("{}{}", piped.out, piped.err).contains('\u{1b}'), "{arguments:?}: {piped:?}");
        let shown = stage.shown((80, "xterm"), &[], arguments).await?;
        let wanted = coloured.contains(&arguments[0]) && matches!(arguments.get(1), None | Some(&("list" | "show")));
        assert!(!wanted || is_coloured(&shown), "{arguments:?}: {shown:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_stay_whole_times_are_in_words_and_what_is_left_out_is_said() -> Result<()> {
    let mut stage = busy().await?;
    let (tenant, user) = (stage.realm.name().to_owned(), stage.realm.user("alice")?.user_id.clone());
    let known = [(tenant.as_str(), "[tenant]"), (user.as_str(), "[the-user-id-of-alice---------------]")];
    let berlin = [("TZ", "Europe/Berlin"), ("NO_COLOR", "1")];
    let mut told = String::new();
    for (width, arguments) in [(80, &["jobs", "list"][..]), (140, &["jobs", "list"]), (80, &["jobs", "list", "--wide"])]
    {
        let shown = lines(&stage.shown((width, "xterm"), &berlin, arguments).await?);
        let listed = shown.iter().filter(|line| line.contains(JOB) || line.contains(OTHER)).count();
        assert_eq!(listed, 2, "{shown:#?}");
        let _ = writeln!(told, "$ {} at {width}\n{}", arguments.join(" "), steady(&shown, &known));
    }
    settings().bind(|| insta::assert_snapshot!("terminal", told));

    let shown = lines(&stage.shown((80, "xterm"), &berlin, &["jobs", "show", &tenant, JOB]).await?).join("\n");
    let ends = shown.lines().find(|line| line.starts_with("ends ")).unwrap_or_default();
    assert!((ends.contains(" CET (in ") || ends.contains(" CEST (in ")) && ends.ends_with(" h)"), "{shown}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_is_told_whole_and_events_stand_below_each_other() -> Result<()> {
    let mut stage = busy().await?;
    let by = "by operator-operate";
    let status = lines(&stage.shown((140, "xterm"), &[("TZ", "UTC")], &["status"]).await?);
    let told = status.join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
    for part in ["renewal paused since 2", " UTC (in ", &format!("{by}: {REASON}")] {
        assert!(told.contains(part), "{part}: {status:#?}");
    }
    assert!(told.contains(" ago) until 2") || told.contains(" (now) until 2"), "{status:#?}");

    stage.admin(&["resume"])?.done()?;
    for width in [80, 140] {
        let arguments = ["events", "--recent", "20", "--no-follow"];
        let shown = lines(&stage.shown((width, "xterm"), &[("TZ", "UTC")], &arguments).await?);
        let day = shown.first().cloned().unwrap_or_default();
        assert!(day.ends_with(" UTC") && day.len() == "2027-01-31 UTC".len(), "{shown:#?}");
        let of = |kind: &str| -> Result<&String> {
            let line = shown.iter().find(|line| line.get(10..).is_some_and(|line| line.starts_with(kind)));
            line.ok_or_else(|| Failure::new(format!("no {kind} in {shown:#?}")))
        };
        let starts = ["registered", "ended"].map(|kind| of(kind).map(|line| line.find('/')));
        let [first, second] = starts;
        assert_eq!(first?, second?, "{shown:#?}");
        assert!(of("paused")?.contains(&format!("{by} for 20 m: Keycloak is being")), "{shown:#?}");
        assert!(of("resumed")?.ends_with(by), "{shown:#?}");
    }
    // A program finds the columns below each other, too.
    let piped = stage.admin(&["events", "--recent", "20", "--no-follow"])?.done()?.out;
    let about = |kind: &str| piped.lines().find(|line| line.contains(kind)).map(str::to_owned).unwrap_or_default();
    let (ended, resumed) = (about("  ended  "), about("  resumed  "));
    assert_eq!(ended.find("revoked"), resumed.find(by), "{piped}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_died_is_marked_before_it_is_forgotten() -> Result<()> {
    let mut stage = Stage::set(600, 2).await?;
    let alive = stage.shown((80, "xterm"), &[], &["status"]).await?;
    assert_eq!(lines(&alive).iter().filter(|line| line.ends_with("  alive")).count(), 2, "{alive}");
    stage.vault.replicas()[1].kill();

    let stage = tokio::sync::Mutex::new(stage);
    let seen = tokio::sync::Mutex::new(String::new());
    for word in ["late", "dead"] {
        let what = format!("a replica that is {word}");
        let marked = wait_until(&what, SOON, || async {
            let shown = stage.lock().await.shown((80, "xterm"), &[], &["status"]).await.unwrap_or_default();
            let marked = lines(&shown).iter().any(|line| line.ends_with(&format!("  {word}")));
            *seen.lock().await = shown;
            marked
        });
        let marked = marked.await;
        let shown = seen.lock().await.clone();
        marked.map_err(|failure| failure.context(shown.clone()))?;
        assert!(too_wide(&shown, 80).is_empty() && is_coloured(&shown), "{shown}");
        assert!(lines(&shown).iter().any(|line| line.ends_with("  alive")), "{shown}");
    }
    Ok(())
}
