//! What the documents name is there: files, sections, tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tokenvault_tests::harness::{Result, root};

/// Where a document may be, and sources are.
const FOLDERS: &[&str] = &["crates", "deploy", "docs", "migrations", "tests"];

/// All files with this extension in and below a directory.
fn files(dir: &Path, extension: &str, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            files(&path, extension, found)?;
        } else if path.extension().is_some_and(|its| its == extension) {
            found.push(path);
        }
    }
    Ok(())
}

/// Every document, with its text.
fn documents() -> Result<Vec<(PathBuf, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    for folder in FOLDERS {
        files(&root().join(folder), "md", &mut found)?;
    }
    found.into_iter().map(|path| Ok((path.clone(), fs::read_to_string(path)?))).collect()
}

/// A document's text without its fenced blocks.
fn prose(text: &str) -> String {
    let mut fenced = false;
    let lines = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The targets of `[text](target)`.
fn links(text: &str) -> Vec<&str> {
    text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0)).collect()
}

/// The texts in single backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

/// The names under which a document's headings can be linked to.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text);
    let headings =
        headings.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let letters = |heading: &str| heading.to_lowercase().replace(' ', "-");
    let kept = |name: String| name.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect();
    headings.map(letters).map(kept).collect()
}

#[test]
fn every_link_leads_somewhere() -> Result<()> {
    let mut dead = Vec::new();
    for (file, text) in documents()? {
        for link in links(&prose(&text)).into_iter().filter(|link| !link.contains("://")) {
            let (target, anchor) = link.split_once('#').unwrap_or((link, ""));
            let path = if target.is_empty() { file.clone() } else { file.with_file_name("").join(target) };
            let anchored = || fs::read_to_string(&path).is_ok_and(|text| anchors(&text).contains(anchor));
            if !path.exists() || !(anchor.is_empty() || anchored()) {
                dead.push(format!("{}: {link}", file.display()));
            }
        }
    }
    assert!(dead.is_empty(), "dead links: {dead:#?}");
    Ok(())
}

/// The documents that a reader comes to by following links from a document, itself included.
fn reached_from(start: &Path) -> BTreeSet<PathBuf> {
    let (mut reached, mut open) = (BTreeSet::new(), vec![start.to_owned()]);
    while let Some(file) = open.pop() {
        let Ok(file) = file.canonicalize() else { continue };
        if !reached.insert(file.clone()) || file.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap_or_default();
        let text = prose(&text);
        let targets = links(&text).into_iter().filter(|link| !link.contains("://"));
        open.extend(targets.filter_map(|link| Some(file.with_file_name("").join(link.split('#').next()?))));
    }
    reached
}

#[test]
fn every_document_is_reached_from_the_index() -> Result<()> {
    let reached = reached_from(&root().join("docs/README.md"));
    let mut all = Vec::new();
    for extension in ["md", "json"] {
        files(&root().join("docs"), extension, &mut all)?;
    }
    let mut lost = Vec::new();
    for file in &all {
        if !reached.contains(&file.canonicalize()?) {
            lost.push(file.display().to_string());
        }
    }
    assert!(all.len() > 80, "{} documents", all.len());
    assert!(lost.is_empty(), "no way leads from docs/README.md to {lost:#?}");
    Ok(())
}

#[test]
fn the_readme_is_short() -> Result<()> {
    let lines = fs::read_to_string(root().join("README.md"))?.lines().count();
    assert!(lines <= 120, "{lines} lines: what is more belongs to a page of docs/");
    Ok(())
}

/// The lines of a document's Mermaid diagrams.
fn diagrams(text: &str) -> Vec<Vec<&str>> {
    let blocks = text.split("```mermaid\n").skip(1);
    blocks.filter_map(|rest| rest.split("\n```").next()).map(|block| block.lines().map(str::trim).collect()).collect()
}

/// Whether a line of a sequence diagram is one that Mermaid reads. A semicolon would end it, and a number sign begin an escape.
fn is_drawn(line: &str, parties: &BTreeSet<&str>) -> bool {
    let known = |names: &str| names.split(',').all(|name| parties.contains(name.trim()));
    let message = ["-->>", "->>", "--x", "-x"].iter().find_map(|arrow| {
        let (from, rest) = line.split_once(arrow)?;
        let (to, text) = rest.split_once(':')?;
        Some(known(from) && known(to) && !text.trim().is_empty())
    });
    let note = line.strip_prefix("Note over ").and_then(|rest| rest.split_once(':')).map(|(over, _)| known(over));
    let frame = line == "end"
        || ["actor ", "participant ", "loop ", "alt ", "else "].iter().any(|begin| line.starts_with(begin));
    !line.contains([';', '#']) && (frame || note.or(message).unwrap_or_default())
}

#[test]
fn every_sequence_diagram_has_only_lines_that_are_drawn() -> Result<()> {
    let (mut drawn, mut wrong) = (0, Vec::new());
    for (file, text) in documents()? {
        for lines in diagrams(&text).into_iter().filter(|lines| lines.first() == Some(&"sequenceDiagram")) {
            drawn += 1;
            let declared =
                lines.iter().filter_map(|line| line.strip_prefix("actor ").or(line.strip_prefix("participant ")));
            let parties: BTreeSet<&str> = declared.filter_map(|party| party.split(' ').next()).collect();
            let frames = lines.iter().filter(|line| line.starts_with("loop ") || line.starts_with("alt ")).count();
            let ends = lines.iter().filter(|line| **line == "end").count();
            if frames != ends {
                wrong.push(format!("{}: {lines:?}", file.display()));
            }
            let unread = lines.iter().skip(1).filter(|line| !is_drawn(line, &parties));
            wrong.extend(unread.map(|line| format!("{}: {line}", file.display())));
        }
    }
    assert!(drawn >= 4, "{drawn} diagrams");
    assert!(wrong.is_empty(), "not drawn: {wrong:#?}");
    Ok(())
}

/// Where this repository is published.
const PUBLISHED: &str = "https://github.com/folio-org/tokenvault/blob/main/";

/// The documents that a source, a script or a configuration names: by their path, or by their published address.
fn documents_named_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && !"/._-#:".contains(c));
    let words = words.map(|word| word.strip_prefix(PUBLISHED).unwrap_or(word).trim_end_matches(['.', ':', '#']));
    let is_page = |file: &str| Path::new(file).extension().is_some_and(|extension| extension == "md");
    let is_document = |word: &&str| word.starts_with("docs/") && word.split('#').next().is_some_and(is_page);
    words.filter(is_document).map(str::to_owned).collect()
}

#[test]
fn every_document_that_a_source_a_script_or_a_configuration_names_is_there() -> Result<()> {
    let (mut named, mut dead) = (0, Vec::new());
    for folder in FOLDERS {
        for extension in ["json", "py", "rs", "service", "sh", "toml", "tpl", "txt", "yaml"] {
            let mut found = Vec::new();
            files(&root().join(folder), extension, &mut found)?;
            for file in found {
                let text = fs::read_to_string(&file)?;
                for document in documents_named_in(&text) {
                    named += 1;
                    let (path, anchor) = document.split_once('#').unwrap_or((&document, ""));
                    let target = fs::read_to_string(root().join(path)).ok();
                    let there = target.is_some_and(|text| anchor.is_empty() || anchors(&text).contains(anchor));
                    if !there && !path.contains("NNNN") {
                        dead.push(format!("{}: {document}", file.display()));
                    }
                }
            }
        }
    }
    assert!(named > 40, "{named} documents are named");
    assert!(dead.is_empty(), "not in docs/: {dead:#?}");
    Ok(())
}

/// Whether what is quoted is meant as a path in the repository.
fn is_path(quoted: &str) -> bool {
    let plain = quoted.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    plain && FOLDERS.iter().any(|folder| quoted.starts_with(&format!("{folder}/")))
}

#[test]
fn every_path_that_is_named_is_there() -> Result<()> {
    let mut missing = Vec::new();
    for (file, text) in documents()? {
        // The spike's rows name tests in a shorter way, which has a test of its own below.
        let spike = file.ends_with("docs/spike.md");
        let paths =
            quoted(&text).into_iter().filter(|quoted| is_path(quoted) && !(spike && quoted.starts_with("tests/")));
        for path in paths.filter(|path| !root().join(path).exists()) {
            missing.push(format!("{}: {path}", file.display()));
        }
    }
    assert!(missing.is_empty(), "not in the repository: {missing:#?}");
    Ok(())
}

/// The sources a name in docs/spike.md is looked for in: a test's file or directory, or the core.
fn sources(place: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    match place.strip_prefix("tests/") {
        None => files(&root().join("crates/core/src"), "rs", &mut found)?,
        Some(name) => {
            let file = root().join("tests/tests").join(name);
            let dir = file.with_extension("");
            if dir.is_dir() {
                files(&dir, "rs", &mut found)?;
            } else if file.is_file() {
                found.push(file);
            }
        }
    }
    Ok(found)
}

/// Whether the sources have a function of this name under `#[test]` or the like, or a module, where the name is one.
fn holds(sources: &[PathBuf], name: &str) -> bool {
    let (test, module) = (format!("fn {name}("), format!("mod {name}"));
    sources.iter().filter_map(|file| fs::read_to_string(file).ok()).any(|text| {
        text.contains(&test) || text.lines().any(|line| line.trim_end_matches([' ', '{', ';']).ends_with(&module))
    })
}

#[test]
fn every_test_that_the_spikes_rows_name_exists() -> Result<()> {
    let spike = fs::read_to_string(root().join("docs/spike.md"))?;
    let rows = spike.lines().filter(|line| line.starts_with("| ")).collect::<Vec<_>>().join("\n");
    let named: BTreeSet<&str> =
        quoted(&rows).into_iter().filter(|name| name.starts_with("tests/") || name.starts_with("core ")).collect();
    let mut missing = Vec::new();
    for name in &named {
        let (place, test) = match name.strip_prefix("core ") {
            Some(path) => ("core", path.rsplit_once("::").map(|(_, test)| test)),
            None => name.split_once("::").map_or((*name, None), |(place, test)| (place, Some(test))),
        };
        let sources = sources(place)?;
        if sources.is_empty() || test.is_some_and(|test| !holds(&sources, test)) {
            missing.push(name);
        }
    }
    assert!(named.len() > 10, "{named:?}");
    assert!(missing.is_empty(), "docs/spike.md names what is not there: {missing:#?}");
    Ok(())
}

/// Crates have names that begin as metrics do.
const CRATES: &[&str] = &[
    "tokenvault_core",
    "tokenvault_keycloak",
    "tokenvault_redis",
    "tokenvault_server",
    "tokenvault_tests",
    "tokenvault_vault",
];

/// The metrics that a text names: in full anywhere, and without the prefix where they are quoted and end as metrics do.
fn metrics(text: &str) -> BTreeSet<String> {
    // A colon belongs to the word: `module::tokenvault_does_this` is a test's name.
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | ':'));
    let words = words.map(|word| word.trim_end_matches(':'));
    let full = words.filter(|word| word.starts_with("tokenvault_") && word.len() > "tokenvault_".len());
    let full = full.filter(|word| !CRATES.contains(word));
    let short = quoted(text).into_iter().filter(|word| {
        let plain = word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        plain && !word.starts_with("tokenvault_") && (word.ends_with("_total") || word.ends_with("_timestamp_seconds"))
    });
    full.map(str::to_owned).chain(short.map(|word| format!("tokenvault_{word}"))).collect()
}

#[test]
fn every_metric_that_is_named_is_one_that_the_vault_serves() -> Result<()> {
    let listed = fs::read_to_string(root().join("docs/reference/metrics.md"))?;
    let rows = listed.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let served: BTreeSet<&str> = rows.collect();
    let mut texts = documents()?;
    for extension in ["yaml", "json", "tpl", "txt", "sh", "toml"] {
        let mut found = Vec::new();
        files(&root().join("deploy"), extension, &mut found)?;
        texts.extend(found.into_iter().filter_map(|path| Some((path.clone(), fs::read_to_string(path).ok()?))));
    }
    let (mut named, mut invented) = (0, Vec::new());
    for (file, text) in texts {
        for metric in metrics(&text) {
            named += 1;
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|part| metric.strip_suffix(part));
            if !served.contains(metric.as_str()) && !family.is_some_and(|family| served.contains(family)) {
                invented.push(format!("{}: {metric}", file.display()));
            }
        }
    }
    assert!(served.len() > 25 && named > 100, "{} served, {named} named", served.len());
    assert!(invented.is_empty(), "no metrics of the vault's: {invented:#?}");
    Ok(())
}

/// What a command line would put another file in place of, among the files that a vault lives by.
fn overwrites(line: &str) -> bool {
    let ours = |target: &str| {
        let target = target.trim_start_matches(['"', ' ']);
        ["$DIR/", "/etc/tokenvault/"].iter().any(|place| target.starts_with(place)) || target.contains("keyring.toml")
    };
    let redirected = line.replace(">>", "").split('>').skip(1).any(ours);
    let copied = ["cp ", "mv ", "tee "]
        .iter()
        .any(|command| line.trim_start().starts_with(command) || line.contains(&format!("| {command}")));
    redirected || (copied && line.split_whitespace().last().is_some_and(ours))
}

#[test]
fn no_command_that_is_written_down_puts_another_file_in_place_of_one_that_is_there() -> Result<()> {
    for (line, found) in [
        ("tokenvault keygen --primary > keyring.toml", true),
        ("sed 's|a|b|' deploy/tokenvault.toml > \"$DIR/tokenvault.toml\"", true),
        ("cp deploy/policy.toml /etc/tokenvault/policy.toml", true),
        ("tokenvault keygen --id k2 >> keyring.toml", false),
        ("deploy/once.sh \"$DIR/policy.toml\" cat deploy/policy.toml", false),
    ] {
        assert_eq!(overwrites(line), found, "{line}");
    }
    let mut found = Vec::new();
    let mut texts = documents()?;
    for (folder, extension) in [("deploy", "sh"), ("deploy", "service"), ("deploy", "toml"), ("crates/cli/src", "rs")] {
        let mut named = Vec::new();
        files(&root().join(folder), extension, &mut named)?;
        texts.extend(named.into_iter().filter_map(|path| Some((path.clone(), fs::read_to_string(path).ok()?))));
    }
    for (file, text) in texts {
        // A token that lives for a minute, and is deleted at once.
        let lines = text.lines().filter(|line| !line.contains("/secrets/admin-token\"") && !line.starts_with("//!"));
        found.extend(lines.filter(|line| overwrites(line)).map(|line| format!("{}: {line}", file.display())));
    }
    assert!(found.is_empty(), "these would undo what an operator has: {found:#?}");
    Ok(())
}

/// What does not answer a row.
const EVASIONS: &[&str] = &["", "-", "as above", "not yet", "tbd", "todo", "unknown", "not applicable"];

#[test]
fn every_row_of_the_spike_has_an_answer_and_says_what_shows_it() -> Result<()> {
    let spike = fs::read_to_string(root().join("docs/spike.md"))?;
    let rows = spike.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---"));
    let rows: Vec<&str> = rows.filter(|row| !row.ends_with("| shown by |")).collect();
    let unanswered: Vec<&&str> = rows
        .iter()
        .filter(|row| {
            let cells: Vec<&str> = row.trim_matches(['|', ' ']).split(" | ").map(str::trim).collect();
            let [_, answer, shown] = cells[..] else { return true };
            let evades = |cell: &str| EVASIONS.contains(&cell.to_lowercase().as_str()) || cell.contains("not yet");
            let names = ["::", "`tests/", "source: ", "all of the above"].iter().any(|word| shown.contains(word));
            evades(answer) || evades(shown) || !names
        })
        .collect();
    assert!(rows.len() > 20, "{rows:#?}");
    assert!(unanswered.is_empty(), "{unanswered:#?}");
    Ok(())
}

#[test]
fn every_hazard_that_folios_page_explains_is_one_of_doctors() -> Result<()> {
    let page = fs::read_to_string(root().join("docs/folio.md"))?;
    let section = page.split_once("## Hazards that `doctor` names").map_or("", |(_, rest)| rest);
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
    let rows = section.lines().filter(|line| line.starts_with("| `") || line.starts_with("- **`"));
    let named: BTreeSet<&str> =
        rows.filter_map(|row| row.trim_start_matches("| ").split(" | ").next()).flat_map(quoted).collect();
    let mut sources = Vec::new();
    files(&root().join("crates/cli/src/doctor"), "rs", &mut sources)?;
    let code: String = sources.iter().filter_map(|file| fs::read_to_string(file).ok()).collect();
    let checks = named.iter().filter(|name| name.contains('-') || **name == "lightweight");
    let invented: Vec<&&str> = checks.filter(|name| !code.contains(&format!("\"{name}\""))).collect();
    assert!(named.len() > 6, "{named:?}");
    assert!(invented.is_empty(), "docs/folio.md explains what doctor does not say: {invented:?}");
    Ok(())
}

#[test]
fn the_runbook_has_a_way_out_of_each_cause_for_which_the_store_is_unavailable() -> Result<()> {
    let page = fs::read_to_string(root().join("docs/runbooks/store-unavailable.md"))?;
    for (code, words) in tokenvault_core::ports::CAUSES {
        let row = format!("| `{code}` | {words} | ");
        assert!(page.contains(&row), "no row {row}");
    }
    Ok(())
}

/// The codes in the first column of the page's tables on refused registrations.
fn refusals(page: &str) -> BTreeSet<&str> {
    let section = page.split_once("### A registration that is refused").map_or("", |(_, rest)| rest);
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.filter_map(|row| row.trim_start_matches("| ").split(" | ").next()).flat_map(quoted).collect()
}

#[test]
fn every_refusal_that_the_page_for_modules_explains_is_one_of_the_vaults() -> Result<()> {
    let page = fs::read_to_string(root().join("docs/modules.md"))?;
    let mut sources = Vec::new();
    files(&root().join("crates/core/src/ports"), "rs", &mut sources)?;
    files(&root().join("crates/vault/src/jobs"), "rs", &mut sources)?;
    let code: String = sources.iter().filter_map(|file| fs::read_to_string(file).ok()).collect();
    let named = refusals(&page);
    let invented: Vec<&&str> = named.iter().filter(|name| !code.contains(&format!("\"{name}\""))).collect();
    assert!(named.len() > 12, "{named:?}");
    assert!(invented.is_empty(), "docs/modules.md explains what no answer says: {invented:?}");
    Ok(())
}
