//! Questions to the demo's own node over its RPC, for the demo's own eyes: that it is up, and what
//! its blocks pay. It deliberately shares nothing with the pool's client, whose figures it checks.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The longest that one answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A node that is spoken to as the holder of its cookie.
#[derive(Debug)]
pub(crate) struct Rpc {
    agent: ureq::Agent,
    url: String,
    cookie: PathBuf,
}

/// The envelope of an answer.
#[derive(Deserialize)]
struct Answer<T> {
    result: Option<T>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    code: i64,
    message: String,
}

impl Rpc {
    /// For the node at `url` that writes its cookie to `cookie`.
    pub(crate) fn new(url: String, cookie: PathBuf) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .proxy(None);
        Self { agent: config.build().into(), url, cookie }
    }

    /// One call.
    ///
    /// # Errors
    /// Names the method and what was wrong: no cookie yet, no answer, a refusal, another shape.
    pub(crate) fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        params: &Value,
    ) -> Result<T, String> {
        let failed = |why: String| format!("{} {method}: {why}", self.url);
        let cookie = fs::read(&self.cookie)
            .map_err(|e| failed(format!("{}: {e}", self.cookie.display())))?;
        let request = json!({"jsonrpc": "2.0", "id": 0, "method": method, "params": params});
        let text = self
            .agent
            .post(&self.url)
            .header("Authorization", format!("Basic {}", STANDARD.encode(cookie.trim_ascii())))
            .header("Content-Type", "application/json")
            .send(request.to_string())
            .and_then(|mut answer| answer.body_mut().read_to_string())
            .map_err(|e| failed(e.to_string()))?;
        read_answer(&text).map_err(failed)
    }
}

fn read_answer<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let answer: Answer<T> = serde_json::from_str(text).map_err(|e| e.to_string())?;
    match answer {
        Answer { error: Some(Refusal { code, message }), .. } => Err(format!("{message} ({code})")),
        Answer { result: Some(result), .. } => Ok(result),
        Answer { result: None, error: None } => Err("neither a result nor an error".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_result_or_a_refusal() {
        assert_eq!(read_answer(r#"{"result":7,"error":null,"id":0}"#), Ok(7));
        assert_eq!(read_answer(r#"{"jsonrpc":"2.0","result":7,"id":0}"#), Ok(7));
        let warming = r#"{"error":{"code":-28,"message":"Loading block index…"},"id":0}"#;
        assert_eq!(read_answer::<u32>(warming).unwrap_err(), "Loading block index… (-28)");
        assert!(read_answer::<u32>("<html>").is_err());
        assert!(read_answer::<u32>("{}").unwrap_err().contains("neither"));
    }

    #[test]
    fn a_node_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let cookie = folder.path().join("cookie");
        // Port 1 of the loopback needs rights that no test has; nobody listens there.
        let rpc = Rpc::new("http://127.0.0.1:1/".to_owned(), cookie.clone());
        let missing = rpc.call::<Value>("uptime", &json!([])).unwrap_err();
        assert!(missing.contains("cookie"), "{missing}");
        fs::write(&cookie, "__cookie__:secret").unwrap();
        let refused = rpc.call::<Value>("uptime", &json!([])).unwrap_err();
        assert!(refused.starts_with("http://127.0.0.1:1/ uptime: "), "{refused}");
        assert!(!refused.contains("secret"), "{refused}");
    }
}
