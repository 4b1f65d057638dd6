//! How long requests took: counts by size, so that millions of them take no more memory than a few.
//!
//! Each power of two is cut into 32 parts, which keeps a percentile within about three percent of the truth.

/// Parts of each power of two, as a power of two.
const PART_BITS: u32 = 5;
const PARTS: usize = 1 << PART_BITS;
/// Up to 2^36 microseconds, about 19 hours; what took longer counts there.
const BUCKETS: usize = PARTS * 32;

/// Durations, counted.
#[derive(Clone, Debug)]
pub struct Latency {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Latency {
    fn default() -> Latency {
        Latency { counts: vec![0; BUCKETS], total: 0 }
    }
}

impl Latency {
    /// Counts a duration in microseconds.
    pub fn record(&mut self, micros: i64) {
        let micros = u64::try_from(micros).unwrap_or(0);
        self.counts[bucket(micros)] += 1;
        self.total += 1;
    }

    /// How many were counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The duration in microseconds that `percent` of all do not exceed; 0 when there are none.
    pub fn percentile(&self, percent: u64) -> u64 {
        let rank = (self.total * percent).div_ceil(100).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return upper(index);
            }
        }
        0
    }
}

fn bucket(micros: u64) -> usize {
    if micros < PARTS as u64 {
        return usize::try_from(micros).expect("less than the parts");
    }
    let power = micros.ilog2() - PART_BITS;
    let part = usize::try_from(micros >> power).expect("less than twice the parts") - PARTS;
    ((power as usize + 1) * PARTS + part).min(BUCKETS - 1)
}

/// The longest duration in a bucket.
fn upper(index: usize) -> u64 {
    if index < PARTS {
        return index as u64;
    }
    let (power, part) = (index / PARTS - 1, index % PARTS);
    (((PARTS + part + 1) as u64) << power) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_at_most_a_32nd_away_from_its_buckets_end() {
        for micros in (0..100_000).chain([1_000_000, 123_456_789]) {
            let upper = upper(bucket(micros));
            assert!(upper >= micros && upper - micros <= micros / 32, "{micros} in a bucket up to {upper}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_count_from_the_fastest() {
        let mut latency = Latency::default();
        assert_eq!(latency.percentile(50), 0);
        (1..=20).for_each(|micros| latency.record(micros));
        assert_eq!((latency.percentile(50), latency.percentile(99), latency.total()), (10, 20, 20));
        latency.record(-1);
        assert_eq!((latency.percentile(1), latency.total()), (0, 21));
    }
}
