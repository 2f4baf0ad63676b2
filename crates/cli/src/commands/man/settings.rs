//! tokenvault.toml(5), made from the sample configuration: what the sample explains is what the page explains.

use clap_mangen::roff::{Roff, bold, italic, roman};
use tokenvault_server::config::DEFAULT_FILE;

use super::page::ManualPage;
use super::text;

const SAMPLE: &str = include_str!("../../../../../deploy/tokenvault.toml");

/// One line of the sample, or several that are a paragraph.
#[derive(Debug, Clone, PartialEq, Eq)]
enum SampleItem<'a> {
    Paragraph(String),
    Section { name: &'a str, text: &'a str, optional: bool },
    Key { name: &'a str, value: &'a str, text: &'a str, set: bool },
}

pub(super) fn page() -> ManualPage {
    let mut roff = Roff::new();
    roff.control("SH", ["NAME"]).text([roman("tokenvault.toml - the configuration of tokenvault")]);
    roff.control("SH", ["DESCRIPTION"]);
    let items = items(SAMPLE);
    let opening = items.iter().position(|item| !matches!(item, SampleItem::Paragraph(_))).unwrap_or_default();
    for (place, item) in items[..opening].iter().enumerate() {
        let SampleItem::Paragraph(paragraph) = item else { continue };
        if place > 0 {
            roff.control("PP", []);
        }
        roff.text(text::prose(paragraph));
    }
    roff.control("PP", [])
        .text(text::prose("Below, a key stands with its default, or with an example where it has none."));
    roff.control("SH", ["SECTIONS"]);
    for item in &items[opening..] {
        write(&mut roff, item);
    }
    roff.control("SH", ["FILES"]);
    text::terms(&mut roff, [(DEFAULT_FILE, "Where the configuration is, unless `--config` says otherwise.")]);
    let also = "`tokenvault`(1), `tokenvault-check-config`(1), `tokenvault-doctor`(1), `tokenvault-serve`(1)";
    roff.control("SH", ["SEE ALSO"]).text(text::prose(also));
    let name = "tokenvault.toml".to_owned();
    ManualPage { roff: text::page(&name, "5", &roff.render()), name, section: "5" }
}

fn write(roff: &mut Roff, item: &SampleItem<'_>) {
    match item {
        SampleItem::Paragraph(paragraph) => drop(roff.control("PP", []).text(text::prose(paragraph))),
        SampleItem::Section { name, text, optional } => {
            roff.control("SS", [format!("[{name}]").as_str()]);
            let optional = if *optional { " The section may be left out." } else { "" };
            roff.text(text::prose(&format!("{}.{optional}", capital(text))));
        }
        SampleItem::Key { name, value, text, set } => {
            roff.control("TP", []).text([bold(*name), roman(" = "), italic(*value)]);
            let unset = if *set { "" } else { " Not set by default." };
            roff.text(text::prose(&format!("{}.{unset}", capital(text))));
        }
    }
}

fn capital(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map(|first| first.to_uppercase().chain(rest).collect()).unwrap_or_default()
}

fn items(sample: &str) -> Vec<SampleItem<'_>> {
    let mut items = Vec::new();
    let mut paragraph: Vec<&str> = Vec::new();
    for line in sample.lines().chain([""]) {
        let prose = line.strip_prefix('#').map(str::trim);
        let item = item(line);
        if let (Some(prose), None) = (prose, &item)
            && !prose.is_empty()
        {
            paragraph.push(prose);
            continue;
        }
        if !paragraph.is_empty() {
            items.push(SampleItem::Paragraph(std::mem::take(&mut paragraph).join(" ")));
        }
        items.extend(item);
    }
    items
}

/// A section or a key, be it commented out or not.
fn item(line: &str) -> Option<SampleItem<'_>> {
    let (written, set) = line.strip_prefix("# ").map_or((line, true), |written| (written, false));
    let (written, text) = comment(written);
    if let Some(name) = written.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        return Some(SampleItem::Section { name, text, optional: !set });
    }
    let (name, value) = written.split_once(" = ")?;
    let is_key = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    (is_key && !name.is_empty()).then_some(SampleItem::Key { name, value, text, set })
}

/// A line without its comment, and the comment. A `#` in a text is none.
fn comment(line: &str) -> (&str, &str) {
    let mut quoted = false;
    let begin = line.char_indices().find(|(_, c)| {
        quoted ^= *c == '"';
        *c == '#' && !quoted
    });
    begin.map_or((line.trim_end(), ""), |(at, _)| (line[..at].trim_end(), line[at + 1..].trim()))
}

#[cfg(test)]
mod tests {
    use tokenvault_server::config::sections;

    use super::*;

    /// The page's part on one section.
    fn section<'a>(roff: &'a str, name: &str) -> &'a str {
        let (_, rest) = roff.split_once(&format!(".SS [{name}]\n")).unwrap_or_else(|| panic!("no section {name}"));
        rest.split("\n.S").next().unwrap_or(rest)
    }

    #[test]
    fn every_key_of_the_configuration_is_on_the_page_and_explained() {
        let page = page();
        for (name, keys) in sections() {
            let section = section(&page.roff, name);
            for key in keys {
                assert!(section.contains(&format!(".TP\n\\fB{key}\\fR = \\fI")), "[{name}] lacks {key}: {section}");
            }
        }
        for item in items(SAMPLE) {
            if let SampleItem::Section { name, text, .. } | SampleItem::Key { name, text, .. } = item {
                assert!(!text.is_empty(), "the sample does not say what {name} is");
            }
        }
    }

    #[test]
    fn a_line_of_the_sample_is_a_section_a_key_or_prose() {
        let sample = "# A word on all,\n# and another.\n#\n# TWO=1\n\n[server] # here\n# [idp] # there\nurl = \"a#b\" # where\n# on = 1\n";
        let key = |name, value, text, set| SampleItem::Key { name, value, text, set };
        let expected = [
            SampleItem::Paragraph("A word on all, and another.".to_owned()),
            SampleItem::Paragraph("TWO=1".to_owned()),
            SampleItem::Section { name: "server", text: "here", optional: false },
            SampleItem::Section { name: "idp", text: "there", optional: true },
            key("url", "\"a#b\"", "where", true),
            key("on", "1", "", false),
        ];
        assert_eq!(items(sample), expected);
    }
}
