//! Further ports: TLS, and proxies that say whom they bring; over real sockets.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::Arc,
};

use base64::{Engine as _, prelude::BASE64_STANDARD as STANDARD};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support::{ADDRESS, PATIENCE, Pool};

/// A free port, which somebody else may take before it is used; nobody here does.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A pool without a node: it serves miners, and has no work for them yet.
fn pool(dir: &Path, ports: &str) -> Pool {
    let config = dir.join("pool.toml");
    let text = format!(
        "[node]\nurl = \"http://127.0.0.1:1\"\nauth = \"u:p\"\nnetwork = \"regtest\"\n\
         [payout]\naddress = \"{ADDRESS}\"\n[http]\nlisten = \"127.0.0.1:0\"\n\
         [ledger]\npath = \"{}\"\n[stratum]\nlisten = [\"127.0.0.1:0\"]\n{ports}",
        dir.join("pool.sqlite").display()
    );
    fs::write(&config, text).unwrap();
    Pool::run_with_ports(&config, 2)
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

const SUBSCRIBE: &[u8] = b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[]}\n";

/// The first line of the other end, empty where it hangs up.
fn first_line(mut stream: impl Read + Write, bytes: &[u8]) -> String {
    let _ = stream.write_all(bytes);
    let mut line = String::new();
    let _ = BufReader::new(stream).read_line(&mut line);
    line
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn miners_are_served_over_tls_and_told_apart_from_those_without() {
    let (dir, secret) = (tempfile::tempdir().unwrap(), free());
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    fs::write(&certificate, pem("CERTIFICATE", made.cert.der())).unwrap();
    fs::write(&key, pem("PRIVATE KEY", &made.signing_key.serialize_der())).unwrap();
    let pool = pool(
        dir.path(),
        &format!(
            "[[stratum.port]]\nlisten = \"{secret}\"\ntls = true\n\
             [tls]\ncertificate = \"{}\"\nkey = \"{}\"\n",
            certificate.display(),
            key.display()
        ),
    );
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = "localhost".try_into().unwrap();
    let client = ClientConnection::new(Arc::new(config), name).unwrap();
    let answer = first_line(StreamOwned::new(client, connect(secret)), SUBSCRIBE);
    assert!(answer.contains("mining.notify"), "{answer}");
    // The same words without TLS, on each port.
    assert!(first_line(connect(secret), SUBSCRIBE).contains("this port speaks TLS"));
    assert!(first_line(connect(pool.stratum), SUBSCRIBE).contains("mining.notify"));
    let hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    assert_eq!(first_line(connect(pool.stratum), &hello), "", "TLS on the plain port");
    assert!(pool.stop());
}

#[test]
fn a_proxy_must_say_whom_it_brings_and_nobody_else_may() {
    let (dir, proxied) = (tempfile::tempdir().unwrap(), free());
    let port = format!(
        "[[stratum.port]]\nlisten = \"{proxied}\"\nproxy_protocol = [\"127.0.0.0/8\"]\n\
         [limits]\nper_address = 1\n"
    );
    let pool = pool(dir.path(), &port);
    let with = |header: &str| [header.as_bytes(), SUBSCRIBE].concat();
    let header = "PROXY TCP4 203.0.113.9 127.0.0.1 40000 3333\r\n";
    let mut first = connect(proxied);
    first.write_all(&with(header)).unwrap();
    let mut answer = String::new();
    BufReader::new(first.try_clone().unwrap()).read_line(&mut answer).unwrap();
    assert!(answer.contains("mining.notify"), "{answer}");
    // The caps are those of the miner's address, not of the proxy's, which is exempt.
    assert_eq!(first_line(connect(proxied), &with(header)), "", "a second from one address");
    let other = with("PROXY TCP4 203.0.113.10 127.0.0.1 40000 3333\r\n");
    assert!(first_line(connect(proxied), &other).contains("mining.notify"));
    assert_eq!(first_line(connect(proxied), SUBSCRIBE), "", "a proxy that names nobody");
    assert_eq!(first_line(connect(pool.stratum), &with(header)), "", "a stranger's header");
    assert!(first_line(connect(pool.stratum), SUBSCRIBE).contains("mining.notify"));
    assert!(pool.stop());
}
