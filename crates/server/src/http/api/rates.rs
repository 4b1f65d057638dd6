//! Rates by measure, as they come in: a measure has one rate.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::prices::RateIn;
use crate::http::body::coded;
use crate::http::incoming::{DIMENSIONS_MAX, KeyIn};
use crate::http::object::Strict;

/// Rates by measure.
pub struct RatesIn<'a>(pub(super) Vec<(Cow<'a, str>, RateIn<'a>)>);

impl<'de: 'a, 'a> Deserialize<'de> for RatesIn<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RatesIn<'a>, D::Error> {
        deserializer.deserialize_map(RatesVisitor)
    }
}

struct RatesVisitor;

impl<'de> Visitor<'de> for RatesVisitor {
    type Value = RatesIn<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of rates")
    }

    /// A map would keep the last of two rates for one measure and charge by it.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RatesIn<'de>, A::Error> {
        let mut rates: Vec<(Cow<'de, str>, RateIn<'de>)> = Vec::new();
        while let Some((name, Strict(rate))) = map.next_entry::<KeyIn<'de>, Strict<RateIn<'de>>>()? {
            if rates.iter().any(|(known, _)| *known == name.0) {
                return Err(coded("duplicate_field", "the measure is given twice"));
            }
            if rates.len() == DIMENSIONS_MAX {
                return Err(coded("too_many", "at most 32 measures have a rate"));
            }
            rates.push((name.0, rate));
        }
        Ok(RatesIn(rates))
    }
}
