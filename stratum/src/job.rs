//! Jobs: what a miner is asked to hash, and how a coinbase, a Merkle branch and a header are put
//! together from it.
//!
//! Read [`JobTemplate`] (the facts of one block to be), then [`Job`] (the template with its name
//! and its `mining.notify` line, rendered once and shared by every connection).
//!
//! It deliberately knows nothing of connections, difficulty or shares: see [`crate::judge()`].
//! All hashes are in internal order; [`swap_words`] turns a previous hash into the order that
//! Stratum V1 carries and back.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use defences::{Defence, stands};
use sha2::{Digest, Sha256};
use units::{Target, Work};

use crate::hash::{Coinbase, fold};

/// The facts of one block to be. Coinbase = `coinbase1` + extranonce 1 + extranonce 2 +
/// `coinbase2`, without witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobTemplate {
    /// Height of the block.
    pub height: u32,
    /// The header's version before any rolling.
    pub version: u32,
    /// Hash of the block before, internal order.
    pub prev_hash: [u8; 32],
    /// The header's compact target.
    pub nbits: u32,
    /// The header's time as issued, Unix seconds.
    pub ntime: u32,
    /// The earliest time that consensus takes, Unix seconds.
    pub min_ntime: u32,
    /// Coinbase bytes before the extranonces.
    pub coinbase1: Vec<u8>,
    /// Coinbase bytes after the extranonces.
    pub coinbase2: Vec<u8>,
    /// Merkle branch of the coinbase, leaf first, internal order.
    pub branch: Vec<[u8; 32]>,
    /// What a block's hash must meet.
    pub network_target: Target,
}

/// The name of a job on the wire: lower-case hexadecimal, at most 16 characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(u64);

/// A template with a name, ready to be sent to every connection.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its name; the owner never gives the same one twice.
    pub id: JobId,
    /// What is hashed.
    pub template: JobTemplate,
    /// Whether miners are told to drop all earlier work.
    pub clean: bool,
    /// Rises with each new previous hash: shares of jobs of an older epoch are stale.
    pub epoch: u64,
    /// The owner's own mark (the pool: the newest slice committed in the coinbase).
    pub tag: u64,
    /// Version bits that may be rolled at all; a connection may roll those of them that it
    /// negotiated.
    pub version_mask: u32,
    /// What a miner may read of the transactions.
    pub transactions: Listing,
    /// The work of a hash that meets the network's target: made once, since it takes a division.
    pub network_work: Work,
    /// The same block to be with a shorter coinbase and a name of its own, for devices that take no
    /// longer one.
    pub smaller: Option<Arc<Self>>,
    notify: Arc<[u8]>,
    /// The coinbase prepared, so that a share costs only the rest of it.
    prepared: Coinbase,
}

/// Bytes of extranonce 1.
const XN1_SIZE: usize = 4;

/// A job's transactions besides the coinbase, as `mining.get_transactions` lists them: made once,
/// shared by every connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listing {
    /// The JSON list of hexadecimal strings, in the block's order.
    Json(Arc<str>),
    /// More than [`Listing::MAX_BYTES`] of transactions: this many bytes.
    TooLong(usize),
    /// The owner of the job gave none.
    None,
}

impl Listing {
    /// Most bytes of transactions that are listed: twice as many characters, which is half of what
    /// a connection may leave unread. A request of fifty bytes must not buy a block of megabytes.
    pub const MAX_BYTES: usize = 32_768;

    /// Lists serialized transactions, or says how long they are together.
    pub fn of<'a>(transactions: impl Iterator<Item = &'a [u8]> + Clone) -> Self {
        let bytes = transactions.clone().map(<[u8]>::len).sum();
        if stands(Defence::ListingLength) && bytes > Self::MAX_BYTES {
            return Self::TooLong(bytes);
        }
        let quoted: Vec<String> =
            transactions.map(|bytes| format!("\"{}\"", hex::encode(bytes))).collect();
        Self::Json(format!("[{}]", quoted.join(",")).into())
    }
}

impl JobId {
    /// The job numbered `id`.
    #[must_use]
    pub const fn new(id: u64) -> Self {
        Self(id)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl Job {
    /// Names a template and renders its `mining.notify` line. Every version bit may be rolled and
    /// no transactions are listed, until the fields say otherwise.
    #[must_use]
    pub fn new(id: u64, template: JobTemplate, clean: bool, epoch: u64, tag: u64) -> Self {
        let id = JobId(id);
        let notify = notify_line(&id.to_string(), &template, template.ntime, clean).into();
        Self {
            id,
            clean,
            epoch,
            tag,
            version_mask: u32::MAX,
            transactions: Listing::None,
            network_work: template.network_target.work(),
            smaller: None,
            notify,
            prepared: Coinbase::new(&template.coinbase1, &template.coinbase2),
            template,
        }
    }

    /// Bytes of the whole coinbase transaction without witness, with an extranonce 2 of `xn2_size`.
    #[must_use]
    pub fn coinbase_length(&self, xn2_size: usize) -> usize {
        let JobTemplate { coinbase1, coinbase2, .. } = &self.template;
        coinbase1.len() + XN1_SIZE + xn2_size + coinbase2.len()
    }

    /// This job, or the longest of its smaller ones, whose coinbase is at most `longest` bytes.
    #[must_use]
    pub fn fitting(self: &Arc<Self>, longest: usize, xn2_size: usize) -> Option<&Arc<Self>> {
        let mut job = Some(self);
        while let Some(longer) = job.filter(|job| job.coinbase_length(xn2_size) > longest) {
            job = longer.smaller.as_ref();
        }
        job
    }

    /// The `mining.notify` line, newline included, as every connection gets it first.
    #[must_use]
    pub fn notify_line(&self) -> &Arc<[u8]> {
        &self.notify
    }

    /// The line that gives this job out for the `again`th time after the first, under another name
    /// and with a time `again` seconds later, so that a miner that starts over hashes new headers.
    /// `clean` asks to drop earlier work.
    #[must_use]
    pub fn notify_again(&self, again: u8, clean: bool) -> Vec<u8> {
        let ntime = self.template.ntime.saturating_add(again.into());
        let name = match again {
            0 => self.id.to_string(),
            again => format!("{}-{again:x}", self.id),
        };
        notify_line(&name, &self.template, ntime, clean)
    }

    /// The header of this job with the miner's part filled in.
    #[must_use]
    pub fn header(&self, xn1: &[u8], xn2: &[u8], version: u32, ntime: u32, nonce: u32) -> [u8; 80] {
        self.header_on(&self.root(xn1, xn2), version, ntime, nonce)
    }

    /// The Merkle root of this job with the miner's extranonces.
    #[must_use]
    pub fn root(&self, xn1: &[u8], xn2: &[u8]) -> [u8; 32] {
        let hash = match (xn1.try_into(), xn2.try_into()) {
            (Ok(xn1), Ok(xn2)) => self.prepared.hash(xn1, xn2),
            _ => sha256d(&coinbase(&self.template, xn1, xn2)),
        };
        merkle_root(hash, &self.template.branch)
    }

    /// The header of this job over a root that [`Self::root`] gave.
    pub(crate) fn header_on(
        &self,
        root: &[u8; 32],
        version: u32,
        ntime: u32,
        nonce: u32,
    ) -> [u8; 80] {
        let JobTemplate { prev_hash, nbits, .. } = &self.template;
        header(version, prev_hash, root, ntime, *nbits, nonce)
    }
}

/// SHA-256 twice, internal order.
#[must_use]
pub fn sha256d(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(Sha256::digest(bytes)).into()
}

/// The whole coinbase transaction without witness.
#[must_use]
pub fn coinbase(template: &JobTemplate, xn1: &[u8], xn2: &[u8]) -> Vec<u8> {
    [&template.coinbase1, xn1, xn2, &template.coinbase2].concat()
}

/// Folds a Merkle branch onto the hash of the coinbase: root = sha256d(root || sibling) for each
/// sibling, the coinbase being the leftmost leaf.
#[must_use]
pub fn merkle_root(coinbase_hash: [u8; 32], branch: &[[u8; 32]]) -> [u8; 32] {
    branch.iter().fold(coinbase_hash, |root, sibling| fold(&root, sibling))
}

/// The 80 bytes that are hashed; integers are little-endian there.
#[must_use]
pub fn header(
    version: u32,
    prev_hash: &[u8; 32],
    root: &[u8; 32],
    ntime: u32,
    nbits: u32,
    nonce: u32,
) -> [u8; 80] {
    let mut bytes = [0; 80];
    bytes[..4].copy_from_slice(&version.to_le_bytes());
    bytes[4..36].copy_from_slice(prev_hash);
    bytes[36..68].copy_from_slice(root);
    bytes[68..72].copy_from_slice(&ntime.to_le_bytes());
    bytes[72..76].copy_from_slice(&nbits.to_le_bytes());
    bytes[76..].copy_from_slice(&nonce.to_le_bytes());
    bytes
}

/// Reverses the bytes of each 4-byte word: internal order to the order in which V1 carries a
/// previous hash, and back.
#[must_use]
pub fn swap_words(mut hash: [u8; 32]) -> [u8; 32] {
    for word in hash.chunks_exact_mut(4) {
        word.reverse();
    }
    hash
}

/// The version that a header carries: BIP 310, `(version & !mask) | (bits & mask)`.
#[must_use]
pub const fn rolled_version(version: u32, mask: u32, bits: u32) -> u32 {
    (version & !mask) | (bits & mask)
}

fn notify_line(id: &str, template: &JobTemplate, ntime: u32, clean: bool) -> Vec<u8> {
    let hex_length = 2 * (template.coinbase1.len() + template.coinbase2.len());
    let mut line = String::with_capacity(hex_length + 67 * template.branch.len() + 256);
    let prev_hash = hex::encode(swap_words(template.prev_hash));
    let (coinbase1, coinbase2) =
        (hex::encode(&template.coinbase1), hex::encode(&template.coinbase2));
    let branch: Vec<String> =
        template.branch.iter().map(|hash| format!("\"{}\"", hex::encode(hash))).collect();
    writeln!(
        line,
        "{{\"id\":null,\"method\":\"mining.notify\",\"params\":[\"{id}\",\"{prev_hash}\",\
         \"{coinbase1}\",\"{coinbase2}\",[{}],\"{:08x}\",\"{:08x}\",\"{ntime:08x}\",{clean}]}}",
        branch.join(","),
        template.version,
        template.nbits,
    )
    .expect("a String takes everything");
    line.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::known_blocks::{BLOCK_125552, GENESIS, KnownBlock};

    fn check(block: &KnownBlock) {
        let template = block.template();
        let bytes = coinbase(&template, &block.xn1(), &block.xn2());
        let root = merkle_root(sha256d(&bytes), &template.branch);
        assert_eq!(root, block.merkle_root(), "{}", block.name);
        let whole = header(
            template.version,
            &template.prev_hash,
            &root,
            block.ntime,
            block.nbits,
            block.nonce,
        );
        assert_eq!(sha256d(&whole), block.hash(), "{}", block.name);

        let job = Job::new(7, template, true, 1, 0);
        let version = job.template.version;
        let again = job.header(&block.xn1(), &block.xn2(), version, block.ntime, block.nonce);
        assert_eq!(again, whole, "the shortcut over coinbase1 gives the same header");
    }

    #[test]
    fn known_blocks_hash_to_their_names() {
        check(&GENESIS);
        check(&BLOCK_125552);
    }

    #[test]
    fn the_notify_line_of_a_known_block() {
        let job = Job::new(0x1f, BLOCK_125552.template(), true, 1, 0);
        let expected = concat!(
            r#"{"id":null,"method":"mining.notify","params":["1f","#,
            r#""ab02cd818b9e567ee21793cddef299feb29ad444a41b85b8000008a300000000","#,
            r#""01000000010000000000000000000000000000000000000000000000000000000000000000"#,
            r#"ffffffff0804f2b944","#,
            r#""2a01000000434104d879d5ef8b70cf0a33925101b64429ad7eb370da8ad0b05c9cd60922c3"#,
            r#"63a1eada85bcc2843b7378e226735048786c790b30b28438d22acfade24ef047b5f865ac00000000","#,
            r#"["a1e197f9312b514b906dade27abf255ab0a12e9e24c6d5d7d3f8418dda5dc260","#,
            r#""5e996cc3307b11be5acab562575c583aba2f125ae82137bace5396db4b95aebf"],"#,
            r#""00000001","1a44b9f2","4dd7f5c7",true]}"#,
            "\n"
        );
        assert_eq!(String::from_utf8(job.notify_line().to_vec()).unwrap(), expected);
        assert_eq!(String::from_utf8(job.notify_again(0, true)).unwrap(), expected);
        let again = String::from_utf8(job.notify_again(2, false)).unwrap();
        assert_eq!(
            again,
            expected
                .replace(r#"["1f""#, r#"["1f-2""#)
                .replace(r#""4dd7f5c7",true"#, r#""4dd7f5c9",false"#)
        );
    }

    #[test]
    fn transactions_are_listed_up_to_a_limit() {
        let list = |transactions: &[Vec<u8>]| Listing::of(transactions.iter().map(Vec::as_slice));
        assert_eq!(list(&[]), Listing::Json("[]".into()));
        assert_eq!(list(&[vec![1, 0xff], vec![2]]), Listing::Json(r#"["01ff","02"]"#.into()));
        let half = vec![7; Listing::MAX_BYTES / 2];
        assert!(matches!(list(&[half.clone(), half.clone()]), Listing::Json(_)));
        let long = Listing::TooLong(Listing::MAX_BYTES + 1);
        assert_eq!(list(&[half.clone(), half, vec![7]]), long);
    }

    #[test]
    fn words_swap_both_ways() {
        let hash: [u8; 32] = std::array::from_fn(|i| u8::try_from(i).unwrap());
        assert_eq!(swap_words(hash)[..8], [3, 2, 1, 0, 7, 6, 5, 4]);
        assert_eq!(swap_words(swap_words(hash)), hash);
    }

    #[test]
    fn version_bits_outside_the_mask_come_from_the_job() {
        assert_eq!(rolled_version(0x2000_0000, 0x1fff_e000, 0x0fff_ffff), 0x2fff_e000);
        assert_eq!(rolled_version(0x2000_0004, 0, 0xffff_ffff), 0x2000_0004);
    }
}
