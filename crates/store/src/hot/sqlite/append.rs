//! Appending decisions to the embedded database: entries, texts, outbox rows and answers. Every row goes to the end of its table.
//!
//! Positions are given here, without a gap, in the order in which decisions are appended. Nothing that is written
//! here is ever changed again; a text may be erased, an answer forgotten when its time is over.

use super::SqliteBatch;
use crate::dialect::statements;
use crate::error::StoreError;
use crate::hot::{EntryText, NewAnswer, Recording};
use crate::position::Position;
use purser_core::Entry;
use purser_core::codec::{encode_allocations, encode_terms};
use rusqlite::{CachedStatement, Connection, params};

statements! {
    INSERT_ENTRY = "
        INSERT INTO entry (position, prev_position, tenant_no, wallet_id, seq, kind, subject, amount, held_delta,
                           settled_after, user_no, actor_kind, actor_no, occurred_at, recorded_at, allocations, terms,
                           text_digest, hash)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)";
    INSERT_TEXT = "
        INSERT INTO entry_text (position, tenant_no, salt, reference, metadata, reason)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    INSERT_OUTBOX = "
        INSERT INTO outbox (position, tenant_no, wallet_id, event, first_seq, entries)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    INSERT_ANSWER = "
        INSERT INTO answer (position, tenant_no, key_digest, request_digest, receipt, created_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
}

/// The statements of [`SqliteBatch::append`].
pub(super) struct Inserts<'c> {
    entry: CachedStatement<'c>,
    text: CachedStatement<'c>,
    outbox: CachedStatement<'c>,
    answer: CachedStatement<'c>,
}

impl<'c> Inserts<'c> {
    fn prepare(connection: &'c Connection) -> Result<Inserts<'c>, StoreError> {
        Ok(Inserts {
            entry: connection.prepare_cached(INSERT_ENTRY)?,
            text: connection.prepare_cached(INSERT_TEXT)?,
            outbox: connection.prepare_cached(INSERT_OUTBOX)?,
            answer: connection.prepare_cached(INSERT_ANSWER)?,
        })
    }
}

impl SqliteBatch<'_> {
    /// Appends one decision. `heads` holds the head position of each wallet of `recording.entries`, in the order of
    /// their first entry there, and is moved to the new heads. Answers the position of the first entry; the others
    /// follow without a gap. (Without entries, the position of the answer.)
    ///
    /// # Panics
    /// If `heads` does not name one head for each wallet, or an entry's text digest is not that of the text.
    pub(crate) fn append(
        &mut self,
        recording: &Recording<'_>,
        heads: &mut [Position],
    ) -> Result<Position, StoreError> {
        let digest = recording.text.map(EntryText::digest);
        let mut first = None;
        let mut wallets = heads.iter_mut();
        for entries in recording.entries.chunk_by(|entry, next| entry.wallet == next.wallet) {
            let head = wallets.next().expect("each wallet of a decision has a head");
            let mut previous = *head;
            for (index, entry) in entries.iter().enumerate() {
                let position = self.next_position();
                if index == 0 {
                    first.get_or_insert(position);
                    self.insert_outbox(position, entries, recording.announced(entry.wallet))?;
                }
                self.insert_entry(position, previous, entry)?;
                if entry.text_digest.is_some() {
                    assert!(entry.text_digest == digest, "an entry carries the digest of the text beside it");
                    self.insert_text(position, entry, recording.text)?;
                }
                previous = position;
            }
            *head = previous;
        }
        assert!(wallets.next().is_none(), "each head belongs to a wallet of the decision");
        let first = first.unwrap_or_else(|| self.next_position());
        if let Some(answer) = &recording.answer {
            self.insert_answer(first, answer)?;
        }
        Ok(first)
    }

    fn insert_entry(
        &mut self,
        position: Position,
        previous: Position,
        entry: &Entry,
    ) -> Result<(), StoreError> {
        self.inserts()?.entry.execute(params![
            position.to_sql(),
            previous.to_sql(),
            entry.wallet.tenant.0 as i64,
            entry.wallet.id.0.to_bytes(),
            entry.seq as i64,
            entry.kind as u8,
            entry.subject.to_bytes(),
            entry.amount.0,
            entry.held_delta.0,
            entry.settled_after.0,
            entry.user.map(|user| user.0 as i64),
            entry.actor.kind as u8,
            entry.actor.no as i64,
            entry.occurred_at.0,
            entry.recorded_at.0,
            encode_allocations(&entry.allocations),
            encode_terms(&entry.terms),
            entry.text_digest,
            entry.hash
        ])?;
        self.state.folder.push(entry.wallet, entry.seq, position);
        Ok(())
    }

    fn insert_outbox(&mut self, position: Position, entries: &[Entry], event: i64) -> Result<(), StoreError> {
        let wallet = entries[0].wallet;
        self.inserts()?.outbox.execute(params![
            position.to_sql(),
            wallet.tenant.0 as i64,
            wallet.id.0.to_bytes(),
            event,
            entries[0].seq as i64,
            entries.len() as i64
        ])?;
        Ok(())
    }

    fn insert_text(
        &mut self,
        position: Position,
        entry: &Entry,
        text: Option<&EntryText>,
    ) -> Result<(), StoreError> {
        let EntryText { salt, reference, metadata, reason } = text.expect("its digest was compared");
        let tenant = entry.wallet.tenant.0 as i64;
        let values = params![position.to_sql(), tenant, salt, reference, metadata, reason];
        self.inserts()?.text.execute(values)?;
        if let Some(reference) = reference {
            self.state.folder.push_reference(entry.wallet, entry.seq, reference, position);
        }
        Ok(())
    }

    fn insert_answer(&mut self, position: Position, answer: &NewAnswer<'_>) -> Result<(), StoreError> {
        self.inserts()?.answer.execute(params![
            position.to_sql(),
            answer.tenant.0 as i64,
            answer.key.bytes(),
            answer.request_digest,
            answer.receipt,
            answer.created_at.0
        ])?;
        self.state.answers.push(answer.key, position, answer.created_at);
        Ok(())
    }
}

impl<'w> SqliteBatch<'w> {
    fn inserts(&mut self) -> Result<&mut Inserts<'w>, StoreError> {
        if self.inserts.is_none() {
            self.inserts = Some(Inserts::prepare(self.connection)?);
        }
        Ok(self.inserts.as_mut().expect("just prepared"))
    }
}
