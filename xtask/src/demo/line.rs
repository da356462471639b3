//! The demo's progress: one row a second under a heading that comes back every screen, and the
//! ways in which figures are written for people. It deliberately fixes no widths that would cut a
//! figure: a long one moves the row instead.

use crate::demo::api::PoolStatus;
use crate::demo::course::Rates;
use crate::demo::decimal::Decimal;

/// The heading over the rows.
pub(crate) fn heading() -> String {
    row(
        "time",
        "claimed",
        "proven",
        "shares",
        "blocks",
        "satoshis immature",
        "satoshis credited",
        "J/TH (source)",
        "grams",
    )
}

/// One second of the run.
pub(crate) fn progress(seconds: u64, rates: Rates, status: &PoolStatus) -> String {
    row(
        &format!("{seconds} s"),
        &hash_rate(rates.claimed),
        &hash_rate(rates.proven),
        &grouped(status.shares.accepted.to_string()),
        &grouped(status.blocks.found.to_string()),
        &grouped(status.satoshis.immature.as_str()),
        &grouped(status.satoshis.credited.as_str()),
        &joules_per_terahash(status),
        &optional(status.carbon.grams.as_ref()),
    )
}

/// A rate with the prefix that keeps it below 1000, as in `10.21 MH/s`.
pub(crate) fn hash_rate(hashes_per_second: f64) -> String {
    let mut rate = hashes_per_second;
    for prefix in ["", "k", "M", "G", "T", "P"] {
        if rate < 999.995 {
            return format!("{rate:.2} {prefix}H/s");
        }
        rate /= 1000.0;
    }
    format!("{rate:.2} EH/s")
}

/// Commas between groups of three digits before the decimal point.
pub(crate) fn grouped(figure: impl AsRef<str>) -> String {
    let figure = figure.as_ref();
    let (whole, places) = figure.split_at(figure.find('.').unwrap_or(figure.len()));
    let mut text = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text + places
}

/// The figure, or a dash where nothing was reported: never a zero.
pub(crate) fn optional(figure: Option<&Decimal>) -> String {
    figure.map_or_else(|| "-".to_owned(), |figure| grouped(figure.as_str()))
}

fn joules_per_terahash(status: &PoolStatus) -> String {
    match &status.energy.joules_per_terahash {
        None => "-".to_owned(),
        Some(figure) => {
            let uncertainty = status.energy.uncertainty.map(percent).unwrap_or_default();
            let whole = grouped(figure.whole().to_string());
            format!("{whole} ({}{uncertainty})", status.energy.source())
        }
    }
}

/// A relative uncertainty as ` ±50 %`.
pub(crate) fn percent(relative: f64) -> String {
    format!(" ±{:.0} %", relative * 100.0)
}

fn row(
    time: &str,
    claimed: &str,
    proven: &str,
    shares: &str,
    blocks: &str,
    immature: &str,
    credited: &str,
    efficiency: &str,
    grams: &str,
) -> String {
    format!(
        "{time:>7}  {claimed:>11}  {proven:>11}  {shares:>8}  {blocks:>6}  {immature:>17}  \
         {credited:>17}  {efficiency:>24}  {grams:>10}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::api::tests::SAMPLE;

    #[test]
    fn a_row_lines_up_with_the_heading() {
        let status: PoolStatus = serde_json::from_str(SAMPLE).unwrap();
        let row = progress(5, Rates { claimed: 10.21e6, proven: 1.035e7 }, &status);
        assert_eq!(row.chars().count(), heading().chars().count());
        for part in ["5 s", "10.21 MH/s", "10.35 MH/s", "123", "12", "50,000,000,000"] {
            assert!(row.contains(part), "{part}: {row}");
        }
        assert!(row.contains("59,894 (model ±50 %)"), "{row}");
        assert!(row.ends_with("0.001911"), "{row}");
    }

    #[test]
    fn figures_are_grouped_before_the_point_only() {
        for (from, to) in
            [("1", "1"), ("123", "123"), ("1234", "1,234"), ("1234567.123456", "1,234,567.123456")]
        {
            assert_eq!(grouped(from), to);
        }
    }

    #[test]
    fn rates_take_a_prefix() {
        assert_eq!(hash_rate(0.0), "0.00 H/s");
        assert_eq!(hash_rate(999.999), "1.00 kH/s");
        assert_eq!(hash_rate(1.5e9), "1.50 GH/s");
        assert_eq!(hash_rate(2.5e21), "2500.00 EH/s");
    }
}
