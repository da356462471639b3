//! What a coinbase pays to accounts itself. Each payment must have an output to itself, and that
//! output must be of the script of the address that names its account: an output that goes
//! elsewhere, or is another payment's already, has paid that account nothing.

use core::str::FromStr;
use std::collections::HashMap;

use bitcoin::Address;
use bitcoin::address::NetworkUnchecked;

/// One payment by a coinbase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Payment {
    pub(super) account: u32,
    /// The script that it says its output has.
    pub(super) script: Vec<u8>,
    pub(super) sats: u64,
}

/// That each of these payments is an output, satoshis and script, and no two are the same one.
pub(super) fn check_outputs(
    outputs: &[(u64, Vec<u8>)],
    payments: &[Payment],
) -> Result<(), String> {
    let mut left: HashMap<(u64, &[u8]), usize> = HashMap::new();
    for (sats, script) in outputs {
        let count = left.entry((*sats, script)).or_default();
        *count = count.saturating_add(1);
    }
    for Payment { account, script, sats } in payments {
        let unpaid = format!("coinbase does not pay account {account} {sats} satoshis");
        let Some(count) = left.get_mut(&(*sats, script.as_slice())) else { return Err(unpaid) };
        *count = count.checked_sub(1).ok_or_else(|| format!("{unpaid} once more"))?;
    }
    Ok(())
}

impl Payment {
    /// That it goes to the account of this name.
    pub(super) fn check_name(&self, name: &str) -> Result<(), String> {
        let account = self.account;
        let must =
            script(name).map_err(|why| format!("coinbase cannot pay account {account}: {why}"))?;
        if self.script != must {
            return Err(format!(
                "coinbase pays account {account} by a script that is not its address's"
            ));
        }
        Ok(())
    }
}

/// The output script of an address.
pub(super) fn script(address: &str) -> Result<Vec<u8>, String> {
    let parsed = Address::<NetworkUnchecked>::from_str(address);
    let parsed = parsed.map_err(|error| format!("{address:?} is no address: {error}"))?;
    Ok(parsed.assume_checked().script_pubkey().into_bytes())
}
