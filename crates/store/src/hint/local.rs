//! What one node knows by itself: its counters of calls, and who waits for news of which wallet.
//!
//! Bounded in memory, without I/O, without a clock of its own. With Redis the counters serve while Redis is away; the
//! [`Hub`] serves always, as wake-ups from other nodes end here too. Read next: `mod.rs`.

use super::{Rate, Taken};
use parking_lot::Mutex;
use purser_core::WalletKey;
use rustc_hash::{FxBuildHasher, FxHashMap};
use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// Parts of the counters that are locked on their own.
const SHARDS: usize = 16;
/// Keys that one part remembers. Only callers with a sound API key are counted, so few deployments come near.
const KEYS_MAX: usize = 4_096;
/// Wallets that wait to be announced; the oldest give way to newer ones.
const QUEUE_MAX: usize = 16_384;

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// Counters of calls by key, as far as this node sees them.
#[derive(Default)]
pub(super) struct Counters {
    /// For each key the instant, in nanoseconds, at which its bucket is full again. A key whose bucket is full need not
    /// be remembered.
    shards: [Mutex<FxHashMap<Box<str>, i64>>; SHARDS],
}

impl Counters {
    /// Counts a call of `key` at `now` (microseconds of any clock that only grows).
    pub(super) fn take(&self, key: &str, rate: Rate, now: i64) -> Taken {
        let now = now.saturating_mul(1_000);
        // The upper bits: the map inside uses the lower ones.
        let shard = (FxBuildHasher.hash_one(key) >> 60) as usize % SHARDS;
        let mut shard = self.shards[shard].lock();
        if let Some(full_at) = shard.get_mut(key) {
            let (taken, after) = count(rate, *full_at, now);
            *full_at = after;
            return taken;
        }
        if shard.len() >= KEYS_MAX {
            shard.retain(|_, full_at| *full_at > now);
            if shard.len() >= KEYS_MAX {
                // Thousands of keys at work at once: they all begin afresh, rather than memory growing for ever.
                shard.clear();
            }
        }
        let (taken, after) = count(rate, now, now);
        shard.insert(key.into(), after);
        taken
    }
}

/// The generic cell rate algorithm, in nanoseconds: a bucket of `burst` calls that fills at `per_second`, known by the
/// instant at which it is full. Answers whether a call at `now` is taken, and that instant afterwards. The script in
/// `redis.rs` computes the same.
fn count(rate: Rate, full_at: i64, now: i64) -> (Taken, i64) {
    let gap = NANOS_PER_SECOND / i64::from(rate.per_second.get());
    let room = gap * i64::from(rate.burst.get());
    // A bucket cannot be fuller than full, nor emptier than empty, whatever the clock did.
    let full_at = full_at.clamp(now, now.saturating_add(room));
    let after = full_at + gap;
    let lacking = after - now - room;
    if lacking > 0 {
        let taken = Taken {
            allowed: false,
            remaining: 0,
            retry_after: nanos(lacking),
            reset_after: nanos(full_at - now),
        };
        return (taken, full_at);
    }
    let remaining = u32::try_from(-lacking / gap).expect("no more than the burst");
    let taken =
        Taken { allowed: true, remaining, retry_after: Duration::ZERO, reset_after: nanos(after - now) };
    (taken, after)
}

fn nanos(nanos: i64) -> Duration {
    Duration::from_nanos(nanos.unsigned_abs())
}

/// Wallets that wait to be announced. Whoever pushes never waits.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<VecDeque<WalletKey>>,
    filled: Notify,
}

impl Queue {
    /// Adds wallets; beyond the bound the oldest are lost.
    pub(super) fn push(&self, wallets: &[WalletKey]) {
        let newest = &wallets[wallets.len().saturating_sub(QUEUE_MAX)..];
        {
            let mut waiting = self.waiting.lock();
            let over = (waiting.len() + newest.len()).saturating_sub(QUEUE_MAX);
            waiting.drain(..over);
            waiting.extend(newest);
        }
        self.filled.notify_one();
    }

    /// Takes all that waits, each wallet once, as soon as there is any. For one taker.
    pub(super) async fn take(&self, into: &mut Vec<WalletKey>) {
        into.clear();
        loop {
            into.extend(self.waiting.lock().drain(..));
            if !into.is_empty() {
                break;
            }
            self.filled.notified().await;
        }
        into.sort_unstable();
        into.dedup();
    }
}

/// Who waits for news of which wallet.
#[derive(Default)]
pub(super) struct Hub {
    wallets: Mutex<FxHashMap<WalletKey, watch::Sender<()>>>,
    count: AtomicUsize,
}

impl Hub {
    /// Whether nobody waits for anything.
    pub(super) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// Waits for news of a wallet from now on.
    pub(super) fn subscribe(self: &Arc<Hub>, wallet: WalletKey) -> Wakes {
        let mut wallets = self.wallets.lock();
        let woken = wallets.entry(wallet).or_insert_with(|| watch::Sender::new(())).subscribe();
        self.count.store(wallets.len(), Ordering::Release);
        Wakes { hub: self.clone(), wallet, woken }
    }

    /// Wakes who waits for these wallets.
    pub(super) fn wake(&self, wallets: impl IntoIterator<Item = WalletKey>) {
        if self.is_empty() {
            return;
        }
        let waited_for = self.wallets.lock();
        for wallet in wallets {
            if let Some(waiting) = waited_for.get(&wallet) {
                waiting.send_replace(());
            }
        }
    }
}

/// News of one wallet. Ends its subscription when dropped.
pub struct Wakes {
    hub: Arc<Hub>,
    wallet: WalletKey,
    woken: watch::Receiver<()>,
}

impl Wakes {
    /// Waits until something may have happened to the wallet since the last call (or the subscription). However much
    /// happened, it is said once. Dropping the future loses nothing.
    pub async fn next(&mut self) {
        self.woken.changed().await.expect("the hub keeps the sender for as long as anybody subscribes");
    }
}

impl Drop for Wakes {
    fn drop(&mut self) {
        let mut wallets = self.hub.wallets.lock();
        // Ours is still among the receivers.
        if wallets.get(&self.wallet).is_some_and(|waiting| waiting.receiver_count() == 1) {
            wallets.remove(&self.wallet);
        }
        self.hub.count.store(wallets.len(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use purser_core::{Id, TenantNo, WalletId};

    const SECOND: i64 = 1_000_000;

    fn rate(per_second: u32, burst: u32) -> Rate {
        Rate::new(per_second, burst).expect("a rate")
    }

    fn wallet(no: u128) -> WalletKey {
        WalletKey { tenant: TenantNo(7), id: WalletId(Id(no)) }
    }

    /// How many of `calls` are taken at this instant.
    fn taken(counters: &Counters, key: &str, rate: Rate, now: i64, calls: usize) -> usize {
        (0..calls).filter(|_| counters.take(key, rate, now).allowed).count()
    }

    #[test]
    fn a_burst_is_taken_at_once_and_then_the_rate() {
        let (counters, rate) = (Counters::default(), rate(10, 25));
        assert_eq!(taken(&counters, "a", rate, 0, 40), 25);
        assert_eq!(taken(&counters, "a", rate, SECOND, 40), 10);
        assert_eq!(taken(&counters, "a", rate, SECOND + 99_999, 40), 0, "a tenth of a second for one");
        assert_eq!(taken(&counters, "a", rate, SECOND + 100_000, 40), 1);
        assert_eq!(taken(&counters, "a", rate, 60 * SECOND, 40), 25, "no more than the burst is saved up");
    }

    #[test]
    fn keys_are_counted_apart() {
        let (counters, rate) = (Counters::default(), rate(1, 1));
        assert_eq!(taken(&counters, "a", rate, 5, 3), 1);
        assert_eq!(taken(&counters, "b", rate, 5, 3), 1);
    }

    #[test]
    fn what_is_answered_tells_when_to_come_back() {
        let (counters, rate) = (Counters::default(), rate(2, 3));
        let first = counters.take("a", rate, 0);
        assert_eq!((first.allowed, first.remaining), (true, 2));
        assert_eq!((first.retry_after, first.reset_after), (Duration::ZERO, Duration::from_millis(500)));
        assert_eq!(counters.take("a", rate, 0).remaining, 1);
        assert_eq!(counters.take("a", rate, 0).remaining, 0);
        let refused = counters.take("a", rate, 100_000);
        assert_eq!((refused.allowed, refused.remaining), (false, 0));
        assert_eq!(refused.retry_after, Duration::from_millis(400));
        assert_eq!(refused.reset_after, Duration::from_millis(1_400));
        assert!(counters.take("a", rate, 500_000).allowed, "as promised");
    }

    #[test]
    fn a_refused_call_costs_nothing() {
        let (counters, rate) = (Counters::default(), rate(1, 1));
        assert_eq!(taken(&counters, "a", rate, 0, 1_000), 1);
        assert_eq!(taken(&counters, "a", rate, SECOND, 1_000), 1);
    }

    #[test]
    fn a_clock_that_starts_again_locks_nobody_out_for_longer_than_a_bucket() {
        let (counters, rate) = (Counters::default(), rate(1, 5));
        assert_eq!(taken(&counters, "a", rate, 1_000_000 * SECOND, 9), 5);
        assert_eq!(taken(&counters, "a", rate, 0, 9), 0);
        assert_eq!(taken(&counters, "a", rate, 5 * SECOND, 9), 5);
    }

    #[test]
    fn the_largest_and_the_smallest_rates_count_right() {
        let counters = Counters::default();
        let fast = rate(1_000_000, 1_000_000);
        assert_eq!(taken(&counters, "fast", fast, 0, 1_000_100), 1_000_000);
        assert_eq!(taken(&counters, "fast", fast, 1, 3), 1);
        let slow = rate(1, 1_000_000);
        assert_eq!(counters.take("slow", slow, 0).remaining, 999_999);
        let third = rate(3, 1);
        assert_eq!(taken(&counters, "third", third, 0, 2), 1);
        assert_eq!(taken(&counters, "third", third, 333_333, 2), 0);
        assert_eq!(taken(&counters, "third", third, 333_334, 2), 1);
    }

    #[test]
    fn memory_is_bounded_and_first_forgets_who_has_nothing_to_forget() {
        let (counters, rate) = (Counters::default(), rate(1, 1));
        let all = SHARDS * KEYS_MAX;
        (0..all * 9 / 10).for_each(|no| _ = counters.take(&format!("idle-{no}"), rate, 0));
        counters.take("busy", rate, 10 * SECOND);
        (0..all / 5).for_each(|no| _ = counters.take(&format!("new-{no}"), rate, 10 * SECOND));
        assert!(!counters.take("busy", rate, 10 * SECOND).allowed, "its bucket is not full");
        (0..2 * all).for_each(|no| _ = counters.take(&format!("storm-{no}"), rate, 10 * SECOND));
        assert!(counters.shards.iter().all(|shard| shard.lock().len() <= KEYS_MAX));
    }

    #[tokio::test]
    async fn a_full_queue_loses_the_oldest() {
        let queue = Queue::default();
        let all: Vec<WalletKey> = (0..QUEUE_MAX as u128 + 10).map(wallet).collect();
        all.chunks(100).for_each(|some| queue.push(some));
        let mut found = Vec::new();
        queue.take(&mut found).await;
        assert_eq!(found, all[10..]);
        queue.push(&all);
        queue.take(&mut found).await;
        assert_eq!(found, all[10..]);
    }

    #[tokio::test]
    async fn a_slow_subscriber_hears_many_wakes_as_one() {
        let hub = Arc::new(Hub::default());
        let (mut one, mut other) = (hub.subscribe(wallet(1)), hub.subscribe(wallet(2)));
        (0..5).for_each(|_| hub.wake([wallet(1)]));
        one.next().await;
        for wakes in [&mut one, &mut other] {
            let waits = std::future::poll_fn(|context| {
                std::task::Poll::Ready(std::pin::pin!(wakes.next()).poll(context).is_pending())
            });
            assert!(waits.await);
        }
    }

    #[test]
    fn who_is_gone_is_forgotten() {
        let hub = Arc::new(Hub::default());
        let (one, same) = (hub.subscribe(wallet(1)), hub.subscribe(wallet(1)));
        drop(one);
        assert!(!hub.is_empty());
        hub.wake([wallet(1)]);
        drop(same);
        assert!(hub.is_empty() && hub.wallets.lock().is_empty());
    }
}
