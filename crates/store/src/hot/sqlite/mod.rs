//! The funnel on the embedded database: one writer, one transaction per batch, one fsync per commit.
//!
//! `writer.rs` begins and commits, `append.rs` writes what can never change, `save.rs` writes rows behind the ledger,
//! `recover.rs` brings them up to it after a crash; `answers.rs` and `folder.rs` are what is indexed behind the funnel. A batch
//! mutates what the writer keeps in memory as it goes; after any end but a clean commit that memory is thrown away and
//! read again, so it never runs ahead of the file.

mod answers;
mod append;
mod filter;
mod folder;
mod leads;
mod owed;
mod recover;
mod save;
mod writer;

pub(crate) use answers::Answers;
pub(crate) use writer::{SqliteBatch, SqliteWriter};

/// Every statement of these files.
#[cfg(test)]
pub(crate) const ALL: [&[(&str, &str)]; 6] = [
    answers::STATEMENTS,
    append::STATEMENTS,
    folder::STATEMENTS,
    recover::STATEMENTS,
    save::STATEMENTS,
    writer::STATEMENTS,
];
