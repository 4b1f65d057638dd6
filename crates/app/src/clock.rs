//! Time and randomness: the only place that reads a clock or a random source. Everything else is handed both.
//!
//! A ledger must not follow a wall clock that jumps. [`SafeClock`] compares the wall clock with the monotonic one and
//! refuses to name the time after a jump, until the wall clock agrees again or the process is restarted.
#![allow(
    clippy::disallowed_methods,
    reason = "this file is the one place that may ask the machine for time and randomness"
)]

use parking_lot::Mutex;
use purser_core::time::SECOND;
use purser_core::{Id, Timestamp};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// How far the wall clock may move against the monotonic one before writes are refused, in microseconds.
pub const JUMP_MAX: i64 = 5 * SECOND;

/// A source of time.
pub trait Clock: Send + Sync {
    /// The wall clock.
    fn wall(&self) -> Timestamp;
    /// Microseconds that only ever grow, from any start.
    fn monotonic(&self) -> i64;
    /// Whether it is to agree with the clock of the database, which other nodes share.
    fn is_shared(&self) -> bool {
        true
    }
}

/// The machine's clocks.
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn wall(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> i64 {
        i64::try_from(self.start.elapsed().as_micros()).unwrap_or(i64::MAX)
    }
}

/// Clocks that tests and the simulator set: their time has nothing to do with a database's.
#[derive(Default)]
pub struct ManualClock {
    wall: AtomicI64,
    monotonic: AtomicI64,
}

impl ManualClock {
    /// Both clocks at the same instant.
    pub fn at(now: Timestamp) -> ManualClock {
        ManualClock { wall: AtomicI64::new(now.0), monotonic: AtomicI64::new(0) }
    }

    /// Time passes on both clocks.
    pub fn advance(&self, micros: i64) {
        self.wall.fetch_add(micros, Ordering::SeqCst);
        self.monotonic.fetch_add(micros, Ordering::SeqCst);
    }

    /// Somebody sets the wall clock; no time passes.
    pub fn jump(&self, micros: i64) {
        self.wall.fetch_add(micros, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn wall(&self) -> Timestamp {
        Timestamp(self.wall.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> i64 {
        self.monotonic.load(Ordering::SeqCst)
    }

    fn is_shared(&self) -> bool {
        false
    }
}

/// The time cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockUnsafe {
    /// The wall clock jumped against the monotonic one.
    Jumped {
        /// By how many microseconds, forwards or backwards.
        jump: i64,
    },
    /// The wall clock is not that of the database, which other nodes share.
    Apart {
        /// By how many microseconds it is ahead; less than nothing when it is behind.
        ahead: i64,
    },
}

impl std::fmt::Display for ClockUnsafe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ClockUnsafe::Jumped { jump } => write!(f, "the clock jumped by {} s", jump / SECOND),
            ClockUnsafe::Apart { ahead } => {
                let (seconds, way) = (ahead.abs() / SECOND, if *ahead < 0 { "behind" } else { "ahead of" });
                write!(f, "the clock is {seconds} s {way} the clock of the database")
            }
        }
    }
}

/// A clock that notices jumps.
#[derive(Clone)]
pub struct SafeClock {
    clock: Arc<dyn Clock>,
    /// Wall clock minus monotonic clock, when both were last believed.
    offset: Arc<AtomicI64>,
    /// Wall clock minus the database's, when that was last heard of.
    ahead: Arc<AtomicI64>,
}

impl SafeClock {
    /// Believes the clock as it is now.
    pub fn new(clock: Arc<dyn Clock>) -> SafeClock {
        let offset = clock.wall().0 - clock.monotonic();
        SafeClock { clock, offset: Arc::new(AtomicI64::new(offset)), ahead: Arc::default() }
    }

    /// The time, unless the wall clock jumped. Small corrections are followed.
    ///
    /// # Errors
    /// [`ClockUnsafe`] after a jump of more than [`JUMP_MAX`] either way, or while it is as far from the database's clock.
    pub fn now(&self) -> Result<Timestamp, ClockUnsafe> {
        let (wall, monotonic) = (self.clock.wall(), self.clock.monotonic());
        let offset = wall.0 - monotonic;
        let jump = offset - self.offset.load(Ordering::Relaxed);
        if jump.abs() > JUMP_MAX {
            return Err(ClockUnsafe::Jumped { jump });
        }
        let ahead = self.ahead.load(Ordering::Relaxed);
        if ahead.abs() > JUMP_MAX {
            return Err(ClockUnsafe::Apart { ahead });
        }
        self.offset.store(offset, Ordering::Relaxed);
        Ok(wall)
    }

    /// Compares the wall clock with that of the database, which said that it is `now`, asked between these two readings of the
    /// wall clock: what lies between them is not held against anybody.
    pub fn compare(&self, before: Timestamp, now: Timestamp, after: Timestamp) {
        if !self.clock.is_shared() {
            return;
        }
        let ahead = (before.0 - now.0).max(0) - (now.0 - after.0).max(0);
        self.ahead.store(ahead, Ordering::Relaxed);
    }

    /// The wall clock, believed or not: for reads and logs.
    pub fn wall(&self) -> Timestamp {
        self.clock.wall()
    }

    /// Microseconds that only ever grow: for waits and deadlines.
    pub fn monotonic(&self) -> i64 {
        self.clock.monotonic()
    }
}

/// A source of random numbers.
pub trait Random: Send + Sync {
    /// Fills a buffer.
    fn fill(&self, bytes: &mut [u8]);
}

/// The operating system's random numbers, fetched in blocks.
#[derive(Default)]
pub struct SystemRandom {
    pool: Mutex<Pool>,
}

struct Pool {
    bytes: [u8; 1024],
    used: usize,
}

impl Default for Pool {
    fn default() -> Pool {
        Pool { bytes: [0; 1024], used: 1024 }
    }
}

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        let mut pool = self.pool.lock();
        for chunk in bytes.chunks_mut(64) {
            if pool.used + chunk.len() > pool.bytes.len() {
                getrandom::fill(&mut pool.bytes).expect("the operating system has random numbers");
                pool.used = 0;
            }
            let start = pool.used;
            pool.used += chunk.len();
            chunk.copy_from_slice(&pool.bytes[start..start + chunk.len()]);
            // What was handed out may have become a secret: it does not stay in memory twice.
            let end = pool.used;
            pool.bytes[start..end].fill(0);
        }
    }
}

/// Random numbers that repeat for the same seed: for the simulator and tests.
pub struct SeededRandom {
    state: AtomicU64,
}

impl SeededRandom {
    /// Starts the sequence of this seed.
    pub fn new(seed: u64) -> SeededRandom {
        SeededRandom { state: AtomicU64::new(seed) }
    }
}

impl Random for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            // SplitMix64: a counter and a mixer, so that threads may share it.
            let mut z = self
                .state
                .fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst)
                .wrapping_add(0x9e37_79b9_7f4a_7c15);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let block = (z ^ (z >> 31)).to_le_bytes();
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
    }
}

/// Makes ids and numbers from a clock and a random source.
#[derive(Clone)]
pub struct Ids {
    clock: SafeClock,
    random: Arc<dyn Random>,
}

impl Ids {
    /// Ids from these sources.
    pub fn new(clock: SafeClock, random: Arc<dyn Random>) -> Ids {
        Ids { clock, random }
    }

    /// A fresh time-ordered id.
    pub fn id(&self) -> Id {
        Id::new(u64::try_from(self.clock.wall().0 / 1_000).unwrap_or(0), self.number())
    }

    /// A random 64-bit number.
    pub fn number(&self) -> u64 {
        let mut bytes = [0; 8];
        self.random.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// Random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.random.fill(&mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_is_refused_until_the_wall_clock_agrees_again() {
        let manual = Arc::new(ManualClock::at(Timestamp(1_000 * SECOND)));
        let clock = SafeClock::new(manual.clone());
        manual.advance(60 * SECOND);
        assert_eq!(clock.now(), Ok(Timestamp(1_060 * SECOND)));
        manual.jump(-3_600 * SECOND);
        assert_eq!(clock.now(), Err(ClockUnsafe::Jumped { jump: -3_600 * SECOND }));
        manual.jump(3_602 * SECOND);
        assert_eq!(clock.now(), Ok(Timestamp(1_062 * SECOND)));
        manual.jump(JUMP_MAX + 1);
        assert!(clock.now().is_err());
    }

    #[test]
    fn a_clock_apart_from_the_databases_is_refused_until_it_agrees_again() {
        let clock = SafeClock::new(Arc::new(SystemClock::default()));
        let at = |seconds: i64| Timestamp(seconds * SECOND);
        clock.compare(at(1_000), at(1_008), at(1_001));
        assert_eq!(clock.now(), Err(ClockUnsafe::Apart { ahead: -7 * SECOND }));
        clock.compare(at(1_000), at(990), at(1_001));
        assert_eq!(clock.now(), Err(ClockUnsafe::Apart { ahead: 10 * SECOND }));
        // A slow answer alone says nothing about the clock.
        clock.compare(at(1_000), at(1_010), at(1_020));
        assert!(clock.now().is_ok());
    }

    #[test]
    fn a_clock_that_a_test_sets_is_compared_with_nobodys() {
        let clock = SafeClock::new(Arc::new(ManualClock::at(Timestamp(1_000 * SECOND))));
        clock.compare(Timestamp(1_000 * SECOND), Timestamp(9_000 * SECOND), Timestamp(1_000 * SECOND));
        assert!(clock.now().is_ok());
    }

    #[test]
    fn random_numbers_come_from_the_seed_and_differ() {
        let numbers = |seed| {
            let random = SeededRandom::new(seed);
            let mut bytes = [0; 20];
            random.fill(&mut bytes);
            bytes
        };
        assert_eq!(numbers(1), numbers(1));
        assert_ne!(numbers(1), numbers(2));
        let mut twice = [[0; 32]; 2];
        let system = SystemRandom::default();
        twice.iter_mut().for_each(|bytes| system.fill(bytes));
        assert_ne!(twice[0], twice[1]);
    }
}
