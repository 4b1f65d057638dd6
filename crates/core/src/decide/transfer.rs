//! Transfers: lots split in burn order and go on, under their own terms, in another wallet of the tenant.

use super::draft::{Draft, Line};
use super::{Done, spend};
use crate::amount::{Amount, Money};
use crate::entry::{Allocation, EntryKind, LotTerms, Terms};
use crate::id::DERIVED_MAX;
use crate::receipt::Detail;
use crate::rejection::Rejection;

/// Moves `amount` from the first to the second wallet of the state, strictly.
pub(super) fn transfer(draft: &mut Draft<'_, '_>, amount: Amount) -> Result<Done, Rejection> {
    if !amount.is_positive() {
        return Err(Rejection::AmountNotPositive);
    }
    let [from, to] = &draft.wallets[..] else { return Err(Rejection::WalletNotFound) };
    if from.key == to.key {
        return Err(Rejection::SameWallet);
    }
    if from.unit != to.unit {
        return Err(Rejection::UnitMismatch);
    }
    draft.standing.require_spending()?;
    draft.prepare(0);
    draft.prepare(1);
    let (from, to) = (&draft.wallets[0], &draft.wallets[1]);
    let available = from.available(draft.now);
    if available < amount {
        let unit = from.unit.code.clone();
        return Err(Rejection::InsufficientCredits { required: amount, available, unit, priced: None });
    }
    to.settled.checked_add(amount).ok_or(Rejection::AmountOverflow)?;
    let (from_id, to_id, id) = (from.key.id, to.key.id, draft.command.id);
    let out = spend::take(from, amount, draft.now);
    spend::limit(&out)?;
    const { assert!(super::ALLOCATIONS_MAX <= DERIVED_MAX, "each child lot needs an id of its own") };
    let (lots, received) = split(draft, &out, amount);
    let line = Line {
        kind: EntryKind::TransferOut,
        subject: id,
        allocations: out,
        terms: Terms::TransferOut { peer: to_id },
    };
    let entry = draft.book(0, line).id();
    let terms = Terms::TransferIn { peer: from_id, lots };
    draft.book(1, Line { kind: EntryKind::TransferIn, subject: id, allocations: received, terms });
    let peer_balance = crate::wallet::Balance::default();
    Ok(Done {
        wallet: 0,
        id,
        amount,
        entry,
        detail: Detail::Transfer { peer: to_id, peer_balance },
        peer: Some(1),
    })
}

/// The child lots of what was taken, and the allocations that fill them.
fn split(draft: &mut Draft<'_, '_>, out: &[Allocation], amount: Amount) -> (Vec<LotTerms>, Vec<Allocation>) {
    let parents: Vec<LotTerms> = spend::walk(&draft.wallets[0], amount, draft.now)
        .into_iter()
        .map(|(lot, _)| lot.terms.clone())
        .collect();
    let mut lots = Vec::with_capacity(out.len());
    let mut received = Vec::with_capacity(out.len());
    for (parent, taken) in parents.into_iter().zip(out) {
        let id = draft.derive_id();
        let paid = parent.paid.map(|paid| Money { minor: -taken.money, ..paid });
        lots.push(LotTerms { id, granted: -taken.amount, paid, parent: Some(parent.id), ..parent });
        received.push(Allocation { amount: -taken.amount, money: -taken.money, ..Allocation::lot(id) });
    }
    (lots, received)
}
