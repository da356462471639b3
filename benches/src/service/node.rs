//! The chain over HTTP, as much of a node's JSON-RPC as a pool needs: one thread a connection.
//!
//! Read [`Node`]. Calls that wait do so on one condition, so that [`Node::announce`] wakes them
//! all. It deliberately asks nobody for a password, and listens on loopback only.

use std::{
    borrow::Cow,
    io::{self, BufRead, BufReader, BufWriter, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use super::chain::{Blank, Chain};
use crate::clock;

/// The largest request taken.
const MAX_REQUEST: usize = 16 << 20;
/// The longest that a long poll stays unanswered.
const LONG_POLL: Duration = Duration::from_secs(3600);

/// A node for a pool.
#[derive(Debug)]
pub(super) struct Node {
    shared: Arc<Shared>,
    address: SocketAddr,
}

#[derive(Debug)]
struct Shared {
    chain: Mutex<Chain>,
    moved: Condvar,
    blank: Blank,
    stop: AtomicBool,
}

impl Node {
    /// Serves until it is dropped. Templates have so many transactions.
    pub(super) fn start(transactions: u32) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            chain: Mutex::new(Chain::new()),
            moved: Condvar::new(),
            blank: Blank::new(transactions),
            stop: AtomicBool::new(false),
        });
        let node = Self { shared: Arc::clone(&shared), address };
        thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.stop.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&shared);
                // A pool that hangs up is no failure of the node's.
                thread::spawn(move || stream.and_then(|stream| shared.converse(stream)));
            }
        });
        Ok(node)
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// A new block, of which everybody hears who waits.
    pub(super) fn announce(&self) {
        self.shared.chain().advance();
        self.shared.moved.notify_all();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // Its thread looks again when somebody comes.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn chain(&self) -> MutexGuard<'_, Chain> {
        self.chain.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn converse(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream);
        while let Some(body) = request(&mut reader)? {
            let call: Value = serde_json::from_slice(&body).unwrap_or_default();
            let id = &call["id"];
            let (status, result, error) = match self.answer(&call) {
                Ok(result) => ("200 OK", result, Value::Null),
                Err((code, message)) => {
                    let error = json!({"code": code, "message": message});
                    ("500 Internal Server Error", whole("null".to_owned()), error)
                }
            };
            let (opening, closing) = ("{\"result\":", format!(",\"error\":{error},\"id\":{id}}}"));
            let length: usize = result.iter().map(|piece| piece.len()).sum();
            let length = opening.len() + length + closing.len();
            let mut out = BufWriter::new(reader.get_mut());
            write!(
                out,
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n\
                 content-length: {length}\r\n\r\n{opening}"
            )?;
            result.iter().try_for_each(|piece| out.write_all(piece.as_bytes()))?;
            out.write_all(closing.as_bytes())?;
            out.flush()?;
        }
        Ok(())
    }

    /// The result as JSON text in pieces.
    fn answer(&self, call: &Value) -> Result<[Cow<'_, str>; 3], super::chain::Refusal> {
        let (method, params) = (call["method"].as_str().unwrap_or_default(), &call["params"]);
        let chain = match method {
            "getblocktemplate" => {
                let known = params[0]["longpollid"].as_str();
                self.wait(known, LONG_POLL)
            }
            "waitfornewblock" => {
                let limit = params[0].as_u64().filter(|limit| *limit > 0);
                let limit = limit.map_or(LONG_POLL, Duration::from_millis);
                let tip = self.chain().tip();
                self.wait(Some(params[1].as_str().unwrap_or(&tip)), limit)
            }
            _ => self.chain().clone(),
        };
        if method == "getblocktemplate" {
            return Ok(chain.template(&self.blank, clock::unix_seconds()));
        }
        chain.call(method, params).map(|result| whole(result.to_string()))
    }

    /// The chain, once its tip is another than this; after the limit as it is.
    fn wait(&self, known: Option<&str>, limit: Duration) -> Chain {
        let same = |chain: &mut Chain| known.is_some_and(|known| known == chain.tip());
        let waited = self.moved.wait_timeout_while(self.chain(), limit, same);
        waited.unwrap_or_else(PoisonError::into_inner).0.clone()
    }
}

/// A text that is in no pieces.
fn whole(text: String) -> [Cow<'static, str>; 3] {
    [text.into(), "".into(), "".into()]
}

/// The body of the next request; `None` where the other side is done.
fn request(reader: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut length = 0;
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if line.trim().is_empty() {
            break;
        }
        let field =
            line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        if let Some((_, value)) = field {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    if length > MAX_REQUEST {
        return Err(io::Error::other("the request is too long"));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(node: &Node, body: &Value) -> Value {
        let mut stream = TcpStream::connect(node.address()).unwrap();
        let text = body.to_string();
        write!(stream, "POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{text}", text.len()).unwrap();
        let answer = request(&mut BufReader::new(stream)).unwrap().unwrap();
        serde_json::from_slice(&answer).unwrap()
    }

    #[test]
    fn who_waits_hears_of_a_new_block() {
        let node = Node::start(2).unwrap();
        let first = ask(&node, &json!({"id": 7, "method": "getblocktemplate", "params": [{}]}));
        assert_eq!((&first["id"], &first["result"]["height"]), (&json!(7), &json!(1001)));
        let id = &first["result"]["longpollid"];
        let waits = [
            json!({"id": 1, "method": "getblocktemplate", "params": [{"longpollid": id}]}),
            json!({"id": 2, "method": "waitfornewblock", "params": [60_000, id]}),
        ];
        let heights = thread::scope(|scope| {
            let asked = waits.each_ref().map(|wait| scope.spawn(|| ask(&node, wait)));
            node.announce();
            asked.map(|one| one.join().unwrap()["result"]["height"].clone())
        });
        assert_eq!(heights, [json!(1002), json!(1001)]);
        let short = json!({"id": 3, "method": "waitfornewblock", "params": [1]});
        assert_eq!(ask(&node, &short)["result"]["height"], 1001);
    }

    #[test]
    fn refusals_have_a_code() {
        let node = Node::start(0).unwrap();
        let refused = ask(&node, &json!({"id": 1, "method": "stop", "params": []}));
        assert_eq!(refused["error"]["code"], -32601);
    }
}
