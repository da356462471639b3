//! The script that a signature before segwit signs: what follows the last `OP_CODESEPARATOR` that
//! was run, without the signatures themselves and without the separators that were not run
//! (`FindAndDelete`, `SerializeScriptCode`).

use bitcoin::script::ScriptBuf;

const SEPARATOR: u8 = 0xab;

/// `script` as `signatures` are taken to have signed it.
pub(super) fn signed(script: &[u8], signatures: &[Vec<u8>]) -> ScriptBuf {
    let code = signatures
        .iter()
        .fold(script.to_vec(), |code, signature| without(&code, &pushed(signature)));
    ScriptBuf::from_bytes(without(&code, &[SEPARATOR]))
}

/// The operation that pushes `data`, in the form that does not care how short it could be.
fn pushed(data: &[u8]) -> Vec<u8> {
    let length = data.len().to_le_bytes();
    let head: &[u8] = match (data.len(), &length) {
        (0..=0x4b, [one, ..]) => &[*one],
        (0x4c..=0xff, [one, ..]) => &[0x4c, *one],
        (_, [one, two, ..]) => &[0x4d, *one, *two],
    };
    [head, data].concat()
}

/// `script` without `part` wherever an operation begins with it.
fn without(script: &[u8], part: &[u8]) -> Vec<u8> {
    let (mut kept, mut rest) = (Vec::with_capacity(script.len()), script);
    loop {
        while let Some(after) = rest.strip_prefix(part) {
            rest = after;
        }
        let Some((operation, after)) = operation(rest).and_then(|n| rest.split_at_checked(n))
        else {
            kept.extend_from_slice(rest);
            return kept;
        };
        kept.extend_from_slice(operation);
        rest = after;
    }
}

/// Bytes that the first operation takes, where there is one.
fn operation(script: &[u8]) -> Option<usize> {
    let (head, length) = match script {
        [] => return None,
        [length @ 1..=0x4b, ..] => (1, u32::from(*length)),
        [0x4c, length, ..] => (2, u32::from(*length)),
        [0x4d, a, b, ..] => (3, u32::from_le_bytes([*a, *b, 0, 0])),
        [0x4e, a, b, c, d, ..] => (5, u32::from_le_bytes([*a, *b, *c, *d])),
        [0x4c..=0x4e, ..] => return None,
        _ => (1, 0),
    };
    usize::try_from(length).ok()?.checked_add(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_go_where_operations_begin_and_nowhere_else() {
        assert_eq!(without(&[1, 7, 1, 7, 2, 1, 7, 0x51], &[1, 7]), [2, 1, 7, 0x51]);
        assert_eq!(without(&[0xab, 2, 0xab, 0xab, 0xab], &[0xab]), [2, 0xab, 0xab]);
        // What does not read any more stays as it is.
        assert_eq!(without(&[0x51, 5, 0xab], &[0xab]), [0x51, 5, 0xab]);
        assert_eq!(without(&[0x4d, 1], &[0xab]), [0x4d, 1]);
        assert_eq!(signed(&[0xab, 1, 9, 0xac], &[vec![9]]).as_bytes(), [0xac]);
    }

    #[test]
    fn pushes_have_three_lengths() {
        assert_eq!(pushed(&[]), [0]);
        assert_eq!(pushed(&[3; 0x4b])[..2], [0x4b, 3]);
        assert_eq!(pushed(&[3; 0x4c])[..3], [0x4c, 0x4c, 3]);
        assert_eq!(pushed(&[3; 0x100])[..4], [0x4d, 0, 1, 3]);
        assert_eq!(operation(&pushed(&[3; 0x100])), Some(0x103));
    }
}
