//! The ledger as a whole: in order for audits, and how much there is.

use super::Reader;
use crate::dialect::statements;
use crate::error::StoreError;
use crate::hot::load::all;
use crate::hot::rows::{entry_columns, read_entry};
use crate::position::Position;
use purser_core::{Entry, Timestamp};
use rusqlite::OptionalExtension;

statements! {
    IN_ORDER = concat!(
        "SELECT ", entry_columns!(), " FROM entry WHERE position > ?1 ORDER BY position LIMIT ?2");
    FLUSHED = "SELECT position FROM fold WHERE name = 'wallet_rows'";
    LAST_RECORDED_AT = "SELECT recorded_at FROM entry ORDER BY position DESC LIMIT 1";
    /// Positions are taken by entries, and by the few answers that moved nothing.
    POSITIONS = "SELECT COALESCE(MAX(seq), 0) FROM slot WHERE slot > 0";
    ENTRIES = "SELECT COUNT(*) FROM entry";
    TAIL = "SELECT COUNT(*) FROM entry WHERE position > ?1";
    TENANTS = "SELECT COUNT(*) FROM tenant";
    USERS = "SELECT COUNT(*) FROM users";
    WALLETS = "SELECT COUNT(*) FROM wallet";
    ANSWERS = "SELECT COUNT(*) FROM answer";
    OUTBOX = "SELECT COUNT(*) FROM outbox";
}

/// An entry in the order of the ledger.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LedgerEntry {
    /// Where it stands.
    pub position: Position,
    /// The position of the wallet's entry before it.
    pub previous: Position,
    /// The entry.
    pub entry: Entry,
}

/// How much there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Tenants, personal ones included.
    pub tenants: u64,
    /// Users.
    pub users: u64,
    /// Wallets.
    pub wallets: u64,
    /// Entries.
    pub entries: u64,
    /// Entries that are not folded yet.
    pub tail: u64,
    /// Answers that are kept.
    pub answers: u64,
    /// Outbox rows.
    pub outbox: u64,
}

impl Reader<'_> {
    /// The ledger in order, behind `after`.
    pub fn entries_in_order(&self, after: Position, limit: usize) -> Result<Vec<LedgerEntry>, StoreError> {
        all(self.connection, IN_ORDER, (after.to_sql(), limit as i64), |row| {
            let (position, previous, entry) = read_entry(row)?;
            Ok(LedgerEntry { position, previous, entry })
        })
    }

    /// The position up to which all wallet rows are saved.
    pub fn flushed(&self) -> Result<Position, StoreError> {
        let position = self.connection.prepare_cached(FLUSHED)?.query_row([], |row| row.get(0))?;
        Ok(Position::from_sql(position))
    }

    /// When the last entry was recorded.
    pub fn last_recorded_at(&self) -> Result<Option<Timestamp>, StoreError> {
        let last =
            self.connection.prepare_cached(LAST_RECORDED_AT)?.query_row([], |row| row.get(0)).optional()?;
        Ok(last.map(Timestamp))
    }

    /// About how many entries there are, never fewer, without counting them: what progress is measured against.
    pub fn entries_at_most(&self) -> Result<u64, StoreError> {
        let seq: i64 = self.connection.prepare_cached(POSITIONS)?.query_row([], |row| row.get(0))?;
        Ok(seq as u64)
    }

    /// How much there is. Counts rows, so it takes seconds on a ledger of many millions.
    pub fn counts(&self) -> Result<Counts, StoreError> {
        let count = |sql: &str| -> Result<u64, StoreError> {
            let count: i64 = self.connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
            Ok(count as u64)
        };
        let folded = self.folded()?.to_sql();
        let tail: i64 = self.connection.prepare_cached(TAIL)?.query_row([folded], |row| row.get(0))?;
        Ok(Counts {
            tenants: count(TENANTS)?,
            users: count(USERS)?,
            wallets: count(WALLETS)?,
            entries: count(ENTRIES)?,
            tail: tail as u64,
            answers: count(ANSWERS)?,
            outbox: count(OUTBOX)?,
        })
    }
}
