//! The funnel: one writer, one transaction per batch.

use crate::answers::{KeyDigest, StoredAnswer};
use crate::error::{CommitError, StoreError};
use crate::position::Position;
use crate::table::{AuditRow, FreshNumbers, NewAction, NewApiKey, UnitRow};
use purser_core::catalogue::Price;
use purser_core::entry::{Digest, EntryKind};
use purser_core::wallet::{Hold, Lot};
use purser_core::{Entry, Id, Key, LotId, TenantNo, Timestamp, UserNo, Wallet, WalletId, WalletKey};

/// The one connection that writes. Lives on a thread of its own.
pub struct Writer {}

/// One transaction. Dropped without [`Batch::commit`], nothing of it is kept.
pub struct Batch<'w> {
    _writer: &'w mut Writer,
}

/// What one decision leaves in the ledger.
#[derive(Clone, Copy)]
pub struct Recording<'a> {
    /// The entries, by wallet, by seq within a wallet.
    pub entries: &'a [Entry],
    /// What the command was: the kind of event its outbox rows announce.
    pub event: EntryKind,
    /// The text behind the entries that have a text digest.
    pub text: Option<&'a EntryText>,
    /// What is answered to the command's key.
    pub answer: Option<NewAnswer<'a>>,
}

/// Personal text beside entries, under the salt of their text digest. Erasable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EntryText {
    /// Makes the digest of a guessable text unguessable.
    pub salt: [u8; 16],
    /// The product's own reference.
    pub reference: Option<String>,
    /// JSON object as compact text.
    pub metadata: Option<String>,
    /// Why a person did it.
    pub reason: Option<String>,
}

impl EntryText {
    /// The salted digest that the entries carry.
    pub fn digest(&self) -> Digest {
        let mut text = Vec::new();
        for part in [&self.reference, &self.metadata, &self.reason] {
            // Presence and length before each part, so that no two texts have the same bytes.
            let length = part.as_ref().map_or(u64::MAX, |part| part.len() as u64);
            text.extend_from_slice(&length.to_le_bytes());
            text.extend_from_slice(part.as_deref().unwrap_or("").as_bytes());
        }
        purser_core::chain::text_digest(&self.salt, &text)
    }
}

/// An answer to be stored under a key.
#[derive(Clone, Copy)]
pub struct NewAnswer<'a> {
    /// The tenant.
    pub tenant: TenantNo,
    /// The key.
    pub key: KeyDigest,
    /// Digest of the request.
    pub request_digest: &'a [u8; 32],
    /// The receipt, encoded.
    pub receipt: &'a [u8],
    /// When it was given.
    pub created_at: Timestamp,
}

/// A wallet from its rows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoadedWallet {
    /// Its state: open lots, active holds, debts and freezes.
    pub wallet: Wallet,
    /// The position of its last entry.
    pub head: Position,
}

/// The lots and holds whose rows an entry changes.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Touched {
    /// Lots, each once.
    pub lots: Vec<LotId>,
    /// Holds, each once.
    pub holds: Vec<Id>,
}

impl Touched {
    /// Adds what `entry` changes.
    pub fn add(&mut self, _entry: &Entry) {
        todo!()
    }
}

/// What a step of the folder did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Folded {
    /// Entries and answers that are still to be folded.
    pub remaining: u64,
}

/// What bringing the rows up to the ledger took.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Recovered {
    /// Entries that were replayed.
    pub entries: u64,
    /// Wallets whose rows were saved.
    pub wallets: u64,
}

/// A fault of the next commit, for the simulator: what a crash or a full disk at COMMIT looks like from inside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CommitFault {
    /// Fails before anything is kept; reported as failed.
    Before,
    /// Keeps the batch, reports that the outcome is unknown.
    After,
    /// The disk is full: nothing is kept; reported as failed.
    Full,
}

impl Writer {
    /// Begins a transaction. Checks that no other writer took this one's slot.
    pub fn begin(&mut self) -> Result<Batch<'_>, StoreError> {
        todo!()
    }

    /// Brings wallet, lot and hold rows up to the ledger. Call it once, after opening and before the first batch.
    pub fn recover(&mut self) -> Result<Recovered, StoreError> {
        todo!()
    }

    /// Entries behind the last folded one.
    pub fn tail_len(&self) -> u64 {
        todo!()
    }

    /// The position of the last committed row of this writer.
    pub fn position(&self) -> Position {
        todo!()
    }

    /// The position up to which all wallet rows are saved.
    pub fn flushed(&self) -> Position {
        todo!()
    }

    /// Makes the next commit fail: for the simulator and tests.
    pub fn fail_next_commit(&mut self, _fault: CommitFault) {
        todo!()
    }

    /// Writes everything to the main file and marks the shutdown as clean.
    pub fn close(self) -> Result<(), StoreError> {
        todo!()
    }
}

impl Batch<'_> {
    /// Whether somebody else wrote to the file since the last batch: what is kept in memory must be loaded again.
    pub fn changed_outside(&self) -> bool {
        todo!()
    }

    /// No entry is recorded before this instant: periods up to it are closed.
    pub fn closed_until(&self) -> Timestamp {
        todo!()
    }

    /// The configuration's epoch; when it moved, cached configuration is loaded again.
    pub fn config_epoch(&self) -> Result<u64, StoreError> {
        todo!()
    }

    /// What was answered to this key before.
    pub fn answer(&self, _key: KeyDigest) -> Result<Option<StoredAnswer>, StoreError> {
        todo!()
    }

    /// A wallet with its open lots, active holds, debts and freezes, as last saved.
    pub fn wallet(&self, _key: WalletKey) -> Result<Option<LoadedWallet>, StoreError> {
        todo!()
    }

    /// Lots by id, open or not, as last saved; unknown ones are left out.
    pub fn lots(&self, _tenant: TenantNo, _ids: &[LotId]) -> Result<Vec<(WalletId, Lot)>, StoreError> {
        todo!()
    }

    /// The wallet to which the thing with this id (grant, debit, hold, transfer, cause) belongs: that of its first entry.
    pub fn wallet_of(&self, _tenant: TenantNo, _subject: Id) -> Result<Option<WalletId>, StoreError> {
        todo!()
    }

    /// A hold, open or not, as last saved; none when its row was not saved yet.
    pub fn hold(&self, _tenant: TenantNo, _id: Id) -> Result<Option<(WalletId, Hold)>, StoreError> {
        todo!()
    }

    /// All entries of this subject, in order.
    pub fn history(&self, _tenant: TenantNo, _subject: Id) -> Result<Vec<Entry>, StoreError> {
        todo!()
    }

    /// The wallets that have lots of this purchase, in saved rows.
    pub fn wallets_of_origin(&self, _tenant: TenantNo, _origin: Id) -> Result<Vec<WalletId>, StoreError> {
        todo!()
    }

    /// All lots of this purchase, open or not, in saved rows.
    pub fn lots_of_origin(&self, _tenant: TenantNo, _origin: Id) -> Result<Vec<(WalletId, Lot)>, StoreError> {
        todo!()
    }

    /// Appends one decision. `heads` holds the head position of each wallet of `recording.entries`, in the order of
    /// their first entry there, and is moved to the new heads. Answers the position of the first entry; the others follow
    /// without a gap.
    pub fn append(
        &mut self,
        _recording: &Recording<'_>,
        _heads: &mut [Position],
    ) -> Result<Position, StoreError> {
        todo!()
    }

    /// Inserts the row of a wallet before its first entry.
    pub fn insert_wallet(&mut self, _wallet: &Wallet, _now: Timestamp) -> Result<(), StoreError> {
        todo!()
    }

    /// Saves a wallet's row, its debts and freezes, and the lots and holds that changed since it was last saved.
    pub fn save_wallet(
        &mut self,
        _wallet: &Wallet,
        _head: Position,
        _touched: &Touched,
    ) -> Result<(), StoreError> {
        todo!()
    }

    /// States that every wallet row reflects at least all entries up to `position`.
    pub fn set_flushed(&mut self, _position: Position) -> Result<(), StoreError> {
        todo!()
    }

    /// Folds up to about `budget_rows` rows of the tail into the indices behind the funnel.
    pub fn fold_step(&mut self, _budget_rows: usize) -> Result<Folded, StoreError> {
        todo!()
    }

    /// Forgets answers given before `before`, at most about `budget_rows` of them; whether some are left.
    pub fn prune_answers(&mut self, _before: Timestamp, _budget_rows: usize) -> Result<bool, StoreError> {
        todo!()
    }

    /// The numbers of a user and of its tenant (its personal one where no tenant is named), made where absent.
    pub fn ensure_user(
        &mut self,
        _tenant: Option<&Key>,
        _user: &Key,
        _fresh: FreshNumbers,
        _now: Timestamp,
    ) -> Result<(TenantNo, UserNo), StoreError> {
        todo!()
    }

    /// The number of an organisation, made where absent.
    pub fn ensure_tenant(
        &mut self,
        _tenant: &Key,
        _fresh: TenantNo,
        _now: Timestamp,
    ) -> Result<TenantNo, StoreError> {
        todo!()
    }

    /// Inserts a unit; false when its code is taken.
    pub fn insert_unit(&mut self, _unit: &UnitRow, _now: Timestamp) -> Result<bool, StoreError> {
        todo!()
    }

    /// Inserts an action with its first prices; false when its key is taken.
    pub fn insert_action(&mut self, _action: &NewAction, _now: Timestamp) -> Result<bool, StoreError> {
        todo!()
    }

    /// Adds a price version.
    pub fn insert_price(&mut self, _action: u64, _price: &Price, _now: Timestamp) -> Result<(), StoreError> {
        todo!()
    }

    /// Switches an action on or off; false when there is none.
    pub fn set_action_active(&mut self, _action: u64, _active: bool) -> Result<bool, StoreError> {
        todo!()
    }

    /// Inserts an API key; only its hash is kept.
    pub fn insert_api_key(&mut self, _key: &NewApiKey, _now: Timestamp) -> Result<(), StoreError> {
        todo!()
    }

    /// Revokes an API key; false when there is none that is not revoked.
    pub fn revoke_api_key(&mut self, _no: u64, _now: Timestamp) -> Result<bool, StoreError> {
        todo!()
    }

    /// Moves the configuration's epoch; answers the new one.
    pub fn bump_config_epoch(&mut self) -> Result<u64, StoreError> {
        todo!()
    }

    /// Appends a line to the audit trail.
    pub fn insert_audit(&mut self, _row: &AuditRow) -> Result<(), StoreError> {
        todo!()
    }

    /// Commits: when this returns, the batch is on disk.
    pub fn commit(self) -> Result<(), CommitError> {
        todo!()
    }
}
