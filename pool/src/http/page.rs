//! The page at `/`: what the pool is doing, for people. Plain HTML made anew for each request,
//! without scripts; it reloads itself. Exact figures are shown whole, rates are rounded.

use core::fmt::Write;

use defences::{Defence, stands};

use super::{
    Answer, api, estimates::Estimates, luck::LuckNow, meters::EnergyNow, standing::FlagsNow,
    view::View,
};
use crate::{
    blocks::shown,
    luck::{Luck, Probability},
};

/// Blocks that the page lists; the API has more.
const BLOCKS_LISTED: usize = 15;
/// Flags of energy that the page lists; the API has more.
const FLAGS_LISTED: usize = 10;

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884;--soft:#8882;--accent:#d97706}\
body{font:16px/1.5 system-ui,sans-serif;max-width:68rem;margin:0 auto;padding:1rem 1.25rem 3rem}\
h1{font-size:1.5rem;margin:.5rem 0 0}h2{font-size:1.1rem;margin:2rem 0 .5rem}\
p.sub{margin:0 0 1.25rem;opacity:.75}\
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(13.5rem,1fr));gap:.75rem}\
.card{border:1px solid var(--line);border-radius:.6rem;padding:.7rem .9rem}\
.card .name{font-size:.8rem;opacity:.75}.card .value{font-size:1.35rem;font-variant-numeric:tabular-nums}\
.card .more{font-size:.82rem;opacity:.8;overflow-wrap:anywhere}\
.tag{background:var(--soft);border-left:3px solid var(--accent);padding:.1rem .5rem;border-radius:.2rem}\
p.warn{border-left:3px solid var(--accent);background:var(--soft);padding:.4rem .7rem;border-radius:.2rem;overflow-wrap:anywhere}\
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}\
th,td{text-align:left;padding:.35rem .7rem .35rem 0;border-bottom:1px solid var(--line);white-space:nowrap}\
th{font-weight:600;font-size:.82rem;opacity:.75}td.n,th.n{text-align:right}\
code{font-size:.85em}footer{margin-top:2.5rem;font-size:.85rem;opacity:.8}";

pub(super) fn render(view: &View) -> Answer {
    let mut html = String::with_capacity(8192);
    let _ = write!(
        html,
        "<!doctype html><html lang=en><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width,initial-scale=1\">\
         <meta http-equiv=refresh content=5><title>Wattproof pool</title><style>{STYLE}</style>\
         <h1>Wattproof pool</h1><p class=sub>{} \u{b7} {} \u{b7} fee {} \u{b7} {} connected</p>",
        view.config.network,
        api::scheme(view),
        percent(view.config.payout.fee.get()),
        view.tallies.connections,
    );
    cards(&mut html, view);
    energy(&mut html, view);
    estimates(&mut html, &view.estimates);
    flags(&mut html, &view.flags);
    suspects(&mut html, &view.luck);
    accounts(&mut html, view);
    blocks(&mut html, view);
    html.push_str(
        "<footer>Figures come from the ledger; exact ones are shown whole. \
         <a href=/api/v1/pool>API</a> \u{b7} <a href=/metrics>metrics</a> \u{b7} \
         <a href=/api/v1/blocks>blocks</a> \u{b7} <a href=/api/v1/energy>energy</a> \u{b7} \
         <a href=/api/v1/carbon>carbon</a></footer></html>",
    );
    Answer::html(html)
}

fn cards(html: &mut String, view: &View) {
    let totals = &view.totals;
    let rate = view.rate;
    html.push_str("<div class=cards>");
    card(
        html,
        "Proven hash rate, last minute",
        &hashrate(rate.minute),
        &format!(
            "10 s {} \u{b7} 15 min {}",
            hashrate(rate.ten_seconds),
            hashrate(rate.quarter_hour)
        ),
    );
    let rejected: u64 = view.tallies.rejected.iter().map(|(_, count)| count).sum();
    if let Some(ruin) = view.ruin() {
        card(
            html,
            "Reserve, satoshis",
            &grouped(totals.reserve.to_sat().into()),
            &format!("used up some day with a probability of {:.1} %", ruin * 100.0),
        );
    }
    card(
        html,
        "Shares accepted",
        &grouped(totals.shares.into()),
        &format!(
            "{} rejected since start \u{b7} work {} hashes",
            grouped(rejected.into()),
            grouped(totals.work.get())
        ),
    );
    card(
        html,
        "Blocks found",
        &grouped(totals.blocks.found().into()),
        &format!(
            "{} maturing \u{b7} {} mature \u{b7} {} orphaned",
            totals.blocks.immature,
            totals.blocks.mature,
            totals.blocks.orphaned.saturating_add(totals.blocks.abandoned)
        ),
    );
    luck_card(html, view.luck.pool);
    card(
        html,
        "Satoshis credited",
        &grouped(totals.balance.to_sat().into()),
        &format!("{} immature", grouped(totals.immature.to_sat().into())),
    );
    if let Some(seen) = &view.template {
        card(
            html,
            "Working on height",
            &grouped(seen.template.height.into()),
            &format!(
                "template {:.1} s old \u{b7} network difficulty {:.3e}",
                view.template_age().unwrap_or_default(),
                seen.template.target.difficulty().get()
            ),
        );
    }
    html.push_str("</div>");
}

/// Blocks found, held against what the work of closed slices was expected to find.
fn luck_card(html: &mut String, luck: Luck) {
    let Some(ratio) = luck.ratio() else { return };
    let orphans = luck
        .orphan_rate()
        .map_or_else(String::new, |rate| format!(" \u{b7} {:.1} % orphaned", rate * 100.0));
    card(
        html,
        "Luck (blocks found over expected)",
        &format!("{:.1} %", ratio * 100.0),
        &format!(
            "{} found, {:.2} expected \u{b7} as few or fewer: {}{orphans}",
            grouped(luck.found.into()),
            luck.expected(),
            chance(luck.at_most()),
        ),
    );
}

/// Accounts that bring fewer blocks than honest luck allows; nothing where there is none.
fn suspects(html: &mut String, now: &LuckNow) {
    if now.suspects.is_empty() {
        return;
    }
    let _ = write!(
        html,
        "<h2>Suspected of keeping blocks back</h2><p>Honest miners are this unlucky less often \
         than once in {} times. A suspicion is a reason to look, and no proof.</p>",
        grouped(once_in(now.watch.below)),
    );
    for suspect in &now.suspects {
        let account = escape(&suspect.account);
        let _ = write!(
            html,
            "<p class=warn><a href=/api/v1/accounts/{account}><code>{account}</code></a>: {}.</p>",
            escape(&suspect.reason),
        );
    }
    if now.suspects_total > now.suspects.len() {
        let _ = write!(html, "<p>These are the least likely of {}.</p>", now.suspects_total);
    }
}

fn energy(html: &mut String, view: &View) {
    html.push_str("<h2>Energy and carbon</h2>");
    let Some(energy) = view.energy() else {
        html.push_str("<p>No miner has reported energy yet. A gap is a gap, not a zero.</p>");
        return;
    };
    let factor = &view.config.energy.factor;
    let none = || "\u{2013}".to_owned();
    html.push_str("<div class=cards>");
    card(
        html,
        "Joules per terahash (reported over proven)",
        &energy.per_terahash().map_or_else(none, |ratio| ratio.to_string()),
        &source_line(energy),
    );
    card(
        html,
        "Joules reported",
        &energy.joules.joules(),
        &format!("for {} proven hashes", grouped(energy.covered_work.get())),
    );
    card(
        html,
        &format!("Grams of {} (location-based)", factor.gas.as_str()),
        &energy.mass(factor).grams(),
        &escape(&format!(
            "{} g/kWh \u{b7} {} {} {}",
            factor.intensity.grams_per_kwh(),
            factor.publisher,
            factor.zone,
            factor.vintage
        )),
    );
    html.push_str("</div>");
    let _ = write!(html, "<p class=tag>{}</p>", quality_note(energy));
}

fn source_line(energy: &EnergyNow) -> String {
    let sources = Vec::from_iter(energy.sources.iter().map(|source| escape(source))).join(", ");
    format!("source: {sources} \u{b7} \u{b1}{:.0} %", energy.uncertainty * 100.0)
}

fn quality_note(energy: &EnergyNow) -> String {
    let tier = match (energy.best_tier, energy.worst_tier) {
        (best, worst) if best == worst => format!("Quality tier {best} of 5."),
        (best, worst) => format!("Quality tiers {best} to {worst} of 5."),
    };
    let model = if energy.sources.contains("model") {
        " These joules are a model (watts times time), not a measurement."
    } else {
        ""
    };
    format!("{tier}{model} Hashes are proven by shares; joules are what miners report.")
}

/// Of work that no reading covers; nothing where no profile names any.
fn estimates(html: &mut String, estimates: &Estimates) {
    for (model, estimate) in estimates.models() {
        let _ = write!(
            html,
            "<p>Estimated, not reported: {} J for {} proven hashes of {} workers that no reading \
             covers ({}, {:.2} J/TH; tier 5, \u{b1}30 %). In no figure above.</p>",
            estimate.joules.joules(),
            grouped(estimate.work.get()),
            estimate.workers,
            escape(model),
            estimate.joules_per_terahash,
        );
    }
}

/// Workers, and accounts as a whole, whose joules or hashes are flagged; who only starts up is not listed.
fn flags(html: &mut String, flags: &FlagsNow) {
    for flagged in flags.serious().take(FLAGS_LISTED) {
        let account = escape(&flagged.account);
        let _ = write!(
            html,
            "<p class=warn><a href=/api/v1/accounts/{account}><code>{}{}</code></a>: {}: {}.</p>",
            escape(&ellipsis(&flagged.account)),
            flagged
                .worker
                .as_ref()
                .map_or_else(String::new, |worker| format!(".{}", escape(worker))),
            flagged.flag.kind.as_str(),
            escape(&flagged.flag.reason),
        );
    }
}

fn accounts(html: &mut String, view: &View) {
    html.push_str(
        "<h2>Accounts by work</h2><div class=wide><table>\
         <tr><th>Account<th class=n>Shares<th class=n>Proven hashes\
         <th class=n>Blocks expected<th class=n>Blocks found<th>Statement",
    );
    for account in &view.accounts {
        let name = escape(&account.name);
        let luck = view.luck.named.get(&account.name).copied().unwrap_or_default();
        let _ = write!(
            html,
            "<tr><td><a href=/api/v1/accounts/{name} title=\"{name}\"><code>{}</code></a>\
             <td class=n>{}<td class=n>{}<td class=n>{:.2}<td class=n>{}\
             <td><a href=\"/api/v1/accounts/{name}/statement?format=csv\">CSV</a> \u{b7} \
             <a href=/api/v1/accounts/{name}/statement>JSON</a>",
            escape(&ellipsis(&account.name)),
            grouped(account.shares.into()),
            grouped(account.work.get()),
            luck.expected(),
            grouped(luck.found.into()),
        );
    }
    html.push_str("</table></div>");
}

fn blocks(html: &mut String, view: &View) {
    html.push_str(
        "<h2>Newest blocks</h2><div class=wide><table><tr><th class=n>Height<th>State\
         <th class=n>Satoshis<th>Found by<th>Hash",
    );
    for block in view.blocks.iter().take(BLOCKS_LISTED) {
        let finder = format!("{}.{}", ellipsis(&block.finder), block.finder_worker);
        let _ = write!(
            html,
            "<tr><td class=n>{}<td>{}<td class=n>{}<td>{}<td><code>{}</code>",
            block.height,
            block.state.as_str(),
            grouped(block.reward.to_sat().into()),
            escape(finder.trim_end_matches('.')),
            shown(&block.hash)
        );
    }
    html.push_str("</table></div>");
}

fn card(html: &mut String, name: &str, value: &str, more: &str) {
    let _ = write!(
        html,
        "<div class=card><div class=name>{name}</div><div class=value>{value}</div>\
         <div class=more>{more}</div></div>"
    );
}

/// Hashes per second with a prefix and three digits.
fn hashrate(rate: f64) -> String {
    let mut value = rate;
    for prefix in ["", "k", "M", "G", "T", "P"] {
        if value < 1000.0 {
            return format!("{value:.2} {prefix}H/s");
        }
        value /= 1000.0;
    }
    format!("{value:.2} EH/s")
}

/// A whole number with thin spaces between groups of three.
fn grouped(number: u128) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{2009}');
        }
        text.push(digit);
    }
    text
}

/// A probability as a percentage, or as a power of ten where it is small.
fn chance(probability: Probability) -> String {
    let value = probability.get();
    if value >= 1e-4 { format!("{:.2} %", value * 100.0) } else { format!("{value:.1e}") }
}

/// How often something of this probability is, as one in a whole number.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a number for people; a float that is too big is the biggest number"
)]
fn once_in(probability: f64) -> u128 {
    probability.recip().round() as u128
}

fn percent(basis_points: u16) -> String {
    format!("{}.{:02} %", basis_points / 100, basis_points % 100)
}

fn ellipsis(address: &str) -> String {
    match (address.get(..10), address.get(address.len().saturating_sub(6)..)) {
        (Some(head), Some(tail)) if address.len() > 20 => format!("{head}\u{2026}{tail}"),
        _ => address.to_owned(),
    }
}

fn escape(text: &str) -> String {
    if !stands(Defence::HtmlEscape) {
        return text.to_owned();
    }
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(hashrate(0.0), "0.00 H/s");
        assert_eq!(hashrate(35_600_000.0), "35.60 MH/s");
        assert_eq!(hashrate(5e20), "500.00 EH/s");
        assert_eq!(grouped(1_234_567), "1\u{2009}234\u{2009}567");
        assert_eq!(grouped(999), "999");
        assert_eq!(percent(105), "1.05 %");
        assert_eq!(once_in(1e-4), 10_000);
        assert_eq!(chance(crate::luck::at_most(0, 12.0)), "6.1e-6");
        assert_eq!(chance(crate::luck::at_most(10, 10.0)), "58.30 %");
    }

    #[test]
    fn flags_are_listed_with_the_reason_and_a_start_up_is_not() {
        let mut standing = super::super::standing::tests::standing("<rig>", 9);
        let mut html = String::new();
        flags(&mut html, &FlagsNow::of([&standing]));
        for part in [
            "&lt;rig&gt;</code></a>: impossible: 9.000000 J/TH in 10 min, 9.",
            "Antminer S21 XP+ Hyd",
        ] {
            assert!(html.contains(part), "{part:?} in {html}");
        }
        standing.flags[0].kind = energy::plausibility::Kind::StartUp;
        html.clear();
        flags(&mut html, &FlagsNow::of([&standing]));
        assert_eq!(html, "");
    }

    #[test]
    fn who_is_suspected_is_said_with_the_reason() {
        let watch = crate::luck::Watch { below: 1e-4 };
        let luck = |account: &str, expected: u128| ledger::AccountLuck {
            account: account.to_owned(),
            score: expected << 64,
            ..ledger::AccountLuck::default()
        };
        let mut html = String::new();
        suspects(&mut html, &LuckNow::of(&[luck("honest", 9)], &[], watch));
        assert_eq!(html, "");
        suspects(&mut html, &LuckNow::of(&[luck("honest", 9), luck("<b>", 12)], &[], watch));
        for part in ["once in 10\u{2009}000 times", "<code>&lt;b&gt;</code>", "12.00 blocks"] {
            assert!(html.contains(part), "{part:?} in {html}");
        }
    }

    #[test]
    fn what_came_from_the_network_is_escaped() {
        assert_eq!(escape("<b a=\"&\">"), "&lt;b a=&quot;&amp;&quot;&gt;");
        assert_eq!(ellipsis("short"), "short");
    }
}
