//! Which headers a connection was credited for: exact, bounded, and small.
//!
//! Read [`Seen`], then [`Headers`]. Headers are kept by previous hash and extranonce 1 (a
//! [`Space`]), across jobs, so that neither a repeated template nor a reorganisation lets one header
//! count twice; those of two spaces are never the same.
//!
//! It deliberately forgets nothing to make room: past the bound shares are refused, and a share
//! whose space is remembered no more is refused as well.

use std::hint::black_box;

use defences::{Defence, stands};
use serde::{Deserialize, Serialize};

use crate::judge::{Judged, Reason};

/// What identifies a credited header in its space: 64 bits of its hash that no proof of work fixes.
///
/// A header that was credited is always found, since its hash is the same. One that was not is
/// taken for another with odds of n/2^64 where n are remembered: 65,536 shares on one block meet
/// one such refusal in 2^33 blocks. Whoever looks for two headers that agree has found nothing:
/// a space belongs to one connection, and what is refused is his own second share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HeaderKey(u64);

/// One previous hash with one extranonce 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Space {
    /// The low half of the hash's low half: blocks of one chain differ there, and where two did
    /// not, they would only share one memory.
    prev: u64,
    pub(super) xn1: [u8; 4],
}

/// Headers credited in each space, the space of new work first.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Seen {
    spaces: Vec<(Space, Headers)>,
}

/// A set of keys in one allocation, which takes and finds one in logarithmic time and moves few,
/// whatever keys come: a sorted list, and behind it a short one that is merged into it now and then.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Headers {
    keys: Vec<u64>,
    /// Where the short list begins.
    merged: u32,
}

/// Spaces whose credited headers are remembered: a reorganisation comes back to one.
const SPACES_REMEMBERED: usize = 4;
/// Blocks remembered when there is no room for more shares: no block is lost to a full memory.
const BLOCKS_REMEMBERED: usize = 64;
/// Longest short list, beside a part of the long one.
const SHORT: usize = 32;

impl HeaderKey {
    pub(super) fn of(hash: &[u8; 32]) -> Self {
        Self(low_word(hash))
    }
}

impl Space {
    pub(super) fn new(prev_hash: &[u8; 32], xn1: [u8; 4]) -> Self {
        Self { prev: low_word(prev_hash), xn1 }
    }
}

impl Seen {
    /// Makes `space` the one that shares on new work are remembered in.
    pub(super) fn turn_to(&mut self, space: Space) {
        let known = self.spaces.iter().position(|(other, _)| *other == space);
        let known = known.filter(|_| stands(Defence::ReorganisedShare));
        if known == Some(0) {
            return;
        }
        if let Some((_, past)) = self.spaces.first_mut() {
            past.keys.shrink_to_fit();
        }
        let entry = match known {
            Some(at) => self.spaces.remove(at),
            None => (space, Headers::default()),
        };
        self.spaces.truncate(SPACES_REMEMBERED - 1);
        self.spaces.reserve_exact(1);
        self.spaces.insert(0, entry);
    }

    /// Part of [`super::Session::glance_behind`].
    pub(super) fn glance(&self) {
        black_box(self.spaces.first().map(|(space, headers)| (*space, headers.merged)));
    }

    /// Whether no header was ever credited here.
    pub(super) fn is_empty(&self) -> bool {
        self.spaces.is_empty()
    }

    /// Headers remembered.
    pub(super) fn len(&self) -> usize {
        self.spaces.iter().map(|(_, headers)| headers.keys.len()).sum()
    }

    /// Headers remembered that shares on new work go beside.
    pub(super) fn present(&self) -> usize {
        self.spaces.first().map_or(0, |(_, headers)| headers.keys.len())
    }

    /// Remembers the header of a share that holds; refuses one that is remembered, and one in a
    /// space that may have been forgotten.
    pub(super) fn remember(
        &mut self,
        judged: &Judged,
        space: Space,
        max_seen: usize,
    ) -> Result<(), Reason> {
        let key = HeaderKey::of(&judged.hash);
        let blocks = if judged.is_block { BLOCKS_REMEMBERED } else { 0 };
        let full = max_seen.saturating_add(blocks);
        let mut spaces = self.spaces.iter_mut();
        let Some((_, headers)) = spaces.find(|(known, _)| *known == space) else {
            return Err(Reason::UnknownJob);
        };
        if stands(Defence::HeadersRemembered) && headers.keys.len() >= full {
            return Err(if headers.contains(key) { Reason::Duplicate } else { Reason::Busy });
        }
        let new = headers.insert(key) || !stands(Defence::DuplicateShare);
        if new { Ok(()) } else { Err(Reason::Duplicate) }
    }

    /// Forgets a header whose share was not recorded after all, so that it may be sent again.
    pub(super) fn forget(&mut self, key: HeaderKey) {
        for (_, headers) in &mut self.spaces {
            headers.remove(key);
        }
    }
}

impl Headers {
    /// Where a key is, or would be in the short list.
    fn find(&self, HeaderKey(key): HeaderKey) -> Result<usize, usize> {
        let merged = usize::try_from(self.merged).unwrap_or(usize::MAX).min(self.keys.len());
        let (long, short) = self.keys.split_at(merged);
        let in_short = short.binary_search(&key).map(|at| merged + at).map_err(|at| merged + at);
        in_short.or_else(|place| long.binary_search(&key).map_err(|_| place))
    }

    fn contains(&self, key: HeaderKey) -> bool {
        self.find(key).is_ok()
    }

    /// Whether the key is new.
    fn insert(&mut self, key: HeaderKey) -> bool {
        let Err(place) = self.find(key) else { return false };
        let length = self.keys.len();
        if length == self.keys.capacity() {
            self.keys.reserve_exact(length / 4 + 4);
        }
        self.keys.insert(place, key.0);
        let merged = usize::try_from(self.merged).unwrap_or(usize::MAX);
        if length.saturating_sub(merged) >= SHORT + merged / 64 {
            // Finds the two sorted lists and merges them.
            self.keys.sort();
            self.merged = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        }
        true
    }

    fn remove(&mut self, key: HeaderKey) {
        if let Ok(place) = self.find(key) {
            self.keys.remove(place);
            if usize::try_from(self.merged).is_ok_and(|merged| place < merged) {
                self.merged -= 1;
            }
        }
    }
}

fn low_word(hash: &[u8; 32]) -> u64 {
    u64::from_le_bytes(*hash.first_chunk().expect("8 of 32 bytes"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_are_a_set(
            steps in proptest::collection::vec((any::<bool>(), any::<bool>(), 0..300_u64), 0..1500),
        ) {
            let (mut headers, mut model) = (Headers::default(), BTreeSet::new());
            for (add, again, key) in steps {
                if add || again {
                    prop_assert_eq!(headers.insert(HeaderKey(key)), model.insert(key));
                } else {
                    headers.remove(HeaderKey(key));
                    model.remove(&key);
                }
                prop_assert_eq!(headers.keys.len(), model.len());
            }
            for key in 0..300 {
                prop_assert_eq!(headers.contains(HeaderKey(key)), model.contains(&key));
            }
        }
    }

    #[test]
    fn many_keys_in_any_order_are_kept_in_little_more_than_their_bytes() {
        for spread in [1, u64::MAX, 0x9e37_79b9_7f4a_7c15] {
            let mut headers = Headers::default();
            let key = |number: u64| HeaderKey(number.wrapping_mul(spread));
            let (mut grown, mut capacity, mut merges, mut merged) = (0, 0, 0, 0);
            for number in 0..65_536 {
                assert!(headers.insert(key(number)));
                let length = headers.keys.len();
                grown += u32::from(headers.keys.capacity() != capacity);
                capacity = headers.keys.capacity();
                assert!(capacity <= length * 5 / 4 + 4, "{capacity} for {length}");
                merges += u32::from(headers.merged != merged);
                merged = headers.merged;
                let long = usize::try_from(merged).unwrap();
                assert!(length - long <= SHORT + long / 64, "{length} with {long} merged");
            }
            assert!(grown < 60, "memory was asked for {grown} times");
            assert!(merges < 400, "the lists were merged {merges} times");
            assert!((0..65_536).all(|number| !headers.insert(key(number))));
            assert!(!headers.contains(HeaderKey(u64::MAX / 2)));
            assert_eq!(headers.keys.len(), 65_536);
        }
        assert_eq!(Headers::default().keys.capacity(), 0);
    }
}
