//! Opens a connection to a pool: directly or through its proxy, plain or over TLS.
//!
//! Read [`Dialer::open`]. Each step has its own time limit, and an error says in plain words which
//! step it was. It deliberately says nothing to the pool itself.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::rustls::RootCertStore;
use tokio_socks::tcp::Socks5Stream;

use super::Pool;
use super::proxy::Proxy;
use super::reason;
use super::tls::Tls;
use super::url::PoolUrl;

/// What bytes go over: a socket, or TLS on one.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// An open connection.
pub(crate) type Wire = Box<dyn Duplex>;

/// Opens connections.
#[derive(Debug, Clone)]
pub(crate) struct Dialer {
    tls: Tls,
    limit: Duration,
}

impl Dialer {
    /// A dialer that believes these authorities; each step may take as long as `limit`.
    pub(crate) fn new(authorities: RootCertStore, limit: Duration) -> Self {
        Self { tls: Tls::new(authorities), limit }
    }

    /// Opens a connection to `pool`; the error is in plain words.
    pub(crate) async fn open(&self, pool: &Pool) -> Result<Wire, String> {
        let url = &pool.url;
        let tcp = match &pool.proxy {
            None => self.reach(url.host(), url.port()).await?,
            Some(proxy) => {
                self.through(proxy, url).await.map_err(|why| format!("proxy {proxy}: {why}"))?
            }
        };
        if !url.is_tls() {
            return Ok(Box::new(tcp));
        }
        let shaking = self.tls.shake_hands(url.host(), pool.fingerprint, tcp);
        let tls = self.within("to our opening of TLS", Box::pin(shaking)).await?;
        Ok(Box::new(tls))
    }

    async fn reach(&self, host: &str, port: u16) -> Result<TcpStream, String> {
        let connecting = async {
            let stream = TcpStream::connect((host, port)).await?;
            stream.set_nodelay(true).map(|()| stream)
        };
        let connecting = async { connecting.await.map_err(|error| reason::of_io(&error)) };
        self.within("to our connection", connecting).await
    }

    /// The pool's name goes to the proxy as it is: what we resolve ourselves, others would see.
    async fn through(&self, proxy: &Proxy, url: &PoolUrl) -> Result<TcpStream, String> {
        let socket = self.reach(proxy.host(), proxy.port()).await?;
        let target = (url.host(), url.port());
        let asking = async {
            let opened = match proxy.login() {
                None => Socks5Stream::connect_with_socket(socket, target).await,
                Some(login) => {
                    let (user, password) = (login.user(), login.password().expose());
                    Socks5Stream::connect_with_password_and_socket(socket, target, user, password)
                        .await
                }
            };
            opened.map(Socks5Stream::into_inner).map_err(|error| of_proxy(&error))
        };
        self.within("to our request for the pool", asking).await
    }

    async fn within<T>(
        &self,
        what: &str,
        step: impl Future<Output = Result<T, String>>,
    ) -> Result<T, String> {
        let seconds = self.limit.as_secs_f64();
        let late = |_| format!("no answer {what} within {seconds:.0} s");
        timeout(self.limit, step).await.map_err(late)?
    }
}

/// Of what a proxy answered, which says of itself only a word or two.
fn of_proxy(error: &tokio_socks::Error) -> String {
    use tokio_socks::Error as E;
    if let E::Io(error) = error {
        return reason::of_io(error);
    }
    if matches!(error, E::InvalidResponseVersion | E::InvalidReservedByte) {
        return "this is no SOCKS5 proxy".to_owned();
    }
    if matches!(error, E::NoAcceptableAuthMethods | E::UnknownAuthMethod) {
        return "it wants another login: are proxy_user and proxy_password set?".to_owned();
    }
    if matches!(error, E::PasswordAuthFailure(_)) {
        return "it does not take proxy_user and proxy_password".to_owned();
    }
    format!("it says of the pool: {error}")
}

#[cfg(test)]
mod tests;
