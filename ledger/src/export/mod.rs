//! Writes bundles: all that a settlement, or an account's work, follows from, in a form that anyone
//! can check offline (`docs/bundle.md`, and `verify::bundle`, which shares nothing with this).
//!
//! Read [`Exporter`] first. It reads a ledger like any reader and writes lines of JSON; it checks
//! nothing that it writes, since whoever reads them does.

mod account;
mod lines;
mod round;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

pub use self::account::Over;
use self::lines::{BeforeLine, BlockLine, DirectLine, Out, RowLine, ShareLine, SliceLine, hexed};
use crate::block::display_hex;
use crate::error::LedgerError;
use crate::event::{CandidateFound, DirectPay, Event};
use crate::scheme::Rule;
use crate::settle::CreditKind;
use crate::store::{RawLedger, RawSlice};
use crate::types::{BlockId, Share};
use crate::verify::open_block;
use crate::window::{self, Unit};
use crate::{packed, record};

/// What cannot be exported, or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The bundle cannot be written.
    #[error("the bundle cannot be written: {0}")]
    Io(#[from] std::io::Error),
    /// There is no such thing.
    #[error("{0}")]
    Missing(String),
}

/// Writes bundles of one ledger, which may be in use meanwhile.
#[derive(Debug)]
pub struct Exporter {
    raw: RawLedger,
    /// All accounts' names, and the workers' accounts, by number less one.
    names: Vec<String>,
    workers: Vec<u32>,
    slices: Vec<RawSlice>,
}

/// Some slices in a row with their indices, oldest first.
type Slices<'a> = Vec<(u64, &'a RawSlice)>;

/// A found block with what it is settled by.
struct Found {
    /// Its event.
    event: u64,
    terms: CandidateFound,
    bytes: Vec<u8>,
}

impl Exporter {
    /// Opens the ledger at `path` for reading.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn open(path: &Path) -> Result<Self, ExportError> {
        let raw = RawLedger::open(path)?;
        let (names, workers) = raw.names()?;
        let slices = raw.closed_slices()?;
        Ok(Self { raw, names, workers, slices })
    }

    /// Writes the bundle of a settled block: every share of its window, every credit.
    ///
    /// # Errors
    /// When the block is unknown or not settled, the ledger cannot be read, or `out` fails.
    pub fn block(&self, hash: &BlockId, out: &mut dyn Write) -> Result<(), ExportError> {
        let found = self.found(hash)?;
        let credits = self.raw.credits(found.event)?;
        if credits.is_empty() && found.terms.reward > 0 {
            return Err(missing(format!("the block {} is not settled", display_hex(hash))));
        }
        let (slices, before) = self.window(&found)?;
        let shares = slices.iter().fold(0_u64, |sum, (_, slice)| sum.saturating_add(slice.shares));
        let mut out = Out::begin(out, "block", shares)?;
        out.block(&self.block_line(&found)?)?;
        if let Some(before) = before {
            out.before(&before_line(&before)?)?;
        }
        let mut accounts: BTreeSet<u32> = credits.iter().map(|credit| credit.0).collect();
        for (index, _) in &slices {
            accounts.extend(self.raw.slice_rows(*index)?.iter().map(|row| row.0));
        }
        for id in accounts {
            out.account(id, self.name_of(id)?)?;
        }
        for (index, slice) in &slices {
            self.whole_slice(&mut out, *index, slice)?;
        }
        for (account, kind, satoshis) in credits {
            let kind = CreditKind::from_code(kind);
            let purpose = kind.ok_or_else(|| LedgerError::damaged("a credit of no kind"))?;
            out.credit(account, purpose.as_str(), satoshis)?;
        }
        Ok(out.end()?)
    }

    fn found(&self, hash: &BlockId) -> Result<Found, ExportError> {
        let event = self.raw.block_event(hash)?;
        let event =
            event.ok_or_else(|| missing(format!("no block {} was found", display_hex(hash))))?;
        self.found_by(event)
    }

    fn found_by(&self, event: u64) -> Result<Found, ExportError> {
        let rows = self.raw.events(event.saturating_sub(1), event)?;
        let row = rows.into_iter().next();
        let row = row.ok_or_else(|| LedgerError::damaged("a block's event is missing"))?;
        match (Event::from_row(event, &row.kind, &row.body)?, row.data) {
            (Event::CandidateFound(terms), Some(bytes)) => Ok(Found { event, terms, bytes }),
            _ => Err(LedgerError::damaged(format!("event {event} found no block")).into()),
        }
    }

    fn block_line(&self, found: &Found) -> Result<BlockLine, ExportError> {
        let BeforeLine { header, coinbase, branch } = before_line(found)?;
        let terms = &found.terms;
        Ok(BlockLine {
            header,
            coinbase,
            branch,
            height: terms.height,
            reward: terms.reward.to_string(),
            network_work: terms.network_work.to_string(),
            finder: self.account_of(terms.finder)?,
            slice: terms.slice,
            scheme: scheme_of(terms).to_owned(),
            window_hundredths: terms.window_hundredths,
            window_ms: terms.window_ms,
            fee_basis_points: terms.fee_basis_points,
            fee_account: terms.fee_account,
            direct: terms.direct.iter().map(direct_line).collect(),
        })
    }

    /// The slices of a block's window, oldest first: the committed one, and those before it while
    /// the window reaches back into them. Of a round also the block that ended the one before.
    fn window(&self, found: &Found) -> Result<(Slices<'_>, Option<Found>), ExportError> {
        let terms = &found.terms;
        let scheme = terms.scheme.as_deref();
        let rule = Rule::of(scheme, terms.window_hundredths, terms.window_ms)?;
        let (length, unit) = match rule {
            Rule::Finder | Rule::Reserve => (0, Unit::Work),
            Rule::Scores { hundredths } => (window::blocks(hundredths), Unit::Score),
            Rule::Work { hundredths } => {
                let network = units::Work::new(terms.network_work);
                (window::length(hundredths, network), Unit::Work)
            }
            Rule::Round => return self.round(found),
            Rule::Time { millis } => return Ok((self.since(terms.slice, millis)?, None)),
        };
        let mut slices = Vec::new();
        let mut covered = 0_u128;
        let mut index = terms.slice;
        while index > 0 && (slices.is_empty() || covered < length) {
            let slice = self.slice(index)?;
            covered = covered.saturating_add(match unit {
                Unit::Work => slice.work,
                Unit::Score => {
                    let before = index.checked_sub(2).and_then(|place| usize::try_from(place).ok());
                    let before = before.and_then(|place| self.slices.get(place));
                    slice.score_end.saturating_sub(before.map_or(0, |before| before.score_end))
                }
            });
            slices.push((index, slice));
            index = index.saturating_sub(1);
        }
        slices.reverse();
        Ok((slices, None))
    }

    /// The slices up to `last` that were not over so long before that was closed.
    fn since(&self, last: u64, millis: u64) -> Result<Slices<'_>, ExportError> {
        let mut slices = Vec::new();
        let mut index = last;
        while index > 0 {
            let slice = self.slice(index)?;
            if self.form_of(slice)? < 3 {
                return Err(missing(format!(
                    "an earlier version closed slice {index}, and its root does not say when: \
                     verify the whole ledger"
                )));
            }
            slices.push((index, slice));
            let cut = self.slice(last)?.closed_at.saturating_sub(millis);
            if self.opened(index)? <= cut {
                break;
            }
            index = index.saturating_sub(1);
        }
        slices.reverse();
        Ok(slices)
    }

    /// When the slice before was closed; 0 for the first.
    fn opened(&self, index: u64) -> Result<u64, ExportError> {
        match index.saturating_sub(1) {
            0 => Ok(0),
            before => Ok(self.slice(before)?.closed_at),
        }
    }

    fn slice(&self, index: u64) -> Result<&RawSlice, ExportError> {
        let place = index.checked_sub(1).and_then(|place| usize::try_from(place).ok());
        let slice = place.and_then(|place| self.slices.get(place));
        slice.ok_or_else(|| missing(format!("slice {index} is not closed")))
    }

    /// A slice with its rows and shares.
    fn whole_slice(
        &self,
        out: &mut Out<'_>,
        index: u64,
        slice: &RawSlice,
    ) -> Result<(), ExportError> {
        out.slice(&self.slice_line(index, slice)?)?;
        for (account, shares, work, _) in self.raw.slice_rows(index)? {
            out.row(&RowLine { account, shares, work: work.to_string() })?;
        }
        self.for_each_share(index, slice, |number, account, share| {
            Ok(out.share(&share_line(number, account, share))?)
        })
    }

    fn slice_line(&self, index: u64, slice: &RawSlice) -> Result<SliceLine, ExportError> {
        let previous = match index.saturating_sub(1) {
            0 => [0; 32],
            before => self.slice(before)?.root,
        };
        let form = self.form_of(slice)?;
        let times = (form > 2).then_some((self.opened(index)?, slice.closed_at));
        Ok(SliceLine {
            index,
            form,
            previous: hexed(&previous),
            opened: times.map(|(opened, _)| opened),
            closed: times.map(|(_, closed)| closed),
            shares: slice.shares,
            work: slice.work.to_string(),
            accounts: slice.accounts,
            root: hexed(&slice.root),
        })
    }

    /// How a slice's root is made.
    fn form_of(&self, slice: &RawSlice) -> Result<u8, ExportError> {
        let at = slice.close_event;
        let row = self.raw.events(at.saturating_sub(1), at)?.into_iter().next();
        let row = row.ok_or_else(|| LedgerError::damaged("a slice's event is missing"))?;
        let Event::SliceClosed(closed) = Event::from_row(at, &row.kind, &row.body)? else {
            return Err(LedgerError::damaged(format!("event {at} closed no slice")).into());
        };
        Ok(closed.form.unwrap_or(1))
    }

    /// Hands each share of a slice to `visit`, in order, with its number and its account.
    fn for_each_share(
        &self,
        index: u64,
        slice: &RawSlice,
        mut visit: impl FnMut(u64, u32, &Share) -> Result<(), ExportError>,
    ) -> Result<(), ExportError> {
        let mut after = match index.saturating_sub(1) {
            0 => 0,
            before => self.slice(before)?.close_event,
        };
        loop {
            let events = self.raw.events(after, slice.close_event)?;
            let Some(last) = events.last() else { return Ok(()) };
            after = last.seq;
            for row in &events {
                let whole = match row.kind.as_str() {
                    "shares" => packed::shares,
                    "batch" => record::whole_shares,
                    "entries" => {
                        return Err(missing(format!(
                            "the headers of slice {index} are not kept any more \
                             (ledger.keep_days says for how long)"
                        )));
                    }
                    _ => continue,
                };
                let (Event::Shares(batch) | Event::Batch(batch)) =
                    Event::from_row(row.seq, &row.kind, &row.body)?
                else {
                    continue;
                };
                let shares = whole(row.data.as_deref().unwrap_or_default())?;
                for (number, share) in (batch.first..).zip(&shares) {
                    visit(number, self.account_of(share.worker.get())?, share)?;
                }
            }
        }
    }

    fn name_of(&self, account: u32) -> Result<&str, ExportError> {
        let place = account.checked_sub(1).and_then(|place| usize::try_from(place).ok());
        let name = place.and_then(|place| self.names.get(place));
        Ok(name.ok_or_else(|| LedgerError::damaged(format!("account {account} is missing")))?)
    }

    fn account_of(&self, worker: u32) -> Result<u32, ExportError> {
        let place = worker.checked_sub(1).and_then(|place| usize::try_from(place).ok());
        let account = place.and_then(|place| self.workers.get(place)).copied();
        Ok(account.ok_or_else(|| LedgerError::damaged(format!("worker {worker} is missing")))?)
    }
}

/// The name of a block's scheme; that of the first two formats' PPLNS is `pplns-work`.
fn scheme_of(terms: &CandidateFound) -> &str {
    let old = if terms.window_hundredths == 0 { "solo" } else { "pplns-work" };
    terms.scheme.as_deref().unwrap_or(old)
}

fn before_line(found: &Found) -> Result<BeforeLine, ExportError> {
    let opened = open_block(&found.bytes).map_err(LedgerError::damaged)?;
    Ok(BeforeLine {
        header: hex::encode(opened.header),
        coinbase: hex::encode(opened.coinbase),
        branch: opened.branch.iter().map(hex::encode).collect(),
    })
}

fn direct_line(pay: &DirectPay) -> DirectLine {
    DirectLine { account: pay.account, script: pay.script.clone(), satoshis: pay.sats.to_string() }
}

fn share_line(number: u64, account: u32, share: &Share) -> ShareLine {
    ShareLine {
        number,
        account,
        work: share.work.get().to_string(),
        network_work: share.network_work.get().to_string(),
        at: share.at.get(),
        header: hex::encode(share.header),
    }
}

const fn missing(what: String) -> ExportError {
    ExportError::Missing(what)
}
