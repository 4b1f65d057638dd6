//! What usage costs, by schoolbook fractions: one common denominator, the limits, the discount, one rounding.

use super::{Code, Model};
use purser_core::catalogue::Price;
use purser_core::entry::Usage;
use purser_core::pricing::{Bounds, Model as Arithmetic, Rate, Tier};
use purser_core::{Decimal, Quantity, Rounding};

impl Model {
    /// The cost under one price version.
    pub fn cost(&self, price: &Price, usage: &Usage, used: i64, less: u16) -> Result<i64, Code> {
        let scale = self.catalogue.unit(&price.unit).expect("prices are in known units").scale.decimals();
        let Arithmetic::Metered { meter, model } = &price.model else {
            return cost_beyond(&price.model, usage, 0, (scale, less));
        };
        let Usage::Quantity(quantity) = usage else { return Err("usage_invalid") };
        let included = meter.included.0;
        let charged = (used + quantity.0 - included).max(0).min(quantity.0);
        if charged == 0 && used < included {
            return Ok(0);
        }
        let used = if meter.continued { (used - included).max(0) } else { 0 };
        cost_beyond(model, &Usage::Quantity(Quantity(charged)), used, (scale, less))
    }
}

/// The cost where tiers begin behind what was `used`.
fn cost_beyond(model: &Arithmetic, usage: &Usage, used: i64, (scale, less): (u8, u16)) -> Result<i64, Code> {
    match (model, usage) {
        (Arithmetic::Free, Usage::Quantity(_) | Usage::Dimensions(_)) => Ok(0),
        (Arithmetic::Flat { amount }, Usage::Quantity(quantity)) if *quantity == Quantity::ONE => {
            Ok(settle(&[once(amount.0, scale)], &Bounds::default(), scale, less))
        }
        (Arithmetic::PerQuantity { rate, bounds }, Usage::Quantity(quantity)) => {
            Ok(settle(&[(*rate, quantity.0)], bounds, scale, less))
        }
        (Arithmetic::PerDimension { rates, bounds }, Usage::Dimensions(measures)) => {
            let mut parts = Vec::new();
            for (name, quantity) in measures {
                let known = rates.iter().find(|(rated, _)| rated == name);
                parts.push((known.ok_or("usage_invalid")?.1, quantity.0));
            }
            Ok(settle(&parts, bounds, scale, less))
        }
        (Arithmetic::Graduated { tiers, bounds }, Usage::Quantity(quantity)) => {
            let mut parts = Vec::new();
            for (place, tier) in tiers.iter().enumerate() {
                let from = if place == 0 { 0 } else { end(&tiers[place - 1]) };
                let inside = |upto: i64| (upto.min(end(tier)) - from).max(0);
                let (before, after) = (inside(used), inside(used + quantity.0));
                parts.push((tier.rate, after - before));
                parts.extend((before == 0 && after > 0).then(|| once(tier.flat.0, scale)));
            }
            Ok(settle(&parts, bounds, scale, less))
        }
        (Arithmetic::Volume { tiers, bounds }, Usage::Quantity(quantity)) => {
            let place = |upto: i64| tiers.iter().position(|tier| upto <= end(tier));
            let (before, after) = (place(used), place(used + quantity.0));
            let tier = &tiers[after.expect("the last is open")];
            let entered = used > 0 && before == after;
            let flat = if quantity.0 > 0 && !entered { tier.flat.0 } else { 0 };
            Ok(settle(&[(tier.rate, quantity.0), once(flat, scale)], bounds, scale, less))
        }
        (Arithmetic::Package { amount, per, bounds }, Usage::Quantity(quantity)) => {
            let size = per * 1_000_000;
            let started = (quantity.0 + size - 1) / size;
            Ok(settle(&[once(started * amount.0, scale)], bounds, scale, less))
        }
        _ => Err("usage_invalid"),
    }
}

fn end(tier: &Tier) -> i64 {
    tier.up_to.map_or(i64::MAX, |up_to| up_to.0)
}

/// So many smallest parts as a rate and a quantity that come to them.
fn once(amount: i64, scale: u8) -> (Rate, i64) {
    let rate = Decimal(amount * 10_i64.pow(12 - u32::from(scale)));
    (Rate { rate, per: 1 }, 1_000_000)
}

fn settle(parts: &[(Rate, i64)], bounds: &Bounds, scale: u8, less: u16) -> i64 {
    // Each part is rate × quantity / per, in millionths of millionths of millionths; `all` makes them comparable.
    let all: i128 = parts.iter().map(|(rate, _)| i128::from(rate.per)).product();
    let mut whole: i128 = parts
        .iter()
        .map(|(rate, quantity)| {
            i128::from(rate.rate.0) * i128::from(*quantity) * (all / i128::from(rate.per))
        })
        .sum();
    let divisor = all * 10_i128.pow(18 - u32::from(scale));
    if let Some(minimum) = bounds.minimum {
        whole = whole.max(i128::from(minimum.0) * divisor);
    }
    if let Some(maximum) = bounds.maximum {
        whole = whole.min(i128::from(maximum.0) * divisor);
    }
    let (whole, divisor) = (whole * i128::from(10_000 - less), divisor * 10_000);
    let (down, rest) = (whole / divisor, whole % divisor);
    let up = match bounds.rounding {
        Rounding::Up => rest != 0,
        Rounding::Down => false,
        Rounding::HalfEven => 2 * rest > divisor || (2 * rest == divisor && down % 2 == 1),
    };
    i64::try_from(down).expect("the tests use small prices") + i64::from(up)
}
