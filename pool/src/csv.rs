//! Rows for spreadsheets: RFC 4180, with lines that end in CR LF.
//!
//! A spreadsheet takes a cell that begins with `=`, `+`, `-`, `@`, a tab or a return for a formula
//! and runs it. Names come from strangers: such a text gets an apostrophe in front, which
//! spreadsheets take for "this is text". Numbers are written by [`Row::number`] and stay numbers. It
//! deliberately reads nothing.

use std::fmt::{Display, Write as _};

use defences::{Defence, stands};

/// A row that is being written.
#[derive(Debug, Default)]
pub(crate) struct Row {
    line: String,
    begun: bool,
}

impl Row {
    /// A row of texts.
    pub(crate) fn of(cells: &[&str]) -> Self {
        cells.iter().fold(Self::default(), |row, cell| row.text(cell))
    }

    /// Adds a text.
    pub(crate) fn text(mut self, text: &str) -> Self {
        self.separate();
        let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
        let mark = if formula && stands(Defence::CsvFormula) { "'" } else { "" };
        if text.contains([',', '"', '\r', '\n']) {
            let _ = write!(self.line, "\"{mark}{}\"", text.replace('"', "\"\""));
        } else {
            let _ = write!(self.line, "{mark}{text}");
        }
        self
    }

    /// Adds a whole number, which may be below zero.
    pub(crate) fn number(mut self, number: impl Into<i128> + Display) -> Self {
        self.separate();
        let _ = write!(self.line, "{number}");
        self
    }

    /// The row with its end.
    pub(crate) fn line(mut self) -> String {
        self.line.push_str("\r\n");
        self.line
    }

    fn separate(&mut self) {
        if core::mem::replace(&mut self.begun, true) {
            self.line.push(',');
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        let row = Row::of(&["a", "b,c", "say \"no\"", "two\r\nlines", ""]).number(-5).line();
        assert_eq!(row, "a,\"b,c\",\"say \"\"no\"\"\",\"two\r\nlines\",,-5\r\n");
    }

    #[test]
    fn no_text_begins_a_formula() {
        for text in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "=HYPERLINK(\"http://x\",\"y\")"] {
            let line = Row::of(&["a", text]).line();
            let cell = line.strip_prefix("a,").unwrap().trim_start_matches('"');
            assert!(cell.starts_with('\''), "{line}");
        }
        assert_eq!(Row::of(&["a", "b-1=2"]).number(-1).line(), "a,b-1=2,-1\r\n");
    }

    /// The cells of one row, read as RFC 4180 has it.
    fn read(line: &str) -> Vec<String> {
        let mut rest = line.strip_suffix("\r\n").unwrap();
        let mut cells = Vec::new();
        loop {
            let mut cell = String::new();
            if let Some(quoted) = rest.strip_prefix('"') {
                rest = quoted;
                loop {
                    let (part, after) = rest.split_once('"').unwrap();
                    cell.push_str(part);
                    rest = after;
                    let Some(more) = rest.strip_prefix('"') else { break };
                    cell.push('"');
                    rest = more;
                }
            } else {
                let end = rest.find(',').unwrap_or(rest.len());
                (cell, rest) = (rest[..end].to_owned(), &rest[end..]);
            }
            cells.push(cell);
            match rest.strip_prefix(',') {
                Some(more) => rest = more,
                None => return cells,
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(cells in prop::collection::vec("[-=+@,\"\r\na-c]{0,6}", 1..6)) {
            let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
            let row = cells.iter().fold(Row::default().text("x"), |row, cell| row.text(cell));
            let read = read(&row.line());
            for (read, cell) in read[1..].iter().zip(&cells) {
                let text = read.strip_prefix('\'').unwrap_or(read);
                prop_assert_eq!(text, *cell);
                prop_assert!(!read.starts_with(['=', '+', '-', '@', '\r', '\n']));
            }
            prop_assert_eq!(read.len(), cells.len() + 1);
        }
    }
}
