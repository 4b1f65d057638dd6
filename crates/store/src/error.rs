//! What can go wrong between the service and its database, in the few classes that callers treat differently.
//!
//! These are faults of the machine, never refusals of a command. [`classify`] is the only place that looks at an
//! error of the driver.

use purser_core::codec::Undecodable;
use rusqlite::ErrorCode;

/// A fault of the store.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else holds what is needed; trying again may help.
    #[error("the database is busy")]
    Busy,
    /// The file or the disk cannot be written.
    #[error("the database cannot be written: it is read-only")]
    ReadOnly,
    /// The disk is full.
    #[error("the disk of the database is full")]
    Full,
    /// The file is not a sound database.
    #[error("the database is damaged: {what}")]
    Corrupt {
        /// What was found.
        what: String,
    },
    /// Another process serves this database.
    #[error("the database is in use by another process: {what}")]
    Locked {
        /// Which lock, and what to do.
        what: String,
    },
    /// The schema was written by a later version of the program.
    #[error(
        "the database has schema {found}, this program knows schemas up to {known}: run the newer program"
    )]
    Newer {
        /// The newest schema in the file.
        found: u32,
        /// The newest schema that is known.
        known: u32,
    },
    /// A row contradicts the laws or its own encoding: it must not be built upon.
    #[error("table {table}, {key}: {what}")]
    Inconsistent {
        /// The table.
        table: &'static str,
        /// The row.
        key: String,
        /// What is wrong with it.
        what: String,
    },
    /// Others were in the way (a deadlock, a lock that did not come free, a key that was taken meanwhile). Nothing of the
    /// transaction was kept, and it may be tried again.
    #[error("the transaction met another one: {what}")]
    Conflict {
        /// What was met.
        what: String,
    },
    /// The server cannot be reached, is starting or stopping, or has no place for a connection.
    #[error("the database cannot be reached: {what}")]
    Unavailable {
        /// What was tried.
        what: String,
    },
    /// The server refuses this user, its password, or what it wants to do.
    #[error("the database refuses: {what}")]
    Denied {
        /// What it said.
        what: String,
    },
    /// The server is too old, not set to keep what it acknowledges, or reached in a way that cannot work.
    #[error("the database cannot be used as it is: {what}")]
    Unfit {
        /// What is wrong, and what to do.
        what: String,
    },
    /// The schema is older than this program, and this user may not or should not change it.
    #[error(
        "the database has {found}, this program needs schema {known}: run `purser migrate` with the owner's URL"
    )]
    Older {
        /// What was found: no schema, or its number.
        found: String,
        /// The newest schema that is known.
        known: u32,
    },
    /// A copy into it was begun and has not ended.
    #[error(
        "the database holds a part of a copy only: run the same `purser copy` again, which goes on where it was, or drop \
         the database and begin anew"
    )]
    Unfinished,
    /// A copy from or into it would not be right.
    #[error("it cannot be copied: {what}")]
    NotCopied {
        /// Why, and what to do.
        what: String,
    },
    /// A server refuses one of the values it was given: too long, out of range, against a constraint. What is wrong is wrong
    /// with one row, and nothing of the transaction was kept.
    #[error("the database refuses a value: {what}")]
    Refused {
        /// Which, in its words.
        what: String,
    },
    /// Anything else, in the driver's words.
    #[error("the database failed: {0}")]
    Other(String),
}

/// Why a batch is not known to be committed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// Nothing of the batch was kept.
    #[error("the batch was not committed: {0}")]
    Failed(#[source] StoreError),
    /// The batch may have been kept: look the keys up in a new batch, never decide blindly again.
    #[error("it is not known whether the batch was committed: {0}")]
    Unknown(#[source] StoreError),
}

impl StoreError {
    /// A row that cannot be read or contradicts another.
    pub(crate) fn inconsistent(
        table: &'static str,
        key: impl std::fmt::Debug,
        what: impl ToString,
    ) -> StoreError {
        StoreError::Inconsistent { table, key: format!("{key:?}"), what: what.to_string() }
    }
}

/// Sorts an error of the driver into the classes above.
fn classify(error: &rusqlite::Error) -> StoreError {
    let text = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy,
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => StoreError::ReadOnly,
        Some(ErrorCode::DiskFull) => StoreError::Full,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Corrupt { what: text },
        Some(_) => StoreError::Other(text),
        None => match error {
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::Utf8Error(..) => StoreError::Corrupt { what: text },
            _ => StoreError::Other(text),
        },
    }
}

impl From<&rusqlite::Error> for StoreError {
    fn from(error: &rusqlite::Error) -> StoreError {
        classify(error)
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> StoreError {
        classify(&error)
    }
}

impl From<Undecodable> for StoreError {
    fn from(error: Undecodable) -> StoreError {
        StoreError::Corrupt { what: error.to_string() }
    }
}
