//! The funnel: one writer, one transaction per batch, one fsync per commit.
//!
//! `writer.rs` begins and commits, `append.rs` writes what can never change, `load.rs` and `save.rs` move state between
//! rows and memory, `rows.rs` converts. A batch mutates what the writer keeps in memory as it goes; after any end but a
//! clean commit that memory is thrown away and read again, so it never runs ahead of the file.

mod append;
pub(crate) mod load;
pub(crate) mod rows;
mod save;
mod writer;

pub use append::{EntryText, NewAnswer, Recording};
pub use writer::{Batch, CommitFault, Writer};

#[cfg(test)]
pub(crate) use {append::STATEMENTS as APPEND, save::STATEMENTS as SAVE, writer::STATEMENTS as WRITER};

use crate::position::Position;
use purser_core::{Id, LotId, Wallet};

/// A wallet from its rows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoadedWallet {
    /// Its state: open lots, active holds, debts and freezes.
    pub wallet: Wallet,
    /// The position of its last entry.
    pub head: Position,
}

/// The lots and holds whose rows are behind.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Touched {
    /// Lots, each once.
    pub lots: Vec<LotId>,
    /// Holds, each once.
    pub holds: Vec<Id>,
}

/// What a step of the folder left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Folded {
    /// Rows that are still to be written behind the funnel; 0 when nothing is to be done.
    pub remaining: u64,
}

/// What bringing the rows up to the ledger took.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Recovered {
    /// Entries that were replayed.
    pub entries: u64,
    /// Wallet rows that were saved.
    pub wallets: u64,
}
