//! Remembers: the only crate that knows SQL or Redis. Everything the engine records and everything anybody reads goes through here.
//!
//! [`Store::open`] opens the embedded database, [`Store::connect`] a server: both give a cheap handle for reads (each
//! `read` is one snapshot) and a [`Writer`]. A [`Batch`] of the writer is one transaction: entries, answers and outbox rows
//! are always appended; wallet, lot and hold rows are saved with it on a server and when the engine says so on the embedded
//! database, where [`Writer::recover`] brings them up to the ledger after a crash. This crate decides nothing, reads no
//! clock and makes no numbers: all of that is handed in.
//!
//! Read `hot/` for the funnel, `driver/` for how one text of SQL reaches every database, `query/` for reads, `table/` for the
//! cold tables, and `migrations/` for the schema with its reasons. `hint/` stands apart: what it remembers may be lost.

mod console;
mod dialect;
mod driver;
mod error;
pub mod hint;
mod hot;
mod inspect;
mod migrate;
mod position;
mod query;
mod rights;
mod scratch;
mod sqlite;
mod store;
mod table;
mod transport;

pub use console::Console;
pub use driver::{DatabaseUrl, Target};
pub use error::{CommitError, StoreError};
pub use hot::server::{Keeper, Observed};
pub use hot::{
    Batch, CommitFault, EntryText, Folded, KeyDigest, LoadedWallet, NewAnswer, Recording, Recovered,
    StoredAnswer, Touched, Wanted, Writer,
};
pub use inspect::{Check, Inspection, Verdict, inspect, inspect_file};
pub use migrate::{Migrated, migrate_file, migrate_server, migrate_server_for, rendered_schema};
pub use position::{Heads, Position};
pub use query::{
    Alerted, Announced, Charged, ChargedPage, Counts, LedgerEntry, Reader, StoredEntry, StoredWallet,
    WalletFilter,
};
pub use rights::{RoleNames, print_roles};
pub use scratch::ScratchDatabase;
pub use sqlite::LogCopier;
pub use store::{OpenOptions, Store};
pub use table::{
    ActionRow, ApiKeyRow, AuditRow, CatalogueChange, ConfigRows, FreshNumbers, Names, NewAction, NewApiKey,
    PreferenceRow, RefusalFilter, RefusalKey, RefusalRow, UnitRow,
};
pub use transport::{CopySource, CopyTarget, Rows};
