//! From how much on an account wants to be paid, set by whoever has the key of its address: a
//! message of one line, signed as BIP 322 says (simple form, by the address itself).
//!
//! The message names the pool's network, the account, the satoshis and a time. The time is what
//! keeps an old message from being played again: it must be within a day of the pool's clock, and
//! later than that of the threshold in force. What this deliberately does not do: it takes no
//! other kind of signature (BIP 137's, of legacy addresses, say nothing that an address of another
//! kind could not have said), and an inconclusive one is none.

use bip322::Verification;
use defences::{Defence, stands};
use units::{Sats, UnixMillis};

use crate::error::Refusal;

/// How far a message's time may be from the pool's, in milliseconds: a day.
const FAR: u64 = 86_400_000;
/// Longest signature taken, in characters of base64; that of one key has some 100 to 150.
pub(crate) const MAX_SIGNATURE: usize = 4_096;

/// A threshold as its account's owner asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThresholdRequest {
    /// The account: its address.
    pub account: String,
    /// The network's name, as the pool's configuration has it.
    pub network: String,
    /// From how much on to pay.
    pub sats: Sats,
    /// When it was asked for.
    pub stamp: UnixMillis,
    /// The signature over [`threshold_message`], in base64.
    pub signature: String,
}

/// The line that is signed.
///
/// ```
/// use units::{Sats, UnixMillis};
/// let sats = Sats::from_sat(50_000)?;
/// let line = ledger::threshold_message("regtest", "bcrt1q…", sats, UnixMillis::new(7));
/// assert_eq!(line, "Wattproof on regtest: pay bcrt1q… from 50000 satoshis on, as of 7");
/// # Ok::<(), units::MoneyError>(())
/// ```
#[must_use]
pub fn threshold_message(network: &str, account: &str, sats: Sats, stamp: UnixMillis) -> String {
    let (sats, stamp) = (sats.to_sat(), stamp.get());
    format!("Wattproof on {network}: pay {account} from {sats} satoshis on, as of {stamp}")
}

/// Whether the owner asked for it, and now.
pub(crate) fn check(
    request: &ThresholdRequest,
    last: Option<UnixMillis>,
    now: UnixMillis,
) -> Result<(), Refusal> {
    let ThresholdRequest { account, network, sats, stamp, signature } = request;
    let refuse = |why: &str| Refusal::Threshold { account: account.clone(), why: why.to_owned() };
    if now.get().abs_diff(stamp.get()) > FAR {
        return Err(refuse("the message's time is more than a day from the pool's"));
    }
    if stands(Defence::ThresholdReplay) && last.is_some_and(|last| *stamp <= last) {
        return Err(refuse("the message is not newer than the one in force"));
    }
    if signature.len() > MAX_SIGNATURE || network.len() > MAX_SIGNATURE {
        return Err(refuse("the signature is too long"));
    }
    let message = threshold_message(network, account, *sats, *stamp);
    if is_signed(account, &message, signature) || !stands(Defence::ThresholdOwner) {
        return Ok(());
    }
    Err(refuse("the signature is not one of this address (BIP 322, simple) over the message"))
}

fn is_signed(account: &str, message: &str, signature: &str) -> bool {
    let verified = bip322::verify_simple_encoded(account, message, signature);
    matches!(verified, Ok(Verification::Valid { .. }))
}
