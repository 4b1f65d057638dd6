//! What usage costs under one price version, and why.
//!
//! The whole cost is computed as one exact fraction and rounded once, to the smallest part of the unit, in the
//! direction the price names. Minimum and maximum apply to it, and from what they leave a discount is taken. [`Model::cost`]
//! and [`Model::explain`] are one walk through the arithmetic (`walk`), which tells its lines to who listens: what was
//! charged and what is explained cannot differ. `exact.rs` has the fractions.

mod discount;
mod exact;
#[cfg(test)]
mod tests;

pub use discount::Discount;
pub use exact::Exact;

use crate::amount::{Amount, Decimal, Quantity, Rounding, Scale};
use crate::counter::Period;
use crate::entry::Usage;
use crate::id::PriceId;
use crate::rejection::{Misfit, Rejection};

/// How many tiers a price may have.
pub const TIERS_MAX: usize = 64;

/// So much for every `per` of something.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Rate {
    /// Whole units of the wallet.
    pub rate: Decimal,
    /// For how many; at least 1.
    pub per: i64,
}

/// Charge limits and rounding, after the arithmetic of a model.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Bounds {
    /// At least this much is charged.
    pub minimum: Option<Amount>,
    /// At most this much is charged.
    pub maximum: Option<Amount>,
    /// How the fraction is settled.
    pub rounding: Rounding,
}

/// A range of the quantity with a rate of its own: from behind the tier before to `up_to`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Tier {
    /// The last quantity that belongs to it; none for the last tier, which is open.
    pub up_to: Option<Quantity>,
    /// What the quantity in it costs.
    pub rate: Rate,
    /// What is charged once, beside the rate, when the tier is used.
    pub flat: Amount,
}

/// What a price has to know of what was used before: the tenant's usage of the action in the period of the charge.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Meter {
    /// When counting begins anew.
    pub period: Period,
    /// So much of each period is free; nothing where zero.
    pub included: Quantity,
    /// Whether tiers go on where the charge before ended, and begin anew with the period; else they count the quantity of the
    /// call.
    pub continued: bool,
}

/// What the arithmetic of a price starts from, beside the usage. A charge keeps it, so that what follows from it later (a
/// capture, an explanation) comes to the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Footing {
    /// Where the price is metered, what its counter said before.
    pub used_before: Option<Quantity>,
    /// What is taken off.
    pub discount: Discount,
}

/// The price version that a cost comes from, and what its arithmetic started from: enough to promise the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Priced {
    /// The version.
    pub price: PriceId,
    /// What it started from.
    pub footing: Footing,
}

/// The arithmetic of a price.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Model {
    /// Nothing, whatever the usage.
    Free,
    /// The same for every call; a quantity other than one is refused.
    Flat {
        /// The charge.
        amount: Amount,
    },
    /// In proportion to the quantity.
    PerQuantity {
        /// The rate.
        rate: Rate,
        /// Limits and rounding.
        bounds: Bounds,
    },
    /// In proportion to several measures, each with its own rate; a measure without a rate is refused, a
    /// rate without a measure counts as zero.
    PerDimension {
        /// Rates by measure, sorted by name.
        rates: Vec<(String, Rate)>,
        /// Limits and rounding.
        bounds: Bounds,
    },
    /// Each part of the quantity at the rate of the tier that it lies in. More never costs less, and where no tier has
    /// a flat charge the cost does not jump at a border.
    Graduated {
        /// Ascending; the last is open.
        tiers: Vec<Tier>,
        /// Limits and rounding.
        bounds: Bounds,
    },
    /// The whole quantity at the rate of the tier that it reaches. By nature not monotone: just behind a border the
    /// whole may cost less than just before it.
    Volume {
        /// Ascending; the last is open.
        tiers: Vec<Tier>,
        /// Limits and rounding.
        bounds: Bounds,
    },
    /// So much for every started package.
    Package {
        /// What a package costs.
        amount: Amount,
        /// How many are in one; at least 1.
        per: i64,
        /// Limits; nothing is left to round.
        bounds: Bounds,
    },
    /// One of the above by what was used before in a period. Never within another one.
    Metered {
        /// What is counted.
        meter: Meter,
        /// What is beyond the included quantity costs this.
        model: Box<Model>,
    },
}

/// What a line of the arithmetic is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Part {
    /// The call as such.
    Call,
    /// What is free of the quantity.
    Included,
    /// All of the quantity that is charged for.
    Quantity,
    /// The measure at this place of the usage.
    Dimension(usize),
    /// What lies in the tier at this place of the price.
    Tier(usize),
    /// Packages; the line's quantity counts started ones.
    Packages,
}

/// One line of the arithmetic: quantity × rate ÷ per + flat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Line {
    /// What it is about.
    pub part: Part,
    /// How much of it.
    pub quantity: Quantity,
    /// What it costs in proportion; none where it does not go by a rate.
    pub rate: Option<Rate>,
    /// What it costs beside the rate: once, or for each package.
    pub flat: Amount,
    /// What the line comes to, in smallest parts.
    pub cost: Exact,
}

/// The limit that decided a charge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limit {
    /// It was raised to the minimum.
    Minimum(Amount),
    /// It was cut to the maximum.
    Maximum(Amount),
}

/// How the lines become a charge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// The sum of the lines, in smallest parts.
    pub sum: Exact,
    /// The limit that took its place, if one did.
    pub limit: Option<Limit>,
    /// What was taken off after that.
    pub discount: Discount,
    /// What is left, exactly, in smallest parts.
    pub exact: Exact,
    /// How its fraction was settled; none where neither the model nor a discount leaves one.
    pub rounding: Option<Rounding>,
    /// What is charged.
    pub total: Amount,
}

/// The arithmetic of one charge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explanation {
    /// Line by line; none where nothing is charged for.
    pub lines: Vec<Line>,
    /// What becomes of their sum.
    pub outcome: Outcome,
}

impl Model {
    /// What `usage` costs, in smallest parts of a unit of `scale`.
    ///
    /// # Errors
    /// [`Rejection::UsageInvalid`] when the usage does not fit the model, [`Rejection::AmountOverflow`] when the cost
    /// is beyond what the ledger counts.
    pub fn cost(&self, usage: &Usage, scale: Scale) -> Result<Amount, Rejection> {
        self.cost_on(Footing::default(), usage, scale)
    }

    /// The same on a footing: less a discount, and where so much was used before in the period, at which prices that are not
    /// metered do not look.
    ///
    /// # Errors
    /// Those of [`Model::cost`].
    pub fn cost_on(&self, footing: Footing, usage: &Usage, scale: Scale) -> Result<Amount, Rejection> {
        self.walk(footing, usage, scale, &mut |_| ()).map(|outcome| outcome.total)
    }

    /// What has to be counted for it, if anything.
    pub fn meter(&self) -> Option<&Meter> {
        match self {
            Model::Metered { meter, .. } => Some(meter),
            _ => None,
        }
    }

    /// The same with every step: the total is what [`Model::cost`] answers.
    ///
    /// # Errors
    /// Those of [`Model::cost`].
    pub fn explain(&self, usage: &Usage, scale: Scale) -> Result<Explanation, Rejection> {
        self.explain_on(Footing::default(), usage, scale)
    }

    /// The same on a footing: the total is what [`Model::cost_on`] answers.
    ///
    /// # Errors
    /// Those of [`Model::cost`].
    pub fn explain_on(
        &self,
        footing: Footing,
        usage: &Usage,
        scale: Scale,
    ) -> Result<Explanation, Rejection> {
        let mut lines = Vec::new();
        let outcome = self.walk(footing, usage, scale, &mut |line| lines.push(line))?;
        Ok(Explanation { lines, outcome })
    }

    fn walk(
        &self,
        footing: Footing,
        usage: &Usage,
        scale: Scale,
        tell: &mut dyn FnMut(Line),
    ) -> Result<Outcome, Rejection> {
        let (used, discount) = (footing.used_before.unwrap_or_default(), footing.discount);
        let mut sum = Sum { scale, total: Exact::ZERO, tell: &mut *tell };
        match (self, usage) {
            (_, Usage::Amount(_)) => Err(invalid(Misfit::AmountStated)),
            (Model::Metered { meter, model }, Usage::Quantity(quantity)) => {
                let (left, free) = free_of(meter, model, used, *quantity)?;
                let rest = Quantity(quantity.0 - free.0);
                if free.0 > 0 {
                    sum.add(Part::Included, free, None, Amount::ZERO)?;
                }
                if rest.0 == 0 && left.0 > 0 {
                    // Not even a minimum is charged for what is included, nor for nothing while more would be.
                    return Bounds::default().settle(sum.total, false, discount);
                }
                let beyond = if meter.continued { (used.0 - meter.included.0).max(0) } else { 0 };
                let footing = Footing { used_before: Some(Quantity(beyond)), discount };
                model.walk(footing, &Usage::Quantity(rest), scale, tell)
            }
            (Model::Free, _) => Bounds::default().settle(sum.total, false, discount),
            (Model::Flat { amount }, Usage::Quantity(quantity @ Quantity::ONE)) => {
                sum.add(Part::Call, *quantity, None, *amount)?;
                Bounds::default().settle(sum.total, false, discount)
            }
            (Model::PerQuantity { rate, bounds }, Usage::Quantity(quantity)) => {
                sum.add(Part::Quantity, *quantity, Some(*rate), Amount::ZERO)?;
                bounds.settle(sum.total, true, discount)
            }
            (Model::PerDimension { rates, bounds }, Usage::Dimensions(dimensions)) => {
                for (place, (name, quantity)) in dimensions.iter().enumerate() {
                    let (_, rate) = rates
                        .iter()
                        .find(|(known, _)| known == name)
                        .ok_or_else(|| invalid(Misfit::UnknownDimension(name.clone())))?;
                    sum.add(Part::Dimension(place), *quantity, Some(*rate), Amount::ZERO)?;
                }
                bounds.settle(sum.total, true, discount)
            }
            (Model::Graduated { tiers, bounds }, Usage::Quantity(quantity)) => {
                sum.graduated(tiers, used, *quantity)?;
                bounds.settle(sum.total, true, discount)
            }
            (Model::Volume { tiers, bounds }, Usage::Quantity(quantity)) => {
                sum.volume(tiers, used, *quantity)?;
                bounds.settle(sum.total, true, discount)
            }
            (Model::Package { amount, per, bounds }, Usage::Quantity(quantity)) => {
                sum.packages(*amount, *per, *quantity)?;
                bounds.settle(sum.total, false, discount)
            }
            (Model::Flat { .. }, Usage::Quantity(_)) => Err(invalid(Misfit::OneOnly)),
            (Model::PerDimension { .. }, Usage::Quantity(_)) => Err(invalid(Misfit::DimensionsExpected)),
            (_, Usage::Dimensions(_)) => Err(invalid(Misfit::NoDimensions)),
        }
    }
}

/// How much of the included quantity is left, and how much of `quantity` it makes free.
fn free_of(
    meter: &Meter,
    model: &Model,
    used: Quantity,
    quantity: Quantity,
) -> Result<(Quantity, Quantity), Rejection> {
    let is_flat = matches!(model, Model::Flat { .. });
    if is_flat && quantity != Quantity::ONE {
        return Err(invalid(Misfit::OneOnly));
    }
    refuse_negative(quantity)?;
    used.0.checked_add(quantity.0).ok_or(Rejection::AmountOverflow)?;
    let left = Quantity((meter.included.0 - used.0.max(0)).max(0));
    // A flat price is for one, of which there is no half: the whole call is included, or nothing of it.
    let free = if is_flat && left < quantity { Quantity::default() } else { left.min(quantity) };
    Ok((left, free))
}

fn invalid(misfit: Misfit) -> Rejection {
    Rejection::UsageInvalid { misfit }
}

impl Bounds {
    /// Applies the limits to the sum, takes the discount off and rounds once. `fraction`: whether the model leaves one.
    fn settle(&self, sum: Exact, fraction: bool, discount: Discount) -> Result<Outcome, Rejection> {
        // The maximum has the last word, should a price have them the wrong way round.
        let limit = match (self.minimum, self.maximum) {
            (_, Some(maximum)) if sum.is_more_than(maximum) => Some(Limit::Maximum(maximum)),
            (Some(minimum), maximum) if sum.is_less_than(minimum) => {
                let raised = maximum.map_or(minimum, |maximum| minimum.least(maximum));
                Some(if raised < minimum { Limit::Maximum(raised) } else { Limit::Minimum(raised) })
            }
            _ => None,
        };
        let list = match limit {
            None => sum,
            Some(Limit::Minimum(amount) | Limit::Maximum(amount)) => Exact::whole(amount),
        };
        let exact = list.less(discount).ok_or(Rejection::AmountOverflow)?;
        let total = Amount(exact.round(self.rounding).ok_or(Rejection::AmountOverflow)?);
        if total > Amount::MAX {
            return Err(Rejection::AmountOverflow);
        }
        let rounding = (fraction || discount != Discount::NONE).then_some(self.rounding);
        Ok(Outcome { sum, limit, discount, exact, rounding, total })
    }
}

/// The sum so far, and who hears of its lines.
struct Sum<'t> {
    scale: Scale,
    total: Exact,
    tell: &'t mut dyn FnMut(Line),
}

impl Sum<'_> {
    fn add(
        &mut self,
        part: Part,
        quantity: Quantity,
        rate: Option<Rate>,
        flat: Amount,
    ) -> Result<(), Rejection> {
        if quantity.0 < 0 {
            return Err(Rejection::AmountNotPositive);
        }
        let proportional = rate.map_or(Exact::ZERO, |rate| Exact::of(rate, quantity, self.scale));
        let cost = proportional.plus(Exact::whole(flat)).ok_or(Rejection::AmountOverflow)?;
        self.book(Line { part, quantity, rate, flat, cost })
    }

    fn book(&mut self, line: Line) -> Result<(), Rejection> {
        self.total = self.total.plus(line.cost).ok_or(Rejection::AmountOverflow)?;
        (self.tell)(line);
        Ok(())
    }

    /// From behind `used` to the end of `quantity`. Nothing enters no tier, so nothing costs nothing; a tier that was entered
    /// before has had its flat charge.
    fn graduated(&mut self, tiers: &[Tier], used: Quantity, quantity: Quantity) -> Result<(), Rejection> {
        let end = reached(used, quantity)?;
        let mut below = 0;
        for (place, tier) in tiers.iter().enumerate() {
            if end.0 <= below {
                break;
            }
            let top = tier.up_to.map_or(end, |up_to| up_to.min(end));
            let part = top.0 - below.max(used.0);
            if part > 0 {
                let flat = if used.0 <= below { tier.flat } else { Amount::ZERO };
                self.add(Part::Tier(place), Quantity(part), Some(tier.rate), flat)?;
            }
            below = top.0;
        }
        Ok(())
    }

    /// All of `quantity` in the tier that the sum with `used` reaches. What was charged before stays as it was.
    fn volume(&mut self, tiers: &[Tier], used: Quantity, quantity: Quantity) -> Result<(), Rejection> {
        let end = reached(used, quantity)?;
        if quantity.0 == 0 {
            return Ok(());
        }
        let tier_of = |quantity: Quantity| {
            let reached = tiers.iter().position(|tier| tier.up_to.is_none_or(|up_to| quantity <= up_to));
            reached.expect("the last tier of a price is open")
        };
        let place = tier_of(end);
        let entered = used.0 > 0 && tier_of(used) == place;
        let flat = if entered { Amount::ZERO } else { tiers[place].flat };
        self.add(Part::Tier(place), quantity, Some(tiers[place].rate), flat)
    }

    fn packages(&mut self, amount: Amount, per: i64, quantity: Quantity) -> Result<(), Rejection> {
        refuse_negative(quantity)?;
        assert!(
            amount >= Amount::ZERO && per >= 1,
            "the catalogue takes no negative amount and no empty package"
        );
        let size = i128::from(per) * i128::from(Quantity::ONE.0);
        let started = i128::from(quantity.0) / size + i128::from(i128::from(quantity.0) % size > 0);
        // No more packages than wholes of the quantity, rounded up: they fit.
        let count = i64::try_from(started).expect("fewer packages than parts of a quantity");
        let cost = Exact::product(count, amount);
        // The last package may end behind the largest quantity there is.
        let quantity = Quantity(count.saturating_mul(Quantity::ONE.0));
        self.book(Line { part: Part::Packages, quantity, rate: None, flat: amount, cost })
    }
}

/// Where usage ends that begins behind `used`.
fn reached(used: Quantity, quantity: Quantity) -> Result<Quantity, Rejection> {
    refuse_negative(quantity)?;
    used.0.checked_add(quantity.0).map(Quantity).ok_or(Rejection::AmountOverflow)
}

fn refuse_negative(quantity: Quantity) -> Result<(), Rejection> {
    if quantity.0 < 0 { Err(Rejection::AmountNotPositive) } else { Ok(()) }
}
