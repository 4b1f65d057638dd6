//! A Bloom filter over key digests: a new key is told from the keys of a run without touching the disk.
//!
//! It may take a new key for a known one (about once in a hundred), never a known key for a new one. The digests are
//! uniform already, so their own bits are the hashes.

use super::answers::Hashed;

/// Bits for each key; with seven probes about 0.8 % of new keys are taken for known ones.
const BITS_PER_KEY: usize = 10;
const PROBES: u64 = 7;

/// The set of keys of one run, approximately.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Filter {
    words: Vec<u64>,
}

impl Filter {
    /// An empty filter for this many keys.
    pub(crate) fn with_capacity(keys: usize) -> Filter {
        Filter { words: vec![0; (keys * BITS_PER_KEY).div_ceil(64).max(1)] }
    }

    /// Adds a key.
    pub(crate) fn insert(&mut self, key: Hashed) {
        for probe in 0..PROBES {
            let (word, bit) = self.place(key, probe);
            self.words[word] |= bit;
        }
    }

    /// False only when the key was never added.
    pub(crate) fn may_contain(&self, key: Hashed) -> bool {
        (0..PROBES).all(|probe| {
            let (word, bit) = self.place(key, probe);
            self.words[word] & bit != 0
        })
    }

    /// The bytes that are stored.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        self.words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// The filter with these bytes; none when they are no filter.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Filter> {
        let (words, rest) = bytes.as_chunks::<8>();
        (rest.is_empty() && !words.is_empty())
            .then(|| Filter { words: words.iter().map(|word| u64::from_le_bytes(*word)).collect() })
    }

    /// Double hashing: the probes walk from the first half of the digest in steps of the second.
    fn place(&self, key: Hashed, probe: u64) -> (usize, u64) {
        let (start, step) = key.halves();
        let hash = start.wrapping_add(probe.wrapping_mul(step | 1));
        let bits = self.words.len() as u128 * 64;
        let bit = ((u128::from(hash) * bits) >> 64) as u64;
        ((bit / 64) as usize, 1 << (bit % 64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_key_that_was_added_is_always_found(keys in prop::collection::vec(any::<[u8; 16]>(), 1..300)) {
            let mut filter = Filter::with_capacity(keys.len());
            keys.iter().for_each(|key| filter.insert(Hashed(*key)));
            let stored = Filter::from_bytes(&filter.to_bytes()).expect("its own bytes");
            prop_assert_eq!(&stored, &filter);
            prop_assert!(keys.iter().all(|key| stored.may_contain(Hashed(*key))));
        }
    }

    #[test]
    fn few_new_keys_are_taken_for_known_ones() {
        let key =
            |number: u32| Hashed::from(crate::KeyDigest::of(purser_core::TenantNo(1), &number.to_string()));
        let mut filter = Filter::with_capacity(10_000);
        (0..10_000).for_each(|number| filter.insert(key(number)));
        let mistaken = (10_000..110_000).filter(|number| filter.may_contain(key(*number))).count();
        assert!((1..2_000).contains(&mistaken), "{mistaken} of 100,000");
    }

    #[test]
    fn bytes_that_are_no_filter_are_refused() {
        assert_eq!(Filter::from_bytes(&[]), None);
        assert_eq!(Filter::from_bytes(&[0; 9]), None);
    }
}
