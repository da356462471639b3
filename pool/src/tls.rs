//! Stratum over TLS: the certificate and its key from files, and one connection's encryption.
//!
//! Read [`TlsLink`]: ciphertext in, plaintext out, and the other way, without a socket. Then
//! [`TlsKeeper`], which holds the configuration in force and replaces it when the files change;
//! connections that stand keep the one that they began with.
//!
//! rustls with ring, handed to it by name, as in the miner; no process-wide default is set or
//! used. TLS 1.2 and 1.3. What it deliberately does not do: ask miners for certificates, fetch or
//! renew certificates (ACME programs do, and write files), check whether the certificate's names
//! are those that miners dial, which the pool cannot know.

use std::{
    io::{Read as _, Write as _},
    sync::Arc,
    time::Duration,
};

use defences::{Defence, stands};
use rustls::{AlertDescription, Error, ServerConfig, ServerConnection};

use crate::bans::Offence;

mod files;
#[cfg(test)]
mod testing;
mod validity;

pub use files::{LOOK_INTERVAL, Loaded, Look, TlsFiles, TlsFilesError, TlsKeeper};

/// Bytes that a miner may send before its handshake is done. A hello with a post-quantum key share
/// takes two kilobytes, and miners show no certificates.
pub const HANDSHAKE_MAX: usize = 16 * 1024;
/// The time that it may take.
pub const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// The first byte of a TLS handshake.
const HANDSHAKE_RECORD: u8 = 0x16;

/// One connection's encryption.
#[derive(Debug)]
pub struct TlsLink {
    connection: ServerConnection,
    /// Bytes received; counted until the handshake is done.
    received: usize,
}

/// Why a connection over TLS ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsEnd {
    /// In order, by the miner.
    #[error("closed by the miner")]
    Closed,
    /// A plain miner on this port.
    #[error("plain Stratum on a TLS port: the miner must dial stratum+ssl://, or a plain port")]
    PlainText,
    /// Neither TLS nor Stratum.
    #[error("what came first on a TLS port is no TLS")]
    NotTls,
    /// TLS on another port.
    #[error("a TLS handshake on a plain port: the miner must dial stratum+tcp://, or a TLS port")]
    OnPlainPort,
    /// A handshake of many bytes.
    #[error("a TLS handshake that is not done after {HANDSHAKE_MAX} bytes")]
    HandshakeLength,
    /// The miner did not like the certificate.
    #[error("the miner refuses the pool's certificate ({0})")]
    Refused(String),
    /// No version or cipher that both speak.
    #[error("the miner speaks no TLS that the pool does: 1.2 or 1.3 with current ciphers ({0})")]
    Incompatible(String),
    /// Anything else.
    #[error("TLS failed: {0}")]
    Failed(String),
    /// More was to be sent than is kept while the handshake goes on.
    #[error("too much to send before the TLS handshake is done")]
    Backlog,
}

/// Whether the first bytes on a plain port are the beginning of a TLS handshake.
#[must_use]
pub fn looks_like_tls(first: &[u8]) -> bool {
    first.first() == Some(&HANDSHAKE_RECORD)
}

impl TlsLink {
    /// A connection on which nothing has been said yet.
    ///
    /// # Errors
    /// When the configuration is of no use; [`TlsFiles::load`] makes none that is.
    pub fn new(config: Arc<ServerConfig>) -> Result<Self, TlsEnd> {
        let connection = ServerConnection::new(config).map_err(|error| plain(&error))?;
        Ok(Self { connection, received: 0 })
    }

    /// Takes bytes from the socket and appends what the miner says to `plaintext`, which never
    /// grows by more than came in. Call [`TlsLink::transmit`] after it, also after an error: the
    /// miner is told by an alert.
    ///
    /// # Errors
    /// When the connection has ended; what came before is in `plaintext` all the same.
    pub fn receive(
        &mut self,
        mut ciphertext: &[u8],
        plaintext: &mut Vec<u8>,
    ) -> Result<(), TlsEnd> {
        if self.received == 0 {
            check_first(ciphertext)?;
        }
        while !ciphertext.is_empty() {
            let taken = self.connection.read_tls(&mut ciphertext);
            let taken = taken.map_err(|error| TlsEnd::Failed(error.to_string()))?;
            self.count(taken)?;
            let processed = self.connection.process_new_packets();
            self.drain(plaintext);
            if processed.map_err(|error| plain(&error))?.peer_has_closed() {
                return Err(TlsEnd::Closed);
            }
        }
        Ok(())
    }

    /// Encrypts `plaintext` and appends it to `out`. Before the handshake is done rustls keeps up
    /// to 64 KiB of it.
    ///
    /// # Errors
    /// [`TlsEnd::Backlog`] past that.
    pub fn seal(&mut self, mut plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), TlsEnd> {
        while !plaintext.is_empty() {
            let written = self.connection.writer().write(plaintext);
            match written.map_err(|error| TlsEnd::Failed(error.to_string()))? {
                0 => return Err(TlsEnd::Backlog),
                written => plaintext = &plaintext[written..],
            }
            self.transmit(out);
        }
        Ok(())
    }

    /// Appends what TLS itself has to say: its part of the handshake, tickets, alerts.
    pub fn transmit(&mut self, out: &mut Vec<u8>) {
        while self.connection.wants_write() {
            // Memory takes everything.
            if self.connection.write_tls(out).is_err() {
                return;
            }
        }
    }

    /// Whether the handshake still goes on.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Says that the pool will say no more, so that the miner can tell an end from a cut.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        self.connection.send_close_notify();
        self.transmit(out);
    }

    fn count(&mut self, taken: usize) -> Result<(), TlsEnd> {
        if !self.connection.is_handshaking() {
            return Ok(());
        }
        self.received = self.received.saturating_add(taken);
        let too_long = self.received > HANDSHAKE_MAX;
        if stands(Defence::TlsHandshakeLength) && too_long {
            return Err(TlsEnd::HandshakeLength);
        }
        Ok(())
    }

    fn drain(&mut self, plaintext: &mut Vec<u8>) {
        // That nothing is there at the moment is said as an error, and what was read stays.
        let _ = self.connection.reader().read_to_end(plaintext);
    }
}

impl TlsEnd {
    /// What it counts as against the address; nothing for an end in order.
    #[must_use]
    pub const fn offence(&self) -> Option<Offence> {
        match self {
            Self::Closed => None,
            Self::PlainText | Self::NotTls | Self::OnPlainPort => Some(Offence::WrongProtocol),
            Self::Backlog => Some(Offence::SlowReader),
            Self::HandshakeLength | Self::Refused(_) | Self::Incompatible(_) | Self::Failed(_) => {
                Some(Offence::TlsHandshake)
            }
        }
    }

    /// A line for a plain miner on a TLS port, to be written as it is; it cannot read an alert.
    #[must_use]
    pub const fn farewell(&self) -> Option<&'static str> {
        match self {
            Self::PlainText => Some(
                "{\"id\":null,\"result\":null,\"error\":[20,\"this port speaks TLS: \
                 use stratum+ssl:// or the plain port\",null]}\n",
            ),
            Self::Closed
            | Self::NotTls
            | Self::OnPlainPort
            | Self::HandshakeLength
            | Self::Refused(_)
            | Self::Incompatible(_)
            | Self::Failed(_)
            | Self::Backlog => None,
        }
    }
}

fn check_first(first: &[u8]) -> Result<(), TlsEnd> {
    match first.first() {
        None | Some(&HANDSHAKE_RECORD) => Ok(()),
        Some(b'{' | b'[') => Err(TlsEnd::PlainText),
        Some(_) => Err(TlsEnd::NotTls),
    }
}

/// What rustls says, by who has to do something about it.
#[expect(clippy::wildcard_enum_match_arm, reason = "rustls adds errors; each is a failure")]
fn plain(error: &Error) -> TlsEnd {
    match error {
        Error::AlertReceived(alert) => match alert {
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::DecryptError
            | AlertDescription::UnknownCA => TlsEnd::Refused(format!("{alert:?}")),
            AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure => {
                TlsEnd::Incompatible(format!("{alert:?}"))
            }
            _ => TlsEnd::Failed(error.to_string()),
        },
        Error::PeerIncompatible(why) => TlsEnd::Incompatible(format!("{why:?}")),
        _ => TlsEnd::Failed(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
