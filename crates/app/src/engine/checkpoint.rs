//! Copying the write-ahead log into the main file beside the writer, so that no batch has to.
//!
//! The log must not only be copied but also end: a log that grows makes every commit wait for the file system's own journal.
//! The thread beside the writer copies and flushes nearly all of it; the writer then copies the few pages committed meanwhile,
//! and its next batch overwrites the log from the beginning, in place.

use purser_store::{LogCopier, Store, StoreError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often the log is copied while there is something in it.
const EVERY: Duration = Duration::from_millis(200);
/// Pages in the log from which it is ended.
const LONG: u64 = 1_000;

/// What the writer and the thread that copies tell each other.
#[derive(Default)]
pub(super) struct LogState {
    /// Counts what was committed.
    batches: AtomicU64,
    /// Nearly all of a long log is copied and flushed: the writer may end it.
    nearly_copied: AtomicBool,
}

impl LogState {
    /// Notes that a batch was committed.
    pub(super) fn committed(&self) {
        self.batches.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the writer should end the log now; answers so once.
    pub(super) fn take_nearly_copied(&self) -> bool {
        self.nearly_copied.swap(false, Ordering::Acquire)
    }
}

/// The thread that copies; ends when dropped.
pub(super) struct Checkpointer {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    /// Starts the thread. It rests while no batch is committed.
    pub(super) fn start(store: Store, state: Arc<LogState>) -> Checkpointer {
        let (stop, stopped) = channel();
        let run = move || {
            let mut seen = 0;
            let mut copier: Option<LogCopier> = None;
            while matches!(stopped.recv_timeout(EVERY), Err(RecvTimeoutError::Timeout)) {
                let now = state.batches.load(Ordering::Relaxed);
                if now != seen {
                    seen = now;
                    if let Err(error) = copy(&store, &mut copier, &state) {
                        tracing::warn!(%error, "the log was not copied; the writer does it when it grows");
                    }
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("purser-checkpoint".into())
            .spawn(run)
            .expect("a thread can be started when the service starts");
        Checkpointer { stop: Some(stop), thread: Some(thread) }
    }
}

fn copy(store: &Store, copier: &mut Option<LogCopier>, state: &LogState) -> Result<(), StoreError> {
    if copier.is_none() {
        *copier = store.log_copier()?;
    }
    // A server has a log of its own, and looks after it.
    let Some(copier) = copier else { return Ok(()) };
    if copier.copy()? > LONG {
        copier.flush()?;
        // What was committed during the flush.
        copier.copy()?;
        state.nearly_copied.store(true, Ordering::Release);
    }
    Ok(())
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that copies the log panicked");
        }
    }
}
