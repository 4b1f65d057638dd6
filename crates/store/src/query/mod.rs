//! Reads: each [`Reader`] is one snapshot of the database, so that what it answers fits together.
//!
//! Wallets, lots and holds are as last saved; whoever serves lays the engine's newer state over them. Lists of entries
//! equal the ledger at every commit: what is folded, and the tail walked behind it (`history.rs`). Nothing read here
//! ever authorises a movement.

mod counters;
mod every_wallet;
mod history;
mod ledger;
mod outbox;
mod usage;
mod wallets;

pub use history::StoredEntry;
pub use ledger::{Counts, LedgerEntry};
pub use outbox::{Alerted, Announced};
pub use usage::{Charged, ChargedPage};
pub use wallets::{StoredWallet, WalletFilter};

use crate::driver::Session;
use crate::error::StoreError;
use crate::hot::{KeyDigest, load};
use crate::position::Position;
use crate::table::{self, ApiKeyRow, AuditRow, ConfigRows, Names};
use purser_core::wallet::{Hold, Lot};
use purser_core::{Entry, EntryKind, Id, Key, LotId, TenantNo, UserNo, WalletId};

/// The statements of all reads.
#[cfg(test)]
pub(crate) const ALL: [&[(&str, &str)]; 7] = [
    counters::STATEMENTS,
    every_wallet::STATEMENTS,
    history::STATEMENTS,
    ledger::STATEMENTS,
    outbox::STATEMENTS,
    usage::STATEMENTS,
    wallets::STATEMENTS,
];

/// One snapshot of the database.
pub struct Reader<'c> {
    pub(crate) session: Session<'c>,
}

impl Reader<'_> {
    /// Everything that is configured.
    pub fn config(&self) -> Result<ConfigRows, StoreError> {
        table::read_config(self.session)
    }

    /// The epoch of the configuration in force.
    pub fn config_epoch(&self) -> Result<u64, StoreError> {
        table::read_config_epoch(self.session)
    }

    /// All API keys, revoked ones too, newest first.
    pub fn api_keys(&self) -> Result<Vec<ApiKeyRow>, StoreError> {
        table::read_api_keys(self.session)
    }

    /// Lines of the audit trail, newest first, below `before`.
    pub fn audit(
        &self,
        before: Option<Position>,
        limit: usize,
    ) -> Result<Vec<(Position, AuditRow)>, StoreError> {
        table::read_audit(self.session, before, limit)
    }

    /// The numbers of a user and its tenant; its personal tenant where none is named.
    pub fn resolve_user(
        &self,
        tenant: Option<&Key>,
        user: &Key,
    ) -> Result<Option<(TenantNo, UserNo)>, StoreError> {
        table::resolve_user(self.session, tenant, user)
    }

    /// The number of an organisation.
    pub fn resolve_tenant(&self, tenant: &Key) -> Result<Option<TenantNo>, StoreError> {
        table::resolve_tenant(self.session, tenant)
    }

    /// The one user of a personal tenant; none for an organisation.
    pub fn personal_user(&self, tenant: TenantNo) -> Result<Option<UserNo>, StoreError> {
        table::personal_user(self.session, tenant)
    }

    /// The keys behind numbers.
    pub fn names(&self, tenant: TenantNo, user: Option<UserNo>) -> Result<Names, StoreError> {
        table::names(self.session, tenant, user)
    }

    /// The wallet to which the thing with this id (grant, debit, hold, transfer, cause) belongs: that of its first entry.
    pub fn wallet_of(&self, tenant: TenantNo, subject: Id) -> Result<Option<WalletId>, StoreError> {
        load::wallet_of(self.session, tenant, subject)
    }

    /// The entry of the debit that was made of a usage event.
    pub fn debit_of_event(&self, tenant: TenantNo, event: KeyDigest) -> Result<Option<Entry>, StoreError> {
        let Some(debit) = load::usage_event(self.session, tenant, event)? else { return Ok(None) };
        let entries = load::history(self.session, tenant, debit)?.into_iter().map(|(_, _, entry)| entry);
        let charged = { entries }.find(|entry| entry.kind == EntryKind::Debit);
        let gone = || StoreError::Corrupt { what: format!("the debit {debit:?} of an event is gone") };
        charged.map(Some).ok_or_else(gone)
    }

    /// A hold, as last saved.
    pub fn hold(&self, tenant: TenantNo, id: Id) -> Result<Option<(WalletId, Hold)>, StoreError> {
        load::hold(self.session, tenant, id)
    }

    /// A lot, as last saved.
    pub fn lot(&self, tenant: TenantNo, id: LotId) -> Result<Option<(WalletId, Lot)>, StoreError> {
        load::lot(self.session, tenant, id)
    }
}
