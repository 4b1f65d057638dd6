//! Rows into state: what decisions and reads need of wallets, lots, holds and the ledger.
//!
//! All of it reads what was *saved*: the engine lays its newer state over it.

use super::rows::{
    entry_columns, hold_columns, id, int, lot_columns, number, read_debt, read_entry, read_freeze, read_hold,
    read_lot, read_wallet_row, wallet_columns,
};
use super::{KeyDigest, LoadedWallet};
use crate::dialect::{Dialect, statements};
use crate::driver::{Columns, Session, values};
use crate::error::StoreError;
use crate::position::Position;
use purser_core::wallet::{Hold, Lot};
use purser_core::{CounterKey, Entry, Id, LotId, TenantNo, Timestamp, Wallet, WalletId, WalletKey};

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
        SELECT cause, lot_id, wanted, taken FROM open_freeze
         WHERE tenant_no = ?1 AND wallet_id = ?2 ORDER BY ordinal";
    LOT = concat!("SELECT ", lot_columns!(), " FROM lot WHERE tenant_no = ?1 AND lot_id = ?2");
    LOTS_OF_ORIGIN = concat!(
        "SELECT ", lot_columns!(), " FROM lot WHERE tenant_no = ?1 AND origin = ?2 ORDER BY lot_id");
    HOLD = concat!(
        "SELECT ", hold_columns!(), " FROM hold WHERE tenant_no = ?1 AND wallet_id = ?2 AND hold_id = ?3");
    /// The index knows subjects only: the tenant is checked, so that no id of one tenant finds another's entries.
    HISTORY = concat!(
        "SELECT ", entry_columns!(), " FROM entry WHERE subject = ?2 AND tenant_no = ?1 ORDER BY position");
    QUOTE_USE = "SELECT 1 FROM quote_use WHERE tenant_no = ?1 AND quote_id = ?2";
    USE_QUOTE = "INSERT INTO quote_use (tenant_no, quote_id, expires_at) VALUES (?1, ?2, ?3)";
    QUOTES_OVER = "
        SELECT tenant_no, quote_id FROM quote_use WHERE expires_at < ?1 ORDER BY expires_at LIMIT ?2";
    FORGET_QUOTE = "DELETE FROM quote_use WHERE tenant_no = ?1 AND quote_id = ?2";
    USAGE_EVENT = "SELECT debit FROM usage_event WHERE event = ?1 AND tenant_no = ?2";
    RECORD_EVENT = "INSERT INTO usage_event (event, tenant_no, debit) VALUES (?1, ?2, ?3)";
    COUNTER = "
        SELECT used FROM counter WHERE tenant_no = ?1 AND subject = ?2 AND rule = ?3 AND period_start = ?4";
    WALLET_OF = "
        SELECT wallet_id FROM entry WHERE subject = ?2 AND tenant_no = ?1 ORDER BY recorded_at, position LIMIT 1";
}

/// A wallet with its open lots, active holds, debts and freezes, and when it was made.
pub(crate) fn wallet(
    session: Session<'_>,
    wanted: WalletKey,
) -> Result<Option<(LoadedWallet, Timestamp)>, StoreError> {
    let id = wanted.id.0.to_bytes();
    let found = session.first(WALLET, values![wanted.tenant.0, &id], read_wallet_row)?;
    let Some((wallet, head, created_at)) = found else { return Ok(None) };
    Ok(Some((complete(session, wallet, head)?, created_at)))
}

/// Adds the parts of a wallet to its row and checks that they belong together.
pub(crate) fn complete(
    session: Session<'_>,
    mut wallet: Wallet,
    head: Position,
) -> Result<LoadedWallet, StoreError> {
    let (tenant, id) = (wallet.key.tenant.0, wallet.key.id.0.to_bytes());
    let of_wallet = values![tenant, &id];
    wallet.lots = session.all(OPEN_LOTS, of_wallet, |row| Ok(read_lot(row)?.1))?;
    wallet.holds = session.all(ACTIVE_HOLDS, of_wallet, read_hold)?;
    if !wallet.debt.is_zero() {
        wallet.debts = session.all(DEBTS, of_wallet, read_debt)?;
    }
    wallet.freezes = session.all(FREEZES, of_wallet, read_freeze)?;
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

/// A lot by id, open or not.
pub(crate) fn lot(
    session: Session<'_>,
    tenant: TenantNo,
    wanted: LotId,
) -> Result<Option<(WalletId, Lot)>, StoreError> {
    session.first(LOT, values![tenant.0, &wanted.to_bytes()], read_lot)
}

/// All lots of one purchase.
pub(crate) fn lots_of_origin(
    session: Session<'_>,
    tenant: TenantNo,
    origin: Id,
) -> Result<Vec<(WalletId, Lot)>, StoreError> {
    session.all(LOTS_OF_ORIGIN, values![tenant.0, &origin.to_bytes()], read_lot)
}

/// A hold by id, open or not, and its wallet.
pub(crate) fn hold(
    session: Session<'_>,
    tenant: TenantNo,
    wanted: Id,
) -> Result<Option<(WalletId, Hold)>, StoreError> {
    let Some(wallet) = wallet_of(session, tenant, wanted)? else { return Ok(None) };
    Ok(hold_in(session, WalletKey { tenant, id: wallet }, wanted)?.map(|hold| (wallet, hold)))
}

/// A hold of a known wallet.
pub(crate) fn hold_in(session: Session<'_>, key: WalletKey, wanted: Id) -> Result<Option<Hold>, StoreError> {
    session.first(HOLD, values![key.tenant.0, &key.id.0.to_bytes(), &wanted.to_bytes()], read_hold)
}

/// The entries of one subject, with their positions.
pub(crate) fn history(
    session: Session<'_>,
    tenant: TenantNo,
    subject: Id,
) -> Result<Vec<(Position, Position, Entry)>, StoreError> {
    let mut found = session.all(HISTORY, values![tenant.0, &subject.to_bytes()], read_entry)?;
    if session.dialect() != Dialect::Sqlite {
        // Positions of several writers are in no order of time.
        found.sort_by_key(|(_, _, entry)| (entry.recorded_at, entry.wallet, entry.seq));
    }
    Ok(found)
}

/// The wallet of the first entry of one subject.
pub(crate) fn wallet_of(
    session: Session<'_>,
    tenant: TenantNo,
    subject: Id,
) -> Result<Option<WalletId>, StoreError> {
    Ok(session.first(WALLET_OF, values![tenant.0, &subject.to_bytes()], |row| id(row, 0))?.map(WalletId))
}

/// Whether a debit or hold was made with this quote.
pub(crate) fn quote_used(session: Session<'_>, tenant: TenantNo, quote: Id) -> Result<bool, StoreError> {
    Ok(session.first(QUOTE_USE, values![tenant.0, &quote.to_bytes()], |_| Ok(()))?.is_some())
}

/// Records that a quote was used. A second time fails on its key.
pub(crate) fn use_quote(
    session: Session<'_>,
    tenant: TenantNo,
    quote: Id,
    expires_at: Timestamp,
) -> Result<(), StoreError> {
    session.execute(USE_QUOTE, values![tenant.0, &quote.to_bytes(), expires_at.0])?;
    Ok(())
}

/// The debit that was made of this event, if one was.
pub(crate) fn usage_event(
    session: Session<'_>,
    tenant: TenantNo,
    event: KeyDigest,
) -> Result<Option<Id>, StoreError> {
    session.first(USAGE_EVENT, values![event.bytes(), tenant.0], |row| id(row, 0))
}

/// Records that this debit was made of this event. A second time fails on its key.
pub(crate) fn record_event(
    session: Session<'_>,
    tenant: TenantNo,
    event: KeyDigest,
    debit: Id,
) -> Result<(), StoreError> {
    session.execute(RECORD_EVENT, values![event.bytes(), tenant.0, &debit.to_bytes()])?;
    Ok(())
}

/// What these counters say; those that are not there are left out.
pub(crate) fn counters(
    session: Session<'_>,
    wanted: &[CounterKey],
) -> Result<Vec<(CounterKey, i64)>, StoreError> {
    let one = |key: &CounterKey| {
        let (subject, rule) = (key.subject.to_bytes(), key.rule.to_bytes());
        let used =
            session.first(COUNTER, values![key.tenant.0, &subject, &rule, key.period_start.0], |row| {
                int(row, 0)
            });
        used.map(|used| used.map(|used| (*key, used))).transpose()
    };
    wanted.iter().filter_map(one).collect()
}

/// Forgets used quotes whose time was over before `before`, at most so many; whether some are left.
pub(crate) fn prune_quotes(
    session: Session<'_>,
    before: Timestamp,
    budget_rows: usize,
) -> Result<bool, StoreError> {
    let read = |row: &dyn Columns| Ok((number(row, 0)?, id(row, 1)?));
    let over = session.all(QUOTES_OVER, values![before.0, budget_rows], read)?;
    for (tenant, quote) in &over {
        session.execute(FORGET_QUOTE, values![*tenant, &quote.to_bytes()])?;
    }
    Ok(over.len() == budget_rows)
}
