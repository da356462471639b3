//! The cross-check at the end of a demo: the API's figures against the metrics, the page, and
//! the ledger's own verification, which recomputes everything from the event log. Equality is to
//! the last digit; deliberately nothing is forgiven as rounding. Of a demo on GPUs, also that blocks
//! were found and nothing but a GPU hashed: then every nonce is a GPU's.

use crate::demo::api::{Device, PoolStatus, Verified};
use crate::demo::decimal::Decimal;
use crate::demo::exposition;

/// Where the figures of the left-hand side come from.
const API: &str = "/api/v1/pool";
/// Where the miner lists its devices.
const DEVICES: &str = "the miner's /api/v1/summary";
/// How the name of a GPU begins among the miner's devices.
const GPU: &str = "gpu:";

/// What the other sources said, as text or as they were parsed.
#[derive(Debug)]
pub(crate) struct Sources {
    pub(crate) metrics: String,
    pub(crate) page: String,
    pub(crate) verified: Verified,
}

/// One figure: its name, its place on the page, and its metric.
struct Figure {
    name: &'static str,
    place: Place,
    family: &'static str,
    labels: &'static [(&'static str, &'static str)],
    api: fn(&PoolStatus) -> Option<Decimal>,
}

/// Where a person finds a figure on the page: at the beginning of the nth line of text after a
/// label, from 0.
struct Place {
    label: &'static str,
    line: usize,
}

const FIGURES: &[Figure] = &[
    Figure {
        name: "shares",
        place: Place { label: "Shares accepted", line: 0 },
        family: "wattproof_pool_shares_total",
        labels: &[("verdict", "accepted")],
        api: |status| Some(Decimal::from(status.shares.accepted)),
    },
    Figure {
        name: "work in hashes",
        place: Place { label: "\u{b7} work ", line: 0 },
        family: "wattproof_pool_work_hashes_total",
        labels: &[],
        api: |status| Some(status.work_hashes.clone()),
    },
    Figure {
        name: "immature satoshis",
        place: Place { label: "Satoshis credited", line: 1 },
        family: "wattproof_pool_balance_satoshis",
        labels: &[("kind", "immature")],
        api: |status| Some(status.satoshis.immature.clone()),
    },
    Figure {
        name: "credited satoshis",
        place: Place { label: "Satoshis credited", line: 0 },
        family: "wattproof_pool_balance_satoshis",
        labels: &[("kind", "credited")],
        api: |status| Some(status.satoshis.credited.clone()),
    },
    Figure {
        name: "joules",
        place: Place { label: "Joules reported", line: 0 },
        family: "wattproof_energy_joules_total",
        labels: &[],
        api: |status| status.energy.joules.clone(),
    },
];

/// Every disagreement in words, naming both figures; empty where all sources agree.
pub(crate) fn disagreements(status: &PoolStatus, sources: &Sources) -> Vec<String> {
    let mut found = Vec::new();
    let page = visible_text(&sources.page);
    for figure in FIGURES {
        let api = (figure.api)(status).ok_or_else(|| format!("no {}", figure.name));
        let metric = exposition::sum(&sources.metrics, figure.family, figure.labels);
        let page = shown(&page, &figure.place);
        found.extend(difference(figure.name, &api, "/metrics", &metric));
        found.extend(difference(figure.name, &api, "the page", &page));
    }
    found.extend(ratio_disagreement(status));
    found.extend(ledger_disagreements(status, &sources.verified));
    found
}

/// Why the blocks of this status are not the work of GPUs alone, in words; empty where they are.
pub(crate) fn not_by_gpus(status: &PoolStatus, devices: &[Device]) -> Vec<String> {
    let (gpus, others): (Vec<_>, Vec<_>) =
        devices.iter().partition(|device| device.name.starts_with(GPU));
    let mut found: Vec<String> = others
        .iter()
        .map(|Device { name, hashes }| {
            format!("mining on GPUs alone: {DEVICES} lists {name} with {hashes} hashes")
        })
        .collect();
    if gpus.iter().all(|gpu| gpu.hashes.whole() == 0) {
        found.push(format!("mining on GPUs alone: {DEVICES} lists no GPU with hashes"));
    }
    if status.blocks.found == 0 {
        found.push(format!("mining on GPUs alone: {API} says that no block was found"));
    }
    found
}

/// Joules over proven hashes, worked out here, against what the pool shows.
fn ratio_disagreement(status: &PoolStatus) -> Option<String> {
    let name = "joules per terahash";
    let energy = &status.energy;
    let shown = energy.joules_per_terahash.clone().ok_or_else(|| format!("no {name}"));
    let joules = energy.joules.as_ref();
    let ratio = joules.and_then(|joules| joules.per_terahash(&status.work_hashes));
    let ratio = ratio.ok_or_else(|| "no joules or no hashes".to_owned());
    difference(name, &shown, "joules over proven hashes", &ratio)
}

/// The figure at a place of the page's text, without separators of thousands.
fn shown(text: &str, place: &Place) -> Result<Decimal, String> {
    let Place { label, line } = place;
    let (_, after) = text.split_once(label).ok_or_else(|| format!("no `{label}`"))?;
    let mut lines = after.lines().filter(|line| !line.trim().is_empty());
    let line = lines.nth(*line).ok_or_else(|| format!("nothing after `{label}`"))?;
    let separator = |c: char| c == ',' || c.is_whitespace();
    let of_figure = |c: &char| c.is_ascii_digit() || *c == '.' || separator(*c);
    let figure: String = line.chars().take_while(of_figure).filter(|c| !separator(*c)).collect();
    Decimal::parse(&figure)
}

/// The page without its tags: each begins a new line.
fn visible_text(page: &str) -> String {
    let mut text = String::new();
    for piece in page.split('<') {
        text.push_str(piece.split_once('>').map_or(piece, |(_, after)| after));
        text.push('\n');
    }
    text
}

fn ledger_disagreements(status: &PoolStatus, verified: &Verified) -> Vec<String> {
    const LEDGER: &str = "verify ledger";
    let mut found = Vec::new();
    if !verified.ok {
        found.push(format!("{LEDGER} found problems: {}", verified.problems.join("; ")));
    }
    let shares = Ok(Decimal::from(verified.shares));
    let api = Ok(Decimal::from(status.shares.accepted));
    found.extend(difference("shares", &api, LEDGER, &shares));
    let work = Ok(verified.work.clone());
    found.extend(difference("work in hashes", &Ok(status.work_hashes.clone()), LEDGER, &work));
    found
}

fn difference(
    name: &str,
    api: &Result<Decimal, String>,
    source: &str,
    other: &Result<Decimal, String>,
) -> Option<String> {
    let says = |figure: &Result<Decimal, String>| match figure {
        Ok(figure) => figure.to_string(),
        Err(reason) => format!("nothing usable ({reason})"),
    };
    let agree = matches!((api, other), (Ok(a), Ok(b)) if a == b);
    (!agree).then(|| format!("{name}: {API} says {}, {source} says {}", says(api), says(other)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::api::tests::SAMPLE;

    const METRICS: &str = r#"
wattproof_pool_shares_total{verdict="accepted"} 123
wattproof_pool_shares_total{verdict="stale"} 1
wattproof_pool_work_hashes_total 206123456
wattproof_pool_balance_satoshis{kind="immature"} 50000000000
wattproof_pool_balance_satoshis{kind="credited"} 10000000000
wattproof_energy_joules_total{meter="model",kind="model",scope="rig",tier="5"} 12.345678
"#;
    const PAGE: &str = "<!doctype html><title>Wattproof pool</title><div class=cards>\
        <div class=card><div class=name>Shares accepted</div><div class=value>123</div>\
        <div class=more>1 rejected since start \u{b7} work 206\u{2009}123\u{2009}456 hashes</div></div>\
        <div class=card><div class=name>Satoshis credited</div>\
        <div class=value>10\u{2009}000\u{2009}000\u{2009}000</div>\
        <div class=more>50,000,000,000 immature</div></div>\
        <div class=card><div class=name>Joules reported</div><div class=value>12.345678</div>\
        <div class=more>for 206\u{2009}123\u{2009}456 proven hashes</div></div></div>";

    fn sources() -> Sources {
        let verified =
            Verified { ok: true, shares: 123, work: Decimal::from(206_123_456), problems: vec![] };
        Sources { metrics: METRICS.to_owned(), page: PAGE.to_owned(), verified }
    }

    fn check(sources: &Sources) -> Vec<String> {
        disagreements(&serde_json::from_str(SAMPLE).unwrap(), sources)
    }

    #[test]
    fn sources_that_agree_pass() {
        assert_eq!(check(&sources()), Vec::<String>::new());
    }

    #[test]
    fn each_difference_names_both_figures() {
        for (from, to, says) in [
            (
                "\"accepted\"} 123",
                "\"accepted\"} 124",
                "shares: /api/v1/pool says 123, /metrics says 124",
            ),
            (
                "12.345678",
                "12.345679",
                "joules: /api/v1/pool says 12.345678, /metrics says 12.345679",
            ),
            ("50000000000", "50000000001", "/metrics says 50000000001"),
            ("work_hashes_total 2", "work_hashes_total 3", "/metrics says 306123456"),
        ] {
            let metrics = METRICS.replace(from, to);
            let found = check(&Sources { metrics, ..sources() });
            assert!(found.len() == 1 && found[0].contains(says), "{found:?}");
        }
    }

    #[test]
    fn the_page_is_held_to_the_same_figures() {
        for (from, to, name, figure) in [
            (">123<", ">124<", "shares", "124"),
            ("work 206", "work 207", "work in hashes", "207123456"),
            ("50,000,000,000", "50,000,000,001", "immature", "50000000001"),
            ("10\u{2009}000", "10\u{2009}001", "credited", "10001000000"),
            ("12.345678", "12.345679", "joules", "12.345679"),
            ("Joules reported", "Energy", "joules", "no `Joules reported`"),
        ] {
            let found = check(&Sources { page: PAGE.replace(from, to), ..sources() });
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].contains(name), "{found:?}");
            assert!(found[0].contains("the page says") && found[0].contains(figure), "{found:?}");
        }
    }

    #[test]
    fn the_ledger_is_held_to_the_same_figures() {
        let mut sources = sources();
        sources.verified.shares = 122;
        sources.verified.work = Decimal::from(1);
        sources.verified.ok = false;
        sources.verified.problems = vec!["slice 3: root differs".to_owned()];
        let found = check(&sources);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].contains("slice 3"), "{found:?}");
        assert!(found[1].contains("says 123, verify ledger says 122"), "{found:?}");
    }

    #[test]
    fn the_ratio_is_held_to_its_definition() {
        let mut status: PoolStatus = serde_json::from_str(SAMPLE).unwrap();
        status.energy.joules_per_terahash = Some(Decimal::parse("59894.580849").unwrap());
        let found = disagreements(&status, &sources());
        let says = "joules over proven hashes says 59894.580848";
        assert!(found.len() == 1 && found[0].contains(says), "{found:?}");
    }

    fn devices(list: &[(&str, u128)]) -> Vec<Device> {
        let device = |&(name, hashes): &(&str, u128)| Device {
            name: name.to_owned(),
            hashes: Decimal::parse(&hashes.to_string()).unwrap(),
        };
        list.iter().map(device).collect()
    }

    #[test]
    fn blocks_are_the_gpus_where_nothing_else_hashes() {
        let status: PoolStatus = serde_json::from_str(SAMPLE).unwrap();
        let one_idle = devices(&[("gpu:0", 0), ("gpu:1", 7)]);
        assert_eq!(not_by_gpus(&status, &one_idle), Vec::<String>::new());
        for (list, says) in [
            (&[("cpu", 3), ("gpu:0", 7)][..], "lists cpu with 3 hashes"),
            (&[("cpu", 0), ("gpu:0", 7)], "lists cpu with 0 hashes"),
            (&[("gpu:0", 0)], "no GPU with hashes"),
            (&[], "no GPU with hashes"),
        ] {
            let found = not_by_gpus(&status, &devices(list));
            assert!(found.len() == 1 && found[0].contains(says), "{list:?}: {found:?}");
        }
    }

    #[test]
    fn gpus_without_a_block_show_nothing() {
        let mut status: PoolStatus = serde_json::from_str(SAMPLE).unwrap();
        status.blocks.found = 0;
        let found = not_by_gpus(&status, &devices(&[("gpu:0", 7)]));
        assert!(found.len() == 1 && found[0].contains("no block"), "{found:?}");
    }

    #[test]
    fn no_energy_is_a_disagreement_too() {
        let mut status: PoolStatus = serde_json::from_str(SAMPLE).unwrap();
        status.energy.joules = None;
        let found = disagreements(&status, &sources());
        assert!(found.iter().any(|line| line.contains("no joules")), "{found:?}");
    }
}
