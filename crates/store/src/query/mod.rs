//! Reads: each [`Reader`] is one snapshot.

use crate::answers::{KeyDigest, StoredAnswer};
use crate::error::StoreError;
use crate::hot::{EntryText, LoadedWallet};
use crate::position::Position;
use crate::table::{ApiKeyRow, ConfigRows};
use purser_core::wallet::{Hold, Lot};
use purser_core::{Entry, Id, Key, LotId, TenantNo, Timestamp, UserNo, WalletId, WalletKey};
use rusqlite::Connection;

/// One snapshot of the database.
pub struct Reader<'c> {
    _connection: &'c Connection,
}

/// A wallet as last saved, for lists and reads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredWallet {
    /// Its state and head.
    pub loaded: LoadedWallet,
    /// When it was made.
    pub created_at: Timestamp,
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

/// An entry in the order of the ledger.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LedgerEntry {
    /// Where it stands.
    pub position: Position,
    /// The position of the wallet's entry before it.
    pub previous: Position,
    /// The entry.
    pub entry: Entry,
}

/// Which wallets to list.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WalletFilter {
    /// Of this tenant only.
    pub tenant: Option<TenantNo>,
    /// Of this user only; with a tenant.
    pub user: Option<UserNo>,
    /// Of this unit only.
    pub unit: Option<Key>,
}

/// The keys behind the numbers of a tenant and a user.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Names {
    /// The tenant's key; none for a personal tenant.
    pub tenant: Option<Key>,
    /// The user's key; none when it was erased.
    pub user: Option<Key>,
}

/// How much there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Tenants, personal ones included.
    pub tenants: u64,
    /// Users.
    pub users: u64,
    /// Wallets.
    pub wallets: u64,
    /// Entries.
    pub entries: u64,
    /// Entries that are not folded yet.
    pub tail: u64,
    /// Answers that are kept.
    pub answers: u64,
    /// Outbox rows.
    pub outbox: u64,
}

impl Reader<'_> {
    /// Everything that is configured.
    pub fn config(&self) -> Result<ConfigRows, StoreError> {
        todo!()
    }

    /// All API keys, revoked ones too, newest first.
    pub fn api_keys(&self) -> Result<Vec<ApiKeyRow>, StoreError> {
        todo!()
    }

    /// The numbers of a user and its tenant; its personal tenant where none is named.
    pub fn resolve_user(
        &self,
        _tenant: Option<&Key>,
        _user: &Key,
    ) -> Result<Option<(TenantNo, UserNo)>, StoreError> {
        todo!()
    }

    /// The number of an organisation.
    pub fn resolve_tenant(&self, _tenant: &Key) -> Result<Option<TenantNo>, StoreError> {
        todo!()
    }

    /// The keys behind numbers.
    pub fn names(&self, _tenant: TenantNo, _user: Option<UserNo>) -> Result<Names, StoreError> {
        todo!()
    }

    /// A wallet as last saved.
    pub fn wallet(&self, _key: WalletKey) -> Result<Option<StoredWallet>, StoreError> {
        todo!()
    }

    /// Wallets by key, as last saved, behind `after`.
    pub fn wallets(
        &self,
        _filter: &WalletFilter,
        _after: Option<WalletKey>,
        _limit: usize,
    ) -> Result<Vec<StoredWallet>, StoreError> {
        todo!()
    }

    /// A wallet's entries, newest first, below `before_seq`. `head` is the position of its last entry, as the engine or
    /// the wallet's row knows it.
    pub fn entries(
        &self,
        _wallet: WalletKey,
        _head: Position,
        _before_seq: Option<u64>,
        _limit: usize,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        todo!()
    }

    /// A wallet's entries, oldest first, after `after_seq`; without texts.
    pub fn entries_from(
        &self,
        _wallet: WalletKey,
        _head: Position,
        _after_seq: u64,
        _limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        todo!()
    }

    /// A tenant's entries with this reference, newest first, before `before`.
    pub fn entries_by_reference(
        &self,
        _tenant: TenantNo,
        _wallet: Option<WalletId>,
        _reference: &str,
        _before: Option<Position>,
        _limit: usize,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        todo!()
    }

    /// All entries of this subject, in order, with texts.
    pub fn history(&self, _tenant: TenantNo, _subject: Id) -> Result<Vec<StoredEntry>, StoreError> {
        todo!()
    }

    /// The text of an entry.
    pub fn entry_text(&self, _position: Position) -> Result<Option<EntryText>, StoreError> {
        todo!()
    }

    /// The wallet to which the thing with this id belongs: that of its first entry.
    pub fn wallet_of(&self, _tenant: TenantNo, _subject: Id) -> Result<Option<WalletId>, StoreError> {
        todo!()
    }

    /// A hold, as last saved.
    pub fn hold(&self, _tenant: TenantNo, _id: Id) -> Result<Option<(WalletId, Hold)>, StoreError> {
        todo!()
    }

    /// A wallet's holds, newest first, below `before`, as last saved.
    pub fn holds(
        &self,
        _wallet: WalletKey,
        _before: Option<Id>,
        _limit: usize,
    ) -> Result<Vec<Hold>, StoreError> {
        todo!()
    }

    /// A lot, as last saved.
    pub fn lot(&self, _tenant: TenantNo, _id: LotId) -> Result<Option<(WalletId, Lot)>, StoreError> {
        todo!()
    }

    /// A wallet's lots, spent ones too, newest first, below `before`, as last saved.
    pub fn lots(
        &self,
        _wallet: WalletKey,
        _before: Option<LotId>,
        _limit: usize,
    ) -> Result<Vec<Lot>, StoreError> {
        todo!()
    }

    /// What was answered to a key: for a request whose outcome is not known.
    pub fn answer(&self, _key: KeyDigest) -> Result<Option<StoredAnswer>, StoreError> {
        todo!()
    }

    /// The ledger in order, behind `after`.
    pub fn entries_in_order(&self, _after: Position, _limit: usize) -> Result<Vec<LedgerEntry>, StoreError> {
        todo!()
    }

    /// All wallets by key, as last saved.
    pub fn all_wallets(
        &self,
        _after: Option<WalletKey>,
        _limit: usize,
    ) -> Result<Vec<StoredWallet>, StoreError> {
        todo!()
    }

    /// The position up to which all wallet rows are saved.
    pub fn flushed(&self) -> Result<Position, StoreError> {
        todo!()
    }

    /// When the last entry was recorded.
    pub fn last_recorded_at(&self) -> Result<Option<Timestamp>, StoreError> {
        todo!()
    }

    /// How much there is.
    pub fn counts(&self) -> Result<Counts, StoreError> {
        todo!()
    }
}
