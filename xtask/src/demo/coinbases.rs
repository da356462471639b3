//! The demo's last check on a real node: what the blocks of its chain pay, seen by `getblock`,
//! against what the ledger says of the same blocks. Amounts are satoshis, read digit by digit; a
//! satoshi too many or too few, or at another address, is a disagreement.

use std::collections::HashMap;

use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::value::RawValue;

use crate::demo::api::PoolStatus;
use crate::demo::decimal::Decimal;

/// Decimal places of a bitcoin.
const PLACES: usize = 8;

/// One block as `wattproof-pool blocks --json` lists it, orphans and all.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Listed {
    height: u32,
    state: String,
    satoshis: u64,
    hash: String,
}

/// One block as `getblock` shows it with its transactions.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Mined {
    hash: String,
    height: u32,
    pub(crate) previousblockhash: String,
    /// The coinbase first.
    tx: Vec<Transaction>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Transaction {
    vout: Vec<Output>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Output {
    /// Satoshis.
    #[serde(deserialize_with = "satoshis")]
    value: u64,
    #[serde(rename = "scriptPubKey")]
    script: Script,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Script {
    address: Option<String>,
}

impl Listed {
    fn is_on_chain(&self) -> bool {
        matches!(self.state.as_str(), "immature" | "mature")
    }
}

impl Mined {
    /// What the coinbase pays to `address`, and what it pays to anything else.
    pub(crate) fn pays(&self, address: &str) -> (u64, u64) {
        let outputs = self.tx.first().map(|coinbase| coinbase.vout.as_slice()).unwrap_or_default();
        let sum = |ours: bool| {
            let is_ours = |out: &&Output| (out.script.address.as_deref() == Some(address)) == ours;
            outputs.iter().filter(is_ours).map(|out| out.value).sum()
        };
        (sum(true), sum(false))
    }
}

/// Every disagreement between the node's chain and the ledger, in words; empty where there is
/// none. `address` is the one that all coinbases are to pay.
pub(crate) fn disagreements(
    status: &PoolStatus,
    listed: &[Listed],
    chain: &[Mined],
    address: &str,
) -> Vec<String> {
    let blocks: HashMap<&str, &Mined> =
        chain.iter().map(|block| (block.hash.as_str(), block)).collect();
    let mut found: Vec<String> =
        listed.iter().filter_map(|row| of_block(row, &blocks, address)).collect();
    let ours = status.blocks.immature + status.blocks.mature;
    if u64::try_from(chain.len()) != Ok(ours) {
        let height = chain.len();
        found.push(format!("blocks on the chain: the ledger has {ours}, the node {height}"));
    }
    let seen = Decimal::from(chain.iter().map(|block| block.pays(address).0).sum::<u64>());
    let satoshis = &status.satoshis;
    if satoshis.immature.checked_add(&satoshis.credited) != Some(seen.clone()) {
        let (immature, credited) = (&satoshis.immature, &satoshis.credited);
        found.push(format!(
            "satoshis: the ledger has {immature} immature and {credited} credited, the node's \
             coinbases pay {seen}"
        ));
    }
    found
}

fn of_block(row: &Listed, blocks: &HashMap<&str, &Mined>, address: &str) -> Option<String> {
    let Listed { hash, height, state, satoshis } = row;
    let block = blocks.get(hash.as_str()).copied();
    let says = match (row.is_on_chain(), block) {
        (false, None) => return None,
        (false, Some(_)) => "the node has it on its chain".to_owned(),
        (true, None) => "the node does not have it on its chain".to_owned(),
        (true, Some(block)) => {
            let (ours, others) = block.pays(address);
            if block.height == *height && ours == *satoshis && others == 0 {
                return None;
            }
            let at = block.height;
            format!("the node has it at height {at}, paying {ours} to the pool, {others} elsewhere")
        }
    };
    Some(format!(
        "block {hash}: the ledger has it {state} at height {height} with {satoshis}, {says}"
    ))
}

/// Reads an amount of bitcoins as the node writes it: `50.00000000`.
fn satoshis<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let raw = Box::<RawValue>::deserialize(from)?;
    parse_bitcoins(raw.get()).ok_or_else(|| D::Error::custom(format!("{raw} is no amount")))
}

fn parse_bitcoins(text: &str) -> Option<u64> {
    let (whole, places) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(places) || places.len() > PLACES {
        return None;
    }
    format!("{whole}{places:0<PLACES$}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::api::tests::SAMPLE;

    const POOL: &str = "tb1qpool";
    const ROW: &str = r#"[{"height":1,"state":"mature","satoshis":10000000000,"finder":"a",
        "worker":"rig1","hash":"aa"},{"height":2,"state":"immature","satoshis":50000000000,
        "hash":"bb"},{"height":2,"state":"orphaned","satoshis":50000000000,"hash":"cc"}]"#;

    fn mined(height: u32, hash: &str, value: &str) -> Mined {
        let text = format!(
            r#"{{"hash":"{hash}","height":{height},"previousblockhash":"00","nTx":1,"tx":[{{
                "txid":"11","vout":[
                {{"value":{value},"n":0,"scriptPubKey":{{"hex":"00","address":"{POOL}"}}}},
                {{"value":0.00000000,"n":1,"scriptPubKey":{{"asm":"OP_RETURN"}}}}]}}]}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn status() -> PoolStatus {
        let mut status: PoolStatus = serde_json::from_str(SAMPLE).unwrap();
        (status.blocks.immature, status.blocks.mature) = (1, 1);
        status
    }

    fn check(chain: &[Mined]) -> Vec<String> {
        disagreements(&status(), &serde_json::from_str::<Vec<_>>(ROW).unwrap(), chain, POOL)
    }

    #[test]
    fn amounts_are_read_to_the_last_satoshi() {
        assert_eq!(parse_bitcoins("50.00000000"), Some(5_000_000_000));
        assert_eq!(parse_bitcoins("0.00000001"), Some(1));
        assert_eq!(parse_bitcoins("20999999.9769"), Some(2_099_999_997_690_000));
        for text in ["", "-1.0", "1e3", "1.", "0.000000001", "\"1.0\""] {
            assert_eq!(parse_bitcoins(text), None, "{text}");
        }
    }

    #[test]
    fn a_chain_that_pays_what_the_ledger_says_passes() {
        let chain = [mined(2, "bb", "500.00000000"), mined(1, "aa", "100.00000000")];
        assert_eq!(check(&chain), Vec::<String>::new());
    }

    #[test]
    fn each_difference_names_the_block_and_both_figures() {
        for (chain, says) in [
            (vec![mined(2, "bb", "500.00000001"), mined(1, "aa", "100.0")], "paying 50000000001"),
            (vec![mined(2, "bb", "500.0"), mined(3, "aa", "100.0")], "has it at height 3"),
            (vec![mined(2, "bb", "500.0")], "block aa: the ledger has it mature at height 1"),
            (vec![mined(2, "cc", "500.0"), mined(1, "aa", "100.0")], "block cc: the ledger has it"),
            (
                vec![mined(2, "bb", "500.0"), mined(1, "aa", "100.0"), mined(3, "dd", "1.0")],
                "blocks on the chain: the ledger has 2, the node 3",
            ),
        ] {
            let found = check(&chain);
            assert!(found.iter().any(|line| line.contains(says)), "{says}: {found:?}");
        }
    }

    #[test]
    fn a_coinbase_that_pays_another_is_found() {
        let mut chain = [mined(2, "bb", "500.0"), mined(1, "aa", "100.0")];
        chain[0].tx[0].vout[1].value = 1;
        let found = check(&chain);
        assert!(found.len() == 1 && found[0].contains("1 elsewhere"), "{found:?}");
    }

    #[test]
    fn the_sums_are_held_against_each_other() {
        let mut status = status();
        status.satoshis.credited = Decimal::from(1);
        let chain = [mined(2, "bb", "500.0"), mined(1, "aa", "100.0")];
        let rows: Vec<Listed> = serde_json::from_str(ROW).unwrap();
        let found = disagreements(&status, &rows, &chain, POOL);
        assert!(found.len() == 1 && found[0].contains("coinbases pay 60000000000"), "{found:?}");
    }
}
