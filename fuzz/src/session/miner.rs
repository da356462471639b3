//! Lines that miners say, right or nearly right.

use std::sync::Arc;

use stratum::Job;

use crate::bytes::Bytes;

/// The subscription of the connection that began with this extranonce 1.
pub(crate) fn subscription(xn1: u32) -> [u8; 16] {
    let mut id = [0xab; 16];
    id[..4].copy_from_slice(&xn1.to_be_bytes());
    id
}

/// A line that the input chooses, with its end or without.
pub(super) fn say(bytes: &mut Bytes<'_>, newest: Option<&Arc<Job>>, kept: &[u32]) -> Vec<u8> {
    let what = bytes.byte();
    let id = what >> 4;
    let (method, params) = match what & 15 {
        0 => ("subscribe", subscribe(bytes, kept)),
        1 => ("authorize", format!("\"{}\",\"{}\"", user(bytes), password(bytes))),
        2 => ("configure", configure(bytes)),
        3 => ("extranonce.subscribe", String::new()),
        4 => ("suggest_difficulty", difficulty(bytes).to_owned()),
        5 => ("suggest_target", format!("\"{:064x}\"", bytes.number())),
        6 => ("get_transactions", format!("\"{:x}\"", bytes.byte())),
        7 => ("report_energy", format!("{{\"worker\":\"{}\",\"meters\":[]}}", user(bytes))),
        8 => ("ping", String::new()),
        _ => ("submit", submit(bytes, newest)),
    };
    let end = if id == 15 { "" } else { "\n" };
    format!("{{\"id\":{id},\"method\":\"mining.{method}\",\"params\":[{params}]}}{end}")
        .into_bytes()
}

fn subscribe(bytes: &mut Bytes<'_>, kept: &[u32]) -> String {
    let how = bytes.byte();
    let agent = ["fuzz", "cgminer/4.1", "bmminer", ""][usize::from(how & 3)];
    let earlier = kept.get(usize::from(how >> 4)).copied().unwrap_or(u32::from(how >> 4));
    let id: String = subscription(earlier).iter().map(|byte| format!("{byte:02x}")).collect();
    if how & 4 == 0 { format!("\"{agent}\"") } else { format!("\"{agent}\",\"{id}\"") }
}

fn user(bytes: &mut Bytes<'_>) -> &'static str {
    ["w", "w.1", "x", "\\u0077", "", "y.\\u00e9", "z", "w "][usize::from(bytes.byte() & 7)]
}

fn password(bytes: &mut Bytes<'_>) -> &'static str {
    ["x", "d=0.001", "th=1", "d=1e300,th=0", "d=-1", "md=5"][usize::from(bytes.byte() % 6)]
}

fn difficulty(bytes: &mut Bytes<'_>) -> &'static str {
    ["1e-12", "0.5", "1e9", "0", "-1", "1e400", "\"1\"", "null"][usize::from(bytes.byte() & 7)]
}

fn configure(bytes: &mut Bytes<'_>) -> String {
    let how = bytes.byte();
    let names = ["version-rolling", "minimum-difficulty", "subscribe-extranonce", "energy-report"];
    let chosen = names.iter().zip(0..).filter(|(_, bit)| how >> bit & 1 == 1);
    let chosen: Vec<String> = chosen.map(|(name, _)| format!("\"{name}\"")).collect();
    let (mask, least) = (bytes.number(), difficulty(bytes));
    format!(
        "[{}],{{\"version-rolling.mask\":\"{mask:08x}\",\"version-rolling.min-bit-count\":2,\
         \"minimum-difficulty.value\":{least},\"energy-report.version\":1}}",
        chosen.join(",")
    )
}

/// A share of the newest job or of one before, mostly in order.
fn submit(bytes: &mut Bytes<'_>, newest: Option<&Arc<Job>>) -> String {
    let how = bytes.byte();
    let job = newest.map_or(0, |job| job.id.get()).wrapping_sub(u64::from(how & 7));
    let again = if how & 8 == 0 { "" } else { "-1" };
    let (xn2, nonce) = (bytes.byte(), bytes.byte());
    let ntime = 1_700_000_000_u32.wrapping_add(u32::from(how >> 6) * 3000);
    let bits = if how & 16 == 0 { String::new() } else { format!(",\"{:08x}\"", bytes.number()) };
    let user = if how & 32 == 0 { "w" } else { user(bytes) };
    format!("\"{user}\",\"{job:x}{again}\",\"{xn2:016x}\",\"{ntime:08x}\",\"{nonce:08x}\"{bits}")
}
