//! What keeps a writer from committing, for those who ask whether this node can take work.

use parking_lot::Mutex;
use purser_store::StoreError;
use std::sync::Arc;

/// The trouble of one writer; none while its batches are committed. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Trouble {
    met: Arc<Mutex<Option<String>>>,
}

impl Trouble {
    /// Notes it; not a value that was refused, which says nothing of the next one.
    pub(super) fn met(&self, error: &StoreError) {
        if matches!(error, StoreError::Refused { .. }) {
            return;
        }
        *self.met.lock() = Some(error.to_string());
    }

    pub(super) fn over(&self) {
        *self.met.lock() = None;
    }

    /// What it is.
    pub(super) fn now(&self) -> Option<String> {
        self.met.lock().clone()
    }
}
