//! Answers to idempotency keys, found without an index that random keys would scatter over the whole file.
//!
//! Answers are appended in order. The newest are found through a map in memory (the tail); when it is full its keys are
//! written as a sorted *run* in small steps, and eight runs of one level are merged into one of the next, so there are
//! few of them however many keys are kept. Each run has a filter in memory: a key that is new touches no disk; and the range
//! of how its keys begin (`leads.rs`), so that a key that begins with its time passes by most runs. A run
//! counts from the moment its head row is written; until then what it was made of keeps serving.

use super::filter::Filter;
use super::leads::{LEADS, Lead, Leads};
use super::owed::Owed;
use crate::dialect::statements;
use crate::error::StoreError;
use crate::hot::{KeyDigest, StoredAnswer};
use crate::position::Position;
use purser_core::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

statements! {
    ANSWER = "SELECT key_digest, request_digest, receipt FROM answer WHERE position = ?1";
    TAIL = "SELECT position, key_digest, created_at FROM answer WHERE position > ?1 ORDER BY position LIMIT ?2";
    HEADS = "
        SELECT run, level, last_position, answers, newest_at, filter
          FROM answer_run_head ORDER BY last_position";
    /// Finds the runs that exist one by one: each answer is one step into the index, however long the runs are.
    NEXT_RUN = "SELECT MIN(run) FROM answer_run WHERE run > ?1";
    FIND_IN_RUN = "SELECT position FROM answer_run WHERE run = ?1 AND key_digest = ?2";
    INSERT_RUN_ROW = "INSERT INTO answer_run (run, key_digest, position) VALUES (?1, ?2, ?3)";
    RUN_SLICE = "
        SELECT key_digest, position FROM answer_run
         WHERE run = ?1 AND key_digest >= ?2 AND key_digest < ?3";
    INSERT_HEAD = "
        INSERT INTO answer_run_head (run, level, first_position, last_position, answers, newest_at, filter)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    FIRST_POSITION = "SELECT MIN(first_position) FROM answer_run_head WHERE run >= ?1 AND run <= ?2";
    DELETE_HEAD = "DELETE FROM answer_run_head WHERE run = ?1";
    DELETE_RUN_ROWS = "
        DELETE FROM answer_run
         WHERE run = ?1 AND key_digest IN (SELECT key_digest FROM answer_run WHERE run = ?1 LIMIT ?2)";
    DELETE_ANSWERS = "
        DELETE FROM answer
         WHERE position IN (SELECT position FROM answer WHERE position <= ?1 ORDER BY position LIMIT ?2)";
}

/// So many runs of one level become one of the next.
const MERGE_WIDTH: usize = 8;
/// So many do where the leads of keys tell the runs apart: then more of them cost a look-up nothing, and each answer is
/// written again less often.
const WIDE_MERGE_WIDTH: usize = 32;

/// The digest of a tenant's key: see [`KeyDigest`], whose lead this database stores for a server that it may be copied to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Hashed(pub(crate) [u8; 16]);

impl From<KeyDigest> for Hashed {
    fn from(key: KeyDigest) -> Hashed {
        Hashed(key.digest())
    }
}

impl Hashed {
    /// Its two halves as numbers.
    pub(crate) fn halves(self) -> (u64, u64) {
        let number = u128::from_be_bytes(self.0);
        ((number >> 64) as u64, number as u64)
    }
}

/// Where the answer to each key is.
pub(crate) struct Answers {
    /// Keys that are in no run yet. In order, as to sort them when they become a run would hold up a batch.
    tail: Tail,
    /// Keys of the run that is being built from a full tail.
    frozen: Tail,
    /// Complete runs, oldest first.
    runs: Vec<Run>,
    build: Option<Build>,
    /// Runs without a head whose rows are still to be deleted.
    leftover: Vec<i64>,
    next_run: i64,
    answers_per_run: usize,
    /// Rows owed for what was appended since the last step.
    owed: Owed,
}

/// Answers that are in no complete run.
struct Tail {
    positions: BTreeMap<Hashed, Position>,
    /// How the keys begin.
    leads: Leads,
    /// When the newest was given, which need not be the last: the time of one wallet may be ahead of that of another.
    newest_at: Timestamp,
}

impl Default for Tail {
    fn default() -> Tail {
        Tail { positions: BTreeMap::new(), leads: Leads::NONE, newest_at: Timestamp(i64::MIN) }
    }
}

/// A complete run.
struct Run {
    no: i64,
    level: u8,
    last: Position,
    answers: usize,
    newest_at: Timestamp,
    leads: Leads,
    filter: Filter,
}

/// A run that is being written.
struct Build {
    no: i64,
    level: u8,
    filter: Filter,
    written: usize,
    source: Source,
}

enum Source {
    /// The frozen tail, written up to a key.
    Tail { written_to: Option<Hashed> },
    /// Runs of the level below, taken in slices of the key space; digests are uniform, so slices are of one size.
    Runs { nos: Vec<i64>, answers: usize, slice: u128, slices: u128 },
}

impl Answers {
    /// Finds the runs and the tail in the database.
    pub(crate) fn load(connection: &Connection, answers_per_run: usize) -> Result<Answers, StoreError> {
        Answers::load_some(connection, answers_per_run, usize::MAX >> 1)
    }

    /// Makes one more run of the answers that are in none, in the transaction under way; whether there were enough of them.
    /// For answers that were not appended by this program's writer: at its start it would keep all of them in memory.
    pub(crate) fn make_run(connection: &Connection, answers_per_run: usize) -> Result<bool, StoreError> {
        let mut answers = Answers::load_some(connection, answers_per_run, answers_per_run)?;
        if answers.tail.positions.len() < answers_per_run {
            return Ok(false);
        }
        answers.step(connection, answers_per_run)?;
        Ok(true)
    }

    fn load_some(
        connection: &Connection,
        answers_per_run: usize,
        tail_max: usize,
    ) -> Result<Answers, StoreError> {
        let mut answers = Answers {
            tail: Tail::default(),
            frozen: Tail::default(),
            runs: Vec::new(),
            build: None,
            leftover: Vec::new(),
            next_run: 1,
            answers_per_run: answers_per_run.max(1),
            owed: Owed::default(),
        };
        let mut statement = connection.prepare_cached(HEADS)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let no: i64 = row.get(0)?;
            let (filter, leads) = read_filter(row.get_ref(5)?.as_blob().map_err(rusqlite::Error::from)?)
                .ok_or_else(|| {
                    StoreError::inconsistent("answer_run_head", no, "its filter cannot be read")
                })?;
            answers.runs.push(Run {
                no,
                level: row.get(1)?,
                last: Position::from_sql(row.get(2)?),
                answers: row.get::<_, i64>(3)? as usize,
                newest_at: Timestamp(row.get(4)?),
                leads,
                filter,
            });
        }
        answers.find_leftovers(connection)?;
        let folded = answers.runs.last().map_or(Position::NONE, |run| run.last);
        let mut statement = connection.prepare_cached(TAIL)?;
        let mut rows = statement.query([folded.to_sql(), tail_max as i64])?;
        while let Some(row) = rows.next()? {
            answers.push(stored_key(row, 1)?, Position::from_sql(row.get(0)?), Timestamp(row.get(2)?));
        }
        Ok(answers)
    }

    /// Rows of runs without a head: a build that did not end, or deleted runs whose rows were not all deleted yet.
    fn find_leftovers(&mut self, connection: &Connection) -> Result<(), StoreError> {
        let mut statement = connection.prepare_cached(NEXT_RUN)?;
        let mut last = i64::MIN;
        while let Some(no) = statement.query_row([last], |row| row.get::<_, Option<i64>>(0))? {
            if !self.runs.iter().any(|run| run.no == no) {
                self.leftover.push(no);
            }
            last = no;
        }
        let heads = self.runs.iter().map(|run| run.no).max().unwrap_or(0);
        self.next_run = heads.max(last.max(0)) + 1;
        Ok(())
    }

    /// Notes an answer that was appended.
    pub(crate) fn push(&mut self, key: KeyDigest, position: Position, created_at: Timestamp) {
        self.tail.leads.insert(Lead::of(&key));
        self.tail.newest_at = self.tail.newest_at.max(created_at);
        self.tail.positions.insert(key.into(), position);
    }

    /// What was answered to `key`.
    pub(crate) fn find(
        &self,
        connection: &Connection,
        key: KeyDigest,
    ) -> Result<Option<StoredAnswer>, StoreError> {
        let lead = Lead::of(&key);
        let key = Hashed::from(key);
        if let Some(position) = self.tail.positions.get(&key).or_else(|| self.frozen.positions.get(&key)) {
            return read_answer(connection, *position, key);
        }
        let may_contain = |run: &&Run| run.leads.may_contain(lead) && run.filter.may_contain(key);
        for run in self.runs.iter().rev().filter(may_contain) {
            let mut statement = connection.prepare_cached(FIND_IN_RUN)?;
            let position: Option<i64> =
                statement.query_row(params![run.no, key.0], |row| row.get(0)).optional()?;
            let Some(position) = position else { continue };
            // None when it was forgotten already: the oldest go first, so no older run has it either.
            return read_answer(connection, Position::from_sql(position), key);
        }
        Ok(None)
    }

    /// Rows that are waiting to be written or deleted.
    pub(crate) fn remaining(&self) -> u64 {
        let build = match &self.build {
            Some(Build { source: Source::Tail { .. }, written, .. }) => self.frozen.positions.len() - written,
            Some(Build { source: Source::Runs { answers, .. }, written, .. }) => {
                answers.saturating_sub(*written).max(1)
            }
            None if self.tail.positions.len() >= self.answers_per_run => self.tail.positions.len(),
            None => usize::from(self.mergeable().is_some()),
        };
        (build + self.leftover.len()) as u64
    }

    /// Writes what is owed for so many appended `entries`: each answer is written once for every level of runs that it is
    /// merged through, so the more the longer the tail is.
    pub(crate) fn step_along(&mut self, connection: &Connection, entries: usize) -> Result<(), StoreError> {
        if self.remaining() == 0 {
            return Ok(());
        }
        let rows = entries + entries * 4 * self.tail.positions.len() / self.answers_per_run;
        match self.owed.step(rows, self.answers_per_run) {
            Some(rows) => self.step(connection, rows),
            None => Ok(()),
        }
    }

    /// Writes up to about `budget_rows` rows of the run that is being built, or deletes as many left-over ones.
    pub(crate) fn step(&mut self, connection: &Connection, budget_rows: usize) -> Result<(), StoreError> {
        if self.build.is_none() {
            self.start(budget_rows);
        }
        if let Some(mut build) = self.build.take() {
            if build.write(connection, &self.frozen.positions, budget_rows)? {
                return self.finish(connection, build);
            }
            self.build = Some(build);
        } else if let Some(no) = self.leftover.last() {
            let deleted =
                connection.prepare_cached(DELETE_RUN_ROWS)?.execute(params![no, budget_rows as i64])?;
            if deleted < budget_rows {
                self.leftover.pop();
            }
        }
        Ok(())
    }

    fn start(&mut self, budget_rows: usize) {
        let (level, answers, source) = if self.tail.positions.len() >= self.answers_per_run {
            self.frozen = std::mem::take(&mut self.tail);
            (0, self.frozen.positions.len(), Source::Tail { written_to: None })
        } else if let Some(level) = self.mergeable() {
            let merged = self.runs.iter().filter(|run| run.level == level);
            let answers: usize = merged.clone().map(|run| run.answers).sum();
            let nos = merged.map(|run| run.no).collect();
            let slices = answers.div_ceil(budget_rows.max(1)).max(1) as u128;
            (level + 1, answers, Source::Runs { nos, answers, slice: 0, slices })
        } else {
            return;
        };
        let filter = Filter::with_capacity(answers);
        self.build = Some(Build { no: self.next_run, level, filter, written: 0, source });
        self.next_run += 1;
    }

    /// The lowest level that has enough runs to be merged.
    fn mergeable(&self) -> Option<u8> {
        let full = |level: u8| {
            let runs = self.runs.iter().filter(|run| run.level == level);
            match runs.clone().count() {
                0..MERGE_WIDTH => false,
                WIDE_MERGE_WIDTH.. => true,
                _ => !Leads::lie_apart(runs.map(|run| run.leads)),
            }
        };
        self.runs.iter().map(|run| run.level).filter(|level| full(*level)).min()
    }

    /// Puts the run in the place of what it was made of, in the transaction that writes its head.
    fn finish(&mut self, connection: &Connection, build: Build) -> Result<(), StoreError> {
        let sources = match &build.source {
            Source::Tail { .. } => Vec::new(),
            Source::Runs { nos, .. } => nos.clone(),
        };
        let (first, last) = build.range(connection, &self.frozen.positions, &self.runs)?;
        let merged = || self.runs.iter().filter(|run| sources.contains(&run.no));
        let (newest_at, leads) = match &build.source {
            Source::Tail { .. } => (self.frozen.newest_at, self.frozen.leads),
            Source::Runs { .. } => (
                merged().map(|run| run.newest_at).max().expect("it was made of runs"),
                merged().fold(Leads::NONE, |leads, run| leads.and(&run.leads)),
            ),
        };
        let Build { no, level, filter, written, .. } = build;
        connection.prepare_cached(INSERT_HEAD)?.execute(params![
            no,
            level,
            first.to_sql(),
            last.to_sql(),
            written as i64,
            newest_at.0,
            [&filter.to_bytes()[..], &leads.to_bytes()].concat()
        ])?;
        for source in &sources {
            connection.prepare_cached(DELETE_HEAD)?.execute([source])?;
        }
        self.runs.retain(|run| !sources.contains(&run.no));
        self.runs.push(Run { no, level, last, answers: written, newest_at, leads, filter });
        self.runs.sort_by_key(|run| run.last);
        if sources.is_empty() {
            self.frozen = Tail::default();
        }
        self.leftover.extend(sources);
        Ok(())
    }

    /// Forgets whole runs whose newest answer is older than `before`; whether there is more to forget.
    pub(crate) fn prune(
        &mut self,
        connection: &Connection,
        before: Timestamp,
        budget_rows: usize,
    ) -> Result<bool, StoreError> {
        let Some(oldest) = self.runs.first().filter(|run| run.newest_at < before) else { return Ok(false) };
        let merging = match &self.build {
            Some(Build { source: Source::Runs { nos, .. }, .. }) => nos.contains(&oldest.no),
            Some(Build { source: Source::Tail { .. }, .. }) | None => false,
        };
        if merging {
            return Ok(false);
        }
        let bounds = params![oldest.last.to_sql(), budget_rows as i64];
        if connection.prepare_cached(DELETE_ANSWERS)?.execute(bounds)? < budget_rows {
            connection.prepare_cached(DELETE_HEAD)?.execute([oldest.no])?;
            let oldest = self.runs.remove(0);
            self.leftover.push(oldest.no);
        }
        Ok(self.runs.first().is_some_and(|run| run.newest_at < before))
    }
}

impl Build {
    /// Writes the next rows; whether the run is complete.
    fn write(
        &mut self,
        connection: &Connection,
        frozen: &BTreeMap<Hashed, Position>,
        budget_rows: usize,
    ) -> Result<bool, StoreError> {
        let (rows, complete) = match &mut self.source {
            Source::Tail { written_to } => {
                let rest = frozen.range((written_to.map_or(Unbounded, Excluded), Unbounded));
                let rows: Vec<_> =
                    rest.take(budget_rows.max(1)).map(|(key, position)| (*key, *position)).collect();
                *written_to = rows.last().map(|(key, _)| *key).or(*written_to);
                let complete = self.written + rows.len() == frozen.len();
                (rows, complete)
            }
            Source::Runs { nos, slice, slices, .. } => {
                let rows = read_slice(connection, nos, *slice, *slices)?;
                *slice += 1;
                (rows, *slice == *slices)
            }
        };
        let mut insert = connection.prepare_cached(INSERT_RUN_ROW)?;
        for (key, position) in &rows {
            insert.execute(params![self.no, key.0, position.to_sql()])?;
            self.filter.insert(*key);
        }
        self.written += rows.len();
        Ok(complete)
    }

    /// The first and last position of its answers.
    fn range(
        &self,
        connection: &Connection,
        frozen: &BTreeMap<Hashed, Position>,
        runs: &[Run],
    ) -> Result<(Position, Position), StoreError> {
        match &self.source {
            Source::Tail { .. } => {
                let positions = frozen.values().copied();
                Ok((positions.clone().min().unwrap_or_default(), positions.max().unwrap_or_default()))
            }
            Source::Runs { nos, .. } => {
                let bounds = [nos.iter().min(), nos.iter().max()];
                let first = connection.prepare_cached(FIRST_POSITION)?.query_row(bounds, |row| row.get(0))?;
                let last = runs.iter().filter(|run| nos.contains(&run.no)).map(|run| run.last).max();
                Ok((Position::from_sql(first), last.unwrap_or_default()))
            }
        }
    }
}

/// The rows of `nos` in one slice of the key space, sorted; of a key that was used again the newest.
fn read_slice(
    connection: &Connection,
    nos: &[i64],
    slice: u128,
    slices: u128,
) -> Result<Vec<(Hashed, Position)>, StoreError> {
    let width = u128::MAX / slices;
    let low = (width * slice).to_be_bytes();
    // Longer than any digest, so that the last slice takes the largest one too.
    let high =
        if slice + 1 == slices { vec![0xff; 17] } else { (width * (slice + 1)).to_be_bytes().to_vec() };
    let mut found: Vec<(Hashed, Position)> = Vec::new();
    let mut statement = connection.prepare_cached(RUN_SLICE)?;
    for no in nos {
        let mut rows = statement.query(params![no, low, high])?;
        while let Some(row) = rows.next()? {
            found.push((Hashed(row.get(0)?), Position::from_sql(row.get(1)?)));
        }
    }
    found.sort_unstable_by_key(|(key, position)| (*key, std::cmp::Reverse(*position)));
    found.dedup_by_key(|(key, _)| *key);
    Ok(found)
}

fn read_answer(
    connection: &Connection,
    position: Position,
    key: Hashed,
) -> Result<Option<StoredAnswer>, StoreError> {
    let mut statement = connection.prepare_cached(ANSWER)?;
    let mut rows = statement.query([position.to_sql()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    if Hashed::from(stored_key(row, 0)?) != key {
        return Err(StoreError::inconsistent("answer", position, "it belongs to another key"));
    }
    Ok(Some(StoredAnswer { request_digest: row.get(1)?, receipt: row.get(2)? }))
}

fn stored_key(row: &rusqlite::Row<'_>, column: usize) -> Result<KeyDigest, StoreError> {
    KeyDigest::from_stored(row.get_ref(column)?.as_blob().map_err(rusqlite::Error::from)?)
}

/// A run's filter and, behind it, how its keys begin. The first versions stored the filter alone, which is whole words.
fn read_filter(bytes: &[u8]) -> Option<(Filter, Leads)> {
    match bytes.split_last_chunk::<LEADS>() {
        Some((filter, leads)) if bytes.len() % 8 == LEADS % 8 => {
            Some((Filter::from_bytes(filter)?, Leads::from_bytes(leads)?))
        }
        _ => Some((Filter::from_bytes(bytes)?, Leads::ANY)),
    }
}
