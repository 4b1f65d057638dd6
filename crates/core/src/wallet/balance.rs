//! The six numbers of a balance, and how healthy they are.

use super::{Lot, Wallet};
use crate::amount::Amount;
use crate::time::Timestamp;

/// A wallet's balance at an instant.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Balance {
    /// Sum of its entries = Σ remaining of lots − debt.
    pub settled: Amount,
    /// Pinned by active holds.
    pub held: Amount,
    /// Spendable now, less debt.
    pub available: Amount,
    /// In lots that are not effective yet.
    pub pending: Amount,
    /// Set aside while money is disputed or being refunded.
    pub frozen: Amount,
    /// Owed.
    pub debt: Amount,
    /// The amount of the last paid grant.
    pub last_topup: Amount,
}

/// A balance in one word.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Health {
    /// Plenty.
    Healthy,
    /// A fifth of the last top-up or less.
    Low,
    /// Nothing to spend.
    Empty,
    /// Credit is owed.
    Debt,
}

impl Health {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Health::Healthy => "healthy",
            Health::Low => "low",
            Health::Empty => "empty",
            Health::Debt => "debt",
        }
    }
}

/// Whether so little can be spent that its owner should know.
fn is_low(available: Amount, last_topup: Amount) -> bool {
    available.0 <= last_topup.0 / 5
}

/// What can be spent, as far as somebody is told of it when it gets less. Higher is better.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Level {
    /// Nothing: zero, or less.
    Depleted,
    /// A fifth of the last top-up or less.
    Low,
    /// More than that.
    Plenty,
}

/// The thresholds below which a decision brought a wallet. Each is told once, and again only after the wallet was above it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Fall {
    /// To a fifth of the last top-up, or less; never where nothing was ever paid for.
    pub low: bool,
    /// To nothing.
    pub depleted: bool,
}

impl Fall {
    /// The fall from one level to another; none where it is not lower. A fall through both thresholds is told as both.
    pub(crate) fn between(before: Level, after: Level, last_topup: Amount) -> Option<Fall> {
        let low = before == Level::Plenty && after < Level::Plenty && last_topup.is_positive();
        (after < before).then_some(Fall { low, depleted: after == Level::Depleted })
    }
}

impl Balance {
    /// The balance in one word.
    pub fn health(&self) -> Health {
        if self.debt.is_positive() {
            Health::Debt
        } else if !self.available.is_positive() {
            Health::Empty
        } else if is_low(self.available, self.last_topup) {
            Health::Low
        } else {
            Health::Healthy
        }
    }

    /// The available balance as a share of the last top-up, in thousandths from 0 to 1000; none before any top-up.
    pub fn share_of_last_topup(&self) -> Option<u16> {
        let base = i128::from(self.last_topup.0);
        let share = || (i128::from(self.available.0.max(0)) * 1000 / base).min(1000);
        (base > 0).then(|| u16::try_from(share()).expect("at most a thousand"))
    }
}

impl Wallet {
    /// How much can be spent at `at`, as far as somebody is told; meaningful when nothing is due.
    pub(crate) fn level(&self, at: Timestamp) -> Level {
        let available = self.available(at);
        if !available.is_positive() {
            Level::Depleted
        } else if is_low(available, self.last_topup) {
            Level::Low
        } else {
            Level::Plenty
        }
    }

    /// The balance at `now`. What is due at `now` must have been booked on this copy before (see
    /// [`crate::decide::project`]).
    pub fn balance(&self, now: Timestamp) -> Balance {
        let pending = self
            .lots
            .iter()
            .filter(|lot| lot.terms.effective_at > now && !lot.is_expired(now))
            .map(Lot::spendable)
            .sum();
        Balance {
            settled: self.settled,
            held: self.held,
            available: self.available(now),
            pending,
            frozen: self.frozen,
            debt: self.debt,
            last_topup: self.last_topup,
        }
    }
}
