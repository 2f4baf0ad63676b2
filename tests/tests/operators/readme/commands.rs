//! Every command that a page gives is one that the command line knows, with its options and their values.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tokenvault_tests::harness::vault::tokenvault;
use tokenvault_tests::harness::{Result, root};

/// Pages for people who type what stands there.
pub(super) fn pages() -> Result<Vec<PathBuf>> {
    let mut found = vec![root().join("README.md")];
    for folder in [
        "docs",
        "docs/explain",
        "docs/howto",
        "docs/reference",
        "docs/runbooks",
        "deploy/compose",
        "deploy/keycloak",
        "deploy/helm/tokenvault",
    ] {
        for entry in fs::read_dir(root().join(folder))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// The commands of a page: in its blocks, and those that it quotes.
fn commands(page: &Path) -> Result<BTreeSet<Vec<String>>> {
    let text = fs::read_to_string(page)?;
    let (mut fenced, mut found) = (false, BTreeSet::new());
    for line in text.lines() {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        if fenced && !fence || line.starts_with("    ") {
            found.extend(words(line));
        } else {
            found.extend(
                line.split('`').skip(1).step_by(2).filter(|text| text.starts_with("tokenvault ")).flat_map(words),
            );
        }
    }
    Ok(found)
}

/// The words of each call of `tokenvault` in a line, up to where the shell's own begin.
fn words(line: &str) -> Vec<Vec<String>> {
    // Nothing that is quoted on the pages but one text has a blank in it.
    let line = line.replace("\"Keycloak errs\"", "errs").replace(['"', '\'', '(', ')'], " ");
    let words: Vec<&str> = line.split_whitespace().collect();
    let calls = words.iter().enumerate().filter(|(at, word)| {
        let begins = *at == 0 || matches!(words[at - 1], "&&" | "|" | ";" | "tokenvault" | "keyring.toml");
        **word == "tokenvault" && (begins || words[at - 1].ends_with(';'))
    });
    let call = |at: usize| {
        let ends = |word: &&&str| !matches!(**word, "|" | "||" | "&&" | ">" | ">>" | "#" | "\\" | "…" | ";");
        words[at + 1..].iter().take_while(ends).map(|word| word.trim_end_matches(';').to_owned()).collect::<Vec<_>>()
    };
    let calls = calls.map(|(at, _)| call(at));
    // `tokenvault COMMAND` stands for all of them, and `tokenvault (…)` is prose.
    calls
        .filter(|call| call.first().is_some_and(|first| first.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')))
        .collect()
}

#[test]
fn every_command_on_a_page_is_understood() -> Result<()> {
    let (mut tried, mut wrong) = (0, Vec::new());
    for page in pages()? {
        for command in commands(&page)? {
            // Looked at word by word until `--help` ends it, so that nothing is done.
            let asked: Vec<&str> = command.iter().map(String::as_str).chain(["--help"]).collect();
            let output = tokenvault(&asked)?;
            tried += 1;
            if !output.status.success() {
                let complaint = String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default().to_owned();
                wrong.push(format!("{}: {}: {complaint}", page.display(), command.join(" ")));
            }
        }
    }
    assert!(tried > 60, "{tried} commands");
    assert!(wrong.is_empty(), "not understood: {wrong:#?}");
    Ok(())
}
