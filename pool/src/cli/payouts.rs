//! `wattproof-pool payout …`: orders, and what became of them. Reading works always; an order goes
//! to the pool that runs on the ledger, or is carried out here where none does.

#![expect(clippy::print_stdout, reason = "a command line prints")]

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Subcommand};
use ledger::Reader;
use serde_json::{Value, json};

use super::{ConfigFile, Failure, read};
use crate::{
    payout::{self, Order},
    tables,
};

/// What can be asked about payouts.
#[derive(Debug, Subcommand)]
pub(super) enum Payout {
    /// Plan a payout of all that is due and keep it; nothing goes out
    Plan {
        #[command(flatten)]
        common: Common,
        /// Only show what it would be
        #[arg(long)]
        dry_run: bool,
    },
    /// Send what is planned, or else plan a payout of all that is due and send it
    Run {
        #[command(flatten)]
        common: Common,
        /// Only show what it would be
        #[arg(long)]
        dry_run: bool,
    },
    /// Print the PSBT of a payout that waits for its signature, in base64
    ExportPsbt {
        #[command(flatten)]
        common: Common,
        /// Number of the payout
        payout: u64,
    },
    /// Take a signed PSBT and send its payout
    ImportPsbt {
        #[command(flatten)]
        common: Common,
        /// A file with the PSBT in base64
        psbt: PathBuf,
    },
    /// Replace a payout that is stuck by one with a higher fee
    Bump {
        #[command(flatten)]
        common: Common,
        /// Number of the payout
        payout: u64,
        /// Satoshis a virtual byte; a good one where not given
        #[arg(long, value_name = "RATE")]
        fee_rate: Option<u64>,
        /// Only show what it would be
        #[arg(long)]
        dry_run: bool,
    },
    /// Take a payout back that nobody outside has seen
    Cancel {
        #[command(flatten)]
        common: Common,
        /// Number of the payout
        payout: u64,
    },
    /// Make no payouts until resumed; those that are out are followed all the same
    Pause {
        #[command(flatten)]
        common: Common,
        /// Why, for whoever reads it later
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Make payouts again
    Resume {
        #[command(flatten)]
        common: Common,
    },
    /// Set from how much on an account is paid, by its owner's signature
    Threshold {
        #[command(flatten)]
        common: Common,
        /// The account: its address
        account: String,
        /// Satoshis
        satoshis: u64,
        /// The time in the signed message, Unix milliseconds
        time: u64,
        /// BIP 322 signature (simple, base64); without it, the message to be signed is printed
        signature: Option<String>,
    },
    /// What is owed, under way and paid, and the newest payouts
    Status {
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, Args)]
pub(super) struct Common {
    #[command(flatten)]
    file: ConfigFile,
    /// One JSON object on one line
    #[arg(long)]
    json: bool,
    /// Where the running pool's page is, where not at http.listen
    #[arg(long, value_name = "ADDR")]
    pool: Option<SocketAddr>,
}

/// Does what is asked and prints what came of it.
pub(super) fn execute(what: &Payout) -> Result<(), Failure> {
    let (common, order) = match what {
        Payout::Plan { common, dry_run } => (common, Order::Plan { dry_run: *dry_run }),
        Payout::Run { common, dry_run } => (common, Order::Run { dry_run: *dry_run }),
        Payout::ExportPsbt { common, payout } => (common, Order::ExportPsbt { payout: *payout }),
        Payout::ImportPsbt { common, psbt } => {
            let psbt = std::fs::read_to_string(psbt)
                .map_err(|error| Failure::Usage(format!("{}: {error}", psbt.display())))?;
            (common, Order::ImportPsbt { psbt })
        }
        Payout::Bump { common, payout, fee_rate, dry_run } => {
            let (payout, fee_rate, dry_run) = (*payout, *fee_rate, *dry_run);
            (common, Order::Bump { payout, fee_rate, dry_run })
        }
        Payout::Cancel { common, payout } => (common, Order::Cancel { payout: *payout }),
        Payout::Pause { common, reason } => (common, Order::Pause { reason: reason.clone() }),
        Payout::Resume { common } => (common, Order::Resume),
        Payout::Threshold { common, account, satoshis, time, signature } => {
            let (account, satoshis, time) = (account.clone(), *satoshis, *time);
            let Some(signature) = signature.clone() else {
                return message(common, &account, satoshis, time);
            };
            (common, Order::Threshold { account, satoshis, time, signature })
        }
        Payout::Status { common } => return status(common),
    };
    let (config, _) = read(&common.file)?;
    let done = payout::carry_out(&config, order, common.pool).map_err(Failure::Failed)?;
    print(common, &done);
    Ok(())
}

fn message(common: &Common, account: &str, satoshis: u64, time: u64) -> Result<(), Failure> {
    let (config, _) = read(&common.file)?;
    let sats = units::Sats::from_sat(satoshis).map_err(|e| Failure::Usage(e.to_string()))?;
    let stamp = units::UnixMillis::new(time);
    println!("{}", ledger::threshold_message(config.network.as_str(), account, sats, stamp));
    Ok(())
}

fn status(common: &Common) -> Result<(), Failure> {
    let (config, _) = read(&common.file)?;
    let path = &config.ledger.path;
    let failed = |error| Failure::Failed(format!("ledger {}: {error}", path.display()));
    let reader = Reader::open(path).map_err(failed)?;
    let (outbox, totals) = (reader.outbox().map_err(failed)?, reader.totals().map_err(failed)?);
    let payouts = tables::payouts(&reader).map_err(failed)?;
    let mut status = json!({
        "paused": outbox.paused || config.payouts.pause,
        "reason": outbox.reason,
        "satoshis_credited": totals.balance.to_sat(),
        "satoshis_sending": outbox.sending.to_sat(),
        "satoshis_paid": totals.paid.to_sat(),
        "network_fees": outbox.network_fees.to_sat(),
    });
    if common.json {
        status["payouts"] = Value::Array(payouts);
        print(common, &status);
    } else {
        print(common, &status);
        println!("\n{}", tables::aligned(&payouts, tables::PAYOUTS));
    }
    Ok(())
}

/// JSON, or a line for each field; a PSBT stands alone, for a file.
fn print(common: &Common, value: &Value) {
    if common.json {
        return println!("{value}");
    }
    if let Some(psbt) = value["psbt"].as_str() {
        return println!("{psbt}");
    }
    for (key, field) in value.as_object().into_iter().flatten() {
        let text = field.as_str().map_or_else(|| field.to_string(), str::to_owned);
        println!("{key:18} {text}");
    }
}
