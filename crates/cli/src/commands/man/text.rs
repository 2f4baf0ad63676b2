//! Prose as roff: what stands in backticks is bold.

use clap_mangen::roff::{Inline, Roff, bold, roman};

/// A paragraph.
pub(super) fn prose(text: &str) -> Vec<Inline> {
    let part = |(place, text)| if place % 2 == 0 { roman(text) } else { bold(text) };
    text.split('`').map(str::to_owned).enumerate().map(part).collect()
}

/// A list of terms, each with what is to be said of it.
pub(super) fn terms<T: AsRef<str>>(roff: &mut Roff, terms: impl IntoIterator<Item = (T, T)>) {
    for (term, text) in terms {
        roff.control("TP", []).text([bold(term.as_ref())]).text(prose(text.as_ref()));
    }
}

/// A page of several parts. Each begins as every text of roff's does (which teaches old ones what an apostrophe is): that
/// stands there once. In texts of clap's, backticks become bold, and what roff reads as an accent is the character itself.
pub(super) fn page(name: &str, section: &str, parts: &str) -> String {
    let beginning = Roff::new().render();
    // By hand, for clap_mangen leaves an empty date out, and the version stands in its place.
    let title = format!(".TH \"{name}\" {section} \"\" \"{SOURCE}\" \"tokenvault manual\"\n");
    mended(&(beginning.clone() + &title + &parts.replace(&beginning, "")))
}

const SOURCE: &str = concat!("tokenvault ", env!("CARGO_PKG_VERSION"));

fn mended(roff: &str) -> String {
    let lines = roff.lines().map(|line| {
        // A control line, or one of the preamble's.
        if line.starts_with(['.', '\'']) {
            return line.to_owned();
        }
        let parts: Vec<String> = line.split('`').map(|part| part.chars().map(character).collect()).collect();
        let last = parts.len() - 1;
        let fonts = |place| if place % 2 == 1 && place < last { ("\\fB", "\\fP") } else { ("", "") };
        parts
            .iter()
            .enumerate()
            .map(|(place, part)| [fonts(place).0, part, fonts(place).1].concat())
            .collect::<String>()
    });
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

/// As roff takes it for what it is.
fn character(c: char) -> String {
    match c {
        '~' => "\\(ti".to_owned(),
        '^' => "\\(ha".to_owned(),
        c if c.is_ascii() => c.to_string(),
        c => format!("\\[u{:04X}]", u32::from(c)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_backticks_is_bold() {
        assert_eq!(mended("run `serve` and `keygen`, not ~"), "run \\fBserve\\fP and \\fBkeygen\\fP, not \\(ti\n");
        assert_eq!(mended("admin …"), "admin \\[u2026]\n");
        assert_eq!(mended(".SH `A`"), ".SH `A`\n");
        assert_eq!(Roff::new().text(prose("set `a.b` now")).to_roff(), "set \\fBa.b\\fR now\n");
    }
}
