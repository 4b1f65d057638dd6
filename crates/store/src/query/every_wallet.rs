//! Every wallet with its parts, in bulk: four range reads for thousands of wallets, where a list of a few asks for each.

use super::{Reader, StoredWallet};
use crate::dialect::statements;
use crate::driver::{Columns, values};
use crate::error::StoreError;
use crate::hot::load;
use crate::hot::rows::{
    hold_columns, lot_columns, read_debt, read_freeze, read_hold, read_lot, read_wallet_row, wallet_columns,
    wallet_key,
};
use purser_core::WalletKey;
use rustc_hash::FxHashMap;

/// The wallets from the key `?1, ?2` to the key `?3, ?4`.
macro_rules! in_range {
    () => {
        " (tenant_no, wallet_id) >= (?1, ?2) AND (tenant_no, wallet_id) <= (?3, ?4)"
    };
}

statements! {
    WALLETS = concat!(
        "SELECT ", wallet_columns!(), " FROM wallet
          WHERE (tenant_no, wallet_id) > (?1, ?2) ORDER BY tenant_no, wallet_id LIMIT ?3");
    OPEN_LOTS = concat!(
        "SELECT ", lot_columns!(), ", tenant_no, wallet_id FROM lot INDEXED BY lot_by_wallet
          WHERE", in_range!(), " AND is_open = 1");
    ACTIVE_HOLDS = concat!(
        "SELECT ", hold_columns!(), ", tenant_no, wallet_id FROM hold INDEXED BY hold_active
          WHERE", in_range!(), " AND state = 1");
    DEBTS = concat!(
        "SELECT seq, cause, subject, origin, amount, tenant_no, wallet_id FROM debt
          WHERE", in_range!(), " ORDER BY tenant_no, wallet_id, seq");
    FREEZES = concat!(
        "SELECT cause, lot_id, wanted, taken, tenant_no, wallet_id FROM open_freeze
          WHERE", in_range!(), " ORDER BY tenant_no, wallet_id, ordinal");
}

/// Parts of wallets by the wallet they belong to.
type Parts<T> = FxHashMap<WalletKey, Vec<T>>;

impl Reader<'_> {
    /// All wallets in the order of their keys, as last saved, behind `after`.
    pub fn every_wallet(
        &self,
        after: Option<WalletKey>,
        limit: usize,
    ) -> Result<Vec<StoredWallet>, StoreError> {
        let after_id = after.map_or(Vec::new(), |key| key.id.0.to_bytes().to_vec());
        let tenant = after.map_or(i64::MIN, |key| key.tenant.0 as i64);
        let rows = self.session.all(WALLETS, values![tenant, &after_id, limit], read_wallet_row)?;
        let (Some((first, ..)), Some((last, ..))) = (rows.first(), rows.last()) else {
            return Ok(Vec::new());
        };
        let range = (first.key, last.key);
        let mut lots = self.parts(OPEN_LOTS, range, 17, |row| Ok(read_lot(row)?.1))?;
        let mut holds = self.parts(ACTIVE_HOLDS, range, 8, read_hold)?;
        let mut debts = self.parts(DEBTS, range, 5, read_debt)?;
        let mut freezes = self.parts(FREEZES, range, 4, read_freeze)?;
        let mut found = Vec::with_capacity(rows.len());
        for (mut wallet, head, created_at) in rows {
            let key = wallet.key;
            wallet.lots = lots.remove(&key).unwrap_or_default();
            wallet.holds = holds.remove(&key).unwrap_or_default();
            wallet.debts = debts.remove(&key).unwrap_or_default();
            wallet.freezes = freezes.remove(&key).unwrap_or_default();
            found.push(StoredWallet { loaded: load::restored(wallet, head)?, created_at });
        }
        Ok(found)
    }

    /// The rows of one table for the wallets of a range; their tenant and wallet are in `column` and the one behind it.
    fn parts<T>(
        &self,
        sql: &'static str,
        (first, last): (WalletKey, WalletKey),
        column: usize,
        read: impl Fn(&dyn Columns) -> Result<T, StoreError>,
    ) -> Result<Parts<T>, StoreError> {
        let (low, high) = (first.id.0.to_bytes(), last.id.0.to_bytes());
        let range = values![first.tenant.0, &low, last.tenant.0, &high];
        let mut parts = Parts::default();
        for (key, part) in self.session.all(sql, range, |row| Ok((wallet_key(row, column)?, read(row)?)))? {
            parts.entry(key).or_insert_with(Vec::new).push(part);
        }
        Ok(parts)
    }
}
