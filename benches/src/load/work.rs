//! Work as a miner does it: a job's line becomes a header, and nonces are tried until the hash
//! meets the target.
//!
//! Read [`Job`], then [`Search`]. Of a header only its last 16 bytes differ from nonce to nonce,
//! so the first 64 are hashed once (the midstate); of a coinbase only what follows `coinbase1`
//! and extranonce 1 differs, so those are hashed once too. It deliberately keeps no kernel busy:
//! at the difficulties that a pool is measured with, a share is a handful of hashes.

use serde::Deserialize;
use sha2::{Digest, Sha256, block_api::compress256};
use stratum::{
    SHA256_START,
    job::{merkle_root, swap_words},
};
use units::Target;

use super::wire::Unreadable;

/// What `mining.notify` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Job {
    /// The pool's name for it, as JSON text without quotation marks.
    pub(super) id: String,
    prev_hash: [u8; 32],
    coinbase1: Vec<u8>,
    coinbase2: Vec<u8>,
    branch: Vec<[u8; 32]>,
    version: u32,
    nbits: u32,
    ntime: u32,
    /// The header's time as the job has it, for the share's line.
    pub(super) ntime_text: [u8; 8],
    /// Whether earlier work is to be dropped.
    pub(super) clean: bool,
}

#[derive(Deserialize)]
struct Params(String, String, String, String, Vec<String>, String, String, String, bool);

impl Job {
    /// Reads the parameters of `mining.notify`; `line` is for the message.
    pub(super) fn read(params: &str, line: &[u8]) -> Result<Self, Unreadable> {
        let Params(id, prev_hash, coinbase1, coinbase2, branch, version, nbits, ntime, clean) =
            serde_json::from_str(params)
                .map_err(|error| Unreadable::new(format!("a job: {error}"), line))?;
        let wrong = |what: &str| Unreadable::new(format!("a job whose {what} does not read"), line);
        let word = |text: &str, what: &str| {
            let right = text.len() == 8;
            u32::from_str_radix(text, 16).ok().filter(|_| right).ok_or_else(|| wrong(what))
        };
        let bytes = |text: &str, what: &str| hex::decode(text).map_err(|_| wrong(what));
        let mut branches = Vec::with_capacity(branch.len());
        for text in &branch {
            branches.push(hash(text).ok_or_else(|| wrong("branch"))?);
        }
        // Names go out as they came in; one that would have to be escaped names no job here.
        if id.is_empty()
            || id.bytes().any(|byte| !(byte.is_ascii_graphic() && byte != b'"' && byte != b'\\'))
        {
            return Err(wrong("name"));
        }
        Ok(Self {
            prev_hash: swap_words(hash(&prev_hash).ok_or_else(|| wrong("previous hash"))?),
            coinbase1: bytes(&coinbase1, "coinbase")?,
            coinbase2: bytes(&coinbase2, "coinbase")?,
            branch: branches,
            version: word(&version, "version")?,
            nbits: word(&nbits, "nbits")?,
            ntime: word(&ntime, "time")?,
            ntime_text: ntime.as_bytes().try_into().map_err(|_| wrong("time"))?,
            id,
            clean,
        })
    }

    /// SHA-256 over what all coinbases of one connection begin with.
    pub(super) fn coinbase_start(&self, xn1: &[u8]) -> Sha256 {
        Sha256::new_with_prefix(&self.coinbase1).chain_update(xn1)
    }

    /// Everything that may be hashed with this extranonce 2.
    pub(super) fn search(&self, start: &Sha256, xn2: &[u8]) -> Search {
        let coinbase = start.clone().chain_update(xn2).chain_update(&self.coinbase2).finalize();
        let root = merkle_root(Sha256::digest(coinbase).into(), &self.branch);
        Search::new(&stratum::job::header(
            self.version,
            &self.prev_hash,
            &root,
            self.ntime,
            self.nbits,
            0,
        ))
    }
}

fn hash(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}

/// One header, whose nonces are tried in order, each once.
#[derive(Debug, Clone)]
pub(super) struct Search {
    midstate: [u32; 8],
    /// The header's last 16 bytes and SHA-256's padding.
    tail: [u8; 64],
    /// The next nonce; past `u32::MAX` there is none left.
    next: u64,
}

impl Search {
    /// The nonce in `header` is not looked at.
    fn new(header: &[u8; 80]) -> Self {
        let (first, last) = header.split_at(64);
        let mut midstate = SHA256_START;
        compress256(&mut midstate, &[first.try_into().expect("64 bytes were split off")]);
        let mut tail = [0; 64];
        tail[..16].copy_from_slice(last);
        tail[16] = 0x80;
        // Lengths are in bits.
        tail[62..].copy_from_slice(&640_u16.to_be_bytes());
        Self { midstate, tail, next: 0 }
    }

    /// The next nonce whose hash meets the target, among so many; `None` where there is none.
    pub(super) fn next(&mut self, target: &Bar, tries: u64) -> Option<u32> {
        let end = self.next.saturating_add(tries).min(1 << 32);
        while self.next < end {
            let nonce = u32::try_from(self.next).expect("below the end");
            self.next += 1;
            if target.is_met_by(self.hash(nonce)) {
                return Some(nonce);
            }
        }
        None
    }

    /// Whether every nonce was tried.
    pub(super) const fn is_spent(&self) -> bool {
        self.next >> 32 != 0
    }

    /// The header's hash with this nonce, as SHA-256's eight words.
    fn hash(&mut self, nonce: u32) -> [u32; 8] {
        self.tail[12..16].copy_from_slice(&nonce.to_le_bytes());
        let mut inner = self.midstate;
        compress256(&mut inner, &[self.tail]);
        let mut block = [0; 64];
        for (bytes, word) in block.chunks_exact_mut(4).zip(inner) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        block[32] = 0x80;
        block[62..].copy_from_slice(&256_u16.to_be_bytes());
        let mut hash = SHA256_START;
        compress256(&mut hash, &[block]);
        hash
    }
}

/// A target that most hashes are refused by at a glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bar {
    target: Target,
    /// The target's 32 highest bits.
    top: u32,
}

impl Bar {
    pub(super) fn new(target: Target) -> Self {
        let [a, b, c, d, ..] = target.to_be_bytes();
        Self { target, top: u32::from_be_bytes([a, b, c, d]) }
    }

    /// The lower of the two.
    pub(super) fn harder_of(self, other: Self) -> Self {
        if self.target <= other.target { self } else { other }
    }

    /// Of a hash as SHA-256's words: its last word holds its highest bits, lowest byte first.
    fn is_met_by(&self, hash: [u32; 8]) -> bool {
        let top = hash[7].swap_bytes();
        if top != self.top {
            return top < self.top;
        }
        let mut bytes = [0; 32];
        for (bytes, word) in bytes.chunks_exact_mut(4).zip(hash) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        self.target.is_met_by(&bytes)
    }
}
