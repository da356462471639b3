//! Results as a table for people and as JSON for programs.

use serde_json::{Value, json};

use crate::{machine, measure::Measured};

/// One line a measurement, under the machine's name.
pub(crate) fn table(measured: &[Measured]) -> String {
    let name = |m: &Measured| m.name.clone();
    let width = measured.iter().map(|m| m.name.len()).max().unwrap_or(0).max("case".len());
    let mut lines = vec![
        machine::describe(),
        format!(
            "{:width$}  {:>14}  {:>14}  {:>8}  {:>7}",
            "case", "mean", "best", "seconds", "passes"
        ),
    ];
    for m in measured {
        lines.push(format!(
            "{:width$}  {:>14}  {:>14}  {:>8.2}  {:>7}",
            name(m),
            scaled(m.per_second(), m.unit),
            scaled(m.best_per_second, m.unit),
            m.elapsed.as_secs_f64(),
            m.passes,
        ));
    }
    lines.join("\n")
}

/// One object; rates in units per second.
pub(crate) fn json(measured: &[Measured]) -> String {
    let results: Vec<Value> = measured
        .iter()
        .map(|m| {
            json!({
                "case": m.name,
                "unit": m.unit,
                "units": m.units,
                "passes": m.passes,
                "seconds": m.elapsed.as_secs_f64(),
                "per_second": m.per_second(),
                "best_per_second": m.best_per_second,
            })
        })
        .collect();
    json!({ "schema": 1, "machine": machine::describe(), "results": results }).to_string()
}

/// A rate with three significant digits or so: `38.7 MH/s` for hashes, `12.3 k/s` for the rest.
fn scaled(per_second: f64, unit: &str) -> String {
    let symbol = if unit == "hashes" { "H" } else { "" };
    let (value, prefix) = match per_second {
        x if x >= 1e9 => (x / 1e9, "G"),
        x if x >= 1e6 => (x / 1e6, "M"),
        x if x >= 1e3 => (x / 1e3, "k"),
        x => (x, ""),
    };
    format!("{value:.2} {prefix}{symbol}/s")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn measured() -> Measured {
        Measured {
            name: "kernels/portable/1 version".to_owned(),
            unit: "hashes",
            units: 30_000_000,
            passes: 3,
            elapsed: Duration::from_secs(2),
            best_per_second: 16e6,
        }
    }

    #[test]
    fn the_table_has_a_line_a_case() {
        let text = table(&[measured()]);
        let last = text.lines().last().unwrap();
        let words: Vec<_> = last.split_whitespace().collect();
        assert_eq!(words[..2], ["kernels/portable/1", "version"]);
        assert_eq!(words[2..], ["15.00", "MH/s", "16.00", "MH/s", "2.00", "3"]);
    }

    #[test]
    fn the_json_parses_and_keeps_whole_numbers() {
        let value: Value = serde_json::from_str(&json(&[measured()])).unwrap();
        assert_eq!(value["schema"], 1);
        assert_eq!(value["results"][0]["units"], 30_000_000);
        assert_eq!(value["results"][0]["per_second"], 15e6);
    }

    #[test]
    fn rates_are_scaled() {
        assert_eq!(scaled(1234.0, "shares"), "1.23 k/s");
        assert_eq!(scaled(2.5e9, "hashes"), "2.50 GH/s");
        assert_eq!(scaled(0.5, "shares"), "0.50 /s");
    }
}
