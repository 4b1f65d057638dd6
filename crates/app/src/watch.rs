//! Who watches over wallets whose balance is streamed: one watcher for each wallet, however many streams show it.
//!
//! A watcher reads the wallet when a hint says that it may have changed, and once a second in any case: a hint may be lost,
//! another node may have none to send, and a balance also changes by itself when a lot expires. The database (or the
//! memory that is ahead of it) is what is told; hints only say when to look.

use crate::App;
use crate::engine::unavailable;
use crate::error::AppError;
use crate::metrics::OpenStream;
use crate::view::LiveBalance;
use parking_lot::Mutex;
use purser_core::decide::project;
use purser_core::{Wallet, WalletKey};
use rustc_hash::FxHashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::sleep;

/// How often a watched wallet is read when nothing is heard of it.
const POLL: Duration = Duration::from_secs(1);
/// The least time between two looks, so that a busy wallet is told ten times a second.
const GAP: Duration = Duration::from_millis(100);
/// Watchers that look at the same time. Each look takes a thread that may wait for the database.
const LOOKS_MAX: usize = 8;
/// When to try again for a stream, in seconds.
const RETRY_AFTER: u64 = 5;

type Seen = watch::Sender<Option<LiveBalance>>;

/// All watchers of a node.
pub(crate) struct Watchers {
    wallets: Mutex<FxHashMap<WalletKey, Seen>>,
    places: Arc<Semaphore>,
    looks: Semaphore,
    stopping: watch::Sender<bool>,
}

/// A wallet that is watched for somebody.
pub(crate) struct Watched {
    seen: watch::Receiver<Option<LiveBalance>>,
    stopping: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
    _open: OpenStream,
}

impl Watched {
    /// What is seen next; none once the service stops.
    pub(crate) async fn next(&mut self) -> Option<LiveBalance> {
        loop {
            tokio::select! {
                _ = self.stopping.wait_for(|stopping| *stopping) => return None,
                seen = self.seen.changed() => seen.ok()?,
            }
            if let Some(seen) = &*self.seen.borrow_and_update() {
                return Some(seen.clone());
            }
        }
    }
}

impl Watchers {
    /// Watchers for so many streams.
    pub(crate) fn new(streams_max: usize) -> Watchers {
        let places = Arc::new(Semaphore::new(streams_max));
        let (looks, stopping) = (Semaphore::new(LOOKS_MAX), watch::Sender::new(false));
        Watchers { wallets: Mutex::default(), places, looks, stopping }
    }

    /// Ends all streams and refuses new ones.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// How many wallets are watched.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.wallets.lock().len()
    }

    /// Forgets a wallet that nobody watches any more; whether that is so.
    fn leave(&self, wallet: WalletKey) -> bool {
        let mut wallets = self.wallets.lock();
        let unwatched = wallets.get(&wallet).is_none_or(|seen| seen.receiver_count() == 0);
        if unwatched {
            wallets.remove(&wallet);
        }
        unwatched
    }
}

impl App {
    /// Watches a wallet.
    pub(crate) fn watch(&self, wallet: WalletKey) -> Result<Watched, AppError> {
        let watchers = &self.inner.watchers;
        let stopping = watchers.stopping.subscribe();
        if *stopping.borrow() {
            return Err(unavailable("shutting_down", 1));
        }
        let place = watchers.places.clone().try_acquire_owned();
        let place = place.map_err(|_| unavailable("too_many_streams", RETRY_AFTER))?;
        let mut wallets = watchers.wallets.lock();
        let seen = match wallets.get(&wallet) {
            Some(seen) => seen.subscribe(),
            None => {
                let (seen, watched) = watch::channel(None);
                wallets.insert(wallet, seen.clone());
                tokio::spawn(look_after(Watcher { app: self.clone(), wallet, seen }));
                watched
            }
        };
        Ok(Watched { seen, stopping, _place: place, _open: OpenStream::new() })
    }

    /// The balance of a wallet now.
    pub(crate) fn live_balance(&self, wallet: &Wallet) -> LiveBalance {
        let as_of = self.now().max(wallet.recorded_at);
        let balance = project(wallet, as_of).balance(as_of);
        LiveBalance { key: wallet.key, unit: wallet.unit.clone(), seq: wallet.seq, balance, as_of }
    }
}

/// Whether what was seen is another balance than what was told, and no older one.
pub(crate) fn is_news(seen: &LiveBalance, told: &LiveBalance) -> bool {
    let later = (seen.seq, seen.as_of) >= (told.seq, told.as_of);
    later && (seen.seq, seen.balance) != (told.seq, told.balance)
}

struct Watcher {
    app: App,
    wallet: WalletKey,
    seen: Seen,
}

impl Drop for Watcher {
    /// However it ends, a bug included: streams that wait for it end, and the next one gets another.
    fn drop(&mut self) {
        let mut wallets = self.app.inner.watchers.wallets.lock();
        if wallets.get(&self.wallet).is_some_and(|seen| seen.same_channel(&self.seen)) {
            wallets.remove(&self.wallet);
        }
    }
}

/// Looks at a wallet until nobody wants to know, or the service stops.
async fn look_after(watcher: Watcher) {
    let Watcher { app, wallet, seen } = &watcher;
    // Before the first look, so that no change falls between.
    let mut wakes = app.inner.hints.subscribe(*wallet);
    let mut stopping = app.inner.watchers.stopping.subscribe();
    loop {
        let turn = app.inner.watchers.looks.acquire().await;
        let found = app.wallet_now(*wallet).await;
        drop(turn);
        match found {
            Ok(Some(current)) => {
                let now = app.live_balance(&current.wallet);
                seen.send_if_modified(|told| {
                    let news = told.as_ref().is_none_or(|told| is_news(&now, told));
                    if news {
                        *told = Some(now);
                    }
                    news
                });
            }
            Ok(None) => {}
            // The streams stay, and go on once the database is back.
            Err(error) => tracing::debug!(%error, "a watched wallet could not be read"),
        }
        tokio::select! {
            () = seen.closed() => {
                if app.inner.watchers.leave(*wallet) {
                    return;
                }
            }
            _ = stopping.wait_for(|stopping| *stopping) => return,
            () = wakes.next() => {}
            () = sleep(POLL) => {}
        }
        sleep(GAP).await;
    }
}
