//! Idempotency keys: UUIDv7, and never the same twice in one run, whatever thread made it.
//!
//! Two threads once sent the same keys, half the requests were replays, and every figure came out
//! nearly double. So uniqueness is by construction here: each generator owns a number that is part of
//! the key, and counts.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The number of the next generator in this process.
static GENERATORS: AtomicU64 = AtomicU64::new(0);

/// In which order keys come.
#[derive(Clone, Copy)]
pub(crate) enum Order {
    /// UUIDv7: by time, the form that is recommended to clients.
    Time,
    /// UUIDv4: by chance, which clients may choose as well.
    Chance,
}

pub(crate) struct Keys {
    order: Order,
    /// 10 bits of generator and 20 bits of chance, above the counter's 32.
    prefix: u64,
    counter: u32,
}

impl Keys {
    pub(crate) fn new(order: Order) -> Self {
        let generator = GENERATORS.fetch_add(1, Ordering::Relaxed);
        assert!(generator < 1 << 10, "a bench makes a handful of generators");
        // Several processes may ask one server: chance keeps those apart.
        let chance = RandomState::new().hash_one(generator) & 0xF_FFFF;
        Keys { order, prefix: generator << 52 | chance << 32, counter: 0 }
    }

    /// The next key, as 36 bytes of text.
    pub(crate) fn append_next(&mut self, out: &mut Vec<u8>) {
        let own = self.prefix | u64::from(self.counter);
        // Keys of one millisecond come in no order, as those of independent clients do.
        let chance = (own ^ own >> 31).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let high = match self.order {
            Order::Time => {
                let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let ms = u64::try_from(since_epoch.as_millis()).expect("milliseconds fit for ages");
                ms << 16 | 0x7 << 12 | chance >> 52
            }
            Order::Chance => chance & !0xF000 | 0x4000,
        };
        let low = 0b10 << 62 | own;
        self.counter = self.counter.checked_add(1).expect("fewer than four thousand million requests");
        append_hex(out, high, &[8, 4, 4]);
        out.pop();
        out.push(b'-');
        append_hex(out, low, &[4, 12]);
        out.pop();
    }
}

/// The digits of `value`, with a hyphen after each group.
fn append_hex(out: &mut Vec<u8>, value: u64, groups: &[usize]) {
    let mut shift = 64;
    for group in groups {
        for _ in 0..*group {
            shift -= 4;
            out.push(b"0123456789abcdef"[(value >> shift & 0xF) as usize]);
        }
        out.push(b'-');
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_generators_ever_make_the_same_key() {
        let workers: Vec<_> = (0..4)
            .map(|number| {
                let order = if number % 2 == 0 { Order::Time } else { Order::Chance };
                std::thread::spawn(move || {
                    let mut keys = Keys::new(order);
                    let mut made = Vec::new();
                    for _ in 0..20_000 {
                        let mut key = Vec::new();
                        keys.append_next(&mut key);
                        made.push(key);
                    }
                    made
                })
            })
            .collect();
        let all: Vec<Vec<Vec<u8>>> =
            workers.into_iter().map(|worker| worker.join().expect("no panic")).collect();
        assert_eq!(all.iter().flatten().collect::<HashSet<_>>().len(), 80_000);
        // Not by luck: the generator's own number is in every key it makes.
        let number = |key: &Vec<u8>| {
            let low = String::from_utf8_lossy(&key[19..]).replace('-', "");
            u64::from_str_radix(&low, 16).expect("hexadecimal") >> 52 & 0x3FF
        };
        let owners: Vec<HashSet<u64>> = all.iter().map(|made| made.iter().map(number).collect()).collect();
        assert!(owners.iter().all(|numbers| numbers.len() == 1), "{owners:?}");
        assert_eq!(owners.iter().flatten().collect::<HashSet<_>>().len(), 4, "{owners:?}");
    }

    #[test]
    fn keys_by_chance_are_uuids_of_version_4_that_begin_differently() {
        let mut keys = Keys::new(Order::Chance);
        let mut beginnings = HashSet::new();
        for _ in 0..1_000 {
            let mut key = Vec::new();
            keys.append_next(&mut key);
            assert_eq!(key[14], b'4', "{}", String::from_utf8_lossy(&key));
            beginnings.insert(key[..8].to_vec());
        }
        assert!(beginnings.len() > 990, "{} different beginnings", beginnings.len());
    }

    #[test]
    fn a_key_is_a_uuid_of_version_7_and_of_now() {
        let mut key = Vec::new();
        Keys::new(Order::Time).append_next(&mut key);
        let key = String::from_utf8(key).expect("ASCII");
        let groups: Vec<usize> = key.split('-').map(str::len).collect();
        assert_eq!(groups, [8, 4, 4, 4, 12], "{key}");
        assert_eq!(&key[14..15], "7", "{key}");
        assert!("89ab".contains(&key[19..20]), "{key}");
        let ms = u64::from_str_radix(&key.replace('-', "")[..12], 16).expect("hexadecimal");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
        assert!(now.abs_diff(u128::from(ms)) < 60_000, "{key} is of {ms}, now is {now}");
    }
}
