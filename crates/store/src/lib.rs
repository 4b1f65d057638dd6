//! Remembers: the only crate that knows SQL or Redis. Everything the engine records and everything anybody reads goes through here.
//!
//! [`Store::open`] gives a cheap handle for reads (each `read` is one snapshot) and the one [`Writer`]. A [`Batch`] of the
//! writer is one transaction: entries, answers and outbox rows are always appended; wallet, lot and hold rows are
//! saved when the engine says so, and [`Writer::recover`] brings them up to the ledger after a crash. This crate
//! decides nothing, reads no clock and makes no numbers: all of that is handed in.
//!
//! Read `hot/` for the funnel, `answers.rs` for idempotency keys, `folder.rs` for what is indexed behind the funnel,
//! `query/` for reads, `table/` for the cold tables, and `migrations/` for the schema with its reasons. `hint/` stands
//! apart: what it remembers may be lost.

mod answers;
mod dialect;
mod error;
mod filter;
mod folder;
pub mod hint;
mod hot;
mod migrate;
mod position;
mod query;
mod recover;
mod sqlite;
mod table;

pub use answers::{KeyDigest, StoredAnswer};
pub use error::{CommitError, StoreError};
pub use hot::{
    Batch, CommitFault, EntryText, Folded, LoadedWallet, NewAnswer, Recording, Recovered, Touched, Writer,
};
pub use migrate::rendered_schema;
pub use position::Position;
pub use query::{Counts, LedgerEntry, Reader, StoredEntry, StoredWallet, WalletFilter};
pub use sqlite::{LogCopier, OpenOptions, Store};
pub use table::{
    ActionRow, ApiKeyRow, AuditRow, ConfigRows, FreshNumbers, Names, NewAction, NewApiKey, UnitRow,
};
