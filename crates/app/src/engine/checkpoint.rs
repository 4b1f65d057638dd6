//! Copying the write-ahead log into the main file beside the writer, so that no batch has to.

use purser_store::Store;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often the log is copied while there is something in it.
const EVERY: Duration = Duration::from_millis(100);

/// The thread that copies; ends when dropped.
pub(super) struct Checkpointer {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    /// Starts the thread. It rests while `batches` does not move.
    pub(super) fn start(store: Store, batches: Arc<AtomicU64>) -> Checkpointer {
        let (stop, stopped) = channel();
        let copy = move || {
            let mut seen = 0;
            while matches!(stopped.recv_timeout(EVERY), Err(RecvTimeoutError::Timeout)) {
                let now = batches.load(Ordering::Relaxed);
                if now != seen {
                    seen = now;
                    if let Err(error) = store.checkpoint() {
                        tracing::warn!(%error, "the log was not copied; the writer does it when it grows");
                    }
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("purser-checkpoint".into())
            .spawn(copy)
            .expect("a thread can be started when the service starts");
        Checkpointer { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that copies the log panicked");
        }
    }
}
