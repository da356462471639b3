//! Work as a miner gets it: one `mining.notify` joined with the extranonce, difficulty and
//! version mask that were in force when it came.

use defences::{Defence, stands};
use serde::Deserialize;
use serde_json::value::RawValue;
use units::{Moment, Target};

use crate::job::{header, merkle_root, sha256d, swap_words};
use crate::v1::message::{hex_u32, text};

/// A job to be mined, complete: nothing that comes later changes it.
#[derive(Debug, Clone)]
pub struct ClientJob {
    /// The pool's name for it, echoed in shares.
    pub id: String,
    /// Hash of the block before, internal order.
    pub prev_hash: [u8; 32],
    /// Coinbase bytes before the extranonces.
    pub coinbase1: Vec<u8>,
    /// Coinbase bytes after the extranonces.
    pub coinbase2: Vec<u8>,
    /// Merkle branch of the coinbase, internal order.
    pub branch: Vec<[u8; 32]>,
    /// The header's version before rolling.
    pub version: u32,
    /// The header's compact target.
    pub nbits: u32,
    /// The header's time at [`Self::received`], Unix seconds.
    pub ntime: u32,
    /// Whether all earlier work is to be dropped.
    pub clean: bool,
    /// What a share must meet.
    pub target: Target,
    /// What a block must meet.
    pub network_target: Target,
    /// Version bits that may be rolled; 0 for none.
    pub version_mask: u32,
    /// Extranonce 1.
    pub xn1: Vec<u8>,
    /// Bytes of extranonce 2 to choose, 0 to 32.
    pub xn2_size: usize,
    /// When it came.
    pub received: Moment,
    /// Rises with every job of a session.
    pub generation: u64,
    /// Whether its headers are those of the job before, whose extranonce 2 must then be counted
    /// on and not begun again: the same job under another target or mask.
    pub continues: bool,
}

/// The parameters of one `mining.notify`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Notify {
    pub(super) id: String,
    pub(super) prev_hash: [u8; 32],
    pub(super) coinbase1: Vec<u8>,
    pub(super) coinbase2: Vec<u8>,
    pub(super) branch: Vec<[u8; 32]>,
    pub(super) version: u32,
    pub(super) nbits: u32,
    pub(super) ntime: u32,
    pub(super) clean: bool,
    pub(super) network_target: Target,
}

/// Deepest Merkle branch: a block holds fewer than 2^32 transactions by far.
const MAX_BRANCH: usize = 32;
/// Longest job name, bytes.
const MAX_NAME: usize = 256;

impl ClientJob {
    /// The header for one extranonce 2, time and version, nonce 0.
    ///
    /// `xn2` must be [`Self::xn2_size`] bytes long.
    #[must_use]
    pub fn header(&self, xn2: &[u8], ntime: u32, version: u32) -> [u8; 80] {
        let coinbase = [&self.coinbase1, &self.xn1, xn2, &self.coinbase2].concat();
        let root = merkle_root(sha256d(&coinbase), &self.branch);
        header(version, &self.prev_hash, &root, ntime, self.nbits, 0)
    }
}

impl Notify {
    /// Reads nine parameters; more are ignored.
    pub(super) fn parse(params: &[&RawValue]) -> Result<Self, &'static str> {
        let [id, prev_hash, coinbase1, coinbase2, branch, version, nbits, ntime, clean, ..] =
            params
        else {
            return Err("fewer than nine parameters");
        };
        let id = text(id).ok_or("the job has no name")?.into_owned();
        if id.len() > MAX_NAME {
            return Err("the job's name is too long");
        }
        let word = |raw: &RawValue| text(raw).as_deref().and_then(hex_u32);
        let nbits = word(nbits).ok_or("nbits is not 8 hexadecimal digits")?;
        Ok(Self {
            id,
            prev_hash: hash(prev_hash).map(swap_words).ok_or("the previous hash is no hash")?,
            coinbase1: bytes(coinbase1).ok_or("the coinbase's first part is no hexadecimal")?,
            coinbase2: bytes(coinbase2).ok_or("the coinbase's second part is no hexadecimal")?,
            branch: parse_branch(branch).ok_or("the Merkle branch is no list of hashes")?,
            version: word(version).ok_or("the version is not 8 hexadecimal digits")?,
            nbits,
            ntime: word(ntime).ok_or("ntime is not 8 hexadecimal digits")?,
            clean: bool::deserialize(*clean).map_err(|_| "clean_jobs is no truth value")?,
            network_target: Target::from_compact(nbits).map_err(|_| "nbits is no target")?,
        })
    }
}

fn bytes(raw: &RawValue) -> Option<Vec<u8>> {
    hex::decode(text(raw)?.as_bytes()).ok()
}

fn hash(raw: &RawValue) -> Option<[u8; 32]> {
    bytes(raw)?.try_into().ok()
}

fn parse_branch(raw: &RawValue) -> Option<Vec<[u8; 32]>> {
    let list: Vec<&RawValue> = serde_json::from_str(raw.get()).ok()?;
    if stands(Defence::PoolBranch) && list.len() > MAX_BRANCH {
        return None;
    }
    list.into_iter().map(hash).collect()
}
