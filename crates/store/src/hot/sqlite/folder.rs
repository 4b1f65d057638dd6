//! Wallet history and reference search, indexed in bulk behind the funnel.
//!
//! An index kept by the funnel itself would dirty a page for each wallet of a batch. Here the entries since the last
//! fold are taken a window at a time, sorted, and inserted in slices; the fold position moves with the last slice,
//! so a crash in between only repeats. Reads trust the index up to that position and walk the ledger behind it.

use super::owed::Owed;
use crate::dialect::statements;
use crate::error::StoreError;
use crate::position::Position;
use purser_core::{Id, TenantNo, WalletId, WalletKey};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeSet;

statements! {
    FOLDED = "SELECT position FROM fold WHERE name = 'wallet_history' AND slot = 1";
    SET_FOLDED = "
        INSERT INTO fold (name, slot, position) VALUES ('wallet_history', 1, ?1)
        ON CONFLICT (name, slot) DO UPDATE SET position = excluded.position";
    TAIL = "SELECT position, tenant_no, wallet_id, seq FROM entry WHERE position > ?1 ORDER BY position";
    TAIL_REFERENCES = "
        SELECT entry_text.position, entry.tenant_no, entry.wallet_id, entry.seq, entry_text.reference
          FROM entry_text JOIN entry ON entry.position = entry_text.position
         WHERE entry_text.position > ?1 AND entry_text.reference IS NOT NULL
         ORDER BY entry_text.position";
    INSERT_HISTORY = "
        INSERT OR IGNORE INTO wallet_history (tenant_no, wallet_id, seq, position) VALUES (?1, ?2, ?3, ?4)";
    INSERT_REFERENCE = "
        INSERT OR IGNORE INTO entry_reference (tenant_no, reference, wallet_id, seq, position)
        VALUES (?1, ?2, ?3, ?4, ?5)";
}

/// What is not folded yet. Kept in the order in which it is written, as to sort a window at once would hold up a batch.
pub(crate) struct Folder {
    tail: BTreeSet<TailEntry>,
    references: BTreeSet<TailReference>,
    /// The position of the newest entry in the tail.
    last: Position,
    window: Option<Window>,
    window_entries: usize,
    /// Rows owed for what was appended since the last step.
    owed: Owed,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct TailEntry {
    wallet: WalletKey,
    seq: u64,
    position: Position,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct TailReference {
    tenant: TenantNo,
    reference: String,
    wallet: WalletId,
    seq: u64,
    position: Position,
}

/// What was the tail, while it is being written: what is left of it.
struct Window {
    entries: BTreeSet<TailEntry>,
    references: BTreeSet<TailReference>,
    last: Position,
}

impl Folder {
    /// Finds what is not folded in the database.
    pub(crate) fn load(connection: &Connection, window_entries: usize) -> Result<Folder, StoreError> {
        let folded: Option<i64> = connection.query_row(FOLDED, [], |row| row.get(0)).optional()?;
        let folded = folded.unwrap_or(0);
        let mut folder = Folder {
            tail: BTreeSet::new(),
            references: BTreeSet::new(),
            last: Position::NONE,
            window: None,
            window_entries: window_entries.max(1),
            owed: Owed::default(),
        };
        let mut statement = connection.prepare(TAIL)?;
        let mut rows = statement.query([folded])?;
        while let Some(row) = rows.next()? {
            let id = WalletId(Id::from_bytes(row.get(2)?));
            let wallet = WalletKey { tenant: TenantNo(row.get::<_, i64>(1)? as u64), id };
            let seq = row.get::<_, i64>(3)? as u64;
            folder.push(wallet, seq, Position::from_sql(row.get(0)?));
        }
        let mut statement = connection.prepare(TAIL_REFERENCES)?;
        let mut rows = statement.query([folded])?;
        while let Some(row) = rows.next()? {
            folder.references.insert(TailReference {
                position: Position::from_sql(row.get(0)?),
                tenant: TenantNo(row.get::<_, i64>(1)? as u64),
                wallet: WalletId(Id::from_bytes(row.get(2)?)),
                seq: row.get::<_, i64>(3)? as u64,
                reference: row.get(4)?,
            });
        }
        Ok(folder)
    }

    /// Notes an entry that was appended.
    pub(crate) fn push(&mut self, wallet: WalletKey, seq: u64, position: Position) {
        self.tail.insert(TailEntry { wallet, seq, position });
        self.last = position;
    }

    /// Notes the reference of an entry that was appended.
    pub(crate) fn push_reference(
        &mut self,
        wallet: WalletKey,
        seq: u64,
        reference: &str,
        position: Position,
    ) {
        let WalletKey { tenant, id } = wallet;
        let reference = reference.to_owned();
        self.references.insert(TailReference { tenant, reference, wallet: id, seq, position });
    }

    /// Rows that are still to be written.
    pub(crate) fn remaining(&self) -> u64 {
        let references =
            self.references.len() + self.window.as_ref().map_or(0, |window| window.references.len());
        self.tail_len() + references as u64
    }

    /// Entries that are still to be written.
    pub(crate) fn tail_len(&self) -> u64 {
        (self.tail.len() + self.window.as_ref().map_or(0, |window| window.entries.len())) as u64
    }

    /// Writes what is owed for so many appended `entries`: a window once there is a full one, a quarter more rows than
    /// entries, and one more for each further window that waits.
    pub(crate) fn step_along(&mut self, connection: &Connection, entries: usize) -> Result<(), StoreError> {
        if self.window.is_none() && self.tail.len() < self.window_entries {
            return Ok(());
        }
        let windows = self.tail.len() / self.window_entries;
        match self.owed.step(entries + entries / 4 + entries * windows, self.window_entries) {
            Some(rows) => self.step(connection, rows),
            None => Ok(()),
        }
    }

    /// Writes up to about `budget_rows` rows.
    pub(crate) fn step(&mut self, connection: &Connection, budget_rows: usize) -> Result<(), StoreError> {
        if self.window.is_none() && !self.tail.is_empty() {
            let entries = std::mem::take(&mut self.tail);
            let references = std::mem::take(&mut self.references);
            self.window = Some(Window { entries, references, last: self.last });
        }
        let Some(window) = &mut self.window else { return Ok(()) };
        if window.write(connection, budget_rows.max(1))? {
            connection.prepare_cached(SET_FOLDED)?.execute([window.last.to_sql()])?;
            self.window = None;
        }
        Ok(())
    }
}

impl Window {
    /// Writes the next slice, entries before references; whether all is written.
    fn write(&mut self, connection: &Connection, budget_rows: usize) -> Result<bool, StoreError> {
        let mut left = budget_rows;
        let mut insert = connection.prepare_cached(INSERT_HISTORY)?;
        while left > 0
            && let Some(TailEntry { wallet, seq, position }) = self.entries.pop_first()
        {
            insert.execute(params![
                wallet.tenant.0 as i64,
                wallet.id.0.to_bytes(),
                seq as i64,
                position.to_sql()
            ])?;
            left -= 1;
        }
        let mut insert = connection.prepare_cached(INSERT_REFERENCE)?;
        while left > 0
            && let Some(TailReference { tenant, reference, wallet, seq, position }) =
                self.references.pop_first()
        {
            let values =
                params![tenant.0 as i64, reference, wallet.0.to_bytes(), seq as i64, position.to_sql()];
            insert.execute(values)?;
            left -= 1;
        }
        Ok(self.entries.is_empty() && self.references.is_empty())
    }
}
