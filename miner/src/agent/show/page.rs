//! The page at `/`: every device in a row, for people. Plain HTML made anew for each request, without
//! scripts; it reloads itself. Everything that a device said of itself is escaped.

use std::fmt::Write as _;

use defences::{Defence, stands};

use super::{Comparison, Entry, View, state};
use crate::agent::sites::Verdict;

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884;--soft:#8882;--accent:#d97706}\
body{font:16px/1.5 system-ui,sans-serif;max-width:80rem;margin:0 auto;padding:1rem 1.25rem 3rem}\
h1{font-size:1.5rem;margin:.5rem 0 0}h2{font-size:1.1rem;margin:2rem 0 .5rem}\
p.sub{margin:0 0 1.25rem;opacity:.75}.wide{overflow-x:auto}\
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}\
th,td{text-align:left;vertical-align:top;padding:.35rem .9rem .35rem 0;border-bottom:1px solid var(--line)}\
th{font-weight:600;font-size:.82rem;opacity:.75}td.n,th.n{text-align:right;white-space:nowrap}\
td:last-child{min-width:24rem}td small{opacity:.75;display:block}tr.bad td:first-child{border-left:3px solid var(--accent);padding-left:.5rem}\
footer{margin-top:2.5rem;font-size:.85rem;opacity:.8}";

/// The page.
pub(super) fn page(view: &View) -> String {
    let mut html = String::with_capacity(8192);
    let answering = view.farm.entries.iter().filter(|entry| entry.error.is_none()).count();
    let watts: f64 = view.farm.entries.iter().filter(|entry| entry.device.counts).map(power).sum();
    write(
        &mut html,
        format_args!(
            "<!doctype html><html lang=en><meta charset=utf-8>\
             <meta name=viewport content=\"width=device-width,initial-scale=1\">\
             <meta http-equiv=refresh content=5><title>Wattproof agent</title>\
             <style>{STYLE}</style><h1>Wattproof agent</h1><p class=sub>{answering} of {} devices \
             answer \u{b7} {watts:.0} W of those that count \u{b7} {}</p>",
            view.farm.entries.len(),
            reporting(view),
        ),
    );
    devices(&mut html, &view.farm.entries);
    sites(&mut html, &view.farm.sites);
    html.push_str(
        "<footer>Joules count since a device was first asked, over restarts; a gap is never filled. \
         <a href=/api/v1/agent>API</a> \u{b7} <a href=/metrics>metrics</a></footer></html>",
    );
    html
}

fn reporting(view: &View) -> String {
    let standing = &view.standing;
    match &view.pool {
        None => "no pool is reported to".to_owned(),
        Some(pool) => format!(
            "{} workers let in at {} \u{b7} {} reports taken",
            standing.workers,
            escape(pool),
            standing.reports
        ),
    }
}

fn power(entry: &Entry) -> f64 {
    entry.meter.power().map_or(0.0, |power| power.watts_f64())
}

fn devices(html: &mut String, entries: &[Entry]) {
    html.push_str(
        "<h2>Devices</h2><div class=wide><table><tr><th>Meter<th>Device<th class=n>Power\
         <th class=n>Energy, J<th>Tier<th class=n>Covered<th>What it is",
    );
    for entry in entries {
        let bad = if entry.error.is_some() { " class=bad" } else { "" };
        let watts = entry
            .meter
            .power()
            .map_or_else(|| "\u{2013}".to_owned(), |p| format!("{:.1} W", p.watts_f64()));
        let tier = entry.meter.spec().map_or("\u{2013}", |spec| spec.tier.as_str());
        let worker = entry.device.worker.as_deref().unwrap_or("for nobody");
        write(
            html,
            format_args!(
                "<tr{bad}><td>{}<small>{}</small><td>{}<td class=n>{watts}<td class=n>{}<td>{tier}\
                 <td class=n>{:.2} %<td>{}",
                escape(entry.meter.id().as_str()),
                escape(worker),
                device(entry),
                entry.meter.total().joules(),
                f64::from(entry.coverage_ppm) / 1e4,
                meaning(entry),
            ),
        );
    }
    html.push_str("</table></div>");
}

fn device(entry: &Entry) -> String {
    let Some(said) = &entry.telemetry else {
        return escape(entry.device.interface.as_str());
    };
    let identity = &said.identity;
    let model = identity.model.as_deref().unwrap_or_default();
    let firmware = identity.firmware.as_deref().unwrap_or_default();
    format!("{} {}<small>{}</small>", escape(&identity.maker), escape(model), escape(firmware))
}

/// What its figure is, or why there is none.
fn meaning(entry: &Entry) -> String {
    let source = entry.meter.spec().map_or("", |spec| spec.source.as_str());
    let why = entry.error.as_deref();
    let why = why.map_or(String::new(), |why| format!("<b>{}</b> ", escape(why)));
    format!("{why}{}<small>{}</small>", escape(source), state(entry.state))
}

fn sites(html: &mut String, sites: &[Comparison]) {
    if sites.is_empty() {
        return;
    }
    html.push_str(
        "<h2>Sites</h2><div class=wide><table><tr><th>Site<th class=n>Its meter, J\
         <th class=n>Behind it, J<th class=n>Left<th>Verdict",
    );
    for one in sites {
        let bad = matches!(one.verdict, Verdict::Missing | Verdict::Excess);
        let bad = if bad { " class=bad" } else { "" };
        let left =
            one.ratio().map_or_else(|| "\u{2013}".to_owned(), |r| format!("{:.2} %", r * 100.0));
        write(
            html,
            format_args!(
                "<tr{bad}><td>{}<small>{} s</small><td class=n>{}<td class=n>{}<td class=n>{left}\
                 <td>{}",
                escape(&one.site),
                one.length.as_secs(),
                one.seen.joules(),
                one.sum.joules(),
                one.verdict.as_str(),
            ),
        );
    }
    html.push_str("</table></div>");
}

fn write(html: &mut String, text: std::fmt::Arguments<'_>) {
    html.write_fmt(text).expect("a String takes everything");
}

/// Text of strangers, which is to be read and not to be run.
fn escape(text: &str) -> String {
    if !stands(Defence::DeviceText) {
        return text.to_owned();
    }
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}
