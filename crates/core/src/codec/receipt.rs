//! Encoding of receipts: the stored answers to idempotency keys.

use super::terms::{read_charge, version_of, write_charge};
use super::{Reader, Undecodable, Writer};
use crate::amount::{Amount, Scale};
use crate::catalogue::Unit;
use crate::entry::GrantKind;
use crate::id::{Id, TenantNo, UserNo, WalletId};
use crate::key::Key;
use crate::receipt::{Detail, Receipt};
use crate::time::Timestamp;
use crate::wallet::{Balance, HoldState};

const VERSION: u8 = 1;

/// Encodes a receipt.
pub fn encode_receipt(receipt: &Receipt) -> Vec<u8> {
    let mut out = Writer::with_capacity(224);
    out.u8(match &receipt.detail {
        Detail::Debit { charge } | Detail::Hold { charge, .. } => version_of(charge),
        _ => VERSION,
    });
    out.u64(receipt.tenant.0);
    out.u128(receipt.id.0);
    out.u128(receipt.wallet.0.0);
    out.text(receipt.unit.code.as_str());
    out.u8(receipt.unit.scale.decimals());
    out.u128(receipt.entry.0);
    out.option(receipt.user, |out, user| out.u64(user.0));
    out.i64(receipt.amount.0);
    write_balance(&mut out, &receipt.balance);
    out.i64(receipt.recorded_at.0);
    match &receipt.detail {
        Detail::Plain => out.u8(0),
        Detail::Grant { kind, expires_at } => {
            out.u8(1);
            out.u8(*kind as u8);
            out.option(*expires_at, |out, at| out.i64(at.0));
        }
        Detail::Revoke { grant } => {
            out.u8(2);
            out.u128(grant.0);
        }
        Detail::Debit { charge } => {
            out.u8(3);
            write_charge(&mut out, charge);
        }
        Detail::Refund { debit, refunded } => {
            out.u8(4);
            out.u128(debit.0);
            out.i64(refunded.0);
        }
        Detail::Hold { state, held, captured, expires_at, charge } => {
            out.u8(5);
            out.u8(*state as u8);
            out.i64(held.0);
            out.i64(captured.0);
            out.i64(expires_at.0);
            write_charge(&mut out, charge);
        }
        Detail::Transfer { peer, peer_balance } => {
            out.u8(6);
            out.u128(peer.0.0);
            write_balance(&mut out, peer_balance);
        }
    }
    out.bytes
}

/// Reads a receipt.
pub fn decode_receipt(bytes: &[u8]) -> Result<Receipt, Undecodable> {
    let mut reader = Reader::new(bytes);
    let from = &mut reader;
    // Receipts have the version of the charge in them.
    let version = from.u8()?;
    let receipt = Receipt {
        tenant: TenantNo(from.u64()?),
        id: Id(from.u128()?),
        wallet: WalletId(Id(from.u128()?)),
        unit: Unit {
            code: Key::parse(&from.text()?).ok_or(Undecodable)?,
            scale: Scale::new(from.u8()?).ok_or(Undecodable)?,
        },
        entry: Id(from.u128()?),
        user: from.option(|from| Ok(UserNo(from.u64()?)))?,
        amount: Amount(from.i64()?),
        balance: read_balance(from)?,
        recorded_at: Timestamp(from.i64()?),
        detail: read_detail(from, version)?,
    };
    from.end()?;
    Ok(receipt)
}

fn read_detail(from: &mut Reader<'_>, version: u8) -> Result<Detail, Undecodable> {
    Ok(match from.u8()? {
        3 => Detail::Debit { charge: read_charge(from, version)? },
        5 => Detail::Hold {
            state: HoldState::from_number(from.u8()?).ok_or(Undecodable)?,
            held: Amount(from.i64()?),
            captured: Amount(from.i64()?),
            expires_at: Timestamp(from.i64()?),
            charge: read_charge(from, version)?,
        },
        _ if version != VERSION => return Err(Undecodable),
        0 => Detail::Plain,
        1 => Detail::Grant {
            kind: GrantKind::from_number(from.u8()?).ok_or(Undecodable)?,
            expires_at: from.option(|from| Ok(Timestamp(from.i64()?)))?,
        },
        2 => Detail::Revoke { grant: Id(from.u128()?) },
        4 => Detail::Refund { debit: Id(from.u128()?), refunded: Amount(from.i64()?) },
        6 => Detail::Transfer { peer: WalletId(Id(from.u128()?)), peer_balance: read_balance(from)? },
        _ => return Err(Undecodable),
    })
}

fn write_balance(out: &mut Writer, balance: &Balance) {
    let Balance { settled, held, available, pending, frozen, debt, last_topup } = balance;
    for amount in [settled, held, available, pending, frozen, debt, last_topup] {
        out.i64(amount.0);
    }
}

fn read_balance(from: &mut Reader<'_>) -> Result<Balance, Undecodable> {
    Ok(Balance {
        settled: Amount(from.i64()?),
        held: Amount(from.i64()?),
        available: Amount(from.i64()?),
        pending: Amount(from.i64()?),
        frozen: Amount(from.i64()?),
        debt: Amount(from.i64()?),
        last_topup: Amount(from.i64()?),
    })
}
