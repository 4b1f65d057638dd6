//! Opening the embedded database.

use crate::error::StoreError;
use crate::hot::Writer;
use crate::query::Reader;
use std::path::Path;

/// How to open a store.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// How many connections read at the same time.
    pub readers: usize,
}

impl Default for OpenOptions {
    fn default() -> OpenOptions {
        OpenOptions { readers: 4 }
    }
}

/// A handle for reads; cheap to clone. Writing is the [`Writer`]'s alone.
#[derive(Clone)]
pub struct Store {}

impl Store {
    /// Opens the database for this process alone, making and migrating it where needed.
    pub fn open(_path: &Path, _options: &OpenOptions) -> Result<(Store, Writer), StoreError> {
        todo!()
    }

    /// Opens the database for reading only, without the lock that a serving process holds.
    pub fn open_reader(_path: &Path) -> Result<Store, StoreError> {
        todo!()
    }

    /// Runs `ask` in one snapshot of the database; waits for a free connection, [`StoreError::Busy`] when none comes free.
    /// Blocks: call it where blocking is allowed.
    pub fn read<T>(&self, _ask: impl FnOnce(&Reader<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        todo!()
    }
}
