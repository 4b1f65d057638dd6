//! What a node does behind its writers on a server database: it notices changes that other nodes made, compares clocks, folds
//! what was appended, and forgets old answers.
//!
//! On a thread and a connection of its own. Nothing here is needed for money to be exact: a batch looks at the
//! configuration by itself, and every list equals the ledger wherever the folder stands.

use super::funnel::{QUOTES_KEPT, REFUSALS_KEPT};
use crate::clock::SafeClock;
use crate::config::{Config, SharedConfig};
use purser_core::Timestamp;
use purser_store::{Keeper, Store, StoreError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often the database is looked at: what another node changed is seen within twice that.
const EVERY: Duration = Duration::from_millis(400);
/// How often answers whose time is over are looked for, in microseconds.
const PRUNE_EVERY: i64 = 60 * 1_000_000;
/// Answers forgotten in one step.
const STEP_ROWS: usize = 5_000;

/// The thread that does it; ends when dropped.
pub struct Behind {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What it works with.
pub struct BehindParts {
    /// The worker.
    pub keeper: Keeper,
    /// Reads.
    pub store: Store,
    /// The configuration, shared with handlers and writers.
    pub config: SharedConfig,
    /// Time.
    pub clock: SafeClock,
    /// How long answers are kept.
    pub keep_keys: Duration,
}

impl Behind {
    /// Starts the thread.
    pub fn start(mut parts: BehindParts) -> Behind {
        let (stop, stopped) = channel();
        let run = move || {
            let mut pruned_at = parts.clock.monotonic();
            let mut away = false;
            while matches!(stopped.recv_timeout(EVERY), Err(RecvTimeoutError::Timeout)) {
                // A bug met here must not end the comparing of clocks and the folding for good.
                let looked = catch_unwind(AssertUnwindSafe(|| parts.look(&mut pruned_at)))
                    .unwrap_or_else(|_| Err(StoreError::Other("a bug was met; see the log".into())));
                match &looked {
                    Err(error) if !away => {
                        tracing::warn!(%error, "the database does not answer behind the writers")
                    }
                    Ok(()) if away => tracing::info!("the database answers again"),
                    Ok(()) | Err(_) => {}
                }
                away = looked.is_err();
            }
        };
        let thread = std::thread::Builder::new()
            .name("purser-behind".into())
            .spawn(run)
            .expect("a thread can be started when the service starts");
        Behind { stop: Some(stop), thread: Some(thread) }
    }
}

impl BehindParts {
    fn look(&mut self, pruned_at: &mut i64) -> Result<(), StoreError> {
        let before = self.clock.wall();
        let observed = self.keeper.observe()?;
        self.clock.compare(before, observed.now, self.clock.wall());
        if observed.config_epoch != self.config.get().epoch {
            self.config.set(Config::new(self.store.read(|reader| reader.config())?));
        }
        self.keeper.fold()?;
        let now = self.clock.monotonic();
        if now - *pruned_at > PRUNE_EVERY && !self.prune()? {
            *pruned_at = now;
        }
        Ok(())
    }

    /// One step of forgetting; whether more is left. Not while the clock is in doubt: one that jumped ahead would have keys
    /// forgotten that are still in use.
    fn prune(&mut self) -> Result<bool, StoreError> {
        let Ok(now) = self.clock.now() else { return Ok(false) };
        let kept = i64::try_from(self.keep_keys.as_micros()).unwrap_or(i64::MAX);
        let answers = self.keeper.prune_answers(Timestamp(now.0.saturating_sub(kept)), STEP_ROWS)?;
        let quotes = self.keeper.prune_quotes(now.plus(-QUOTES_KEPT), STEP_ROWS)?;
        let refusals = self.keeper.prune_refusals(now.plus(-REFUSALS_KEPT), STEP_ROWS)?;
        Ok(answers || quotes || refusals)
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread behind the writers panicked");
        }
    }
}
