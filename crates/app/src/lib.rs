//! Purser's use cases: who may do what, and how a request becomes a command, a transaction and an answer.
//!
//! Movements of credits all take one way: a use case parses and authorises, the [`engine`] queues the command, its
//! writer loads state, lets `purser_core::decide` decide, records and commits, and the receipt comes back. This crate
//! knows no HTTP and no SQL. Start with `usecase/debit.rs`, then `engine/`.

pub mod ask;
pub mod bench;
pub mod boot;
pub mod caller;
pub mod clock;
pub mod config;
mod cursor;
pub mod database;
pub mod elsewhere;
pub mod engine;
pub mod error;
pub mod gate_log;
mod history;
pub mod link;
pub mod litellm;
mod metrics;
mod names;
mod parse;
mod quote;
pub mod rate;
mod refusals;
pub mod replay;
pub mod secret;
mod signed;
pub mod usecase;
pub mod view;
mod watch;

use crate::boot::Settings;
use crate::clock::{Ids, SafeClock};
use crate::config::{Config, SharedConfig};
use crate::engine::{Engine, Live};
use crate::error::AppError;
use crate::history::History;
use crate::names::NameCache;
use crate::refusals::Refusals;
use crate::secret::Secrets;
use crate::watch::Watchers;
use purser_core::Timestamp;
use purser_core::catalogue::Catalogue;
use purser_store::hint::{Hints, Sharing};
use purser_store::{Reader, Store, StoreError};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// A running node. Cheap to clone.
#[derive(Clone)]
pub struct App {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    store: Store,
    engine: Engine,
    live: Live,
    config: SharedConfig,
    names: NameCache,
    clock: SafeClock,
    ids: Ids,
    secrets: Secrets,
    /// Which database this is.
    ledger_id: u64,
    hints: Hints,
    watchers: Watchers,
    refusals: Refusals,
    /// When the configuration was last looked at because somebody was unknown.
    looked_at: AtomicI64,
    /// Lets one rehearsal of prices run at a time.
    rehearsals: tokio::sync::Semaphore,
    history: History,
}

/// How often the database is asked because of callers that this node does not know, at the most, in microseconds.
const LOOK_EVERY: i64 = 100_000;

/// Whether the node can take work, and what is wrong when it cannot.
#[derive(Clone, Debug)]
pub struct Readiness {
    /// Whether commands are accepted.
    pub ready: bool,
    /// One line for each thing checked: name, and what is wrong with it (none when fine).
    pub checks: Vec<(&'static str, Option<String>)>,
    /// What an operator would like to know and no caller notices: name and remark.
    pub notes: Vec<(&'static str, String)>,
}

impl App {
    /// The configuration in force.
    pub(crate) fn config(&self) -> Arc<Config> {
        self.inner.config.get()
    }

    /// The catalogue in force.
    pub fn catalogue(&self) -> Arc<Catalogue> {
        self.config().catalogue.clone()
    }

    /// The settings the node was started with.
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// What everything signed or encrypted derives from.
    pub fn secrets(&self) -> &Secrets {
        &self.inner.secrets
    }

    /// The time, as the service sees it: good for reads; the engine decides for itself what time a movement has.
    pub fn now(&self) -> Timestamp {
        self.inner.clock.wall()
    }

    /// Microseconds that only ever grow, for measuring how long something takes.
    pub fn monotonic(&self) -> i64 {
        self.inner.clock.monotonic()
    }

    /// Whether the node can take work.
    pub async fn readiness(&self) -> Readiness {
        let clock = self.inner.clock.now().err().map(|error| error.to_string());
        let store =
            self.read(|reader| reader.flushed().map(|_| ())).await.err().map(|error| error.to_string());
        let engine = match self.inner.engine.is_running() {
            true => self.inner.engine.trouble(),
            false => Some("the writer has ended".to_string()),
        };
        let checks = vec![("clock", clock), ("database", store), ("engine", engine)];
        let redis = match self.inner.hints.sharing().await {
            Sharing::Local => None,
            Sharing::Shared => Some("shares rate limits and wake-ups with the other nodes".to_string()),
            Sharing::Away(why) => {
                Some(format!("away ({why}); rate limits and wake-ups are this node's own until it is back"))
            }
        };
        let notes = redis.map(|note| ("redis", note)).into_iter().collect();
        Readiness { ready: checks.iter().all(|(_, wrong)| wrong.is_none()), checks, notes }
    }

    /// Ends the streams of live balances, and refuses new ones: nothing else would end them when the server stops.
    pub fn end_streams(&self) {
        self.inner.watchers.stop();
    }

    /// Takes over what another node changed in the configuration a moment ago; whether that was so. Strangers cannot make
    /// it ask the database as often as they like.
    pub(crate) async fn look_again(&self) -> bool {
        // An embedded database has no other nodes.
        if self.inner.settings.sqlite_path().is_some() {
            return false;
        }
        let (now, last) = (self.monotonic(), self.inner.looked_at.load(Ordering::Relaxed));
        let mine = now - last >= LOOK_EVERY
            && self.inner.looked_at.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        // Whoever waits for it hears of a database that is away by other ways.
        mine && self.catch_up().await.unwrap_or(false)
    }

    /// Takes over what another node changed in the configuration; whether there was anything.
    pub(crate) async fn catch_up(&self) -> Result<bool, AppError> {
        // An embedded database has no other nodes.
        if self.inner.settings.sqlite_path().is_some() {
            return Ok(false);
        }
        let known = self.config().epoch;
        let moved = self.read(move |reader| match reader.config_epoch()? {
            epoch if epoch > known => reader.config().map(Some),
            _ => Ok(None),
        });
        let Some(rows) = moved.await? else { return Ok(false) };
        self.inner.config.set(Config::new(rows));
        Ok(true)
    }

    /// Finishes what was accepted, refuses what is new, writes what is in memory only, closes the database.
    pub async fn shutdown(&self) {
        self.end_streams();
        self.write_last_refusals().await;
        let engine = self.inner.engine.clone();
        if tokio::task::spawn_blocking(move || engine.stop()).await.is_err() {
            tracing::error!(
                "the engine did not stop in order; rows are brought up to the ledger at the next start"
            );
        }
    }

    /// Asks the store, in one snapshot, without blocking the caller's thread.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Reader<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, AppError> {
        let store = self.inner.store.clone();
        let answer = tokio::task::spawn_blocking(move || store.read(ask)).await;
        answer.map_err(|error| AppError::Fault(error.to_string()))?.map_err(|error| match error {
            StoreError::Busy | StoreError::Conflict { .. } | StoreError::Unavailable { .. } => {
                tracing::warn!(%error, "the store does not answer reads");
                AppError::Unavailable { reason: "store_unavailable", retry_after: Duration::from_secs(1) }
            }
            error => AppError::Fault(error.to_string()),
        })
    }
}
