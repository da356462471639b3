//! Accounts, blocks, balances and payouts as tables or JSON for the command line, read straight
//! from the ledger's file, so that they work beside a running pool and without one.

use std::path::Path;

use ledger::{LedgerError, PayoutView, Reader, display_txid, verify::VerifyReport};
use serde_json::{Value, json};

use crate::blocks::shown;

/// Rows that a table shows at most.
const ROWS_MAX: u32 = 10_000;

/// Which table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    Accounts,
    Blocks,
    Balances,
    Payouts,
}

/// Renders a table of the ledger at `path`.
///
/// # Errors
/// A line that names the ledger and what is wrong with it.
pub(crate) fn render(path: &Path, table: Table, as_json: bool) -> Result<String, String> {
    let rows = rows(path, table).map_err(|error| format!("ledger {}: {error}", path.display()))?;
    Ok(if as_json { Value::Array(rows).to_string() } else { aligned(&rows) })
}

/// The verification's report as the contract's JSON object.
pub(crate) fn verified_json(report: &VerifyReport) -> String {
    json!({
        "ok": report.ok,
        "shares": report.shares,
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
    lines.extend(report.problems.iter().map(|problem| format!("  {problem}")));
    lines.join("\n")
}

fn rows(path: &Path, table: Table) -> Result<Vec<Value>, LedgerError> {
    let reader = Reader::open(path)?;
    Ok(match table {
        Table::Accounts => reader
            .accounts(ROWS_MAX)?
            .iter()
            .map(|account| {
                json!({
                    "account": account.name,
                    "shares": account.shares,
                    "work_hashes": account.work.get().to_string(),
                })
            })
            .collect(),
        Table::Blocks => reader
            .blocks(ROWS_MAX)?
            .iter()
            .map(|block| {
                json!({
                    "height": block.height,
                    "state": block.state.as_str(),
                    "satoshis": block.reward.to_sat(),
                    "finder": block.finder,
                    "worker": block.finder_worker,
                    "hash": shown(&block.hash),
                })
            })
            .collect(),
        Table::Balances => reader
            .balances()?
            .iter()
            .map(|balance| {
                json!({
                    "account": balance.account,
                    "immature": balance.immature.to_sat(),
                    "balance": balance.balance.to_sat(),
                    "sending": balance.sending.to_sat(),
                    "paid": balance.paid.to_sat(),
                })
            })
            .collect(),
        Table::Payouts => payouts(&reader)?,
    })
}

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
pub(crate) fn aligned(rows: &[Value]) -> String {
    let Some(first) = rows.first().and_then(Value::as_object) else {
        return "(none)".to_owned();
    };
    let names: Vec<&String> = first.keys().collect();
    let cell = |row: &Value, name: &str| {
        let value = &row[name];
        value.as_str().map_or_else(|| value.to_string(), str::to_owned)
    };
    let width = |name: &str| {
        rows.iter().map(|row| cell(row, name).len()).max().unwrap_or(0).max(name.len())
    };
    let widths: Vec<usize> = names.iter().map(|name| width(name)).collect();
    let line = |cells: Vec<(String, bool)>| {
        let padded = cells.iter().zip(&widths).map(|((text, right), width)| {
            if *right { format!("{text:>width$}") } else { format!("{text:width$}") }
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let is_number = |name: &str| rows[0][name].is_number() || name.ends_with("hashes");
    let mut lines = vec![line(names.iter().map(|n| ((*n).clone(), is_number(n))).collect())];
    for row in rows {
        lines.push(line(names.iter().map(|n| (cell(row, n), is_number(n))).collect()));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [json!({"account": "a", "shares": 5}), json!({"account": "bcd", "shares": 123})];
        assert_eq!(aligned(&rows), "account  shares\na             5\nbcd         123");
        assert_eq!(aligned(&[]), "(none)");
    }
}
