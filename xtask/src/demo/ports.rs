//! Where the demo's pool listens: the usual ports where they are free, else any free ones. It
//! deliberately reserves nothing: a port taken between the question and the pool's start is the
//! pool's own clear error.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// The loopback address to listen on: `port`, or 0 (any free one) with a line that says so.
pub(crate) fn listen(what: &str, port: u16) -> String {
    let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match TcpListener::bind(usual) {
        Ok(_) => usual.to_string(),
        Err(e) => {
            println!("{what}: {usual} is not free ({e}); taking another port");
            SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_gives_way_to_any() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        assert_eq!(listen("page", port), "127.0.0.1:0");
    }
}
