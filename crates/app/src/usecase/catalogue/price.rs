//! From an asked price to a version: everything that can be wrong with one, named by its pointer.

use crate::App;
use crate::ask::{ModelAsk, PriceAsk, RateAsk, TierAsk};
use crate::error::AppError;
use crate::parse::{self, field};
use purser_core::amount::{Decimal, Rounding};
use purser_core::catalogue::{Price, Unit};
use purser_core::id::PriceId;
use purser_core::pricing::{Bounds, Model, Rate, TIERS_MAX, Tier};
use purser_core::{Amount, Key, Quantity, Timestamp};

/// Measures of one price.
const RATES_MAX: usize = 32;
/// The largest divisor of a rate, and the largest package.
const PER_MAX: i64 = 1_000_000_000;

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
    let unused = match model {
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
    Ok(rates)
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
