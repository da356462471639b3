//! Accounts, blocks, balances and payouts as tables or JSON, and statements, for the command line:
//! read straight from the ledger's file, so that they work beside a running pool and without one.
//! What these commands take is here as well.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use ledger::{
    AccountPayout, AccountSummary, AccountView, Balance, BlockFilter, BlockState, BlockView,
    LedgerError, PayoutFilter, PayoutView, Reader, display_txid, verify::VerifyReport,
};
use serde_json::{Value, json};
use units::UnixMillis;

use crate::{
    blocks::shown,
    luck::{Luck, Watch},
    statement, when,
};

/// Rows that a table shows at most.
const ROWS_MAX: u32 = 10_000;
/// Lines that a statement has at most.
const LINES_MAX: u32 = 1_000_000;

/// Which table, and what of it.
#[derive(Debug)]
pub(crate) enum Table {
    Accounts { account: Option<String> },
    Blocks(BlockFilter),
    Balances { account: Option<String> },
    Payouts(PayoutFilter),
}

/// Rows of a list that comes from a filter.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    table: TableArgs,
    /// Only those in this state
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// Only those at this instant or later: 2026-11-28, 2026-11-28T07:15:26Z or milliseconds
    #[arg(long, value_name = "TIME", value_parser = when::argument)]
    since: Option<UnixMillis>,
    /// Only those before this instant
    #[arg(long, value_name = "TIME", value_parser = when::argument)]
    until: Option<UnixMillis>,
}

impl Table {
    /// The columns for people, in order: keys of its rows.
    const fn columns(&self) -> &'static [&'static str] {
        match self {
            Self::Accounts { .. } => &[
                "account",
                "shares",
                "work_hashes",
                "blocks_expected",
                "blocks_found",
                "blocks_orphaned",
                "luck_probability",
                "suspected",
            ],
            Self::Blocks(_) => {
                &["height", "state", "found", "satoshis", "hash", "finder", "worker"]
            }
            Self::Balances { .. } => &["account", "balance", "immature", "paid"],
            Self::Payouts(_) => &["payout", "state", "planned", "satoshis", "account", "txid"],
        }
    }
}

/// What every table takes.
#[derive(Debug, Args)]
pub(crate) struct TableArgs {
    /// The pool's configuration
    #[arg(short, long, value_name = "FILE", default_value = "pool.toml")]
    pub(crate) config: PathBuf,
    /// Only this account's
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    /// One JSON document instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

/// What a statement takes.
#[derive(Debug, Args)]
pub(crate) struct StatementArgs {
    /// The pool's configuration
    #[arg(short, long, value_name = "FILE", default_value = "pool.toml")]
    pub(crate) config: PathBuf,
    /// Whose
    #[arg(long, value_name = "ACCOUNT")]
    account: String,
    /// Its first instant: 2026-11-28, 2026-11-28T07:15:26Z or milliseconds since 1970
    #[arg(long, value_name = "TIME", value_parser = when::argument)]
    from: Option<UnixMillis>,
    /// The first instant after it
    #[arg(long, value_name = "TIME", value_parser = when::argument)]
    to: Option<UnixMillis>,
    /// As a table for spreadsheets, or as one JSON object
    #[arg(long, value_enum, default_value = "csv")]
    format: Format,
}

/// A statement's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Csv,
    Json,
}

impl ListArgs {
    /// The table of blocks that is asked for.
    ///
    /// # Errors
    /// When no block has such a state.
    pub(crate) fn blocks(self) -> Result<(TableArgs, Table), String> {
        let Self { table, state, since: from, until: to } = self;
        let state = state.map(|name| {
            let states = || BlockState::ALL.map(BlockState::as_str).join(", ");
            BlockState::parse(&name)
                .ok_or_else(|| format!("--state {name:?}: expected one of {}", states()))
        });
        let (state, account) = (state.transpose()?, table.account.clone());
        let filter = BlockFilter { state, account, from, to, before: None, limit: ROWS_MAX };
        Ok((table, Table::Blocks(filter)))
    }

    /// The table of payouts that is asked for.
    pub(crate) fn payouts(self) -> (TableArgs, Table) {
        let Self { table, state, since: from, until: to } = self;
        let account = table.account.clone();
        (table, Table::Payouts(PayoutFilter { state, account, from, to, limit: ROWS_MAX }))
    }
}

impl TableArgs {
    /// The table of accounts that is asked for.
    pub(crate) fn accounts(self) -> (Self, Table) {
        let account = self.account.clone();
        (self, Table::Accounts { account })
    }

    /// The table of balances that is asked for.
    pub(crate) fn balances(self) -> (Self, Table) {
        let account = self.account.clone();
        (self, Table::Balances { account })
    }
}

/// Renders a table of the ledger at `path`; `watch` says who is suspected.
///
/// # Errors
/// A line that names the ledger and what is wrong with it.
pub(crate) fn render(
    path: &Path,
    table: &Table,
    as_json: bool,
    watch: Watch,
) -> Result<String, String> {
    let rows = rows(path, table, watch).map_err(|error| named(path, &error))?;
    if let (Table::Accounts { account: Some(account) }, true) = (table, rows.is_empty()) {
        return Err(format!("ledger {}: it has no account {account:?}", path.display()));
    }
    Ok(if as_json { Value::Array(rows).to_string() } else { aligned(&rows, table.columns()) })
}

/// An account's statement in the ledger at `path`, with the end of its last line.
///
/// # Errors
/// A line that names the ledger and what is wrong with it, or that there is no such account.
pub(crate) fn statement(path: &Path, args: &StatementArgs) -> Result<String, String> {
    let from = args.from.unwrap_or_default();
    let to = args.to.unwrap_or(UnixMillis::new(u64::MAX));
    let read = || Reader::open(path)?.statement(&args.account, from, to, LINES_MAX);
    let statement = read().map_err(|error| named(path, &error))?.ok_or_else(|| {
        format!("ledger {}: it has no account {:?}", path.display(), args.account)
    })?;
    match args.format {
        Format::Csv => Ok(statement::csv(&statement)),
        Format::Json => serde_json::to_string(&statement::json(&statement))
            .map(|text| text + "\n")
            .map_err(|error| error.to_string()),
    }
}

fn named(path: &Path, error: &LedgerError) -> String {
    format!("ledger {}: {error}", path.display())
}

/// The verification's report as the contract's JSON object.
pub(crate) fn verified_json(report: &VerifyReport) -> String {
    json!({
        "ok": report.ok,
        "shares": report.shares,
        "without_header": report.without_header,
        "work": report.work.get().to_string(),
        "slices": report.slices,
        "accounts": report.accounts,
        "blocks": report.blocks,
        "satoshis_immature": report.immature.to_sat().to_string(),
        "satoshis_credited": report.balance.to_sat().to_string(),
        "satoshis_sending": report.sending.to_sat().to_string(),
        "satoshis_paid": report.paid.to_sat().to_string(),
        "payouts": report.payouts,
        "joules": report.energy.joules(),
        "problems": report.problems,
    })
    .to_string()
}

/// The same in sentences.
pub(crate) fn verified(report: &VerifyReport) -> String {
    let verdict = if report.ok { "The ledger is whole" } else { "The ledger is NOT whole" };
    let mut lines = vec![format!(
        "{verdict}: {} shares of {} hashes in {} slices, {} accounts, {} blocks.",
        report.shares,
        report.work.get(),
        report.slices,
        report.accounts,
        report.blocks
    )];
    if report.without_header > 0 {
        let count = report.without_header;
        lines.push(format!("Of {count} shares no header is kept any more."));
    }
    lines.extend(report.problems.iter().map(|problem| format!("  {problem}")));
    lines.join("\n")
}

fn rows(path: &Path, table: &Table, watch: Watch) -> Result<Vec<Value>, LedgerError> {
    let reader = Reader::open(path)?;
    Ok(match table {
        Table::Accounts { account } => accounts(&reader, account.as_deref(), watch)?,
        Table::Blocks(filter) => reader.blocks_where(filter)?.iter().map(block).collect(),
        Table::Balances { account } => {
            let of = |one: &Balance| account.as_ref().is_none_or(|name| *name == one.account);
            reader.balances()?.iter().filter(|one| of(one)).map(balance).collect()
        }
        Table::Payouts(filter) => reader.account_payouts(filter)?.iter().map(payout).collect(),
    })
}

/// Accounts with the most work, or the one of this name.
fn accounts(reader: &Reader, only: Option<&str>, watch: Watch) -> Result<Vec<Value>, LedgerError> {
    let summaries = match only {
        None => reader.accounts(ROWS_MAX)?,
        Some(name) => reader.account(name)?.into_iter().map(summary).collect(),
    };
    let all = reader.luck()?;
    let by_name: HashMap<_, _> = all.iter().map(|luck| (luck.account.as_str(), luck)).collect();
    let row = |account: &AccountSummary| {
        let luck = by_name.get(account.name.as_str()).copied().map(Luck::from).unwrap_or_default();
        json!({
            "account": account.name,
            "shares": account.shares,
            "work_hashes": account.work.get().to_string(),
            "blocks_expected": luck.expected_decimal(),
            "blocks_found": luck.found,
            "blocks_orphaned": luck.orphaned,
            "luck_probability": luck.at_most().get(),
            "suspected": watch.judge(luck, all.len()).is_some(),
        })
    };
    Ok(summaries.iter().map(row).collect())
}

fn summary(account: AccountView) -> AccountSummary {
    AccountSummary { name: account.name, work: account.work, shares: account.shares }
}

fn block(block: &BlockView) -> Value {
    json!({
        "height": block.height,
        "state": block.state.as_str(),
        "satoshis": block.reward.to_sat(),
        "finder": block.finder,
        "worker": block.finder_worker,
        "found": when::shown(block.found_at),
        "hash": shown(&block.hash),
    })
}

fn balance(balance: &Balance) -> Value {
    json!({
        "account": balance.account,
        "immature": balance.immature.to_sat(),
        "balance": balance.balance.to_sat(),
        "paid": balance.paid.to_sat(),
    })
}

fn payout(payout: &AccountPayout) -> Value {
    json!({
        "payout": payout.payout,
        "account": payout.account,
        "satoshis": payout.sats.to_sat(),
        "state": payout.state,
        "txid": payout.txid.as_ref().map(shown),
        "planned": when::shown(payout.at),
    })
}

/// The columns of [`payouts`], in order.
pub(crate) const PAYOUTS: &[&str] =
    &["payout", "state", "released", "accounts", "satoshis", "fee", "version", "height", "txid"];

/// The newest payouts, newest first.
pub(crate) fn payouts(reader: &Reader) -> Result<Vec<Value>, LedgerError> {
    let row = |payout: &PayoutView| {
        json!({
            "payout": payout.id.get(),
            "state": payout.state.as_str(),
            "released": payout.released,
            "accounts": payout.payments,
            "satoshis": payout.sats.to_sat(),
            "fee": payout.fee.to_sat(),
            "version": payout.version,
            "height": payout.height,
            "txid": display_txid(&payout.txid),
        })
    };
    Ok(reader.payouts(ROWS_MAX)?.iter().map(row).collect())
}

/// Columns as wide as their widest cell, numbers to the right.
pub(crate) fn aligned(rows: &[Value], names: &[&str]) -> String {
    if rows.is_empty() {
        return "(none)".to_owned();
    }
    let width = |name: &&str| {
        let cells = rows.iter().map(|row| cell(&row[*name]).chars().count());
        cells.max().unwrap_or(0).max(name.len())
    };
    let widths = Vec::from_iter(names.iter().map(width));
    let line = |cells: Vec<(String, bool)>| {
        let padded = cells.iter().zip(&widths).map(|((text, right), width)| {
            if *right { format!("{text:>width$}") } else { format!("{text:width$}") }
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let is_number = |name: &str| {
        rows[0][name].is_number() || ["hashes", "expected"].iter().any(|end| name.ends_with(end))
    };
    let mut lines = vec![line(names.iter().map(|n| ((*n).to_owned(), is_number(n))).collect())];
    for row in rows {
        lines.push(line(names.iter().map(|n| (cell(&row[*n]), is_number(n))).collect()));
    }
    lines.join("\n")
}

/// A cell as people read it: texts without quotes, nothing for null, three digits of a probability.
fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Bool(yes) => (if *yes { "yes" } else { "no" }).to_owned(),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(small) if small < 1e-3 => format!("{small:.2e}"),
            Some(float) => format!("{float:.3}"),
            None => number.to_string(),
        },
        Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_read_well() {
        for (value, text) in [
            (json!("a"), "a"),
            (json!(null), ""),
            (json!(true), "yes"),
            (json!(5_000_000_000_u64), "5000000000"),
            (json!(0.118_198), "0.118"),
            (json!(1.0), "1.000"),
            (json!(6.144e-6), "6.14e-6"),
        ] {
            assert_eq!(cell(&value), text);
        }
    }

    #[test]
    fn columns_line_up() {
        let rows = [json!({"account": "a", "shares": 5}), json!({"account": "bcd", "shares": 123})];
        let names = ["account", "shares"];
        assert_eq!(aligned(&rows, &names), "account  shares\na             5\nbcd         123");
        assert_eq!(aligned(&[], &names), "(none)");
    }
}
