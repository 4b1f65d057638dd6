//! Giving back what a debit took: its open debt first, then what repaid its debt, then its own lots, newest first.

use super::draft::{Draft, Line};
use super::{Done, GRACE, due, spend};
use crate::amount::{Amount, Money};
use crate::command::Refund;
use crate::entry::{Allocation, Entry, EntryKind, LotTerms, Returned, Target, Terms};
use crate::id::{Id, LotId};
use crate::receipt::Detail;
use crate::rejection::Rejection;
use crate::wallet::Debt;

/// Gives back all or part of a debit, or of the debit that a capture made.
pub(super) fn refund(draft: &mut Draft<'_, '_>, refund: Refund) -> Result<Done, Rejection> {
    if refund.amount.is_some_and(|amount| !amount.is_positive()) {
        return Err(Rejection::AmountNotPositive);
    }
    let wallet = find_debit(draft, refund.debit).ok_or(Rejection::DebitNotFound)?;
    draft.prepare(wallet);
    let origin = find_entry(draft, wallet, refund.debit, is_charge).expect("found above");
    let (cost, seq, user) = (charged(origin), origin.seq, origin.user);
    let charge = match &origin.terms {
        Terms::Charge(charge) if !charge.counted.is_empty() => Some(charge.clone()),
        _ => None,
    };
    draft.on_behalf_of(user);
    let refunds = draft.history_of(wallet, refund.debit).filter(|entry| entry.kind == EntryKind::Refund);
    let before: Amount = refunds.map(|entry| entry.amount).sum();
    let refundable = cost - before;
    let amount = refund.amount.unwrap_or(refundable);
    if amount > refundable || amount.is_zero() {
        let unit = draft.wallets[wallet].unit.code.clone();
        return Err(Rejection::RefundExceedsDebit { refundable, unit });
    }
    let mut back = GiveBack::default();
    let from_debt = owed(draft, wallet, seq).least(amount);
    back.lower_debt(seq, from_debt);
    let parts = parts_newest_first(draft, wallet, refund.debit, seq, EntryKind::Refund);
    let rest = back.parts(draft, wallet, &parts, amount - from_debt, Expired::Grace);
    assert!(rest.is_zero(), "what was charged and not given back is owed, repaid or taken from lots");
    spend::limit(&back.allocations)?;
    let GiveBack { allocations, returned, lots } = back;
    let given = allocations.clone();
    let terms = Terms::Refund { returned, lots };
    let line = Line { kind: EntryKind::Refund, subject: refund.debit, allocations, terms };
    let entry = draft.book(wallet, line).id();
    if let Some(charge) = &charge {
        draft.give_back_counts(wallet, charge, amount, amount == refundable);
    }
    lower_reversal_debts(draft, wallet, &given);
    let detail = Detail::Refund { debit: refund.debit, refunded: before + amount };
    Ok(Done { wallet, id: draft.command.id, amount, entry, detail, peer: None })
}

/// Credit that comes back to a lot whose purchase was reversed, and whose reversal left open debt, was not the
/// customer's any more: it lowers that debt before any other.
fn lower_reversal_debts(draft: &mut Draft<'_, '_>, wallet: usize, given: &[Allocation]) {
    let now = draft.now;
    due::fill_freezes(draft, wallet, now);
    for allocation in given {
        let Target::Lot(id) = allocation.target else { continue };
        let lot = draft.wallets[wallet].lot(id).expect("just given back to");
        let origin = lot.terms.origin;
        let debts = &draft.wallets[wallet].debts;
        let debts: Vec<Debt> =
            debts.iter().filter(|debt| debt.origin.is_some() && debt.origin == origin).copied().collect();
        let mut given = allocation.amount;
        for debt in debts {
            let lot = draft.wallets[wallet].lot(id).expect("just given back to");
            let amount = lot.spendable().least(debt.amount).least(given);
            if !amount.is_positive() {
                break;
            }
            given -= amount;
            let taken = Allocation { amount: -amount, money: -lot.money_of(amount), ..Allocation::lot(id) };
            let allocations = vec![taken, Allocation::debt(debt.seq, -amount)];
            let line =
                Line { kind: EntryKind::Repay, subject: debt.subject, allocations, terms: Terms::None };
            draft.book_by_rule(wallet, line, now);
        }
    }
}

/// An allocation that can be given back, and how much of it already was.
pub(super) struct Part {
    pub(super) seq: u64,
    pub(super) index: u32,
    pub(super) lot: LotId,
    pub(super) amount: Amount,
    pub(super) money: i64,
    pub(super) returned: Amount,
    pub(super) returned_money: i64,
}

/// What to do with credit of a lot that expired meanwhile.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Expired {
    /// Make a new lot of the same kind and cost with days of grace.
    Grace,
    /// Put it back; it expires at once.
    Same,
}

/// The pieces of an entry that gives back.
#[derive(Default)]
pub(super) struct GiveBack {
    pub(super) allocations: Vec<Allocation>,
    pub(super) returned: Vec<Returned>,
    pub(super) lots: Vec<LotTerms>,
}

impl GiveBack {
    /// Lowers the debt made by the entry `seq`.
    pub(super) fn lower_debt(&mut self, seq: u64, amount: Amount) {
        if amount.is_positive() {
            self.allocations.push(Allocation::debt(seq, -amount));
        }
    }

    /// Gives back up to `amount` of `parts`, in their order; answers what is left over.
    pub(super) fn parts(
        &mut self,
        draft: &mut Draft<'_, '_>,
        wallet: usize,
        parts: &[Part],
        amount: Amount,
        expired: Expired,
    ) -> Amount {
        let mut rest = amount;
        for part in parts {
            let given = rest.least(part.amount - part.returned);
            if !given.is_positive() {
                continue;
            }
            rest -= given;
            let money = money_share(part, given);
            self.returned.push(Returned { seq: part.seq, index: part.index, amount: given, money });
            let lot =
                draft.wallets[wallet].lot(part.lot).expect("the lots that are given back to are loaded");
            if lot.is_expired(draft.now) && expired == Expired::Grace {
                let terms = lot.terms.clone();
                self.grace_lot(draft, terms, given, money);
            } else {
                self.same_lot(part.lot, given, money);
            }
        }
        rest
    }

    fn grace_lot(&mut self, draft: &mut Draft<'_, '_>, old: LotTerms, amount: Amount, money: i64) {
        let id = draft.derive_id();
        let paid = old.paid.map(|paid| Money { minor: money, ..paid });
        let (effective_at, expires_at) = (draft.now, Some(draft.now.plus(GRACE)));
        self.lots.push(LotTerms {
            id,
            effective_at,
            expires_at,
            granted: amount,
            paid,
            parent: Some(old.id),
            ..old
        });
        self.allocations.push(Allocation { amount, money, ..Allocation::lot(id) });
    }

    fn same_lot(&mut self, lot: LotId, amount: Amount, money: i64) {
        let known = self.allocations.iter_mut().find(|allocation| allocation.target == Target::Lot(lot));
        match known {
            Some(allocation) => {
                allocation.amount += amount;
                allocation.money += money;
            }
            None => self.allocations.push(Allocation { amount, money, ..Allocation::lot(lot) }),
        }
    }
}

/// The share of a part's money that goes with `given` of it: cumulative, so that it adds up to all of it.
fn money_share(part: &Part, given: Amount) -> i64 {
    let upto = i128::from((part.returned + given).0) * i128::from(part.money) / i128::from(part.amount.0);
    i64::try_from(upto).expect("at most the part's money") - part.returned_money
}

/// What can be given back of the entry `seq` of `subject`: repayments of its debt, then its own allocations, each newest
/// first. `undo` is the kind of entry by which parts were given back before.
pub(super) fn parts_newest_first(
    draft: &Draft<'_, '_>,
    wallet: usize,
    subject: Id,
    seq: u64,
    undo: EntryKind,
) -> Vec<Part> {
    let mut parts = Vec::new();
    for entry in draft.history_of(wallet, subject) {
        let repays = || entry.allocations.iter().any(|allocation| allocation.target == Target::Debt(seq));
        if entry.seq == seq || (entry.kind == EntryKind::Repay && repays()) {
            parts.extend(taken_by(entry));
        }
    }
    for entry in draft.history_of(wallet, subject).filter(|entry| entry.kind == undo) {
        let returned = match &entry.terms {
            Terms::Refund { returned, .. } | Terms::Reinstate { returned, .. } => returned,
            _ => continue,
        };
        for back in returned {
            let part = parts.iter_mut().find(|part| part.seq == back.seq && part.index == back.index);
            let part = part.expect("only parts are given back");
            part.returned += back.amount;
            part.returned_money += back.money;
        }
    }
    // Repayments come after the entry that made the debt, so one reversal puts them first and each newest first.
    parts.reverse();
    parts
}

fn taken_by(entry: &Entry) -> impl Iterator<Item = Part> {
    entry.allocations.iter().enumerate().filter_map(|(index, allocation)| match allocation.target {
        Target::Lot(lot) if allocation.amount < Amount::ZERO => Some(Part {
            seq: entry.seq,
            index: u32::try_from(index).expect("allocations of an entry are limited"),
            lot,
            amount: -allocation.amount,
            money: -allocation.money,
            returned: Amount::ZERO,
            returned_money: 0,
        }),
        Target::Lot(_) | Target::Debt(_) => None,
    })
}

/// What is still owed of the debt made by the entry `seq`.
pub(super) fn owed(draft: &Draft<'_, '_>, wallet: usize, seq: u64) -> Amount {
    let debt = draft.wallets[wallet].debts.iter().find(|debt| debt.seq == seq);
    debt.map_or(Amount::ZERO, |debt| debt.amount)
}

/// The first entry of `subject` in a wallet that satisfies `wanted`.
pub(super) fn find_entry<'d>(
    draft: &'d Draft<'_, '_>,
    wallet: usize,
    subject: Id,
    wanted: fn(&Entry) -> bool,
) -> Option<&'d Entry> {
    draft.history_of(wallet, subject).find(|entry| wanted(entry))
}

fn find_debit(draft: &Draft<'_, '_>, debit: Id) -> Option<usize> {
    (0..draft.wallets.len()).find(|wallet| find_entry(draft, *wallet, debit, is_charge).is_some())
}

fn is_charge(entry: &Entry) -> bool {
    matches!(entry.kind, EntryKind::Debit | EntryKind::Capture)
}

fn charged(entry: &Entry) -> Amount {
    match &entry.terms {
        Terms::Charge(charge) => charge.cost,
        _ => -entry.amount,
    }
}
