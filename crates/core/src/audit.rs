//! The laws as functions: what `purser verify`, the simulator and the property tests ask of wallets and entries.

use crate::amount::Amount;
use crate::chain;
use crate::entry::{Entry, Target};
use crate::wallet::{HoldState, Wallet};

/// The equations of conservation (law 2) on one wallet's state.
///
/// # Errors
/// Names the first equation that does not hold.
pub fn equations(wallet: &Wallet) -> Result<(), &'static str> {
    let remaining: Amount = wallet.lots.iter().map(|lot| lot.remaining).sum();
    let owed: Amount = wallet.debts.iter().map(|debt| debt.amount).sum();
    let held: Amount = wallet.lots.iter().map(|lot| lot.held).sum();
    let frozen: Amount = wallet.lots.iter().map(|lot| lot.frozen).sum();
    let taken: Amount = wallet.freezes.iter().map(|freeze| freeze.taken).sum();
    let active = wallet.holds.iter().filter(|hold| hold.state == HoldState::Active);
    let pinned: Amount = active.clone().flat_map(|hold| &hold.pins).map(|pin| pin.amount).sum();
    let checks = [
        (wallet.settled == remaining - owed, "settled = Σ remaining − debt"),
        (wallet.debt == owed, "debt = Σ open debts"),
        (wallet.held == held && held == pinned, "held = Σ held of lots = Σ pins of active holds"),
        (wallet.frozen == frozen && frozen == taken, "frozen = Σ frozen of lots = Σ taken by freezes"),
        (
            wallet.lots.iter().all(|lot| {
                let parts =
                    [lot.held, lot.frozen, lot.spendable(), lot.terms.granted - lot.remaining, lot.expired];
                parts.iter().all(|part| *part >= Amount::ZERO)
            }),
            "granted ≥ remaining ≥ held + frozen ≥ 0 in every lot",
        ),
        (wallet.lots.iter().all(|lot| lot.money >= 0), "no lot has less than no money"),
        (
            wallet.lots.iter().all(|lot| lot.remaining.is_positive() || lot.money == 0),
            "a spent lot has passed on all of its money",
        ),
        (
            active.clone().all(|hold| hold.pins.iter().map(|pin| pin.amount).sum::<Amount>() == hold.held),
            "a hold pins what it holds",
        ),
    ];
    checks.into_iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, equation)| Err(equation))
}

/// What one entry must satisfy by itself: its deltas are the sums of its allocations.
///
/// # Errors
/// Names the equation that does not hold.
pub fn entry(entry: &Entry) -> Result<(), &'static str> {
    let mut amount = Amount::ZERO;
    let mut held = Amount::ZERO;
    for allocation in &entry.allocations {
        match allocation.target {
            Target::Lot(_) => amount += allocation.amount,
            Target::Debt(_) => amount -= allocation.amount,
        }
        held += allocation.held;
    }
    if amount != entry.amount {
        return Err("amount = Σ allocations of lots − Σ allocations of debts");
    }
    if held != entry.held_delta {
        return Err("held delta = Σ held of allocations");
    }
    Ok(())
}

/// Checks the wallet's next entry (chain, sums, order) and applies it: a rebuild, one step at a time.
///
/// # Errors
/// Names what is wrong with the entry.
pub fn replay(wallet: &mut Wallet, next: &Entry) -> Result<(), &'static str> {
    if chain::hash(&wallet.head, next) != next.hash {
        return Err("the chain hash is not that of the entry and the one before it");
    }
    entry(next)?;
    wallet.apply(next)
}
