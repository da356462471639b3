//! Stratum V1: one JSON object a line, both sides.
//!
//! Read [`server::Session`] and [`client::ClientSession`]. `message` is what both share: lines,
//! requests, answers. Neither side opens a socket or reads a clock.

pub mod client;
mod lines;
mod message;
mod scan;
pub mod server;

use self::lines::LineTooLong;

#[cfg(test)]
mod pair_tests;

/// What ends a connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    /// The session had ended already.
    #[error("the session has ended")]
    Closed,
    /// Too many lines that are no JSON.
    #[error("{0} lines that are no JSON")]
    Garbage(u32),
    /// A line longer than the limit.
    #[error("a line is longer than {0} bytes")]
    LineTooLong(usize),
    /// More requests and refused shares than the limits allow.
    #[error("too many requests or refused shares")]
    Nuisance,
    /// Answers pile up because the other side doesn't read them.
    #[error("{0} bytes of answers were not read")]
    NotReading(usize),
}

/// Why reading stopped.
enum Stop {
    Fatal(Fatal),
    LineTooLong,
}

impl From<LineTooLong> for Stop {
    fn from(LineTooLong: LineTooLong) -> Self {
        Self::LineTooLong
    }
}

impl Stop {
    fn into_fatal(self, limit: usize) -> Fatal {
        match self {
            Self::Fatal(fatal) => fatal,
            Self::LineTooLong => Fatal::LineTooLong(limit),
        }
    }
}
