//! How a command ends when it doesn't end well, and with which exit status.

use std::process::ExitCode;

/// Why a command stopped. Its text is one line that names the thing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The command line or the configuration is wrong: exit status 2.
    #[error("{0}")]
    Usage(String),
    /// It was asked for something sensible and could not do it: exit status 1.
    #[error("{0}")]
    Failed(String),
}

impl Failure {
    /// A mistake in the command line or the configuration.
    pub fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }

    /// Something that did not work out.
    pub fn failed(text: impl Into<String>) -> Self {
        Self::Failed(text.into())
    }

    /// The status that the process exits with.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Usage(_) => 2,
            Self::Failed(_) => 1,
        })
    }
}
