//! The templates behind jobs that are out, as they go to the next image: a block may be found on
//! any of them. Templates of one tip have most of their transactions in common, so each goes once.

use std::{collections::HashMap, sync::Arc};

use serde::{Deserialize, Serialize};
use units::{Moment, Sats, Target, UnixMillis};

use crate::{
    jobs::Origin,
    node::{Seen, Template, TemplateTransaction},
};

/// Templates by the number of their job.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SavedTemplates {
    /// Serialized, in hexadecimal.
    transactions: Vec<String>,
    /// Their ids, internal order.
    txids: Vec<[u8; 32]>,
    templates: Vec<SavedTemplate>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedTemplate {
    jobs: Vec<u64>,
    version: u32,
    vb_required: u32,
    height: u32,
    prev_hash: [u8; 32],
    bits: u32,
    cur_time: u32,
    min_time: u32,
    coinbase_value: u64,
    fees: Option<u64>,
    /// Places in the list of all.
    transactions: Vec<usize>,
    witness_commitment: Option<Vec<u8>>,
    at: (std::time::Duration, u64),
    empty: bool,
}

impl SavedTemplates {
    pub(super) fn of(origins: &[Origin]) -> Self {
        let mut saved = Self { transactions: Vec::new(), txids: Vec::new(), templates: Vec::new() };
        let mut places = HashMap::new();
        let mut last: Option<(&Arc<Seen>, usize)> = None;
        for (job, seen) in origins {
            if let Some((before, place)) = last
                && Arc::ptr_eq(before, seen)
            {
                saved.templates[place].jobs.push(*job);
                continue;
            }
            let transactions = seen.template.transactions.iter().map(|one| {
                *places.entry(Arc::clone(&one.data)).or_insert_with(|| {
                    saved.transactions.push(hex::encode(&one.data));
                    saved.txids.push(one.txid);
                    saved.txids.len() - 1
                })
            });
            let transactions = transactions.collect();
            last = Some((seen, saved.templates.len()));
            saved.templates.push(SavedTemplate::of(*job, seen, transactions));
        }
        saved
    }

    /// What reads wrong is left out: a block on it would be lost, and is said to be when found.
    pub(super) fn restore(self) -> Vec<Origin> {
        let data =
            self.transactions.iter().map(|text| hex::decode(text).unwrap_or_default().into());
        let all: Vec<TemplateTransaction> =
            data.zip(self.txids).map(|(data, txid)| TemplateTransaction::new(data, txid)).collect();
        let mut origins = Vec::new();
        for saved in self.templates {
            let jobs = saved.jobs.clone();
            let Some(seen) = saved.restore(&all).map(Arc::new) else { continue };
            origins.extend(jobs.into_iter().map(|job| (job, Arc::clone(&seen))));
        }
        origins
    }
}

impl SavedTemplate {
    fn of(job: u64, seen: &Seen, transactions: Vec<usize>) -> Self {
        let template = &seen.template;
        Self {
            jobs: vec![job],
            version: template.version,
            vb_required: template.vb_required,
            height: template.height,
            prev_hash: template.prev_hash,
            bits: template.bits,
            cur_time: template.cur_time,
            min_time: template.min_time,
            coinbase_value: template.coinbase_value.to_sat(),
            fees: template.fees.map(Sats::to_sat),
            transactions,
            witness_commitment: template.witness_commitment.clone(),
            at: (seen.at.mono, seen.at.unix.get()),
            empty: seen.empty,
        }
    }

    fn restore(self, all: &[TemplateTransaction]) -> Option<Seen> {
        let transactions = self.transactions.iter().map(|place| all.get(*place).cloned());
        let template = Template {
            version: self.version,
            vb_required: self.vb_required,
            height: self.height,
            prev_hash: self.prev_hash,
            bits: self.bits,
            target: Target::from_compact(self.bits).ok()?,
            said_target: None,
            cur_time: self.cur_time,
            min_time: self.min_time,
            coinbase_value: Sats::from_sat(self.coinbase_value).ok()?,
            fees: self.fees.and_then(|fees| Sats::from_sat(fees).ok()),
            // No new job is made of it.
            weight: None,
            transactions: transactions.collect::<Option<_>>()?,
            witness_commitment: self.witness_commitment,
            // Only the node that gave it could make use of these, and it is asked anew.
            longpollid: String::new(),
            mutable: Vec::new(),
        };
        let at = Moment { mono: self.at.0, unix: UnixMillis::new(self.at.1) };
        Some(Seen { empty: self.empty, ..Seen::new(template, at) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seen(transactions: &[&str]) -> Arc<Seen> {
        let transactions: Vec<_> = transactions
            .iter()
            .map(|data| json!({"data": data, "txid": data.repeat(32)}))
            .collect();
        let template = Template::from_json(
            &json!({
                "version": 0x2000_0000, "height": 101, "bits": "207fffff", "curtime": 1_700_000_000,
                "mintime": 1_699_999_999, "coinbasevalue": 5_000_000_000_i64,
                "previousblockhash": "00".repeat(32), "transactions": transactions,
            })
            .to_string(),
        );
        let at = Moment { mono: std::time::Duration::from_secs(9), unix: UnixMillis::new(77) };
        Arc::new(Seen::new(template.unwrap(), at))
    }

    #[test]
    fn templates_come_back_and_transactions_go_once() {
        let (one, other) = (seen(&["01", "02"]), seen(&["02", "03"]));
        let origins = [(4, Arc::clone(&one)), (5, one), (6, other)];
        let saved = SavedTemplates::of(&origins);
        assert_eq!(saved.transactions, ["01", "02", "03"]);
        let text = serde_json::to_vec(&saved).unwrap();
        let back = serde_json::from_slice::<SavedTemplates>(&text).unwrap().restore();
        assert_eq!(back, origins);
    }
}
