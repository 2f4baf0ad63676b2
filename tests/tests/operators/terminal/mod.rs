//! What everybody sees on a terminal who has no vault yet, or one that is not well: the demonstration, the help, the
//! examinations and the failures. Nothing is wider than the terminal, and colours are where they are wanted.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::terminal::{Terminal, is_coloured, lines, too_wide};
use tokenvault_tests::harness::vault::binary;

/// The demonstration takes nine seconds, and a doctor whose parts are away waits for them.
const PATIENCE: Duration = Duration::from_mins(2);

async fn shown(width: u16, variables: &[(&str, &str)], arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(binary()?);
    command.args(arguments).env("HOME", "/nonexistent").envs(variables.iter().copied());
    let (_, shown) = Terminal::start_with(width, "xterm-256color", command)?.end(PATIENCE).await?;
    Ok(shown)
}

fn piped(arguments: &[&str]) -> Result<String> {
    let output = Command::new(binary()?).args(arguments).stdin(Stdio::null()).output()?;
    Ok([output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat())
}

fn assert_fits(shown: &str, width: u16, what: &[&str]) {
    let wide = too_wide(shown, usize::from(width));
    assert!(wide.is_empty(), "{what:?} at {width}: {wide:#?} of\n{}", lines(shown).join("\n"));
}

/// A configuration whose parts are all away, and whose files are partly wrong.
fn unwell() -> Result<(TempDir, String)> {
    let dir = tempfile::tempdir()?;
    let config = "[server]\ncert_file = 'server.pem'\nkey_file = 'server.key'\nclient_ca_file = 'ca.pem'\n\
                  [redis]\nurl = 'redis://127.0.0.1:1'\n[keyring]\nfile = 'keyring.toml'\n\
                  [policy]\nfile = 'policy.toml'\n[keycloak]\nissuer = 'http://127.0.0.1:1/realms/{tenant}'\n\
                  client_id = 'tokenvault'\nclient_secret_file = 'client-secret'\naccepted_clients = ['ui']\n[tenants.diku]\n";
    let file = dir.path().join("tokenvault.toml");
    fs::write(&file, config)?;
    let file = file.display().to_string();
    Ok((dir, file))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examinations_hang_below_themselves_and_mark_what_is_wrong() -> Result<()> {
    let (_dir, config) = unwell()?;
    for (command, wrong) in [("doctor", "HAZARD "), ("check-config", "problem ")] {
        let arguments = [command, "--config", &config];
        for width in [80, 140] {
            let seen = shown(width, &[], &arguments).await?;
            assert_fits(&seen, width, &arguments);
            assert!(is_coloured(&seen) && seen.contains(&format!("m{}", wrong.trim_end())), "{seen:?}");
            let seen = lines(&seen);
            let first = seen.iter().position(|line| line.starts_with(wrong)).unwrap_or(seen.len());
            assert!(seen[first..].iter().any(|line| line.starts_with("         ")), "{seen:#?}");
        }
        assert!(!is_coloured(&shown(80, &[("NO_COLOR", "1")], &arguments).await?), "{command}");
        let piped = piped(&arguments)?;
        assert!(!piped.contains('\u{1b}'), "{command}: {piped:?}");
        assert!(piped.lines().all(|line| !line.starts_with(' ')), "a line for each finding:\n{piped}");
    }
    Ok(())
}

/// Bars are drawn row by row, each filled with blanks up to the terminal's edge and none ended by a line break. So what goes
/// on behind the edge must be a row of its own: no word that began before it.
fn assert_rows(shown: &str, width: usize) {
    for line in lines(shown) {
        let columns: Vec<char> = line.chars().collect();
        for row in columns.chunks(width).skip(1) {
            let row: String = row.iter().collect();
            assert!(
                row.starts_with("  ") || row.starts_with("with the vault "),
                "{row:?} is not a row of its own in {line:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demonstration_fits_and_says_what_to_try_next() -> Result<()> {
    let arguments = ["demo", "--at-ttl", "3", "--duration", "9"];
    let (narrow, wide) = tokio::join!(shown(80, &[], &arguments), shown(140, &[("NO_COLOR", "1")], &arguments));
    let (narrow, wide) = (narrow?, wide?);
    assert_rows(&narrow, 80);
    assert_rows(&wide, 140);
    assert!(is_coloured(&narrow) && !is_coloured(&wide), "{wide:?}");
    for seen in [narrow, wide] {
        let seen = lines(&seen);
        let next = seen.iter().position(|line| line == "What to try next:").unwrap_or(seen.len());
        for command in ["tokenvault dev ", "tokenvault demo --logout ", "tokenvault keygen "] {
            assert!(seen[next..].iter().any(|line| line.trim_start().starts_with(command)), "{command}: {seen:#?}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_to_try_next_can_be_tried() -> Result<()> {
    let said = piped(&["demo", "--at-ttl", "3", "--duration", "9"])?;
    let steps = said.lines().skip_while(|line| *line != "What to try next:").filter_map(|line| line.strip_prefix("  "));
    let steps: Vec<&str> = steps.filter_map(|line| line.split("  ").next()).collect();
    assert!(steps.len() >= 3, "{said}");
    for step in steps {
        let arguments: Vec<&str> = step.split(' ').skip(1).chain(["--help"]).collect();
        let output = Command::new(binary()?).args(arguments).output()?;
        assert!(output.status.success(), "{step}: {output:?}");
    }
    Ok(())
}

/// The commands that a help text names.
fn named(help: &[String]) -> Vec<String> {
    let commands = help.iter().skip_while(|line| *line != "Commands:").skip(1);
    let commands = commands.take_while(|line| line.starts_with(' ')).filter_map(|line| line.strip_prefix("  "));
    let names = commands.filter(|line| !line.starts_with(' ')).filter_map(|line| line.split(' ').next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_help_fits_and_no_paragraph_is_torn() -> Result<()> {
    let mut waiting = vec![Vec::new()];
    let mut seen = 0;
    while let Some(command) = waiting.pop() {
        let mut arguments: Vec<&str> = command.iter().map(String::as_str).collect();
        arguments.push("--help");
        let help = shown(80, &[], &arguments).await?;
        assert_fits(&help, 80, &arguments);
        let help = lines(&help);
        // A paragraph whose own line breaks were kept beside the terminal's has a short line in its middle.
        let torn = help.windows(3).find(|three| {
            let [before, short, after] = three else { return false };
            let prose = |line: &String| line.starts_with(char::is_alphabetic) && line.contains(' ');
            [before, short, after].into_iter().all(prose) && before.len() > 60 && short.len() < 30 && after.len() > 40
        });
        assert!(torn.is_none(), "{arguments:?}: {torn:#?}");
        for name in named(&help) {
            waiting.push([command.clone(), vec![name]].concat());
        }
        seen += 1;
    }
    assert!(seen > 15, "only {seen} commands were found");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_fits_and_is_coloured_only_where_it_is_seen() -> Result<()> {
    let long = "/a/rather/long/name/of/a/directory/in/which/there/is/no/such/file.toml";
    for arguments in [
        &["admin", "status", "--profile-file", long][..],
        &["admin", "status"],
        &["serve", "--config", long],
        &["migrate", "--config", long],
        &["healthcheck", "--url", "http://127.0.0.1:1"],
        &["demo", "--at-ttl", "20", "--duration", "30"],
        &["keygen", "--id", "a b"],
    ] {
        for width in [80, 140] {
            assert_fits(&shown(width, &[], arguments).await?, width, arguments);
        }
        assert!(is_coloured(&shown(80, &[], arguments).await?), "{arguments:?}");
        assert!(!is_coloured(&shown(80, &[("NO_COLOR", "1")], arguments).await?), "{arguments:?}");
        assert!(!piped(arguments)?.contains('\u{1b}'), "{arguments:?}");
    }
    // Only one of the two streams is a terminal's: the failure is seen there, and its colours are that one's.
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" keygen --id 'a b' > /dev/null"]).arg(binary()?);
    let (_, seen) = Terminal::start_with(80, "xterm", command)?.end(PATIENCE).await?;
    assert!(is_coloured(&seen), "{seen:?}");
    Ok(())
}
