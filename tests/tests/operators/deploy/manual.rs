//! The manual pages are shown as they are meant.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use tokenvault_tests::harness::tools::{said, tool};
use tokenvault_tests::harness::vault::tokenvault;
use tokenvault_tests::harness::{Failure, Result};

use super::{root, temporary};

/// Every page, as a terminal shows it. A page that groff warns of is an error.
fn shown() -> Result<BTreeMap<String, String>> {
    let dir = temporary()?;
    let written = tokenvault(&["man", "--dir", &dir.path().display().to_string()])?;
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    let mut pages = BTreeMap::new();
    for entry in fs::read_dir(dir.path())? {
        let file = entry?.path();
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let groff = || -> Result<Command> {
            let mut groff = Command::new(tool("groff")?);
            groff.args(["-man", "-Tutf8", "-wall", "-rLL=80n", "-P-cbou"]).arg(&file);
            Ok(groff)
        };
        let (done, warnings) = said(groff()?.arg("-z"))?;
        assert!(done && warnings.is_empty(), "{name}: {warnings}");
        pages.insert(name, said(&mut groff()?)?.1);
    }
    Ok(pages)
}

/// The keys of the sample configuration, commented or not.
fn keys() -> Result<Vec<String>> {
    let sample = fs::read_to_string(root().join("deploy/tokenvault.toml"))?;
    let keys = sample.lines().filter_map(|line| {
        let (key, _) = line.trim_start_matches("# ").split_once(" = ")?;
        key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_').then(|| key.to_owned())
    });
    Ok(keys.collect())
}

#[test]
fn every_page_is_shown_without_a_warning_and_without_marks_of_markdown() -> Result<()> {
    for (name, text) in shown()? {
        // groff shows a backtick as an opening quote.
        assert!(!text.contains(['`', '\u{2018}', '\u{2dc}']), "{name}: {text}");
        let heading = |heading: &str| text.lines().any(|line| line == heading);
        assert!(heading("SEE ALSO"), "{name} leads nowhere");
        assert!(!text.contains("--config") || heading("FILES"), "{name} names no files");
        assert!(name.ends_with(".5") || heading("ENVIRONMENT") && heading("EXIT STATUS"), "{name} lacks a section");
    }
    Ok(())
}

#[test]
fn the_page_on_the_configuration_has_every_key_of_the_sample() -> Result<()> {
    let pages = shown()?;
    let page = pages.get("tokenvault.toml.5").ok_or_else(|| Failure::new("there is no tokenvault.toml(5)"))?;
    let keys = keys()?;
    let missing: Vec<_> = keys.iter().filter(|key| !page.contains(&format!("       {key} = "))).collect();
    assert!(keys.len() > 80, "the sample has {} keys", keys.len());
    assert!(missing.is_empty(), "tokenvault.toml(5) lacks {missing:?}");
    Ok(())
}
