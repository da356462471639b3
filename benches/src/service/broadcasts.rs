//! What the pool itself says of new work: `wattproof_pool_job_broadcast_seconds` on its page, from
//! seeing the cause of a job to the last miner written.

/// The histogram at one moment, or between two.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Broadcasts {
    pub(crate) count: u64,
    /// Seconds of all together.
    sum: f64,
    /// By upper bound in seconds, how many took no longer.
    buckets: Vec<(f64, u64)>,
}

const NAME: &str = "wattproof_pool_job_broadcast_seconds_";

impl Broadcasts {
    /// From the text of the pool's metrics.
    pub(super) fn read(text: &str) -> Self {
        let mut all = Self::default();
        for line in text.lines().filter_map(|line| line.strip_prefix(NAME)) {
            let Some((name, value)) = line.rsplit_once(' ') else { continue };
            match name {
                "count" => all.count = value.parse().unwrap_or(0),
                "sum" => all.sum = value.parse().unwrap_or(0.0),
                _ => all.buckets.extend(bucket(name, value)),
            }
        }
        all
    }

    /// Those that came after an earlier look.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let before = |bound: f64| {
            let known = earlier.buckets.iter().find(|(known, _)| known.total_cmp(&bound).is_eq());
            known.map_or(0, |(_, count)| *count)
        };
        let left = |(bound, count): &(f64, u64)| (*bound, count.saturating_sub(before(*bound)));
        Self {
            count: self.count.saturating_sub(earlier.count),
            sum: self.sum - earlier.sum,
            buckets: self.buckets.iter().map(left).collect(),
        }
    }

    /// Milliseconds of one, in the mean; nothing where there was none.
    pub(crate) fn mean_ms(&self) -> Option<f64> {
        let count = u32::try_from(self.count).ok().filter(|count| *count > 0)?;
        Some(1e3 * self.sum / f64::from(count))
    }

    /// Milliseconds that none took longer than: a bucket's bound, so it may be too much.
    pub(crate) fn bound_ms(&self) -> Option<f64> {
        let all = |(_, count): &&(f64, u64)| *count >= self.count && self.count > 0;
        self.buckets.iter().find(all).map(|(bound, _)| 1e3 * bound).filter(|ms| ms.is_finite())
    }
}

fn bucket(name: &str, value: &str) -> Option<(f64, u64)> {
    let bound = name.strip_prefix("bucket{le=\"")?.strip_suffix("\"}")?;
    let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? };
    Some((bound, value.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(counts: [u64; 3], sum: f64) -> String {
        let [fast, slow, all] = counts;
        format!(
            "# TYPE {NAME} histogram\n{NAME}bucket{{le=\"0.05\"}} {fast}\n\
             {NAME}bucket{{le=\"0.1\"}} {slow}\n{NAME}bucket{{le=\"+Inf\"}} {all}\n\
             {NAME}sum {sum}\n{NAME}count {all}\nother_count 7\n"
        )
    }

    #[test]
    fn only_what_came_in_between_counts() {
        let earlier = Broadcasts::read(&text([3, 3, 4], 9.0));
        let between = Broadcasts::read(&text([4, 5, 6], 9.12)).since(&earlier);
        assert_eq!(between.count, 2);
        assert!((between.mean_ms().unwrap() - 60.0).abs() < 1e-6, "{between:?}");
        assert!((between.bound_ms().unwrap() - 100.0).abs() < 1e-9, "{between:?}");
        assert_eq!(earlier.bound_ms(), None, "one took longer than all bounds");
        assert_eq!(Broadcasts::default().mean_ms(), None);
    }
}
