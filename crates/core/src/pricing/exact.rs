//! Exact fractions of the smallest part of a unit, never negative and always reduced.

use super::{Discount, Rate};
use crate::amount::{Amount, Decimal, Quantity, Rounding, Scale, divide, render_decimal};

/// A cost before it is rounded, in smallest parts of its unit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Exact {
    numerator: i128,
    denominator: i128,
}

impl Exact {
    /// Nothing.
    pub const ZERO: Exact = Exact { numerator: 0, denominator: 1 };

    /// So many smallest parts.
    pub(super) fn whole(amount: Amount) -> Exact {
        assert!(amount >= Amount::ZERO, "the catalogue takes no negative amount");
        Exact { numerator: i128::from(amount.0), denominator: 1 }
    }

    /// So many times so many smallest parts.
    pub(super) fn product(count: i64, amount: Amount) -> Exact {
        assert!(count >= 0 && amount >= Amount::ZERO, "the catalogue takes no negative amount");
        Exact { numerator: i128::from(count) * i128::from(amount.0), denominator: 1 }
    }

    /// What `quantity` costs at `rate`, in a unit of `scale`. The quantity is not negative.
    pub(super) fn of(rate: Rate, quantity: Quantity, scale: Scale) -> Exact {
        assert!(rate.rate.0 >= 0 && rate.per >= 1, "the catalogue takes no negative rate and no empty `per`");
        // rate / 10^12 × quantity / 10^6 ÷ per × 10^scale; reduced, so that sums of ordinary prices stay far from i128.
        let numerator = i128::from(rate.rate.0) * i128::from(quantity.0);
        let denominator = i128::from(rate.per)
            * 10_i128.pow(u32::from(Decimal::DECIMALS + Quantity::DECIMALS - scale.decimals()));
        let shared = gcd(numerator, denominator);
        Exact { numerator: numerator / shared, denominator: denominator / shared }
    }

    /// The sum; none where it leaves what can be counted.
    pub fn plus(self, other: Exact) -> Option<Exact> {
        let common = self.denominator / gcd(self.denominator, other.denominator);
        let denominator = common.checked_mul(other.denominator)?;
        let left = self.numerator.checked_mul(denominator / self.denominator)?;
        let right = other.numerator.checked_mul(common)?;
        let numerator = left.checked_add(right)?;
        let shared = gcd(numerator, denominator);
        Some(Exact { numerator: numerator / shared, denominator: denominator / shared })
    }

    /// What a discount leaves of it; none where that cannot be counted.
    pub(super) fn less(self, discount: Discount) -> Option<Exact> {
        if discount == Discount::NONE {
            return Some(self);
        }
        let (kept, whole) = discount.left();
        let (above, below) = (gcd(self.numerator, whole), gcd(kept, self.denominator));
        let numerator = (self.numerator / above).checked_mul(kept / below)?;
        let denominator = (self.denominator / below).checked_mul(whole / above)?;
        let shared = gcd(numerator, denominator);
        Some(Exact { numerator: numerator / shared, denominator: denominator / shared })
    }

    /// Whether it is more than so many smallest parts.
    pub(super) fn is_more_than(self, amount: Amount) -> bool {
        let (quotient, rest) = (self.numerator / self.denominator, self.numerator % self.denominator);
        quotient > i128::from(amount.0) || (quotient == i128::from(amount.0) && rest > 0)
    }

    /// Whether it is less than so many smallest parts.
    pub(super) fn is_less_than(self, amount: Amount) -> bool {
        self.numerator / self.denominator < i128::from(amount.0)
    }

    /// In whole smallest parts; none where that is more than can be counted.
    pub fn round(self, rounding: Rounding) -> Option<i64> {
        divide(self.numerator, self.denominator, rounding)
    }

    /// As text in whole units of `scale`: a decimal where it has an end (`0.125`), else a reduced fraction (`1/3`).
    pub fn render(self, scale: Scale) -> String {
        let factor = i128::from(scale.factor());
        let shared = gcd(self.numerator, factor);
        let numerator = self.numerator / shared;
        let Some(denominator) = self.denominator.checked_mul(factor / shared) else {
            // Zeros behind the text multiply where the number has no room; the fraction is then not reduced.
            let zeros = "0".repeat(usize::from(scale.decimals()));
            return format!("{}/{}{zeros}", self.numerator, self.denominator);
        };
        let mut rest = denominator;
        let mut count = |prime: i128| {
            let mut times = 0_u32;
            while rest % prime == 0 {
                rest /= prime;
                times += 1;
            }
            times
        };
        let decimals = count(2).max(count(5));
        let scaled = (rest == 1)
            .then(|| 10_i128.checked_pow(decimals))
            .flatten()
            .and_then(|power| numerator.checked_mul(power / denominator))
            .and_then(|value| i64::try_from(value).ok());
        match (scaled, u8::try_from(decimals)) {
            (Some(value), Ok(decimals)) if decimals <= 19 => render_decimal(value, decimals),
            _ if denominator == 1 => numerator.to_string(),
            _ => format!("{numerator}/{denominator}"),
        }
    }
}

fn gcd(left: i128, right: i128) -> i128 {
    if right == 0 { left.max(1) } else { gcd(right, left % right) }
}
