//! Limits and metered prices in the model: every use is a record, and what a period has seen is added up anew each time.

use super::{Answer, Fate, Model};
use purser_core::UserNo;
use purser_core::catalogue::Price;
use purser_core::counter::Period;
use purser_core::entry::Usage;
use purser_core::limit::Whose;
use purser_core::pricing::Model as Arithmetic;

const DAY: i64 = 86_400_000_000;

/// One debit or hold, as it counts.
#[derive(Clone, Debug)]
pub struct Use {
    pub id: u128,
    pub wallet: usize,
    pub action: u64,
    pub at: i64,
    pub amount: i64,
    /// Counted only where the price was metered.
    pub quantity: Option<i64>,
    /// What was given back, and when.
    pub back: Vec<(i64, i64)>,
    /// Still only held.
    pub is_hold: bool,
    /// Given up, or run out: counts for nothing.
    pub gone: bool,
}

/// First and next first day of the month that a day lies in, by counting months from 1970.
fn month(day: i64) -> (i64, i64) {
    let (mut first, mut year, mut month) = (0, 1970, 0);
    loop {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let length = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month];
        if day < first + length {
            return (first, first + length);
        }
        first += length;
        month += 1;
        if month == 12 {
            (year, month) = (year + 1, 0);
        }
    }
}

fn same_period(period: Period, one: i64, other: i64) -> bool {
    let (one, other) = (one / DAY, other / DAY);
    match period {
        Period::Day => one == other,
        // 5 January 1970 was a Monday.
        Period::Week => (one - 4).div_euclid(7) == (other - 4).div_euclid(7),
        Period::Month => month(one) == month(other),
    }
}

impl Model {
    /// What of a use counts in the period of `now`.
    fn counts(&self, one: &Use, period: Period, now: i64) -> i64 {
        let back = one.back.iter().filter(|(at, _)| same_period(period, *at, one.at));
        if !one.gone && same_period(period, one.at, now) {
            one.amount - back.map(|(_, amount)| amount).sum::<i64>()
        } else {
            0
        }
    }

    /// Whether a hold of this use ran out and is not counted any more once its wallet is written.
    fn ran_out(&self, one: &Use) -> bool {
        one.is_hold && self.accounts[one.wallet].holds[&one.id].fate == Fate::Expired
    }

    /// Refuses what would pass a limit of the user, for work in the period of `at` paid by this wallet.
    pub(super) fn within_limits(&self, wallet: usize, action: u64, more: i64, at: i64) -> Answer {
        if more <= 0 {
            return Ok(());
        }
        for limit in self.catalogue.limits(self.tenant) {
            let whose = matches!(limit.whose, Whose::Everybody | Whose::Each | Whose::User(UserNo(42)));
            let of_action = |action: u64| limit.action.is_none_or(|only| only == action);
            if !whose || !of_action(action) || limit.unit != self.accounts[wallet].unit {
                continue;
            }
            let used: i64 = self
                .uses
                .iter()
                .filter(|one| of_action(one.action) && self.accounts[one.wallet].unit == limit.unit)
                .filter(|one| !(one.wallet == wallet && self.ran_out(one)))
                .map(|one| self.counts(one, limit.period, at))
                .sum();
            if limit.enforced && used + more > limit.amount.0 {
                return Err("limit_reached");
            }
        }
        Ok(())
    }

    /// What was used of an action in the period of `now`, where its price asks for it.
    pub(super) fn used_before(&self, wallet: usize, price: &Price, action: u64, now: i64) -> i64 {
        let Arithmetic::Metered { meter, .. } = &price.model else { return 0 };
        let of_action = self.uses.iter().filter(|one| one.action == action);
        let in_period = of_action.filter(|one| {
            let ran_out = one.wallet == wallet && self.ran_out(one);
            !one.gone && !ran_out && same_period(meter.period, one.at, now)
        });
        in_period
            .map(|one| {
                let given = one.back.iter().filter(|(at, _)| same_period(meter.period, *at, one.at));
                let all = one.amount > 0 && given.map(|(_, amount)| amount).sum::<i64>() == one.amount;
                if all { 0 } else { one.quantity.unwrap_or(0) }
            })
            .sum()
    }

    /// Writes down a debit or a hold.
    pub(super) fn used(&mut self, one: Use) {
        self.uses.push(one);
    }

    /// The quantity of a usage, counted where its price is metered.
    pub(super) fn quantity(&self, price: u128, action: u64, usage: &Usage) -> Option<i64> {
        let action = self.catalogue.action(action)?;
        let price = action.prices.iter().find(|known| known.id.0 == price)?;
        match (&price.model, usage) {
            (Arithmetic::Metered { .. }, Usage::Quantity(quantity)) => Some(quantity.0),
            (Arithmetic::Metered { .. }, _) => Some(0),
            _ => None,
        }
    }

    /// What a hold is counted with now, or the debit that it became; none where nobody has the model count.
    pub(super) fn use_of(&mut self, id: u128) -> Option<&mut Use> {
        self.uses.iter_mut().find(|one| one.id == id)
    }

    /// Holds of a wallet that ran out count for nothing from here on.
    pub(super) fn forget_expired(&mut self, wallet: usize) {
        let gone: Vec<u128> = self
            .uses
            .iter()
            .filter(|one| one.wallet == wallet && self.ran_out(one))
            .map(|one| one.id)
            .collect();
        for id in gone {
            self.use_of(id).expect("just listed").gone = true;
        }
    }
}
