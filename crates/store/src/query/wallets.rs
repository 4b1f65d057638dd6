//! Lists of wallets, and of the lots and holds in one.

use super::Reader;
use crate::dialect::statements;
use crate::driver::values;
use crate::error::StoreError;
use crate::hot::LoadedWallet;
use crate::hot::load;
use crate::hot::rows::{hold_columns, lot_columns, read_hold, read_lot, read_wallet_row, wallet_columns};
use crate::table::read_units;
use purser_core::wallet::{Hold, Lot, Owner};
use purser_core::{Id, Key, LotId, TenantNo, Timestamp, UserNo, WalletKey};

statements! {
    WALLETS = concat!(
        "SELECT ", wallet_columns!(), " FROM wallet
          WHERE (tenant_no, wallet_id) > (?1, ?2) ORDER BY tenant_no, wallet_id LIMIT ?3");
    WALLETS_OF_UNIT = concat!(
        "SELECT ", wallet_columns!(), " FROM wallet
          WHERE (tenant_no, wallet_id) > (?1, ?2) AND unit_code = ?4 ORDER BY tenant_no, wallet_id LIMIT ?3");
    WALLETS_OF_TENANT = concat!(
        "SELECT ", wallet_columns!(), " FROM wallet
          WHERE tenant_no = ?1 AND wallet_id > ?2 ORDER BY wallet_id LIMIT ?3");
    WALLETS_OF_TENANT_AND_UNIT = concat!(
        "SELECT ", wallet_columns!(), " FROM wallet
          WHERE tenant_no = ?1 AND wallet_id > ?2 AND unit_code = ?4 ORDER BY wallet_id LIMIT ?3");
    /// Asked once for open and once for spent lots: each is a range of the index in this order.
    LOTS = concat!(
        "SELECT ", lot_columns!(), " FROM lot
          WHERE tenant_no = ?1 AND wallet_id = ?2 AND is_open = ?3 AND lot_id < ?4 ORDER BY lot_id DESC LIMIT ?5");
    HOLDS = concat!(
        "SELECT ", hold_columns!(), " FROM hold
          WHERE tenant_no = ?1 AND wallet_id = ?2 AND hold_id < ?3 ORDER BY hold_id DESC LIMIT ?4");
}

/// Sorts after every id: longer than any.
const AFTER_ALL: [u8; 17] = [0xff; 17];

/// A wallet as last saved, for lists and reads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredWallet {
    /// Its state and head.
    pub loaded: LoadedWallet,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Which wallets to list.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WalletFilter {
    /// Of this tenant only.
    pub tenant: Option<TenantNo>,
    /// Of this user only; counts with a tenant, as users belong to one.
    pub user: Option<UserNo>,
    /// Of this unit only.
    pub unit: Option<Key>,
}

impl Reader<'_> {
    /// A wallet as last saved.
    pub fn wallet(&self, key: WalletKey) -> Result<Option<StoredWallet>, StoreError> {
        let found = load::wallet(self.session, key)?;
        Ok(found.map(|(loaded, created_at)| StoredWallet { loaded, created_at }))
    }

    /// Wallets in the order of their keys, as last saved, behind `after`.
    pub fn wallets(
        &self,
        filter: &WalletFilter,
        after: Option<WalletKey>,
        limit: usize,
    ) -> Result<Vec<StoredWallet>, StoreError> {
        if let (Some(tenant), Some(user)) = (filter.tenant, filter.user) {
            return self.wallets_of_user(tenant, user, filter.unit.as_ref(), after, limit);
        }
        let after_id = after.map_or(Vec::new(), |key| key.id.0.to_bytes().to_vec());
        let first = filter.tenant.or(after.map(|key| key.tenant)).map_or(i64::MIN, |tenant| tenant.0 as i64);
        let unit = filter.unit.as_ref().map(Key::as_str);
        let sql = match (filter.tenant, unit) {
            (None, None) => WALLETS,
            (None, Some(_)) => WALLETS_OF_UNIT,
            (Some(_), None) => WALLETS_OF_TENANT,
            (Some(_), Some(_)) => WALLETS_OF_TENANT_AND_UNIT,
        };
        let rows = match unit {
            Some(unit) => self.session.all(sql, values![first, &after_id, limit, unit], read_wallet_row)?,
            None => self.session.all(sql, values![first, &after_id, limit], read_wallet_row)?,
        };
        rows.into_iter()
            .map(|(wallet, head, created_at)| {
                Ok(StoredWallet { loaded: load::complete(self.session, wallet, head)?, created_at })
            })
            .collect()
    }

    /// A user has one personal wallet per unit, and its key follows from owner and unit: no index is needed.
    fn wallets_of_user(
        &self,
        tenant: TenantNo,
        user: UserNo,
        unit: Option<&Key>,
        after: Option<WalletKey>,
        limit: usize,
    ) -> Result<Vec<StoredWallet>, StoreError> {
        let units = read_units(self.session)?;
        let wanted = units.iter().filter(|row| unit.is_none_or(|unit| row.unit.code == *unit));
        let mut keys: Vec<WalletKey> =
            wanted.map(|row| WalletKey::derive(tenant, Owner::User(user), &row.unit)).collect();
        keys.sort_unstable();
        keys.retain(|key| after.is_none_or(|after| *key > after));
        let found = keys.into_iter().filter_map(|key| self.wallet(key).transpose());
        found.take(limit).collect()
    }

    /// A wallet's lots, spent ones too, newest first, below `before`, as last saved.
    pub fn lots(
        &self,
        wallet: WalletKey,
        before: Option<LotId>,
        limit: usize,
    ) -> Result<Vec<Lot>, StoreError> {
        let (tenant, id) = (wallet.tenant.0 as i64, wallet.id.0.to_bytes());
        let before = before.map_or(AFTER_ALL.to_vec(), |id| id.to_bytes().to_vec());
        let mut lots = Vec::new();
        for is_open in [true, false] {
            let bounds = values![tenant, &id, is_open, &before, limit];
            lots.extend(self.session.all(LOTS, bounds, |row| Ok(read_lot(row)?.1))?);
        }
        lots.sort_by_key(|lot| std::cmp::Reverse(lot.terms.id));
        lots.truncate(limit);
        Ok(lots)
    }

    /// A wallet's holds, closed ones too, newest first, below `before`, as last saved.
    pub fn holds(
        &self,
        wallet: WalletKey,
        before: Option<Id>,
        limit: usize,
    ) -> Result<Vec<Hold>, StoreError> {
        let before = before.map_or(AFTER_ALL.to_vec(), |id| id.to_bytes().to_vec());
        let id = wallet.id.0.to_bytes();
        self.session.all(HOLDS, values![wallet.tenant.0, &id, &before, limit], read_hold)
    }
}
