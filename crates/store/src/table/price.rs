//! Price versions, and the versioned encoding of their models.
//!
//! A version is never changed once it is stored. A model is a few bytes behind a version number: later models are
//! further kinds, and what is stored stays readable.

use crate::dialect::statements;
use crate::driver::{Session, values};
use crate::error::StoreError;
use crate::hot::rows::{bytes, id, int, key, number};
use purser_core::catalogue::Price;
use purser_core::pricing::{Bounds, Model, Rate};
use purser_core::{Amount, Decimal, Rounding, Timestamp};

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
    match model {
        Model::Free => out.push(1),
        Model::Flat { amount } => {
            out.push(2);
            out.extend(amount.0.to_le_bytes());
        }
        Model::PerQuantity { rate, bounds } => {
            out.push(3);
            write_rate(&mut out, *rate);
            write_bounds(&mut out, bounds);
        }
        Model::PerDimension { rates, bounds } => {
            out.push(4);
            out.extend((rates.len() as u32).to_le_bytes());
            for (name, rate) in rates {
                out.extend((name.len() as u32).to_le_bytes());
                out.extend(name.as_bytes());
                write_rate(&mut out, *rate);
            }
            write_bounds(&mut out, bounds);
        }
    }
    out
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

fn decode_model(bytes: &[u8]) -> Option<Model> {
    let ([version, kind], bytes) = bytes.split_first_chunk::<2>()?;
    if *version != VERSION {
        return None;
    }
    let mut from = ModelBytes(bytes);
    let model = match kind {
        1 => Model::Free,
        2 => Model::Flat { amount: Amount(from.i64()?) },
        3 => Model::PerQuantity { rate: from.rate()?, bounds: from.bounds()? },
        4 => {
            let mut rates = Vec::new();
            for _ in 0..from.u32()? {
                let length = from.u32()? as usize;
                let (name, rest) = from.0.split_at_checked(length)?;
                from.0 = rest;
                rates.push((String::from_utf8(name.to_vec()).ok()?, from.rate()?));
            }
            Model::PerDimension { rates, bounds: from.bounds()? }
        }
        _ => return None,
    };
    from.0.is_empty().then_some(model)
}

/// What is left of a model's bytes.
struct ModelBytes<'a>(&'a [u8]);

impl ModelBytes<'_> {
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

    fn bound(&mut self) -> Option<Option<Amount>> {
        let [given] = self.array()?;
        let amount = Amount(self.i64()?);
        match given {
            0 => Some(None),
            1 => Some(Some(amount)),
            _ => None,
        }
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

    fn any_model() -> impl Strategy<Value = Model> {
        prop_oneof![
            Just(Model::Free),
            any::<i64>().prop_map(|amount| Model::Flat { amount: Amount(amount) }),
            (any_rate(), any_bounds()).prop_map(|(rate, bounds)| Model::PerQuantity { rate, bounds }),
            (prop::collection::vec((".{0,12}", any_rate()), 0..4), any_bounds())
                .prop_map(|(rates, bounds)| Model::PerDimension { rates, bounds }),
        ]
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
