//! The client: JSON-RPC calls with time limits, and the typed calls that the pool makes.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use defences::{Defence, stands};
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use units::Sats;

use super::backoff::Jitter;
use super::check::check;
use super::error::{NodeError, RPC_INVALID_PARAMETER, RPC_NOT_FOUND};
use super::http::{Answer, HttpClient, HttpError, MAX_ANSWER};
use super::rpc::{RpcAnswer, tree};
use super::settings::{Auth, Network, NodeSettings};
use super::template::{Template, display_hash, parse_hash};

/// Attempts at a call that may be repeated.
const ATTEMPTS: u32 = 3;
/// The first wait between attempts, and the longest.
const RETRY_BASE: Duration = Duration::from_millis(100);
const RETRY_LIMIT: Duration = Duration::from_secs(2);
/// Added to a wait that the node itself keeps, for the way there and back.
const GRACE: Duration = Duration::from_secs(10);
/// The longest cookie read; Core's are 75 bytes.
const MAX_COOKIE: usize = 1024;

/// A node's RPC server. One value serves all tasks; calls may run at the same time.
#[derive(Debug)]
pub struct NodeClient {
    url: String,
    network: Network,
    timeout: Duration,
    auth: Auth,
    cookie: Mutex<Option<String>>,
    http: HttpClient,
    jitter: Jitter,
}

/// What `submitblock` said. A hint: whether the block is on the chain is asked separately.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubmitAnswer {
    /// Valid, and connected when the answer was given.
    Accepted,
    /// Known already.
    Duplicate,
    /// Known already, and known to be invalid.
    DuplicateInvalid,
    /// Stored, but not on the best chain: another block has at least as much work.
    Inconclusive,
    /// Invalid; the reason in Bitcoin Core's words, such as `high-hash`.
    Rejected(String),
}

impl SubmitAnswer {
    /// The answer as the node gave it, with `accepted` for its null.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::DuplicateInvalid => "duplicate-invalid",
            Self::Inconclusive => "inconclusive",
            Self::Rejected(reason) => reason,
        }
    }
}

/// Where a block stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockPosition {
    /// 1 for the tip; -1 where the block is not on the best chain.
    pub confirmations: i64,
    /// The block's height.
    pub height: u32,
}

/// What a block's header says to the block on top of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HeaderFacts {
    /// The block's height.
    pub(super) height: u32,
    /// Median time of it and the ten before it, Unix seconds.
    pub(super) median_time: u32,
    /// Its own compact target.
    pub(super) bits: u32,
}

/// The best chain's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TipPosition {
    /// Internal byte order.
    pub hash: [u8; 32],
    /// Its height.
    pub height: u32,
}

/// The part of `getblockchaininfo` that the pool uses.
#[derive(Debug, Clone, PartialEq)]
pub struct ChainInfo {
    /// `main`, `testnet4`, `signet`, `regtest`.
    pub chain: String,
    /// Height of the tip.
    pub blocks: u32,
    /// Hash of the tip, internal byte order.
    pub best_block: [u8; 32],
    /// Network difficulty at the tip.
    pub difficulty: f64,
    /// True on a node that is still catching up, and on every fresh test chain.
    pub initial_block_download: bool,
}

impl NodeClient {
    /// Prepares a client; nothing is sent yet.
    ///
    /// # Errors
    /// [`NodeError::Settings`] where the address cannot work.
    pub fn new(settings: NodeSettings) -> Result<Self, NodeError> {
        let http = HttpClient::new(&settings.url).map_err(|reason| NodeError::Settings {
            url: without_credentials(&settings.url),
            reason,
        })?;
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).map_err(|error| NodeError::Settings {
            url: settings.url.clone(),
            reason: format!("no randomness from the system: {error}"),
        })?;
        Ok(Self {
            url: settings.url,
            network: settings.network,
            timeout: settings.timeout,
            auth: settings.auth,
            cookie: Mutex::new(None),
            http,
            jitter: Jitter::new(u64::from_le_bytes(seed)),
        })
    }

    /// The node's address, as configured.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The network that the node is expected to be on.
    #[must_use]
    pub const fn network(&self) -> Network {
        self.network
    }

    /// Any call, within the configured time limit. Reads, `submitblock` and
    /// `sendrawtransaction`, which change nothing when repeated, are tried up to three times
    /// where the failure may pass.
    ///
    /// # Errors
    /// Names the node, the call and the reason.
    pub async fn call(&self, method: &str, params: Value) -> Result<Value, NodeError> {
        let attempts = if is_repeatable(method) { ATTEMPTS } else { 1 };
        self.request(method, params, self.timeout, attempts, tree).await
    }

    /// As [`Self::call`], with another time limit and no second attempt: for calls that the node
    /// itself keeps waiting.
    ///
    /// # Errors
    /// Names the node, the call and the reason.
    pub async fn call_within(
        &self,
        method: &str,
        params: Value,
        limit: Duration,
    ) -> Result<Value, NodeError> {
        self.request(method, params, limit, 1, tree).await
    }

    /// `read` takes the result's JSON text as it lies in the answer.
    async fn request<T>(
        &self,
        method: &str,
        params: Value,
        limit: Duration,
        attempts: u32,
        read: fn(&str) -> Result<T, String>,
    ) -> Result<T, NodeError> {
        let body = json!({"jsonrpc": "1.0", "id": 1, "method": method, "params": params});
        let body = Bytes::from(body.to_string());
        let repeatable = is_repeatable(method);
        let mut attempt = 0;
        loop {
            let answer = self.attempt(method, &body, repeatable, limit).await;
            let error = match answer.and_then(|answer| self.result(method, &answer, read)) {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            attempt += 1;
            // Who has waited for so long is better served by another node than by more of it.
            let waited = matches!(error, NodeError::TimedOut { .. }) && method != "submitblock";
            if attempt >= attempts || waited || !error.is_passing() {
                return Err(error);
            }
            tokio::time::sleep(self.jitter.wait(attempt, RETRY_BASE, RETRY_LIMIT)).await;
        }
    }

    /// The template to mine on. With the `longpollid` of an earlier one, the node waits until
    /// there is something new; the limit is then `wait` instead of the configured one, and one
    /// attempt is made.
    ///
    /// # Errors
    /// As [`Self::call`]; [`NodeError::Malformed`] names the template's bad field, or the one that
    /// cannot be true.
    pub async fn get_block_template(
        &self,
        longpoll: Option<(&str, Duration)>,
    ) -> Result<Template, NodeError> {
        const METHOD: &str = "getblocktemplate";
        let mut request = json!({
            "rules": self.network.rules(),
            "capabilities": ["coinbasevalue", "longpoll"],
        });
        let (limit, attempts) = match longpoll {
            Some((id, wait)) => {
                request["longpollid"] = json!(id);
                (wait, 1)
            }
            None => (self.timeout, ATTEMPTS),
        };
        let read = |text: &str| Template::from_json(text).map_err(|error| error.to_string());
        let template = self.request(METHOD, json!([request]), limit, attempts, read).await?;
        check(&template, self.network).map_err(|e| self.malformed(METHOD, e.to_string()))?;
        Ok(template)
    }

    /// Hands in a whole serialized block.
    ///
    /// # Errors
    /// As [`Self::call`]; a refusal of the block is not an error but [`SubmitAnswer::Rejected`].
    pub async fn submit_block(&self, block: &[u8]) -> Result<SubmitAnswer, NodeError> {
        const METHOD: &str = "submitblock";
        match self.call(METHOD, json!([hex::encode(block)])).await? {
            Value::Null => Ok(SubmitAnswer::Accepted),
            Value::String(text) => Ok(match text.as_str() {
                "duplicate" => SubmitAnswer::Duplicate,
                "duplicate-invalid" => SubmitAnswer::DuplicateInvalid,
                "inconclusive" | "duplicate-inconclusive" => SubmitAnswer::Inconclusive,
                _ => SubmitAnswer::Rejected(text),
            }),
            other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                Err(self.malformed(METHOD, format!("neither null nor text: {other}")))
            }
        }
    }

    /// Makes the node prefer this block (hash in internal order) to others of the same height that
    /// it saw first.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn prefer_block(&self, hash: &[u8; 32]) -> Result<(), NodeError> {
        self.call("preciousblock", json!([display_hash(hash)])).await.map(drop)
    }

    /// Where a block stands (hash in internal order); `None` where the node does not know it.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn block_header(&self, hash: &[u8; 32]) -> Result<Option<BlockPosition>, NodeError> {
        const METHOD: &str = "getblockheader";
        #[derive(Deserialize)]
        struct Raw {
            confirmations: i64,
            height: u32,
        }
        match self.call(METHOD, json!([display_hash(hash), true])).await {
            Ok(value) => {
                let Raw { confirmations, height } = self.read(METHOD, value)?;
                Ok(Some(BlockPosition { confirmations, height }))
            }
            Err(error) if error.rpc_code() == Some(RPC_NOT_FOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What the header of a block on the best chain says (hash in internal order).
    pub(super) async fn header_facts(&self, hash: &[u8; 32]) -> Result<HeaderFacts, NodeError> {
        const METHOD: &str = "getblockheader";
        #[derive(Deserialize)]
        struct Raw {
            height: u32,
            mediantime: u32,
            bits: String,
        }
        let raw: Raw =
            self.read(METHOD, self.call(METHOD, json!([display_hash(hash), true])).await?)?;
        let bits = self.compact(METHOD, &raw.bits)?;
        Ok(HeaderFacts { height: raw.height, median_time: raw.mediantime, bits })
    }

    /// Height and compact target of the next block, where the node says them.
    pub(super) async fn next_block(&self) -> Result<Option<(u32, u32)>, NodeError> {
        const METHOD: &str = "getmininginfo";
        #[derive(Deserialize)]
        struct Raw {
            next: Option<Next>,
        }
        #[derive(Deserialize)]
        struct Next {
            height: u32,
            bits: String,
        }
        let raw: Raw = self.read(METHOD, self.call(METHOD, json!([])).await?)?;
        raw.next.map(|next| Ok((next.height, self.compact(METHOD, &next.bits)?))).transpose()
    }

    /// Hash (internal order) of the best chain's block at `height`; `None` above the tip.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn block_hash(&self, height: u32) -> Result<Option<[u8; 32]>, NodeError> {
        const METHOD: &str = "getblockhash";
        match self.call(METHOD, json!([height])).await {
            Ok(value) => self.hash(METHOD, value.as_str()).map(Some),
            Err(error) if error.rpc_code() == Some(RPC_INVALID_PARAMETER) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All fees of the best chain's block at `height`.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn block_fees(&self, height: u32) -> Result<Sats, NodeError> {
        const METHOD: &str = "getblockstats";
        let stats = self.call(METHOD, json!([height, ["totalfee"]])).await?;
        let fees = stats["totalfee"].as_u64().and_then(|fees| Sats::from_sat(fees).ok());
        fees.ok_or_else(|| self.malformed(METHOD, "no 'totalfee' in it".to_owned()))
    }

    /// The chain's name, tip and difficulty.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn blockchain_info(&self) -> Result<ChainInfo, NodeError> {
        const METHOD: &str = "getblockchaininfo";
        #[derive(Deserialize)]
        struct Raw {
            chain: String,
            blocks: u32,
            bestblockhash: String,
            difficulty: f64,
            initialblockdownload: bool,
        }
        let raw: Raw = self.read(METHOD, self.call(METHOD, json!([])).await?)?;
        Ok(ChainInfo {
            chain: raw.chain,
            blocks: raw.blocks,
            best_block: self.hash(METHOD, Some(&raw.bestblockhash))?,
            difficulty: raw.difficulty,
            initial_block_download: raw.initialblockdownload,
        })
    }

    /// Asks the node for its chain and compares it with the configured network.
    ///
    /// # Errors
    /// [`NodeError::WrongNetwork`] where they differ, or as [`Self::call`].
    pub async fn check_network(&self) -> Result<ChainInfo, NodeError> {
        let info = self.blockchain_info().await?;
        let expected = self.network.chain_name();
        if info.chain == expected || !stands(Defence::NodeNetwork) {
            return Ok(info);
        }
        Err(NodeError::WrongNetwork {
            url: self.url.clone(),
            found: info.chain,
            expected: expected.to_owned(),
        })
    }

    /// Waits on the node until its tip is another than `current`, for `wait_ms` at most; the
    /// answer is the tip by then.
    ///
    /// # Errors
    /// As [`Self::call`]; one attempt is made.
    pub async fn wait_for_new_block(
        &self,
        wait_ms: u32,
        current: Option<&[u8; 32]>,
    ) -> Result<TipPosition, NodeError> {
        const METHOD: &str = "waitfornewblock";
        #[derive(Deserialize)]
        struct Raw {
            hash: String,
            height: u32,
        }
        let params =
            current.map_or_else(|| json!([wait_ms]), |tip| json!([wait_ms, display_hash(tip)]));
        let limit = Duration::from_millis(u64::from(wait_ms)).saturating_add(GRACE);
        let raw: Raw = self.read(METHOD, self.call_within(METHOD, params, limit).await?)?;
        Ok(TipPosition { hash: self.hash(METHOD, Some(&raw.hash))?, height: raw.height })
    }

    async fn attempt(
        &self,
        method: &str,
        body: &Bytes,
        repeatable: bool,
        limit: Duration,
    ) -> Result<Answer, NodeError> {
        let exchange = async {
            let authorization = self.authorization(false)?;
            let answer = self.http.post(&authorization, body, repeatable).await;
            let refused = matches!(&answer, Ok(a) if a.status == StatusCode::UNAUTHORIZED);
            if refused && matches!(self.auth, Auth::Cookie(_)) {
                let authorization = self.authorization(true)?;
                return Ok(self.http.post(&authorization, body, repeatable).await);
            }
            Ok(answer)
        };
        let patience = if stands(Defence::NodeTimeout) { limit } else { Duration::MAX };
        let Ok(outcome) = tokio::time::timeout(patience, exchange).await else {
            let (url, method) = (self.url.clone(), method.to_owned());
            return Err(NodeError::TimedOut { url, method, after: limit });
        };
        outcome?.map_err(|error| self.transport(method, error))
    }

    /// JSON-RPC's result out of an HTTP answer. Core answers errors of version 1 with status
    /// 404 or 500 and a JSON body all the same.
    fn result<T>(
        &self,
        method: &str,
        answer: &Answer,
        read: fn(&str) -> Result<T, String>,
    ) -> Result<T, NodeError> {
        let (url, name) = (self.url.clone(), method.to_owned());
        if answer.status == StatusCode::UNAUTHORIZED || answer.status == StatusCode::FORBIDDEN {
            return Err(NodeError::Unauthorized { url, method: name });
        }
        let Ok(body) = serde_json::from_slice::<RpcAnswer<'_>>(&answer.body) else {
            let reason = String::from_utf8_lossy(&answer.body).chars().take(80).collect();
            let status = answer.status.as_u16();
            return Err(NodeError::Http { url, method: name, status, reason });
        };
        if let Some(error) = body.error {
            let code = error.get("code").and_then(Value::as_i64).unwrap_or(0);
            let message = error.get("message").and_then(Value::as_str).unwrap_or("no message");
            return Err(NodeError::Rpc { url, method: name, code, message: message.to_owned() });
        }
        let result = body.result.ok_or_else(|| "no 'result' in it".to_owned());
        result.and_then(|text| read(text.get())).map_err(|why| self.malformed(method, why))
    }

    /// The value of the Authorization header; `fresh` reads the cookie file again.
    fn authorization(&self, fresh: bool) -> Result<String, NodeError> {
        let path = match &self.auth {
            Auth::UserPassword(user, password) => {
                return Ok(basic(&format!("{user}:{}", password.expose())));
            }
            Auth::Cookie(path) => path,
        };
        let mut kept = self.cookie.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(header) = kept.as_ref().filter(|_| !fresh) {
            return Ok(header.clone());
        }
        let header = basic(&self.read_cookie(path)?);
        *kept = Some(header.clone());
        Ok(header)
    }

    fn read_cookie(&self, path: &Path) -> Result<String, NodeError> {
        let fail = |reason: String| NodeError::Cookie {
            url: self.url.clone(),
            path: path.display().to_string(),
            reason,
        };
        let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
        let cookie = text.trim();
        if cookie.len() > MAX_COOKIE || !cookie.contains(':') {
            return Err(fail("it does not hold 'user:password'".to_owned()));
        }
        Ok(cookie.to_owned())
    }

    fn transport(&self, method: &str, error: HttpError) -> NodeError {
        let (url, method) = (self.url.clone(), method.to_owned());
        match error {
            HttpError::Broken(reason) => NodeError::Unreachable { url, method, reason },
            HttpError::TooLarge => NodeError::TooLarge { url, method, limit: MAX_ANSWER },
        }
    }

    fn read<T: serde::de::DeserializeOwned>(
        &self,
        method: &str,
        value: Value,
    ) -> Result<T, NodeError> {
        serde_json::from_value(value).map_err(|error| self.malformed(method, error.to_string()))
    }

    fn hash(&self, method: &str, text: Option<&str>) -> Result<[u8; 32], NodeError> {
        text.and_then(parse_hash)
            .ok_or_else(|| self.malformed(method, "a block hash is not 64 hex digits".to_owned()))
    }

    fn compact(&self, method: &str, text: &str) -> Result<u32, NodeError> {
        u32::from_str_radix(text, 16)
            .map_err(|_| self.malformed(method, "field 'bits' is not 8 hex digits".to_owned()))
    }

    /// The error of a template that cannot be true.
    pub(super) fn untrue_template(&self, why: &str) -> NodeError {
        self.malformed("getblocktemplate", format!("template: {why}"))
    }

    /// The error of a call whose task ended without an answer.
    pub(super) fn lost(&self, method: &str) -> NodeError {
        let (url, method) = (self.url.clone(), method.to_owned());
        NodeError::Unreachable { url, method, reason: "the call was given up".to_owned() }
    }

    fn malformed(&self, method: &str, reason: String) -> NodeError {
        NodeError::Malformed { url: self.url.clone(), method: method.to_owned(), reason }
    }
}

/// Calls whose repetition changes nothing: what was done once stays done.
fn is_repeatable(method: &str) -> bool {
    matches!(
        method,
        "submitblock"
            | "preciousblock"
            | "sendrawtransaction"
            | "testmempoolaccept"
            | "scantxoutset"
    ) || method.starts_with("get")
        || method.starts_with("wait")
}

fn basic(user_password: &str) -> String {
    format!("Basic {}", STANDARD.encode(user_password))
}

/// The address for messages, with anything before an `@` left out.
fn without_credentials(url: &str) -> String {
    let secret = url.rsplit_once('@').filter(|_| stands(Defence::NodeSecret));
    let Some((before, after)) = secret else { return url.to_owned() };
    let scheme = before.split_once("://").map_or("", |(scheme, _)| scheme);
    format!("{scheme}://{after}")
}

#[cfg(test)]
mod tests {
    use config::Secret;

    use super::*;

    fn settings(url: &str) -> NodeSettings {
        NodeSettings {
            url: url.to_owned(),
            auth: Auth::UserPassword("pool".to_owned(), Secret::new("hunter2".to_owned())),
            network: Network::Regtest,
            timeout: Duration::from_secs(1),
        }
    }

    #[test]
    fn no_message_holds_the_password() {
        let error = NodeClient::new(settings("http://me:hunter2@127.0.0.1:1")).unwrap_err();
        assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        let client = NodeClient::new(settings("http://127.0.0.1:1")).unwrap();
        assert!(!format!("{client:?}").contains("hunter2"));
    }

    #[test]
    fn errors_of_the_node_come_through_whatever_the_status() {
        let client = NodeClient::new(settings("http://127.0.0.1:1")).unwrap();
        let answer = |status, body: &'static str| Answer { status, body: Bytes::from(body) };
        let body = r#"{"result":null,"error":{"code":-5,"message":"Block not found"},"id":1}"#;
        let error = client
            .result("getblockheader", &answer(StatusCode::INTERNAL_SERVER_ERROR, body), tree)
            .unwrap_err();
        assert_eq!(error.rpc_code(), Some(-5));
        let busy = answer(StatusCode::SERVICE_UNAVAILABLE, "Work queue depth exceeded");
        let error = client.result("getblock", &busy, tree).unwrap_err();
        assert!(error.is_passing() && error.to_string().contains("Work queue"), "{error}");
        let error = client.result("x", &answer(StatusCode::UNAUTHORIZED, ""), tree).unwrap_err();
        assert!(matches!(error, NodeError::Unauthorized { .. }) && !error.is_passing());
        assert!(client.result("x", &answer(StatusCode::OK, r#"{"result":null}"#), tree).is_ok());
        assert!(client.result("x", &answer(StatusCode::OK, "{}"), tree).is_err());
    }

    #[test]
    fn a_cookie_is_read_and_its_absence_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".cookie");
        let mut with_cookie = settings("http://127.0.0.1:1");
        with_cookie.auth = Auth::Cookie(path.clone());
        let client = NodeClient::new(with_cookie).unwrap();
        let error = client.authorization(false).unwrap_err();
        assert!(error.to_string().contains(".cookie") && error.is_passing(), "{error}");
        std::fs::write(&path, "__cookie__:one\n").unwrap();
        assert_eq!(client.authorization(false).unwrap(), basic("__cookie__:one"));
        std::fs::write(&path, "__cookie__:two\n").unwrap();
        assert_eq!(client.authorization(false).unwrap(), basic("__cookie__:one"));
        assert_eq!(client.authorization(true).unwrap(), basic("__cookie__:two"));
    }
}
