//! Hints: what makes a deployment nicer and may be lost at any moment without changing an answer.
//!
//! Two things: counters of calls, for rate limits, and wake-ups, which tell who shows a wallet that it may have changed.
//! Within one node they live in memory (`local.rs`); with Redis the nodes of a deployment share them (`redis.rs`). Nothing
//! here decides about credits, nothing waits for Redis longer than a few milliseconds, and whoever reads a wallet
//! also asks the database now and then, because a hint may not come. Decision 0012 has the reasons.

mod local;
mod redis;

pub use local::Wakes;

use local::{Counters, Hub, Queue};
use purser_core::WalletKey;
use redis::Link;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

/// The fastest rate, and the largest burst.
pub const RATE_MAX: u32 = 1_000_000;

/// How often somebody may call: a bucket of `burst` calls that fills at `per_second`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    per_second: NonZeroU32,
    burst: NonZeroU32,
}

impl Rate {
    /// A rate; none unless both numbers are from 1 to [`RATE_MAX`].
    pub fn new(per_second: u32, burst: u32) -> Option<Rate> {
        let sound = |number: u32| NonZeroU32::new(number).filter(|number| number.get() <= RATE_MAX);
        Some(Rate { per_second: sound(per_second)?, burst: sound(burst)? })
    }

    /// How many calls may come at once.
    pub fn burst(&self) -> u32 {
        self.burst.get()
    }
}

/// What came of counting a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Whether it may go on.
    pub allowed: bool,
    /// How many more may follow at once.
    pub remaining: u32,
    /// When one may come again; zero for a call that was allowed.
    pub retry_after: Duration,
    /// When the whole burst is there again.
    pub reset_after: Duration,
}

/// How to reach the Redis that the nodes of a deployment share.
#[derive(Clone)]
pub struct RedisOptions {
    /// `redis://`, `rediss://` (TLS) or `redis+unix://`.
    pub url: String,
    /// What every node of this deployment calls it, and no other deployment does: part of each key's name.
    pub deployment: String,
    /// What this node is called; by chance, so that it knows its own messages.
    pub node: u64,
    /// How long a counted call waits for Redis before this node counts it by itself.
    pub deadline: Duration,
}

/// How long a counted call waits for Redis unless said.
pub const DEADLINE: Duration = Duration::from_millis(20);

/// A setting of Redis that cannot be used. Redis being away is no error.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct HintError(String);

/// Whether what is shared is shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// There is no Redis: hints are this node's own, as configured.
    Local,
    /// Redis takes part.
    Shared,
    /// Redis is configured and away, for this reason: hints are this node's own until it is back.
    Away(String),
}

/// The hints of a node. Cheap to clone; its tasks end with the last clone.
#[derive(Clone)]
pub struct Hints {
    inner: Arc<Inner>,
}

struct Inner {
    counters: Counters,
    queue: Arc<Queue>,
    hub: Arc<Hub>,
    link: Option<Arc<Link>>,
    tasks: Vec<AbortHandle>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Hints {
    /// Starts the tasks that carry wake-ups, and with Redis the one that keeps the connection. Redis need not be there.
    ///
    /// # Errors
    /// When Redis' URL is not one.
    pub fn start(redis: Option<RedisOptions>, runtime: &Handle) -> Result<Hints, HintError> {
        let (queue, hub) = (Arc::new(Queue::default()), Arc::new(Hub::default()));
        let link = redis.map(|options| Link::new(options, hub.clone())).transpose()?.map(Arc::new);
        let carrying = runtime.spawn(carry(queue.clone(), hub.clone(), link.clone()));
        let mut tasks = vec![carrying.abort_handle()];
        tasks.extend(link.clone().map(|link| runtime.spawn(link.keep()).abort_handle()));
        Ok(Hints { inner: Arc::new(Inner { counters: Counters::default(), queue, hub, link, tasks }) })
    }

    /// Says that these wallets changed: call it after the commit. Never waits and never fails; when too many wait to be
    /// announced, the oldest are not.
    pub fn wake(&self, wallets: &[WalletKey]) {
        if self.is_wanted() && !wallets.is_empty() {
            self.inner.queue.push(wallets);
        }
    }

    /// Whether anybody would hear of a change.
    fn is_wanted(&self) -> bool {
        !self.inner.hub.is_empty() || self.inner.link.as_ref().is_some_and(|link| link.is_up())
    }

    /// Waits for changes of a wallet, on this node and, with Redis, on others. Subscribe first and read afterwards, so that
    /// nothing falls in between.
    pub fn subscribe(&self, wallet: WalletKey) -> Wakes {
        self.inner.hub.subscribe(wallet)
    }

    /// Counts a call. `now` is in microseconds, of a clock that only grows; Redis takes its own.
    pub async fn take(&self, key: &str, rate: Rate, now: i64) -> Taken {
        if let Some(link) = &self.inner.link
            && let Some(taken) = link.take(key, rate).await
        {
            return taken;
        }
        self.inner.counters.take(key, rate, now)
    }

    /// Whether everything is shared that is meant to be. Right after the start, waits for the first try at Redis.
    pub async fn sharing(&self) -> Sharing {
        match &self.inner.link {
            None => Sharing::Local,
            Some(link) => link.sharing().await,
        }
    }

    /// Whether Redis takes part, where there should be one. Nothing depends on it but how things look.
    pub fn is_healthy(&self) -> bool {
        self.inner.link.as_ref().is_none_or(|link| link.is_up())
    }
}

/// Carries wake-ups from the writer to who waits for them, so that the writer itself wakes nobody.
async fn carry(queue: Arc<Queue>, hub: Arc<Hub>, link: Option<Arc<Link>>) {
    let mut wallets = Vec::new();
    loop {
        queue.take(&mut wallets).await;
        hub.wake(wallets.iter().copied());
        if let Some(link) = &link {
            link.announce(&wallets);
        }
    }
}
