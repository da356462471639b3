//! The accept loop of the HTTP server, and what one connection may take: a place among few, a
//! head of a few kilobytes, and a time. Read [`serve`].
//!
//! A client that sends nothing, or reads nothing, thereby gives its place back. Only a service that
//! knows whom it serves has a connection live longer, by its [`Leave`], until it has answered. It
//! deliberately does not know what is served, and keeps no count of a peer's requests: reads are
//! public, and limits by address are for the proxy in front.

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use defences::{Defence, stands};
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// A client that sends its request's head slower than this is dropped.
const HEADER_LIMIT: Duration = Duration::from_secs(10);
/// Largest head of a request.
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// Pause after the system refuses to accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How much is served at once, and for how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Connections served at once; more wait for a place.
    pub(super) connections: usize,
    /// After this a connection may finish the answer that it is at, and gets no other.
    pub(super) time: Duration,
    /// After this much more it is cut off.
    pub(super) grace: Duration,
    /// The longest that it is not cut off for while it has leave to stay.
    pub(super) stay: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            time: Duration::from_secs(25),
            grace: Duration::from_secs(5),  // 30 s in all
            stay: Duration::from_secs(900), // as long as a node may look for the pool's coins
        }
    }
}

/// Comes with every request: what has its connection live until it is answered.
#[derive(Debug, Clone)]
pub(super) struct Leave(watch::Sender<bool>);

/// While this is there its connection is not cut off, for as long as the limits say.
#[derive(Debug)]
pub(super) struct Stay(watch::Sender<bool>);

impl Leave {
    /// Takes it: for somebody who has shown that they may.
    pub(super) fn take(&self) -> Stay {
        self.0.send_replace(true);
        Stay(self.0.clone())
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.0.send_replace(false);
    }
}

/// Serves until cancelled, every request by `service`.
pub(super) async fn serve<S, F>(
    listener: TcpListener,
    limits: Limits,
    service: S,
    cancel: CancellationToken,
) where
    S: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        let place = Arc::clone(&places).acquire_owned();
        let accepted = tokio::select! {
            () = cancel.cancelled() => return,
            Some(_) = connections.join_next() => continue,
            accepted = async { (place.await, listener.accept().await) } => accepted,
        };
        let (place, stream) = match accepted {
            (Ok(place), Ok((stream, _))) => (place, stream),
            (_, error) => {
                tracing::warn!("cannot accept an HTTP connection: {:?}", error.err());
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let service = service.clone();
        connections.spawn(async move {
            converse(stream, limits, service).await;
            drop(place);
        });
    }
}

/// Answers one connection's requests, for no longer than the limits say.
async fn converse<S, F>(stream: TcpStream, limits: Limits, service: S)
where
    S: Fn(Request<Incoming>) -> F,
    F: Future<Output = Result<Response<Full<Bytes>>, Infallible>>,
{
    let time = if stands(Defence::HttpTime) { limits.time } else { Duration::MAX };
    let (leave, staying) = watch::channel(false);
    let service = move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Leave(leave.clone()));
        service(request)
    };
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_LIMIT)
            .max_buf_size(if stands(Defence::HttpHead) { HEADER_BYTES_MAX } else { usize::MAX })
            .serve_connection(TokioIo::new(stream), service_fn(service))
    );
    let served = match timeout(time, connection.as_mut()).await {
        Ok(served) => Some(served),
        Err(_) => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                served = connection => Some(served),
                () = overstayed(limits, staying) => None,
            }
        }
    };
    match served {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::debug!("HTTP connection: {error}"),
        None => tracing::debug!("HTTP connection: cut off, since its time is over"),
    }
}

/// Completes when a connection whose time is over is to be cut off: after the grace, which begins
/// anew with the end of an answer that it had leave to wait for.
async fn overstayed(limits: Limits, mut staying: watch::Receiver<bool>) {
    let left = async {
        loop {
            let answered = staying.wait_for(|staying| !staying).await.is_ok();
            let stays = timeout(limits.grace, staying.changed()).await;
            if !answered || !matches!(stays, Ok(Ok(()))) {
                return;
            }
        }
    };
    let _ = timeout(limits.stay, left).await;
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// More than both ends of a loopback connection buffer.
    const BODY: usize = 64 << 20;
    const PATIENCE: Duration = Duration::from_secs(30);

    /// A server whose answers take `delay` to make. It ends with the set.
    async fn start(limits: Limits, delay: Duration) -> (SocketAddr, JoinSet<()>) {
        start_for(limits, delay, false).await
    }

    /// The same; with `leave`, whoever asks may stay until the answer is made.
    async fn start_for(limits: Limits, delay: Duration, leave: bool) -> (SocketAddr, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let body = Bytes::from(vec![b'x'; BODY]);
        let service = move |request: Request<Incoming>| {
            let response = Response::new(Full::new(body.clone()));
            async move {
                let _stay = leave.then(|| request.extensions().get::<Leave>().unwrap().take());
                sleep(delay).await;
                Ok(response)
            }
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, limits, service, CancellationToken::new()));
        (address, tasks)
    }

    async fn ask(address: SocketAddr, method: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("{method} / HTTP/1.1\r\nHost: pool\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    /// All that still comes; a reset ends it like a close does.
    async fn rest(stream: &mut TcpStream) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("an end");
        bytes
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_cut_off_and_the_next_gets_its_place() {
        let limit = Duration::from_millis(500);
        let limits = Limits { connections: 1, time: limit, grace: limit, ..Limits::default() };
        let (address, _server) = start(limits, Duration::ZERO).await;
        let mut slow = ask(address, "GET").await;
        let mut head = [0; 12];
        slow.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200", "it has the only place");

        let mut next = ask(address, "HEAD").await;
        timeout(PATIENCE, next.read_exact(&mut head)).await.expect("a place in time").unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");
        assert!(rest(&mut slow).await.len() < BODY);
    }

    #[tokio::test]
    async fn a_head_without_an_end_is_refused() {
        let (address, _server) = start(Limits::default(), Duration::ZERO).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let field = format!("X-Padding: {}\r\n", "x".repeat(1000));
        let head = format!("HEAD / HTTP/1.1\r\nHost: pool\r\n{}\r\n", field.repeat(20));
        assert!(head.len() > HEADER_BYTES_MAX);
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        timeout(PATIENCE, stream.read_exact(&mut answer)).await.expect("an answer").unwrap();
        assert_eq!(&answer, b"HTTP/1.1 431");
    }

    #[tokio::test]
    async fn a_client_that_says_nothing_is_cut_off() {
        let limit = Duration::from_millis(50);
        let limits = Limits { connections: 1, time: limit, grace: limit, ..Limits::default() };
        let (address, _server) = start(limits, Duration::ZERO).await;
        let mut silent = TcpStream::connect(address).await.unwrap();
        assert_eq!(rest(&mut silent).await, b"");
    }

    #[tokio::test]
    async fn an_answer_that_is_being_made_at_the_limit_arrives_whole() {
        let (time, grace) = (Duration::from_millis(50), PATIENCE);
        let limits = Limits { connections: 1, time, grace, ..Limits::default() };
        let (address, _server) = start(limits, Duration::from_millis(300)).await;
        let mut client = ask(address, "GET").await;
        assert!(rest(&mut client).await.len() > BODY, "the body and its head, then the end");
    }

    #[tokio::test]
    async fn only_who_has_leave_to_stay_is_waited_for_and_not_for_ever() {
        let (limit, delay) = (Duration::from_millis(300), Duration::from_millis(1500));
        let limits = |stay| Limits { connections: 1, time: limit, grace: limit, stay };
        let (address, _server) = start_for(limits(PATIENCE), delay, false).await;
        assert_eq!(rest(&mut ask(address, "HEAD").await).await, b"", "cut off");
        let (address, _server) = start_for(limits(PATIENCE), delay, true).await;
        let answer = rest(&mut ask(address, "HEAD").await).await;
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
        let (address, _server) = start_for(limits(limit), PATIENCE, true).await;
        assert_eq!(rest(&mut ask(address, "HEAD").await).await, b"", "cut off");
    }
}
