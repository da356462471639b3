//! The metric families that are accounts: work, satoshis, joules and grams, printed from the
//! ledger's integers with every digit. A float in between would lose them past 2^53.

use core::{
    fmt::{Display, Write},
    time::Duration,
};
use std::collections::BTreeMap;

use defences::{Defence, stands};
use energy::profile;
use units::UnixMillis;

use super::{
    estimates::Estimates,
    luck::LuckNow,
    meters::{EnergyNow, MeterSum},
    standing::FlagsNow,
    view::{Claim, View},
};

/// All exact families, and the gauges that are read off the same view, as Prometheus text;
/// `claims` are of the view's accounts.
#[must_use]
pub fn render(view: &View, claims: &[Claim]) -> String {
    let mut text = Text::default();
    work(&mut text, view);
    money(&mut text, view);
    luck(&mut text, &view.luck);
    if let Some(energy) = view.energy() {
        joules(&mut text, view);
        grams(&mut text, view, energy);
    }
    plausibility(&mut text, claims);
    flags(&mut text, &view.flags);
    estimates(&mut text, &view.estimates);
    text.family("wattproof_build_info", "gauge", "The program's version.");
    text.sample("wattproof_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    text.family("wattproof_ledger_tree_size", "gauge", "Closed slices of work.");
    text.sample("wattproof_ledger_tree_size", &[], view.totals.slices);
    text.0
}

fn work(text: &mut Text, view: &View) {
    let name = "wattproof_pool_work_hashes_total";
    text.family(name, "counter", "Hashes proven by accepted shares, exactly as credited.");
    text.sample(name, &[], view.totals.work.get());

    let name = "wattproof_account_work_hashes_total";
    text.family(name, "counter", "Proven hashes by account: the largest, and all others.");
    let mut other = view.totals.work;
    for account in &view.accounts {
        text.sample(name, &[("account", &account.name)], account.work.get());
        other = other.checked_sub(account.work).unwrap_or_default();
    }
    text.sample(name, &[("account", "other")], other.get());

    let name = "wattproof_pool_hashrate_hashes_per_second";
    text.family(name, "gauge", "Proven hashes per second over a window.");
    let rate = view.rate;
    for (window, value) in
        [("10s", rate.ten_seconds), ("60s", rate.minute), ("15m", rate.quarter_hour)]
    {
        text.sample(name, &[("window", window)], value);
    }
    if let Some(age) = view.template_age() {
        let name = "wattproof_pool_template_age_seconds";
        text.family(name, "gauge", "Time since the newest block template arrived.");
        text.sample(name, &[], age);
    }
}

fn money(text: &mut Text, view: &View) {
    let blocks = view.totals.blocks;
    let name = "wattproof_pool_blocks_total";
    let help = "Blocks found, by the state they are in now: one that moves on leaves its count.";
    text.family(name, "counter", help);
    for (state, count) in [
        ("candidate", blocks.candidate),
        ("submitted", blocks.submitted),
        ("immature", blocks.immature),
        ("mature", blocks.mature),
        ("orphaned", blocks.orphaned),
        ("abandoned", blocks.abandoned),
    ] {
        text.sample(name, &[("state", state)], count);
    }
    let name = "wattproof_pool_balance_satoshis";
    text.family(
        name,
        "gauge",
        "Satoshis: immature, credited (mature), sending (being paid), paid; fee is part of these; reserve.",
    );
    for (kind, amount) in [
        ("immature", view.totals.immature),
        ("credited", view.totals.balance),
        ("sending", view.totals.sending),
        ("paid", view.totals.paid),
        ("fee", view.totals.fees),
        ("reserve", view.totals.reserve),
    ] {
        text.sample(name, &[("kind", kind)], amount.to_sat());
    }
    if let Some(ruin) = view.ruin() {
        let name = "wattproof_pool_reserve_ruin_probability";
        let help = "How probable it is that the reserve of pay per share is ever used up.";
        text.family(name, "gauge", help);
        text.sample(name, &[], ruin);
    }
}

fn luck(text: &mut Text, luck: &LuckNow) {
    let name = "wattproof_pool_blocks_expected_total";
    text.family(name, "counter", "Blocks that the shares of closed slices were expected to find.");
    text.sample(name, &[], luck.pool.expected_decimal());
    if let Some(ratio) = luck.pool.ratio() {
        let name = "wattproof_pool_luck_ratio";
        text.family(name, "gauge", "Blocks found over blocks expected, since the first share.");
        text.sample(name, &[], ratio);
    }
    if let Some(rate) = luck.pool.orphan_rate() {
        let name = "wattproof_pool_orphan_ratio";
        text.family(name, "gauge", "Blocks not on the chain over all that it decided on.");
        text.sample(name, &[], rate);
    }
    let name = "wattproof_pool_withholding_threshold";
    text.family(name, "gauge", "Accounts whose luck is less likely than this are suspected.");
    text.sample(name, &[], luck.watch.below);
    let name = "wattproof_pool_withholding_suspects";
    text.family(name, "gauge", "Accounts that are suspected of keeping blocks back.");
    text.sample(name, &[], luck.suspects_total);

    let name = "wattproof_account_withholding_probability";
    let help = "Probability of finding as few blocks or fewer, for one who hands in all of them: \
                the largest accounts, the suspects, and all others as one.";
    text.family(name, "gauge", help);
    for (account, luck) in &luck.named {
        text.sample(name, &[("account", account)], luck.at_most().get());
    }
    text.sample(name, &[("account", "other")], luck.other.at_most().get());
}

/// Meters are summed by kind, scope and tier: their names come from the network and are as many
/// as there are workers, so they are for the API.
fn joules(text: &mut Text, view: &View) {
    let name = "wattproof_energy_joules_total";
    text.family(name, "counter", "Joules of counted meters, by kind, scope and quality tier.");
    let mut seen: BTreeMap<&str, (Duration, UnixMillis)> = BTreeMap::new();
    for ((kind, scope, tier), MeterSum { joules, gap, last_at }) in &view.meters.sums {
        let tier = tier.to_string();
        let labels = [("meter", &**kind), ("kind", kind), ("scope", scope), ("tier", &tier)];
        text.sample(name, &labels, joules.joules());
        let (gaps, last) = seen.entry(kind).or_default();
        *gaps = gaps.saturating_add(*gap);
        *last = (*last).max(*last_at);
    }
    let name = "wattproof_energy_gap_seconds_total";
    text.family(name, "counter", "Time that meters did not see, as their reports say.");
    for (kind, (gap, _)) in &seen {
        text.sample(name, &[("meter", *kind), ("reason", "reported")], gap.as_secs_f64());
    }
    let name = "wattproof_energy_last_sample_timestamp_seconds";
    text.family(name, "gauge", "When a meter of this kind last reported.");
    for (kind, (_, last)) in &seen {
        text.sample(name, &[("meter", *kind)], last.seconds());
    }
}

fn grams(text: &mut Text, view: &View, energy: &EnergyNow) {
    let factor = &view.config.energy.factor;
    let gas = factor.gas.as_str();
    if let Some(ratio) = energy.per_terahash() {
        let name = "wattproof_energy_per_terahash_joules";
        text.family(name, "gauge", "Reported joules over proven terahashes, where both are known.");
        text.sample(name, &[("basis", "proven")], ratio);
    }
    let labels = [("method", "location"), ("gas", gas)];
    let name = "wattproof_carbon_grams_total";
    text.family(name, "counter", "Grams of gas: reported joules times the factor in force.");
    text.sample(name, &labels, energy.mass(factor).grams());
    if let Some(ratio) = energy.grams_per_terahash(factor) {
        let name = "wattproof_carbon_grams_per_terahash";
        text.family(name, "gauge", "Grams of gas over proven terahashes.");
        text.sample(name, &labels, ratio);
    }
    let name = "wattproof_carbon_intensity_grams_per_kilowatthour";
    text.family(name, "gauge", "The emission factor in force.");
    let vintage = factor.vintage.to_string();
    let publisher = factor.publisher.to_string();
    text.sample(
        name,
        &[("zone", &factor.zone), ("publisher", &publisher), ("vintage", &vintage), ("gas", gas)],
        factor.intensity.grams_per_kwh(),
    );
}

fn plausibility(text: &mut Text, claims: &[Claim]) {
    if claims.is_empty() {
        return;
    }
    let name = "wattproof_energy_plausibility_ratio";
    let help = "Claimed joules per proven terahash over the best known device's: \
                below 1 no device can do it.";
    text.family(name, "gauge", help);
    for Claim { account, ratio } in claims {
        text.sample(name, &[("account", account)], ratio);
    }
}

fn flags(text: &mut Text, flags: &FlagsNow) {
    let name = "wattproof_energy_flags";
    let help =
        "Workers, and accounts as a whole, whose joules or hashes are flagged, by what is wrong.";
    text.family(name, "gauge", help);
    for (kind, workers) in flags.counts() {
        text.sample(name, &[("kind", kind.as_str())], workers);
    }
}

/// Apart from `wattproof_energy_joules_total`, which they are never a part of.
fn estimates(text: &mut Text, estimates: &Estimates) {
    if estimates.is_empty() {
        return;
    }
    let tier = profile::TIER.get().to_string();
    let name = "wattproof_energy_estimated_joules";
    let help = "An estimate, of work that no reading covers: a model's figure times that work.";
    text.family(name, "gauge", help);
    for (model, estimate) in estimates.models() {
        let labels = [("model", model), ("kind", profile::KIND.as_str()), ("tier", &*tier)];
        text.sample(name, &labels, estimate.joules.joules());
    }
}

/// Prometheus text, version 0.0.4.
#[derive(Debug, Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let open = if index == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{open}{label}=\"{}\"", escape(text));
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}

fn escape(label: &str) -> String {
    if !stands(Defence::LabelEscape) {
        return label.to_owned();
    }
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_escaped_and_exact() {
        let mut text = Text::default();
        text.family("x_total", "counter", "Help.");
        text.sample("x_total", &[("a", "q\"\\\n"), ("b", "c")], u128::MAX);
        text.sample("y", &[], 1.5);
        assert_eq!(
            text.0,
            "# HELP x_total Help.\n# TYPE x_total counter\n\
             x_total{a=\"q\\\"\\\\\\n\",b=\"c\"} 340282366920938463463374607431768211455\ny 1.5\n"
        );
    }

    #[test]
    fn every_kind_of_flag_has_its_count_and_estimates_are_apart() {
        let mut text = Text::default();
        let standing = super::super::standing::tests::standing("rig", 9);
        flags(&mut text, &FlagsNow::of([&standing]));
        assert!(text.0.contains("wattproof_energy_flags{kind=\"impossible\"} 1\n"), "{}", text.0);
        assert!(text.0.contains("wattproof_energy_flags{kind=\"drift\"} 0\n"), "{}", text.0);
        let mut text = Text::default();
        estimates(&mut text, &Estimates::default());
        assert_eq!(text.0, "");
        let mut some = Estimates::default();
        some.add(Some(&profile::Figure::Stated(20.0)), units::Work::new(1_000_000_000_000));
        estimates(&mut text, &some);
        let line = "wattproof_energy_estimated_joules{model=\"stated by the operator\",\
                    kind=\"model\",tier=\"5\"} 20.000000\n";
        assert!(text.0.ends_with(line), "{}", text.0);
    }

    #[test]
    fn claims_are_shown_where_there_are_any() {
        let mut text = Text::default();
        plausibility(&mut text, &[]);
        assert_eq!(text.0, "");
        let claim = |account: &str, ratio| Claim { account: account.to_owned(), ratio };
        plausibility(&mut text, &[claim("bcrt1q\"", 0.25), claim("b", 1234.5)]);
        assert_eq!(
            text.0,
            "# HELP wattproof_energy_plausibility_ratio Claimed joules per proven terahash over \
             the best known device's: below 1 no device can do it.\n\
             # TYPE wattproof_energy_plausibility_ratio gauge\n\
             wattproof_energy_plausibility_ratio{account=\"bcrt1q\\\"\"} 0.25\n\
             wattproof_energy_plausibility_ratio{account=\"b\"} 1234.5\n"
        );
    }
}
