//! From plain settings to a running [`App`]: the only place that picks implementations.

use std::path::PathBuf;
use std::time::Duration;

/// Plain settings of a node.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `sqlite:PATH`
    pub database_url: String,
    /// The secret key in hexadecimal (32 bytes or more), newest first; when empty, SQLite keeps one beside the file.
    pub secret_keys: Vec<String>,
    /// How many commands may wait; when full, callers get 503.
    pub queue_max: usize,
    /// How many commands one transaction takes at the most.
    pub batch_max: usize,
    /// A command that waited longer than this is not executed.
    pub deadline: Duration,
    /// How many connections read at the same time.
    pub readers: usize,
    /// How long answers to idempotency keys are kept.
    pub keep_keys: Duration,
}

impl Settings {
    /// The defaults for this database.
    pub fn new(database_url: impl Into<String>) -> Settings {
        Settings {
            database_url: database_url.into(),
            secret_keys: Vec::new(),
            queue_max: 8_192,
            batch_max: 1_000,
            deadline: Duration::from_secs(10),
            readers: 4,
            keep_keys: Duration::from_secs(90 * 86_400),
        }
    }

    /// The file of an embedded database, if it is one.
    pub fn sqlite_path(&self) -> Option<PathBuf> {
        self.database_url.strip_prefix("sqlite:").map(PathBuf::from)
    }
}

/// Why a node does not start. Each names what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// A setting cannot be used.
    #[error("{setting}: {why}")]
    Setting {
        /// The setting's name.
        setting: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The database refuses: read-only, locked by another process, damaged, newer than this program.
    #[error("{0}")]
    Database(String),
    /// The clock is behind the ledger.
    #[error("the clock is {behind_seconds} s behind the last entry of the ledger; set it right before starting")]
    ClockBehind {
        /// By how much.
        behind_seconds: i64,
    },
}
