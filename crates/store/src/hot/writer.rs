//! Beginning, committing and giving up a transaction, and what the writer keeps in memory between two of them.
//!
//! A commit that fails after it was sent to the disk has an unknown outcome and is reported as such: the caller looks
//! the keys up again in a new batch, which reads the slot, the answers and the tail anew.

use super::append::Inserts;
use super::{Folded, LoadedWallet, load};
use crate::answers::{Answers, KeyDigest, StoredAnswer};
use crate::dialect::statements;
use crate::error::{CommitError, StoreError};
use crate::folder::Folder;
use crate::position::Position;
use crate::sqlite::{MainFile, OpenOptions, copy_log};
use purser_core::wallet::{Hold, Lot};
use purser_core::{Entry, Id, LotId, TenantNo, Timestamp, WalletId, WalletKey};
use rusqlite::{Connection, params};
use std::fs::File;

statements! {
    TAKE_SLOT = "UPDATE slot SET epoch = epoch + 1 WHERE slot = ?1";
    SLOT = "SELECT epoch, seq, closed_until FROM slot WHERE slot = ?1";
    SET_SEQ = "UPDATE slot SET seq = ?3 WHERE slot = ?1 AND epoch = ?2";
    SET_CLEAN = "UPDATE meta SET value = ?1 WHERE name = 'clean_shutdown'";
    FLUSHED = "SELECT position FROM fold WHERE name = 'wallet_rows'";
    CONFIG_EPOCH = "SELECT epoch FROM config_epoch WHERE one = 1";
    /// Moves when another connection has written to the file.
    DATA_VERSION = "PRAGMA data_version";
    BEGIN = "BEGIN IMMEDIATE";
    COMMIT = "COMMIT";
    ROLLBACK = "ROLLBACK";
}

/// The slot of the one writer of an embedded database; slot 0 numbers cold rows.
const WRITER_SLOT: u8 = 1;

/// The one connection that writes. Lives on a thread of its own.
pub struct Writer {
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

/// One transaction. Dropped without [`Batch::commit`], nothing of it is kept.
pub struct Batch<'w> {
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

/// A fault of the next commit, for the simulator: what a crash or a full disk at COMMIT looks like from inside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CommitFault {
    /// Fails before anything is kept; reported as failed.
    Before,
    /// Keeps the batch, reports that the outcome is unknown.
    After,
    /// Keeps nothing, reports that the outcome is unknown.
    Lost,
    /// The disk is full: nothing is kept; reported as failed.
    Full,
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

impl Writer {
    /// Takes the writer's slot on an open connection to a current schema.
    pub(crate) fn take(
        connection: Connection,
        lock: File,
        main_file: MainFile,
        options: &OpenOptions,
    ) -> Result<Writer, StoreError> {
        connection.execute_batch(BEGIN)?;
        connection.execute(TAKE_SLOT, [WRITER_SLOT])?;
        connection.execute(SET_CLEAN, [0])?;
        connection.execute_batch(COMMIT)?;
        let state = State::load(&connection, options)?;
        Ok(Writer { connection, state, fault: None, _lock: lock, _main_file: main_file })
    }

    /// Begins a transaction. Checks that no other writer took this one's slot.
    pub fn begin(&mut self) -> Result<Batch<'_>, StoreError> {
        self.connection.prepare_cached(BEGIN)?.execute([])?;
        match self.check_slot() {
            Ok((changed_outside, closed_until)) => Ok(Batch {
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
    pub fn tail_len(&self) -> u64 {
        self.state.folder.tail_len()
    }

    /// Rows that are waiting to be written by [`Batch::fold_step`], beside the tail's entries: runs of answers.
    pub fn answers_waiting(&self) -> u64 {
        self.state.answers.remaining()
    }

    /// The position of the last row that this writer committed.
    pub fn position(&self) -> Position {
        Position::new(WRITER_SLOT, self.state.seq)
    }

    /// The position up to which all wallet rows are saved.
    pub fn flushed(&self) -> Position {
        self.state.flushed
    }

    /// Copies what is left of the log into the main file, so that the next batch overwrites the log from its beginning;
    /// quick when a [`crate::LogCopier`] has just copied and flushed nearly all of it.
    pub fn end_log(&mut self) -> Result<(), StoreError> {
        copy_log(&self.connection).map(|_| ())
    }

    /// Makes the next commit fail: for the simulator and tests.
    pub fn fail_next_commit(&mut self, fault: CommitFault) {
        self.fault = Some(fault);
    }

    /// Writes everything to the main file and marks the shutdown as clean.
    pub fn close(self) -> Result<(), StoreError> {
        self.connection.execute(SET_CLEAN, [1])?;
        // Readers that are still open may keep it from finishing; then the next start reads the log, which is as sound.
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(())
    }
}

impl Batch<'_> {
    /// Whether somebody else wrote to the file since the last batch: what is kept in memory must be loaded again.
    pub fn changed_outside(&self) -> bool {
        self.changed_outside
    }

    /// No entry is recorded before this instant: periods up to it are closed.
    pub fn closed_until(&self) -> Timestamp {
        self.closed_until
    }

    /// The configuration's epoch; when it moved, cached configuration is loaded again.
    pub fn config_epoch(&self) -> Result<u64, StoreError> {
        let epoch: i64 = self.connection.prepare_cached(CONFIG_EPOCH)?.query_row([], |row| row.get(0))?;
        Ok(epoch as u64)
    }

    /// The position of the last row that was committed before this batch.
    pub fn begun_at(&self) -> Position {
        Position::new(WRITER_SLOT, self.seq_begun)
    }

    /// Positions that this batch has taken: one for each entry or answer without entries.
    pub fn appended(&self) -> u64 {
        self.seq - self.seq_begun
    }

    /// What was answered to this key before, in this batch or an earlier one.
    pub fn answer(&self, key: KeyDigest) -> Result<Option<StoredAnswer>, StoreError> {
        self.state.answers.find(self.connection, key)
    }

    /// A wallet with its open lots, active holds, debts and freezes, as last saved.
    pub fn wallet(&self, key: WalletKey) -> Result<Option<LoadedWallet>, StoreError> {
        Ok(load::wallet(self.connection, key)?.map(|(loaded, _)| loaded))
    }

    /// Lots by id, open or not, as last saved; unknown ones are left out.
    pub fn lots(&self, tenant: TenantNo, ids: &[LotId]) -> Result<Vec<(WalletId, Lot)>, StoreError> {
        ids.iter().filter_map(|id| load::lot(self.connection, tenant, *id).transpose()).collect()
    }

    /// The wallet to which the thing with this id (grant, debit, hold, transfer, cause) belongs: that of its first entry.
    pub fn wallet_of(&self, tenant: TenantNo, subject: Id) -> Result<Option<WalletId>, StoreError> {
        load::wallet_of(self.connection, tenant, subject)
    }

    /// A hold, open or not, as last saved; none when its row was not saved yet.
    pub fn hold(&self, tenant: TenantNo, id: Id) -> Result<Option<(WalletId, Hold)>, StoreError> {
        load::hold(self.connection, tenant, id)
    }

    /// All entries of this subject, in order.
    pub fn history(&self, tenant: TenantNo, subject: Id) -> Result<Vec<Entry>, StoreError> {
        let found = load::history(self.connection, tenant, subject)?;
        Ok(found.into_iter().map(|(_, _, entry)| entry).collect())
    }

    /// The wallets that have lots of this purchase, in saved rows.
    pub fn wallets_of_origin(&self, tenant: TenantNo, origin: Id) -> Result<Vec<WalletId>, StoreError> {
        let lots = load::lots_of_origin(self.connection, tenant, origin)?;
        let mut wallets: Vec<WalletId> = lots.into_iter().map(|(wallet, _)| wallet).collect();
        wallets.sort_unstable();
        wallets.dedup();
        Ok(wallets)
    }

    /// All lots of this purchase, open or not, in saved rows.
    pub fn lots_of_origin(&self, tenant: TenantNo, origin: Id) -> Result<Vec<(WalletId, Lot)>, StoreError> {
        load::lots_of_origin(self.connection, tenant, origin)
    }

    /// Folds up to about `budget_rows` rows of the tail, and as many of the answers, into the indices behind the funnel.
    pub fn fold_step(&mut self, budget_rows: usize) -> Result<Folded, StoreError> {
        self.dirty = true;
        self.state.folder.step(self.connection, budget_rows)?;
        self.state.answers.step(self.connection, budget_rows)?;
        Ok(Folded { remaining: self.state.folder.remaining() + self.state.answers.remaining() })
    }

    /// The same along with a batch, for so many `entries` appended since it was last called: only what should not wait for
    /// a quiet moment, and the more the longer the tails are, so that they stay bounded under any load.
    pub fn fold_along(&mut self, entries: usize) -> Result<(), StoreError> {
        self.dirty = true;
        self.state.folder.step_along(self.connection, entries)?;
        self.state.answers.step_along(self.connection, entries)
    }

    /// Forgets answers given before `before`, at most about `budget_rows` of them; whether some are left. Whole runs
    /// go at a time, so some answers are kept for longer.
    pub fn prune_answers(&mut self, before: Timestamp, budget_rows: usize) -> Result<bool, StoreError> {
        self.dirty = true;
        self.state.answers.prune(self.connection, before, budget_rows.max(1))
    }

    /// Commits: when this returns, the batch is on disk.
    pub fn commit(mut self) -> Result<(), CommitError> {
        self.ended = true;
        self.inserts = None;
        let fault = self.fault.take();
        let stated = self.state_seq();
        let outcome = match (stated, fault) {
            (Err(error), _) => Err(CommitError::Failed(error)),
            (Ok(()), Some(CommitFault::Before)) => {
                Err(CommitError::Failed(StoreError::Other("simulated fault before the commit".into())))
            }
            (Ok(()), Some(CommitFault::Full)) => Err(CommitError::Failed(StoreError::Full)),
            (Ok(()), Some(CommitFault::Lost)) => {
                Err(CommitError::Unknown(StoreError::Other("simulated loss of the commit".into())))
            }
            (Ok(()), Some(CommitFault::After)) => match self.send_commit() {
                Ok(()) => {
                    Err(CommitError::Unknown(StoreError::Other("simulated fault after the commit".into())))
                }
                Err(error) => Err(error),
            },
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

impl Drop for Batch<'_> {
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
        |row: &rusqlite::Row<'_>| Ok((row.get(0)?, super::rows::number(row, 1)?, Timestamp(row.get(2)?)));
    Ok(connection.prepare_cached(SLOT)?.query_row([WRITER_SLOT], read)?)
}

fn read_data_version(connection: &Connection) -> Result<i64, StoreError> {
    Ok(connection.prepare_cached(DATA_VERSION)?.query_row([], |row| row.get(0))?)
}
