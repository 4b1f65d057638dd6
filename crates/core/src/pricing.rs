//! What usage costs under one price version.
//!
//! The whole cost is computed as one exact fraction and rounded once, to the smallest part of the unit, in the
//! direction the price names. Minimum and maximum apply after rounding.

use crate::amount::{Amount, Decimal, Quantity, Rounding, Scale, divide};
use crate::entry::Usage;
use crate::rejection::{Misfit, Rejection};

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

/// The arithmetic of a price. Further models (tiers, packages, included quantities) are further variants.
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
}

impl Model {
    /// What `usage` costs, in smallest parts of a unit of `scale`.
    ///
    /// # Errors
    /// [`Rejection::UsageInvalid`] when the usage does not fit the model, [`Rejection::AmountOverflow`] when the cost
    /// is beyond what the ledger counts.
    pub fn cost(&self, usage: &Usage, scale: Scale) -> Result<Amount, Rejection> {
        match (self, usage) {
            (_, Usage::Amount(_)) => Err(invalid(Misfit::AmountStated)),
            (Model::Free, _) => Ok(Amount::ZERO),
            (Model::Flat { amount }, Usage::Quantity(Quantity::ONE)) => Ok(*amount),
            (Model::PerQuantity { rate, bounds }, Usage::Quantity(quantity)) => {
                let mut sum = Fraction::ZERO;
                sum.add(*rate, *quantity, scale)?;
                bounds.apply(&sum)
            }
            (Model::PerDimension { rates, bounds }, Usage::Dimensions(dimensions)) => {
                let mut sum = Fraction::ZERO;
                for (name, quantity) in dimensions {
                    let (_, rate) = rates
                        .iter()
                        .find(|(known, _)| known == name)
                        .ok_or_else(|| invalid(Misfit::UnknownDimension(name.clone())))?;
                    sum.add(*rate, *quantity, scale)?;
                }
                bounds.apply(&sum)
            }
            (Model::Flat { .. }, Usage::Quantity(_)) => Err(invalid(Misfit::OneOnly)),
            (Model::Flat { .. } | Model::PerQuantity { .. }, Usage::Dimensions(_)) => {
                Err(invalid(Misfit::NoDimensions))
            }
            (Model::PerDimension { .. }, Usage::Quantity(_)) => Err(invalid(Misfit::DimensionsExpected)),
        }
    }
}

fn invalid(misfit: Misfit) -> Rejection {
    Rejection::UsageInvalid { misfit }
}

impl Bounds {
    fn apply(&self, sum: &Fraction) -> Result<Amount, Rejection> {
        let rounded =
            divide(sum.numerator, sum.denominator, self.rounding).ok_or(Rejection::AmountOverflow)?;
        let raised = self.minimum.map_or(rounded, |minimum| rounded.max(minimum.0));
        let bounded = Amount(self.maximum.map_or(raised, |maximum| raised.min(maximum.0)));
        if bounded > Amount::MAX { Err(Rejection::AmountOverflow) } else { Ok(bounded) }
    }
}

/// An exact sum of rates times quantities, in smallest parts of the unit.
struct Fraction {
    numerator: i128,
    denominator: i128,
}

impl Fraction {
    const ZERO: Fraction = Fraction { numerator: 0, denominator: 1 };

    fn add(&mut self, rate: Rate, quantity: Quantity, scale: Scale) -> Result<(), Rejection> {
        assert!(rate.rate.0 >= 0 && rate.per >= 1, "the catalogue takes no negative rate and no empty `per`");
        if quantity.0 < 0 {
            return Err(Rejection::AmountNotPositive);
        }
        // rate / 10^12 × quantity / 10^6 ÷ per × 10^scale; reduced, so that sums of ordinary prices stay far from i128.
        let numerator = i128::from(rate.rate.0) * i128::from(quantity.0);
        let denominator = i128::from(rate.per)
            * 10_i128.pow(u32::from(Decimal::DECIMALS + Quantity::DECIMALS - scale.decimals()));
        let shared = gcd(numerator, denominator);
        let (numerator, denominator) = (numerator / shared, denominator / shared);
        let common = self.denominator / gcd(self.denominator, denominator);
        let sum = || {
            let denominator_sum = common.checked_mul(denominator)?;
            let left = self.numerator.checked_mul(denominator_sum / self.denominator)?;
            let right = numerator.checked_mul(common)?;
            Some(Fraction { numerator: left.checked_add(right)?, denominator: denominator_sum })
        };
        *self = sum().ok_or(Rejection::AmountOverflow)?;
        Ok(())
    }
}

fn gcd(left: i128, right: i128) -> i128 {
    if right == 0 { left.max(1) } else { gcd(right, left % right) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rate(text: &str, per: i64) -> Rate {
        Rate { rate: Decimal(crate::amount::parse_decimal(text, Decimal::DECIMALS).expect("a rate")), per }
    }

    fn tokens(input: i64, output: i64) -> Usage {
        Usage::Dimensions(vec![
            ("input_tokens".into(), Quantity(input * 1_000_000)),
            ("output_tokens".into(), Quantity(output * 1_000_000)),
        ])
    }

    fn per_million(bounds: Bounds) -> Model {
        Model::PerDimension {
            rates: vec![
                ("input_tokens".into(), rate("3", 1_000_000)),
                ("output_tokens".into(), rate("15", 1_000_000)),
            ],
            bounds,
        }
    }

    #[test]
    fn costs_follow_the_hand_computed_table() {
        let credit = Scale::MAX;
        let whole = Scale::new(0).expect("a scale");
        let up = Bounds::default();
        let down = Bounds { rounding: Rounding::Down, ..up };
        let half = Bounds { rounding: Rounding::HalfEven, ..up };
        let quantity = |text: &str, per, bounds| Model::PerQuantity { rate: rate(text, per), bounds };
        let of = |count: i64| Usage::Quantity(Quantity(count));
        // (model, usage, scale, cost in smallest parts)
        let table = [
            (Model::Free, of(7_000_000), credit, 0),
            (Model::Flat { amount: Amount(5_000_000) }, of(1_000_000), credit, 5_000_000),
            (quantity("0.5", 1, up), of(3_000_000), credit, 1_500_000),
            (quantity("0.5", 1, up), of(3_000_000), whole, 2),
            (quantity("0.5", 1, down), of(3_000_000), whole, 1),
            (quantity("0.5", 1, half), of(3_000_000), whole, 2),
            (quantity("0.5", 1, half), of(5_000_000), whole, 2),
            (quantity("1", 3, up), of(1_000_000), credit, 333_334),
            (quantity("0.000000000001", 1, up), of(1), credit, 1),
            (quantity("2", 1, Bounds { minimum: Some(Amount(9)), ..up }), of(0), whole, 9),
            (quantity("2", 1, Bounds { maximum: Some(Amount(9)), ..up }), of(5_000_000), whole, 9),
            (per_million(up), tokens(4_808, 10), credit, 14_574),
            (per_million(up), tokens(0, 1), credit, 15),
            (per_million(down), tokens(0, 1), Scale::new(4).expect("a scale"), 0),
        ];
        for (model, usage, scale, cost) in table {
            assert_eq!(model.cost(&usage, scale), Ok(Amount(cost)), "{model:?} {usage:?}");
        }
    }

    #[test]
    fn usage_that_does_not_fit_the_model_is_refused_by_name() {
        let flat = Model::Flat { amount: Amount(1) };
        let per_dimension = per_million(Bounds::default());
        let unknown = Usage::Dimensions(vec![("seconds".into(), Quantity::ONE)]);
        let table = [
            (&flat, Usage::Quantity(Quantity(2_000_000)), Misfit::OneOnly),
            (&flat, tokens(1, 1), Misfit::NoDimensions),
            (&flat, Usage::Amount(Amount(1)), Misfit::AmountStated),
            (&per_dimension, Usage::Quantity(Quantity::ONE), Misfit::DimensionsExpected),
            (&per_dimension, unknown, Misfit::UnknownDimension("seconds".into())),
        ];
        for (model, usage, misfit) in table {
            assert_eq!(model.cost(&usage, Scale::MAX), Err(invalid(misfit)), "{usage:?}");
        }
        let huge = Model::PerQuantity { rate: rate("9000000", 1), bounds: Bounds::default() };
        assert_eq!(
            huge.cost(&Usage::Quantity(Quantity(i64::MAX)), Scale::MAX),
            Err(Rejection::AmountOverflow)
        );
        assert_eq!(huge.cost(&Usage::Quantity(Quantity(-1)), Scale::MAX), Err(Rejection::AmountNotPositive));
    }

    proptest! {
        #[test]
        fn more_tokens_never_cost_less_and_rounding_loses_less_than_one_part(
            input in 0_i64..10_000_000, output in 0_i64..1_000_000, more in 0_i64..1_000
        ) {
            let up = per_million(Bounds::default());
            let down = per_million(Bounds { rounding: Rounding::Down, ..Bounds::default() });
            let (dear, cheap) = (up.cost(&tokens(input, output), Scale::MAX), down.cost(&tokens(input, output), Scale::MAX));
            let (dear, cheap) = (dear.expect("in range").0, cheap.expect("in range").0);
            prop_assert!((0..=1).contains(&(dear - cheap)));
            prop_assert!(up.cost(&tokens(input + more, output), Scale::MAX).expect("in range").0 >= dear);
            // Independent arithmetic: whole micro-credits are 3 and 15 a token here.
            prop_assert_eq!(dear, input * 3 + output * 15);
        }
    }
}
