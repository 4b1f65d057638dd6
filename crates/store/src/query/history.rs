//! A wallet's entries, and entries by reference and subject: what is folded, and the tail behind it.
//!
//! The index is complete up to the fold position and trusted up to there only. Behind it a wallet's entries are walked
//! from its head by `prev_position`; the tail is bounded, as the funnel folds before it grows too long.

use super::Reader;
use crate::dialect::{Dialect, statements};
use crate::driver::{Columns, values};
use crate::error::StoreError;
use crate::hot::rows::{array, entry_columns, number, position, read_entry, text_option, wallet_key};
use crate::hot::{EntryText, WRITER_SLOT, load};
use crate::position::{Heads, Position};
use purser_core::{Entry, Id, TenantNo, WalletKey};

statements! {
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
        SELECT entry.seq, entry.position FROM entry_text JOIN entry ON entry.position = entry_text.position
         WHERE entry_text.position > ?1 AND entry_text.position < ?2 AND entry_text.tenant_no = ?3
           AND entry_text.reference = ?4 AND entry.wallet_id = ?5";
    REFERENCE_FOLDED = "
        SELECT seq, position FROM entry_reference
         WHERE tenant_no = ?1 AND reference = ?2 AND wallet_id = ?3 AND seq < ?4 AND position <= ?5
         ORDER BY seq DESC LIMIT ?6";
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

/// Entries by reference that are looked at beyond those that were asked for: texts may have been erased since.
const ERASED_MAX: usize = 64;

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
        self.walk_tail(wallet, head, &folded, |position, seq| {
            if seq < before && positions.len() < limit {
                positions.push(position);
            }
            positions.len() < limit
        })?;
        let id = wallet.id.0.to_bytes();
        let bounds = values![wallet.tenant.0, &id, before, self.trusted(&folded), limit - positions.len()];
        positions.extend(self.session.all(NEWEST, bounds, |row| position(row, 0))?);
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
        let id = wallet.id.0.to_bytes();
        let bounds = values![wallet.tenant.0, &id, after_seq, self.trusted(&folded), limit];
        let mut positions = self.session.all(OLDEST, bounds, |row| position(row, 0))?;
        if positions.len() < limit {
            let mut tail = Vec::new();
            self.walk_tail(wallet, head, &folded, |position, seq| {
                if seq > after_seq {
                    tail.push(position);
                }
                seq > after_seq
            })?;
            positions.extend(tail.into_iter().rev().take(limit - positions.len()));
        }
        positions.into_iter().map(|position| Ok(self.entry(position)?.0)).collect()
    }

    /// A wallet's entries with this reference, newest first, below `before_seq`.
    pub fn entries_by_reference(
        &self,
        wallet: WalletKey,
        reference: &str,
        before_seq: Option<u64>,
        limit: usize,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        let before = before_seq.unwrap_or(i64::MAX as u64);
        let (folded, id) = (self.folded()?, wallet.id.0.to_bytes());
        let place = |row: &dyn Columns| Ok((number(row, 0)?, position(row, 1)?));
        let mut places: Vec<(u64, Position)> = Vec::new();
        for head in self.heads()?.written() {
            let (after, end) = (folded.of(head.slot()).to_sql(), head.end_of_slot().to_sql());
            let bounds = values![after, end, wallet.tenant.0, reference, &id];
            places.extend(self.session.all(REFERENCE_TAIL, bounds, place)?);
        }
        places.retain(|(seq, _)| *seq < before);
        let (trusted, most) = (self.trusted(&folded), limit + ERASED_MAX);
        let bounds = values![wallet.tenant.0, reference, &id, before, trusted, most];
        places.extend(self.session.all(REFERENCE_FOLDED, bounds, place)?);
        places.sort_unstable_by_key(|(seq, _)| std::cmp::Reverse(*seq));
        let mut found = Vec::new();
        for (_, position) in places {
            let stored = self.stored_entry(position)?;
            let carried = stored.text.as_ref().and_then(|text| text.reference.as_deref());
            if carried == Some(reference) {
                found.push(stored);
            }
            if found.len() == limit {
                break;
            }
        }
        Ok(found)
    }

    /// All entries of this subject, in order, with texts.
    pub fn history(&self, tenant: TenantNo, subject: Id) -> Result<Vec<StoredEntry>, StoreError> {
        let found = load::history(self.session, tenant, subject)?;
        found
            .into_iter()
            .map(|(position, _, entry)| {
                Ok(StoredEntry { position, text: self.text_of(position, &entry)?, entry })
            })
            .collect()
    }

    /// The text of an entry, unless there is none or it was erased.
    pub fn entry_text(&self, position: Position) -> Result<Option<EntryText>, StoreError> {
        self.session.first(TEXT, values![position.to_sql()], |row| {
            Ok(EntryText {
                salt: array(row, 0)?,
                reference: text_option(row, 1)?,
                metadata: text_option(row, 2)?,
                reason: text_option(row, 3)?,
            })
        })
    }

    /// The last position up to which rows of the index are trusted, for databases on which a slice of it is written before
    /// it counts. Elsewhere a fold is one transaction, and what is there counts.
    fn trusted(&self, folded: &Heads) -> i64 {
        match self.session.dialect() {
            Dialect::Sqlite => folded.of(WRITER_SLOT).to_sql(),
            Dialect::Postgres | Dialect::Mysql => i64::MAX,
        }
    }

    /// Visits a wallet's entries behind the fold position, newest first, until `visit` has seen enough.
    fn walk_tail(
        &self,
        wallet: WalletKey,
        head: Position,
        folded: &Heads,
        mut visit: impl FnMut(Position, u64) -> bool,
    ) -> Result<(), StoreError> {
        let mut place = head;
        let mut newer = u64::MAX;
        while !folded.covers(place) {
            let read = |row: &dyn Columns| Ok((position(row, 0)?, wallet_key(row, 1)?, number(row, 3)?));
            let step = self.session.first(STEP, values![place.to_sql()], read)?;
            let (previous, of, seq) = step.ok_or_else(|| {
                StoreError::inconsistent("entry", place, "an entry follows it, but it is gone")
            })?;
            if of != wallet || seq >= newer {
                let what = "it is not in the chain it is reached by";
                return Err(StoreError::inconsistent("entry", place, what));
            }
            if !visit(place, seq) {
                return Ok(());
            }
            (place, newer) = (previous, seq);
        }
        Ok(())
    }

    fn entry(&self, position: Position) -> Result<(Entry, Position), StoreError> {
        match self.session.first(ENTRY, values![position.to_sql()], read_entry)? {
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
