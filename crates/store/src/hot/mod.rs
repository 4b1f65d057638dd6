//! The funnel's side of the store: one writer, one transaction per batch.
//!
//! [`Writer`] and [`Batch`] are the same to the engine on every database. Behind them are two ways: on the embedded database
//! (`sqlite/`) rows of wallets follow the ledger lazily, as the writer alone knows them; on a server (`server/`) any node may
//! write any wallet, so wallets are locked, loaded and written with the batch, in set-based statements of each database's
//! own. `recording.rs` is what the engine hands over, `load.rs` and `rows.rs` turn rows into state.

mod key;
pub(crate) mod load;
pub(crate) mod recording;
pub(crate) mod rows;
pub(crate) mod server;
pub(crate) mod sqlite;
mod touched;

pub use key::KeyDigest;
pub use recording::{EntryText, NewAnswer, Recording};
pub use server::Wanted;

use crate::driver::Session;
use crate::error::{CommitError, StoreError};
use crate::position::Position;
use crate::table;
use purser_core::wallet::{Hold, Lot};
use purser_core::{CounterKey, Entry, Id, LotId, TenantNo, Timestamp, Wallet, WalletId, WalletKey};
use server::{ServerBatch, ServerWriter};
use sqlite::{SqliteBatch, SqliteWriter};

/// The slot of the one writer of an embedded database; slot 0 numbers cold rows.
pub(crate) const WRITER_SLOT: u8 = 1;

/// A wallet from its rows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoadedWallet {
    /// Its state: open lots, active holds, debts and freezes.
    pub wallet: Wallet,
    /// The position of its last entry.
    pub head: Position,
}

/// What was answered to a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredAnswer {
    /// Digest of the request that was answered: another one under the same key is refused.
    pub request_digest: [u8; 32],
    /// The receipt, encoded.
    pub receipt: Vec<u8>,
}

/// The lots and holds whose rows are behind.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Touched {
    /// Lots, each once.
    pub lots: Vec<LotId>,
    /// Holds, each once.
    pub holds: Vec<Id>,
}

/// What a step of the folder left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Folded {
    /// Rows that are still to be written behind the funnel; 0 when nothing is to be done.
    pub remaining: u64,
}

/// What bringing the rows up to the ledger took.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Recovered {
    /// Entries that were replayed.
    pub entries: u64,
    /// Wallet rows that were saved.
    pub wallets: u64,
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

/// What the end of a commit is made of, when a fault was asked for.
pub(crate) fn simulated(
    fault: CommitFault,
    commit: impl FnOnce() -> Result<(), CommitError>,
) -> Result<(), CommitError> {
    let said = |what: &str| StoreError::Other(format!("simulated {what}"));
    match fault {
        CommitFault::Before => Err(CommitError::Failed(said("fault before the commit"))),
        CommitFault::Full => Err(CommitError::Failed(StoreError::Full)),
        CommitFault::Lost => Err(CommitError::Unknown(said("loss of the commit"))),
        CommitFault::After => {
            commit().and_then(|()| Err(CommitError::Unknown(said("fault after the commit"))))
        }
    }
}

/// What writes: on an embedded database the only one, on a server one of many. Lives on a thread of its own.
pub struct Writer(Ways<Box<SqliteWriter>, Box<ServerWriter>>);

/// One transaction. Dropped without [`Batch::commit`], nothing of it is kept.
pub struct Batch<'w>(Ways<SqliteBatch<'w>, Box<ServerBatch<'w>>>);

/// The embedded database, or a server.
enum Ways<E, S> {
    Embedded(E),
    Server(S),
}

impl From<SqliteWriter> for Writer {
    fn from(writer: SqliteWriter) -> Writer {
        Writer(Ways::Embedded(Box::new(writer)))
    }
}

impl From<ServerWriter> for Writer {
    fn from(writer: ServerWriter) -> Writer {
        Writer(Ways::Server(Box::new(writer)))
    }
}

impl Writer {
    /// Whether rows of wallets may be written later than the entries that change them, because nobody else writes and
    /// what is in memory is the truth. Elsewhere they are written with the batch, and nothing is kept in memory.
    pub fn saves_later(&self) -> bool {
        matches!(self.0, Ways::Embedded(_))
    }

    /// Begins a transaction.
    pub fn begin(&mut self) -> Result<Batch<'_>, StoreError> {
        self.begin_for(&Wanted::default())
    }

    /// Begins a transaction in which this will be asked for: a server answers it at once and locks it, in one order for
    /// all nodes. What is not announced is loaded when it is asked for.
    pub fn begin_for(&mut self, wanted: &Wanted) -> Result<Batch<'_>, StoreError> {
        Ok(Batch(match &mut self.0 {
            Ways::Embedded(writer) => Ways::Embedded(writer.begin()?),
            Ways::Server(writer) => Ways::Server(Box::new(writer.begin(wanted)?)),
        }))
    }

    /// Brings rows of wallets up to the ledger, where they may be behind. Call it once, after opening and before the first
    /// batch.
    pub fn recover(&mut self) -> Result<Recovered, StoreError> {
        match &mut self.0 {
            Ways::Embedded(writer) => writer.recover(),
            Ways::Server(_) => Ok(Recovered::default()),
        }
    }

    /// Entries that are still to be folded, as far as this writer knows of them.
    pub fn tail_len(&self) -> u64 {
        match &self.0 {
            Ways::Embedded(writer) => writer.tail_len(),
            Ways::Server(_) => 0,
        }
    }

    /// Rows that are waiting to be written by [`Batch::fold_step`], beside the tail's entries: runs of answers.
    pub fn answers_waiting(&self) -> u64 {
        match &self.0 {
            Ways::Embedded(writer) => writer.answers_waiting(),
            Ways::Server(_) => 0,
        }
    }

    /// The position of the last row that this writer committed.
    pub fn position(&self) -> Position {
        match &self.0 {
            Ways::Embedded(writer) => writer.position(),
            Ways::Server(writer) => writer.position(),
        }
    }

    /// The position up to which all wallet rows are saved.
    pub fn flushed(&self) -> Position {
        match &self.0 {
            Ways::Embedded(writer) => writer.flushed(),
            Ways::Server(writer) => writer.position(),
        }
    }

    /// Copies what is left of an embedded database's log into the main file, so that the next batch overwrites the log from
    /// its beginning; quick when a [`crate::LogCopier`] has just copied and flushed nearly all of it.
    pub fn end_log(&mut self) -> Result<(), StoreError> {
        match &mut self.0 {
            Ways::Embedded(writer) => writer.end_log(),
            Ways::Server(_) => Ok(()),
        }
    }

    /// Keeps the place of this writer while it has nothing to write.
    pub fn keep_lease(&mut self) -> Result<(), StoreError> {
        match &mut self.0 {
            Ways::Embedded(_) => Ok(()),
            Ways::Server(writer) => writer.keep_lease(),
        }
    }

    /// Makes the next commit fail: for the simulator and tests.
    pub fn fail_next_commit(&mut self, fault: CommitFault) {
        match &mut self.0 {
            Ways::Embedded(writer) => writer.fail_next_commit(fault),
            Ways::Server(writer) => writer.fail_next_commit(fault),
        }
    }

    /// Ends in order: writes everything and gives up its place.
    pub fn close(self) -> Result<(), StoreError> {
        match self.0 {
            Ways::Embedded(writer) => writer.close(),
            Ways::Server(writer) => writer.close(),
        }
    }
}

impl Batch<'_> {
    /// The connection within its transaction, for the cold tables.
    pub(crate) fn session(&self) -> Session<'_> {
        match &self.0 {
            Ways::Embedded(batch) => batch.session(),
            Ways::Server(batch) => batch.session(),
        }
    }

    /// Whether somebody else wrote to an embedded database since the last batch: what is kept in memory must be loaded
    /// again. On a server everybody writes, and nothing is kept.
    pub fn changed_outside(&self) -> bool {
        match &self.0 {
            Ways::Embedded(batch) => batch.changed_outside(),
            Ways::Server(_) => false,
        }
    }

    /// The configuration's epoch when the batch began; when it moved, cached configuration is loaded again.
    pub fn config_epoch(&self) -> Result<u64, StoreError> {
        match &self.0 {
            Ways::Embedded(batch) => crate::table::read_config_epoch(batch.session()),
            Ways::Server(batch) => Ok(batch.config_epoch()),
        }
    }

    /// No entry is recorded before this instant: periods up to it are closed.
    pub fn closed_until(&self) -> Timestamp {
        match &self.0 {
            Ways::Embedded(batch) => batch.closed_until(),
            Ways::Server(batch) => batch.closed_until(),
        }
    }

    /// The position of the last row that was committed before this batch.
    pub fn begun_at(&self) -> Position {
        match &self.0 {
            Ways::Embedded(batch) => batch.begun_at(),
            Ways::Server(batch) => batch.begun_at(),
        }
    }

    /// Positions that this batch has taken: one for each entry or answer without entries.
    pub fn appended(&self) -> u64 {
        match &self.0 {
            Ways::Embedded(batch) => batch.appended(),
            Ways::Server(batch) => batch.appended(),
        }
    }

    /// What was answered to this key before, in this batch or an earlier one.
    pub fn answer(&self, key: KeyDigest) -> Result<Option<StoredAnswer>, StoreError> {
        match &self.0 {
            Ways::Embedded(batch) => batch.answer(key),
            Ways::Server(batch) => batch.answer(key),
        }
    }

    /// A wallet with its open lots, active holds, debts and freezes, as last saved.
    pub fn wallet(&self, key: WalletKey) -> Result<Option<LoadedWallet>, StoreError> {
        match &self.0 {
            Ways::Embedded(batch) => batch.wallet(key),
            Ways::Server(batch) => batch.wallet(key),
        }
    }

    /// Lots by id, open or not, as last saved; unknown ones are left out.
    pub fn lots(&self, tenant: TenantNo, ids: &[LotId]) -> Result<Vec<(WalletId, Lot)>, StoreError> {
        let found = ids.iter().filter_map(|id| load::lot(self.session(), tenant, *id).transpose());
        let found = found.collect::<Result<Vec<_>, _>>()?;
        self.note_lots(tenant, &found);
        Ok(found)
    }

    /// The wallet to which the thing with this id (grant, debit, hold, transfer, cause) belongs: that of its first entry.
    pub fn wallet_of(&self, tenant: TenantNo, subject: Id) -> Result<Option<WalletId>, StoreError> {
        match &self.0 {
            Ways::Embedded(batch) => load::wallet_of(batch.session(), tenant, subject),
            Ways::Server(batch) => batch.wallet_of(tenant, subject),
        }
    }

    /// A hold, open or not, and its wallet, as last saved; none when its row was not saved yet.
    pub fn hold(&self, tenant: TenantNo, id: Id) -> Result<Option<(WalletId, Hold)>, StoreError> {
        let found = load::hold(self.session(), tenant, id)?;
        if let (Ways::Server(batch), Some(_)) = (&self.0, &found) {
            batch.note_hold(tenant, id);
        }
        Ok(found)
    }

    /// Whether a debit or hold was made with this quote, in this batch or an earlier one.
    pub fn quote_used(&self, tenant: TenantNo, quote: Id) -> Result<bool, StoreError> {
        match &self.0 {
            Ways::Embedded(batch) => load::quote_used(batch.session(), tenant, quote),
            Ways::Server(batch) => batch.quote_used(tenant, quote),
        }
    }

    /// Records that the debit or hold that was just appended was made with this quote. It binds until `expires_at`.
    pub fn use_quote(
        &mut self,
        tenant: TenantNo,
        quote: Id,
        expires_at: Timestamp,
    ) -> Result<(), StoreError> {
        match &mut self.0 {
            Ways::Embedded(batch) => load::use_quote(batch.session(), tenant, quote, expires_at),
            Ways::Server(batch) => {
                batch.use_quote(tenant, quote, expires_at);
                Ok(())
            }
        }
    }

    /// The debit that was made of this event, in this batch or an earlier one.
    pub fn usage_event(&self, tenant: TenantNo, event: KeyDigest) -> Result<Option<Id>, StoreError> {
        match &self.0 {
            Ways::Embedded(batch) => load::usage_event(batch.session(), tenant, event),
            Ways::Server(batch) => batch.usage_event(tenant, event),
        }
    }

    /// Records that the debit that was just appended was made of this event: no other ever is.
    pub fn record_event(&mut self, tenant: TenantNo, event: KeyDigest, debit: Id) -> Result<(), StoreError> {
        match &mut self.0 {
            Ways::Embedded(batch) => load::record_event(batch.session(), tenant, event, debit),
            Ways::Server(batch) => {
                batch.record_event(tenant, event, debit);
                Ok(())
            }
        }
    }

    /// What these counters say, this batch's changes among it; on a server they are locked until it ends. Those that are not
    /// there may be left out.
    pub fn counters(&self, wanted: &[CounterKey]) -> Result<Vec<(CounterKey, i64)>, StoreError> {
        match &self.0 {
            Ways::Embedded(batch) => load::counters(batch.session(), wanted),
            Ways::Server(batch) => batch.counters(wanted),
        }
    }

    /// Adds to counters what the decision that was just appended counts. They change in its transaction, so they are exact
    /// whenever the ledger is.
    pub fn count(&mut self, counts: &[(CounterKey, i64)]) -> Result<(), StoreError> {
        match &mut self.0 {
            Ways::Embedded(batch) => batch.count(counts),
            Ways::Server(batch) => {
                batch.count(counts);
                Ok(())
            }
        }
    }

    /// All entries of this subject, in order.
    pub fn history(&self, tenant: TenantNo, subject: Id) -> Result<Vec<Entry>, StoreError> {
        let found = load::history(self.session(), tenant, subject)?.into_iter().map(|(_, _, entry)| entry);
        let mut found: Vec<Entry> = found.collect();
        if let Ways::Server(batch) = &self.0 {
            found.extend(batch.appended_of(tenant, subject).cloned());
        }
        Ok(found)
    }

    /// The wallets that have lots of this purchase, in saved rows.
    pub fn wallets_of_origin(&self, tenant: TenantNo, origin: Id) -> Result<Vec<WalletId>, StoreError> {
        let lots = load::lots_of_origin(self.session(), tenant, origin)?;
        let mut wallets: Vec<WalletId> = lots.into_iter().map(|(wallet, _)| wallet).collect();
        wallets.sort_unstable();
        wallets.dedup();
        Ok(wallets)
    }

    /// All lots of this purchase, open or not, in saved rows.
    pub fn lots_of_origin(&self, tenant: TenantNo, origin: Id) -> Result<Vec<(WalletId, Lot)>, StoreError> {
        let found = load::lots_of_origin(self.session(), tenant, origin)?;
        self.note_lots(tenant, &found);
        Ok(found)
    }

    fn note_lots(&self, tenant: TenantNo, lots: &[(WalletId, Lot)]) {
        if let Ways::Server(batch) = &self.0 {
            batch.note_lots(tenant, lots.iter().map(|(_, lot)| lot.terms.id));
        }
    }

    /// Inserts the row of a wallet before its first entry.
    ///
    /// # Panics
    /// If the wallet has entries: its row is made before the first one.
    pub fn insert_wallet(&mut self, wallet: &Wallet, now: Timestamp) -> Result<(), StoreError> {
        assert!(wallet.seq == 0, "the row of a wallet is made before its first entry");
        match &mut self.0 {
            Ways::Embedded(batch) => batch.insert_wallet(wallet, now),
            Ways::Server(batch) => {
                batch.insert_wallet(wallet, now);
                Ok(())
            }
        }
    }

    /// Appends one decision. `heads` holds the head position of each wallet of `recording.entries`, in the order of
    /// their first entry there, and is moved to the new heads. Answers the position of the first entry; the others
    /// follow without a gap. (Without entries, the position of the answer.)
    ///
    /// # Panics
    /// If `heads` does not name one head for each wallet, or an entry's text digest is not that of the text.
    pub fn append(
        &mut self,
        recording: &Recording<'_>,
        heads: &mut [Position],
    ) -> Result<Position, StoreError> {
        match &mut self.0 {
            Ways::Embedded(batch) => batch.append(recording, heads),
            Ways::Server(batch) => Ok(batch.append(recording, heads)),
        }
    }

    /// Saves a wallet's row, its debts and freezes, and the lots and holds that changed since it was last saved. On a server
    /// every wallet that a batch changes must be saved before it commits.
    ///
    /// # Panics
    /// If a touched lot or hold is not in the wallet: it was pruned before it was saved.
    pub fn save_wallet(
        &mut self,
        wallet: &Wallet,
        head: Position,
        touched: &Touched,
    ) -> Result<(), StoreError> {
        match &mut self.0 {
            Ways::Embedded(batch) => batch.save_wallet(wallet, head, touched),
            Ways::Server(batch) => {
                batch.save_wallet(wallet, head, touched);
                Ok(())
            }
        }
    }

    /// States that every wallet row reflects at least all entries up to `position`.
    pub fn set_flushed(&mut self, position: Position) -> Result<(), StoreError> {
        match &mut self.0 {
            Ways::Embedded(batch) => batch.set_flushed(position),
            Ways::Server(_) => Ok(()),
        }
    }

    /// Folds up to about `budget_rows` rows of the tail, and as many of the answers, into the indices behind the funnel. On a
    /// server that is the [`crate::Keeper`]'s work.
    pub fn fold_step(&mut self, budget_rows: usize) -> Result<Folded, StoreError> {
        match &mut self.0 {
            Ways::Embedded(batch) => batch.fold_step(budget_rows),
            Ways::Server(_) => Ok(Folded { remaining: 0 }),
        }
    }

    /// The same along with a batch, for so many `entries` appended since it was last called: only what should not wait for
    /// a quiet moment, and the more the longer the tails are, so that they stay bounded under any load.
    pub fn fold_along(&mut self, entries: usize) -> Result<(), StoreError> {
        match &mut self.0 {
            Ways::Embedded(batch) => batch.fold_along(entries),
            Ways::Server(_) => Ok(()),
        }
    }

    /// Forgets answers given before `before`, at most about `budget_rows` of them; whether some are left. Whole runs
    /// go at a time, so some answers are kept for longer.
    pub fn prune_answers(&mut self, before: Timestamp, budget_rows: usize) -> Result<bool, StoreError> {
        match &mut self.0 {
            Ways::Embedded(batch) => batch.prune_answers(before, budget_rows),
            Ways::Server(_) => Ok(false),
        }
    }

    /// Forgets used quotes whose time was over before `before`, at most so many; whether some are left. On a server that is
    /// the [`crate::Keeper`]'s work.
    pub fn prune_quotes(&mut self, before: Timestamp, budget_rows: usize) -> Result<bool, StoreError> {
        match &self.0 {
            Ways::Embedded(batch) => load::prune_quotes(batch.session(), before, budget_rows.max(1)),
            Ways::Server(_) => Ok(false),
        }
    }

    /// Forgets counts of refusals of quarters that began before `before`, at most so many; whether some are left. On a server
    /// that is the [`crate::Keeper`]'s work.
    pub fn prune_refusals(&mut self, before: Timestamp, budget_rows: usize) -> Result<bool, StoreError> {
        match &self.0 {
            Ways::Embedded(batch) => table::prune_refusals(batch.session(), before, budget_rows.max(1)),
            Ways::Server(_) => Ok(false),
        }
    }

    /// Writes something that changes nothing, so that the commit shows whether the database takes writes.
    pub fn touch(&mut self) -> Result<(), StoreError> {
        match &mut self.0 {
            Ways::Embedded(batch) => batch.touch(),
            // The row of its slot is written with every commit.
            Ways::Server(_) => Ok(()),
        }
    }

    /// Commits: when this returns, the batch is on disk.
    pub fn commit(self) -> Result<(), CommitError> {
        match self.0 {
            Ways::Embedded(batch) => batch.commit(),
            Ways::Server(batch) => batch.commit(),
        }
    }
}
