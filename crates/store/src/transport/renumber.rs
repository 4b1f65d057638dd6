//! A ledger of many writers as the ledger of one: an embedded database's positions are all of slot 1.
//!
//! What the writers of a server wrote is merged in the order in which it was recorded, but an entry never before the one it
//! follows in its wallet. There always is one whose turn it is: the one that was committed first. Positions are no part of
//! the chain, which stays as it is; the links between a wallet's entries follow the new ones.

use super::ledger::{RANGE, Span, set_copied};
use super::table::column;
use crate::dialect::statements;
use crate::driver::bulk::{Cell, Row};
use crate::driver::{Session, values};
use crate::error::StoreError;
use crate::hot::WRITER_SLOT;
use crate::hot::rows::{int, position};
use crate::position::{Heads, Position};
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, VecDeque};

statements! {
    AT_SEQ = "SELECT position FROM wallet_history WHERE tenant_no = ?1 AND wallet_id = ?2 AND seq = ?3";
    LAST = "SELECT position FROM fold WHERE name = 'copied_as' AND slot = 1";
    SET_LAST = "
        INSERT INTO fold (name, slot, position) VALUES ('copied_as', 1, ?1)
        ON CONFLICT (name, slot) DO UPDATE SET position = excluded.position";
}

/// What stands at one position of the source.
struct Item {
    position: Position,
    /// When it was recorded or answered.
    at: i64,
    /// The entry, its text, the outbox row and the answer.
    rows: [Option<Row>; 4],
}

/// Where each of an item's rows has its time, if it has one.
const TIMES: [Option<usize>; 4] =
    [Some(column::ENTRY_RECORDED_AT), None, None, Some(column::ANSWER_CREATED_AT)];

/// What one writer of the source wrote, read a range at a time.
struct Stream {
    head: Position,
    /// Read up to here.
    read: Position,
    /// Taken up to here.
    taken: Position,
    items: VecDeque<Item>,
}

impl Stream {
    /// Makes sure that its next item is there, unless it has none left.
    fn fill(&mut self, source: Session<'_>) -> Result<(), StoreError> {
        while self.items.is_empty() {
            // All that was read is taken, the gaps in it too.
            self.taken = self.read;
            if self.read >= self.head {
                return Ok(());
            }
            let upto = self.head.at(self.head.seq().min(self.read.seq() + RANGE));
            self.items = items(Span::read(source, self.read, upto)?)?;
            self.read = upto;
        }
        Ok(())
    }

    fn take(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        self.taken = item.position;
        Some(item)
    }
}

/// Puts the rows of each position together.
fn items(span: Span) -> Result<VecDeque<Item>, StoreError> {
    let mut items: BTreeMap<i64, Item> = BTreeMap::new();
    let parts = [span.entries, span.texts, span.outbox, span.answers];
    for (part, (rows, time)) in parts.into_iter().zip(TIMES).enumerate() {
        for row in rows {
            let number = row[column::POSITION].int()?;
            let fresh = || Item { position: Position::from_sql(number), at: 0, rows: Default::default() };
            let item = items.entry(number).or_insert_with(fresh);
            if let Some(time) = time {
                item.at = item.at.max(row[time].int()?);
            }
            item.rows[part] = Some(row);
        }
    }
    Ok(items.into_values().collect())
}

/// The writers of a source on their way into one order.
pub(super) struct Merge {
    streams: Vec<Stream>,
}

impl Merge {
    /// From where each of them was copied up to.
    pub(super) fn of(heads: &Heads, copied: &Heads) -> Merge {
        let stream = |head: Position| {
            let taken = copied.of(head.slot());
            Stream { head, read: taken, taken, items: VecDeque::new() }
        };
        Merge { streams: heads.written().map(stream).collect() }
    }

    /// Writes the next range, within a transaction of the target; how many positions of the source are done, none when all
    /// of them were before.
    pub(super) fn step(
        &mut self,
        source: Session<'_>,
        target: Session<'_>,
    ) -> Result<Option<u64>, StoreError> {
        if self.streams.iter().all(|stream| stream.taken >= stream.head) {
            return Ok(None);
        }
        let mut numbers = Numbers { target, last: last(target)?, recent: FxHashMap::default() };
        let mut span = Span::default();
        for _ in 0..RANGE {
            for stream in &mut self.streams {
                stream.fill(source)?;
            }
            let Some((index, previous)) = self.turn(&numbers)? else { break };
            let Some(item) = self.streams[index].take() else { break };
            numbers.give(item, previous, &mut span)?;
        }
        for stream in &mut self.streams {
            stream.fill(source)?;
            set_copied(target, stream.taken)?;
        }
        target.execute(SET_LAST, values![numbers.last.to_sql()])?;
        span.write(target)?;
        Ok(Some(self.streams.iter().map(|stream| stream.taken.seq()).sum()))
    }

    /// The stream whose next item may come now, and the new position of the entry that it follows in its wallet; none when all
    /// are done.
    fn turn(&self, numbers: &Numbers<'_>) -> Result<Option<(usize, Position)>, StoreError> {
        let next = |(index, stream): (usize, &Stream)| stream.items.front().map(|item| (item.at, index));
        let mut nexts: Vec<(i64, usize)> = self.streams.iter().enumerate().filter_map(next).collect();
        nexts.sort_unstable();
        for (_, index) in &nexts {
            let Some(item) = self.streams[*index].items.front() else { continue };
            let previous = match &item.rows[0] {
                Some(entry) => numbers.previous(entry)?,
                None => Some(Position::NONE),
            };
            if let Some(previous) = previous {
                return Ok(Some((*index, previous)));
            }
        }
        match nexts.first().and_then(|(_, index)| self.streams[*index].items.front()) {
            None => Ok(None),
            Some(item) => {
                let what = "the entry before it in its wallet is missing";
                Err(StoreError::inconsistent("entry", item.position, what))
            }
        }
    }
}

/// New positions, in the transaction under way.
struct Numbers<'t> {
    target: Session<'t>,
    last: Position,
    /// The last entries of this transaction by wallet: their seq and position.
    recent: FxHashMap<(i64, Vec<u8>), (i64, Position)>,
}

impl Numbers<'_> {
    /// The new position of the entry that this one follows; none while that has not come.
    fn previous(&self, entry: &Row) -> Result<Option<Position>, StoreError> {
        let seq = entry[column::ENTRY_SEQ].int()?;
        let (tenant, wallet) = wallet_of(entry)?;
        if seq == 1 {
            return Ok(Some(Position::NONE));
        }
        let key = (tenant, wallet.to_vec());
        match self.recent.get(&key) {
            Some((newest, place)) => Ok((*newest == seq - 1).then_some(*place)),
            None => at_seq(self.target, tenant, wallet, seq - 1),
        }
    }

    /// Gives an item the next position.
    fn give(&mut self, item: Item, previous: Position, span: &mut Span) -> Result<(), StoreError> {
        self.last = Position::new(WRITER_SLOT, self.last.seq() + 1);
        let place = Cell::Int(self.last.to_sql());
        let [mut entry, mut text, mut outbox, mut answer] = item.rows;
        for row in [&mut entry, &mut text, &mut outbox, &mut answer].into_iter().flatten() {
            row[column::POSITION] = place.clone();
        }
        if let Some(entry) = &mut entry {
            let (tenant, wallet) = wallet_of(entry)?;
            let newest = (entry[column::ENTRY_SEQ].int()?, self.last);
            self.recent.insert((tenant, wallet.to_vec()), newest);
            entry[column::ENTRY_PREVIOUS] = Cell::Int(previous.to_sql());
        }
        span.entries.extend(entry);
        span.texts.extend(text);
        span.outbox.extend(outbox);
        span.answers.extend(answer);
        Ok(())
    }
}

fn wallet_of(entry: &Row) -> Result<(i64, &[u8]), StoreError> {
    Ok((entry[column::ENTRY_TENANT].int()?, entry[column::ENTRY_WALLET].bytes()?))
}

/// The new position of a wallet's entry with this seq, if it was copied.
pub(super) fn at_seq(
    target: Session<'_>,
    tenant: i64,
    wallet: &[u8],
    seq: i64,
) -> Result<Option<Position>, StoreError> {
    target.first(AT_SEQ, values![tenant, wallet, seq], |row| position(row, 0))
}

/// The last position that was given.
pub(super) fn last(target: Session<'_>) -> Result<Position, StoreError> {
    let last = target.first(LAST, &[], |row| int(row, 0))?;
    Ok(last.map_or(Position::new(WRITER_SLOT, 0), Position::from_sql))
}
