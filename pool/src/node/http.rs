//! HTTP/1.1 to one node: a few kept connections, one request on each at a time.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use defences::{Defence, stands};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{
    Method, Request, Response, StatusCode, Uri,
    body::{Body, Incoming},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Connections kept open between calls; more may be open while they are in use.
const MAX_IDLE: usize = 4;

/// The largest answer taken: a template of full blocks is about 8 MB of hex and keys.
pub(super) const MAX_ANSWER: usize = 64 << 20;

/// What went wrong below JSON; [`super::client`] adds the node's address and the call.
#[derive(Debug)]
pub(super) enum HttpError {
    /// No connection, or it broke.
    Broken(String),
    /// More than [`MAX_ANSWER`] bytes.
    TooLarge,
}

/// A status and a whole body.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

/// The node's HTTP server, as a client sees it.
#[derive(Debug)]
pub(super) struct HttpClient {
    authority: String,
    path: String,
    idle: Mutex<VecDeque<Line>>,
}

impl HttpClient {
    /// Takes `http://host:port[/path]`; the error says what is wrong with it.
    pub(super) fn new(url: &str) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|_| "the address is not a URL".to_owned())?;
        if uri.scheme_str() != Some("http") {
            return Err("the address must start with http://".to_owned());
        }
        let authority = uri.authority().ok_or("the address names no host")?;
        if authority.as_str().contains('@') {
            return Err("user and password belong into 'auth', not into the address".to_owned());
        }
        let host = authority.as_str().to_owned();
        if authority.port().is_none() {
            return Err(format!("the address names no port (as in http://{host}:8332)"));
        }
        Ok(Self { authority: host, path: uri.path().to_owned(), idle: Mutex::default() })
    }

    /// Sends one JSON body and takes the whole answer. A kept connection that the node has
    /// closed meanwhile is replaced by a new one, once, when `repeatable`.
    pub(super) async fn post(
        &self,
        authorization: &str,
        body: &Bytes,
        repeatable: bool,
    ) -> Result<Answer, HttpError> {
        if let Some(line) = self.take_idle() {
            match self.exchange(line, authorization, body).await {
                Err(HttpError::Broken(_)) if repeatable => {}
                outcome => return outcome,
            }
        }
        let line = self.connect().await?;
        self.exchange(line, authorization, body).await
    }

    /// The one that has been idle for the longest. Bitcoin Core's server (the one without libevent)
    /// looks at a connection that it has just answered up to 50 ms later than at the others.
    fn take_idle(&self) -> Option<Line> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.pop_front()
    }

    fn keep(&self, line: Line) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE {
            idle.push_back(line);
        }
    }

    async fn connect(&self) -> Result<Line, HttpError> {
        let stream = TcpStream::connect(&self.authority).await.map_err(broken)?;
        stream.set_nodelay(true).map_err(broken)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        Ok(Line { sender, connection: Some(connection) })
    }

    async fn exchange(
        &self,
        mut line: Line,
        authorization: &str,
        body: &Bytes,
    ) -> Result<Answer, HttpError> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.path)
            .header(HOST, &self.authority)
            .header(AUTHORIZATION, authorization)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body.clone()))
            .map_err(broken)?;
        let answer = line.run(request).await;
        if line.connection.is_some() && answer.is_ok() {
            self.keep(line);
        }
        answer
    }
}

type Link = Connection<TokioIo<TcpStream>, Full<Bytes>>;

/// One connection: the half that sends, and the half that moves bytes while it is polled; the
/// latter is gone once the connection has ended.
#[derive(Debug)]
struct Line {
    sender: SendRequest<Full<Bytes>>,
    connection: Option<Link>,
}

impl Line {
    /// One request and its answer, moving the connection's bytes meanwhile.
    async fn run(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, HttpError> {
        let sender = &mut self.sender;
        let work = async move {
            sender.ready().await.map_err(broken)?;
            collect(sender.send_request(request).await.map_err(broken)?).await
        };
        drive(work, &mut self.connection).await
    }
}

/// Polls `work` to its end and `connection` beside it. A connection that ends first is dropped,
/// which is how `work` learns of it; it may also have delivered all that `work` waits for.
async fn drive<W, C, E>(work: W, connection: &mut Option<C>) -> W::Output
where
    W: Future,
    C: Future<Output = Result<(), E>> + Unpin,
{
    let mut work = std::pin::pin!(work);
    while let Some(link) = connection {
        tokio::select! {
            biased;
            output = &mut work => return output,
            _ended = link => *connection = None,
        }
    }
    work.await
}

async fn collect(response: Response<Incoming>) -> Result<Answer, HttpError> {
    let status = response.status();
    let mut incoming = response.into_body();
    let expected = incoming.size_hint().exact().and_then(|length| usize::try_from(length).ok());
    let mut body = BytesMut::with_capacity(expected.unwrap_or(0).min(MAX_ANSWER));
    while let Some(frame) = incoming.frame().await {
        let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
        let too_large = body.len().saturating_add(data.len()) > MAX_ANSWER;
        if stands(Defence::NodeAnswer) && too_large {
            return Err(HttpError::TooLarge);
        }
        body.extend_from_slice(&data);
    }
    Ok(Answer { status, body: body.freeze() })
}

fn broken(error: impl std::error::Error) -> HttpError {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    HttpError::Broken(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_cannot_work_are_refused_in_words() {
        for (url, word) in [
            ("https://127.0.0.1:8332", "http://"),
            ("127.0.0.1:8332", "URL"),
            ("http://127.0.0.1", "port"),
            ("http://me:hunter2@127.0.0.1:8332", "auth"),
        ] {
            let reason = HttpClient::new(url).map(drop).unwrap_err();
            assert!(reason.contains(word) || reason.contains("http://"), "{url}: {reason}");
            assert!(!reason.contains("hunter2"), "{reason}");
        }
        let client = HttpClient::new("http://[::1]:18443/wallet/x").unwrap();
        assert_eq!((client.authority.as_str(), client.path.as_str()), ("[::1]:18443", "/wallet/x"));
    }
}
