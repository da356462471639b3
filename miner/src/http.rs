//! The HTTP server: metrics, the summary, and the summary in the shape that xmrig's tools know.
//!
//! Read [`Api::answer`], which is pure: a path to an answer. [`serve`] is the socket around it,
//! with a limit on connections and on the time a request may take to come. Everything here is
//! read-only and public; nothing can be changed over HTTP.

mod restraint;
mod summary;
mod xmrig;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::metrics::{Registry, exact};
use crate::telemetry::Snapshot;

/// Connections at a time; more wait.
const CONNECTIONS_MAX: usize = 32;
/// How long a request's head may take to arrive.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// How long a connection may last: scrapers open a new one without harm.
const CONNECTION_LIMIT: Duration = Duration::from_secs(300);
/// How long to wait after a failed accept (out of file descriptors, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long requests under way may take once we are told to end.
const FAREWELL_LIMIT: Duration = Duration::from_secs(1);

pub(crate) const JSON: &str = "application/json";
pub(crate) const TEXT: &str = "text/plain; charset=utf-8";
pub(crate) const HTML: &str = "text/html; charset=utf-8";
pub(crate) const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What answers requests: a path to an answer, without waiting for anything.
pub(crate) trait Answers: Send + Sync + 'static {
    /// The answer.
    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>>;
}

/// What the miner's server shows.
#[derive(Debug)]
pub struct Api {
    registry: Registry,
    snapshots: watch::Receiver<Arc<Snapshot>>,
}

impl Api {
    /// Shows the newest of `snapshots` and what `registry` counts.
    #[must_use]
    pub const fn new(registry: Registry, snapshots: watch::Receiver<Arc<Snapshot>>) -> Self {
        Self { registry, snapshots }
    }
}

impl Answers for Api {
    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if method != Method::GET && method != Method::HEAD {
            return reply(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET is served\n".to_owned());
        }
        let snapshot = Arc::clone(&self.snapshots.borrow());
        match path {
            "/metrics" => {
                let text = self.registry.render() + &exact::render(&snapshot);
                reply(StatusCode::OK, PROMETHEUS, text)
            }
            "/api/v1/summary" => {
                reply(StatusCode::OK, JSON, summary::summary(&snapshot).to_string())
            }
            "/2/summary" => reply(StatusCode::OK, JSON, xmrig::summary(&snapshot).to_string()),
            "/healthz" => {
                reply(StatusCode::OK, TEXT, format!("ok {}\n", snapshot.upstream.phase.label()))
            }
            "/" => reply(StatusCode::OK, TEXT, index()),
            _ => reply(StatusCode::NOT_FOUND, TEXT, format!("nothing at {path}\n{}", index())),
        }
    }
}

/// Serves until cancelled, then waits a moment for the requests under way.
///
/// # Panics
/// Never: the semaphore inside is not closed.
pub(crate) async fn serve(
    listener: TcpListener,
    api: Arc<impl Answers>,
    cancel: CancellationToken,
) {
    let connections = TaskTracker::new();
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let permit = Arc::clone(&room).acquire_owned();
        let accepted = tokio::select! {
            () = cancel.cancelled() => break,
            accepted = async {
                let permit = permit.await.expect("the semaphore is never closed");
                listener.accept().await.map(|(stream, _)| (stream, permit))
            } => accepted,
        };
        match accepted {
            Ok((stream, permit)) => {
                let (api, cancel) = (Arc::clone(&api), cancel.clone());
                connections.spawn(async move {
                    connection(stream, api, cancel).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!("api: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    connections.close();
    if timeout(FAREWELL_LIMIT, connections.wait()).await.is_err() {
        tracing::debug!("api: {} connections were cut", connections.len());
    }
}

async fn connection(stream: TcpStream, api: Arc<impl Answers>, cancel: CancellationToken) {
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        let answer = api.answer(request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(answer) }
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let ending = async {
        tokio::select! {
            () = cancel.cancelled() => {}
            () = tokio::time::sleep(CONNECTION_LIMIT) => {}
        }
    };
    let served = tokio::select! {
        served = serving.as_mut() => served,
        () = ending => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!("api: {error}");
    }
}

/// An answer of that kind.
pub(crate) fn reply(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn index() -> String {
    "/metrics\n/api/v1/summary\n/2/summary\n/healthz\n".to_owned()
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::metrics::ShareMetrics;
    use crate::telemetry::sample;

    fn api() -> Api {
        let registry = Registry::new();
        let _shares = ShareMetrics::new(&registry);
        Api::new(registry, watch::channel(Arc::new(sample())).1)
    }

    fn body(answer: Response<Full<Bytes>>) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let bytes = runtime.block_on(answer.into_body().collect()).unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn each_path_has_its_kind() {
        for (path, kind) in [
            ("/metrics", PROMETHEUS),
            ("/api/v1/summary", JSON),
            ("/2/summary", JSON),
            ("/healthz", TEXT),
            ("/", TEXT),
        ] {
            let answer = api().answer(&Method::GET, path);
            assert_eq!(answer.status(), StatusCode::OK, "{path}");
            assert_eq!(answer.headers()[CONTENT_TYPE], kind, "{path}");
            assert!(!body(answer).is_empty());
        }
        assert_eq!(body(api().answer(&Method::GET, "/healthz")), "ok mining\n");
    }

    #[test]
    fn nothing_else_is_served_and_nothing_can_be_changed() {
        let missing = api().answer(&Method::GET, "/etc/passwd");
        assert_eq!(missing.status(), StatusCode::NOT_FOUND);
        for method in [Method::POST, Method::PUT, Method::DELETE] {
            let refused = api().answer(&method, "/metrics");
            assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
        }
    }

    #[test]
    fn metrics_hold_both_the_counted_and_the_exact_families_once() {
        let text = body(api().answer(&Method::GET, "/metrics"));
        for name in ["wattproof_miner_shares_total", "wattproof_miner_hashes_total"] {
            let heads = text.matches(&format!("# TYPE {name} ")).count();
            assert_eq!(heads, 1, "{name} in:\n{text}");
        }
    }
}
