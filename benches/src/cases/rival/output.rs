//! What the programs print, read without running them. Units: hashes per second.

use serde_json::Value;

/// What our miner measured.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ours {
    pub(super) backend: String,
    pub(super) per_second: f64,
}

/// Our miner's `bench --json`: the last line that is an object.
pub(super) fn ours(text: &str) -> Option<Ours> {
    let object = text.lines().rev().find(|line| line.starts_with('{'))?;
    let value: Value = serde_json::from_str(object).ok()?;
    let per_second = value["hashes_per_second"].as_f64().filter(|rate| *rate > 0.0)?;
    Some(Ours { backend: value["backend"].as_str()?.to_owned(), per_second })
}

/// A rival's final rate: that of its last line with `Benchmark:`, or of its last with `Total:`.
pub(super) fn theirs(text: &str) -> Option<f64> {
    last_after(text, "Benchmark: ").or_else(|| last_after(text, "Total: "))
}

/// The last line with anything in it; nothing where there is none.
pub(super) fn last_line(text: &str) -> &str {
    text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("")
}

fn last_after(text: &str, label: &str) -> Option<f64> {
    text.lines().rev().find_map(|line| rate(line.split_once(label)?.1))
}

/// A number and a unit at the beginning of a text, as `25.62 MH/s`.
fn rate(text: &str) -> Option<f64> {
    let mut words = text.split_whitespace();
    let number: f64 = words.next()?.parse().ok()?;
    let scale = match words.next()?.trim_end_matches(',') {
        "H/s" => 1.0,
        "kH/s" | "KH/s" => 1e3,
        "MH/s" => 1e6,
        "GH/s" => 1e9,
        _ => return None,
    };
    Some(number * scale).filter(|rate| rate.is_finite() && *rate > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The end of a real run.
    const RUN: &str = "\
CPU features:  AVX512 VAES SHA256
[2026-11-22 07:22:26] 1 of 2 miner threads started using 'sha256d' algorithm
[2026-11-22 07:22:31] Total: 10.00 MH/s, Temp: 0C, Freq: 0.000/0.000 GHz
[2026-11-22 07:22:31] Benchmark: 25.62 MH/s
";

    #[test]
    fn a_rivals_last_word_counts() {
        assert_eq!(theirs(RUN), Some(25.62e6));
        let totals: String = RUN.lines().take(3).map(|line| format!("{line}\n")).collect();
        assert_eq!(theirs(&totals), Some(10.0e6));
        let later = format!("{totals}[2026-11-22 07:22:36] Total: 11.50 MH/s, Temp: 0C\n");
        assert_eq!(theirs(&later), Some(11.5e6));
        let twice = format!("{RUN}[2026-11-22 07:22:36] Benchmark: 26.00 MH/s\n");
        assert_eq!(theirs(&twice), Some(26.0e6));
    }

    #[test]
    fn rates_have_units() {
        for (text, expected) in [
            ("25.62 MH/s", Some(25.62e6)),
            ("980 kH/s, Temp", Some(980e3)),
            ("512 H/s", Some(512.0)),
            ("1.5 GH/s", Some(1.5e9)),
            ("0.00 H/s", None),
            ("inf MH/s", None),
            ("25.62", None),
            ("25.62 MS/s", None),
            ("fast MH/s", None),
            ("", None),
        ] {
            assert_eq!(rate(text), expected, "{text:?}");
        }
    }

    #[test]
    fn silence_is_no_rate() {
        assert_eq!(theirs(""), None);
        assert_eq!(theirs("Benchmark: soon\nTotal: nothing\n"), None);
        assert_eq!((last_line("a\nb\n \n"), last_line("")), ("b", ""));
    }

    #[test]
    fn our_own_result_is_an_object() {
        let text = "cpu: a warning\n{\"schema\":1,\"backend\":\"avx512\",\"threads\":1,\
                    \"hashes_per_second\":30000000.5,\"hits\":143}\n";
        let expected = Ours { backend: "avx512".to_owned(), per_second: 30_000_000.5 };
        assert_eq!(ours(text), Some(expected));
        for wrong in ["", "bench failed", "{\"backend\":\"avx512\"}", "{\"hashes_per_second\":1.0}"]
        {
            assert_eq!(ours(wrong), None, "{wrong}");
        }
    }
}
