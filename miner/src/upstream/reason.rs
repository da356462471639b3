//! Failures in plain words: what happened and what may be done, instead of "end of file".

use std::io;

/// How far a connection had come when it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Connected; nothing was answered yet.
    Silent,
    /// The pool has said something.
    Talking,
    /// The pool knows the worker.
    Authorized,
    /// Work has come.
    Working,
}

/// Of a socket's error.
pub(crate) fn of_io(error: &io::Error) -> String {
    let kind = error.kind();
    if kind == io::ErrorKind::ConnectionRefused {
        "connection refused: nothing listens there".to_owned()
    } else if kind == io::ErrorKind::TimedOut {
        "the network gave no answer".to_owned()
    } else if is_cut(error) {
        "the connection was cut from the other side".to_owned()
    } else {
        error.to_string()
    }
}

/// Whether the other side cut the connection.
pub(super) fn is_cut(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    // The third is the end of TLS without its last word, with which many pools don't bother.
    matches!(error.kind(), ConnectionReset | BrokenPipe | UnexpectedEof)
}

/// Whether a pool's first bytes are TLS (RFC 8446, section 5.1: an alert or a handshake, and 3).
pub(super) const fn is_tls(bytes: &[u8]) -> bool {
    matches!(bytes, [0x15 | 0x16, 3, ..])
}

/// Of a connection that the pool closed without a word.
pub(super) fn of_close(stage: Stage) -> &'static str {
    match stage {
        Stage::Silent => {
            "the pool closed the connection before it said anything: does this port want TLS, or \
             another protocol?"
        }
        Stage::Talking => {
            "the pool closed the connection before it authorized the worker: are user name and \
             password right?"
        }
        Stage::Authorized => "the pool closed the connection before it sent work",
        Stage::Working => "the pool closed the connection",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_connection_says_so() {
        let error = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert!(of_io(&error).contains("nothing listens there"));
        assert_eq!(of_io(&io::Error::other("odd")), "odd");
        assert!(is_tls(b"\x15\x03\x01\x00\x02\x02\x46") && !is_tls(b"{\"id\""));
    }

    #[test]
    fn a_close_is_explained_by_how_far_it_came() {
        assert!(of_close(Stage::Silent).contains("TLS"));
        assert!(of_close(Stage::Talking).contains("user name"));
        assert_ne!(of_close(Stage::Authorized), of_close(Stage::Working));
    }
}
