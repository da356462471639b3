//! Results as tables for people and as JSON for programs.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{cases::Finding, delays::Delays, machine, measure::Measured, pairs::Pairs};

/// Rates first, then what was compared in turn, then what took how long; under the machine's name.
pub(crate) fn table(findings: &[Finding]) -> String {
    let rates: Vec<&Measured> = rates(findings).collect();
    let mut parts = vec![vec![machine::describe()]];
    if !rates.is_empty() {
        parts[0].extend(rate_lines(&rates));
    }
    parts.extend(pairs(findings).map(pair_lines));
    parts.extend(delays(findings).map(delay_lines));
    parts.into_iter().map(|lines| lines.join("\n")).collect::<Vec<_>>().join("\n\n")
}

/// One object; rates in units per second, delays in milliseconds.
pub(crate) fn json(findings: &[Finding]) -> String {
    let results: Vec<Value> = rates(findings).map(rate_object).collect();
    let pairs: Vec<Value> = pairs(findings).map(pairs_object).collect();
    let delays: Vec<Value> = delays(findings).map(delays_object).collect();
    json!({
        "schema": 1,
        "machine": machine::describe(),
        "results": results,
        "pairs": pairs,
        "delays": delays,
    })
    .to_string()
}

fn rates(findings: &[Finding]) -> impl Iterator<Item = &Measured> {
    findings.iter().filter_map(|one| if let Finding::Rate(rate) = one { Some(rate) } else { None })
}

fn pairs(findings: &[Finding]) -> impl Iterator<Item = &Pairs> {
    findings.iter().filter_map(|one| if let Finding::Pairs(two) = one { Some(two) } else { None })
}

fn delays(findings: &[Finding]) -> impl Iterator<Item = &Delays> {
    findings.iter().filter_map(|one| if let Finding::Delays(all) = one { Some(all) } else { None })
}

/// A heading and one line a measurement.
fn rate_lines(rates: &[&Measured]) -> Vec<String> {
    let width = rates.iter().map(|m| m.name.len()).max().unwrap_or(0).max("case".len());
    let line = |cells: [&str; 6]| {
        let [name, mean, best, of_limit, seconds, passes] = cells;
        format!("{name:width$}  {mean:>14}  {best:>14}  {of_limit:>8}  {seconds:>8}  {passes:>7}")
    };
    let mut lines = vec![line(["case", "mean", "best", "of limit", "seconds", "passes"])];
    for m in rates {
        let of_limit = m.percent_of_limit().map(|percent| format!("{percent:.1} %"));
        lines.push(line([
            &m.name,
            &scaled(m.per_second, m.unit),
            &scaled(m.best_per_second, m.unit),
            &of_limit.unwrap_or_default(),
            &format!("{:.2}", m.elapsed.as_secs_f64()),
            &m.passes.to_string(),
        ]));
    }
    lines
}

/// One line a pair, and what they say together.
fn pair_lines(pairs: &Pairs) -> Vec<String> {
    let Pairs { name, ours, theirs, unit, .. } = pairs;
    let mut lines = vec![
        format!("{name}: {ours} and {theirs}, in turn"),
        format!("{:>4}  {:>14}  {:>14}  {:>7}", "pair", "first", "second", "ratio"),
    ];
    for (number, ((a, b), ratio)) in (1..).zip(pairs.rates.iter().zip(pairs.ratios())) {
        let (a, b) = (scaled(*a, unit), scaled(*b, unit));
        lines.push(format!("{number:>4}  {a:>14}  {b:>14}  {ratio:>7.3}"));
    }
    if let Some(all) = pairs.summary() {
        lines.push(format!(
            "median ratio {:.3} ({:.3} to {:.3}), of the best {:.3}; medians {} and {}",
            all.median_ratio,
            all.lowest_ratio,
            all.highest_ratio,
            all.ratio_of_best,
            scaled(all.median_ours, unit),
            scaled(all.median_theirs, unit),
        ));
    }
    lines
}

fn delay_lines(delays: &Delays) -> Vec<String> {
    let [median, most, worst] = [50, 95, 100].map(|percent| millis(delays.percentile(percent)));
    let (count, over, bar) = (delays.count(), delays.over(), millis(delays.bar));
    vec![
        format!("{}, {count} times", delays.name),
        format!(
            "median {median:.2} ms, 95 % within {most:.2} ms, worst {worst:.2} ms; \
             {over} above the bar of {bar:.0} ms"
        ),
    ]
}

fn rate_object(m: &Measured) -> Value {
    json!({
        "case": m.name,
        "unit": m.unit,
        "units": m.units,
        "passes": m.passes,
        "seconds": m.elapsed.as_secs_f64(),
        "per_second": m.per_second,
        "best_per_second": m.best_per_second,
        "limit_per_second": m.limit_per_second,
        "percent_of_limit": m.percent_of_limit(),
    })
}

fn pairs_object(pairs: &Pairs) -> Value {
    let all = pairs.summary();
    let rates: Vec<[f64; 2]> = pairs.rates.iter().map(|(ours, theirs)| [*ours, *theirs]).collect();
    json!({
        "case": pairs.name,
        "first": pairs.ours,
        "second": pairs.theirs,
        "unit": pairs.unit,
        "per_second": rates,
        "median_ratio": all.map(|all| all.median_ratio),
        "lowest_ratio": all.map(|all| all.lowest_ratio),
        "highest_ratio": all.map(|all| all.highest_ratio),
        "ratio_of_best": all.map(|all| all.ratio_of_best),
        "median_first": all.map(|all| all.median_ours),
        "median_second": all.map(|all| all.median_theirs),
    })
}

fn delays_object(delays: &Delays) -> Value {
    json!({
        "case": delays.name,
        "count": delays.count(),
        "median_ms": millis(delays.percentile(50)),
        "p95_ms": millis(delays.percentile(95)),
        "worst_ms": millis(delays.percentile(100)),
        "bar_ms": millis(delays.bar),
        "over_bar": delays.over(),
    })
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
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
    use super::*;

    fn measured(limit_per_second: Option<f64>) -> Finding {
        Finding::Rate(Measured {
            name: "kernels/avx512/double/64 versions/2 threads".to_owned(),
            unit: "hashes",
            units: 30_000_000,
            passes: 3,
            elapsed: Duration::from_secs(2),
            per_second: 15e6,
            best_per_second: 16e6,
            limit_per_second,
        })
    }

    fn findings() -> [Finding; 3] {
        let pairs = Pairs {
            name: "rival/sha256d/1 thread".to_owned(),
            ours: "a".to_owned(),
            theirs: "b".to_owned(),
            unit: "hashes",
            rates: vec![(30e6, 20e6), (28e6, 20e6), (26e6, 20e6)],
        };
        let bar = Duration::from_millis(5);
        let delays = Delays::new(
            "job change".to_owned(),
            bar,
            (1..=20).map(Duration::from_millis).collect(),
        );
        [Finding::Delays(delays), Finding::Pairs(pairs), measured(Some(20e6))]
    }

    #[test]
    fn the_table_has_a_line_a_case() {
        let last = |limit| {
            let text = table(&[measured(limit)]);
            text.lines().last().unwrap().to_owned()
        };
        let words = |line: String| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let with = words(last(Some(20e6)));
        assert_eq!(with[..2], ["kernels/avx512/double/64", "versions/2"]);
        assert_eq!(with[3..], ["15.00", "MH/s", "16.00", "MH/s", "80.0", "%", "2.00", "3"]);
        let without = words(last(None));
        assert_eq!(without[3..], ["15.00", "MH/s", "16.00", "MH/s", "2.00", "3"]);
        assert_eq!(last(None).len(), last(Some(20e6)).len());
    }

    #[test]
    fn pairs_and_delays_follow_the_rates() {
        let text = table(&findings());
        let parts: Vec<&str> = text.split("\n\n").collect();
        assert_eq!(parts.len(), 3, "{text}");
        assert!(parts[0].contains("of limit"), "{text}");
        let ratios = "median ratio 1.400 (1.300 to 1.500), of the best 1.500; \
                      medians 28.00 MH/s and 20.00 MH/s";
        assert!(parts[1].ends_with(ratios), "{text}");
        assert_eq!(parts[1].lines().count(), 6);
        let times = "median 10.00 ms, 95 % within 19.00 ms, worst 20.00 ms; \
                     15 above the bar of 5 ms";
        assert!(parts[2].ends_with(times), "{text}");
    }

    #[test]
    fn the_json_parses_and_keeps_whole_numbers() {
        let value: Value = serde_json::from_str(&json(&findings())).unwrap();
        assert_eq!(value["schema"], 1);
        let rate = &value["results"][0];
        assert_eq!((&rate["units"], &rate["per_second"]), (&json!(30_000_000), &json!(15e6)));
        assert_eq!(rate["percent_of_limit"], 80.0);
        assert_eq!(value["pairs"][0]["median_ratio"], 1.4);
        assert_eq!(value["pairs"][0]["per_second"][2], json!([26e6, 20e6]));
        assert_eq!(value["delays"][0]["p95_ms"], 19.0);
        let value: Value = serde_json::from_str(&json(&[measured(None)])).unwrap();
        assert_eq!(value["results"][0]["limit_per_second"], Value::Null);
    }

    #[test]
    fn rates_are_scaled() {
        assert_eq!(scaled(1234.0, "shares"), "1.23 k/s");
        assert_eq!(scaled(2.5e9, "hashes"), "2.50 GH/s");
        assert_eq!(scaled(0.5, "shares"), "0.50 /s");
    }
}
