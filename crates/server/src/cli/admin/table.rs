//! Columns for people, aligned with spaces, so that they can be read, copied and cut.

use std::fmt::{self, Write};

/// Between two columns.
const GAP: usize = 2;

/// Rows under a head, or without one.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With the names of its columns.
    pub(super) fn headed(names: &[&str]) -> Self {
        Self { rows: vec![names.iter().map(|name| name.to_uppercase()).collect()] }
    }

    /// Of names and values.
    pub(super) fn plain() -> Self {
        Self::default()
    }

    /// Adds a row. An empty cell is shown as a dash.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells = cells.into_iter().map(|cell| if cell.is_empty() { "-".to_owned() } else { cell });
        self.rows.push(cells.collect());
    }

    /// Adds a name and its value, unless that is empty.
    pub(super) fn fact(&mut self, name: &str, value: String) {
        if !value.is_empty() {
            self.rows.push(vec![name.to_owned(), value]);
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (at, row) in self.rows.iter().enumerate() {
            if at > 0 {
                f.write_char('\n')?;
            }
            for (column, cell) in row.iter().enumerate() {
                f.write_str(cell)?;
                if column + 1 < row.len() {
                    let padding = widths[column] - cell.chars().count() + GAP;
                    write!(f, "{:padding$}", "")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_with_their_text() {
        let mut table = Table::headed(&["job", "state", "reason"]);
        table.row(["a-long-name", "active", ""].map(str::to_owned));
        table.row(["b", "ended", "releasé"].map(str::to_owned));
        let expected = "JOB          STATE   REASON\na-long-name  active  -\nb            ended   releasé";
        assert_eq!(table.to_string(), expected);
        assert_eq!(Table::plain().to_string(), "");
    }
}
