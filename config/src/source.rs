//! Where a configuration's text comes from.

use std::{fs, io, io::Read as _, path::Path};

use defences::{Defence, stands};

/// A configuration file is at most this long, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// One byte more than that is enough to see that a file is too long.
const READ_AT_MOST: u64 = (1 << 20) + 1;

/// A text and the name to call it by in errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub(crate) name: String,
    pub(crate) text: String,
}

impl Source {
    /// A text that is there already; `name` is what errors call it.
    #[must_use]
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into() }
    }

    /// No file: every key is at its default, or comes from the environment or a flag.
    #[must_use]
    pub fn none() -> Self {
        Self::new("(no file)", "")
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, is longer than a megabyte, or is not UTF-8. The error names it.
    pub fn read(path: &Path) -> Result<Self, ReadError> {
        let name = path.display().to_string();
        let file =
            fs::File::open(path).map_err(|source| ReadError::Io { name: name.clone(), source })?;
        let mut text = String::new();
        match file.take(READ_AT_MOST).read_to_string(&mut text) {
            Err(source) => Err(ReadError::Io { name, source }),
            Ok(length) if length > MAX_BYTES && stands(Defence::ConfigLength) => {
                Err(ReadError::TooLong { name })
            }
            Ok(_) => Ok(Self { name, text }),
        }
    }
}

/// A configuration file that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system refused, or the file is not UTF-8.
    #[error("configuration file {name}: {source}")]
    Io {
        /// The file.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// No configuration of ours is that long.
    #[error("configuration file {name}: longer than {MAX_BYTES} bytes, which no configuration is")]
    TooLong {
        /// The file.
        name: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_names_the_file_that_it_could_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        let missing = Source::read(&path).unwrap_err().to_string();
        assert!(missing.contains("a.toml"), "{missing}");
        fs::write(&path, "x = 1").unwrap();
        assert_eq!(Source::read(&path).unwrap().text, "x = 1");
        fs::write(&path, [0xff]).unwrap();
        assert!(matches!(Source::read(&path), Err(ReadError::Io { .. })));
        fs::write(&path, vec![b'#'; (1 << 20) + 1]).unwrap();
        assert!(matches!(Source::read(&path), Err(ReadError::TooLong { .. })));
    }
}
