//! What a socket had no room for, and how long it may stay so.
//!
//! Time counts from when the socket first had no room until everything has gone: who takes a byte
//! now and then is as much in the way as who takes none.

use std::{
    io::{ErrorKind, Write},
    time::Duration,
};

use defences::{Defence, stands};

/// A peer that has not taken everything for this long is gone.
pub(super) const WRITE_LIMIT: Duration = Duration::from_secs(20);

/// Bytes that wait for a socket.
#[derive(Debug)]
pub(super) struct Unsent {
    bytes: Vec<u8>,
    since: Duration,
}

impl Unsent {
    /// `bytes` found no room at `now`.
    pub(super) const fn new(bytes: Vec<u8>, now: Duration) -> Self {
        Self { bytes, since: now }
    }

    /// Writes what there is room for; whether that was everything.
    ///
    /// # Errors
    /// When the network fails.
    pub(super) fn send(&mut self, socket: &mut impl Write) -> std::io::Result<bool> {
        let taken = push(socket, &self.bytes)?;
        self.bytes.drain(..taken);
        Ok(self.bytes.is_empty())
    }

    /// Until when they may wait.
    pub(super) const fn deadline(&self) -> Duration {
        self.since.saturating_add(WRITE_LIMIT)
    }

    /// Whether they have waited too long.
    pub(super) fn is_overdue(&self, now: Duration) -> bool {
        stands(Defence::SlowReaderTime) && now >= self.deadline()
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Writes as much as the socket takes; returns how much.
///
/// # Errors
/// When the network fails.
pub(super) fn push(socket: &mut impl Write, bytes: &[u8]) -> std::io::Result<usize> {
    let mut rest = bytes;
    while !rest.is_empty() {
        match socket.write(rest) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(length) => rest = rest.get(length..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes.len() - rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes and no more until it is given room again.
    struct Reader(usize);

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let taken = self.0.min(bytes.len());
            self.0 -= taken;
            if taken == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(taken) }
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_byte_now_and_then_buys_no_time() {
        let at = Duration::from_secs(100);
        let mut unsent = Unsent::new(vec![7; 30], at);
        for second in 0..20 {
            assert!(!unsent.send(&mut Reader(1)).unwrap());
            assert!(!unsent.is_overdue(at + Duration::from_secs(second)));
        }
        assert_eq!(unsent.deadline(), at + WRITE_LIMIT);
        assert!(unsent.is_overdue(at + WRITE_LIMIT));
        assert!(unsent.send(&mut Reader(10)).unwrap(), "20 of 30 had gone before");
        assert_eq!(unsent.into_bytes(), Vec::<u8>::new());
    }
}
