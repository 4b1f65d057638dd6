//! Costs above which somebody is asked first, as requests say them and answers show them: decimals by unit, or in a request one
//! decimal where there is only one unit.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use purser_app::ask::ConfirmAsk;
use purser_core::catalogue::Catalogue;
use purser_core::confirm::Thresholds;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::body::coded;
use super::incoming::{DecimalIn, KeyIn};
use super::outgoing::AmountOut;
use super::problem::Problem;

/// The most units that one threshold names.
const UNITS_MAX: usize = 256;

/// A cost above which somebody is asked: in the only unit, or by unit.
#[derive(Clone, Debug)]
pub enum ConfirmIn<'a> {
    /// In the only unit there is.
    One(DecimalIn<'a>),
    /// By unit.
    ByUnit(Vec<(Cow<'a, str>, DecimalIn<'a>)>),
}

impl ConfirmIn<'_> {
    /// As a use case takes it.
    pub fn into_ask(self) -> ConfirmAsk {
        match self {
            ConfirmIn::One(amount) => ConfirmAsk::One(amount.0.into_owned()),
            ConfirmIn::ByUnit(all) => ConfirmAsk::ByUnit(
                all.into_iter().map(|(unit, amount)| (unit.into_owned(), amount.0.into_owned())).collect(),
            ),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for ConfirmIn<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ConfirmIn<'a>, D::Error> {
        deserializer.deserialize_any(ConfirmVisitor)
    }
}

struct ConfirmVisitor;

impl<'de> Visitor<'de> for ConfirmVisitor {
    type Value = ConfirmIn<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a decimal string, or an object of decimals by unit")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<ConfirmIn<'de>, E> {
        Ok(ConfirmIn::One(DecimalIn(Cow::Borrowed(text))))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<ConfirmIn<'de>, E> {
        Ok(ConfirmIn::One(DecimalIn(Cow::Owned(text.to_string()))))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<ConfirmIn<'de>, E> {
        Ok(ConfirmIn::One(DecimalIn(Cow::Owned(number.to_string()))))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<ConfirmIn<'de>, E> {
        Ok(ConfirmIn::One(DecimalIn(Cow::Owned(number.to_string()))))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ConfirmIn<'de>, A::Error> {
        let mut all: Vec<(Cow<'de, str>, DecimalIn<'de>)> = Vec::new();
        while let Some((unit, amount)) = map.next_entry::<KeyIn<'de>, DecimalIn<'de>>()? {
            if all.iter().any(|(known, _)| *known == unit.0) {
                return Err(coded("duplicate_field", "the unit is given twice"));
            }
            if all.len() == UNITS_MAX {
                return Err(coded("too_many", "at most 256 units"));
            }
            all.push((unit.0, amount));
        }
        Ok(ConfirmIn::ByUnit(all))
    }
}

impl PartialSchema for ConfirmIn<'_> {
    fn schema() -> RefOr<Schema> {
        let by_unit = ObjectBuilder::new()
            .schema_type(Type::Object)
            .description(Some("Decimals by the code of a unit."))
            .max_properties(Some(UNITS_MAX))
            .additional_properties(Some(AdditionalProperties::RefOr(DecimalIn::schema())));
        let either = OneOfBuilder::new()
            .item(DecimalIn::schema())
            .item(by_unit)
            .description(Some("A cost above which somebody is asked first: in the only unit, or by unit."));
        either.into()
    }
}

impl ToSchema for ConfirmIn<'_> {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Thresholds")
    }
}

/// Costs above which somebody is asked first, by the code of the unit.
#[derive(Debug, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(as = ConfirmAbove)]
pub struct ConfirmOut(BTreeMap<String, AmountOut>);

impl ConfirmOut {
    /// Counted in the units of a catalogue.
    pub fn new(thresholds: &Thresholds, catalogue: &Catalogue) -> Result<ConfirmOut, Problem> {
        let shown = |(code, amount): (&purser_core::Key, purser_core::Amount)| {
            let unit = catalogue.unit(code);
            let unit = unit.ok_or_else(|| Problem::fault(format!("no unit {code} of a threshold")))?;
            Ok((code.to_string(), AmountOut::of(unit, amount)))
        };
        thresholds.iter().map(shown).collect::<Result<_, Problem>>().map(ConfirmOut)
    }

    /// Whether nobody is asked.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One line for people; none where nobody is asked.
    pub fn text(&self) -> Option<String> {
        let shown = |(unit, amount): (&String, &AmountOut)| {
            let amount = serde_json::to_value(amount).expect("an amount is a text");
            format!("{} {unit}", amount.as_str().unwrap_or_default())
        };
        let pairs: Vec<String> = self.0.iter().map(shown).collect();
        (!pairs.is_empty()).then(|| pairs.join(", "))
    }
}
