//! A tree of small files, such as `/sys`, as whoever reads sensors sees it.
//!
//! Read [`Tree`]. Which tree it is, and how it is read, is the caller's business: nothing here
//! opens anything. What a failed reading means for a meter is said by the meter.

use std::io;

use crate::counter::GapReason;

/// A tree of small files, such as `/sys`. Paths are relative to its root, with `/` between names.
pub trait Tree {
    /// The whole of a file.
    ///
    /// # Errors
    /// As the system says.
    fn read(&self, path: &str) -> io::Result<Vec<u8>>;

    /// The names in a folder, in any order.
    ///
    /// # Errors
    /// As the system says.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;
}

/// A file that gave nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    Io { path: String, kind: io::ErrorKind, reason: String },
    Malformed { path: String, text: String },
}

impl Failure {
    pub(crate) fn of(path: &str, error: &io::Error) -> Self {
        Self::Io { path: path.to_owned(), kind: error.kind(), reason: error.to_string() }
    }

    pub(crate) const fn gap(&self) -> GapReason {
        match self {
            Self::Malformed { .. } => GapReason::Malformed,
            Self::Io { kind: io::ErrorKind::PermissionDenied, .. } => GapReason::Permission,
            Self::Io { kind: io::ErrorKind::NotFound, .. } => GapReason::Vanished,
            Self::Io { .. } => GapReason::ReadError,
        }
    }

    pub(crate) const fn path(&self) -> &String {
        match self {
            Self::Io { path, .. } | Self::Malformed { path, .. } => path,
        }
    }

    /// What was wrong, without the path.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Io { reason, .. } => reason.clone(),
            Self::Malformed { text, .. } => format!("{text:?} is no number"),
        }
    }
}

/// A file's text without the white space around it.
pub(crate) fn read_text(tree: &dyn Tree, path: &str) -> Result<String, Failure> {
    let bytes = tree.read(path).map_err(|error| Failure::of(path, &error))?;
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// A file that holds a whole number and nothing else.
pub(crate) fn read_number(tree: &dyn Tree, path: &str) -> Result<u64, Failure> {
    let text = read_text(tree, path)?;
    text.parse().map_err(|_| Failure::Malformed { path: path.to_owned(), text })
}

#[cfg(test)]
pub(crate) mod testing {
    //! Trees for tests: the recorded one, and small ones where the record has no such case.

    use std::{cell::RefCell, collections::BTreeMap, io, path::PathBuf};

    use super::Tree;

    /// The recorded files, read from the repository.
    pub(crate) struct Recorded;

    impl Recorded {
        fn path(path: &str) -> PathBuf {
            PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/sysfs").join(path)
        }
    }

    impl Tree for Recorded {
        #[expect(clippy::disallowed_methods, reason = "a test reads the recorded tree")]
        fn read(&self, path: &str) -> io::Result<Vec<u8>> {
            std::fs::read(Self::path(path))
        }

        fn list(&self, folder: &str) -> io::Result<Vec<String>> {
            let entries = std::fs::read_dir(Self::path(folder))?;
            entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
        }
    }

    /// A tree in memory: a file is its text, or the error that reading it gives.
    #[derive(Default)]
    pub(crate) struct Made(RefCell<BTreeMap<String, Result<String, io::ErrorKind>>>);

    impl Made {
        /// Writes a file, or says how reading it fails.
        pub(crate) fn file(&self, path: &str, content: Result<String, io::ErrorKind>) {
            self.0.borrow_mut().insert(path.to_owned(), content);
        }

        /// Takes away everything below a folder.
        pub(crate) fn remove(&self, folder: &str) {
            let prefix = format!("{folder}/");
            self.0.borrow_mut().retain(|path, _| !path.starts_with(&prefix));
        }
    }

    impl Tree for Made {
        fn read(&self, path: &str) -> io::Result<Vec<u8>> {
            match self.0.borrow().get(path) {
                Some(Ok(text)) => Ok(text.clone().into_bytes()),
                Some(Err(kind)) => Err((*kind).into()),
                None => Err(io::ErrorKind::NotFound.into()),
            }
        }

        fn list(&self, folder: &str) -> io::Result<Vec<String>> {
            let prefix = format!("{folder}/");
            let names = self.0.borrow();
            let mut found: Vec<String> = names
                .keys()
                .filter_map(|path| path.strip_prefix(&prefix)?.split('/').next().map(str::to_owned))
                .collect();
            found.dedup();
            if found.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(found) }
        }
    }
}
