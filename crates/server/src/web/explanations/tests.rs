//! Every word that may be answered has its explanation.

use std::collections::BTreeSet;
use std::path::Path;

use tokenvault_core::record::{EndKind, EndReason, Suspension};

use super::*;

fn explained(code: Code, member: &str) -> BTreeSet<&'static str> {
    of(code).filter(|word| word.member == member).map(|word| word.word).collect()
}

/// The texts between two marks.
fn between(source: &str, before: &str, after: &str) -> Vec<String> {
    let pieces = source.split(before).skip(1);
    pieces.filter_map(|rest| rest.split_once(after).map(|(word, _)| word.to_owned())).collect()
}

/// All of this crate's sources but its tests.
fn sources(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        let name = entry.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if entry.is_dir() && name != "tests" {
            sources(&entry, found);
        } else if Path::new(name).extension().is_some_and(|ext| ext == "rs") && name != "tests.rs" {
            found.push(std::fs::read_to_string(&entry).expect("a source"));
        }
    }
}

fn core(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/src/ports").join(file);
    std::fs::read_to_string(path).expect("a source of the core's")
}

/// A part of a source, by what it begins with, to the first brace at the beginning of a line.
fn part<'a>(source: &'a str, begin: &str) -> &'a str {
    let (_, rest) = source.split_once(begin).unwrap_or_else(|| panic!("{begin} is not there"));
    rest.split_once("\n}").expect("an end").0
}

#[test]
fn every_word_in_the_sources_is_explained() {
    let mut found = Vec::new();
    for of in ["src", "../vault/src"] {
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(of), &mut found);
    }
    assert!(found.len() > 100, "only {} sources", found.len());
    let (mut checks, mut reasons) = (BTreeSet::new(), BTreeSet::new());
    for source in &found {
        checks.extend(between(source, "rejected(\"", "\""));
        checks.extend(between(source, ".with(\"check\", \"", "\""));
        reasons.extend(between(source, ".with(\"reason\", \"", "\""));
    }
    // The vault answers with these as they are, but for the keys that could not be had.
    checks.extend(between(part(&core("idp.rs"), "pub enum ProofError {"), "#[error(\"", "\""));
    assert!(checks.remove("keys_unavailable"), "it is among them");
    assert!(checks.len() > 15 && !reasons.is_empty(), "{checks:?} {reasons:?}");
    let known: BTreeSet<String> = explained(Code::TokenRejected, "check").into_iter().map(str::to_owned).collect();
    let missing: Vec<_> = checks.difference(&known).collect();
    assert!(missing.is_empty(), "no page explains the checks {missing:?}");
    let known: BTreeSet<String> = names("reason").into_iter().map(str::to_owned).collect();
    let missing: Vec<_> = reasons.difference(&known).collect();
    assert!(missing.is_empty(), "no page explains the reasons {missing:?}");
}

#[test]
fn every_refusal_of_keycloaks_is_explained_where_it_is_answered() {
    let source = core("idp.rs");
    let (_, refusal) = source.split_once("impl Refusal {").expect("the refusals");
    let codes = between(refusal.split_once("\n}").expect("an end").0, "=> \"", "\"");
    assert!(codes.len() > 10, "{codes:?}");
    let explained: BTreeSet<&str> = [Code::TokenRejected, Code::IdpRejected, Code::Unsupported]
        .into_iter()
        .flat_map(|code| explained(code, if code == Code::TokenRejected { "check" } else { "reason" }))
        .collect();
    for code in &codes {
        assert!(explained.contains(code.as_str()), "no page explains {code}");
    }
}

#[test]
fn every_end_and_every_suspension_is_explained_with_its_own_code() {
    for reason in EndReason::ALL {
        let (code, again) = match reason.kind() {
            EndKind::Job => (Code::JobEnded, Some(Code::JobIdEnded)),
            EndKind::Session => (Code::SessionEnded, Some(Code::JobIdEnded)),
            EndKind::Reauth => (Code::ReauthRequired, None),
        };
        for code in std::iter::once(code).chain(again) {
            assert!(
                explained(code, "reason").contains(reason.code()),
                "{} does not explain {}",
                code.as_str(),
                reason.code()
            );
        }
    }
    let explained = explained(Code::TokenNotReady, "reason");
    let there_are: BTreeSet<&str> = Suspension::ALL.iter().map(|reason| reason.code()).collect();
    assert_eq!(explained, there_are);
}

#[test]
fn a_word_is_explained_once_for_each_code_and_in_sentences() {
    for code in Code::ALL {
        let words: Vec<_> = of(*code).map(|word| (word.member, word.word)).collect();
        let distinct: BTreeSet<_> = words.iter().collect();
        assert_eq!(words.len(), distinct.len(), "{words:?}");
    }
    for word in all() {
        for text in [word.means, word.how] {
            assert!(text.ends_with('.') && text.len() > 10, "{}: {text}", word.word);
        }
        assert!(word.word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{}", word.word);
    }
}
