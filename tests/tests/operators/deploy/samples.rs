//! Whoever the samples let in is there: a certificate that has the name is made by the commands beside them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tokenvault_tests::harness::Result;

use super::root;

/// The texts between double quotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('"').skip(1).step_by(2)
}

/// Whom a text lets in, in the words of `certificates.sh`: what its policies say outside of comments.
fn let_in(text: &str) -> BTreeSet<String> {
    let kinds = [("uri_san = ", "URI:"), ("dns_san = ", "DNS:"), ("cn = ", "CN:")];
    let named = text.lines().filter_map(|line| {
        let (_, kind, value) =
            kinds.iter().find_map(|(key, kind)| line.trim_start().strip_prefix(key).map(|value| (key, kind, value)))?;
        Some(format!("{kind}{}", quoted(value).next()?))
    });
    named.collect()
}

/// Whose certificates a text makes: by `certificates.sh`, or by cert-manager.
fn made(text: &str) -> BTreeSet<String> {
    let commands = text.lines().filter(|line| line.contains("certificates.sh ") && !line.contains(" server "));
    let by_script = commands.filter_map(|line| line.split_whitespace().last()).map(str::to_owned);
    let listed = text.lines().filter_map(|line| line.trim_start().strip_prefix("dnsNames: "));
    by_script.chain(listed.flat_map(quoted).map(|name| format!("DNS:{name}"))).collect()
}

/// Every file that may hold a policy, with its text.
fn texts(place: &Path, found: &mut Vec<(PathBuf, String)>) -> Result<()> {
    if place.is_file() {
        found.extend(fs::read_to_string(place).ok().map(|text| (place.to_owned(), text)));
        return Ok(());
    }
    for entry in fs::read_dir(place)? {
        texts(&entry?.path(), found)?;
    }
    Ok(())
}

#[test]
fn the_samples_let_nobody_in_for_whom_no_certificate_is_made() -> Result<()> {
    let mut found = Vec::new();
    for place in ["deploy", "docs", "README.md"] {
        texts(&root().join(place), &mut found)?;
    }
    let by_the_page = made(&fs::read_to_string(root().join("docs/install.md"))?);
    assert_eq!(by_the_page.len(), 2, "a module and an operator: {by_the_page:?}");
    let (mut named, mut strangers) = (0, Vec::new());
    for (file, text) in found {
        let own = made(&text);
        for name in let_in(&text) {
            named += 1;
            if !own.contains(&name) && !by_the_page.contains(&name) {
                strangers.push(format!("{}: {name}", file.display()));
            }
        }
    }
    assert!(named >= 8, "the samples name {named}");
    assert!(strangers.is_empty(), "let in, and nobody made a certificate for them: {strangers:#?}");
    Ok(())
}
