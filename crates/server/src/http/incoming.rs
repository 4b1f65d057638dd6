//! What fields of a request are made of: keys, decimals, times and texts, borrowed from the body where JSON allows it.
//!
//! These types hold the shape only (a string, a whole number) and describe it in the API document; what a value
//! means is judged by the use case, which knows units and scales. Nothing here becomes a float. The reader that turns
//! bytes into structs of these is `body.rs`.

use std::borrow::Cow;
use std::fmt;

use purser_app::ask::Measure;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::openapi::schema::{
    AdditionalProperties, KnownFormat, ObjectBuilder, OneOfBuilder, Schema, SchemaFormat, Type,
};
use utoipa::openapi::{RefOr, SchemaFormat as Format};
use utoipa::{PartialSchema, ToSchema};

use super::body::{FRACTION, FRACTION_DETAIL, coded};

/// The characters of keys of tenants, users, units and actions.
pub const KEY_PATTERN: &str = r"^[!$&'()*+,\-.0-9:;=@A-Z\[\]^_`a-z{|}~]{1,128}$";
/// Decimal text of an amount, quantity or rate.
pub const DECIMAL_PATTERN: &str = r"^-?[0-9]{1,19}(\.[0-9]{1,12})?$";
/// The most dimensions one call may measure.
pub const DIMENSIONS_MAX: usize = 32;
/// How deep metadata may be nested.
const METADATA_DEPTH_MAX: usize = 16;

/// A share of something, in whole percent.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(transparent)]
pub struct PercentIn(pub i64);

/// A name chosen by the product.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyIn<'a>(#[serde(borrow)] pub Cow<'a, str>);

/// Free text of at most `MAX` characters.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TextIn<'a, const MAX: usize>(#[serde(borrow)] pub Cow<'a, str>);

/// An RFC 3339 instant.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TimeIn<'a>(#[serde(borrow)] pub Cow<'a, str>);

/// A decimal string, or a whole JSON number.
#[derive(Clone, Debug)]
pub struct DecimalIn<'a>(pub Cow<'a, str>);

/// Several measures of one call, by name.
#[derive(Clone, Debug)]
pub struct DimensionsIn<'a>(pub Vec<(Cow<'a, str>, DecimalIn<'a>)>);

/// A JSON object that the product keeps beside a movement.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct MetadataIn<'a>(#[serde(borrow)] &'a RawValue);

/// The owned text of an optional field.
pub trait Owned {
    /// The text, if there is one.
    fn owned(self) -> Option<String>;
}

macro_rules! owned {
    ($($name:ty),*) => {$(
        impl Owned for Option<$name> {
            fn owned(self) -> Option<String> {
                self.map(|text| text.0.into_owned())
            }
        }
    )*};
}
owned!(KeyIn<'_>, TimeIn<'_>, DecimalIn<'_>);

impl<const MAX: usize> Owned for Option<TextIn<'_, MAX>> {
    fn owned(self) -> Option<String> {
        self.map(|text| text.0.into_owned())
    }
}

impl<const MAX: usize> Owned for Option<&TextIn<'_, MAX>> {
    fn owned(self) -> Option<String> {
        self.map(|text| text.0.clone().into_owned())
    }
}

/// What was consumed, put together from the fields of a request.
pub fn measure(
    quantity: Option<DecimalIn<'_>>,
    dimensions: Option<DimensionsIn<'_>>,
    amount: Option<DecimalIn<'_>>,
) -> Measure {
    let dimensions = dimensions.map(|dimensions| {
        dimensions.0.into_iter().map(|(name, value)| (name.into_owned(), value.0.into_owned())).collect()
    });
    Measure { quantity: quantity.owned(), dimensions, amount: amount.owned() }
}

/// Where a request says how much.
pub fn measured_at(measure: &Measure) -> &'static str {
    match (&measure.amount, &measure.dimensions) {
        (Some(_), _) => "/amount",
        (None, Some(_)) => "/dimensions",
        (None, None) => "/quantity",
    }
}

/// Where a request says in which unit: by name, or else by the wallet.
pub fn unit_at(unit: Option<&String>) -> &'static str {
    if unit.is_some() { "/unit" } else { "/wallet_id" }
}

impl Serialize for DecimalIn<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for DecimalIn<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<DecimalIn<'a>, D::Error> {
        deserializer.deserialize_any(DecimalVisitor)
    }
}

struct DecimalVisitor;

impl<'de> Visitor<'de> for DecimalVisitor {
    type Value = DecimalIn<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a decimal string or a whole number")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<DecimalIn<'de>, E> {
        Ok(DecimalIn(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<DecimalIn<'de>, E> {
        Ok(DecimalIn(Cow::Owned(text.to_string())))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<DecimalIn<'de>, E> {
        Ok(DecimalIn(Cow::Owned(value.to_string())))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<DecimalIn<'de>, E> {
        Ok(DecimalIn(Cow::Owned(value.to_string())))
    }

    /// A fraction as a JSON number has been through a float somewhere, and may have lost digits there.
    fn visit_f64<E: Error>(self, _: f64) -> Result<DecimalIn<'de>, E> {
        Err(coded(FRACTION, FRACTION_DETAIL))
    }
}

impl Serialize for DimensionsIn<'_> {
    /// Sorted, so that one measurement has one canonical text.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sorted: Vec<_> = self.0.iter().collect();
        sorted.sort_by(|left, right| left.0.cmp(&right.0));
        serializer.collect_map(sorted.into_iter().map(|(name, value)| (name, value)))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for DimensionsIn<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<DimensionsIn<'a>, D::Error> {
        deserializer.deserialize_map(DimensionsVisitor)
    }
}

struct DimensionsVisitor;

impl<'de> Visitor<'de> for DimensionsVisitor {
    type Value = DimensionsIn<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of measures")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<DimensionsIn<'de>, A::Error> {
        let mut measures: Vec<(Cow<'de, str>, DecimalIn<'de>)> = Vec::new();
        while let Some((name, value)) = map.next_entry::<KeyIn<'de>, DecimalIn<'de>>()? {
            if measures.iter().any(|(known, _)| *known == name.0) {
                return Err(coded("duplicate_field", "the measure is given twice"));
            }
            if measures.len() == DIMENSIONS_MAX {
                return Err(coded("too_many", "at most 32 dimensions are measured"));
            }
            measures.push((name.0, value));
        }
        Ok(DimensionsIn(measures))
    }
}

impl Serialize for MetadataIn<'_> {
    /// Without the blanks between its parts, so that one object has one text.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.compact().map(RawValue::from_string) {
            Some(Ok(compact)) => compact.serialize(serializer),
            Some(Err(_)) | None => self.0.serialize(serializer),
        }
    }
}

impl MetadataIn<'_> {
    /// The object without the blanks between its parts; `None` when it is not an object or nested too deeply.
    pub fn compact(&self) -> Option<String> {
        let raw = self.0.get();
        if !raw.starts_with('{') {
            return None;
        }
        let mut text = String::with_capacity(raw.len());
        let (mut quoted, mut escaped, mut depth) = (false, false, 0_usize);
        for character in raw.chars() {
            if quoted {
                quoted = escaped || character != '"';
                escaped = !escaped && character == '\\';
            } else {
                match character {
                    ' ' | '\t' | '\n' | '\r' => continue,
                    '"' => quoted = true,
                    '{' | '[' => depth += 1,
                    '}' | ']' => depth -= 1,
                    _ => {}
                }
            }
            if depth > METADATA_DEPTH_MAX {
                return None;
            }
            text.push(character);
        }
        Some(text)
    }
}

fn string(description: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).description(Some(description))
}

fn decimal_string() -> ObjectBuilder {
    string("decimal text in whole units").pattern(Some(DECIMAL_PATTERN))
}

macro_rules! schema {
    ($name:ty, $title:literal, $body:expr) => {
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                RefOr::T(Schema::from($body))
            }
        }
        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed($title)
            }
        }
    };
}

schema!(
    KeyIn<'_>,
    "Key",
    string("A name chosen by your product: printable ASCII except space / \\ ? # % \" < >, case-sensitive.")
        .min_length(Some(1))
        .max_length(Some(128))
        .pattern(Some(KEY_PATTERN))
        .build()
);
schema!(
    PercentIn,
    "Percent",
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(1))
        .maximum(Some(100))
        .description(Some("A share in whole percent."))
        .build()
);
schema!(
    TimeIn<'_>,
    "Instant",
    string("An RFC 3339 instant.").format(Some(Format::KnownFormat(KnownFormat::DateTime))).build()
);
schema!(
    DecimalIn<'_>,
    "Decimal",
    OneOfBuilder::new()
        .item(decimal_string())
        .item(
            ObjectBuilder::new()
                .schema_type(Type::Integer)
                .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        )
        .description(Some(
            "A decimal string in whole units, or a whole JSON number; never a fraction as a JSON number."
        ))
        .build()
);
schema!(
    DimensionsIn<'_>,
    "Dimensions",
    ObjectBuilder::new()
        .description(Some("Measures by name, at most 32."))
        .property_names(Some(KeyIn::schema()))
        .additional_properties(Some(AdditionalProperties::RefOr(DecimalIn::schema())))
        .build()
);
schema!(
    MetadataIn<'_>,
    "Metadata",
    ObjectBuilder::new()
        .description(Some(
            "A JSON object of your own, at most 4 KiB and 16 levels; kept apart from the ledger and erasable."
        ))
        .additional_properties(Some(AdditionalProperties::FreeForm(true)))
        .build()
);

impl<const MAX: usize> PartialSchema for TextIn<'_, MAX> {
    fn schema() -> RefOr<Schema> {
        RefOr::T(Schema::from(string("Free text.").max_length(Some(MAX)).build()))
    }
}

impl<const MAX: usize> ToSchema for TextIn<'_, MAX> {
    fn name() -> Cow<'static, str> {
        Cow::Owned(format!("Text{MAX}"))
    }
}
