//! Rows into state: what decisions and reads need of wallets, lots, holds and the ledger.
//!
//! All of it reads what was *saved*: the engine lays its newer state over it.

use super::LoadedWallet;
use super::rows::{
    entry_columns, hold_columns, id, lot_columns, read_debt, read_entry, read_freeze, read_hold, read_lot,
    read_wallet_row, wallet_columns,
};
use crate::dialect::statements;
use crate::error::StoreError;
use crate::position::Position;
use purser_core::wallet::{Debt, Freeze, Hold, Lot};
use purser_core::{Entry, Id, LotId, TenantNo, Timestamp, Wallet, WalletId, WalletKey};
use rusqlite::{Connection, OptionalExtension, Params, Row, params};

statements! {
    WALLET = concat!("SELECT ", wallet_columns!(), " FROM wallet WHERE tenant_no = ?1 AND wallet_id = ?2");
    OPEN_LOTS = concat!(
        "SELECT ", lot_columns!(), " FROM lot WHERE tenant_no = ?1 AND wallet_id = ?2 AND is_open = 1");
    ACTIVE_HOLDS = concat!(
        "SELECT ", hold_columns!(), " FROM hold WHERE tenant_no = ?1 AND wallet_id = ?2 AND state = 1");
    DEBTS = "
        SELECT seq, cause, subject, origin, amount FROM debt
         WHERE tenant_no = ?1 AND wallet_id = ?2 ORDER BY seq";
    FREEZES = "
        SELECT cause, lot_id, wanted, taken FROM freeze
         WHERE tenant_no = ?1 AND wallet_id = ?2 ORDER BY ordinal";
    LOT = concat!("SELECT ", lot_columns!(), " FROM lot WHERE tenant_no = ?1 AND lot_id = ?2");
    LOTS_OF_ORIGIN = concat!(
        "SELECT ", lot_columns!(), " FROM lot WHERE tenant_no = ?1 AND origin = ?2 ORDER BY lot_id");
    HOLD = concat!(
        "SELECT ", hold_columns!(), " FROM hold WHERE tenant_no = ?1 AND wallet_id = ?2 AND hold_id = ?3");
    /// The index knows subjects only: the tenant is checked, so that no id of one tenant finds another's entries.
    HISTORY = concat!(
        "SELECT ", entry_columns!(), " FROM entry WHERE subject = ?2 AND tenant_no = ?1 ORDER BY position");
    WALLET_OF = "
        SELECT wallet_id FROM entry WHERE subject = ?2 AND tenant_no = ?1 ORDER BY position LIMIT 1";
}

/// A wallet with its open lots, active holds, debts and freezes, and when it was made.
pub(crate) fn wallet(
    connection: &Connection,
    wanted: WalletKey,
) -> Result<Option<(LoadedWallet, Timestamp)>, StoreError> {
    let mut statement = connection.prepare_cached(WALLET)?;
    let mut rows = statement.query(params![wanted.tenant.0 as i64, wanted.id.0.to_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let (wallet, head, created_at) = read_wallet_row(row)?;
    Ok(Some((complete(connection, wallet, head)?, created_at)))
}

/// Adds the parts of a wallet to its row and checks that they belong together.
pub(crate) fn complete(
    connection: &Connection,
    mut wallet: Wallet,
    head: Position,
) -> Result<LoadedWallet, StoreError> {
    let key = wallet.key;
    let of_wallet = params![key.tenant.0 as i64, key.id.0.to_bytes()];
    wallet.lots = all(connection, OPEN_LOTS, of_wallet, |row| Ok(read_lot(row)?.1))?;
    wallet.holds = all(connection, ACTIVE_HOLDS, of_wallet, read_hold)?;
    wallet.debts = if wallet.debt.is_zero() { Vec::new() } else { debts(connection, key)? };
    wallet.freezes = freezes(connection, key)?;
    restored(wallet, head)
}

/// A wallet with all its parts, once they are found to belong together.
pub(crate) fn restored(wallet: Wallet, head: Position) -> Result<LoadedWallet, StoreError> {
    let key = wallet.key;
    let wallet = wallet
        .restore()
        .map_err(|equation| StoreError::inconsistent("wallet", key, format!("violates {equation}")))?;
    Ok(LoadedWallet { wallet, head })
}

fn debts(connection: &Connection, key: WalletKey) -> Result<Vec<Debt>, StoreError> {
    all(connection, DEBTS, params![key.tenant.0 as i64, key.id.0.to_bytes()], read_debt)
}

fn freezes(connection: &Connection, key: WalletKey) -> Result<Vec<Freeze>, StoreError> {
    all(connection, FREEZES, params![key.tenant.0 as i64, key.id.0.to_bytes()], read_freeze)
}

/// A lot by id, open or not.
pub(crate) fn lot(
    connection: &Connection,
    tenant: TenantNo,
    wanted: LotId,
) -> Result<Option<(WalletId, Lot)>, StoreError> {
    Ok(all(connection, LOT, params![tenant.0 as i64, wanted.to_bytes()], read_lot)?.pop())
}

/// All lots of one purchase.
pub(crate) fn lots_of_origin(
    connection: &Connection,
    tenant: TenantNo,
    origin: Id,
) -> Result<Vec<(WalletId, Lot)>, StoreError> {
    all(connection, LOTS_OF_ORIGIN, params![tenant.0 as i64, origin.to_bytes()], read_lot)
}

/// A hold by id, open or not, and its wallet.
pub(crate) fn hold(
    connection: &Connection,
    tenant: TenantNo,
    wanted: Id,
) -> Result<Option<(WalletId, Hold)>, StoreError> {
    let Some(wallet) = wallet_of(connection, tenant, wanted)? else { return Ok(None) };
    Ok(hold_in(connection, WalletKey { tenant, id: wallet }, wanted)?.map(|hold| (wallet, hold)))
}

/// A hold of a known wallet.
pub(crate) fn hold_in(
    connection: &Connection,
    key: WalletKey,
    wanted: Id,
) -> Result<Option<Hold>, StoreError> {
    let of_hold = params![key.tenant.0 as i64, key.id.0.to_bytes(), wanted.to_bytes()];
    Ok(all(connection, HOLD, of_hold, read_hold)?.pop())
}

/// The entries of one subject, with their positions.
pub(crate) fn history(
    connection: &Connection,
    tenant: TenantNo,
    subject: Id,
) -> Result<Vec<(Position, Position, Entry)>, StoreError> {
    all(connection, HISTORY, params![tenant.0 as i64, subject.to_bytes()], read_entry)
}

/// The wallet of the first entry of one subject.
pub(crate) fn wallet_of(
    connection: &Connection,
    tenant: TenantNo,
    subject: Id,
) -> Result<Option<WalletId>, StoreError> {
    let mut statement = connection.prepare_cached(WALLET_OF)?;
    let found = statement.query_row(params![tenant.0 as i64, subject.to_bytes()], |row| id(row, 0));
    Ok(found.optional()?.map(WalletId))
}

/// All rows of a statement.
pub(crate) fn all<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    mut read: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}
