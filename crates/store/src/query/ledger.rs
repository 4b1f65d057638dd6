//! The ledger as a whole: in order for audits, and how much there is.

use super::Reader;
use crate::dialect::statements;
use crate::driver::{Columns, values};
use crate::error::StoreError;
use crate::hot::rows::{entry_columns, int, number, position, read_entry, small};
use crate::position::{Heads, Position};
use purser_core::{Entry, Timestamp};

statements! {
    IN_ORDER = concat!(
        "SELECT ", entry_columns!(), " FROM entry
          WHERE position > ?1 AND position < ?2 ORDER BY position LIMIT ?3");
    FLUSHED = "SELECT position FROM fold WHERE name = 'wallet_rows' AND slot = 1";
    FOLDED = "SELECT position FROM fold WHERE name = 'wallet_history'";
    LAST_RECORDED_AT = "
        SELECT recorded_at FROM entry WHERE position > ?1 AND position < ?2 ORDER BY position DESC LIMIT 1";
    /// Positions are taken by entries, and by the few answers that moved nothing.
    HEADS = "SELECT slot, seq FROM slot WHERE slot > 0 AND seq > 0";
    ENTRIES = "SELECT COUNT(*) FROM entry";
    TAIL = "SELECT COUNT(*) FROM entry WHERE position > ?1 AND position < ?2";
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
    /// The ledger in the order of positions, behind `after`: for each writer in the order in which it wrote.
    pub fn entries_in_order(&self, after: Position, limit: usize) -> Result<Vec<LedgerEntry>, StoreError> {
        self.entries_between(after, Position::from_sql(i64::MAX), limit)
    }

    /// The entries of one slot behind `after`, in their order.
    pub fn entries_of_slot(&self, after: Position, limit: usize) -> Result<Vec<LedgerEntry>, StoreError> {
        self.entries_between(after, after.end_of_slot(), limit)
    }

    fn entries_between(
        &self,
        after: Position,
        before: Position,
        limit: usize,
    ) -> Result<Vec<LedgerEntry>, StoreError> {
        self.session.all(IN_ORDER, values![after.to_sql(), before.to_sql(), limit], |row| {
            let (position, previous, entry) = read_entry(row)?;
            Ok(LedgerEntry { position, previous, entry })
        })
    }

    /// The position up to which all wallet rows are saved, where they follow the ledger.
    pub fn flushed(&self) -> Result<Position, StoreError> {
        self.session.one(FLUSHED, &[], |row| position(row, 0))
    }

    /// How far each writer has come.
    pub fn heads(&self) -> Result<Heads, StoreError> {
        let mut heads = Heads::default();
        let read = |row: &dyn Columns| Ok(Position::new(small(row, 0)?, number(row, 1)?));
        self.session.all(HEADS, &[], read)?.into_iter().for_each(|head| heads.set(head));
        Ok(heads)
    }

    /// How far the indices behind the funnel are complete.
    pub fn folded(&self) -> Result<Heads, StoreError> {
        let mut heads = Heads::default();
        self.session.all(FOLDED, &[], |row| position(row, 0))?.into_iter().for_each(|head| heads.set(head));
        Ok(heads)
    }

    /// When the last entry was recorded.
    pub fn last_recorded_at(&self) -> Result<Option<Timestamp>, StoreError> {
        let mut last = None;
        for head in self.heads()?.written() {
            let slot = values![Position::new(head.slot(), 0).to_sql(), head.end_of_slot().to_sql()];
            last = last.max(self.session.first(LAST_RECORDED_AT, slot, |row| int(row, 0))?);
        }
        Ok(last.map(Timestamp))
    }

    /// How much there is. Counts rows, so it takes seconds on a ledger of many millions.
    pub fn counts(&self) -> Result<Counts, StoreError> {
        let count = |sql: &'static str| self.session.one(sql, &[], |row| number(row, 0));
        let (heads, folded, mut tail) = (self.heads()?, self.folded()?, 0);
        for head in heads.written() {
            let unfolded = values![folded.of(head.slot()).to_sql(), head.end_of_slot().to_sql()];
            tail += self.session.one(TAIL, unfolded, |row| number(row, 0))?;
        }
        Ok(Counts {
            tenants: count(TENANTS)?,
            users: count(USERS)?,
            wallets: count(WALLETS)?,
            entries: count(ENTRIES)?,
            tail,
            answers: count(ANSWERS)?,
            outbox: count(OUTBOX)?,
        })
    }
}
