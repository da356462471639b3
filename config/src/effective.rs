//! The configuration in force, for `check` and for the log at start.

use std::fmt;

use crate::secret::MASK;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The configuration file, at this line (counted from 1) where it is known.
    File {
        /// Line in the file.
        line: Option<usize>,
    },
    /// The environment variable of this name.
    Environment(String),
    /// The command-line flag of this name.
    Flag(String),
    /// The built-in default.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { line: Some(line) } => write!(f, "from the file, line {line}"),
            Self::File { line: None } => f.write_str("from the file"),
            Self::Environment(name) => write!(f, "from {name}"),
            Self::Flag(name) => write!(f, "from the flag {name}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One key and what it is set to.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) path: String,
    /// `None`: not set, and there is no default.
    pub(crate) value: Option<(String, Origin)>,
    pub(crate) secret: bool,
}

/// Every key the program knows, with its value and where that came from, in the order in which the
/// program read them. Secrets are masked from the moment they get here.
///
/// Its text is TOML with dotted keys, so that it can be compared and kept.
#[derive(Clone, Debug, Default)]
pub struct Effective {
    entries: Vec<Entry>,
}

impl Effective {
    pub(crate) fn new(mut entries: Vec<Entry>) -> Self {
        for (value, _) in entries.iter_mut().filter(|e| e.secret).filter_map(|e| e.value.as_mut()) {
            *value = format!("\"{MASK}\"");
        }
        Self { entries }
    }

    /// The value of a dotted key as TOML text and where it came from; `None` where it is not set.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<(&str, &Origin)> {
        let entry = self.entries.iter().find(|entry| entry.path == path)?;
        entry.value.as_ref().map(|(value, origin)| (value.as_str(), origin))
    }

    /// The dotted keys, in the order in which the program read them.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.path.as_str())
    }
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for entry in &self.entries {
            match &entry.value {
                Some((value, origin)) => writeln!(f, "{} = {value}  # {origin}", entry.path)?,
                None => writeln!(f, "# {} is not set", entry.path)?,
            }
        }
        Ok(())
    }
}
