//! How a text looks where it is shown: as wide as the terminal, and in colours where those are wanted. A file or a program
//! must always get the same text: no colour, no broken line.

use std::os::fd::AsFd;

use anstream::stream::RawStream;
use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use jiff::tz::TimeZone;
use terminal_size::{Width, terminal_size_of};
use textwrap::{Options, WordSplitter};

/// Of a terminal that does not tell how wide it is.
const USUAL_WIDTH: usize = 80;

/// How texts on one stream look.
#[derive(Debug, Clone)]
pub struct OutputStyle {
    width: Option<usize>,
    colour: bool,
    zone: TimeZone,
}

/// What a text means; its colour shows it. The words must say it without the colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Tone {
    #[default]
    Plain,
    /// A heading.
    Head,
    /// As it should be.
    Good,
    /// Something is wrong.
    Wrong,
    /// It may become wrong, or is not as usual.
    Doubtful,
    /// Of little interest.
    Faint,
}

impl OutputStyle {
    /// What is behind a stream. Colours follow `NO_COLOR`, `CLICOLOR`, `CLICOLOR_FORCE` and `TERM`, but there are none where
    /// there is no terminal, or one that has none (also where continuous integration says that it shows them).
    pub fn of(stream: &(impl RawStream + AsFd)) -> Self {
        if !stream.is_terminal() {
            return Self::plain();
        }
        let width = terminal_size_of(stream).map(|(Width(columns), _)| usize::from(columns));
        Self {
            width: Some(width.filter(|width| *width > 0).unwrap_or(USUAL_WIDTH)),
            colour: AutoStream::choice(stream) != ColorChoice::Never && anstyle_query::term_supports_color(),
            zone: TimeZone::try_system().unwrap_or(TimeZone::UTC),
        }
    }

    /// No terminal.
    pub fn plain() -> Self {
        Self { width: None, colour: false, zone: TimeZone::UTC }
    }

    /// A terminal of this width, without colours, in UTC.
    #[cfg(test)]
    pub(crate) fn terminal(width: usize) -> Self {
        Self { width: Some(width), ..Self::plain() }
    }

    /// With colours, or in another time zone.
    #[cfg(test)]
    pub(crate) fn with(self, colour: bool, zone: TimeZone) -> Self {
        Self { colour, zone, ..self }
    }

    /// Whether a person is watching.
    pub(crate) fn is_terminal(&self) -> bool {
        self.width.is_some()
    }

    /// How wide the terminal is, if it is one.
    pub fn width(&self) -> Option<usize> {
        self.width
    }

    /// Whether colours are shown.
    pub(crate) fn is_coloured(&self) -> bool {
        self.colour
    }

    /// The time zone of the person at the terminal.
    pub(crate) fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// A text in the colour of what it is about.
    pub(crate) fn paint(&self, tone: Tone, text: &str) -> String {
        let style = match tone {
            _ if !self.colour => Style::new(),
            Tone::Plain => Style::new(),
            Tone::Head => Style::new().bold(),
            Tone::Good => AnsiColor::Green.on_default(),
            Tone::Wrong => AnsiColor::Red.on_default().bold(),
            Tone::Doubtful => AnsiColor::Yellow.on_default(),
            Tone::Faint => Style::new().dimmed(),
        };
        format!("{style}{text}{style:#}")
    }

    /// A text, broken between words where the terminal ends; what follows the first line is indented by `hang`. A word
    /// that is longer than the line stays whole, so that it can be copied.
    pub(crate) fn wrap(&self, text: &str, hang: usize) -> String {
        self.width.map_or_else(|| text.to_owned(), |width| wrapped(text, width, hang))
    }
}

/// Breaks a text between its words.
pub(crate) fn wrapped(text: &str, width: usize, hang: usize) -> String {
    lines(text, width, hang).join("\n")
}

/// The lines of a text that is broken between its words; its own lines begin where they began.
pub(crate) fn lines(text: &str, width: usize, hang: usize) -> Vec<String> {
    let indent = " ".repeat(if hang * 2 > width { 2 } else { hang });
    let options =
        Options::new(width).subsequent_indent(&indent).break_words(false).word_splitter(WordSplitter::NoHyphenation);
    text.split('\n').flat_map(|line| textwrap::wrap(line, &options)).map(std::borrow::Cow::into_owned).collect()
}

/// How many columns a text takes, colours not counted.
pub(crate) fn columns(text: &str) -> usize {
    textwrap::core::display_width(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_terminal_gets_the_text_as_it_is() {
        let (style, text) = (OutputStyle::plain(), "word ".repeat(40));
        assert_eq!(style.wrap(&text, 4), text);
        assert_eq!(style.paint(Tone::Wrong, "dead"), "dead");
        assert!(!style.is_terminal());
    }

    #[test]
    fn a_text_is_broken_between_words_and_hangs() {
        let style = OutputStyle::terminal(20);
        assert_eq!(style.wrap("ok  one two three four five", 4), "ok  one two three\n    four five");
        assert_eq!(style.wrap("\none two\n  three four five six", 4), "\none two\n  three four five\n    six");
        let long = "see /a/file/whose/name/is-longer-than-the-line here";
        assert_eq!(style.wrap(long, 4), "see\n    /a/file/whose/name/is-longer-than-the-line\n    here");
    }

    #[test]
    fn colours_take_no_room() {
        let style = OutputStyle::terminal(20).with(true, TimeZone::UTC);
        let painted = style.paint(Tone::Wrong, "HAZARD");
        assert!(painted.contains("\u{1b}["), "{painted:?}");
        assert_eq!(columns(&painted), 6);
        assert_eq!(style.wrap(&format!("{painted} one two three"), 2).lines().count(), 1);
        assert_eq!(style.paint(Tone::Plain, "x"), "x");
    }
}
