//! What stands before a pool in tests, on real sockets: TLS with a certificate of our own making,
//! and a SOCKS5 proxy.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{
    DEFAULT_VERSIONS, RootCertStore, ServerConfig, SupportedProtocolVersion,
};

/// A certificate, and a key that is usually its own.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: Vec<u8>,
}

/// An authority, known to nobody but [`Authority::roots`].
pub(crate) struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// What is behind a door: it goes away with this.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    _task: JoinSet<()>,
}

/// How a proxy behaves, and what it was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Socks {
    /// Who may use it; anybody where `None`.
    pub(crate) login: Option<(&'static str, &'static str)>,
    /// What it answers: 0 when it connects, else a code of RFC 1928.
    pub(crate) answer: u8,
    /// Hosts and ports that were asked for.
    pub(crate) asked: Arc<Mutex<Vec<(String, u16)>>>,
}

impl Identity {
    /// Signed by itself, for these names.
    pub(crate) fn of_its_own(names: &[&str]) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = params(names).self_signed(&key).unwrap();
        Self { certificate: certificate.der().clone(), key: key.serialize_der() }
    }

    /// As `openssl x509 -fingerprint -sha256` has it, but for the colons.
    pub(crate) fn fingerprint(&self) -> String {
        hex::encode(Sha256::digest(&self.certificate))
    }
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = params(&["authority"]);
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        roots
    }

    /// Signs for these names; `expired` says that it was for long ago.
    pub(crate) fn sign(&self, names: &[&str], expired: bool) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = params(names);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        if expired {
            params.not_after = date_time_ymd(2001, 1, 1);
        }
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity { certificate: certificate.der().clone(), key: key.serialize_der() }
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    CertificateParams::new(names).unwrap()
}

/// Speaks TLS and passes what is said on to `behind`.
pub(crate) async fn tls(identity: &Identity, behind: SocketAddr) -> Door {
    tls_of(identity, behind, DEFAULT_VERSIONS).await
}

/// The same in these versions of TLS. Nobody checks that certificate and key belong together.
pub(crate) async fn tls_of(
    identity: &Identity,
    behind: SocketAddr,
    versions: &[&'static SupportedProtocolVersion],
) -> Door {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(identity.key.clone()));
    let key = ring::sign::any_supported_type(&key).unwrap();
    let certified = CertifiedKey::new(vec![identity.certificate.clone()], key);
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    let acceptor = TlsAcceptor::from(Arc::new(config));
    open(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let mut inside = acceptor.accept(stream).await.ok()?;
            let mut outside = TcpStream::connect(behind).await.ok()?;
            copy_bidirectional(&mut inside, &mut outside).await.ok().map(drop)
        }
    })
    .await
}

/// A SOCKS5 proxy that leads to `behind`, whatever it is asked for.
pub(crate) async fn socks(manner: Socks, behind: SocketAddr) -> Door {
    open(move |stream| proxy(stream, manner.clone(), behind)).await
}

/// Does `serve` on each connection; `None` is a connection that was cut.
pub(crate) async fn open<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Door
where
    F: Future<Output = Option<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut task = JoinSet::new();
    task.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let serving = serve(stream);
            connections.spawn(async move {
                serving.await;
            });
        }
    });
    Door { address, _task: task }
}

async fn proxy(mut stream: TcpStream, manner: Socks, behind: SocketAddr) -> Option<()> {
    let [version, methods] = read(&mut stream).await?;
    assert_eq!(version, 5);
    let mut offered = vec![0; methods.into()];
    stream.read_exact(&mut offered).await.ok()?;
    let wanted = if manner.login.is_some() { 2 } else { 0 };
    if !offered.contains(&wanted) {
        return stream.write_all(&[5, 0xff]).await.ok();
    }
    stream.write_all(&[5, wanted]).await.ok()?;
    if let Some((user, password)) = manner.login {
        let [1] = read(&mut stream).await? else { panic!("RFC 1929 begins with a 1") };
        let right = (text(&mut stream).await?, text(&mut stream).await?)
            == (user.to_owned(), password.to_owned());
        stream.write_all(&[1, u8::from(!right)]).await.ok()?;
        if !right {
            return None;
        }
    }
    let [5, 1, 0, kind] = read(&mut stream).await? else { panic!("not a CONNECT") };
    let host = match kind {
        1 => std::net::Ipv4Addr::from(read::<4>(&mut stream).await?).to_string(),
        3 => text(&mut stream).await?,
        other => panic!("address type {other}"),
    };
    let port = u16::from_be_bytes(read(&mut stream).await?);
    manner.asked.lock().unwrap().push((host, port));
    stream.write_all(&[5, manner.answer, 0, 1, 0, 0, 0, 0, 0, 0]).await.ok()?;
    if manner.answer != 0 {
        return None;
    }
    let mut outside = TcpStream::connect(behind).await.ok()?;
    copy_bidirectional(&mut stream, &mut outside).await.ok().map(drop)
}

async fn read<const N: usize>(stream: &mut TcpStream) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await.ok()?;
    Some(bytes)
}

/// A text with its length before it.
async fn text(stream: &mut TcpStream) -> Option<String> {
    let [length] = read(stream).await?;
    let mut bytes = vec![0; length.into()];
    stream.read_exact(&mut bytes).await.ok()?;
    String::from_utf8(bytes).ok()
}
