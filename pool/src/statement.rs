//! An account's statement as JSON and as CSV: the same for the command line and the API.
//!
//! Read [`json`] and [`csv`]. Amounts are decimal strings in JSON, as everywhere in the API. The
//! first row of the CSV has the opening balance and the last one the closing balance; the column
//! `change` sums to their difference.

use ledger::{Statement, StatementItem, StatementLine};
use serde::Serialize;
use units::UnixMillis;

use crate::{blocks::shown, csv::Row, when};

/// A statement in JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Json<'a> {
    account: &'a str,
    /// First instant, in milliseconds since 1970.
    from: u64,
    /// First instant after it; null where it has no end.
    to: Option<u64>,
    satoshis: Sums,
    lines: Vec<Line<'a>>,
}

#[derive(Debug, Serialize)]
struct Sums {
    opening: String,
    credited: String,
    paid: String,
    direct: String,
    closing: String,
    immature: String,
    reversed: String,
}

#[derive(Debug, Serialize)]
struct Line<'a> {
    at: u64,
    time: String,
    kind: &'static str,
    state: &'a str,
    height: Option<u32>,
    block: Option<String>,
    txid: Option<String>,
    satoshis: String,
    change: String,
    balance: String,
}

const COLUMNS: [&str; 9] =
    ["time", "kind", "state", "height", "block", "txid", "satoshis", "change", "balance"];

/// The statement as one JSON object.
pub(crate) fn json(statement: &Statement) -> Json<'_> {
    Json {
        account: &statement.account,
        from: statement.from.get(),
        to: Some(statement.to.get()).filter(|to| *to < u64::MAX),
        satoshis: Sums {
            opening: statement.opening.to_string(),
            credited: statement.credited.to_sat().to_string(),
            paid: statement.paid.to_sat().to_string(),
            direct: statement.direct.to_sat().to_string(),
            closing: statement.closing.to_string(),
            immature: statement.immature.to_sat().to_string(),
            reversed: statement.reversed.to_sat().to_string(),
        },
        lines: statement.lines.iter().map(line).collect(),
    }
}

/// The statement as CSV with a line of names.
pub(crate) fn csv(statement: &Statement) -> String {
    let mut text = Row::of(&COLUMNS).line();
    text.push_str(&balance("opening", statement.from, statement.opening));
    for one in &statement.lines {
        let Line { kind, state, height, block, txid, satoshis, .. } = line(one);
        let height = height.map_or_else(String::new, |height| height.to_string());
        let row = Row::of(&[&when::shown(one.at), kind, state, &height])
            .text(&block.unwrap_or_default())
            .text(&txid.unwrap_or_default())
            .text(&satoshis)
            .number(one.change)
            .number(one.balance);
        text.push_str(&row.line());
    }
    text.push_str(&balance("closing", statement.to, statement.closing));
    text
}

/// A row with a balance alone; an end that is none has no time.
fn balance(kind: &str, at: UnixMillis, sats: i64) -> String {
    let time = if at.get() == u64::MAX { String::new() } else { when::shown(at) };
    let row = Row::of(&[&time, kind, "", "", "", "", ""]);
    row.number(0).number(sats).line()
}

fn line(line: &StatementLine) -> Line<'_> {
    let (kind, state, height, block, txid, sats) = match &line.item {
        StatementItem::Credit(credit) => (
            credit.kind.as_str(),
            credit.state.as_str(),
            Some(credit.height),
            Some(shown(&credit.block)),
            None,
            credit.sats,
        ),
        StatementItem::Slice(pay) => ("slice", "paid", None, None, None, pay.sats),
        StatementItem::Payout(payout) => {
            let txid = payout.txid.as_ref().map(shown);
            ("payout", payout.state.as_str(), None, None, txid, payout.sats)
        }
    };
    Line {
        at: line.at.get(),
        time: when::shown(line.at),
        kind,
        state,
        height,
        block,
        txid,
        satoshis: sats.to_sat().to_string(),
        change: line.change.to_string(),
        balance: line.balance.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use ledger::{AccountCredit, AccountPayout, BlockState, CreditKind};
    use units::Sats;

    use super::*;

    fn statement() -> Statement {
        let sats = |sats| Sats::from_sat(sats).unwrap();
        let at = UnixMillis::new(1_231_006_505_000);
        let credit = AccountCredit {
            block: [1; 32],
            height: 7,
            state: BlockState::Mature,
            kind: CreditKind::Share,
            sats: sats(50),
            found_at: at,
            state_at: at,
        };
        let payout = AccountPayout {
            payout: 3,
            account: "a".to_owned(),
            sats: sats(60),
            state: "=planned".to_owned(),
            txid: Some([2; 32]),
            at,
            debited: true,
        };
        let line = |item, change, balance| StatementLine { at, item, change, balance };
        Statement {
            account: "a".to_owned(),
            from: UnixMillis::new(0),
            to: UnixMillis::new(u64::MAX),
            opening: 20,
            lines: vec![
                line(StatementItem::Credit(credit), 50, 70),
                line(StatementItem::Payout(payout), -60, 10),
            ],
            closing: 10,
            credited: sats(50),
            paid: sats(60),
            direct: sats(0),
            immature: sats(1),
            reversed: sats(2),
        }
    }

    #[test]
    fn a_table_begins_and_ends_with_a_balance_and_its_changes_sum_to_their_difference() {
        let text = csv(&statement());
        let (one, two) = ("01".repeat(32), "02".repeat(32));
        let expected = [
            "time,kind,state,height,block,txid,satoshis,change,balance".to_owned(),
            "1970-01-01T00:00:00.000Z,opening,,,,,,0,20".to_owned(),
            format!("2009-01-03T18:15:05.000Z,share,mature,7,{one},,50,50,70"),
            format!("2009-01-03T18:15:05.000Z,payout,'=planned,,,{two},60,-60,10"),
            ",closing,,,,,,0,10".to_owned(),
        ];
        assert_eq!(Vec::from_iter(text.split_terminator("\r\n")), expected);
    }

    #[test]
    fn amounts_are_decimal_strings_in_json() {
        let statement = statement();
        let value = serde_json::to_value(json(&statement)).unwrap();
        let sums = serde_json::json!({
            "opening": "20", "credited": "50", "paid": "60", "closing": "10",
            "immature": "1", "reversed": "2",
        });
        assert_eq!(value["satoshis"], sums);
        assert!(value["to"].is_null());
        assert_eq!(value["lines"][0]["balance"], "70");
        assert_eq!(value["lines"][1]["change"], "-60");
        assert_eq!(value["lines"][1]["height"], serde_json::Value::Null);
    }
}
