//! What is taken off the price of all.

use crate::amount::{Amount, Rounding, divide};

/// The whole of a price, in the hundredths of a percent that a discount counts.
const WHOLE: u16 = 10_000;

/// A part of a charge that is not charged, in hundredths of a percent.
///
/// It is taken from what the price says, after minimum and maximum, before the one rounding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Discount(u16);

impl Discount {
    /// Nothing is taken off.
    pub const NONE: Discount = Discount(0);
    /// Digits behind the point of a discount in percent.
    pub const DECIMALS: u8 = 2;

    /// So many hundredths of a percent; none for more than all of it.
    pub fn new(basis_points: u16) -> Option<Discount> {
        (basis_points <= WHOLE).then_some(Discount(basis_points))
    }

    /// The same back.
    pub fn basis_points(self) -> u16 {
        self.0
    }

    /// What an amount is with it taken off, rounded up.
    pub fn off(self, amount: Amount) -> Amount {
        let (left, whole) = self.left();
        let amount = divide(i128::from(amount.0) * left, whole, Rounding::Up);
        Amount(amount.expect("a part of an amount is one"))
    }

    /// What an amount may have been before it was taken off, rounded up; none where that was all of it, or cannot be counted.
    pub fn undone(self, amount: Amount) -> Option<Amount> {
        let (left, whole) = self.left();
        (left > 0).then(|| divide(i128::from(amount.0) * whole, left, Rounding::Up)).flatten().map(Amount)
    }

    /// What is left of a charge, as a fraction.
    pub(super) fn left(self) -> (i128, i128) {
        (i128::from(WHOLE - self.0), i128::from(WHOLE))
    }
}

#[cfg(test)]
mod tests {
    use super::Discount;
    use crate::amount::{Amount, Decimal, Quantity, Rounding, Scale};
    use crate::counter::Period;
    use crate::entry::Usage;
    use crate::pricing::{Bounds, Footing, Limit, Meter, Model, Rate, Tier};
    use proptest::prelude::*;

    fn footing(points: u16) -> Footing {
        Footing { discount: Discount::new(points).expect("at most all of it"), ..Footing::default() }
    }

    fn each(rate: i64, bounds: Bounds) -> Model {
        Model::PerQuantity { rate: Rate { rate: Decimal(rate), per: 1 }, bounds }
    }

    /// In units of two decimals; rates in millionths of millionths, as decimals are kept.
    #[test]
    fn discounts_follow_the_hand_computed_table() {
        const ONE: i64 = 1_000_000_000_000;
        let cents = Scale::new(2).expect("a scale");
        let bounds = |rounding| Bounds { rounding, ..Bounds::default() };
        let (up, even, down) = (bounds(Rounding::Up), bounds(Rounding::HalfEven), bounds(Rounding::Down));
        let at_least = Bounds { minimum: Some(Amount(500)), ..up };
        let at_most = Bounds { maximum: Some(Amount(500)), ..down };
        let flat = Model::Flat { amount: Amount(999) };
        let package = Model::Package { amount: Amount(333), per: 10, bounds: even };
        let tiers = vec![
            Tier {
                up_to: Some(Quantity(1_000_000)),
                rate: Rate { rate: Decimal(ONE), per: 1 },
                flat: Amount(0),
            },
            Tier { up_to: None, rate: Rate { rate: Decimal(ONE / 2), per: 1 }, flat: Amount(7) },
        ];
        let graduated = Model::Graduated { tiers, bounds: up };
        let meter = Meter { period: Period::Day, included: Quantity(2_000_000), continued: false };
        let metered = Model::Metered { meter, model: Box::new(each(ONE, up)) };
        // (model, quantity in millionths, hundredths of a percent, cost in hundredths)
        let table = [
            (each(ONE, up), 10_000_000, 0, 1_000),
            (each(ONE, up), 10_000_000, 2_500, 750),
            (each(ONE, up), 10_000_000, 10_000, 0),
            // 0.33 less 12.5 % is 0.28875.
            (each(ONE / 100 * 33, up), 1_000_000, 1_250, 29),
            (each(ONE / 100 * 33, even), 1_000_000, 1_250, 29),
            (each(ONE / 100 * 33, down), 1_000_000, 1_250, 28),
            // 0.05 less half is between 0.02 and 0.03.
            (each(ONE / 20, even), 1_000_000, 5_000, 2),
            // 0.333 less 10 % is 0.2997: rounded once, not to 0.34 first, of which 0.306 would be left.
            (each(ONE / 1_000 * 333, up), 1_000_000, 1_000, 30),
            // From the minimum, and from the maximum.
            (each(ONE, at_least), 1_000_000, 1_000, 450),
            (each(ONE, at_most), 9_000_000, 3_333, 333),
            (flat.clone(), 1_000_000, 1_000, 900),
            (flat, 1_000_000, 1, 999),
            (package, 11_000_000, 5_000, 333),
            // 1 + 0.5 × 2 + 0.07 = 2.07, less 1 % 2.0493.
            (graduated, 3_000_000, 100, 205),
            (metered.clone(), 2_000_000, 5_000, 0),
            (metered, 5_000_000, 5_000, 150),
            (Model::Free, 5_000_000, 5_000, 0),
        ];
        for (model, quantity, points, cost) in table {
            let charged = model.cost_on(footing(points), &Usage::Quantity(Quantity(quantity)), cents);
            assert_eq!(charged, Ok(Amount(cost)), "{model:?} {quantity} {points}");
        }
        let explained =
            each(ONE, at_least).explain_on(footing(1_000), &Usage::Quantity(Quantity::ONE), cents);
        let outcome = explained.expect("in range").outcome;
        assert_eq!(outcome.limit, Some(Limit::Minimum(Amount(500))));
        assert_eq!((outcome.sum.render(cents), outcome.exact.render(cents)), ("1".into(), "4.5".into()));
        assert_eq!((Discount::new(10_001), Discount::new(10_000).is_some()), (None, true));
    }

    #[test]
    fn what_is_taken_off_an_amount_is_added_again() {
        let off = |points| Discount::new(points).expect("at most all of it");
        assert_eq!((off(2_500).off(Amount(101)), off(10_000).off(Amount(101))), (Amount(76), Amount(0)));
        assert_eq!(off(2_500).undone(Amount(76)), Some(Amount(102)));
        assert_eq!((off(0).undone(Amount(7)), off(10_000).undone(Amount(0))), (Some(Amount(7)), None));
        assert_eq!(off(9_999).undone(Amount::MAX), None);
    }

    proptest! {
        /// More is never taken off than was asked for, never less than a smallest part short of it, and a larger discount never
        /// costs more.
        #[test]
        fn a_discount_takes_its_part_to_less_than_a_smallest_part(
            rate in 0_i64..9_000_000_000_000, quantity in 0_i64..50_000_000, points in 0_u16..=10_000, more in 0_u16..=10_000,
            minimum in prop::option::of(0_i64..400), maximum in prop::option::of(400_i64..900), decimals in 0_u8..=6,
            rounding in prop::sample::select(vec![Rounding::Up, Rounding::HalfEven, Rounding::Down]),
        ) {
            let bounds = Bounds { minimum: minimum.map(Amount), maximum: maximum.map(Amount), rounding };
            let (model, usage) = (each(rate, bounds), Usage::Quantity(Quantity(quantity)));
            let scale = Scale::new(decimals).expect("a scale");
            let cost = |points| model.cost_on(footing(points), &usage, scale).expect("in range").0;
            // rate and quantity in millionths of millionths and millionths: so many parts are one smallest part.
            let part = 10_i128.pow(18 - u32::from(decimals));
            let list = i128::from(rate) * i128::from(quantity);
            let list = minimum.map_or(list, |minimum| list.max(i128::from(minimum) * part));
            let list = maximum.map_or(list, |maximum| list.min(i128::from(maximum) * part));
            let (left, whole) = (list * i128::from(10_000 - points), part * 10_000);
            let apart = i128::from(cost(points)) * whole - left;
            let allowed = match rounding {
                Rounding::Up => 0 <= apart && apart < whole,
                Rounding::Down => -whole < apart && apart <= 0,
                Rounding::HalfEven => apart.abs() * 2 <= whole,
            };
            prop_assert!(allowed, "{} for {list} parts of {part}", cost(points));
            prop_assert!(cost(points.max(more)) <= cost(points.min(more)));
        }
    }
}
