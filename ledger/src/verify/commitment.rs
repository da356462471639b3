//! What a coinbase commits to, from the text of the pool's `coinbase.rs`: a push of 36 bytes, `WPC1`
//! and `H("wattproof/commitment/1", slice u64 | its root 32)`, hashed as `slice.rs` says. It stands
//! in the script between the height and what a miner may change, so it is as old as the job.

use defences::{Defence, stands};
use sha2::{Digest, Sha256};

/// The hash that the pushes of a coinbase's `script` commit to, if one of them does.
pub(super) fn found_in(script: &[u8]) -> Result<Option<[u8; 32]>, String> {
    let mut found = None;
    let mut rest = script;
    while let Some((opcode, after)) = rest.split_first() {
        let (length, after) = match opcode {
            0x01..=0x4b => (usize::from(*opcode), after),
            0x4c => match after.split_first() {
                Some((length, after)) => (usize::from(*length), after),
                None => break,
            },
            // Numbers and whatever else is one byte; longer pushes do not fit a coinbase.
            _ => (0, after),
        };
        let Some((push, after)) = after.split_at_checked(length) else { break };
        rest = after;
        if let Some(hash) = push.strip_prefix(b"WPC1").and_then(|hash| hash.try_into().ok())
            && found.replace(hash).is_some()
        {
            return Err("its coinbase commits twice".to_owned());
        }
    }
    Ok(found)
}

/// What must be committed to for the newest slice and its root; slice 0 has a root of zeros.
pub(super) fn of(slice: u64, root: &[u8; 32]) -> [u8; 32] {
    let tag: [u8; 32] = Sha256::digest("wattproof/commitment/1").into();
    let whole = [tag.as_slice(), &tag, &slice.to_be_bytes(), root].concat();
    Sha256::digest(whole).into()
}

/// That a coinbase commits to this slice. One without any commitment passes where none is
/// `required`: for slices of earlier versions.
pub(super) fn check(
    found: Option<[u8; 32]>,
    slice: u64,
    root: &[u8; 32],
    required: bool,
) -> Result<(), String> {
    let kept = match found {
        Some(found) => found == of(slice, root),
        None => !required,
    };
    if kept || !stands(Defence::CommittedSlice) {
        return Ok(());
    }
    let what = found.map_or_else(|| "to nothing".to_owned(), |_| "to something else".to_owned());
    Err(format!("its coinbase commits {what}, should be to slice {slice}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(bytes: &[u8]) -> Vec<u8> {
        let mut script = vec![u8::try_from(bytes.len()).unwrap()];
        script.extend_from_slice(bytes);
        script
    }

    #[test]
    fn a_commitment_is_found_as_a_push_alone() {
        let commitment = [b"WPC1".as_slice(), &[7; 32]].concat();
        let height = push(&[1, 2, 3]);
        let extranonce = push(&[0; 12]);
        let script = [height.as_slice(), &push(&commitment), &extranonce].concat();
        assert_eq!(found_in(&script), Ok(Some([7; 32])));
        assert_eq!(found_in(&[&[0x51], push(&commitment).as_slice()].concat()), Ok(Some([7; 32])));
        let data1 = [&[0x4c, 36], commitment.as_slice()].concat();
        assert_eq!(found_in(&data1), Ok(Some([7; 32])));
        // Within another push it is none, and one cut short neither.
        assert_eq!(found_in(&push(&[&[0x24], commitment.as_slice()].concat())), Ok(None));
        assert_eq!(found_in(&push(&commitment)[..36]), Ok(None));
        assert_eq!(found_in(&[]), Ok(None));
        assert!(found_in(&[push(&commitment), push(&commitment)].concat()).is_err());
    }

    /// Worked out with another implementation (Python's hashlib) from the text above.
    #[test]
    fn known_commitment() {
        assert_eq!(
            hex::encode(of(5, &[9; 32])),
            "0be7e1c5b5a7daa80db146b8bb154d0b5a250dc3a77cb66892315dc4125506ad"
        );
        assert!(check(Some(of(5, &[9; 32])), 5, &[9; 32], true).is_ok());
        assert!(check(Some(of(5, &[9; 32])), 6, &[9; 32], true).is_err());
        assert!(check(None, 5, &[9; 32], true).is_err());
        assert!(check(None, 5, &[9; 32], false).is_ok());
    }
}
