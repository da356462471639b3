//! Both ends of TLS in one thread: what miners say and hear, in every cut, and what they must not.

use std::{io::Write as _, sync::Arc};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion,
    crypto::ring,
    pki_types::ServerName,
    version::{TLS12, TLS13},
};
use units::UnixMillis;

use super::{testing::Identity, *};

/// A miner's end.
struct Miner {
    connection: ClientConnection,
    heard: Vec<u8>,
    error: Option<Error>,
}

impl Miner {
    /// One that trusts `identity` alone.
    fn new(identity: &Identity, version: &'static SupportedProtocolVersion) -> Self {
        Self::with(Arc::new(settings(identity, version)))
    }

    fn with(config: Arc<ClientConfig>) -> Self {
        let name = ServerName::try_from("pool.example").unwrap();
        let connection = ClientConnection::new(config, name).unwrap();
        Self { connection, heard: Vec::new(), error: None }
    }

    fn says(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.connection.wants_write() {
            self.connection.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    fn hears(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.connection.read_tls(&mut bytes).unwrap() == 0 {
                return;
            }
            match self.connection.process_new_packets() {
                Ok(_) => {
                    let _ = self.connection.reader().read_to_end(&mut self.heard);
                }
                Err(error) => {
                    self.error = Some(error);
                    return;
                }
            }
        }
    }
}

fn settings(identity: &Identity, version: &'static SupportedProtocolVersion) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(identity.certificate.clone()).unwrap();
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

fn pool(identity: &Identity) -> Arc<ServerConfig> {
    let folder = tempfile::tempdir().unwrap();
    identity.write(folder.path()).load(UnixMillis::new(0)).unwrap().config
}

/// Both talk in pieces of `size` bytes until neither has anything to say.
fn talk(miner: &mut Miner, link: &mut TlsLink, size: usize) -> Result<Vec<u8>, TlsEnd> {
    let mut plaintext = Vec::new();
    loop {
        let said = miner.says();
        for piece in said.chunks(size) {
            let before = plaintext.len();
            let received = link.receive(piece, &mut plaintext);
            assert!(plaintext.len() - before <= 16_384 + size, "no more than a record at once");
            if let Err(end) = received {
                let mut alert = Vec::new();
                link.transmit(&mut alert);
                miner.hears(&alert);
                return Err(end);
            }
        }
        let mut answer = Vec::new();
        link.transmit(&mut answer);
        for piece in answer.chunks(size) {
            miner.hears(piece);
        }
        if said.is_empty() && answer.is_empty() {
            return Ok(plaintext);
        }
    }
}

#[test]
fn bytes_go_both_ways_in_both_versions_however_they_are_cut() {
    let identity = Identity::until(2100);
    let config = pool(&identity);
    let long: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    for version in [&TLS12, &TLS13] {
        for size in [1, 7, 500, 100_000] {
            let mut miner = Miner::new(&identity, version);
            let mut link = TlsLink::new(Arc::clone(&config)).unwrap();
            assert!(link.is_handshaking());
            assert_eq!(talk(&mut miner, &mut link, size), Ok(Vec::new()));
            assert!(!link.is_handshaking());
            miner.connection.writer().write_all(b"{\"id\":1}\n").unwrap();
            assert_eq!(talk(&mut miner, &mut link, size).unwrap(), b"{\"id\":1}\n");
            let mut sealed = Vec::new();
            link.seal(&long, &mut sealed).unwrap();
            assert!(sealed.len() < long.len() + long.len() / 100, "and no copy of it is kept");
            miner.hears(&sealed);
            assert!(miner.heard == long, "{version:?} in pieces of {size}");

            let mut goodbye = Vec::new();
            link.close(&mut goodbye);
            miner.hears(&goodbye);
            miner.connection.send_close_notify();
            assert_eq!(talk(&mut miner, &mut link, size), Err(TlsEnd::Closed));
        }
    }
}

#[test]
fn what_is_said_before_an_end_is_heard_and_what_waits_for_the_handshake_is_bounded() {
    let identity = Identity::until(2100);
    let mut miner = Miner::new(&identity, &TLS13);
    let mut link = TlsLink::new(pool(&identity)).unwrap();
    let mut out = Vec::new();
    link.seal(b"early", &mut out).unwrap();
    assert!(out.is_empty());
    assert_eq!(link.seal(&[0; 1 << 20], &mut out), Err(TlsEnd::Backlog));
    talk(&mut miner, &mut link, 1000).unwrap();
    assert!(miner.heard.starts_with(b"early"));

    miner.connection.writer().write_all(b"last words").unwrap();
    miner.connection.send_close_notify();
    let mut said = miner.says();
    said.extend([0x17, 3, 3, 0, 1, 0]);
    let mut plaintext = Vec::new();
    assert!(link.receive(&said, &mut plaintext).is_err());
    assert_eq!(plaintext, b"last words");
}

#[test]
fn a_miner_that_comes_back_brings_its_ticket() {
    let identity = Identity::until(2100);
    let config = pool(&identity);
    for version in [&TLS12, &TLS13] {
        let client = Arc::new(settings(&identity, version));
        let kinds: Vec<_> = (0..2)
            .map(|_| {
                let mut miner = Miner::with(Arc::clone(&client));
                let mut link = TlsLink::new(Arc::clone(&config)).unwrap();
                talk(&mut miner, &mut link, 1000).unwrap();
                link.connection.handshake_kind().unwrap()
            })
            .collect();
        assert_eq!(kinds, [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed]);
    }
}

#[test]
fn a_handshake_has_an_end() {
    // A hello that says it is 60,000 bytes long, in records of a kilobyte.
    let mut hello = vec![1, 0, 0xea, 0x60];
    hello.resize(4 + 60_000, 0);
    let mut link = TlsLink::new(pool(&Identity::until(2100))).unwrap();
    let mut plaintext = Vec::new();
    let mut taken = 0;
    let ended = hello.chunks(1024).take(50).find_map(|part| {
        let length = u16::try_from(part.len()).unwrap().to_be_bytes();
        let record = [&[HANDSHAKE_RECORD, 3, 1][..], &length, part].concat();
        taken += record.len();
        link.receive(&record, &mut plaintext).err()
    });
    assert_eq!(ended, Some(TlsEnd::HandshakeLength), "after {taken} bytes");
    assert!(taken <= HANDSHAKE_MAX + 2 * 1029, "{taken}");
}

#[test]
fn other_protocols_on_either_port_are_named() {
    let config = pool(&Identity::until(2100));
    let first = |bytes: &[u8]| {
        let mut link = TlsLink::new(Arc::clone(&config)).unwrap();
        let mut plaintext = Vec::new();
        let end = link.receive(bytes, &mut plaintext).unwrap_err();
        assert!(plaintext.is_empty());
        end
    };
    let plain = first(b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[]}\n");
    assert_eq!(plain, TlsEnd::PlainText);
    let line: serde_json::Value = serde_json::from_str(plain.farewell().unwrap()).unwrap();
    assert!(line["error"][1].as_str().unwrap().contains("stratum+ssl://"), "{line}");
    assert_eq!(first(b"GET / HTTP/1.1\r\n"), TlsEnd::NotTls);
    assert_eq!(first(b"PROXY TCP4"), TlsEnd::NotTls);
    assert!(looks_like_tls(&[0x16, 3, 1]) && !looks_like_tls(b"{\"id\"") && !looks_like_tls(b""));
    assert!(TlsEnd::OnPlainPort.to_string().contains("stratum+tcp://"));
}

#[test]
fn a_certificate_that_is_refused_and_a_tls_too_old_are_said_in_plain_words() {
    let identity = Identity::until(2100);
    for version in [&TLS12, &TLS13] {
        let mut miner = Miner::new(&Identity::until(2100), version);
        let mut link = TlsLink::new(pool(&identity)).unwrap();
        let end = talk(&mut miner, &mut link, 1000).unwrap_err();
        assert!(matches!(end, TlsEnd::Refused(_)), "{end:?}");
        assert!(end.to_string().starts_with("the miner refuses the pool's certificate"), "{end}");
        assert_eq!(end.offence(), Some(Offence::TlsHandshake));
    }
    // A hello of TLS 1.0: its version, random, no session, one cipher, no compression.
    let body = [&[3, 1][..], &[7; 32], &[0, 0, 2, 0xc0, 0x13, 1, 0]].concat();
    let length = u8::try_from(body.len()).unwrap();
    let hello = [&[HANDSHAKE_RECORD, 3, 1, 0, length + 4, 1, 0, 0, length][..], &body].concat();
    let mut link = TlsLink::new(pool(&identity)).unwrap();
    let end = link.receive(&hello, &mut Vec::new()).unwrap_err();
    assert!(matches!(end, TlsEnd::Incompatible(_)), "{end:?}");
    let mut alert = Vec::new();
    link.transmit(&mut alert);
    assert_eq!(alert.first(), Some(&0x15), "and the miner is told");
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        tail in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..600),
        record in proptest::bool::ANY,
    ) {
        let mut link = TlsLink::new(shared()).unwrap();
        let head: &[u8] = if record { &[HANDSHAKE_RECORD, 3, 1, 0, 200, 1, 0, 0, 196] } else { &[] };
        let mut plaintext = Vec::new();
        let _ = link.receive(&[head, &tail].concat(), &mut plaintext);
        let mut out = Vec::new();
        link.transmit(&mut out);
        proptest::prop_assert!(plaintext.is_empty() && out.len() < 200);
    }
}

/// One configuration for many cases: making a key takes longer than a case.
fn shared() -> Arc<ServerConfig> {
    static CONFIG: std::sync::OnceLock<Arc<ServerConfig>> = std::sync::OnceLock::new();
    Arc::clone(CONFIG.get_or_init(|| pool(&Identity::until(2100))))
}
