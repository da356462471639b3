//! The ledger, committing batches of shares as a pool does: one durable transaction a batch, a
//! slice closed now and then. The disk's flush dominates, so the figures are the disk's as much
//! as the program's.

use std::path::Path;

use ledger::{Ledger, Reader, Scheme, Settings, Share, WorkerId};
use units::{BasisPoints, UnixMillis, Work};

use super::CaseError;
use crate::measure::{Measured, Meter, WrongAnswer};

/// Shares in a batch, one variant each: a quiet pool, a busy one, a very busy one.
const BATCHES: [u32; 3] = [1, 100, 1000];
/// Batches in one pass, after which the slice is closed.
const BATCHES_A_PASS: u32 = 10;
/// Accounts that the shares are spread over.
const ACCOUNTS: u32 = 50;
const WORK: Work = Work::new(4_295_032_833);

/// Shares made durable per second.
pub(super) fn run(meter: &Meter, dir: &Path) -> Result<Vec<Measured>, CaseError> {
    let mut measured = Vec::new();
    for shares in BATCHES {
        let folder = tempfile::tempdir_in(dir)
            .map_err(|error| CaseError::Directory { dir: dir.to_owned(), error })?;
        let path = folder.path().join("bench.sqlite");
        let mut book = Book::open(&path, shares)?;
        let plural = if shares == 1 { "" } else { "s" };
        let name = format!("ledger/{shares} share{plural} a commit");
        measured.push(meter.run(name, "shares", || book.pass())?);
        book.check(&path)?;
    }
    Ok(measured)
}

/// A ledger and what was put into it.
struct Book {
    ledger: Ledger,
    workers: Vec<WorkerId>,
    batch: u32,
    committed: u64,
}

impl Book {
    fn open(path: &Path, batch: u32) -> Result<Self, CaseError> {
        let mut ledger = Ledger::open(path, settings())?;
        let workers = (0..ACCOUNTS)
            .map(|number| ledger.worker(&format!("account{number}"), "rig1", at(0)))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self { ledger, workers, batch, committed: 0 })
    }

    fn pass(&mut self) -> Result<u64, CaseError> {
        for _ in 0..BATCHES_A_PASS {
            let first = self.committed + 1;
            let shares: Vec<Share> =
                (first..).zip(0..self.batch).map(|(number, _)| self.share(number)).collect();
            let committed = self.ledger.commit(&shares)?;
            self.committed += u64::from(self.batch);
            WrongAnswer::unless_equal("first number", &first, &committed.first_seq)?;
            WrongAnswer::unless_equal("last number", &self.committed, &committed.last_seq)?;
        }
        let head = self.ledger.close_slice(at(self.committed))?;
        let expected = u64::from(BATCHES_A_PASS * self.batch);
        WrongAnswer::unless_equal("shares of the slice", &expected, &head.shares)?;
        Ok(expected)
    }

    fn share(&self, number: u64) -> Share {
        let mut header = [0; 80];
        header[..8].copy_from_slice(&number.to_le_bytes());
        let turn = usize::try_from(number % u64::from(ACCOUNTS)).expect("below fifty");
        let network_work = Work::new(1 << 70);
        let worker = self.workers[turn];
        Share { worker, work: WORK, network_work, at: at(number), header }
    }

    /// What a reader of the file sees is what was committed.
    fn check(&self, path: &Path) -> Result<(), CaseError> {
        let totals = Reader::open(path)?.totals()?;
        let work = u128::from(self.committed) * WORK.get();
        WrongAnswer::unless_equal("shares", &self.committed, &totals.shares)?;
        WrongAnswer::unless_equal("work", &Work::new(work), &totals.work)?;
        Ok(())
    }
}

fn settings() -> Settings {
    Settings {
        scheme: Scheme::Pplns { window_hundredths: 200 },
        fee: BasisPoints::new(100).expect("one percent is at most all"),
        fee_account: "pool".to_owned(),
        maturity: 100,
        best_headers: 256,
    }
}

fn at(millis: u64) -> UnixMillis {
    UnixMillis::new(1_795_309_039_000 + millis)
}
