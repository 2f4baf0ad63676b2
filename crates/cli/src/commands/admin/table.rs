//! Columns for people, aligned with spaces, so that they can be read, copied and cut.
//!
//! On a terminal a table takes no more room than there is: lists flow within their columns, and the columns that matter
//! least are left out. An id is never cut. What is no terminal gets all of it, in lines as long as they are.

use crate::terminal::style::{OutputStyle, Tone, columns, lines};

/// Between two columns.
const GAP: usize = 2;

/// A column: its name, and what becomes of it where there is little room.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    name: &'static str,
    short: &'static str,
    rank: u8,
    flows: bool,
}

impl Column {
    /// One that is always shown.
    pub(super) const fn new(name: &'static str) -> Self {
        Self { name, short: name, rank: 0, flows: false }
    }

    /// Left out where there is no room for it, the highest rank first; and on a terminal where it is empty.
    pub(super) const fn rank(self, rank: u8) -> Self {
        Self { rank, ..self }
    }

    /// Its name on a terminal.
    pub(super) const fn short(self, short: &'static str) -> Self {
        Self { short, ..self }
    }

    /// Its cells may take several lines.
    pub(super) const fn flows(self) -> Self {
        Self { flows: true, ..self }
    }
}

/// What stands in a row under a column.
#[derive(Debug, Clone, Default)]
pub(super) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    pub(super) fn new(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone }
    }

    fn width(&self) -> usize {
        columns(&self.text)
    }

    /// The least it can be made to take.
    fn least(&self) -> usize {
        self.text.split(' ').map(columns).max().unwrap_or(0)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, tone: Tone::Plain }
    }
}

/// Rows under a head, or without one.
#[derive(Debug, Default)]
pub(super) struct TextTable {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
    headed: bool,
}

/// A table as it is shown.
#[derive(Debug, PartialEq)]
pub(super) struct RenderedTable {
    pub(super) text: String,
    /// The columns for which there was no room.
    pub(super) left_out: Vec<&'static str>,
}

impl TextTable {
    /// With its columns.
    pub(super) fn headed(columns: &[Column]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new(), headed: true }
    }

    /// Of names and values.
    pub(super) fn plain() -> Self {
        Self { columns: vec![Column::new(""), Column::new("").flows()], rows: Vec::new(), headed: false }
    }

    /// Adds a row. An empty cell is shown as a dash.
    pub(super) fn row<C: Into<Cell>>(&mut self, cells: impl IntoIterator<Item = C>) {
        let cells = cells.into_iter().map(Into::into);
        let dash = |cell: Cell| if cell.text.is_empty() { Cell::new("-", Tone::Faint) } else { cell };
        self.rows.push(cells.map(dash).collect());
    }

    /// Adds a name and its value, unless that is empty.
    pub(super) fn fact(&mut self, name: &str, value: impl Into<Cell>) {
        let value = value.into();
        if !value.text.is_empty() {
            self.rows.push(vec![Cell::new(name, Tone::Plain), value]);
        }
    }

    /// Lays the table out for a terminal or a file; `wide` leaves no column out.
    pub(super) fn shown(&self, style: &OutputStyle, wide: bool) -> RenderedTable {
        let all: Vec<usize> = (0..self.columns.len()).collect();
        let Some(width) = style.width().filter(|_| !wide) else {
            let widths: Vec<usize> = all.iter().map(|at| self.natural(*at, style)).collect();
            return RenderedTable { text: self.render_columns(style, &all, &widths), left_out: Vec::new() };
        };
        let mut kept: Vec<usize> = all.into_iter().filter(|at| !self.is_empty_column(*at)).collect();
        let mut left_out = Vec::new();
        let room = |kept: &[usize]| width.saturating_sub(GAP * kept.len().saturating_sub(1));
        while kept.iter().map(|at| self.least(*at, style)).sum::<usize>() > room(&kept) {
            let last = kept.iter().copied().filter(|at| self.columns[*at].rank > 0);
            match last.max_by_key(|at| self.columns[*at].rank) {
                Some(least_wanted) => {
                    kept.retain(|at| *at != least_wanted);
                    left_out.push(self.columns[least_wanted].name);
                }
                // What is left is too much even so: a terminal breaks such lines, and they can be copied.
                None if self.headed => {
                    return RenderedTable { text: self.render_as_lists(style), left_out: Vec::new() };
                }
                None => break,
            }
        }
        let widths = self.widths(style, &kept, room(&kept));
        RenderedTable { text: self.render_columns(style, &kept, &widths), left_out }
    }

    /// Whether there is nothing in a column that may be left out.
    fn is_empty_column(&self, at: usize) -> bool {
        let empty = |row: &Vec<Cell>| row.get(at).is_none_or(|cell| cell.text == "-");
        self.columns[at].rank > 0 && !self.rows.is_empty() && self.rows.iter().all(empty)
    }

    fn head(&self, at: usize, style: &OutputStyle) -> String {
        let column = self.columns[at];
        let name = if style.is_terminal() { column.short } else { column.name };
        if self.headed { name.to_uppercase() } else { String::new() }
    }

    fn widest(&self, at: usize, style: &OutputStyle, of: impl Fn(&Cell) -> usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(at)).map(of).max();
        cells.unwrap_or(0).max(columns(&self.head(at, style)))
    }

    fn natural(&self, at: usize, style: &OutputStyle) -> usize {
        self.widest(at, style, Cell::width)
    }

    fn least(&self, at: usize, style: &OutputStyle) -> usize {
        if self.columns[at].flows { self.widest(at, style, Cell::least) } else { self.natural(at, style) }
    }

    /// What each column gets: those that flow give way, as far as they can.
    fn widths(&self, style: &OutputStyle, kept: &[usize], room: usize) -> Vec<usize> {
        let mut widths: Vec<usize> = kept.iter().map(|at| self.natural(*at, style)).collect();
        for (place, at) in kept.iter().enumerate().rev() {
            let excess = widths.iter().sum::<usize>().saturating_sub(room);
            if excess > 0 && self.columns[*at].flows {
                let most = widths[place].saturating_sub(excess).max(self.least(*at, style));
                let broken =
                    |cell: &Cell| lines(&cell.text, most, 0).iter().map(|line| columns(line)).max().unwrap_or(0);
                widths[place] = self.widest(*at, style, broken);
            }
        }
        widths
    }

    fn render_columns(&self, style: &OutputStyle, kept: &[usize], widths: &[usize]) -> String {
        let head = self.headed.then(|| self.columns.iter().enumerate().map(|(at, _)| self.head(at, style)));
        let head: Option<Vec<Cell>> = head.map(|names| names.map(|name| Cell::new(name, Tone::Head)).collect());
        let mut render_columns = Vec::new();
        for row in head.iter().chain(&self.rows) {
            let cells: Vec<(Vec<String>, Tone)> = kept
                .iter()
                .zip(widths)
                .filter_map(|(at, width)| {
                    let cell = row.get(*at)?;
                    let flows = style.is_terminal() && self.columns[*at].flows && cell.width() > *width;
                    let texts = if flows { lines(&cell.text, *width, 0) } else { vec![cell.text.clone()] };
                    Some((texts, cell.tone))
                })
                .collect();
            let height = cells.iter().map(|(texts, _)| texts.len()).max().unwrap_or(0);
            for line in 0..height {
                let mut text = String::new();
                let mut owed = 0;
                for ((texts, tone), width) in cells.iter().zip(widths) {
                    let part = texts.get(line).map_or("", String::as_str);
                    if !part.is_empty() {
                        text.push_str(&" ".repeat(owed));
                        text.push_str(&style.paint(*tone, part));
                        owed = 0;
                    }
                    owed += width.saturating_sub(columns(part)) + GAP;
                }
                render_columns.push(text);
            }
        }
        render_columns.join("\n")
    }

    /// Each row as names and values, one below the other.
    fn render_as_lists(&self, style: &OutputStyle) -> String {
        let rows = self.rows.iter().map(|row| {
            let mut facts = Self::plain();
            for (at, cell) in row.iter().enumerate().filter(|(_, cell)| cell.text != "-") {
                facts.fact(self.columns[at].short, cell.clone());
            }
            facts.shown(style, false).text
        });
        rows.collect::<Vec<_>>().join("\n\n")
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    const JOB: &str = "4b1cf0de-3c5f-4c0e-9a51-0a4de0a3f9b4";

    fn jobs() -> TextTable {
        let mut table = TextTable::headed(&[
            Column::new("job"),
            Column::new("state").rank(1),
            Column::new("reason").rank(2),
            Column::new("token until").short("token").rank(3),
        ]);
        table.row([JOB, "active", "", "in 2 m"].map(str::to_owned));
        table.row(["b", "ended", "releasé", ""].map(str::to_owned));
        table
    }

    #[test]
    fn columns_are_aligned_and_lines_end_with_their_text() {
        let mut table = TextTable::headed(&["job", "state", "reason"].map(Column::new));
        table.row(["a-long-name", "active", ""].map(str::to_owned));
        table.row(["b", "ended", "releasé"].map(str::to_owned));
        let expected = "JOB          STATE   REASON\na-long-name  active  -\nb            ended   releasé";
        assert_eq!(table.shown(&OutputStyle::plain(), false).text, expected);
        assert_eq!(TextTable::plain().shown(&OutputStyle::plain(), false).text, "");
    }

    #[test]
    fn columns_that_matter_least_give_way_and_an_id_stays_whole() {
        let all = jobs().shown(&OutputStyle::terminal(80), false);
        assert_eq!(
            (all.text.lines().next(), all.left_out.len()),
            (Some(format!("{:36}  {:6}  {:7}  TOKEN", "JOB", "STATE", "REASON").as_str()), 0)
        );
        for (width, left_out) in [
            (61, vec![]),
            (60, vec!["token until"]),
            (50, vec!["token until", "reason"]),
            (36, vec!["token until", "reason", "state"]),
        ] {
            let shown = jobs().shown(&OutputStyle::terminal(width), false);
            assert_eq!(shown.left_out, left_out, "{width}:\n{}", shown.text);
            assert!(shown.text.contains(JOB), "{width}");
            assert!(shown.text.lines().all(|line| columns(line) <= width), "{width}:\n{}", shown.text);
            assert!(jobs().shown(&OutputStyle::terminal(width), true).left_out.is_empty());
        }
        let narrow = jobs().shown(&OutputStyle::terminal(20), false);
        assert!(narrow.text.starts_with(&format!("job    {JOB}\nstate  active")), "{}", narrow.text);
    }

    #[test]
    fn a_column_without_anything_in_it_is_not_shown_to_people() {
        let mut table = TextTable::headed(&[Column::new("job"), Column::new("reason").rank(1)]);
        table.row(["a", ""].map(str::to_owned));
        assert_eq!(table.shown(&OutputStyle::terminal(80), false).text, "JOB\na");
        assert_eq!(table.shown(&OutputStyle::plain(), false).text, "JOB  REASON\na    -");
    }

    #[test]
    fn lists_flow_within_their_column() {
        let mut table = TextTable::headed(&[Column::new("key"), Column::new("held by").flows(), Column::new("n")]);
        table.row(["k1", "replica-1, replica-2, replica-3", "7"].map(str::to_owned));
        let expected = "KEY  HELD BY                N\nk1   replica-1, replica-2,  7\n     replica-3";
        assert_eq!(table.shown(&OutputStyle::terminal(30), false).text, expected);
    }

    #[test]
    fn colours_do_not_move_columns() {
        let mut table = TextTable::headed(&["a", "b"].map(Column::new));
        table.row([Cell::new("x", Tone::Wrong), Cell::new("y", Tone::Plain)]);
        let style = OutputStyle::terminal(80).with(true, TimeZone::UTC);
        let shown = table.shown(&style, false).text;
        assert_eq!(shown.lines().nth(1), Some("\u{1b}[1m\u{1b}[31mx\u{1b}[0m  y"), "{shown:?}");
    }
}
