//! The pool's rows of an account's workers (`/api/v1/accounts/{account}/workers`), as far as they are
//! checked, and what a row has to agree with itself in. Shapes are the public ones. It deliberately
//! knows nothing of what was reported: `books.rs` does.

use serde::Deserialize;

use crate::demo::decimal::Decimal;

/// A worker.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) shares: u64,
    pub(crate) energy: Energy,
    pub(crate) windows: Vec<Window>,
    pub(crate) meters: Vec<Meter>,
}

/// Its energy since ever; members are null until there is any.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Energy {
    pub(crate) joules: Option<Decimal>,
    pub(crate) covered_work_hashes: Option<Decimal>,
    pub(crate) joules_per_terahash: Option<Decimal>,
}

/// Its energy of late.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Window {
    pub(crate) window: String,
    pub(crate) joules: Option<Decimal>,
    pub(crate) hashes: Option<Decimal>,
    pub(crate) joules_per_terahash: Option<Decimal>,
}

/// One of its meters.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Meter {
    pub(crate) id: String,
    pub(crate) joules: Decimal,
    pub(crate) counted: bool,
    pub(crate) gap_seconds: f64,
}

/// The row of this worker among those in the answer.
///
/// # Errors
/// Where there is none, or the answer is none.
pub(crate) fn find(answer: &str, worker: &str) -> Result<Row, String> {
    let rows: Vec<Row> = serde_json::from_str(answer).map_err(|e| format!("its workers: {e}"))?;
    let row = rows.into_iter().find(|row| row.name == worker);
    row.ok_or_else(|| format!("it has no worker {worker}"))
}

impl Row {
    /// Its one meter.
    ///
    /// # Errors
    /// Where it has none, or several.
    pub(crate) fn meter(&self) -> Result<&Meter, String> {
        match self.meters.as_slice() {
            [meter] => Ok(meter),
            meters => {
                let names: Vec<&str> = meters.iter().map(|meter| meter.id.as_str()).collect();
                Err(format!("{}: one meter is expected, and it has {names:?}", self.name))
            }
        }
    }

    /// What in it does not follow from the rest of it, in words.
    ///
    /// # Errors
    /// The first of them.
    pub(crate) fn agrees_with_itself(&self) -> Result<(), String> {
        let meter = self.meter()?;
        let worker = &self.name;
        if !meter.counted {
            return Err(format!("{worker}: {} is its only meter and does not count", meter.id));
        }
        let Energy { joules, covered_work_hashes, joules_per_terahash } = &self.energy;
        if joules.as_ref() != Some(&meter.joules) {
            let expected = &meter.joules;
            return Err(format!("{worker}: its meter has {expected} J, and it has {joules:?}"));
        }
        let ratio = (joules.as_ref(), covered_work_hashes.as_ref(), joules_per_terahash.as_ref());
        follows(ratio).map_err(|why| format!("{worker}: {why}"))?;
        for Window { window, joules, hashes, joules_per_terahash } in &self.windows {
            let ratio = (joules.as_ref(), hashes.as_ref(), joules_per_terahash.as_ref());
            // A window is empty until a report of this pool's life has gone on from another.
            if ratio != (None, None, None) {
                follows(ratio).map_err(|why| format!("{worker}, window {window}: {why}"))?;
            }
        }
        Ok(())
    }
}

/// Whether a ratio is that of the two figures beside it, to the last digit.
fn follows(
    (joules, hashes, ratio): (Option<&Decimal>, Option<&Decimal>, Option<&Decimal>),
) -> Result<(), String> {
    let expected = joules.zip(hashes).and_then(|(joules, hashes)| joules.per_terahash(hashes));
    let (Some(expected), Some(ratio)) = (expected, ratio) else {
        return Err(format!(
            "{joules:?} J and {hashes:?} hashes are expected to be there, and their ratio {ratio:?}"
        ));
    };
    if expected == *ratio {
        return Ok(());
    }
    Err(format!("{expected} J/TH are expected, of its joules and hashes, and it says {ratio}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: &str = r#"[{"name":"rig1","work_hashes":"9","shares":3,"last_share_at":1,
      "energy":{"joules":"12.345678","covered_work_hashes":"206123456","sources":["rapl"],
        "joules_per_terahash":"59894.580848"},
      "windows":[{"window":"10m","seconds_covered":7.5,"joules":"12.345678","hashes":"206123456",
        "joules_per_terahash":"59894.580848"}],
      "meters":[{"id":"rapl:psys","kind":"rapl","joules":"12.345678","counted":true,
        "gap_seconds":1.25,"last_at":3}]}]"#;

    #[test]
    fn a_row_is_found_and_agrees_with_itself() {
        let row = find(ROWS, "rig1").unwrap();
        row.agrees_with_itself().unwrap();
        assert_eq!((row.shares, row.meter().unwrap().gap_seconds), (3, 1.25));
        assert_eq!(find(ROWS, "farm1").unwrap_err(), "it has no worker farm1");
        assert!(find("{}", "rig1").is_err());
    }

    #[test]
    fn a_row_that_does_not_is_told_with_both_figures() {
        for (from, to, says) in [
            (r#"h":"59894.580848"}]"#, r#"h":"59894.580849"}]"#, "window 10m: 59894.580848 J/TH"),
            (r#"h":"59894.580848"}]"#, r#"h":null}]"#, "window 10m: Some"),
            (r#"h":"59894.580848"},"#, r#"h":"1"},"#, "it says 1"),
            (r#"joules":"12.345678","covered"#, r#"joules":"12.345679","covered"#, "12.345678 J"),
            ("true", "false", "does not count"),
            (r#""59894.580848"},"#, "null},", "None"),
        ] {
            assert!(ROWS.contains(from), "{from}");
            let row = find(&ROWS.replacen(from, to, 1), "rig1").unwrap();
            let why = row.agrees_with_itself().unwrap_err();
            assert!(why.starts_with("rig1") && why.contains(says), "{why}");
        }
    }
}
