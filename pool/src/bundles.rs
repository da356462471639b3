//! `export` and `verify block|account` of the command line: bundles of a ledger written to files, and
//! checked from files or from the ledger itself, beside a running pool and without one.
//!
//! Read [`Export`] and [`VerifyBundle`] first. What a bundle says and how it is checked is
//! `ledger::Exporter`'s and `ledger::verify::bundle`'s; here are arguments, files and sentences.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Read as _, Seek as _, Write},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use ledger::{
    BlockId, ExportError, Exporter, Over, WorkEstimate,
    verify::bundle::{self, AccountProof, BlockProof, BundleError, Sample},
};
use serde_json::json;

use crate::{
    blocks::shown,
    cli::{Failure, LedgerArgs},
    receipts::{RECEIPT_BYTES_MAX, Receipt},
};

/// What `export` writes.
#[derive(Debug, Subcommand)]
pub(crate) enum Export {
    /// All that the settlement of a block follows from
    Block {
        /// The block
        #[arg(value_name = "HASH", value_parser = block_hash)]
        hash: BlockId,
        #[command(flatten)]
        to: ExportArgs,
    },
    /// The proof of an account's work below the roots of slices
    Account {
        /// The account, as it is paid
        #[arg(value_name = "ACCOUNT")]
        account: String,
        #[command(flatten)]
        over: OverArgs,
        #[command(flatten)]
        to: ExportArgs,
    },
}

/// Where an export comes from and goes to.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    ledger: LedgerArgs,
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// Which slices an account's proof is over; the newest where nothing is said.
#[derive(Debug, Args)]
pub(crate) struct OverArgs {
    /// The slices of this block's window, up to its coinbase
    #[arg(long, value_name = "HASH", value_parser = block_hash, conflicts_with = "slice")]
    block: Option<BlockId>,
    /// One slice
    #[arg(long, value_name = "N")]
    slice: Option<u64>,
    /// Leave the account's shares out: a short proof of their sum
    #[arg(long)]
    sums_only: bool,
}

/// What is checked, and how much of it.
#[derive(Debug, Args)]
pub(crate) struct VerifyBundle {
    #[command(flatten)]
    ledger: LedgerArgs,
    /// An exported bundle, in place of a ledger
    #[arg(long, value_name = "FILE", conflicts_with_all = ["config", "dir"])]
    bundle: Option<PathBuf>,
    /// Hash so many headers again, chosen at random, and not all
    #[arg(long, value_name = "N")]
    sample: Option<u64>,
    /// One JSON object instead of sentences
    #[arg(long)]
    json: bool,
}

/// What a check found.
#[derive(Debug)]
pub(crate) struct Checked {
    /// What is printed.
    pub(crate) text: Option<String>,
    /// Why the bundle is not believed, if it is not.
    pub(crate) refused: Option<String>,
}

/// What is checked about a receipt.
#[derive(Debug, Args)]
pub(crate) struct VerifyReceipt {
    /// The receipt, as /api/v1/accounts/ACCOUNT/receipt gave it
    #[arg(value_name = "FILE")]
    receipt: PathBuf,
    /// The pool's public key, from anywhere but the receipt
    #[arg(long, value_name = "HEX")]
    key: Option<String>,
    /// Only look at the signature, and not for the shares
    #[arg(long)]
    signature_only: bool,
    #[command(flatten)]
    bundle: VerifyBundle,
}

/// Checks a receipt: its signature, and that its slice has the shares.
pub(crate) fn verify_receipt(args: &VerifyReceipt) -> Result<Checked, Failure> {
    let path = &args.receipt;
    let failed = |error: &dyn core::fmt::Display| {
        Failure::Failed(format!("receipt {}: {error}", path.display()))
    };
    let file = File::open(path).map_err(|error| failed(&error))?;
    let mut text = String::new();
    let read = file.take(RECEIPT_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|error| failed(&error))?;
    let owed = Receipt::check(&text, args.key.as_deref()).map_err(|error| failed(&error))?;
    let signed = format!(
        "The pool signed for {} shares of {} hashes of {} in slice {}.",
        owed.shares,
        owed.work.get(),
        owed.account,
        owed.slice
    );
    if args.signature_only {
        return Ok(Checked { text: Some(signed), refused: None });
    }
    let over = Over::Slice(owed.slice.get());
    let bundle = &args.bundle;
    let mut reader =
        bundle.open(|exporter, out| exporter.account(&owed.account, over, true, out))?;
    let checked = bundle::account(&mut *reader, Some(&owed.account), Some(&owed), bundle.sample()?);
    let what = format!("the proof of {}", owed.account);
    let mut checked = report(&what, checked, bundle.json, account_json, account_text);
    if !bundle.json
        && let Some(text) = &mut checked.text
    {
        *text = format!("{signed} They are there.\n{text}");
    }
    Ok(checked)
}

/// Writes a bundle.
pub(crate) fn export(what: &Export) -> Result<(), Failure> {
    match what {
        Export::Block { hash, to } => to.write(|exporter, out| exporter.block(hash, out)),
        Export::Account { account, over, to } => {
            to.write(|exporter, out| exporter.account(account, over.over(), !over.sums_only, out))
        }
    }
}

/// Checks the settlement of a block.
pub(crate) fn verify_block(hash: &BlockId, args: &VerifyBundle) -> Result<Checked, Failure> {
    let mut reader = args.open(|exporter, out| exporter.block(hash, out))?;
    let checked = bundle::block(&mut *reader, Some(hash), args.sample()?);
    let what = format!("the settlement of block {}", shown(hash));
    Ok(report(&what, checked, args.json, block_json, block_text))
}

/// Checks the proof of an account.
pub(crate) fn verify_account(
    account: &str,
    over: &OverArgs,
    args: &VerifyBundle,
) -> Result<Checked, Failure> {
    let mut reader =
        args.open(|exporter, out| exporter.account(account, over.over(), !over.sums_only, out))?;
    let checked = bundle::account(&mut *reader, Some(account), None, args.sample()?);
    let what = format!("the proof of {account}");
    Ok(report(&what, checked, args.json, account_json, account_text))
}

fn report<T>(
    what: &str,
    checked: Result<T, BundleError>,
    as_json: bool,
    to_json: fn(&T) -> serde_json::Value,
    to_text: fn(&T) -> String,
) -> Checked {
    match checked {
        Ok(proof) => {
            let text = if as_json { to_json(&proof).to_string() } else { to_text(&proof) };
            Checked { text: Some(text), refused: None }
        }
        Err(error) => {
            let problem = json!({ "ok": false, "problem": error.to_string() });
            Checked {
                text: as_json.then(|| problem.to_string()),
                refused: Some(format!("{what} is refused: {error}")),
            }
        }
    }
}

impl ExportArgs {
    /// The file has its name once it is whole.
    fn write(
        &self,
        write: impl FnOnce(&Exporter, &mut dyn Write) -> Result<(), ExportError>,
    ) -> Result<(), Failure> {
        let path = &self.output;
        let failed = |error: &dyn core::fmt::Display| {
            Failure::Failed(format!("{}: {error}", path.display()))
        };
        let exporter = self.ledger.exporter()?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let file = tempfile::NamedTempFile::new_in(folder.unwrap_or_else(|| Path::new(".")))
            .map_err(|error| failed(&error))?;
        write(&exporter, &mut BufWriter::new(&file)).map_err(|error| failed(&error))?;
        file.as_file().sync_all().map_err(|error| failed(&error))?;
        file.persist(path).map_err(|error| failed(&error.error))?;
        Ok(())
    }
}

impl OverArgs {
    fn over(&self) -> Over<'_> {
        match (&self.block, self.slice) {
            (Some(hash), _) => Over::Block(hash),
            (None, Some(slice)) => Over::Slice(slice),
            (None, None) => Over::Newest,
        }
    }
}

impl VerifyBundle {
    /// The bundle that was named, or one of the ledger that lies nowhere but here.
    fn open(
        &self,
        write: impl FnOnce(&Exporter, &mut dyn Write) -> Result<(), ExportError>,
    ) -> Result<Box<dyn BufRead>, Failure> {
        if let Some(path) = &self.bundle {
            let file = File::open(path)
                .map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))?;
            return Ok(Box::new(BufReader::new(file)));
        }
        let exporter = self.ledger.exporter()?;
        let failed = |error: ExportError| Failure::Failed(error.to_string());
        let scratch = |error: io::Error| Failure::Failed(format!("a file to work in: {error}"));
        let mut file = tempfile::tempfile().map_err(scratch)?;
        write(&exporter, &mut BufWriter::new(&file)).map_err(failed)?;
        file.rewind().map_err(scratch)?;
        Ok(Box::new(BufReader::new(file)))
    }

    fn sample(&self) -> Result<Sample, Failure> {
        let Some(wanted) = self.sample else { return Ok(Sample::All) };
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)
            .map_err(|error| Failure::Failed(format!("no randomness to choose by: {error}")))?;
        Ok(Sample::Some { wanted, seed })
    }
}

impl LedgerArgs {
    fn exporter(&self) -> Result<Exporter, Failure> {
        let path = self.path()?;
        Exporter::open(&path)
            .map_err(|error| Failure::Failed(format!("ledger {}: {error}", path.display())))
    }
}

/// A block's hash as it is shown, in internal order.
pub(crate) fn block_hash(text: &str) -> Result<BlockId, String> {
    let mut hash = [0; 32];
    hex::decode_to_slice(text, &mut hash).map_err(|error| format!("64 hex digits: {error}"))?;
    hash.reverse();
    Ok(hash)
}

fn block_json(proof: &BlockProof) -> serde_json::Value {
    let credits: Vec<_> = proof
        .credits
        .iter()
        .map(|(account, purpose, satoshis)| {
            json!({ "account": account, "for": purpose, "satoshis": satoshis.to_string() })
        })
        .collect();
    json!({
        "ok": true,
        "hash": shown(&proof.hash),
        "height": proof.height,
        "reward_satoshis": proof.reward.to_string(),
        "scheme": proof.scheme,
        "before": proof.before.as_ref().map(|(hash, height)| {
            json!({"hash": shown(hash), "height": height})
        }),
        "slice": proof.slice,
        "root": hex::encode(proof.root),
        "slices": proof.slices,
        "shares": proof.shares,
        "headers_hashed": proof.hashed,
        "window_work": proof.window.to_string(),
        "credits": credits,
        "work": proof.work.iter().map(|(name, work)| work_json(name, work)).collect::<Vec<_>>(),
    })
}

fn block_text(proof: &BlockProof) -> String {
    let mut lines = vec![
        format!(
            "The settlement of block {} is right: {} satoshis by {} over a window of {}.",
            shown(&proof.hash),
            proof.reward,
            proof.scheme,
            proof.window
        ),
        format!(
            "Its coinbase commits to slice {} with the root {}.",
            proof.slice,
            hex::encode(proof.root)
        ),
        format!(
            "{} slices and {} shares were recomputed, {} headers hashed again.",
            proof.slices, proof.shares, proof.hashed
        ),
    ];
    if let Some((before, height)) = &proof.before {
        lines.push(format!(
            "Its round begins behind the slice that block {} committed to. That this one is on the \
             chain at height {height}, and no block of the pool's between, is for the chain to say.",
            shown(before)
        ));
    }
    let credit = |(account, purpose, satoshis): &(String, &str, u64)| {
        format!("  {satoshis:>16} {purpose:<6} {account}")
    };
    lines.extend(proof.credits.iter().map(credit));
    if !proof.work.is_empty() {
        lines.push("What the headers show of each account's work in these slices:".to_owned());
        lines.extend(proof.work.iter().map(|(account, work)| work_text(account, work)));
    }
    lines.join("\n")
}

fn account_json(proof: &AccountProof) -> serde_json::Value {
    json!({
        "ok": true,
        "account": proof.account,
        "block": proof.block.as_ref().map(shown),
        "first_slice": proof.slices.0,
        "last_slice": proof.slices.1,
        "slices_with_work": proof.present,
        "root": hex::encode(proof.root),
        "shares": proof.shares,
        "work": proof.work.to_string(),
        "work_of_all": proof.all_work.to_string(),
        "shares_listed": proof.listed,
        "headers_hashed": proof.hashed,
        "estimate": proof.estimate.as_ref().map(|work| work_json(&proof.account, work)),
    })
}

/// An estimate of an account's work beside what was credited.
pub(crate) fn work_json(account: &str, work: &WorkEstimate) -> serde_json::Value {
    json!({
        "account": account,
        "claimed": work.claimed.to_string(),
        "estimated": work.estimated.to_string(),
        "low": work.low.to_string(),
        "high": work.high.to_string(),
        "headers": work.headers,
        "agrees": work.agrees(),
    })
}

fn work_text(account: &str, work: &WorkEstimate) -> String {
    format!(
        "  {account}: {} hashes claimed, {} by the lowest {} headers, {} to {} at 95 %{}",
        work.claimed,
        work.estimated,
        work.headers,
        work.low,
        work.high,
        if work.agrees() { "" } else { ": outside" }
    )
}

fn account_text(proof: &AccountProof) -> String {
    let by = proof.block.as_ref().map_or_else(
        || "compare this root with the one that the pool shows to others".to_owned(),
        |hash| format!("the coinbase of block {} commits to it", shown(hash)),
    );
    let work = proof.estimate.as_ref().map(|work| work_text(&proof.account, work));
    let shown = work.map_or_else(String::new, |work| format!("\n{work}"));
    format!(
        "{} has {} shares of {} hashes below the roots of slices {} to {}, of {} by all.\n\
         The newest root is {}: {by}.\n\
         {} shares came along, {} headers were hashed again.{shown}",
        proof.account,
        proof.shares,
        proof.work,
        proof.slices.0,
        proof.slices.1,
        proof.all_work,
        hex::encode(proof.root),
        proof.listed,
        proof.hashed
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use ledger::{Ledger, Scheme, Settings, Share};
    use units::{BasisPoints, UnixMillis, Work};

    use super::*;
    use crate::receipts;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(subcommand)]
        export: Export,
    }

    /// A ledger with one share of one hash, in a closed slice.
    fn ledger_in(dir: &Path) {
        let settings = Settings {
            scheme: Scheme::Solo,
            fee: BasisPoints::new(0).unwrap(),
            fee_account: "pool".to_owned(),
            maturity: 100,
            best_headers: 256,
        };
        let mut ledger = Ledger::open(&dir.join("pool.sqlite"), settings).unwrap();
        let now = UnixMillis::new(1_790_000_000_000);
        let worker = ledger.worker("alice", "rig", now).unwrap();
        let mut header = [0; 80];
        header[72..76].copy_from_slice(&0x207f_ffff_u32.to_le_bytes());
        let (work, network_work) = (Work::new(1), Work::new(2));
        ledger.commit(&[Share { worker, work, network_work, at: now, header }]).unwrap();
        ledger.close_slice(now).unwrap();
    }

    fn verify(bundle: Option<PathBuf>, dir: Option<PathBuf>, json: bool) -> VerifyBundle {
        VerifyBundle { ledger: LedgerArgs { config: None, dir }, bundle, sample: None, json }
    }

    #[test]
    fn a_receipt_is_held_against_the_ledger() {
        let dir = tempfile::tempdir().unwrap();
        ledger_in(dir.path());
        let reader = ledger::Reader::open(&dir.path().join("pool.sqlite")).unwrap();
        let mut shares = reader.acknowledged("alice").unwrap().unwrap();
        let key = receipts::load_or_create(&dir.path().join("pool.key")).unwrap();
        let signer = receipts::Signer::new(key);
        let path = dir.path().join("receipt.json");
        let check = |shares: &ledger::Acknowledged, key: String, signature_only| {
            let receipt = signer.receipt(shares, UnixMillis::new(7));
            std::fs::write(&path, serde_json::to_string(&receipt).unwrap()).unwrap();
            let (receipt, key) = (path.clone(), Some(key));
            let bundle = verify(None, Some(dir.path().to_owned()), false);
            verify_receipt(&VerifyReceipt { receipt, key, signature_only, bundle })
        };
        let checked = check(&shares, signer.public(), false).unwrap();
        assert!(
            checked.text.unwrap().contains("1 shares of 1 hashes of alice in slice 1. They are")
        );
        let Failure::Failed(why) = check(&shares, "00".repeat(32), true).unwrap_err() else {
            panic!("it is no usage error")
        };
        assert!(why.contains("receipt.json: it is signed with the key"), "{why}");
        // The pool signed for a share that its slice has not.
        shares.records[0] ^= 1;
        assert!(check(&shares, signer.public(), true).unwrap().refused.is_none());
        let refused = check(&shares, signer.public(), false).unwrap().refused.unwrap();
        assert!(refused.contains("are not the first in slice 1"), "{refused}");
    }

    #[test]
    fn a_proof_is_exported_and_checked_without_the_ledger() {
        let dir = tempfile::tempdir().unwrap();
        ledger_in(dir.path());
        let file = dir.path().join("alice.jsonl");
        let (of, to) = (dir.path().to_str().unwrap(), file.to_str().unwrap());
        let line = Line::parse_from(["export", "account", "alice", "--dir", of, "-o", to]);
        export(&line.export).unwrap();
        let over = || OverArgs { block: None, slice: None, sums_only: false };
        let here = || dir.path().to_owned();
        for (bundle, dir) in [(Some(file.clone()), None), (None, Some(here()))] {
            let checked = verify_account("alice", &over(), &verify(bundle, dir, true)).unwrap();
            let said: serde_json::Value = serde_json::from_str(&checked.text.unwrap()).unwrap();
            assert_eq!((&said["ok"], &said["work"]), (&json!(true), &json!("1")), "{said}");
            assert_eq!(checked.refused, None);
        }
        let lie = std::fs::read_to_string(&file).unwrap().replace("\"at\":179", "\"at\":180");
        std::fs::write(&file, lie).unwrap();
        let refused =
            verify_account("alice", &over(), &verify(Some(file.clone()), None, true)).unwrap();
        let problem = refused.refused.unwrap();
        assert!(problem.contains("alice is refused: line 5: the shares are not"), "{problem}");
        assert!(refused.text.unwrap().contains("\"ok\":false"));
        let unknown = verify_block(&[7; 32], &verify(None, Some(here()), false)).unwrap_err();
        let Failure::Failed(why) = unknown else { panic!("{unknown:?}") };
        assert!(why.contains("no block 0707"), "{why}");
        let bad = ["export", "block", "07", "--dir", of, "-o", to];
        assert!(Line::try_parse_from(bad).is_err());
    }
}
