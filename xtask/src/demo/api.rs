//! What the demo reads over HTTP: the pool's `/api/v1/pool` and any other page as text, the
//! miner's hash counter and its devices. Shapes are the public ones, written down here as types, so that a change
//! of the API breaks the demo. It deliberately reads nothing that an outside program could not.

use std::time::Duration;

use serde::Deserialize;

use crate::demo::decimal::Decimal;
use crate::demo::exposition;
use crate::failure::Failure;

/// The longest that one reading may take.
const TIMEOUT: Duration = Duration::from_secs(3);

/// `/api/v1/pool`, the members that the demo shows or checks.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct PoolStatus {
    pub(crate) shares: Shares,
    /// Hashes proven by accepted shares.
    pub(crate) work_hashes: Decimal,
    pub(crate) blocks: Blocks,
    pub(crate) satoshis: Satoshis,
    pub(crate) energy: Energy,
    pub(crate) carbon: Carbon,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Shares {
    pub(crate) accepted: u64,
    pub(crate) rejected: u64,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Blocks {
    pub(crate) found: u64,
    pub(crate) immature: u64,
    pub(crate) mature: u64,
    pub(crate) orphaned: u64,
    pub(crate) unresolved: u64,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Satoshis {
    pub(crate) immature: Decimal,
    pub(crate) credited: Decimal,
}

/// Energy as reported; members are absent or null until something was.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Energy {
    pub(crate) joules: Option<Decimal>,
    #[serde(default)]
    pub(crate) sources: Vec<String>,
    /// 1 is a revenue-grade meter, 5 a table times proven work.
    pub(crate) worst_tier: Option<u8>,
    /// Relative, 0.5 is ±50 %.
    pub(crate) uncertainty: Option<f64>,
    pub(crate) joules_per_terahash: Option<Decimal>,
}

/// Grams by a factor; members are null until there is energy.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Carbon {
    pub(crate) grams: Option<Decimal>,
    pub(crate) gas: Option<String>,
    pub(crate) method: Option<String>,
    pub(crate) factor: Option<Factor>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Factor {
    pub(crate) publisher: String,
    pub(crate) zone: String,
    pub(crate) vintage: u16,
    pub(crate) grams_per_kilowatthour: Decimal,
    pub(crate) grade: String,
}

/// A device in the miner's `/api/v1/summary`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Device {
    /// `cpu`, or `gpu:` and a number.
    #[serde(rename = "device")]
    pub(crate) name: String,
    /// Hashes by its own counter.
    pub(crate) hashes: Decimal,
}

/// The miner's `/api/v1/summary`, the member that the demo checks.
#[derive(Debug, Deserialize)]
struct MinerSummary {
    devices: Vec<Device>,
}

/// `wattproof-pool verify ledger --json`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Verified {
    pub(crate) ok: bool,
    pub(crate) shares: u64,
    pub(crate) work: Decimal,
    #[serde(default)]
    pub(crate) problems: Vec<String>,
}

impl Energy {
    /// The sources in one word, as in `nvml+rapl`; `none` where nothing was reported.
    pub(crate) fn source(&self) -> String {
        if self.sources.is_empty() { "none".to_owned() } else { self.sources.join("+") }
    }
}

impl std::fmt::Display for Factor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { publisher, zone, vintage, grams_per_kilowatthour, .. } = self;
        write!(f, "{publisher} {zone} {vintage} {grams_per_kilowatthour} g/kWh")
    }
}

/// Reads from the two programs, without a proxy, each reading bounded in time.
#[derive(Debug)]
pub(crate) struct Reader {
    agent: ureq::Agent,
    pool: String,
    miner: String,
}

impl Reader {
    /// For the addresses that the programs announced, as in `http://127.0.0.1:8080/`.
    pub(crate) fn new(pool: &str, miner: &str) -> Self {
        let config = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).proxy(None);
        let base = |address: &str| address.trim_end_matches('/').to_owned();
        Self { agent: config.build().into(), pool: base(pool), miner: base(miner) }
    }

    /// The pool's status.
    ///
    /// # Errors
    /// Names the address and what was wrong with the answer.
    pub(crate) fn pool_status(&self) -> Result<PoolStatus, Failure> {
        let path = "/api/v1/pool";
        let text = self.pool_text(path)?;
        parse_status(&text).map_err(|e| Failure::new(format!("{}{path}: {e}", self.pool)))
    }

    /// Any page of the pool as text.
    ///
    /// # Errors
    /// Names the address and the reason.
    pub(crate) fn pool_text(&self, path: &str) -> Result<String, Failure> {
        self.text(&format!("{}{path}", self.pool))
    }

    /// The hashes that the miner itself counts, over all its devices.
    ///
    /// # Errors
    /// Names the address and the reason; a miner that exports no such counter is one.
    pub(crate) fn claimed_hashes(&self) -> Result<u128, Failure> {
        let url = format!("{}/metrics", self.miner);
        exposition::sum(&self.text(&url)?, "wattproof_miner_hashes_total", &[])
            .map(|hashes| hashes.whole())
            .map_err(|e| Failure::new(format!("{url}: {e}")))
    }

    /// Everything that the miner hashes on.
    ///
    /// # Errors
    /// Names the address and what was wrong with the answer.
    pub(crate) fn miner_devices(&self) -> Result<Vec<Device>, Failure> {
        let url = format!("{}/api/v1/summary", self.miner);
        parse_devices(&self.text(&url)?).map_err(|e| Failure::new(format!("{url}: {e}")))
    }

    /// Whatever is at that address, as text.
    ///
    /// # Errors
    /// Names the address and the reason.
    pub(crate) fn text(&self, url: &str) -> Result<String, Failure> {
        let answer = self.agent.get(url).call().and_then(|mut r| r.body_mut().read_to_string());
        answer.map_err(|e| Failure::new(format!("{url}: {e}")))
    }
}

/// Reads the status from its JSON.
fn parse_status(text: &str) -> Result<PoolStatus, serde_json::Error> {
    serde_json::from_str(text)
}

/// Reads the devices from the miner's summary.
fn parse_devices(text: &str) -> Result<Vec<Device>, serde_json::Error> {
    serde_json::from_str(text).map(|MinerSummary { devices }| devices)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An answer as the pool gives it.
    pub(crate) const SAMPLE: &str = r#"{"version":"0.1.0","network":"regtest","scheme":"pplns",
      "fee_basis_points":100,"connections":1,"accounts":1,"workers":1,
      "shares":{"accepted":123,"rejected":1,"rejected_by_reason":{"stale":1}},
      "work_hashes":"206123456",
      "hashrate_hashes_per_second":{"10s":1.0e7,"60s":1.0e7,"15m":1.0e7},
      "blocks":{"found":12,"immature":10,"mature":2,"orphaned":0,"unresolved":0},
      "satoshis":{"immature":"50000000000","credited":"10000000000","paid":"0","pool_fee":"6"},
      "energy":{"joules":"12.345678","covered_work_hashes":"206123456","sources":["model"],
        "best_tier":5,"worst_tier":5,"uncertainty":0.5,"joules_per_terahash":"59894.580848"},
      "carbon":{"grams":"0.001911","gas":"CO2e","method":"location",
        "grams_per_terahash":"9.271142","factor":{"publisher":"ember","zone":"CHN",
        "vintage":2024,"grams_per_kilowatthour":"557.5","grade":"A","source":"yearly"}},
      "template":{"height":101,"age_seconds":0.4,"network_difficulty":0.002}}"#;

    #[test]
    fn reads_the_status() {
        let status = parse_status(SAMPLE).unwrap();
        assert_eq!(status.shares, Shares { accepted: 123, rejected: 1 });
        assert_eq!(status.work_hashes.whole(), 206_123_456);
        assert_eq!(status.blocks.mature, 2);
        assert_eq!(status.energy.source(), "model");
        assert_eq!(status.energy.joules.unwrap().as_str(), "12.345678");
        assert_eq!(status.carbon.factor.unwrap().to_string(), "ember CHN 2024 557.5 g/kWh");
    }

    #[test]
    fn energy_not_yet_reported_is_null() {
        let mut value: serde_json::Value = serde_json::from_str(SAMPLE).unwrap();
        for key in ["joules", "worst_tier", "uncertainty", "joules_per_terahash"] {
            value["energy"][key] = serde_json::Value::Null;
        }
        value["energy"]["sources"] = serde_json::json!([]);
        value["carbon"]["grams"] = serde_json::Value::Null;
        let status = parse_status(&value.to_string()).unwrap();
        assert_eq!(status.energy.source(), "none");
        assert_eq!(status.energy.joules, None);
        assert_eq!(status.carbon.grams, None);
    }

    #[test]
    fn a_missing_member_is_named() {
        let text = SAMPLE.replace("\"work_hashes\":\"206123456\",\n", "");
        assert!(parse_status(&text).unwrap_err().to_string().contains("work_hashes"));
        let text = SAMPLE.replace("\"12.345678\"", "\"a lot\"");
        assert!(parse_status(&text).unwrap_err().to_string().contains("a lot"));
    }

    #[test]
    fn reads_the_devices() {
        let text = r#"{"version":"0.1.0","hashes":"18446744073709551616","devices":[
          {"device":"gpu:0","backend":"wgpu","threads":1,"hashes":"18446744073709551616"}]}"#;
        let [gpu] = parse_devices(text).unwrap().try_into().unwrap();
        assert_eq!((gpu.name.as_str(), gpu.hashes.whole()), ("gpu:0", 1 << 64));
        assert!(parse_devices("{}").unwrap_err().to_string().contains("devices"));
    }

    #[test]
    fn reads_a_verification() {
        let text =
            r#"{"ok":true,"shares":123,"work":"206123456","slices":4,"accounts":1,"blocks":12}"#;
        let verified: Verified = serde_json::from_str(text).unwrap();
        assert!(verified.ok && verified.problems.is_empty());
        assert_eq!((verified.shares, verified.work.whole()), (123, 206_123_456));
    }
}
