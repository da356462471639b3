//! A server between the pool and its node: it hands calls on, and can keep templates back, refuse
//! a call, or say something else than the node did.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use config::Secret;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, server::conn::http1};
use hyper_util::rt::TokioIo;
use pool::node::{Auth, Network, NodeClient, NodeError, NodeSettings};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// No call handed on takes longer.
const LIMIT: Duration = Duration::from_secs(100);

/// Changes the answer to a call.
type Change = fn(&str, &mut Value);

/// The server. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Between {
    address: SocketAddr,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    node: NodeClient,
    /// Whether templates are handed on.
    open: watch::Sender<bool>,
    manner: Mutex<Manner>,
}

/// What is done to calls.
#[derive(Debug, Default)]
struct Manner {
    refused: Option<&'static str>,
    change: Option<Change>,
    templates: usize,
}

impl Between {
    /// Serves what `node` answers.
    pub(crate) async fn start(node: NodeClient) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (open, _) = watch::channel(true);
        let shared = Arc::new(Shared { node, open, manner: Mutex::default() });
        let mut tasks = JoinSet::new();
        let serving = Arc::clone(&shared);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                stream.set_nodelay(true).unwrap();
                let shared = Arc::clone(&serving);
                let service = service_fn(move |request| {
                    let shared = Arc::clone(&shared);
                    async move { Ok::<_, Infallible>(shared.answer(request).await) }
                });
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                connections.spawn(async move {
                    let _ended = connection.await;
                });
            }
        });
        Self { address, shared, _tasks: tasks }
    }

    /// How a pool on `network` reaches it.
    pub(crate) fn settings(&self, network: Network) -> NodeSettings {
        NodeSettings {
            url: format!("http://{}", self.address),
            auth: Auth::UserPassword("pool".to_owned(), Secret::new("any")),
            network,
            timeout: Duration::from_secs(60),
        }
    }

    /// Keeps templates back from now on, or hands on all that are kept back.
    pub(crate) fn open(&self, open: bool) {
        self.shared.open.send_replace(open);
    }

    /// Says that there is no such call.
    pub(crate) fn refuse(&self, method: &'static str) {
        self.shared.manner().refused = Some(method);
    }

    /// Has every answer changed on its way.
    pub(crate) fn change(&self, change: Change) {
        self.shared.manner().change = Some(change);
    }

    /// Templates asked for so far.
    pub(crate) fn templates(&self) -> usize {
        self.shared.manner().templates
    }
}

impl Shared {
    fn manner(&self) -> std::sync::MutexGuard<'_, Manner> {
        self.manner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let call: Value = serde_json::from_slice(&body).unwrap();
        let reply = match self.perform(&call).await {
            Ok(result) => json!({"result": result, "error": null, "id": call["id"]}),
            Err((code, message)) => {
                let error = json!({"code": code, "message": message});
                json!({"result": null, "error": error, "id": call["id"]})
            }
        };
        Response::new(Full::new(Bytes::from(reply.to_string())))
    }

    async fn perform(&self, call: &Value) -> Result<Value, (i64, String)> {
        let method = call["method"].as_str().unwrap();
        if self.manner().refused == Some(method) {
            return Err((-32_601, "Method not found".to_owned()));
        }
        if method == "getblocktemplate" {
            self.manner().templates += 1;
            self.open.subscribe().wait_for(|open| *open).await.unwrap();
        }
        let answer = self.node.call_within(method, call["params"].clone(), LIMIT).await;
        let mut answer = answer.map_err(|error| {
            if let NodeError::Rpc { code, message, .. } = error {
                return (code, message);
            }
            (-1, error.to_string())
        })?;
        if let Some(change) = self.manner().change {
            change(method, &mut answer);
        }
        Ok(answer)
    }
}
