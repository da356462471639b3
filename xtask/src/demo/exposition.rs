//! Reads the text that Prometheus scrapes, as far as the demo needs it: the value of a family,
//! summed exactly over the series with given labels. It deliberately ignores types, help,
//! exemplars and timestamps.

use crate::demo::decimal::Decimal;

/// One sample: family name, labels, the value as it is written.
#[derive(Debug, PartialEq, Eq)]
struct Sample<'a> {
    name: &'a str,
    labels: Vec<(&'a str, String)>,
    value: &'a str,
}

/// The exact sum over the series of `family` that carry every one of `labels`.
///
/// # Errors
/// Fails, by name, where there is no such series or a value is not a plain decimal.
pub(crate) fn sum(text: &str, family: &str, labels: &[(&str, &str)]) -> Result<Decimal, String> {
    let wanted = |sample: &Sample<'_>| {
        sample.name == family
            && labels.iter().all(|(k, v)| sample.labels.iter().any(|(l, w)| l == k && w == v))
    };
    let mut total: Option<Decimal> = None;
    for sample in text.lines().filter_map(parse).filter(wanted) {
        let value = Decimal::parse(sample.value).map_err(|e| format!("{family}: {e}"))?;
        let sum = match &total {
            None => Some(value),
            Some(total) => total.checked_add(&value),
        };
        total = Some(sum.ok_or_else(|| format!("{family}: the sum is too big"))?);
    }
    total.ok_or_else(|| format!("{family} with {labels:?} is not in the metrics"))
}

/// One line; `None` for comments and what is not a sample.
fn parse(line: &str) -> Option<Sample<'_>> {
    let line = line.trim();
    let end = line.find(|c: char| c == '{' || c.is_whitespace())?;
    let (name, rest) = line.split_at(end);
    if name.is_empty() || name.starts_with('#') {
        return None;
    }
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inside) => parse_labels(inside)?,
        None => (Vec::new(), rest),
    };
    Some(Sample { name, labels, value: rest.split_whitespace().next()? })
}

/// Labels after the opening brace, and what follows the closing one.
fn parse_labels(mut rest: &str) -> Option<(Vec<(&str, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let (value, after) = parse_quoted(quoted)?;
        labels.push((name, value));
        rest = after;
    }
}

/// A label's value up to its closing quote, with `\\`, `\"` and `\n` undone.
fn parse_quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match letters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# HELP wattproof_pool_shares_total Shares by verdict
# TYPE wattproof_pool_shares_total counter
wattproof_pool_shares_total{verdict="accepted"} 123
wattproof_pool_shares_total{verdict="stale"} 2
wattproof_pool_work_hashes_total 528289038459
wattproof_energy_joules_total{meter="a",kind="model",scope="rig",tier="5"} 12.345678
wattproof_energy_joules_total{meter="odd \"}, x=\"1",kind="model"} 0.1 1795309039123
wattproof_pool_rate{window="10s"} 1.0e7
"#;

    #[test]
    fn sums_the_series_with_the_labels() {
        let sum = |family, labels: &[(&str, &str)]| sum(TEXT, family, labels).unwrap();
        assert_eq!(sum("wattproof_pool_shares_total", &[("verdict", "accepted")]).as_str(), "123");
        assert_eq!(sum("wattproof_pool_shares_total", &[]).as_str(), "125");
        assert_eq!(sum("wattproof_pool_work_hashes_total", &[]).as_str(), "528289038459");
        assert_eq!(sum("wattproof_energy_joules_total", &[]).as_str(), "12.445678");
    }

    #[test]
    fn a_missing_or_odd_family_is_named() {
        let missing = sum(TEXT, "wattproof_pool_shares_total", &[("verdict", "none")]).unwrap_err();
        assert!(missing.contains("wattproof_pool_shares_total"), "{missing}");
        let odd = sum(TEXT, "wattproof_pool_rate", &[]).unwrap_err();
        assert!(odd.contains("wattproof_pool_rate") && odd.contains("1.0e7"), "{odd}");
        assert!(sum(TEXT, "wattproof_pool_shares", &[]).is_err());
    }

    #[test]
    fn quotes_and_braces_in_a_label_do_not_end_it() {
        let line = r#"a{b="x\"} 9",c="d\\n\n"} 4"#;
        let labels = vec![("b", "x\"} 9".to_owned()), ("c", "d\\n\n".to_owned())];
        assert_eq!(parse(line), Some(Sample { name: "a", labels, value: "4" }));
        assert_eq!(parse(r#"a{b="x"#), None);
    }
}
