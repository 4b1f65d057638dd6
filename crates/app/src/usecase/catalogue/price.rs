//! From an asked price to a version: everything that can be wrong with one, named by its pointer.

use crate::App;
use crate::ask::{IncludedAsk, ModelAsk, PriceAsk, RateAsk, TierAsk};
use crate::error::AppError;
use crate::parse::{self, field};
use crate::usecase::limit;
use purser_core::amount::{Decimal, Rounding};
use purser_core::catalogue::{Price, Unit};
use purser_core::counter::Period;
use purser_core::id::PriceId;
use purser_core::pricing::{Bounds, Meter, Model, Rate, TIERS_MAX, Tier};
use purser_core::{Amount, Key, Quantity, Timestamp};

/// Measures of one price.
const RATES_MAX: usize = 32;
/// The largest divisor of a rate, and the largest package.
const PER_MAX: i64 = 1_000_000_000;
/// The largest common multiple of the divisors of one price: fractions are added exactly, and over a larger one ordinary
/// usage would already be more than can be counted.
const COMMON_MAX: i64 = 1_000_000_000_000;

/// A price version of `ask`, whose fields lie below the pointer `at`.
pub(in crate::usecase) fn price(
    app: &App,
    at: &str,
    ask: &PriceAsk,
    now: Timestamp,
) -> Result<Price, AppError> {
    let unit = app.unit(ask.unit.as_deref()).map_err(|error| below(at, error))?;
    price_in(unit, app.inner.ids.id(), at, ask, now)
}

/// An id behind those of the versions that are there: of two from one instant on the later made counts, also where both were
/// made within a millisecond.
pub(in crate::usecase) fn behind(id: PriceId, known: impl Iterator<Item = PriceId>) -> PriceId {
    known.max().map_or(id, |last| id.max(purser_core::Id(last.0.saturating_add(1))))
}

/// A version in a unit that is found already.
pub(super) fn price_in(
    unit: Unit,
    id: PriceId,
    at: &str,
    ask: &PriceAsk,
    now: Timestamp,
) -> Result<Price, AppError> {
    let bounds = bounds(at, ask, &unit)?;
    let model = model(at, &ask.model, &unit, bounds)?;
    let model = metered(at, ask, model)?;
    let unused = match plain(&model) {
        Model::Free | Model::Flat { .. } => bounds != Bounds::default(),
        Model::Package { .. } => ask.rounding.is_some(),
        _ => false,
    };
    if unused {
        return Err(field(at, "not_allowed", "minimum, maximum and rounding are for what they can change"));
    }
    let valid_from =
        ask.valid_from.as_deref().map(|text| parse::time(&format!("{at}/valid_from"), text)).transpose()?;
    if valid_from.is_some_and(|from| from < now) {
        return Err(field(
            &format!("{at}/valid_from"),
            "out_of_range",
            "a price cannot be changed for the past",
        ));
    }
    Ok(Price { id, unit: unit.code, valid_from: valid_from.unwrap_or(now), model })
}

/// The arithmetic without the meter.
fn plain(model: &Model) -> &Model {
    match model {
        Model::Metered { model, .. } => model,
        model => model,
    }
}

/// The same model, where it goes by what was used before.
fn metered(at: &str, ask: &PriceAsk, model: Model) -> Result<Model, AppError> {
    let continued = ask.by_month;
    if continued && !matches!(model, Model::Graduated { .. } | Model::Volume { .. }) {
        return Err(field(&format!("{at}/basis"), "not_applicable", "the price's model has no tiers"));
    }
    let Some(IncludedAsk { quantity, period }) = &ask.included else {
        let meter = Meter { period: Period::Month, included: Quantity::default(), continued };
        return Ok(if continued { Model::Metered { meter, model: Box::new(model) } } else { model });
    };
    if matches!(model, Model::Free | Model::PerDimension { .. }) {
        let why = "what is free or measured by dimensions includes no quantity";
        return Err(field(&format!("{at}/included"), "not_applicable", why));
    }
    let pointer = format!("{at}/included/quantity");
    let included = Quantity(parse::decimal(&pointer, quantity, Quantity::DECIMALS)?);
    if included.0 <= 0 {
        return Err(field(&pointer, "out_of_range", "more than nothing"));
    }
    if matches!(model, Model::Flat { .. }) && included.0 % Quantity::ONE.0 != 0 {
        return Err(field(&pointer, "out_of_range", "calls at a flat price are included as a whole"));
    }
    let pointer = format!("{at}/included/period");
    let period = period.as_deref().map_or(Ok(Period::Month), |text| limit::period(&pointer, text))?;
    if continued && period != Period::Month {
        return Err(field(
            &pointer,
            "not_applicable",
            "tiers go by the month, and so does what is before them",
        ));
    }
    Ok(Model::Metered { meter: Meter { period, included, continued }, model: Box::new(model) })
}

fn bounds(at: &str, ask: &PriceAsk, unit: &Unit) -> Result<Bounds, AppError> {
    let optional = |name: &str, text: &Option<String>| {
        text.as_deref().map(|text| amount(&format!("{at}/{name}"), text, unit)).transpose()
    };
    let (minimum, maximum) = (optional("minimum", &ask.minimum)?, optional("maximum", &ask.maximum)?);
    if let (Some(minimum), Some(maximum)) = (minimum, maximum)
        && minimum > maximum
    {
        return Err(field(&format!("{at}/maximum"), "out_of_range", "the maximum is below the minimum"));
    }
    let rounding = match ask.rounding.as_deref() {
        None | Some("up") => Rounding::Up,
        Some("half_even") => Rounding::HalfEven,
        Some("down") => Rounding::Down,
        Some(_) => {
            return Err(field(&format!("{at}/rounding"), "malformed", "one of up, half_even and down"));
        }
    };
    Ok(Bounds { minimum, maximum, rounding })
}

fn model(at: &str, ask: &ModelAsk, unit: &Unit, bounds: Bounds) -> Result<Model, AppError> {
    let amount = |text: &str| amount(&format!("{at}/amount"), text, unit);
    Ok(match ask {
        ModelAsk::Free => Model::Free,
        ModelAsk::Flat { amount: text } => Model::Flat { amount: amount(text)? },
        ModelAsk::PerQuantity { rate: ask } => Model::PerQuantity { rate: rate(at, ask)?, bounds },
        ModelAsk::PerDimension { rates } => Model::PerDimension { rates: rates_of(at, rates)?, bounds },
        ModelAsk::Graduated { tiers } => Model::Graduated { tiers: tiers_of(at, tiers, unit)?, bounds },
        ModelAsk::Volume { tiers } => Model::Volume { tiers: tiers_of(at, tiers, unit)?, bounds },
        ModelAsk::Package { amount: text, per: count } => {
            Model::Package { amount: amount(text)?, per: per(at, *count)?, bounds }
        }
    })
}

/// An amount that a price may charge.
fn amount(pointer: &str, text: &str, unit: &Unit) -> Result<Amount, AppError> {
    let amount = parse::amount(pointer, text, unit)?;
    if amount < Amount::ZERO {
        return Err(field(pointer, "out_of_range", "a price cannot be negative"));
    }
    if amount > Amount::MAX {
        return Err(field(pointer, "amount_overflow", "more than can be counted"));
    }
    Ok(amount)
}

fn rate(at: &str, ask: &RateAsk) -> Result<Rate, AppError> {
    let pointer = format!("{at}/rate");
    let rate = parse::decimal(&pointer, &ask.rate, Decimal::DECIMALS)?;
    if rate < 0 {
        return Err(field(&pointer, "out_of_range", "a rate cannot be negative"));
    }
    Ok(Rate { rate: Decimal(rate), per: per(at, ask.per)? })
}

fn per(at: &str, asked: Option<i64>) -> Result<i64, AppError> {
    let per = asked.unwrap_or(1);
    if !(1..=PER_MAX).contains(&per) {
        return Err(field(&format!("{at}/per"), "out_of_range", format!("1 to {PER_MAX}")));
    }
    Ok(per)
}

fn rates_of(at: &str, asks: &[(String, RateAsk)]) -> Result<Vec<(String, Rate)>, AppError> {
    if asks.is_empty() || asks.len() > RATES_MAX {
        return Err(field(&format!("{at}/rates"), "out_of_range", format!("1 to {RATES_MAX} rates")));
    }
    let mut rates = Vec::with_capacity(asks.len());
    for (name, ask) in asks {
        let pointer = format!("{at}/rates/{}", name.replace('~', "~0").replace('/', "~1"));
        if Key::parse(name).is_none_or(|key| key.as_str().len() > 64) {
            return Err(field(&pointer, "invalid_key", "a dimension's name has 1-64 printable characters"));
        }
        rates.push((name.clone(), rate(&pointer, ask)?));
    }
    rates.sort_by(|a, b| a.0.cmp(&b.0));
    if rates.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err(field(&format!("{at}/rates"), "repeated", "each dimension has one rate"));
    }
    common_multiple(rates.iter().map(|(_, rate)| rate.per))
        .ok_or_else(|| field(&format!("{at}/rates"), "out_of_range", COMMON))?;
    Ok(rates)
}

const COMMON: &str =
    "the values of `per` have no common multiple up to 10^12: their costs could not be added exactly";

/// The least common multiple, if it is not too large.
fn common_multiple(divisors: impl Iterator<Item = i64>) -> Option<i64> {
    fn shared(left: i64, right: i64) -> i64 {
        if right == 0 { left } else { shared(right, left % right) }
    }
    let mut divisors = divisors;
    divisors.try_fold(1_i64, |common, divisor| {
        let common = common.checked_mul(divisor / shared(common, divisor))?;
        (common <= COMMON_MAX).then_some(common)
    })
}

/// Tiers in ascending order, of which the last and no other is open: every quantity lies in exactly one.
fn tiers_of(at: &str, asks: &[TierAsk], unit: &Unit) -> Result<Vec<Tier>, AppError> {
    if asks.is_empty() || asks.len() > TIERS_MAX {
        return Err(field(&format!("{at}/tiers"), "out_of_range", format!("1 to {TIERS_MAX} tiers")));
    }
    let mut tiers: Vec<Tier> = Vec::with_capacity(asks.len());
    let mut below = 0;
    for (place, ask) in asks.iter().enumerate() {
        let pointer = format!("{at}/tiers/{place}");
        let end = format!("{pointer}/up_to");
        let last = place + 1 == asks.len();
        let up_to = match &ask.up_to {
            None if last => None,
            None => return Err(field(&end, "required", "only the last tier is open")),
            Some(_) if last => {
                return Err(field(&end, "out_of_range", "the last tier is open: its up_to is null"));
            }
            Some(text) => Some(parse::decimal(&end, text, Quantity::DECIMALS)?),
        };
        if up_to.is_some_and(|up_to| up_to <= below) {
            return Err(field(
                &end,
                "out_of_range",
                "each tier ends after the one before it, the first after 0",
            ));
        }
        below = up_to.unwrap_or(below);
        let flat =
            ask.flat.as_deref().map(|text| amount(&format!("{pointer}/flat"), text, unit)).transpose()?;
        tiers.push(Tier {
            up_to: up_to.map(Quantity),
            rate: rate(&pointer, &ask.rate)?,
            flat: flat.unwrap_or_default(),
        });
    }
    common_multiple(tiers.iter().map(|tier| tier.rate.per))
        .ok_or_else(|| field(&format!("{at}/tiers"), "out_of_range", COMMON))?;
    Ok(tiers)
}

/// The same error, about a field inside the one at `at`.
pub(super) fn below(at: &str, error: AppError) -> AppError {
    match error {
        AppError::Invalid(fields) => AppError::Invalid(
            fields
                .into_iter()
                .map(|mut field| {
                    field.pointer.insert_str(0, at);
                    field
                })
                .collect(),
        ),
        error => error,
    }
}
