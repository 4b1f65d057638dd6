//! Giving credits, and taking back what is unspent of them.

use super::Done;
use super::draft::{Draft, Line};
use crate::amount::Amount;
use crate::command::{Grant, Revoke};
use crate::entry::{Allocation, EntryKind, LotTerms, Terms};
use crate::receipt::Detail;
use crate::rejection::Rejection;
use crate::wallet::Owner;

/// Makes a lot in the state's one wallet.
pub(super) fn grant(draft: &mut Draft<'_, '_>, grant: &Grant) -> Result<Done, Rejection> {
    if !grant.amount.is_positive() {
        return Err(Rejection::AmountNotPositive);
    }
    if grant.amount > Amount::MAX {
        return Err(Rejection::AmountOverflow);
    }
    let effective_at = grant.effective_at.unwrap_or(draft.now);
    if grant.expires_at.is_some_and(|expires_at| expires_at <= draft.now.max(effective_at)) {
        return Err(Rejection::TimeInvalid);
    }
    if draft.wallets.is_empty() {
        return Err(Rejection::WalletNotFound);
    }
    draft.standing.require_open()?;
    draft.prepare(0);
    draft.wallets[0].settled.checked_add(grant.amount).ok_or(Rejection::AmountOverflow)?;
    let id = draft.command.id;
    let lot = LotTerms {
        id,
        kind: grant.kind,
        priority: grant.priority,
        effective_at,
        expires_at: grant.expires_at,
        granted: grant.amount,
        paid: grant.paid,
        origin: grant.origin,
        parent: None,
    };
    let money = grant.paid.map_or(0, |paid| paid.minor);
    let allocations = vec![Allocation { amount: grant.amount, money, ..Allocation::lot(id) }];
    let entry = draft
        .book(0, Line { kind: EntryKind::Grant, subject: id, allocations, terms: Terms::Grant(lot) })
        .id();
    let detail = Detail::Grant { kind: grant.kind, expires_at: grant.expires_at };
    Ok(Done { wallet: 0, id, amount: grant.amount, entry, detail, peer: None })
}

/// Takes back at most what is neither spent nor pinned nor frozen of a lot.
pub(super) fn revoke(draft: &mut Draft<'_, '_>, revoke: Revoke) -> Result<Done, Rejection> {
    if revoke.amount.is_some_and(|amount| !amount.is_positive()) {
        return Err(Rejection::AmountNotPositive);
    }
    let known = draft.wallets.first().is_some_and(|wallet| wallet.lot(revoke.lot).is_some());
    if !known {
        return Err(Rejection::GrantNotFound);
    }
    draft.prepare(0);
    if let Owner::User(user) = draft.wallets[0].owner {
        draft.on_behalf_of(Some(user));
    }
    let lot = draft.wallets[0].lot(revoke.lot).expect("looked up above");
    let revocable = lot.spendable();
    let amount = revoke.amount.unwrap_or(revocable);
    if amount > revocable || amount.is_zero() {
        let unit = draft.wallets[0].unit.code.clone();
        return Err(Rejection::RevokeExceedsUnspent { revocable, unit });
    }
    let money = lot.money_of(amount);
    let allocations = vec![Allocation { amount: -amount, money: -money, ..Allocation::lot(revoke.lot) }];
    let line = Line { kind: EntryKind::Revoke, subject: revoke.lot, allocations, terms: Terms::None };
    let entry = draft.book(0, line).id();
    let detail = Detail::Revoke { grant: revoke.lot };
    Ok(Done { wallet: 0, id: draft.command.id, amount, entry, detail, peer: None })
}
