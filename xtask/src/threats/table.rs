//! The table of `docs/threats.md`, read as it is written for people: rows of four cells, the third
//! and the fourth in backticks.
//!
//! It deliberately knows no defence by name: a test of the package `defences` holds the table and
//! the names against each other.

use std::collections::BTreeSet;
use std::fmt;

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// What somebody does.
    pub(crate) threat: String,
    pub(crate) test: Test,
    /// The name of the switch.
    pub(crate) defence: String,
}

/// A test, as it stands after `cargo test --package`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Test {
    pub(crate) binary: Binary,
    /// With its modules.
    pub(crate) name: String,
}

/// The program that a test is in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Binary {
    pub(crate) package: String,
    /// The name of the integration test; `None` for the library's own tests.
    pub(crate) target: Option<String>,
}

/// Reads every row of the table.
///
/// # Errors
/// Names the line that is no row, or says that there is none.
pub(crate) fn read(text: &str) -> Result<Vec<Row>, String> {
    let lines = text.lines().zip(1..).filter(|(line, _)| line.starts_with('|'));
    let mut rows = Vec::new();
    for (line, number) in lines {
        let cells = cells(line);
        let is_head = cells.first().is_some_and(|cell| cell.trim_matches('-').is_empty())
            || cells.last().is_some_and(|cell| cell == "switch");
        if !is_head {
            rows.push(row(&cells).map_err(|why| format!("line {number}: {why}"))?);
        }
    }
    if rows.is_empty() { Err("there is no row in it".to_owned()) } else { Ok(rows) }
}

/// The binaries that the rows' tests are in.
pub(crate) fn binaries(rows: &[Row]) -> BTreeSet<Binary> {
    rows.iter().map(|row| row.test.binary.clone()).collect()
}

fn cells(line: &str) -> Vec<String> {
    let inner = line.trim().trim_start_matches('|').trim_end_matches('|');
    inner.split('|').map(|cell| cell.trim().to_owned()).collect()
}

fn row(cells: &[String]) -> Result<Row, String> {
    let [threat, _, test, defence] = cells else {
        return Err(format!("{} cells, and a row has four", cells.len()));
    };
    let code = |cell: &str| {
        let inner = cell.strip_prefix('`').and_then(|rest| rest.strip_suffix('`'));
        inner.map(str::to_owned).ok_or_else(|| format!("{cell} stands without its backticks"))
    };
    Ok(Row { threat: threat.clone(), test: test_of(&code(test)?)?, defence: code(defence)? })
}

fn test_of(text: &str) -> Result<Test, String> {
    let wrong = || format!("{text} is neither PACKAGE --lib TEST nor PACKAGE --test TARGET TEST");
    let words: Vec<&str> = text.split(' ').collect();
    let (package, target, name) = match words[..] {
        [package, "--lib", name] => (package, None, name),
        [package, "--test", target, name] => (package, Some(target.to_owned()), name),
        _ => return Err(wrong()),
    };
    let binary = Binary { package: package.to_owned(), target };
    Ok(Test { binary, name: name.to_owned() })
}

impl fmt::Display for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Some(target) => write!(f, "{} --test {target}", self.package),
            None => write!(f, "{} --lib", self.package),
        }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.binary, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Threats\n\n| threat | instead | test | switch |\n|---|---|---|---|\n\
        | a flood | it is read slowly | `stratum --lib v1::tests::flood` | `share-flood` |\n\
        words\n| two pools | the second ends | `ledger --test it shares::two` | `one-writer` |\n";

    #[test]
    fn rows_are_read_and_print_as_cargo_takes_them() {
        let rows = read(TEXT).unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!((rows[0].threat.as_str(), rows[0].defence.as_str()), ("a flood", "share-flood"));
        assert_eq!(rows[0].test.to_string(), "stratum --lib v1::tests::flood");
        assert_eq!(rows[1].test.to_string(), "ledger --test it shares::two");
        assert_eq!(binaries(&rows).len(), 2);
    }

    #[test]
    fn what_is_no_row_is_named_by_its_line() {
        let error = |old: &str, new: &str| read(&TEXT.replace(old, new)).unwrap_err();
        assert!(error("| it is read slowly ", "").contains("line 5: 3 cells"));
        assert!(error("`share-flood`", "share-flood").contains("without its backticks"));
        assert!(error("--lib", "--bin").contains("neither PACKAGE --lib"));
        assert_eq!(read("no table").unwrap_err(), "there is no row in it");
    }

    #[test]
    fn the_projects_own_table_is_read() {
        let path = crate::workspace::root().join(super::super::TABLE);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(read(&text).unwrap().len() >= 40);
    }
}
