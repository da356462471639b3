//! What every worker did in ten minutes, as it stands in the log: small enough to be kept for
//! years, long after the shares themselves are gone.
//!
//! ```text
//! aggregate: workers in rising order, those that did something
//! worker:    its number less that of the worker before | shares | work | microjoules
//! ```
//!
//! Each of these is an integer in groups of seven bits, the lowest first, every byte but the last
//! with its highest bit set, and no byte more than it takes: an aggregate has one form.

use crate::error::LedgerError;

/// Milliseconds of one. It ends with the first slice that is closed in the next ten minutes.
pub(crate) const MILLIS: u64 = 600_000;

/// What one worker did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) worker: u32,
    pub(crate) shares: u64,
    pub(crate) work: u128,
    pub(crate) energy: u128,
}

/// The aggregate's form. `all` is in rising order of worker.
pub(crate) fn encode(all: &[Done]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(all.len().saturating_mul(16));
    let mut before = 0;
    for done in all {
        put(&mut bytes, done.worker.saturating_sub(before).into());
        put(&mut bytes, done.shares.into());
        put(&mut bytes, done.work);
        put(&mut bytes, done.energy);
        before = done.worker;
    }
    bytes
}

/// What it says.
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<Done>, LedgerError> {
    read(bytes).ok_or_else(|| LedgerError::damaged("an aggregate is not whole"))
}

fn read(mut rest: &[u8]) -> Option<Vec<Done>> {
    let mut all = Vec::new();
    let mut before = 0_u32;
    while !rest.is_empty() {
        let step = u32::try_from(take(&mut rest)?).ok().filter(|step| *step > 0)?;
        let worker = before.checked_add(step)?;
        let shares = take(&mut rest)?.try_into().ok()?;
        let (work, energy) = (take(&mut rest)?, take(&mut rest)?);
        all.push(Done { worker, shares, work, energy });
        before = worker;
    }
    Some(all)
}

fn put(bytes: &mut Vec<u8>, mut number: u128) {
    loop {
        let low = u8::try_from(number & 0x7f).expect("seven bits fit a byte");
        number >>= 7;
        if number == 0 {
            return bytes.push(low);
        }
        bytes.push(low | 0x80);
    }
}

fn take(rest: &mut &[u8]) -> Option<u128> {
    let mut number = 0;
    for shift in (0..128_u32).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        let part = u128::from(byte & 0x7f);
        let shifted = part.checked_shl(shift)?;
        if shifted.checked_shr(shift) != Some(part) {
            return None;
        }
        number |= shifted;
        if byte & 0x80 == 0 {
            // A last byte of nothing is one too many.
            return (*byte != 0 || shift == 0).then_some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bytes as they stand in logs that exist: they may never change.
    #[test]
    fn an_aggregate_is_as_released() {
        let all = [
            Done { worker: 3, shares: 1, work: 300, energy: 0 },
            Done { worker: 200, shares: 128, work: 5, energy: 127 },
        ];
        let bytes = encode(&all);
        assert_eq!(bytes, [3, 1, 0xac, 2, 0, 0xc5, 1, 0x80, 1, 5, 127]);
        assert_eq!(decode(&bytes).unwrap(), all);
    }

    proptest! {
        #[test]
        fn aggregates_survive(
            drawn in prop::collection::btree_map(1_u32.., any::<(u64, u128, u128)>(), 0..20),
        ) {
            let all: Vec<Done> = drawn
                .into_iter()
                .map(|(worker, (shares, work, energy))| Done { worker, shares, work, energy })
                .collect();
            prop_assert_eq!(decode(&encode(&all)).unwrap(), all);
        }

        #[test]
        fn bytes_decode_to_themselves_or_not_at_all(
            bytes in prop::collection::vec(0..=255_u8, 0..60),
        ) {
            if let Ok(all) = decode(&bytes) {
                prop_assert_eq!(encode(&all), bytes);
            }
        }
    }
}
