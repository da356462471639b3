//! The miner's metrics: what is counted as events, through the `metrics` crate into a registry of
//! our own, and what is exact, printed from the integers themselves.
//!
//! Read [`Registry`] and [`ShareMetrics`]; [`exact`] is the other half. There is no global
//! recorder: whoever counts holds the handles it needs.

pub mod exact;

use metrics::{Counter, Key, Label, Metadata, Recorder as _, Unit};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};

use crate::upstream::status::Verdict;

/// Where handles come from and where they are printed.
#[derive(Debug)]
pub struct Registry {
    recorder: PrometheusRecorder,
}

/// Shares by verdict.
#[derive(Debug, Clone)]
pub struct ShareMetrics {
    /// Shares found, by what became of them.
    shares: [Counter; Verdict::ALL.len()],
}

impl Registry {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self { recorder: PrometheusBuilder::new().build_recorder() }
    }

    /// Everything counted so far, in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.recorder.handle().render()
    }

    fn counter(&self, name: &'static str, label: Label) -> Counter {
        let key = Key::from_parts(name, vec![label]);
        let metadata = Metadata::new(module_path!(), metrics::Level::INFO, Some(module_path!()));
        self.recorder.register_counter(&key, &metadata)
    }
}

impl ShareMetrics {
    /// Registers the handles; each verdict is there from the start, at zero.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        const NAME: &str = "wattproof_miner_shares_total";
        let help = "Shares found, by what became of them.";
        registry.recorder.describe_counter(NAME.into(), Some(Unit::Count), help.into());
        let shares = Verdict::ALL.map(|verdict| {
            let counter = registry.counter(NAME, Label::new("verdict", verdict.label()));
            counter.increment(0);
            counter
        });
        Self { shares }
    }

    /// One more share with this verdict.
    pub fn add(&self, verdict: Verdict) {
        for (counter, known) in self.shares.iter().zip(Verdict::ALL) {
            if known == verdict {
                counter.increment(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_is_there_from_the_start_and_counts() {
        let registry = Registry::new();
        let shares = ShareMetrics::new(&registry);
        shares.add(Verdict::Accepted);
        shares.add(Verdict::Accepted);
        shares.add(Verdict::Unsent);
        let text = registry.render();
        assert!(text.contains("# TYPE wattproof_miner_shares_total counter"), "{text}");
        assert!(text.contains("# HELP wattproof_miner_shares_total Shares found"), "{text}");
        for (verdict, count) in [("accepted", 2), ("stale", 0), ("unsent", 1)] {
            let line = format!("wattproof_miner_shares_total{{verdict=\"{verdict}\"}} {count}");
            assert!(text.contains(&line), "{line} is not in:\n{text}");
        }
    }
}
