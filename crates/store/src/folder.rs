//! Wallet history and reference search, indexed in bulk behind the funnel.
//!
//! An index kept by the funnel itself would dirty a page for each wallet of a batch. Here the entries since the last
//! fold are taken a window at a time, sorted, and inserted in slices; the fold position moves with the last slice,
//! so a crash in between only repeats. Reads trust the index up to that position and walk the ledger behind it.

use crate::dialect::statements;
use crate::error::StoreError;
use crate::position::Position;
use purser_core::{Id, TenantNo, WalletId, WalletKey};
use rusqlite::{Connection, params};

statements! {
    FOLDED = "SELECT position FROM fold WHERE name = 'wallet_history'";
    SET_FOLDED = "UPDATE fold SET position = ?1 WHERE name = 'wallet_history'";
    TAIL = "SELECT position, tenant_no, wallet_id, seq FROM entry WHERE position > ?1 ORDER BY position";
    TAIL_REFERENCES = "
        SELECT entry_text.position, entry.tenant_no, entry_text.reference
          FROM entry_text JOIN entry ON entry.position = entry_text.position
         WHERE entry_text.position > ?1 AND entry_text.reference IS NOT NULL
         ORDER BY entry_text.position";
    INSERT_HISTORY = "
        INSERT OR IGNORE INTO wallet_history (tenant_no, wallet_id, seq, position) VALUES (?1, ?2, ?3, ?4)";
    INSERT_REFERENCE = "
        INSERT OR IGNORE INTO entry_reference (tenant_no, reference, position) VALUES (?1, ?2, ?3)";
}

/// What is not folded yet.
pub(crate) struct Folder {
    tail: Vec<TailEntry>,
    references: Vec<TailReference>,
    window: Option<Window>,
    window_entries: usize,
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
    position: Position,
}

/// A sorted part of the tail that is being written.
struct Window {
    entries: Vec<TailEntry>,
    references: Vec<TailReference>,
    written: usize,
    last: Position,
}

impl Folder {
    /// Finds what is not folded in the database.
    pub(crate) fn load(connection: &Connection, window_entries: usize) -> Result<Folder, StoreError> {
        let folded: i64 = connection.query_row(FOLDED, [], |row| row.get(0))?;
        let mut folder = Folder {
            tail: Vec::new(),
            references: Vec::new(),
            window: None,
            window_entries: window_entries.max(1),
        };
        let mut statement = connection.prepare(TAIL)?;
        let mut rows = statement.query([folded])?;
        while let Some(row) = rows.next()? {
            let id = WalletId(Id::from_bytes(row.get(2)?));
            let wallet = WalletKey { tenant: TenantNo(row.get::<_, i64>(1)? as u64), id };
            let seq = row.get::<_, i64>(3)? as u64;
            folder.tail.push(TailEntry { wallet, seq, position: Position::from_sql(row.get(0)?) });
        }
        let mut statement = connection.prepare(TAIL_REFERENCES)?;
        let mut rows = statement.query([folded])?;
        while let Some(row) = rows.next()? {
            folder.references.push(TailReference {
                position: Position::from_sql(row.get(0)?),
                tenant: TenantNo(row.get::<_, i64>(1)? as u64),
                reference: row.get(2)?,
            });
        }
        Ok(folder)
    }

    /// Notes an entry that was appended.
    pub(crate) fn push(&mut self, wallet: WalletKey, seq: u64, position: Position) {
        self.tail.push(TailEntry { wallet, seq, position });
    }

    /// Notes the reference of an entry that was appended.
    pub(crate) fn push_reference(&mut self, tenant: TenantNo, reference: &str, position: Position) {
        self.references.push(TailReference { tenant, reference: reference.to_owned(), position });
    }

    /// Entries behind the fold position.
    pub(crate) fn tail_len(&self) -> u64 {
        (self.tail.len() + self.window.as_ref().map_or(0, |window| window.entries.len())) as u64
    }

    /// Writes up to about `budget_rows` rows.
    pub(crate) fn step(&mut self, connection: &Connection, budget_rows: usize) -> Result<(), StoreError> {
        if self.window.is_none() {
            self.window = self.take_window();
        }
        let Some(window) = &mut self.window else { return Ok(()) };
        if window.write(connection, budget_rows.max(1))? {
            connection.prepare_cached(SET_FOLDED)?.execute([window.last.to_sql()])?;
            self.window = None;
        }
        Ok(())
    }

    fn take_window(&mut self) -> Option<Window> {
        let taken = self.tail.len().min(self.window_entries);
        let last = self.tail[..taken].last()?.position;
        let mut entries: Vec<TailEntry> = self.tail.drain(..taken).collect();
        entries.sort_unstable();
        let with_reference = self.references.partition_point(|reference| reference.position <= last);
        let mut references: Vec<TailReference> = self.references.drain(..with_reference).collect();
        references.sort_unstable();
        Some(Window { entries, references, written: 0, last })
    }
}

impl Window {
    /// Writes the next slice, entries before references; whether all is written.
    fn write(&mut self, connection: &Connection, budget_rows: usize) -> Result<bool, StoreError> {
        let end = self.written + budget_rows;
        let entries = &self.entries[self.written.min(self.entries.len())..end.min(self.entries.len())];
        let mut insert = connection.prepare_cached(INSERT_HISTORY)?;
        for TailEntry { wallet, seq, position } in entries {
            insert.execute(params![
                wallet.tenant.0 as i64,
                wallet.id.0.to_bytes(),
                *seq as i64,
                position.to_sql()
            ])?;
        }
        let skipped = self.entries.len();
        let from = self.written.saturating_sub(skipped).min(self.references.len());
        let to = end.saturating_sub(skipped).min(self.references.len());
        let mut insert = connection.prepare_cached(INSERT_REFERENCE)?;
        for TailReference { tenant, reference, position } in &self.references[from..to] {
            insert.execute(params![tenant.0 as i64, reference, position.to_sql()])?;
        }
        self.written = end;
        Ok(end >= self.entries.len() + self.references.len())
    }
}
