//! How the keys of a run begin: UUIDv7 keys begin with their time, so most runs are told from a new key by two comparisons.
//!
//! A filter costs several reads of far memory for each run and key; with many runs that was the most of a look-up. Keys
//! that begin otherwise are not helped and lose nothing.

use crate::hot::KeyDigest;

/// How a key begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lead {
    /// As a UUID does: its first 44 bits, which in a UUIDv7 are a time.
    Uuid(u64),
    /// In another way.
    Other,
    /// Not known: it was stored by a version that kept digests alone.
    Unknown,
}

impl Lead {
    /// The lead of a key: eight hexadecimal digits, a hyphen, three more; or anything else.
    pub(crate) fn of(key: &KeyDigest) -> Lead {
        let lead = key.lead();
        if lead[0] == 0 {
            return Lead::Unknown;
        }
        let mut number = 0;
        for (at, byte) in lead.iter().enumerate() {
            match (at, byte) {
                (8, b'-') => {}
                (8, _) => return Lead::Other,
                (_, b'0'..=b'9') => number = number << 4 | u64::from(byte - b'0'),
                (_, b'a'..=b'f') => number = number << 4 | u64::from(byte - b'a' + 10),
                // Capitals too would be read, but a key is what was sent: the same UUID in capitals is another key.
                _ => return Lead::Other,
            }
        }
        Lead::Uuid(number)
    }
}

/// The leads of a set of keys: the range of those of UUIDs, and whether there are others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Leads {
    low: u64,
    high: u64,
    others: bool,
}

/// Bytes of the stored form.
pub(crate) const LEADS: usize = 17;

impl Leads {
    /// Of no key.
    pub(crate) const NONE: Leads = Leads { low: u64::MAX, high: 0, others: false };
    /// Of any keys: what holds of a run that was stored without its leads.
    pub(crate) const ANY: Leads = Leads { low: 0, high: u64::MAX, others: true };

    /// Adds a key's.
    pub(crate) fn insert(&mut self, lead: Lead) {
        match lead {
            Lead::Uuid(number) => {
                self.low = self.low.min(number);
                self.high = self.high.max(number);
            }
            Lead::Other => self.others = true,
            Lead::Unknown => *self = Leads::ANY,
        }
    }

    /// False only when no such key was added.
    pub(crate) fn may_contain(&self, lead: Lead) -> bool {
        match lead {
            Lead::Uuid(number) => (self.low..=self.high).contains(&number),
            Lead::Other => self.others,
            Lead::Unknown => true,
        }
    }

    /// Those of both sets.
    pub(crate) fn and(&self, other: &Leads) -> Leads {
        Leads {
            low: self.low.min(other.low),
            high: self.high.max(other.high),
            others: self.others || other.others,
        }
    }

    /// Whether a key falls into about one of these sets, rather than into many: all are of UUIDs, and their ranges
    /// together are not much longer than what they cover.
    pub(crate) fn lie_apart(sets: impl Iterator<Item = Leads>) -> bool {
        let (mut whole, mut sum) = (Leads::NONE, 0_u64);
        for set in sets {
            whole = whole.and(&set);
            sum = sum.saturating_add(set.high.saturating_sub(set.low));
        }
        !whole.others && sum / 2 <= whole.high.saturating_sub(whole.low)
    }

    /// The bytes that are stored.
    pub(crate) fn to_bytes(self) -> [u8; LEADS] {
        let mut bytes = [0; LEADS];
        bytes[..8].copy_from_slice(&self.low.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.high.to_le_bytes());
        bytes[16] = u8::from(self.others);
        bytes
    }

    /// The leads with these bytes; none when they are none.
    pub(crate) fn from_bytes(bytes: &[u8; LEADS]) -> Option<Leads> {
        let (low, rest) = bytes.split_first_chunk::<8>()?;
        let (high, rest) = rest.split_first_chunk::<8>()?;
        let others = match rest {
            [0] => false,
            [1] => true,
            _ => return None,
        };
        Some(Leads { low: u64::from_le_bytes(*low), high: u64::from_le_bytes(*high), others })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use purser_core::TenantNo;

    fn lead(key: &str) -> Lead {
        Lead::of(&KeyDigest::of(TenantNo(1), key))
    }

    #[test]
    fn only_what_begins_as_a_uuid_is_read_as_one() {
        assert_eq!(lead("0190a5c2-7b3e-7cc0-98c4-dc0c0c07398f"), Lead::Uuid(0x019_0a5c_27b3));
        for other in
            ["0190A5C2-7b3e-7cc0-98c4-dc0c0c07398f", "0190a5c27b3e7cc0", "0190a5c2-7b", "order-17", "-"]
        {
            assert_eq!(lead(other), Lead::Other, "{other}");
        }
        assert_eq!(Lead::of(&KeyDigest::of(TenantNo(1), "0190a5c2-7b3e").without_lead()), Lead::Unknown);
    }

    #[test]
    fn times_that_follow_each_other_lie_apart_and_random_ones_do_not() {
        let set = |leads: &[Lead]| {
            let mut set = Leads::NONE;
            leads.iter().for_each(|lead| set.insert(*lead));
            set
        };
        let ordered = (0..8).map(|run| set(&[Lead::Uuid(run * 100), Lead::Uuid(run * 100 + 120)]));
        assert!(Leads::lie_apart(ordered.clone()));
        let random = (0..8).map(|run| set(&[Lead::Uuid(run), Lead::Uuid(1_000_000 - run)]));
        assert!(!Leads::lie_apart(random));
        assert!(!Leads::lie_apart(ordered.chain([set(&[Lead::Other])])));
        assert!(!Leads::lie_apart([Leads::ANY, Leads::ANY].into_iter()));
    }

    fn any_key() -> impl Strategy<Value = String> {
        prop_oneof!["0190a5c[0-9]-7[a-f0-9]{3}-7cc0", "[ -~]{1,16}", "[0-9a-f]{8}-[0-9a-f]{4}-4abc"]
    }

    proptest! {
        /// A key that was added is never taken for a new one, stored, merged with others or not.
        #[test]
        fn no_key_is_lost(keys in prop::collection::vec(any_key(), 1..50), others in prop::collection::vec(any_key(), 0..50)) {
            let mut set = Leads::NONE;
            keys.iter().for_each(|key| set.insert(lead(key)));
            let mut more = Leads::NONE;
            others.iter().for_each(|key| more.insert(lead(key)));
            let stored = Leads::from_bytes(&set.and(&more).to_bytes()).expect("its own bytes");
            for key in keys.iter().chain(&others) {
                prop_assert!(stored.may_contain(lead(key)) && stored.may_contain(Lead::Unknown));
                prop_assert!(Leads::ANY.may_contain(lead(key)));
            }
            set.insert(Lead::Unknown);
            prop_assert!(others.iter().all(|key| set.may_contain(lead(key))));
        }
    }
}
