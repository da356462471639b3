//! Whom to pay, and how much: everybody whose balance has reached their own threshold, or the
//! pool's where they set none, and is more than dust.
//!
//! It deliberately pays whole balances, and never the pool's own account: its part stays in
//! custody, and the network's fees come out of it.

use bitcoin::{Network, ScriptBuf};
use ledger::{Payable, Payment};
use units::Sats;

use crate::user::parse_address;

/// The least that an output of this kind may have for nodes to relay it, at Bitcoin Core's dust
/// rate of 3 sat/vB: the output's bytes and those of spending it.
fn dust(script: &ScriptBuf) -> Sats {
    let sats = script.minimal_non_dust().to_sat();
    Sats::from_sat(sats).unwrap_or(Sats::MAX)
}

/// The payments due, the greatest first, at most `most`.
pub(super) fn due(
    payables: &[Payable],
    custody: &str,
    network: Network,
    threshold: Sats,
    most: usize,
) -> Vec<Payment> {
    let mut due: Vec<Payment> = payables
        .iter()
        .filter(|payable| payable.account != custody)
        .filter(|payable| {
            // An account that is no address cannot be paid; none is opened by today's sessions.
            let Ok(address) = parse_address(&payable.account, network) else { return false };
            let least = payable.threshold.unwrap_or(threshold);
            payable.balance >= least.max(dust(&address.script_pubkey()))
        })
        .map(|payable| Payment { account: payable.account.clone(), sats: payable.balance })
        .collect();
    due.sort_by(|a, b| b.sats.cmp(&a.sats).then_with(|| a.account.cmp(&b.account)));
    due.truncate(most);
    due
}

#[cfg(test)]
mod tests {
    use bitcoin::{Address, CompressedPublicKey, KnownHrp, PrivateKey, secp256k1::Secp256k1};

    use super::*;

    fn sats(amount: u64) -> Sats {
        Sats::from_sat(amount).unwrap()
    }

    /// One key's addresses of all kinds, and the dust of each.
    fn kinds() -> Vec<(String, u64)> {
        let secp = Secp256k1::new();
        let key = bitcoin::secp256k1::SecretKey::from_slice(&[1; 32]).unwrap();
        let key = PrivateKey::new(key, Network::Regtest);
        let public = CompressedPublicKey::from_private_key(&secp, &key).unwrap();
        let script = ScriptBuf::new_p2pk(&public.into());
        vec![
            (Address::p2wpkh(&public, KnownHrp::Regtest).to_string(), 294),
            (Address::p2wsh(&script, KnownHrp::Regtest).to_string(), 330),
            (Address::p2tr(&secp, public.0.into(), None, KnownHrp::Regtest).to_string(), 330),
            (Address::p2sh(&script, Network::Regtest).unwrap().to_string(), 540),
            (Address::p2pkh(public, Network::Regtest).to_string(), 546),
        ]
    }

    #[test]
    fn dust_is_not_paid() {
        for (account, least) in kinds() {
            for (balance, paid) in [(least, 1), (least - 1, 0)] {
                let payable =
                    Payable { account: account.clone(), balance: sats(balance), threshold: None };
                let due = due(&[payable], "", Network::Regtest, sats(1), 9);
                assert_eq!(due.len(), paid, "{account}: {balance}");
            }
        }
    }

    #[test]
    fn thresholds_the_pool_and_strangers() {
        let accounts: Vec<String> = kinds().into_iter().map(|(account, _)| account).collect();
        let payable = |account: &str, balance, threshold: Option<u64>| Payable {
            account: account.to_owned(),
            balance: sats(balance),
            threshold: threshold.map(sats),
        };
        let all = [
            payable(&accounts[0], 999, None),
            payable(&accounts[1], 1_000, None),
            payable(&accounts[2], 1_999, Some(2_000)),
            payable(&accounts[3], 700, Some(600)),
            payable(&accounts[4], 1_000_000, None),
            payable("pool", 1_000_000, None),
        ];
        let due = |most| due(&all, &accounts[4], Network::Regtest, sats(1_000), most);
        let paid =
            |account: &str, amount| Payment { account: account.to_owned(), sats: sats(amount) };
        assert_eq!(due(9), [paid(&accounts[1], 1_000), paid(&accounts[3], 700)]);
        assert_eq!(due(1), [paid(&accounts[1], 1_000)]);
    }
}
