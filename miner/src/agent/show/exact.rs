//! The agent's metrics, in Prometheus' text format; energy and hashes exactly, from the integers.

use units::MilliWatts;

use super::{Entry, View};
use crate::metrics::exact::{Labels, build_info, family};

pub(super) fn render(view: &View) -> String {
    let mut out = String::new();
    build_info(&mut out);
    energy(&mut out, &view.farm.entries);
    claims(&mut out, &view.farm.entries);
    sites(&mut out, view);
    reports(&mut out, view);
    out
}

fn energy(out: &mut String, entries: &[Entry]) {
    let joules = entries.iter().filter_map(|entry| {
        let spec = entry.meter.spec()?;
        let labels = vec![
            ("meter", entry.meter.id().as_str()),
            ("kind", spec.kind.as_str()),
            ("scope", spec.scope.as_str()),
            ("tier", spec.tier.as_str()),
        ];
        Some((labels, entry.meter.total().joules()))
    });
    let help = "Energy counted by the meter since it was first asked, over restarts.";
    family(out, "wattproof_energy_joules_total", "counter", help, joules.collect());

    let power =
        entries.iter().filter_map(|entry| Some((meter(entry), watts(entry.meter.power()?))));
    let help = "Power that the device said last.";
    family(out, "wattproof_energy_power_watts", "gauge", help, power.collect());

    let lost: Vec<_> = entries.iter().map(|entry| (entry, entry.meter.lost())).collect();
    let gaps = lost.iter().flat_map(|(entry, lost)| {
        lost.iter().map(|(why, length)| {
            let labels = vec![("meter", entry.meter.id().as_str()), ("reason", why.as_str())];
            (labels, length.as_secs_f64().to_string())
        })
    });
    let help = "Time that the meter could not measure.";
    family(out, "wattproof_energy_gap_seconds_total", "counter", help, gaps.collect());

    let sampled = entries.iter().filter_map(|entry| {
        let millis = entry.sampled_at?.get();
        Some((meter(entry), format!("{}.{:03}", millis / 1000, millis % 1000)))
    });
    let help = "When the meter last gave a figure.";
    let name = "wattproof_energy_last_sample_timestamp_seconds";
    family(out, name, "gauge", help, sampled.collect());
}

fn claims(out: &mut String, entries: &[Entry]) {
    let up =
        entries.iter().map(|entry| (meter(entry), u8::from(entry.error.is_none()).to_string()));
    let help = "Whether the device's last answer had a figure.";
    family(out, "wattproof_agent_device_up", "gauge", help, up.collect());

    let claimed = entries
        .iter()
        .filter(|entry| entry.meter.claimed().get() > 0)
        .map(|entry| (meter(entry), entry.meter.claimed().get().to_string()));
    let help = "Hashes that the device claims to have made while it was watched.";
    family(out, "wattproof_agent_claimed_hashes_total", "counter", help, claimed.collect());
}

fn sites(out: &mut String, view: &View) {
    let sites = &view.farm.sites;
    let residual = sites.iter().map(|one| {
        let (sign, size) = (if one.residual < 0 { "-" } else { "" }, one.residual.unsigned_abs());
        (named(&one.site), format!("{sign}{}.{:06}", size / 1_000_000, size % 1_000_000))
    });
    let help = "What a site's meter saw and the meters behind it did not, since both are compared.";
    family(out, "wattproof_agent_site_residual_joules", "gauge", help, residual.collect());

    let ratio = sites.iter().filter_map(|one| Some((named(&one.site), one.ratio()?.to_string())));
    let help = "The same as a part of what the site's meter saw.";
    family(out, "wattproof_agent_site_residual_ratio", "gauge", help, ratio.collect());
}

fn reports(out: &mut String, view: &View) {
    let reports = vec![(vec![], view.standing.reports.to_string())];
    let help = "Reports that the pool took.";
    family(out, "wattproof_agent_reports_total", "counter", help, reports);
    let workers = vec![(vec![], view.standing.workers.to_string())];
    let help = "Workers that the pool lets us report for.";
    family(out, "wattproof_agent_workers", "gauge", help, workers);
}

fn meter(entry: &Entry) -> Labels<'_> {
    vec![("meter", entry.meter.id().as_str())]
}

fn named(site: &str) -> Labels<'_> {
    vec![("site", site)]
}

fn watts(power: MilliWatts) -> String {
    power.watts_f64().to_string()
}
