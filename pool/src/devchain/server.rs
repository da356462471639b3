//! The chain over HTTP, as Bitcoin Core serves it: one task owns the chain, connections ask it
//! through a bounded queue, and calls that wait do so in their connection.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bitcoin::BlockHash;
use bytes::Bytes;
use config::Secret;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, server::conn::http1};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::chain::DevChain;
use super::pulse::Pulse;
use super::rpc::{
    INVALID_REQUEST, METHOD_NOT_FOUND, MISC, NOT_CONNECTED, PARSE, RpcError, parse_hash,
};

/// Calls that may wait for the chain's owner.
const QUEUE: usize = 64;
/// Connections at a time; more wait.
const MAX_CONNECTIONS: usize = 64;
/// The largest request: a block of 4 MB is 8 MB of hex.
const MAX_REQUEST: usize = 16 << 20;
/// The most calls in one batch.
const MAX_BATCH: usize = 100;
/// How often a long poll looks whether the difficulty has eased.
const LONG_POLL_LOOK: Duration = Duration::from_secs(1);
/// When a long poll first answers for the sake of new transactions, as Core's.
const LONG_POLL_TRANSACTIONS: Duration = Duration::from_secs(60);
/// `waitfornewblock` without a limit waits this long; any caller has gone by then.
const NO_LIMIT: Duration = Duration::from_secs(30 * 24 * 3600);
/// A connection must send its next request's head within this.
const HEAD_TIMEOUT: Duration = Duration::from_secs(600);

/// How long a request under way may take at shutdown.
const DRAIN: Duration = Duration::from_secs(5);

/// Who may call.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The user's name.
    pub user: String,
    /// The password.
    pub password: Secret,
}

impl Credentials {
    /// A user and a password.
    #[must_use]
    pub const fn new(user: String, password: Secret) -> Self {
        Self { user, password }
    }
}

/// Serves `chain` on `listener` until `cancel`; then answers what is under way and closes the
/// chain's file.
pub async fn serve(
    listener: TcpListener,
    chain: DevChain,
    credentials: Credentials,
    cancel: CancellationToken,
) {
    let (queue, asks) = mpsc::channel(QUEUE);
    let (publish, tip) = watch::channel(chain.tip().1);
    let tracker = TaskTracker::new();
    let owner = tracker.spawn_blocking(move || own(chain, asks, &publish));
    let token = format!("{}:{}", credentials.user, credentials.password.expose());
    let authorization = format!("Basic {}", STANDARD.encode(token));
    let desk = Arc::new(Desk { queue, tip, authorization, cancel: cancel.clone() });
    let seats = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            accepted = accept(&listener, &seats) => accepted,
        };
        let Some((stream, seat)) = accepted else { continue };
        let desk = Arc::clone(&desk);
        tracker.spawn(async move {
            converse(stream, desk).await;
            drop(seat);
        });
    }
    drop((listener, desk));
    tracker.close();
    tracker.wait().await;
    if let Err(error) = owner.await {
        tracing::error!(%error, "the development chain failed");
    }
}

type Seat = tokio::sync::OwnedSemaphorePermit;

async fn accept(listener: &TcpListener, seats: &Arc<Semaphore>) -> Option<(TcpStream, Seat)> {
    let seat = Arc::clone(seats).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, seat)),
        Err(error) => {
            tracing::warn!(%error, "the development chain cannot accept a connection");
            sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

/// What a connection asks the chain's owner.
enum Ask {
    Call { method: String, params: Vec<Value>, reply: oneshot::Sender<Result<Value, RpcError>> },
    Pulse { reply: oneshot::Sender<Pulse> },
}

/// The owner: answers until every connection is gone.
fn own(mut chain: DevChain, mut asks: mpsc::Receiver<Ask>, publish: &watch::Sender<BlockHash>) {
    while let Some(ask) = asks.blocking_recv() {
        // A caller that has gone needs no answer.
        match ask {
            Ask::Call { method, params, reply } => {
                let answer = chain.call(&method, &params);
                let tip = chain.tip().1;
                publish.send_if_modified(|seen| std::mem::replace(seen, tip) != tip);
                let _ = reply.send(answer);
            }
            Ask::Pulse { reply } => {
                let _ = reply.send(chain.pulse());
            }
        }
    }
}

/// What every connection holds.
struct Desk {
    queue: mpsc::Sender<Ask>,
    tip: watch::Receiver<BlockHash>,
    authorization: String,
    cancel: CancellationToken,
}

async fn converse(stream: TcpStream, desk: Arc<Desk>) {
    let _ = stream.set_nodelay(true);
    let cancel = desk.cancel.clone();
    let service = service_fn(move |request| {
        let desk = Arc::clone(&desk);
        async move { Ok::<_, Infallible>(desk.answer(request).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = cancel.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let Ok(ended) = timeout(DRAIN, connection).await else { return };
            ended
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the development chain ended");
    }
}

impl Desk {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::POST {
            let text = "JSONRPC server handles only POST requests";
            return plain(StatusCode::METHOD_NOT_ALLOWED, text);
        }
        let given = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
        if !given.is_some_and(|given| same(given, self.authorization.as_bytes())) {
            let mut refusal = plain(StatusCode::UNAUTHORIZED, "");
            let scheme = HeaderValue::from_static("Basic realm=\"jsonrpc\"");
            refusal.headers_mut().insert(WWW_AUTHENTICATE, scheme);
            return refusal;
        }
        let Ok(body) = Limited::new(request.into_body(), MAX_REQUEST).collect().await else {
            return plain(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large");
        };
        match serde_json::from_slice(&body.to_bytes()) {
            Ok(Value::Array(batch)) => self.answer_batch(batch).await,
            Ok(request) => {
                let (status, body) = self.answer_one(request).await;
                json_response(status, &body)
            }
            Err(_) => {
                let error = RpcError::new(PARSE, "Parse error");
                json_response(StatusCode::INTERNAL_SERVER_ERROR, &reply(&json!({}), Err(error)))
            }
        }
    }

    async fn answer_batch(&self, batch: Vec<Value>) -> Response<Full<Bytes>> {
        if batch.len() > MAX_BATCH {
            return plain(StatusCode::BAD_REQUEST, "too many calls in one batch");
        }
        let mut answers = Vec::with_capacity(batch.len());
        for request in batch {
            answers.push(self.answer_one(request).await.1);
        }
        json_response(StatusCode::OK, &Value::Array(answers))
    }

    /// One call's answer; errors of JSON-RPC 1 change the HTTP status, as Core's do.
    async fn answer_one(&self, request: Value) -> (StatusCode, Value) {
        let outcome = self.perform(&request).await;
        let second = request.get("jsonrpc").is_some_and(|version| version == "2.0");
        let status = match &outcome {
            Ok(_) => StatusCode::OK,
            Err(_) if second => StatusCode::OK,
            Err(error) => match error.code {
                INVALID_REQUEST => StatusCode::BAD_REQUEST,
                METHOD_NOT_FOUND => StatusCode::NOT_FOUND,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            },
        };
        (status, reply(&request, outcome))
    }

    async fn perform(&self, request: &Value) -> Result<Value, RpcError> {
        let Some(method) = request.get("method").and_then(Value::as_str) else {
            return Err(RpcError::new(INVALID_REQUEST, "Missing method"));
        };
        let params = match request.get("params") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(params)) => params.clone(),
            Some(_) => return Err(RpcError::new(INVALID_REQUEST, "Params must be an array")),
        };
        match method {
            "getblocktemplate" => self.long_poll(params.first()).await?,
            "waitfornewblock" => self.wait_for_new_block(&params).await?,
            _ => {}
        }
        let (reply, answer) = oneshot::channel();
        let ask = Ask::Call { method: method.to_owned(), params, reply };
        self.ask(ask, answer).await?
    }

    async fn ask<T>(&self, ask: Ask, answer: oneshot::Receiver<T>) -> Result<T, RpcError> {
        self.queue.send(ask).await.map_err(|_| shutting_down())?;
        answer.await.map_err(|_| shutting_down())
    }

    /// Waits while the template named by the request's `longpollid` is still the newest.
    async fn long_poll(&self, request: Option<&Value>) -> Result<(), RpcError> {
        let Some(id) = request.and_then(|r| r.get("longpollid")).and_then(Value::as_str) else {
            return Ok(());
        };
        let (old_tip, eased, updates) = Pulse::split_id(id);
        let old_tip: BlockHash = parse_hash(old_tip, "longpollid")?;
        let mut tip = self.tip.clone();
        let start = Instant::now();
        loop {
            tip.borrow_and_update();
            let (reply, answer) = oneshot::channel();
            let pulse = self.ask(Ask::Pulse { reply }, answer).await?;
            let waited = start.elapsed() >= LONG_POLL_TRANSACTIONS;
            if pulse.tip != old_tip || pulse.eased != eased || (waited && pulse.updates != updates)
            {
                return Ok(());
            }
            self.unless_closing(tip.changed(), Instant::now() + LONG_POLL_LOOK).await?;
        }
    }

    /// Waits until the tip is another than the one named, or than the present one.
    async fn wait_for_new_block(&self, params: &[Value]) -> Result<(), RpcError> {
        let limit = params.first().and_then(Value::as_i64).unwrap_or(0);
        let limit = u64::try_from(limit).map_err(|_| RpcError::new(MISC, "Negative timeout"))?;
        let limit = Some(limit).filter(|limit| *limit > 0);
        let deadline = Instant::now() + limit.map_or(NO_LIMIT, Duration::from_millis).min(NO_LIMIT);
        let mut tip = self.tip.clone();
        let old = match params.get(1).and_then(Value::as_str) {
            Some(text) => parse_hash(text, "current_tip")?,
            None => *tip.borrow(),
        };
        while *tip.borrow_and_update() == old && Instant::now() < deadline {
            self.unless_closing(tip.changed(), deadline).await?;
        }
        Ok(())
    }

    /// Waits for `event`, but not beyond `deadline`; an error where the server closes.
    async fn unless_closing(
        &self,
        event: impl Future<Output = Result<(), watch::error::RecvError>>,
        deadline: Instant,
    ) -> Result<(), RpcError> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(shutting_down()),
            outcome = timeout_at(deadline, event) => match outcome {
                Ok(Err(_)) => Err(shutting_down()),
                Ok(Ok(())) | Err(_) => Ok(()),
            },
        }
    }
}

fn shutting_down() -> RpcError {
    RpcError::new(NOT_CONNECTED, "Shutting down")
}

/// The reply object: of JSON-RPC 2 where asked for, else Core's older form with both members.
fn reply(request: &Value, outcome: Result<Value, RpcError>) -> Value {
    let id = request.get("id").cloned().unwrap_or(Value::Null);
    let second = request.get("jsonrpc").is_some_and(|version| version == "2.0");
    match outcome {
        Ok(result) if second => json!({"jsonrpc": "2.0", "result": result, "id": id}),
        Ok(result) => json!({"result": result, "error": null, "id": id}),
        Err(error) => {
            let error = json!({"code": error.code, "message": error.message});
            if second {
                json!({"jsonrpc": "2.0", "error": error, "id": id})
            } else {
                json!({"result": null, "error": error, "id": id})
            }
        }
    }
}

fn json_response(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(format!("{body}\n"))));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response
}

/// Equality whose time does not tell where the difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |sum, (x, y)| sum | (x ^ y)) == 0
}
