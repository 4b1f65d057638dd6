//! What stands at positions: entries with their texts, outbox rows and answers, by ranges.
//!
//! A range is a number of positions, not of rows, so that it is bounded whatever is in it. A server keeps the positions of a
//! server, and those of an embedded database too: they are those of slot 1.

use super::table::{ANSWER, ENTRY, HISTORY, OUTBOX, REFERENCE, TEXT, column};
use crate::dialect::statements;
use crate::driver::bulk::{Cell, Row, Shape};
use crate::driver::{Session, values};
use crate::error::StoreError;
use crate::hot::KeyDigest;
use crate::hot::rows::position;
use crate::position::{Heads, Position};
use rustc_hash::FxHashMap;

statements! {
    ENTRIES = "
        SELECT position, prev_position, tenant_no, wallet_id, seq, kind, subject, amount, held_delta, settled_after,
               user_no, actor_kind, actor_no, occurred_at, recorded_at, allocations, terms, text_digest, hash
          FROM entry WHERE position > ?1 AND position <= ?2 ORDER BY position";
    TEXTS = "
        SELECT position, tenant_no, salt, reference, metadata, reason
          FROM entry_text WHERE position > ?1 AND position <= ?2 ORDER BY position";
    OUTBOX_ROWS = "
        SELECT position, tenant_no, wallet_id, event, first_seq, entries
          FROM outbox WHERE position > ?1 AND position <= ?2 ORDER BY position";
    ANSWERS = "
        SELECT position, tenant_no, key_digest, request_digest, receipt, created_at
          FROM answer WHERE position > ?1 AND position <= ?2 ORDER BY position";
    COPIED = "SELECT position FROM fold WHERE name = 'copied'";
    SET_COPIED = "
        INSERT INTO fold (name, slot, position) VALUES ('copied', ?1, ?2)
        ON CONFLICT (name, slot) DO UPDATE SET position = excluded.position";
}

/// Positions that are read and written at a time.
pub(super) const RANGE: u64 = 5_000;

/// What stands at a range of positions.
#[derive(Default)]
pub(super) struct Span {
    pub(super) entries: Vec<Row>,
    pub(super) texts: Vec<Row>,
    pub(super) outbox: Vec<Row>,
    pub(super) answers: Vec<Row>,
}

impl Span {
    /// What stands behind `after`, up to `upto` of the same slot.
    pub(super) fn read(session: Session<'_>, after: Position, upto: Position) -> Result<Span, StoreError> {
        let range = values![after.to_sql(), upto.to_sql()];
        let rows = |sql: &'static str, shape: Shape| session.all(sql, range, |row| shape.read(row));
        Ok(Span {
            entries: rows(ENTRIES, ENTRY)?,
            texts: rows(TEXTS, TEXT)?,
            outbox: rows(OUTBOX_ROWS, OUTBOX)?,
            answers: rows(ANSWERS, ANSWER)?,
        })
    }

    /// Writes everything, and the indices behind the funnel with it, within a transaction.
    pub(super) fn write(mut self, session: Session<'_>) -> Result<(), StoreError> {
        for answer in &mut self.answers {
            let key = KeyDigest::from_stored(answer[column::ANSWER_KEY].bytes()?)?;
            answer[column::ANSWER_KEY] = Cell::Bytes(key.bytes().to_vec());
        }
        let (history, references) = self.indices()?;
        session.insert_rows(&ENTRY, &self.entries)?;
        session.insert_rows(&TEXT, &self.texts)?;
        session.insert_rows(&OUTBOX, &self.outbox)?;
        session.insert_rows(&ANSWER, &self.answers)?;
        session.insert_rows(&HISTORY, &history)?;
        session.insert_rows(&REFERENCE, &references)
    }

    /// Rows of wallet history and references, each in the order of its key.
    fn indices(&self) -> Result<(Vec<Row>, Vec<Row>), StoreError> {
        let mut at: FxHashMap<i64, &Row> = FxHashMap::default();
        let mut history = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            at.insert(entry[column::POSITION].int()?, entry);
            history.push(place_of(entry)?);
        }
        let mut references = Vec::new();
        for text in self.texts.iter().filter(|text| text[column::TEXT_REFERENCE] != Cell::Null) {
            let position = text[column::POSITION].int()?;
            let entry = at.get(&position).ok_or_else(|| {
                StoreError::inconsistent("entry_text", position, "there is no entry that it belongs to")
            })?;
            references.push((text[column::TEXT_REFERENCE].clone(), place_of(entry)?));
        }
        history.sort_by_cached_key(|place| (place.tenant, place.wallet.clone(), place.seq));
        references.sort_by_cached_key(|(reference, place)| {
            let Cell::Text(text) = reference else { return (place.tenant, String::new(), Vec::new(), 0) };
            (place.tenant, text.clone(), place.wallet.clone(), place.seq)
        });
        let history = history.into_iter().map(|place| {
            let Place { tenant, wallet, seq, position } = place;
            vec![Cell::Int(tenant), Cell::Bytes(wallet), Cell::Int(seq), Cell::Int(position)]
        });
        let references = references.into_iter().map(|(reference, place)| {
            let Place { tenant, wallet, seq, position } = place;
            vec![Cell::Int(tenant), reference, Cell::Bytes(wallet), Cell::Int(seq), Cell::Int(position)]
        });
        Ok((history.collect(), references.collect()))
    }
}

/// Where an entry stands in its wallet and in the ledger.
struct Place {
    tenant: i64,
    wallet: Vec<u8>,
    seq: i64,
    position: i64,
}

fn place_of(entry: &Row) -> Result<Place, StoreError> {
    Ok(Place {
        tenant: entry[column::ENTRY_TENANT].int()?,
        wallet: entry[column::ENTRY_WALLET].bytes()?.to_vec(),
        seq: entry[column::ENTRY_SEQ].int()?,
        position: entry[column::POSITION].int()?,
    })
}

/// How far the source's positions were copied, in each of its slots.
pub(super) fn copied(session: Session<'_>) -> Result<Heads, StoreError> {
    let mut heads = Heads::default();
    session.all(COPIED, &[], |row| position(row, 0))?.into_iter().for_each(|head| heads.set(head));
    Ok(heads)
}

/// Says how far the positions of one of the source's slots were copied.
pub(super) fn set_copied(session: Session<'_>, upto: Position) -> Result<(), StoreError> {
    session.execute(SET_COPIED, values![upto.slot(), upto.to_sql()]).map(|_| ())
}
