//! A wallet's entries, and entries by reference and subject: what is folded, and the tail behind it.
//!
//! The index is complete up to the fold position and trusted up to there only. Behind it a wallet's entries are walked
//! from its head by `prev_position`; the tail is bounded, as the funnel folds before it grows too long.

use super::Reader;
use crate::dialect::statements;
use crate::error::StoreError;
use crate::hot::EntryText;
use crate::hot::load::{self, all};
use crate::hot::rows::{entry_columns, read_entry};
use crate::position::Position;
use purser_core::{Entry, Id, TenantNo, WalletId, WalletKey};
use rusqlite::{OptionalExtension, params};

statements! {
    FOLDED = "SELECT position FROM fold WHERE name = 'wallet_history'";
    ENTRY = concat!("SELECT ", entry_columns!(), " FROM entry WHERE position = ?1");
    /// One step of the walk: what decides whether the entry is wanted, without its payload.
    STEP = "SELECT prev_position, tenant_no, wallet_id, seq FROM entry WHERE position = ?1";
    NEWEST = "
        SELECT position FROM wallet_history
         WHERE tenant_no = ?1 AND wallet_id = ?2 AND seq < ?3 AND position <= ?4 ORDER BY seq DESC LIMIT ?5";
    OLDEST = "
        SELECT position FROM wallet_history
         WHERE tenant_no = ?1 AND wallet_id = ?2 AND seq > ?3 AND position <= ?4 ORDER BY seq LIMIT ?5";
    REFERENCE_TAIL = "
        SELECT position FROM entry_text
         WHERE position > ?1 AND position < ?2 AND reference = ?3 ORDER BY position DESC";
    REFERENCE_FOLDED = "
        SELECT position FROM entry_reference
         WHERE tenant_no = ?1 AND reference = ?2 AND position <= ?3 AND position < ?4 ORDER BY position DESC";
    TEXT = "SELECT salt, reference, metadata, reason FROM entry_text WHERE position = ?1";
}

/// An entry as statements show it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredEntry {
    /// Where it stands.
    pub position: Position,
    /// The entry.
    pub entry: Entry,
    /// Its text, unless there is none or it was erased.
    pub text: Option<EntryText>,
}

impl Reader<'_> {
    /// A wallet's entries, newest first, below `before_seq`. `head` is the position of its last entry, as the engine or
    /// the wallet's row knows it.
    pub fn entries(
        &self,
        wallet: WalletKey,
        head: Position,
        before_seq: Option<u64>,
        limit: usize,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        let before = before_seq.unwrap_or(i64::MAX as u64);
        let mut positions: Vec<Position> = Vec::new();
        let folded = self.folded()?;
        self.walk_tail(wallet, head, folded, |position, seq| {
            if seq < before && positions.len() < limit {
                positions.push(position);
            }
            positions.len() < limit
        })?;
        let left = limit - positions.len();
        let bounds = params![
            wallet.tenant.0 as i64,
            wallet.id.0.to_bytes(),
            before as i64,
            folded.to_sql(),
            left as i64
        ];
        positions.extend(self.positions(NEWEST, bounds)?);
        positions.into_iter().map(|position| self.stored_entry(position)).collect()
    }

    /// A wallet's entries, oldest first, after `after_seq`; without texts.
    pub fn entries_from(
        &self,
        wallet: WalletKey,
        head: Position,
        after_seq: u64,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let folded = self.folded()?;
        let bounds = params![
            wallet.tenant.0 as i64,
            wallet.id.0.to_bytes(),
            after_seq as i64,
            folded.to_sql(),
            limit as i64
        ];
        let mut positions = self.positions(OLDEST, bounds)?;
        if positions.len() < limit {
            let mut tail = Vec::new();
            self.walk_tail(wallet, head, folded, |position, seq| {
                if seq > after_seq {
                    tail.push(position);
                }
                seq > after_seq
            })?;
            positions.extend(tail.into_iter().rev().take(limit - positions.len()));
        }
        positions.into_iter().map(|position| Ok(self.entry(position)?.0)).collect()
    }

    /// A tenant's entries with this reference, newest first, before `before`.
    pub fn entries_by_reference(
        &self,
        tenant: TenantNo,
        wallet: Option<WalletId>,
        reference: &str,
        before: Option<Position>,
        limit: usize,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        let before = before.map_or(i64::MAX, Position::to_sql);
        let folded = self.folded()?.to_sql();
        let mut found = Vec::new();
        let mut take = |sql: &str, bounds: &[&dyn rusqlite::ToSql]| -> Result<(), StoreError> {
            let mut statement = self.connection.prepare_cached(sql)?;
            let mut rows = statement.query(bounds)?;
            while found.len() < limit
                && let Some(row) = rows.next()?
            {
                let stored = self.stored_entry(Position::from_sql(row.get(0)?))?;
                let of = stored.entry.wallet;
                // The tail is not sorted by tenant; and a text may have been erased since it was folded.
                let is_text =
                    stored.text.as_ref().is_some_and(|text| text.reference.as_deref() == Some(reference));
                if of.tenant == tenant && wallet.is_none_or(|wallet| of.id == wallet) && is_text {
                    found.push(stored);
                }
            }
            Ok(())
        };
        take(REFERENCE_TAIL, &[&folded, &before, &reference])?;
        take(REFERENCE_FOLDED, &[&(tenant.0 as i64), &reference, &folded, &before])?;
        Ok(found)
    }

    /// All entries of this subject, in order, with texts.
    pub fn history(&self, tenant: TenantNo, subject: Id) -> Result<Vec<StoredEntry>, StoreError> {
        let found = load::history(self.connection, tenant, subject)?;
        found
            .into_iter()
            .map(|(position, _, entry)| {
                Ok(StoredEntry { position, text: self.text_of(position, &entry)?, entry })
            })
            .collect()
    }

    /// The text of an entry, unless there is none or it was erased.
    pub fn entry_text(&self, position: Position) -> Result<Option<EntryText>, StoreError> {
        let mut statement = self.connection.prepare_cached(TEXT)?;
        let text = statement.query_row([position.to_sql()], |row| {
            Ok(EntryText {
                salt: row.get(0)?,
                reference: row.get(1)?,
                metadata: row.get(2)?,
                reason: row.get(3)?,
            })
        });
        Ok(text.optional()?)
    }

    /// The position up to which the indices are complete.
    pub(super) fn folded(&self) -> Result<Position, StoreError> {
        let position = self.connection.prepare_cached(FOLDED)?.query_row([], |row| row.get(0))?;
        Ok(Position::from_sql(position))
    }

    /// Visits a wallet's entries behind the fold position, newest first, until `visit` has seen enough.
    fn walk_tail(
        &self,
        wallet: WalletKey,
        head: Position,
        folded: Position,
        mut visit: impl FnMut(Position, u64) -> bool,
    ) -> Result<(), StoreError> {
        let mut statement = self.connection.prepare_cached(STEP)?;
        let mut position = head;
        while position > folded {
            let step = statement
                .query_row([position.to_sql()], |row| {
                    let of = (row.get::<_, i64>(1)? as u64, row.get::<_, [u8; 16]>(2)?);
                    Ok((Position::from_sql(row.get(0)?), of, row.get::<_, i64>(3)? as u64))
                })
                .optional()?;
            let (previous, of, seq) = step.ok_or_else(|| {
                StoreError::inconsistent("entry", position, "an entry follows it, but it is gone")
            })?;
            if of != (wallet.tenant.0, wallet.id.0.to_bytes()) || previous >= position {
                return Err(StoreError::inconsistent(
                    "entry",
                    position,
                    "it is not in the chain it is reached by",
                ));
            }
            if !visit(position, seq) {
                return Ok(());
            }
            position = previous;
        }
        Ok(())
    }

    fn positions(&self, sql: &str, bounds: &[&dyn rusqlite::ToSql]) -> Result<Vec<Position>, StoreError> {
        all(self.connection, sql, bounds, |row| Ok(Position::from_sql(row.get(0)?)))
    }

    fn entry(&self, position: Position) -> Result<(Entry, Position), StoreError> {
        let mut found = all(self.connection, ENTRY, [position.to_sql()], read_entry)?;
        match found.pop() {
            Some((_, previous, entry)) => Ok((entry, previous)),
            None => Err(StoreError::inconsistent("entry", position, "an index names it, but it is gone")),
        }
    }

    fn stored_entry(&self, position: Position) -> Result<StoredEntry, StoreError> {
        let (entry, _) = self.entry(position)?;
        Ok(StoredEntry { position, text: self.text_of(position, &entry)?, entry })
    }

    fn text_of(&self, position: Position, entry: &Entry) -> Result<Option<EntryText>, StoreError> {
        if entry.text_digest.is_some() { self.entry_text(position) } else { Ok(None) }
    }
}
