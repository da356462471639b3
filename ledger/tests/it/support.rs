//! A ledger in a folder of its own, and a forge of shares and blocks whose proof of work is real
//! at a difficulty that takes microseconds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bitcoin::hashes::Hash as _;
use bitcoin::{Address, Network, ScriptBuf, WPubkeyHash};
use ledger::{
    BlockId, Candidate, Direct, Ledger, LedgerError, Reader, Scheme, Settings, Share, SliceIndex,
    WorkerId, verify,
};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use units::{BasisPoints, Sats, Target, UnixMillis, Work};

/// Bits of every header here: about 512 hashes a block.
pub(crate) const BITS: u32 = 0x1f7f_ffff;
pub(crate) const NETWORK_WORK: u128 = 512;
pub(crate) const REWARD: u64 = 5_000_000_000;

pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) ledger: Ledger,
    pub(crate) forge: Forge,
}

/// Makes headers; no two alike.
#[derive(Debug, Default, Clone)]
pub(crate) struct Forge {
    serial: u64,
    pub(crate) now: u64,
    /// The roots of the slices that coinbases commit to, from slice 1 on.
    pub(crate) roots: BTreeMap<u64, [u8; 32]>,
}

pub(crate) fn settings(scheme: Scheme) -> Settings {
    Settings {
        scheme,
        fee: BasisPoints::new(100).unwrap(),
        fee_account: "pool".to_owned(),
        maturity: 100,
        best_headers: 4,
    }
}

/// A window of `hundredths` / 100 x 512 work.
pub(crate) const fn pplns(window_hundredths: u32) -> Scheme {
    Scheme::Pplns { window_hundredths }
}

pub(crate) fn sats(amount: u64) -> Sats {
    Sats::from_sat(amount).unwrap()
}

/// An address, another one for each number.
pub(crate) fn address(number: u8) -> Address {
    let hash = WPubkeyHash::from_byte_array([number; 20]);
    Address::from_script(&ScriptBuf::new_p2wpkh(&hash), Network::Regtest).unwrap()
}

/// A payment by a coinbase to the account that this address names.
pub(crate) fn direct(to: &Address, amount: u64) -> Direct {
    let script = to.script_pubkey().into_bytes();
    Direct { account: to.to_string(), script, sats: sats(amount) }
}

impl World {
    pub(crate) fn new(scheme: Scheme) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&dir.path().join("pool.sqlite"), settings(scheme)).unwrap();
        Self { dir, ledger, forge: Forge::default() }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("pool.sqlite")
    }

    pub(crate) fn now(&mut self) -> UnixMillis {
        self.forge.now()
    }

    pub(crate) fn reader(&self) -> Reader {
        Reader::open(&self.path()).unwrap()
    }

    pub(crate) fn worker(&mut self, account: &str, worker: &str) -> WorkerId {
        let now = self.now();
        self.ledger.worker(account, worker, now).unwrap()
    }

    /// Commits one batch with shares of these workers and works.
    pub(crate) fn commit(&mut self, shares: &[(WorkerId, u128)]) {
        let shares: Vec<_> =
            shares.iter().map(|(worker, work)| self.forge.share(*worker, *work)).collect();
        self.ledger.commit(&shares).unwrap();
    }

    pub(crate) fn close(&mut self) -> SliceIndex {
        let now = self.now();
        self.close_at(now)
    }

    pub(crate) fn close_at(&mut self, at: UnixMillis) -> SliceIndex {
        let head = self.ledger.close_slice(at).unwrap();
        self.forge.roots.insert(head.index.get(), head.root);
        head.index
    }

    /// Finds a block whose job committed to `slice`.
    pub(crate) fn find(&mut self, finder: WorkerId, slice: u64, reward: u64) -> BlockId {
        let candidate = self.forge.candidate(finder, slice, reward);
        self.ledger.candidate(&candidate).unwrap();
        candidate.hash
    }

    pub(crate) fn on_chain(&mut self, hash: BlockId, depth: u32) -> ledger::BlockChange {
        let now = self.now();
        self.ledger.on_chain(hash, depth, now).unwrap()
    }

    pub(crate) fn orphan(&mut self, hash: BlockId) -> ledger::BlockChange {
        let now = self.now();
        self.ledger.orphaned(hash, now).unwrap()
    }

    /// Credits of a block: account, kind, satoshis.
    pub(crate) fn credits(&self, hash: &BlockId) -> Vec<(String, &'static str, u64)> {
        let credits = self.reader().credits_of(hash).unwrap();
        credits
            .into_iter()
            .map(|credit| (credit.account, credit.kind.as_str(), credit.sats.to_sat()))
            .collect()
    }

    /// Immature and mature satoshis of an account.
    pub(crate) fn money(&self, account: &str) -> (u64, u64) {
        let view = self.reader().account(account).unwrap().unwrap();
        (view.immature.to_sat(), view.balance.to_sat())
    }

    /// That an audit finds nothing.
    pub(crate) fn assert_sound(&self) {
        assert_sound(&self.path());
    }

    /// A copy of the ledger as a kill would leave it now, in a folder of its own.
    pub(crate) fn killed_copy(&self, scheme: Scheme) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["pool.sqlite", "pool.sqlite-wal"] {
            std::fs::copy(self.dir.path().join(name), dir.path().join(name)).unwrap();
        }
        let ledger = Ledger::open(&dir.path().join("pool.sqlite"), settings(scheme)).unwrap();
        Self { dir, ledger, forge: Forge::starting_at(10_000) }
    }

    /// The ledger as a kill would leave it now, opened again.
    pub(crate) fn killed(self, scheme: Scheme) -> Self {
        Self { forge: self.forge.clone(), ..self.killed_copy(scheme) }
    }

    /// Drops the ledger and opens it again.
    pub(crate) fn reopen(self, scheme: Scheme) -> Self {
        let Self { dir, ledger, forge } = self;
        drop(ledger);
        let ledger = Ledger::open(&dir.path().join("pool.sqlite"), settings(scheme)).unwrap();
        Self { dir, ledger, forge }
    }
}

pub(crate) fn assert_sound(path: &Path) {
    let report = verify::ledger(path).unwrap();
    assert!(report.ok, "{:#?}", report.problems);
}

impl Forge {
    pub(crate) fn starting_at(serial: u64) -> Self {
        Self { serial, now: 0, roots: BTreeMap::new() }
    }

    pub(crate) fn now(&mut self) -> UnixMillis {
        self.now += 1_000;
        UnixMillis::new(1_790_000_000_000 + self.now)
    }

    pub(crate) fn share(&mut self, worker: WorkerId, work: u128) -> Share {
        let at = self.now();
        self.share_of(worker, work, BITS, at)
    }

    /// A share of a job with these bits.
    pub(crate) fn share_of(
        &mut self,
        worker: WorkerId,
        work: u128,
        bits: u32,
        at: UnixMillis,
    ) -> Share {
        self.serial += 1;
        let mut root = [0; 32];
        root[..8].copy_from_slice(&self.serial.to_le_bytes());
        let header = mined([7; 32], root, work, bits);
        let network_work = Target::from_compact(bits).unwrap().work();
        Share { worker, work: Work::new(work), network_work, at, header }
    }

    pub(crate) fn candidate(&mut self, finder: WorkerId, slice: u64, reward: u64) -> Candidate {
        self.candidate_paying(finder, slice, reward, &[])
    }

    /// A block whose coinbase pays these itself.
    pub(crate) fn candidate_paying(
        &mut self,
        finder: WorkerId,
        slice: u64,
        reward: u64,
        direct: &[Direct],
    ) -> Candidate {
        self.serial += 1;
        let rest = reward - direct.iter().map(|one| one.sats.to_sat()).sum::<u64>();
        let halves = [rest / 2, rest - rest / 2].map(|half| (half, vec![0x51]));
        let own = direct.iter().map(|one| (one.sats.to_sat(), one.script.clone()));
        let outputs: Vec<_> = halves.into_iter().chain(own).collect();
        let root = self.roots.get(&slice).copied().unwrap_or_default();
        let coinbase = coinbase(self.serial, &outputs, &commitment(slice, &root));
        let target = Target::from_compact(BITS).unwrap();
        let header =
            mined_to([7; 32], double_sha256(&coinbase), BITS, |hash| target.is_met_by(hash));
        let mut block = header.to_vec();
        block.push(1);
        block.extend_from_slice(&coinbase);
        Candidate {
            hash: double_sha256(&header),
            height: u32::try_from(self.serial).unwrap(),
            reward: sats(reward),
            network_work: Work::new(NETWORK_WORK),
            finder,
            committed_slice: SliceIndex::new(slice),
            direct: direct.to_vec(),
            block,
            at: self.now(),
        }
    }
}

/// What a coinbase carries for its newest slice.
fn commitment(slice: u64, root: &[u8; 32]) -> [u8; 36] {
    let tag = Sha256::digest("wattproof/commitment/1");
    let whole = [tag.as_slice(), &tag, &slice.to_be_bytes(), root].concat();
    let mut commitment = *b"WPC1................................";
    commitment[4..].copy_from_slice(&Sha256::digest(whole));
    commitment
}

/// A coinbase without witness with these outputs.
fn coinbase(serial: u64, outputs: &[(u64, Vec<u8>)], commitment: &[u8; 36]) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0, 1];
    bytes.extend_from_slice(&[0; 32]);
    bytes.extend_from_slice(&[0xff; 4]);
    bytes.extend_from_slice(&[9 + 37, 8]);
    bytes.extend_from_slice(&serial.to_le_bytes());
    bytes.push(36);
    bytes.extend_from_slice(commitment);
    bytes.extend_from_slice(&[0xff; 4]);
    bytes.push(u8::try_from(outputs.len()).unwrap());
    for (sats, script) in outputs {
        bytes.extend_from_slice(&sats.to_le_bytes());
        bytes.push(u8::try_from(script.len()).unwrap());
        bytes.extend_from_slice(script);
    }
    bytes.extend_from_slice(&[0; 4]);
    bytes
}

fn mined(previous: [u8; 32], root: [u8; 32], work: u128, bits: u32) -> [u8; 80] {
    mined_to(previous, root, bits, |hash| {
        let mut target = *hash;
        target.reverse();
        Target::from_be_bytes(target).work().get() >= work
    })
}

fn mined_to(
    previous: [u8; 32],
    root: [u8; 32],
    bits: u32,
    enough: impl Fn(&[u8; 32]) -> bool,
) -> [u8; 80] {
    let mut header = [0; 80];
    header[0] = 2;
    header[4..36].copy_from_slice(&previous);
    header[36..68].copy_from_slice(&root);
    header[72..76].copy_from_slice(&bits.to_le_bytes());
    for nonce in 0_u32.. {
        header[76..].copy_from_slice(&nonce.to_le_bytes());
        if enough(&double_sha256(&header)) {
            return header;
        }
    }
    unreachable!("some nonce of 2^32 gives a few hundred hashes of work")
}

pub(crate) fn double_sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(Sha256::digest(bytes)).into()
}

/// Every row of every projection, as text.
pub(crate) fn tables(path: &Path) -> Vec<String> {
    let conn = rusqlite::Connection::open(path).unwrap();
    let names: Vec<String> = conn
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let mut lines = Vec::new();
    for name in names {
        let mut statement = conn.prepare(&format!("SELECT * FROM {name} ORDER BY 1, 2")).unwrap();
        let columns = statement.column_count();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let values: Vec<_> =
                (0..columns).map(|at| row.get::<_, rusqlite::types::Value>(at).unwrap()).collect();
            lines.push(format!("{name}: {values:?}"));
        }
    }
    lines
}

/// Makes the next opening rebuild all projections from the log.
pub(crate) fn spoil_projections(path: &Path) {
    let conn = rusqlite::Connection::open(path).unwrap();
    conn.execute("UPDATE meta SET value = 0 WHERE key = 'projections'", []).unwrap();
}

pub(crate) fn refused(error: LedgerError) -> ledger::Refusal {
    let LedgerError::Refused(refusal) = error else { panic!("not a refusal: {error}") };
    refusal
}
