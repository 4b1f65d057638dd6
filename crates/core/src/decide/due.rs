//! Due facts: what time alone does to a wallet, booked at the next command or by the sweeper, with the same result.
//!
//! At each due instant, in order: holds whose time ran out release their pins (by id); freed credit fills open freezes;
//! lots whose time ran out expire, except what is pinned or frozen (by id); spendable credit repays debt.

use super::draft::{Draft, Line};
use super::{State, spend};
use crate::amount::Amount;
use crate::catalogue::Catalogue;
use crate::command::{Command, Movement};
use crate::entry::{Actor, Allocation, EntryKind, Terms};
use crate::id::Id;
use crate::time::Timestamp;
use crate::wallet::{HoldState, Lot, Wallet};

/// How many holds and lots are due.
pub(super) fn count(wallet: &Wallet, now: Timestamp) -> usize {
    if !wallet.is_due(now) {
        return 0;
    }
    let holds =
        wallet.holds.iter().filter(|hold| hold.state == HoldState::Active && hold.terms.expires_at <= now);
    let lots = wallet.lots.iter().filter(|lot| lot.is_expired(now) && lot.spendable().is_positive());
    holds.count() + lots.count()
}

/// Books everything that is due on a wallet, instant by instant, until `limit` entries were written.
pub(super) fn book(draft: &mut Draft<'_, '_>, wallet: usize, limit: usize) {
    let first = draft.next_seq(wallet);
    while let Some(at) = next_instant(&draft.wallets[wallet], draft.now) {
        let due =
            |hold: &&crate::wallet::Hold| hold.state == HoldState::Active && hold.terms.expires_at <= at;
        let holds: Vec<Id> = draft.wallets[wallet].holds.iter().filter(due).map(|hold| hold.id).collect();
        for hold in holds {
            let line = unpin(&draft.wallets[wallet], hold, EntryKind::HoldExpire);
            draft.book_by_rule(wallet, line, at);
        }
        settle(draft, wallet, at);
        if draft.next_seq(wallet) - first >= limit as u64 {
            break;
        }
    }
    draft.wallets[wallet].refresh_due();
}

/// The earliest instant up to `now` at which something is due.
fn next_instant(wallet: &Wallet, now: Timestamp) -> Option<Timestamp> {
    let holds =
        wallet.holds.iter().filter(|hold| hold.state == HoldState::Active).map(|hold| hold.terms.expires_at);
    let open = wallet.lots.iter().filter(|lot| lot.spendable().is_positive());
    let expiries = open.clone().filter_map(|lot| lot.terms.expires_at);
    let repayments = open.filter(|_| wallet.debt.is_positive()).map(|lot| lot.terms.effective_at);
    holds.chain(expiries).chain(repayments).filter(|at| *at <= now).min()
}

/// Deals with credit that came free: fills freezes, expires what is due at `at`, repays debt.
pub(super) fn settle(draft: &mut Draft<'_, '_>, wallet: usize, at: Timestamp) {
    fill_freezes(draft, wallet, at);
    expire(draft, wallet, at);
    while let Some(line) = repayment(&draft.wallets[wallet], at) {
        draft.book_by_rule(wallet, line, at);
    }
}

/// The line that gives up what a hold pins.
pub(super) fn unpin(wallet: &Wallet, hold: Id, kind: EntryKind) -> Line {
    let pins = &wallet.hold(hold).expect("the hold was found before").pins;
    let allocations =
        pins.iter().map(|pin| Allocation { held: -pin.amount, ..Allocation::lot(pin.lot) }).collect();
    Line { kind, subject: hold, allocations, terms: Terms::None }
}

/// Open freezes take what came free in their lot, oldest first.
pub(super) fn fill_freezes(draft: &mut Draft<'_, '_>, wallet: usize, at: Timestamp) {
    for index in 0..draft.wallets[wallet].freezes.len() {
        let freeze = draft.wallets[wallet].freezes[index];
        let free = draft.wallets[wallet].lot(freeze.lot).map_or(Amount::ZERO, Lot::spendable);
        let more = free.least(freeze.wanted - freeze.taken);
        if more.is_positive() {
            let allocations = vec![Allocation { frozen: more, ..Allocation::lot(freeze.lot) }];
            let terms = Terms::Freeze { wants: Vec::new() };
            draft.book_by_rule(
                wallet,
                Line { kind: EntryKind::Freeze, subject: freeze.cause, allocations, terms },
                at,
            );
        }
    }
}

fn expire(draft: &mut Draft<'_, '_>, wallet: usize, at: Timestamp) {
    let due = |lot: &&Lot| lot.is_expired(at) && lot.spendable().is_positive();
    let mut lots: Vec<Id> = draft.wallets[wallet].lots.iter().filter(due).map(|lot| lot.terms.id).collect();
    lots.sort_unstable();
    for id in lots {
        let lot = draft.wallets[wallet].lot(id).expect("just listed");
        let (amount, money) = (lot.spendable(), lot.money_of(lot.spendable()));
        let allocations = vec![Allocation { amount: -amount, money: -money, ..Allocation::lot(id) }];
        draft.book_by_rule(
            wallet,
            Line { kind: EntryKind::Expire, subject: id, allocations, terms: Terms::None },
            at,
        );
    }
}

/// The line by which spendable credit repays the oldest debt, while both exist.
fn repayment(wallet: &Wallet, at: Timestamp) -> Option<Line> {
    let debt = wallet.debts.first()?;
    let spendable = spend::spendable(wallet, at);
    let amount = spendable.least(debt.amount);
    if !amount.is_positive() {
        return None;
    }
    let mut allocations = spend::take(wallet, amount, at);
    allocations.push(Allocation::debt(debt.seq, -amount));
    Some(Line { kind: EntryKind::Repay, subject: debt.subject, allocations, terms: Terms::None })
}

/// Books what is due on a copy that is only looked at.
pub(super) fn project(wallet: &mut Wallet, now: Timestamp) {
    let catalogue = Catalogue::default();
    let command = Command {
        id: Id(0),
        tenant: wallet.key.tenant,
        user: None,
        actor: Actor::WORKER,
        occurred_at: now,
        text_digest: None,
        movement: Movement::Sweep,
    };
    // Time does not run backwards for a wallet: a reader's clock may be behind the writer's.
    let now = now.max(wallet.recorded_at);
    let mut state = State {
        catalogue: &catalogue,
        standing: super::Standing::Active,
        confirm_above: None,
        wallets: vec![wallet.clone()],
        history: Vec::new(),
        counters: Vec::new(),
    };
    book(&mut Draft::new(&mut state, &command, now), 0, usize::MAX);
    *wallet = state.wallets.swap_remove(0);
}
