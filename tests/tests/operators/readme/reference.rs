//! The pages of docs/reference that are made from the program say what the program says.
//!
//! `TOKENVAULT_WRITE_REFERENCE=1` writes them anew instead of comparing them: see [`REMEDY`].

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use reqwest::Method;
use serde_json::Value;
use tokenvault_tests::harness::client::Client;
use tokenvault_tests::harness::policy::Module;
use tokenvault_tests::harness::redis::Redis;
use tokenvault_tests::harness::vault::{Vault, tokenvault};
use tokenvault_tests::harness::{Failure, Result, stand_in};
use tokenvault_vault::problem::Code;

use tokenvault_tests::harness::root;

/// What brings the pages up to date, as docs/reference/README.md says it too.
const REMEDY: &str = "TOKENVAULT_WRITE_REFERENCE=1 cargo test -p tokenvault-tests -- the_reference_of";

/// Compares a page with what the program says, or writes it where that is asked for.
#[allow(
    clippy::disallowed_methods,
    reason = "the variable is the developer's, and no part of the product's configuration"
)]
fn compare(page: &str, expected: &str, alike: impl Fn(&str, &str) -> bool) -> Result<()> {
    let file = root().join("docs/reference").join(page);
    if std::env::var_os("TOKENVAULT_WRITE_REFERENCE").is_some() {
        return Ok(fs::write(file, expected)?);
    }
    let written = fs::read_to_string(file).unwrap_or_default();
    let both = written.lines().zip(expected.lines());
    let line = 1 + both.take_while(|(written, expected)| written == expected).count();
    if alike(&written, expected) {
        return Ok(());
    }
    Err(Failure::new(format!(
        "docs/reference/{page} is not what the program says, from line {line} on. After a look at the change: {REMEDY}"
    )))
}

fn same_text(written: &str, expected: &str) -> bool {
    written == expected
}

fn same_json(written: &str, expected: &str) -> bool {
    let parsed = |text| serde_json::from_str::<Value>(text).ok();
    parsed(written).is_some() && parsed(written) == parsed(expected)
}

/// What a command prints.
fn printed(arguments: &[&str]) -> Result<String> {
    let output = tokenvault(arguments)?;
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout)?);
    }
    Err(Failure::new(format!("tokenvault {arguments:?}: {}", String::from_utf8_lossy(&output.stderr))))
}

/// A cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

const CONFIGURATION: &str = "\
# Configuration

<!-- Made from `tokenvault man tokenvault.toml`: change deploy/tokenvault.toml, not this page. -->

The vault reads one TOML file, `/etc/tokenvault/tokenvault.toml` unless `--config` names another.
[`deploy/tokenvault.toml`](../../deploy/tokenvault.toml) is a sample with every key. The manual page says the same: `tokenvault man tokenvault.toml | man -l -`.
";

/// The page on the configuration, from the manual page's source.
fn configuration(roff: &str) -> String {
    let mut page = CONFIGURATION.to_owned();
    let (_, description) = roff.split_once(".SH DESCRIPTION\n").unwrap_or_default();
    let (opening, sections) = description.split_once(".SH SECTIONS\n").unwrap_or_default();
    // The first paragraph is the title of the sample.
    for paragraph in opening.split(".PP\n").skip(1) {
        let _ = write!(page, "\n{}\n", prose(paragraph.trim_end()));
    }
    let (sections, _) = sections.split_once(".SH ").unwrap_or((sections, ""));
    for section in sections.split(".SS ").skip(1) {
        let mut parts = section.split(".TP\n");
        let (name, about) = parts.next().and_then(|head| head.split_once('\n')).unwrap_or_default();
        let _ = write!(page, "\n## `{name}`\n\n{}\n", prose(&about.replace(".PP\n", "\n").replace('\n', " ")).trim());
        for (place, key) in parts.enumerate() {
            let (term, text) = key.split_once('\n').unwrap_or_default();
            let (name, value) = term.split_once("\\fR = \\fI").unwrap_or_default();
            let (name, value) = (prose(name.trim_start_matches("\\fB")), prose(value.trim_end_matches("\\fR")));
            let head = if place == 0 { "\n| key | default or example | meaning |\n| --- | --- | --- |\n" } else { "" };
            let _ = writeln!(page, "{head}| `{name}` | `{}` | {} |", cell(&value), cell(&prose(text.trim_end())));
        }
    }
    page
}

/// Roff as Markdown: the escapes that a manual page of the vault's has.
fn prose(roff: &str) -> String {
    let mut text = roff.replace("\\fB", "`").replace("\\fR", "`").replace("\\fP", "`").replace("\\fI", "");
    for (escape, character) in
        [("\\-", "-"), ("\\*(Aq", "'"), ("\\(ti", "~"), ("\\(ha", "^"), ("\\&", ""), ("\\e", "\\")]
    {
        text = text.replace(escape, character);
    }
    while let Some((before, rest)) = text.split_once("\\[u") {
        let (code, after) = rest.split_once(']').unwrap_or((rest, ""));
        let character = u32::from_str_radix(code, 16).ok().and_then(char::from_u32).unwrap_or('\u{fffd}');
        text = format!("{before}{character}{after}");
    }
    text
}

#[test]
fn the_reference_of_the_configuration_is_what_the_manual_page_says() -> Result<()> {
    compare("configuration.md", &configuration(&printed(&["man", "tokenvault.toml"])?), same_text)
}

const COMMAND_LINE: &str = "\
# Command line

<!-- Made from `tokenvault COMMAND --help`: change the command's description, not this page. -->

Each command explains itself: `tokenvault COMMAND --help`. The manual pages are made from the same words: `tokenvault man`, `tokenvault man --dir DIR`.
Results go to standard output, logs and failures to standard error. Images and packages for production leave `demo` and `dev` out.
";

/// The help of a command and of all below it.
fn command_line(path: &[&str], page: &mut String) -> Result<()> {
    let help = printed(&[path, &["--help"]].concat())?;
    let name = [&["tokenvault"], path].concat().join(" ");
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    let _ = write!(page, "\n## {name}\n\n```text\n{}\n```\n", lines.join("\n").trim_end());
    let below = lines.iter().skip_while(|line| **line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let below = below.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    for command in below.filter_map(|line| line.split_whitespace().next()).filter(|command| *command != "help") {
        command_line(&[path, &[command]].concat(), page)?;
    }
    Ok(())
}

#[test]
fn the_reference_of_the_command_line_is_what_the_commands_say() -> Result<()> {
    let mut page = COMMAND_LINE.to_owned();
    command_line(&[], &mut page)?;
    compare("command-line.md", &page, same_text)
}

const ERRORS: &str = "\
# Errors

<!-- Made from what the vault serves at `/problems/CODE`: change that, not this page. -->

Every error is `application/problem+json` (RFC 9457). Its `type` is `/problems/CODE` and its member `code` is the code. Answers with the status 429 or 503 have `Retry-After`.
`GET /problems/CODE` shows the same text as this page. What a module does in each case: [for module developers](../modules.md#what-you-get).

| status | code | title |
| --- | --- | --- |
";

/// The page on errors, from the pages that the vault serves.
async fn errors(client: &Client) -> Result<String> {
    let (mut page, mut told) = (ERRORS.to_owned(), BTreeSet::new());
    for code in Code::ALL {
        let _ = writeln!(page, "| {} | [`{1}`](#{1}) | {2} |", code.status(), code.as_str(), code.title());
    }
    for code in Code::ALL.iter().map(|code| code.as_str()).filter(|code| told.insert(*code)) {
        let answer = client.http().get(format!("{}/problems/{code}", client.base_url())).send().await?;
        page.push_str(&problem(code, &answer.error_for_status()?.text().await?)?);
    }
    Ok(page)
}

/// One problem's page as a section: what it is, what to do, and a table of the words that tell problems of one code apart.
fn problem(code: &str, served: &str) -> Result<String> {
    let mut parts = served.trim_end().split("\n\n");
    let (Some(head), Some(title), Some(remedy)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(Failure::new(format!("/problems/{code} has no title or no remedy: {served}")));
    };
    let status = head.trim_start_matches(code).trim_matches([' ', '(', ')']);
    let mut section = format!("\n## {code}\n\nStatus {status}. {title} {remedy}\n");
    let mut table = "";
    for word in parts {
        let lines: Vec<&str> = word.lines().map(str::trim).collect();
        let [name, means, how] = lines[..] else {
            return Err(Failure::new(format!("/problems/{code} has a word of another form: {word}")));
        };
        let ((member, name), (by, how)) =
            (name.split_once(": ").unwrap_or_default(), how.split_once(": ").unwrap_or_default());
        if table != member {
            let _ = write!(section, "\n| `{member}` | it means | who can act | how |\n| --- | --- | --- | --- |\n");
            table = member;
        }
        let _ = writeln!(section, "| `{name}` | {} | {} | {} |", cell(means), cell(by), cell(how));
    }
    Ok(section)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_of_errors_and_of_both_apis_is_what_the_vault_serves() -> Result<()> {
    let (redis, secret) = (Redis::start().await?, tempfile::NamedTempFile::new()?);
    fs::write(secret.path(), stand_in::SECRET)?;
    // Nobody is asked: the vault serves its descriptions without Keycloak.
    let nobody = "http://127.0.0.1:9/realms/diku";
    let vault = stand_in::tenant(Vault::builder()?.redis(&redis), "diku", nobody, secret.path());
    let vault = vault.module(Module::new("mod-di")).admin()?.start().await?;

    let (module, operator) = (vault.client("mod-di")?, vault.operator("view", 0)?);

    for (client, page) in [(&module, "openapi.json"), (&operator, "admin-openapi.json")] {
        let document = client.call(Method::GET, "/openapi.json", None).await?.expect_status(200)?.body;
        compare(page, &(serde_json::to_string_pretty(&document)? + "\n"), same_json)?;
    }
    compare("errors.md", &errors(&module).await?, same_text)
}
