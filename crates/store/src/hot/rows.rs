//! Rows of the hot tables as domain values, and the other way round.
//!
//! A row that cannot be read is damage and is reported by table and key; it is never guessed at.

use crate::driver::{Columns, unreadable};
use crate::error::StoreError;
use crate::position::Position;
use purser_core::catalogue::Unit;
use purser_core::codec::{decode_allocations, decode_hold_terms, decode_terms};
use purser_core::entry::{Actor, ActorKind, EntryKind, GrantKind, LotTerms};
use purser_core::wallet::{Debt, Freeze, Hold, HoldState, Lot, Owner, Pin};
use purser_core::{
    Amount, CounterKey, Currency, Entry, Id, Key, Money, Scale, TenantNo, Timestamp, UserNo, Wallet,
    WalletId, WalletKey,
};

/// The columns that [`read_entry`] expects, in its order.
macro_rules! entry_columns {
    () => {
        "position, prev_position, tenant_no, wallet_id, seq, kind, subject, amount, held_delta, settled_after, \
         user_no, actor_kind, actor_no, occurred_at, recorded_at, allocations, terms, text_digest, hash"
    };
}
/// The columns that [`read_lot`] expects, in its order.
macro_rules! lot_columns {
    () => {
        "wallet_id, lot_id, kind, priority, effective_at, expires_at, granted, remaining, held, frozen, \
         paid_minor, paid_currency, money, expired, expired_money, origin, parent"
    };
}
/// The columns that [`read_hold`] expects, in its order.
macro_rules! hold_columns {
    () => {
        "hold_id, state, terms, pins, held, captured, user_no, placed_at"
    };
}
/// The columns that [`read_wallet_row`] expects, in its order.
macro_rules! wallet_columns {
    () => {
        "tenant_no, wallet_id, owner_kind, owner_no, unit_code, scale, seq, head, head_position, recorded_at, \
         settled, held, frozen, debt, last_topup, created_at"
    };
}
pub(crate) use {entry_columns, hold_columns, lot_columns, wallet_columns};

/// An integer that is always there.
pub(crate) fn int(row: &dyn Columns, column: usize) -> Result<i64, StoreError> {
    row.int(column)?.ok_or_else(|| unreadable(column, "empty"))
}

/// A number of few values, such as a kind.
pub(crate) fn small<T: TryFrom<i64>>(row: &dyn Columns, column: usize) -> Result<T, StoreError> {
    T::try_from(int(row, column)?).map_err(|_| unreadable(column, "out of range"))
}

/// A yes or no.
pub(crate) fn flag(row: &dyn Columns, column: usize) -> Result<bool, StoreError> {
    Ok(int(row, column)? != 0)
}

/// An unsigned number from the signed one that carries its bits.
pub(crate) fn number(row: &dyn Columns, column: usize) -> Result<u64, StoreError> {
    int(row, column).map(|number| number as u64)
}

/// An amount.
pub(crate) fn amount(row: &dyn Columns, column: usize) -> Result<Amount, StoreError> {
    int(row, column).map(Amount)
}

/// A position.
pub(crate) fn position(row: &dyn Columns, column: usize) -> Result<Position, StoreError> {
    int(row, column).map(Position::from_sql)
}

/// Bytes that are always there, borrowed from the row.
pub(crate) fn bytes(row: &dyn Columns, column: usize) -> Result<&[u8], StoreError> {
    row.bytes(column)?.ok_or_else(|| unreadable(column, "empty"))
}

/// So many bytes, or nothing.
pub(crate) fn array_option<const N: usize>(
    row: &dyn Columns,
    column: usize,
) -> Result<Option<[u8; N]>, StoreError> {
    let found = row.bytes(column)?;
    found.map(|bytes| bytes.try_into().map_err(|_| unreadable(column, "of another length"))).transpose()
}

/// So many bytes.
pub(crate) fn array<const N: usize>(row: &dyn Columns, column: usize) -> Result<[u8; N], StoreError> {
    array_option(row, column)?.ok_or_else(|| unreadable(column, "empty"))
}

/// A 16-byte id.
pub(crate) fn id(row: &dyn Columns, column: usize) -> Result<Id, StoreError> {
    array(row, column).map(Id::from_bytes)
}

/// A 16-byte id, or none.
pub(crate) fn id_option(row: &dyn Columns, column: usize) -> Result<Option<Id>, StoreError> {
    Ok(array_option(row, column)?.map(Id::from_bytes))
}

/// Text that is always there.
pub(crate) fn text(row: &dyn Columns, column: usize) -> Result<String, StoreError> {
    text_option(row, column)?.ok_or_else(|| unreadable(column, "empty"))
}

/// Text, or nothing.
pub(crate) fn text_option(row: &dyn Columns, column: usize) -> Result<Option<String>, StoreError> {
    Ok(row.text(column)?.map(str::to_owned))
}

/// A product's key.
pub(crate) fn key(row: &dyn Columns, column: usize) -> Result<Key, StoreError> {
    key_option(row, column)?.ok_or_else(|| unreadable(column, "empty"))
}

/// A product's key, or none.
pub(crate) fn key_option(row: &dyn Columns, column: usize) -> Result<Option<Key>, StoreError> {
    let parse = |text: &str| {
        Key::parse(text).ok_or_else(|| StoreError::Corrupt { what: format!("{text:?} is no key") })
    };
    row.text(column)?.map(parse).transpose()
}

/// A wallet's key from two columns.
pub(crate) fn wallet_key(row: &dyn Columns, column: usize) -> Result<WalletKey, StoreError> {
    Ok(WalletKey { tenant: TenantNo(number(row, column)?), id: WalletId(id(row, column + 1)?) })
}

/// An entry, its position and that of the wallet's entry before it.
pub(crate) fn read_entry(row: &dyn Columns) -> Result<(Position, Position, Entry), StoreError> {
    let place = position(row, 0)?;
    let damaged = |what: &str| StoreError::inconsistent("entry", place, what);
    let kind = EntryKind::from_number(small(row, 5)?).ok_or_else(|| damaged("its kind is unknown"))?;
    let actor = Actor {
        kind: ActorKind::from_number(small(row, 11)?).ok_or_else(|| damaged("its actor is unknown"))?,
        no: number(row, 12)?,
    };
    let entry = Entry {
        wallet: wallet_key(row, 2)?,
        seq: number(row, 4)?,
        kind,
        subject: id(row, 6)?,
        amount: amount(row, 7)?,
        held_delta: amount(row, 8)?,
        settled_after: amount(row, 9)?,
        allocations: decode_allocations(bytes(row, 15)?)
            .map_err(|_| damaged("its allocations cannot be read"))?,
        terms: decode_terms(bytes(row, 16)?).map_err(|_| damaged("its terms cannot be read"))?,
        user: row.int(10)?.map(|no| UserNo(no as u64)),
        actor,
        occurred_at: Timestamp(int(row, 13)?),
        recorded_at: Timestamp(int(row, 14)?),
        text_digest: array_option(row, 17)?,
        hash: array(row, 18)?,
    };
    Ok((place, position(row, 1)?, entry))
}

/// A lot and its wallet.
pub(crate) fn read_lot(row: &dyn Columns) -> Result<(WalletId, Lot), StoreError> {
    let lot_id = id(row, 1)?;
    let damaged = |what: &str| StoreError::inconsistent("lot", lot_id, what);
    let paid = match (row.int(10)?, row.text(11)?) {
        (Some(minor), Some(code)) => {
            let currency = Currency::parse(code).ok_or_else(|| damaged("its currency is unknown"))?;
            Some(Money { minor, currency })
        }
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => return Err(damaged("its money has no currency or no amount")),
    };
    let expires_at = Timestamp(int(row, 5)?);
    let terms = LotTerms {
        id: lot_id,
        kind: GrantKind::from_number(small(row, 2)?).ok_or_else(|| damaged("its kind is unknown"))?,
        priority: small(row, 3)?,
        effective_at: Timestamp(int(row, 4)?),
        expires_at: (expires_at != Timestamp::NEVER).then_some(expires_at),
        granted: amount(row, 6)?,
        paid,
        origin: id_option(row, 15)?,
        parent: id_option(row, 16)?,
    };
    let lot = Lot {
        terms,
        remaining: amount(row, 7)?,
        held: amount(row, 8)?,
        frozen: amount(row, 9)?,
        money: int(row, 12)?,
        expired: amount(row, 13)?,
        expired_money: int(row, 14)?,
    };
    Ok((WalletId(id(row, 0)?), lot))
}

/// A hold.
pub(crate) fn read_hold(row: &dyn Columns) -> Result<Hold, StoreError> {
    let hold_id = id(row, 0)?;
    let damaged = |what: &str| StoreError::inconsistent("hold", hold_id, what);
    Ok(Hold {
        id: hold_id,
        state: HoldState::from_number(small(row, 1)?).ok_or_else(|| damaged("its state is unknown"))?,
        terms: decode_hold_terms(bytes(row, 2)?).map_err(|_| damaged("its terms cannot be read"))?,
        pins: decode_pins(bytes(row, 3)?).ok_or_else(|| damaged("its pins cannot be read"))?,
        held: amount(row, 4)?,
        captured: amount(row, 5)?,
        user: row.int(6)?.map(|no| UserNo(no as u64)),
        placed_at: Timestamp(int(row, 7)?),
    })
}

/// What a wallet counts: columns unit_code, scale.
pub(crate) fn unit(row: &dyn Columns, column: usize, wallet: WalletKey) -> Result<Unit, StoreError> {
    let scale = Scale::new(small(row, column + 1)?);
    let scale = scale.ok_or_else(|| StoreError::inconsistent("wallet", wallet, "its scale is unknown"))?;
    Ok(Unit { code: key(row, column)?, scale })
}

/// A wallet without its parts, its head and when it was made.
pub(crate) fn read_wallet_row(row: &dyn Columns) -> Result<(Wallet, Position, Timestamp), StoreError> {
    let stored = wallet_key(row, 0)?;
    let damaged = |what: &str| StoreError::inconsistent("wallet", stored, what);
    let owner = match (int(row, 2)?, number(row, 3)?) {
        (1, no) => Owner::User(UserNo(no)),
        (2, no) => Owner::Pool(no),
        (_, _) => return Err(damaged("its owner is unknown")),
    };
    let mut wallet = Wallet::new(stored.tenant, owner, unit(row, 4, stored)?);
    if wallet.key != stored {
        return Err(damaged("its id is not that of its owner and unit"));
    }
    wallet.seq = number(row, 6)?;
    wallet.head = array(row, 7)?;
    wallet.recorded_at = Timestamp(int(row, 9)?);
    wallet.settled = amount(row, 10)?;
    wallet.held = amount(row, 11)?;
    wallet.frozen = amount(row, 12)?;
    wallet.debt = amount(row, 13)?;
    wallet.last_topup = amount(row, 14)?;
    Ok((wallet, position(row, 8)?, Timestamp(int(row, 15)?)))
}

/// A debt: columns seq, cause, subject, origin, amount.
pub(crate) fn read_debt(row: &dyn Columns) -> Result<Debt, StoreError> {
    let seq = number(row, 0)?;
    Ok(Debt {
        seq,
        cause: EntryKind::from_number(small(row, 1)?)
            .ok_or_else(|| StoreError::inconsistent("debt", seq, "its cause is unknown"))?,
        subject: id(row, 2)?,
        origin: id_option(row, 3)?,
        amount: amount(row, 4)?,
    })
}

/// A freeze: columns cause, lot_id, wanted, taken.
pub(crate) fn read_freeze(row: &dyn Columns) -> Result<Freeze, StoreError> {
    Ok(Freeze { cause: id(row, 0)?, lot: id(row, 1)?, wanted: amount(row, 2)?, taken: amount(row, 3)? })
}

/// A counter: columns tenant_no, subject, rule, period_start, used.
pub(crate) fn read_counter(row: &dyn Columns) -> Result<(CounterKey, i64), StoreError> {
    let key = CounterKey {
        tenant: TenantNo(number(row, 0)?),
        subject: id(row, 1)?,
        rule: id(row, 2)?,
        period_start: Timestamp(int(row, 3)?),
    };
    Ok((key, int(row, 4)?))
}

/// Pins as bytes: lot and amount of each, in order.
pub(crate) fn encode_pins(pins: &[Pin]) -> Vec<u8> {
    pins.iter().flat_map(|pin| pin.lot.to_bytes().into_iter().chain(pin.amount.0.to_be_bytes())).collect()
}

fn decode_pins(bytes: &[u8]) -> Option<Vec<Pin>> {
    let (pins, rest) = bytes.as_chunks::<24>();
    let pin = |pin: &[u8; 24]| {
        let (lot, amount) = pin.split_first_chunk::<16>()?;
        Some(Pin { lot: Id::from_bytes(*lot), amount: Amount(i64::from_be_bytes(amount.try_into().ok()?)) })
    };
    if rest.is_empty() { pins.iter().map(pin).collect() } else { None }
}
