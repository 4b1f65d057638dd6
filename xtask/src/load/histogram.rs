//! Latencies in buckets of equal relative width, so that a percentile is right to about 1.6 % from
//! nanoseconds to minutes in a few kilobytes.

use std::time::Duration;

/// Buckets for each doubling.
const STEPS: u64 = 64;
const STEPS_BITS: u32 = STEPS.trailing_zeros();

#[derive(Default, Clone)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    pub(crate) fn record(&mut self, latency: Duration) {
        let bucket = bucket(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
        if self.counts.len() <= bucket {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += 1;
        self.total += 1;
    }

    pub(crate) fn add(&mut self, other: &Histogram) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
    }

    /// The latency that `per_mille` of a thousand answers stayed within (999 for p99.9).
    pub(crate) fn percentile(&self, per_mille: u64) -> Duration {
        let rank = (self.total * per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(upper_end(bucket));
            }
        }
        Duration::ZERO
    }
}

fn bucket(value: u64) -> usize {
    let bucket = if value < STEPS {
        value
    } else {
        let shift = value.ilog2() - STEPS_BITS;
        u64::from(shift) * STEPS + (value >> shift)
    };
    usize::try_from(bucket).expect("at most 64 doublings of 64 steps")
}

/// The highest value that falls into `bucket`.
fn upper_end(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < 2 * STEPS {
        return bucket;
    }
    let shift = bucket / STEPS - 1;
    ((bucket % STEPS + STEPS + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_the_bucket_whose_end_is_at_or_just_above_it() {
        for value in
            (0..2_000).chain((11..40).flat_map(|bits| [(1 << bits) - 1, 1 << bits, (1 << bits) + 77]))
        {
            let end = upper_end(bucket(value));
            assert!(end >= value && end - value <= value / STEPS, "{value} -> {end}");
        }
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_list() {
        let (mut one, mut two) = (Histogram::default(), Histogram::default());
        for ms in 1..=1_000 {
            let half = if ms % 2 == 0 { &mut one } else { &mut two };
            half.record(Duration::from_millis(ms));
        }
        one.add(&two);
        for (per_mille, ms) in [(500, 500), (990, 990), (999, 999), (1000, 1000)] {
            let found = one.percentile(per_mille).as_micros();
            assert!((ms * 1_000..=ms * 1_016).contains(&found), "p{per_mille} is {found} us");
        }
        assert_eq!(Histogram::default().percentile(990), Duration::ZERO);
    }
}
