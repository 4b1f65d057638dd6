//! The embedded database: beginning, committing and giving up a transaction, and what the writer keeps in memory between two of them.
//!
//! A commit that fails after it was sent to the disk has an unknown outcome and is reported as such: the caller looks
//! the keys up again in a new batch, which reads the slot, the answers and the tail anew.

use super::answers::Answers;
use super::append::Inserts;
use super::folder::Folder;
use crate::dialect::statements;
use crate::driver::Session;
use crate::error::{CommitError, StoreError};
use crate::hot::{CommitFault, Folded, KeyDigest, LoadedWallet, StoredAnswer, WRITER_SLOT, load, simulated};
use crate::position::Position;
use crate::sqlite::{MainFile, copy_log};
use crate::store::OpenOptions;
use purser_core::{Timestamp, WalletKey};
use rusqlite::{Connection, params};
use std::fs::File;

statements! {
    TAKE_SLOT = "UPDATE slot SET epoch = epoch + 1 WHERE slot = ?1";
    SLOT = "SELECT epoch, seq, closed_until FROM slot WHERE slot = ?1";
    SET_SEQ = "UPDATE slot SET seq = ?3 WHERE slot = ?1 AND epoch = ?2";
    TOUCH = "UPDATE meta SET value = value WHERE name = 'clean_shutdown'";
    SET_CLEAN = "UPDATE meta SET value = ?1 WHERE name = 'clean_shutdown'";
    FLUSHED = "SELECT position FROM fold WHERE name = 'wallet_rows' AND slot = 1";
    /// Moves when another connection has written to the file.
    DATA_VERSION = "PRAGMA data_version";
    BEGIN = "BEGIN IMMEDIATE";
    COMMIT = "COMMIT";
    ROLLBACK = "ROLLBACK";
}

/// The one connection that writes. Lives on a thread of its own.
pub(crate) struct SqliteWriter {
    pub(super) connection: Connection,
    pub(super) state: State,
    fault: Option<CommitFault>,
    /// Held for as long as this process may write.
    _lock: File,
    /// Behind the connection: see there.
    _main_file: MainFile,
}

/// What the writer remembers between batches; always as committed, or thrown away.
pub(super) struct State {
    epoch: i64,
    seq: u64,
    data_version: i64,
    pub(super) flushed: Position,
    pub(super) answers: Answers,
    pub(super) folder: Folder,
    options: OpenOptions,
    /// A batch ended in doubt: everything above is read again before the next one.
    stale: bool,
}

/// One transaction. Dropped without [`SqliteBatch::commit`], nothing of it is kept.
pub(crate) struct SqliteBatch<'w> {
    pub(crate) connection: &'w Connection,
    pub(super) state: &'w mut State,
    fault: &'w mut Option<CommitFault>,
    /// Prepared once per batch, as they run for every decision.
    pub(super) inserts: Option<Inserts<'w>>,
    /// The last sequence taken.
    pub(super) seq: u64,
    seq_begun: u64,
    /// Whether the state in memory was changed, so that it must be read again unless this commits.
    pub(super) dirty: bool,
    ended: bool,
    changed_outside: bool,
    closed_until: Timestamp,
}

impl State {
    fn load(connection: &Connection, options: &OpenOptions) -> Result<State, StoreError> {
        let (epoch, seq, _) = read_slot(connection)?;
        Ok(State {
            epoch,
            seq,
            data_version: read_data_version(connection)?,
            flushed: Position::from_sql(connection.query_row(FLUSHED, [], |row| row.get(0))?),
            answers: Answers::load(connection, options.answers_per_run)?,
            folder: Folder::load(connection, options.fold_window)?,
            options: options.clone(),
            stale: false,
        })
    }
}

impl SqliteWriter {
    /// Takes the writer's slot on an open connection to a current schema.
    pub(crate) fn take(
        connection: Connection,
        lock: File,
        main_file: MainFile,
        options: &OpenOptions,
    ) -> Result<SqliteWriter, StoreError> {
        connection.execute_batch(BEGIN)?;
        connection.execute(TAKE_SLOT, [WRITER_SLOT])?;
        connection.execute(SET_CLEAN, [0])?;
        connection.execute_batch(COMMIT)?;
        let state = State::load(&connection, options)?;
        Ok(SqliteWriter { connection, state, fault: None, _lock: lock, _main_file: main_file })
    }

    /// Begins a transaction. Checks that no other writer took this one's slot.
    pub(crate) fn begin(&mut self) -> Result<SqliteBatch<'_>, StoreError> {
        self.connection.prepare_cached(BEGIN)?.execute([])?;
        match self.check_slot() {
            Ok((changed_outside, closed_until)) => Ok(SqliteBatch {
                connection: &self.connection,
                seq: self.state.seq,
                seq_begun: self.state.seq,
                state: &mut self.state,
                fault: &mut self.fault,
                inserts: None,
                dirty: false,
                ended: false,
                changed_outside,
                closed_until,
            }),
            Err(error) => {
                roll_back(&self.connection);
                Err(error)
            }
        }
    }

    fn check_slot(&mut self) -> Result<(bool, Timestamp), StoreError> {
        let data_version = read_data_version(&self.connection)?;
        let changed_outside = data_version != self.state.data_version;
        let (epoch, _, closed_until) = read_slot(&self.connection)?;
        if epoch != self.state.epoch {
            return Err(StoreError::Locked {
                what: "another writer took over the slot; restart this one".into(),
            });
        }
        if self.state.stale || changed_outside {
            self.state = State::load(&self.connection, &self.state.options)?;
        }
        Ok((changed_outside, closed_until))
    }

    /// Entries that are still to be folded.
    pub(crate) fn tail_len(&self) -> u64 {
        self.state.folder.tail_len()
    }

    /// Rows that are waiting to be written by [`SqliteBatch::fold_step`], beside the tail's entries: runs of answers.
    pub(crate) fn answers_waiting(&self) -> u64 {
        self.state.answers.remaining()
    }

    /// The position of the last row that this writer committed.
    pub(crate) fn position(&self) -> Position {
        Position::new(WRITER_SLOT, self.state.seq)
    }

    /// The position up to which all wallet rows are saved.
    pub(crate) fn flushed(&self) -> Position {
        self.state.flushed
    }

    /// Copies what is left of the log into the main file, so that the next batch overwrites the log from its beginning;
    /// quick when a [`crate::LogCopier`] has just copied and flushed nearly all of it.
    pub(crate) fn end_log(&mut self) -> Result<(), StoreError> {
        copy_log(&self.connection).map(|_| ())
    }

    /// Makes the next commit fail: for the simulator and tests.
    pub(crate) fn fail_next_commit(&mut self, fault: CommitFault) {
        self.fault = Some(fault);
    }

    /// Writes everything to the main file and marks the shutdown as clean.
    pub(crate) fn close(self) -> Result<(), StoreError> {
        self.connection.execute(SET_CLEAN, [1])?;
        // Readers that are still open may keep it from finishing; then the next start reads the log, which is as sound.
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(())
    }
}

impl SqliteBatch<'_> {
    /// Whether somebody else wrote to the file since the last batch: what is kept in memory must be loaded again.
    pub(crate) fn changed_outside(&self) -> bool {
        self.changed_outside
    }

    /// No entry is recorded before this instant: periods up to it are closed.
    pub(crate) fn closed_until(&self) -> Timestamp {
        self.closed_until
    }

    /// The position of the last row that was committed before this batch.
    pub(crate) fn begun_at(&self) -> Position {
        Position::new(WRITER_SLOT, self.seq_begun)
    }

    /// Positions that this batch has taken: one for each entry or answer without entries.
    pub(crate) fn appended(&self) -> u64 {
        self.seq - self.seq_begun
    }

    /// What was answered to this key before, in this batch or an earlier one.
    pub(crate) fn answer(&self, key: KeyDigest) -> Result<Option<StoredAnswer>, StoreError> {
        self.state.answers.find(self.connection, key)
    }

    /// The connection within its transaction.
    pub(crate) fn session(&self) -> Session<'_> {
        Session::Sqlite(self.connection)
    }

    /// Writes something that changes nothing.
    pub(crate) fn touch(&mut self) -> Result<(), StoreError> {
        self.connection.prepare_cached(TOUCH)?.execute([])?;
        Ok(())
    }

    /// A wallet with its open lots, active holds, debts and freezes, as last saved.
    pub(crate) fn wallet(&self, key: WalletKey) -> Result<Option<LoadedWallet>, StoreError> {
        Ok(load::wallet(self.session(), key)?.map(|(loaded, _)| loaded))
    }

    /// Folds up to about `budget_rows` rows of the tail, and as many of the answers, into the indices behind the funnel.
    pub(crate) fn fold_step(&mut self, budget_rows: usize) -> Result<Folded, StoreError> {
        self.dirty = true;
        self.state.folder.step(self.connection, budget_rows)?;
        self.state.answers.step(self.connection, budget_rows)?;
        Ok(Folded { remaining: self.state.folder.remaining() + self.state.answers.remaining() })
    }

    /// The same along with a batch, for so many `entries` appended since it was last called: only what should not wait for
    /// a quiet moment, and the more the longer the tails are, so that they stay bounded under any load.
    pub(crate) fn fold_along(&mut self, entries: usize) -> Result<(), StoreError> {
        self.dirty = true;
        self.state.folder.step_along(self.connection, entries)?;
        self.state.answers.step_along(self.connection, entries)
    }

    /// Forgets answers given before `before`, at most about `budget_rows` of them; whether some are left. Whole runs
    /// go at a time, so some answers are kept for longer.
    pub(crate) fn prune_answers(
        &mut self,
        before: Timestamp,
        budget_rows: usize,
    ) -> Result<bool, StoreError> {
        self.dirty = true;
        self.state.answers.prune(self.connection, before, budget_rows.max(1))
    }

    /// Commits: when this returns, the batch is on disk.
    pub(crate) fn commit(mut self) -> Result<(), CommitError> {
        self.ended = true;
        self.inserts = None;
        let fault = self.fault.take();
        let stated = self.state_seq();
        let outcome = match (stated, fault) {
            (Err(error), _) => Err(CommitError::Failed(error)),
            (Ok(()), Some(fault)) => simulated(fault, || self.send_commit()),
            (Ok(()), None) => self.send_commit(),
        };
        match outcome {
            Ok(()) => {
                self.state.seq = self.seq;
                Ok(())
            }
            Err(error) => {
                self.state.stale = true;
                roll_back(self.connection);
                Err(error)
            }
        }
    }

    /// Writes the last sequence taken to the slot: once per batch, and only while the slot is this writer's.
    fn state_seq(&mut self) -> Result<(), StoreError> {
        if self.seq == self.seq_begun {
            return Ok(());
        }
        let mine = params![WRITER_SLOT, self.state.epoch, self.seq as i64];
        if self.connection.prepare_cached(SET_SEQ)?.execute(mine)? == 1 {
            Ok(())
        } else {
            Err(StoreError::Locked { what: "another writer took over the slot; restart this one".into() })
        }
    }

    fn send_commit(&mut self) -> Result<(), CommitError> {
        let sent = self.connection.prepare_cached(COMMIT).and_then(|mut commit| commit.execute([]));
        match sent.map_err(StoreError::from) {
            Ok(_) => Ok(()),
            // These are found before the record that seals the commit is written.
            Err(error @ (StoreError::Busy | StoreError::Full)) => Err(CommitError::Failed(error)),
            Err(error) => Err(CommitError::Unknown(error)),
        }
    }

    /// Takes the next position of this writer's slot.
    pub(super) fn next_position(&mut self) -> Position {
        self.seq += 1;
        self.dirty = true;
        Position::new(WRITER_SLOT, self.seq)
    }
}

impl Drop for SqliteBatch<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.state.stale |= self.dirty;
            self.inserts = None;
            roll_back(self.connection);
        }
    }
}

/// Gives a transaction up. SQLite has done so by itself after some errors; then there is nothing left to do.
fn roll_back(connection: &Connection) {
    if !connection.is_autocommit()
        && let Err(error) = connection.execute_batch(ROLLBACK)
    {
        // Nothing was committed in any case, and the next BEGIN reports a connection that is beyond use.
        debug_assert!(connection.is_autocommit(), "a rollback failed: {error}");
    }
}

fn read_slot(connection: &Connection) -> Result<(i64, u64, Timestamp), StoreError> {
    let read =
        |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64, Timestamp(row.get(2)?)));
    Ok(connection.prepare_cached(SLOT)?.query_row([WRITER_SLOT], read)?)
}

fn read_data_version(connection: &Connection) -> Result<i64, StoreError> {
    Ok(connection.prepare_cached(DATA_VERSION)?.query_row([], |row| row.get(0))?)
}
