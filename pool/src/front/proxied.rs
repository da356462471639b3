//! A connection that a proxy brings: its first bytes say where the miner is.

use std::{
    io::{ErrorKind, Read},
    net::SocketAddr,
    time::Duration,
};

use defences::{Defence, stands};
use mio::net::TcpStream;

use crate::proxy_protocol::{HeaderParser, Progress};

/// Bytes read at once: a header and the beginning of what follows.
const READ_SIZE: usize = 2048;

/// A connection whose PROXY header is not complete.
#[derive(Debug)]
pub(super) struct Proxied {
    pub(super) socket: TcpStream,
    /// The proxy's own address.
    pub(super) proxy: SocketAddr,
    /// The port's place in the configuration.
    pub(super) port: usize,
    /// When it is given up.
    until: Duration,
    header: HeaderParser,
}

/// What a complete header says.
#[derive(Debug)]
pub(super) struct Brought {
    /// Where the miner is; the proxy itself where the header names nobody.
    pub(super) address: SocketAddr,
    /// What came after the header.
    pub(super) early: Vec<u8>,
}

impl Proxied {
    /// A connection of which nothing was read.
    pub(super) fn new(socket: TcpStream, proxy: SocketAddr, port: usize, until: Duration) -> Self {
        Self { socket, proxy, port, until, header: HeaderParser::new() }
    }

    /// Whether it is to be given up: no header in all this time.
    pub(super) fn is_overdue(&self, now: Duration) -> bool {
        stands(Defence::ProxyHeaderTime) && now >= self.until
    }

    /// What the header says; nothing while it is not complete.
    ///
    /// # Errors
    /// What is wrong with the header, or with the network.
    pub(super) fn read(&mut self) -> Result<Option<Brought>, String> {
        let mut buffer = [0; READ_SIZE];
        loop {
            let length = match self.socket.read(&mut buffer) {
                Ok(0) => return Err("closed before its PROXY header was complete".to_owned()),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.to_string()),
            };
            let bytes = buffer.get(..length).unwrap_or_default();
            match self.header.feed(bytes).map_err(|error| error.to_string())? {
                Progress::NeedMore => {}
                Progress::Done { source, used } => {
                    let early = bytes.get(used..).unwrap_or_default().to_vec();
                    return Ok(Some(Brought { address: source.unwrap_or(self.proxy), early }));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, net::TcpListener};

    use super::*;

    #[test]
    fn a_header_that_does_not_end_in_time_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut proxy = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, address) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        let until = Duration::from_secs(5);
        let mut waiting = Proxied::new(TcpStream::from_std(socket), address, 0, until);
        for (second, byte) in (0..5).zip(b"PROXY") {
            proxy.write_all(&[*byte]).unwrap();
            assert!(waiting.read().unwrap().is_none(), "it may still become a header");
            assert!(!waiting.is_overdue(Duration::from_secs(second)));
        }
        assert!(waiting.is_overdue(until), "a byte now and then buys no time");
    }
}
