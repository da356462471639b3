//! Mistakes in a configuration, all of them at once.

use std::fmt;

/// One mistake: where, what stands there, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file with its line, the environment variable, or the flag.
    pub place: String,
    /// The dotted key, as in `stratum.listen`; empty where the text is not TOML at all.
    pub key: String,
    /// What stands there, shortened, masked where it is a secret; `None` where nothing does.
    pub value: Option<String>,
    /// What would be right.
    pub hint: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        match (&self.value, self.key.is_empty()) {
            (_, true) => {}
            (Some(value), false) => write!(f, "{} = {value}: ", self.key)?,
            (None, false) => write!(f, "{}: ", self.key)?,
        }
        f.write_str(&self.hint)
    }
}

/// Every mistake found, at least one; shown one to a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Errors {
    pub(crate) problems: Vec<Problem>,
}

impl Errors {
    /// The mistakes, in the order in which they were found.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}
