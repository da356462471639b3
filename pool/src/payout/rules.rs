//! Whom to pay, and how much: everybody whose balance has reached their own threshold, or the
//! pool's where they set none, and is more than dust. Where the coins that can be spent are not
//! worth all that, the greatest payments go first, and [`fit`] has the rest wait.
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

/// The payments due, the greatest first.
pub(super) fn due(
    payables: &[Payable],
    custody: &str,
    network: Network,
    threshold: Sats,
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
    due
}

/// What the coins at hand are worth once their inputs' fees are paid, and what is still to be paid
/// out of that but the payments, in satoshis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Means {
    pub(super) coins: u64,
    /// The fee of the transaction without its inputs and payments.
    pub(super) base: u64,
    /// The fee of one payment's output.
    pub(super) output: u64,
}

/// The payments that the coins at hand are enough for, at most `most`. They are gone through in
/// their order, the greatest first; one that is more than what is left waits, and those after it
/// have their turn, so that one great balance does not keep everybody waiting.
///
/// # Errors
/// When the coins are enough for none: how much is there, and the least that is needed.
pub(super) fn fit(due: Vec<Payment>, most: usize, means: &Means) -> Result<Vec<Payment>, String> {
    let cost = |payment: &Payment| payment.sats.to_sat().saturating_add(means.output);
    let least = due.iter().map(cost).min().unwrap_or(0).saturating_add(means.base);
    let mut left = means.coins.saturating_sub(means.base);
    let mut kept = Vec::new();
    for payment in due {
        let cost = cost(&payment);
        if cost <= left && kept.len() < most {
            left -= cost;
            kept.push(payment);
        }
    }
    if kept.is_empty() {
        return Err(format!(
            "the coins that can be spent now are worth {} sat after the fees of spending them; \
             the least payment that is due needs {least} sat",
            means.coins
        ));
    }
    Ok(kept)
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
                let due = due(&[payable], "", Network::Regtest, sats(1));
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
        let due = due(&all, &accounts[4], Network::Regtest, sats(1_000));
        let paid =
            |account: &str, amount| Payment { account: account.to_owned(), sats: sats(amount) };
        assert_eq!(due, [paid(&accounts[1], 1_000), paid(&accounts[3], 700)]);
    }

    #[test]
    fn what_the_coins_are_not_enough_for_waits() {
        let paid = |amount: u64| Payment { account: amount.to_string(), sats: sats(amount) };
        let fitted = |coins, most| {
            let due = [9_000, 5_000, 3_000, 1_000].map(paid).into();
            let means = Means { coins, base: 100, output: 10 };
            let kept = fit(due, most, &means)?;
            Ok(kept.iter().map(|payment| payment.sats.to_sat()).collect::<Vec<u64>>())
        };
        assert_eq!(fitted(18_140, 9), Ok(vec![9_000, 5_000, 3_000, 1_000]), "to the satoshi");
        assert_eq!(fitted(18_139, 9), Ok(vec![9_000, 5_000, 3_000]));
        assert_eq!(fitted(18_140, 2), Ok(vec![9_000, 5_000]));
        assert_eq!(fitted(6_500, 9), Ok(vec![5_000, 1_000]), "the greatest waits");
        assert_eq!(fitted(1_110, 9), Ok(vec![1_000]));
        let none: Result<Vec<u64>, String> = fitted(1_109, 9);
        let why = none.unwrap_err();
        assert!(why.contains("worth 1109 sat") && why.contains("needs 1110 sat"), "{why}");
        assert!(fitted(0, 9).is_err() && fitted(u64::MAX, 9).is_ok());
    }
}
