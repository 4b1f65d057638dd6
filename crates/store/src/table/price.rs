//! Price versions, and the versioned encoding of their models.
//!
//! A version is never changed once it is stored. A model is a few bytes behind a version number: later models are
//! further kinds, and what is stored stays readable.

use crate::dialect::statements;
use crate::driver::{Session, values};
use crate::error::StoreError;
use crate::hot::rows::{bytes, id, int, key, number};
use purser_core::catalogue::Price;
use purser_core::counter::Period;
use purser_core::pricing::{Bounds, Meter, Model, Rate, Tier};
use purser_core::{Amount, Decimal, Quantity, Rounding, Timestamp};

statements! {
    INSERT_PRICE = "
        INSERT INTO price (price_id, action_no, unit_code, valid_from, model, created_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    PRICES = "
        SELECT action_no, price_id, unit_code, valid_from, model
          FROM price ORDER BY action_no, unit_code, valid_from, price_id";
}

const VERSION: u8 = 1;

/// All price versions with their actions' numbers, by `valid_from` within a unit.
pub(super) fn read_prices(session: Session<'_>) -> Result<Vec<(u64, Price)>, StoreError> {
    session.all(PRICES, &[], |row| {
        let price_id = id(row, 1)?;
        let model = decode_model(bytes(row, 4)?)
            .ok_or_else(|| StoreError::inconsistent("price", price_id, "its model cannot be read"))?;
        let valid_from = Timestamp(int(row, 3)?);
        Ok((number(row, 0)?, Price { id: price_id, unit: key(row, 2)?, valid_from, model }))
    })
}

/// Inserts a price version.
pub(super) fn insert_price(
    session: Session<'_>,
    action: u64,
    price: &Price,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (id, model) = (price.id.to_bytes(), encode_model(&price.model));
    let values = values![&id, action, price.unit.as_str(), price.valid_from.0, &model, now.0];
    session.execute(INSERT_PRICE, values).map(|_| ())
}

pub(super) fn encode_model(model: &Model) -> Vec<u8> {
    let mut out = vec![VERSION];
    write_model(&mut out, model);
    out
}

fn write_model(out: &mut Vec<u8>, model: &Model) {
    match model {
        Model::Metered { meter, model } => {
            out.extend([8, meter.period as u8, u8::from(meter.continued)]);
            out.extend(meter.included.0.to_le_bytes());
            write_model(out, model);
        }
        Model::Free => out.push(1),
        Model::Flat { amount } => {
            out.push(2);
            out.extend(amount.0.to_le_bytes());
        }
        Model::PerQuantity { rate, bounds } => {
            out.push(3);
            write_rate(out, *rate);
            write_bounds(out, bounds);
        }
        Model::PerDimension { rates, bounds } => {
            out.push(4);
            out.extend((rates.len() as u32).to_le_bytes());
            for (name, rate) in rates {
                out.extend((name.len() as u32).to_le_bytes());
                out.extend(name.as_bytes());
                write_rate(out, *rate);
            }
            write_bounds(out, bounds);
        }
        Model::Graduated { tiers, bounds } => {
            out.push(5);
            write_tiers(out, tiers);
            write_bounds(out, bounds);
        }
        Model::Volume { tiers, bounds } => {
            out.push(6);
            write_tiers(out, tiers);
            write_bounds(out, bounds);
        }
        Model::Package { amount, per, bounds } => {
            out.push(7);
            out.extend(amount.0.to_le_bytes());
            out.extend(per.to_le_bytes());
            write_bounds(out, bounds);
        }
    }
}

fn write_tiers(out: &mut Vec<u8>, tiers: &[Tier]) {
    out.extend((tiers.len() as u32).to_le_bytes());
    for tier in tiers {
        out.push(u8::from(tier.up_to.is_some()));
        out.extend(tier.up_to.unwrap_or_default().0.to_le_bytes());
        write_rate(out, tier.rate);
        out.extend(tier.flat.0.to_le_bytes());
    }
}

fn write_rate(out: &mut Vec<u8>, rate: Rate) {
    out.extend(rate.rate.0.to_le_bytes());
    out.extend(rate.per.to_le_bytes());
}

fn write_bounds(out: &mut Vec<u8>, bounds: &Bounds) {
    for bound in [bounds.minimum, bounds.maximum] {
        out.push(u8::from(bound.is_some()));
        out.extend(bound.unwrap_or_default().0.to_le_bytes());
    }
    out.push(match bounds.rounding {
        Rounding::Up => 1,
        Rounding::HalfEven => 2,
        Rounding::Down => 3,
    });
}

pub(super) fn decode_model(bytes: &[u8]) -> Option<Model> {
    let (version, bytes) = bytes.split_first()?;
    if *version != VERSION {
        return None;
    }
    let mut from = ModelBytes(bytes);
    let model = match from.array()? {
        [8] => {
            let (meter, [kind]) = (from.meter()?, from.array()?);
            Model::Metered { meter, model: Box::new(from.model(kind)?) }
        }
        [kind] => from.model(kind)?,
    };
    from.0.is_empty().then_some(model)
}

/// What is left of a model's bytes.
struct ModelBytes<'a>(&'a [u8]);

impl ModelBytes<'_> {
    /// A model of a kind that is not metered.
    fn model(&mut self, kind: u8) -> Option<Model> {
        Some(match kind {
            1 => Model::Free,
            2 => Model::Flat { amount: Amount(self.i64()?) },
            3 => Model::PerQuantity { rate: self.rate()?, bounds: self.bounds()? },
            4 => {
                let mut rates = Vec::new();
                for _ in 0..self.u32()? {
                    let length = self.u32()? as usize;
                    let (name, rest) = self.0.split_at_checked(length)?;
                    self.0 = rest;
                    rates.push((String::from_utf8(name.to_vec()).ok()?, self.rate()?));
                }
                Model::PerDimension { rates, bounds: self.bounds()? }
            }
            5 => Model::Graduated { tiers: self.tiers()?, bounds: self.bounds()? },
            6 => Model::Volume { tiers: self.tiers()?, bounds: self.bounds()? },
            7 => Model::Package { amount: Amount(self.i64()?), per: self.i64()?, bounds: self.bounds()? },
            _ => return None,
        })
    }

    fn meter(&mut self) -> Option<Meter> {
        let [period] = self.array()?;
        let period = Period::from_number(period)?;
        let continued = match self.array()? {
            [0] => false,
            [1] => true,
            _ => return None,
        };
        Some(Meter { period, included: Quantity(self.i64()?), continued })
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    fn rate(&mut self) -> Option<Rate> {
        Some(Rate { rate: Decimal(self.i64()?), per: self.i64()? })
    }

    fn option(&mut self) -> Option<Option<i64>> {
        let [given] = self.array()?;
        let value = self.i64()?;
        match given {
            0 => Some(None),
            1 => Some(Some(value)),
            _ => None,
        }
    }

    /// A price without an open last tier could not price everything, so such bytes are no price.
    fn tiers(&mut self) -> Option<Vec<Tier>> {
        let mut tiers: Vec<Tier> = Vec::new();
        for _ in 0..self.u32()? {
            let up_to = self.option()?.map(Quantity);
            tiers.push(Tier { up_to, rate: self.rate()?, flat: Amount(self.i64()?) });
        }
        tiers.last().is_some_and(|last| last.up_to.is_none()).then_some(tiers)
    }

    fn bound(&mut self) -> Option<Option<Amount>> {
        Some(self.option()?.map(Amount))
    }

    fn bounds(&mut self) -> Option<Bounds> {
        let (minimum, maximum) = (self.bound()?, self.bound()?);
        let rounding = match self.array()? {
            [1] => Rounding::Up,
            [2] => Rounding::HalfEven,
            [3] => Rounding::Down,
            _ => return None,
        };
        Some(Bounds { minimum, maximum, rounding })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_rate() -> impl Strategy<Value = Rate> {
        (any::<i64>(), any::<i64>()).prop_map(|(rate, per)| Rate { rate: Decimal(rate), per })
    }

    fn any_bounds() -> impl Strategy<Value = Bounds> {
        let amount = prop::option::of(any::<i64>().prop_map(Amount));
        let rounding = prop::sample::select(vec![Rounding::Up, Rounding::HalfEven, Rounding::Down]);
        (amount.clone(), amount, rounding).prop_map(|(minimum, maximum, rounding)| Bounds {
            minimum,
            maximum,
            rounding,
        })
    }

    fn any_tiers() -> impl Strategy<Value = Vec<Tier>> {
        let one = || (any::<i64>(), any_rate(), any::<i64>());
        let closed = prop::collection::vec(one(), 0..4);
        (closed, one()).prop_map(|(closed, last)| {
            let tier = |up_to: Option<i64>, rate, flat| Tier {
                up_to: up_to.map(Quantity),
                rate,
                flat: Amount(flat),
            };
            let mut tiers: Vec<Tier> =
                closed.into_iter().map(|(up_to, rate, flat)| tier(Some(up_to), rate, flat)).collect();
            tiers.push(tier(None, last.1, last.2));
            tiers
        })
    }

    fn any_model() -> impl Strategy<Value = Model> {
        let meter = (prop::sample::select(&Period::ALL[..]), any::<i64>(), any::<bool>());
        let meter = meter.prop_map(|(period, included, continued)| Meter {
            period,
            included: Quantity(included),
            continued,
        });
        (plain_model(), prop::option::of(meter)).prop_map(|(model, meter)| match meter {
            Some(meter) => Model::Metered { meter, model: Box::new(model) },
            None => model,
        })
    }

    fn plain_model() -> impl Strategy<Value = Model> {
        prop_oneof![
            (any_tiers(), any_bounds()).prop_map(|(tiers, bounds)| Model::Graduated { tiers, bounds }),
            (any_tiers(), any_bounds()).prop_map(|(tiers, bounds)| Model::Volume { tiers, bounds }),
            (any::<i64>(), any::<i64>(), any_bounds()).prop_map(|(amount, per, bounds)| Model::Package {
                amount: Amount(amount),
                per,
                bounds
            }),
            Just(Model::Free),
            any::<i64>().prop_map(|amount| Model::Flat { amount: Amount(amount) }),
            (any_rate(), any_bounds()).prop_map(|(rate, bounds)| Model::PerQuantity { rate, bounds }),
            (prop::collection::vec((".{0,12}", any_rate()), 0..4), any_bounds())
                .prop_map(|(rates, bounds)| Model::PerDimension { rates, bounds }),
        ]
    }

    #[test]
    fn a_model_that_was_stored_before_there_were_tiers_is_still_read() {
        let mut bytes = vec![1, 3];
        bytes.extend(500_000_000_000_i64.to_le_bytes());
        bytes.extend(3_i64.to_le_bytes());
        bytes.extend([1, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
        let rate = Rate { rate: Decimal(500_000_000_000), per: 3 };
        let bounds = Bounds { minimum: Some(Amount(9)), maximum: None, rounding: Rounding::HalfEven };
        assert_eq!(decode_model(&bytes), Some(Model::PerQuantity { rate, bounds }));
        assert_eq!(encode_model(&Model::PerQuantity { rate, bounds }), bytes);
    }

    proptest! {
        #[test]
        fn a_model_comes_back_as_it_was_stored(model in any_model()) {
            prop_assert_eq!(decode_model(&encode_model(&model)), Some(model));
        }

        #[test]
        fn a_model_that_was_cut_or_lengthened_is_refused(model in any_model(), cut in 1_usize..8) {
            let mut bytes = encode_model(&model);
            bytes.push(0);
            prop_assert_eq!(decode_model(&bytes), None);
            bytes.truncate(bytes.len().saturating_sub(1 + cut));
            prop_assert_eq!(decode_model(&bytes), None);
        }
    }
}
