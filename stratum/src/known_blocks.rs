//! Two real blocks, cut as a Stratum job is: tests carry them through the whole path. The cut
//! falls anywhere in the coinbase; what the miner "chose" is simply what those bytes are.

use units::Target;

use crate::JobTemplate;

/// One block of the main chain; hexadecimal, hashes as people print them.
#[derive(Debug)]
pub(crate) struct KnownBlock {
    pub(crate) name: &'static str,
    pub(crate) hash: &'static str,
    prev_hash: &'static str,
    merkle_root: &'static str,
    coinbase: &'static str,
    /// Where extranonce 1 (4 bytes) and then extranonce 2 (8 bytes) begin in the coinbase.
    cut: usize,
    branch: &'static [&'static str],
    pub(crate) ntime: u32,
    pub(crate) nbits: u32,
    pub(crate) nonce: u32,
}

pub(crate) const GENESIS: KnownBlock = KnownBlock {
    name: "genesis",
    hash: "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
    prev_hash: "0000000000000000000000000000000000000000000000000000000000000000",
    merkle_root: "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b",
    coinbase: "01000000010000000000000000000000000000000000000000000000000000000000000000\
               ffffffff4d04ffff001d0104455468652054696d65732030332f4a616e2f32303039204368\
               616e63656c6c6f72206f6e206272696e6b206f66207365636f6e64206261696c6f75742066\
               6f722062616e6b73ffffffff0100f2052a01000000434104678afdb0fe5548271967f1a671\
               30b7105cd6a828e03909a67962e0ea1f61deb649f6bc3f4cef38c4f35504e51ec112de5c38\
               4df7ba0b8d578a4c702b6bf11d5fac00000000",
    cut: 60,
    branch: &[],
    ntime: 0x495f_ab29,
    nbits: 0x1d00_ffff,
    nonce: 0x7c2b_ac1d,
};

pub(crate) const BLOCK_125552: KnownBlock = KnownBlock {
    name: "125552",
    hash: "00000000000000001e8d6829a8a21adc5d38d0a473b144b6765798e61f98bd1d",
    prev_hash: "00000000000008a3a41b85b8b29ad444def299fee21793cd8b9e567eab02cd81",
    merkle_root: "2b12fcf1b09288fcaff797d71e950e71ae42b91e8bdb2304758dfcffc2b620e3",
    coinbase: "01000000010000000000000000000000000000000000000000000000000000000000000000\
               ffffffff0804f2b9441a022a01ffffffff014034152a01000000434104d879d5ef8b70cf0a\
               33925101b64429ad7eb370da8ad0b05c9cd60922c363a1eada85bcc2843b7378e226735048\
               786c790b30b28438d22acfade24ef047b5f865ac00000000",
    cut: 46,
    branch: &[
        "60c25dda8d41f8d3d7d5c6249e2ea1b05a25bf7ae2ad6d904b512b31f997e1a1",
        "bfae954bdb9653ceba3721e85a122fba3a585c5762b5ca5abe117b30c36c995e",
    ],
    ntime: 0x4dd7_f5c7,
    nbits: 0x1a44_b9f2,
    nonce: 0x9546_a142,
};

impl KnownBlock {
    pub(crate) fn template(&self) -> JobTemplate {
        let coinbase = hex::decode(self.coinbase).unwrap();
        JobTemplate {
            height: 1,
            version: 1,
            prev_hash: internal(self.prev_hash),
            nbits: self.nbits,
            ntime: self.ntime,
            min_ntime: self.ntime - 600,
            coinbase1: coinbase[..self.cut].to_vec(),
            coinbase2: coinbase[self.cut + 12..].to_vec(),
            branch: self.branch.iter().map(|hash| internal(hash)).collect(),
            network_target: Target::from_compact(self.nbits).unwrap(),
        }
    }

    pub(crate) fn xn1(&self) -> [u8; 4] {
        let coinbase = hex::decode(self.coinbase).unwrap();
        coinbase[self.cut..self.cut + 4].try_into().unwrap()
    }

    pub(crate) fn xn2(&self) -> Vec<u8> {
        hex::decode(self.coinbase).unwrap()[self.cut + 4..self.cut + 12].to_vec()
    }

    pub(crate) fn hash(&self) -> [u8; 32] {
        internal(self.hash)
    }

    pub(crate) fn merkle_root(&self) -> [u8; 32] {
        internal(self.merkle_root)
    }
}

fn internal(display: &str) -> [u8; 32] {
    let mut bytes: [u8; 32] = hex::decode(display).unwrap().try_into().unwrap();
    bytes.reverse();
    bytes
}
