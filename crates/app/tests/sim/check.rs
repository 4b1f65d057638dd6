//! The checkers: live wallets and rows against the model, the laws, and the whole ledger against what was promised.

use super::node::Node;
use super::oracle::{Expected, Oracle, Place, Tenant};
use crate::model::{Account, Fate};
use purser_app::engine::{Done, Outcome};
use purser_app::error::AppError;
use purser_app::usecase::verify::verify;
use purser_core::decide::project;
use purser_core::entry::{ActorKind, EntryKind};
use purser_core::limit::Alert;
use purser_core::receipt::Receipt;
use purser_core::wallet::{Balance, HoldState};
use purser_core::{Entry, Timestamp, Wallet, WalletKey, audit};
use purser_store::{Heads, LedgerEntry, Position};
use std::collections::BTreeMap;

/// One thing in a wallet: what it is, what it is named by, its numbers.
type Line = (u8, u128, u128, [i64; 7]);

/// An outcome in a word.
pub fn word(outcome: &Outcome) -> String {
    match outcome {
        Ok(done) if done.replayed => "replayed".into(),
        Ok(_) => "done".into(),
        Err(AppError::Rejected(rejection)) => format!("refused {}", rejection.code()),
        Err(AppError::Unauthenticated) => "unauthenticated".into(),
        Err(AppError::Unavailable { reason, .. }) => format!("unavailable {reason}"),
        Err(AppError::Fault(_)) => "fault".into(),
        Err(other) => format!("{other:?}"),
    }
}

/// What is wrong with an outcome, if anything.
pub fn outcome(expected: &Expected, outcome: &Outcome) -> Result<(), String> {
    let wanted = match expected {
        Expected::Done { .. } => "done".to_string(),
        Expected::Replayed(_) => "replayed".to_string(),
        Expected::Refused(code) => format!("refused {code}"),
        Expected::Unauthenticated => "unauthenticated".to_string(),
        Expected::Late => "unavailable deadline_exceeded".to_string(),
    };
    // A used quote is forgotten some time after it ended: from then on it is only over.
    let forgotten = wanted == "refused quote_used" && word(outcome) == "refused quote_expired";
    if word(outcome) != wanted && !forgotten {
        return Err(format!("expected {wanted}, got {} ({outcome:?})", word(outcome)));
    }
    match (expected, outcome) {
        (Expected::Done { now, numbers }, Ok(done)) => {
            let receipt = &done.receipt;
            if receipt.recorded_at.0 != *now {
                return Err(format!("recorded at {:?}, expected {now}", receipt.recorded_at));
            }
            match numbers.iter().find(|(wallet, _)| *wallet == receipt.wallet) {
                Some((_, numbers)) if *numbers == numbers_of(&receipt.balance) => Ok(()),
                // A freeze or a sweep that finds nothing to do writes nothing.
                None if numbers.is_empty() => Ok(()),
                found => Err(format!("the receipt says {:?}, the model {found:?}", receipt.balance)),
            }
        }
        (Expected::Replayed(Some(first)), Ok(done)) if *first != done.receipt => {
            Err(format!("answered {first:?} before and {:?} now", done.receipt))
        }
        _ => Ok(()),
    }
}

/// What of a receipt is told of an event for ever: of the balance, what was settled.
pub fn lasting(receipt: &Receipt) -> Receipt {
    let balance = Balance { settled: receipt.balance.settled, ..Balance::default() };
    Receipt { balance, ..receipt.clone() }
}

/// The same as [`outcome`] for an event, as far as it can be read back from its entry.
pub fn recalled(expected: &Expected, outcome: &Outcome) -> Result<(), String> {
    let settled_only = |numbers: &[i64; 7]| [numbers[0], 0, 0, 0, 0, 0, 0];
    let expected = match expected {
        Expected::Done { now, numbers } => {
            let numbers = numbers.iter().map(|(wallet, numbers)| (*wallet, settled_only(numbers))).collect();
            Expected::Done { now: *now, numbers }
        }
        other => other.clone(),
    };
    let told = |done: &Done| Done { receipt: lasting(&done.receipt), replayed: done.replayed };
    match outcome {
        Ok(done) => self::outcome(&expected, &Ok(told(done))),
        refused => self::outcome(&expected, refused),
    }
}

fn numbers_of(balance: &Balance) -> [i64; 7] {
    let Balance { settled, held, available, pending, frozen, debt, last_topup } = *balance;
    [settled, held, available, pending, frozen, debt, last_topup].map(|amount| amount.0)
}

/// Every wallet, in memory or in rows, is what the model says, and satisfies the equations.
pub fn wallets(node: &Node, oracle: &Oracle, clock: i64) -> Result<(), String> {
    for tenant in &oracle.tenants {
        for (place, account) in tenant.places.iter().zip(&tenant.accounts) {
            wallet(node, place, account, clock).map_err(|what| {
                let Tenant { no, .. } = tenant;
                format!("{no:?} {:?} {}: {what}", place.owner, place.unit.code)
            })?;
        }
    }
    Ok(())
}

fn wallet(node: &Node, place: &Place, account: &Account, clock: i64) -> Result<(), String> {
    let real = match node.live.get(place.key) {
        Some(live) => Some(live.wallet.clone()),
        None => {
            let stored =
                node.store.read(|reader| reader.wallet(place.key)).map_err(|error| error.to_string())?;
            stored.map(|stored| stored.loaded.wallet)
        }
    };
    let Some(real) = real else {
        return if place.recorded == 0 { Ok(()) } else { Err("the wallet is gone".into()) };
    };
    if real.recorded_at.0 != place.recorded {
        return Err(format!("recorded at {:?}, expected {}", real.recorded_at, place.recorded));
    }
    audit::equations(&real)?;
    let at = clock.max(place.recorded);
    let mut imagined = account.clone();
    imagined.book_due(at);
    let real = project(&real, Timestamp(at));
    let numbers = (numbers_of(&real.balance(Timestamp(at))), imagined.numbers(at));
    if numbers.0 != numbers.1 {
        return Err(format!("numbers {:?}, the model has {:?}", numbers.0, numbers.1));
    }
    let (real, imagined) = (real_lines(&real), imagined_lines(&imagined));
    let differs = |left: &[Line], right: &[Line]| -> Vec<Line> {
        left.iter().filter(|line| !right.contains(line)).copied().collect()
    };
    if real != imagined {
        let (more, less) = (differs(&real, &imagined), differs(&imagined, &real));
        return Err(format!("it has {more:x?}, the model {less:x?}"));
    }
    Ok(())
}

fn real_lines(wallet: &Wallet) -> Vec<Line> {
    let mut lines = Vec::new();
    for lot in wallet.lots.iter().filter(|lot| lot.remaining.is_positive()) {
        let ends = lot.terms.expires_at.unwrap_or(Timestamp::NEVER).0;
        let amounts = [lot.remaining, lot.held, lot.frozen].map(|amount| amount.0);
        let [remaining, held, frozen] = amounts;
        let (starts, priority) = (lot.terms.effective_at.0, i64::from(lot.terms.priority));
        let origin = lot.terms.origin.map_or(0, |id| id.0);
        lines.push((1, lot.terms.id.0, origin, [remaining, held, frozen, lot.money, starts, ends, priority]));
    }
    for hold in wallet.holds.iter().filter(|hold| hold.state == HoldState::Active) {
        lines.push((2, hold.id.0, 0, [hold.terms.expires_at.0, 0, 0, 0, 0, 0, 0]));
        lines.extend(hold.pins.iter().map(|pin| (3, hold.id.0, pin.lot.0, [pin.amount.0, 0, 0, 0, 0, 0, 0])));
    }
    for (debt, order) in wallet.debts.iter().zip(0..) {
        lines.push((4, debt.subject.0, 0, [debt.amount.0, order, 0, 0, 0, 0, 0]));
    }
    for row in &wallet.freezes {
        lines.push((5, row.cause.0, row.lot.0, [row.wanted.0, row.taken.0, 0, 0, 0, 0, 0]));
    }
    lines.sort_unstable();
    lines
}

fn imagined_lines(account: &Account) -> Vec<Line> {
    let mut lines = Vec::new();
    for (id, lot) in account.lots.iter().filter(|(_, lot)| lot.remaining > 0) {
        let [held, frozen] = [account.held(*id), account.frozen(*id)];
        let times = [lot.effective, lot.expires, i64::from(lot.priority)];
        let [starts, ends, priority] = times;
        let origin = lot.origin.unwrap_or(0);
        lines.push((1, *id, origin, [lot.remaining, held, frozen, lot.money, starts, ends, priority]));
    }
    for (id, hold) in account.holds.iter().filter(|(_, hold)| hold.fate == Fate::Active) {
        lines.push((2, *id, 0, [hold.expires, 0, 0, 0, 0, 0, 0]));
        lines.extend(hold.pins.iter().map(|(lot, amount)| (3, *id, *lot, [*amount, 0, 0, 0, 0, 0, 0])));
    }
    for (debt, order) in account.debts.iter().zip(0..) {
        lines.push((4, debt.subject, 0, [debt.amount, order, 0, 0, 0, 0, 0]));
    }
    for row in &account.freezes {
        lines.push((5, row.cause, row.lot, [row.wanted, row.taken, 0, 0, 0, 0, 0]));
    }
    lines.sort_unstable();
    lines
}

/// What one wallet's entries must be, one after another.
#[derive(Default)]
struct Walk {
    seq: u64,
    recorded: i64,
    position: Position,
}

/// Every entry is announced once, a few rows at a time, and each wallet's in their order.
fn announced(node: &Node, entries: &[LedgerEntry]) -> Result<(), String> {
    let (mut told, mut alerts) = (BTreeMap::<WalletKey, u64>::new(), Vec::new());
    let mut reached = Heads::default();
    loop {
        let page = node.store.read(|reader| reader.announced(&reached, &reader.heads()?, 97, 97, |_| true));
        let (rows, next) = page.map_err(|error| error.to_string())?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            let last = told.entry(row.wallet).or_default();
            if row.first_seq != *last + 1 {
                return Err(format!("{row:?} does not follow entry {last} of its wallet"));
            }
            *last += row.entries;
            alerts.extend(row.alerts.iter().map(|alerted| (row.wallet, row.first_seq, alerted.alert)));
        }
        reached = next;
    }
    let mut last: BTreeMap<WalletKey, u64> = BTreeMap::new();
    entries.iter().for_each(|found| *last.entry(found.entry.wallet).or_default() += 1);
    if told != last {
        return Err(format!("announced {told:?}, recorded {last:?}"));
    }
    let recorded: usize =
        entries.iter().filter_map(|found| Some(found.entry.terms.charge()?.alerts.len())).sum();
    let shown = |alerted: &(WalletKey, u64, Alert)| {
        entries.iter().any(|found| {
            let Entry { wallet, seq, terms, .. } = &found.entry;
            (*wallet, *seq >= alerted.1) == (alerted.0, true)
                && terms.charge().is_some_and(|charge| charge.alerts.contains(&alerted.2))
        })
    };
    match alerts.len() == recorded && alerts.iter().all(shown) {
        true => Ok(()),
        false => Err(format!("told of {alerts:?}; the entries have {recorded}")),
    }
}

/// The whole ledger: `verify` holds, no entry is missing or doubled, and each request left exactly what it promised.
pub fn ledger(node: &Node, oracle: &Oracle) -> Result<(), String> {
    verify(&node.url(), |_, _| {}).map_err(|error| format!("verify: {error}"))?;
    let all = node.store.read(|reader| reader.entries_in_order(Position::NONE, usize::MAX >> 1));
    let mut all = all.map_err(|error| error.to_string())?;
    if node.is_server() {
        // The order of positions is that of each writer, and several write one wallet.
        all.sort_by_key(|found| (found.entry.wallet, found.entry.seq));
    }
    announced(node, &all)?;
    let mut walks: BTreeMap<WalletKey, Walk> = BTreeMap::new();
    let mut left: BTreeMap<(u64, u8, u128), BTreeMap<WalletKey, u64>> = BTreeMap::new();
    for found in all {
        let entry = &found.entry;
        let walk = walks.entry(entry.wallet).or_default();
        if entry.seq != walk.seq + 1 || found.previous != walk.position || entry.recorded_at.0 < walk.recorded
        {
            return Err(format!("{entry:?} does not follow entry {} of its wallet", walk.seq));
        }
        *walk = Walk { seq: entry.seq, recorded: entry.recorded_at.0, position: found.position };
        if entry.actor.kind != ActorKind::Worker {
            let what = (entry.wallet.tenant.0, entry.kind as u8, entry.subject.0);
            *left.entry(what).or_default().entry(entry.wallet).or_default() += 1;
        }
    }
    for (what, wallets) in &left {
        let most = wallets.values().copied().max().unwrap_or(0);
        let may_follow = [EntryKind::TransferIn, EntryKind::Thaw].map(|kind| kind as u8).contains(&what.1);
        let expected = oracle.effects.get(what).copied().unwrap_or(0);
        if most > expected && !may_follow {
            return Err(format!("{most} entries of kind {} for {:x}, expected {expected}", what.1, what.2));
        }
    }
    // A freeze may find nothing to set aside; everything else leaves its entry.
    let silent = [EntryKind::Freeze].map(|kind| kind as u8);
    for (what, expected) in oracle.effects.iter().filter(|(what, _)| !silent.contains(&what.1)) {
        let most = left.get(what).and_then(|wallets| wallets.values().copied().max()).unwrap_or(0);
        if most < *expected {
            return Err(format!("{most} entries of kind {} for {:x}, expected {expected}", what.1, what.2));
        }
    }
    Ok(())
}
