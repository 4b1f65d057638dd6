//! What fields of an answer are made of: amounts, decimals, instants and ids, written straight into the answer's buffer.
//!
//! A movement's answer holds a dozen of these, so they are formatted on the stack instead of through `format!`.
//! Amounts are decimal text in whole units without trailing zeros, instants RFC 3339 in UTC.

use std::borrow::Cow;

use purser_core::catalogue::Unit;
use purser_core::id::{Prefix, render};
use purser_core::{Amount, Id, TenantNo, Timestamp, WalletKey};
use serde::{Serialize, Serializer};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

/// A number of smallest parts, shown as decimal text in whole ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AmountOut {
    value: i64,
    decimals: u8,
}

impl AmountOut {
    /// `value` smallest parts of which `10^decimals` make a whole one.
    pub fn new(value: i64, decimals: u8) -> AmountOut {
        assert!(decimals <= 18, "more decimals than a 64-bit number has digits");
        AmountOut { value, decimals }
    }

    /// An amount of a unit.
    pub fn of(unit: &Unit, amount: Amount) -> AmountOut {
        AmountOut::new(amount.0, unit.scale.decimals())
    }
}

impl Serialize for AmountOut {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A sign, nineteen digits, a point and a zero before it.
        let mut buffer = [0_u8; 24];
        let mut at = buffer.len();
        let mut rest = self.value.unsigned_abs();
        let mut shown = false;
        for place in 0.. {
            if place == self.decimals && shown {
                at -= 1;
                buffer[at] = b'.';
            }
            if place > self.decimals && rest == 0 {
                break;
            }
            let digit = (rest % 10) as u8;
            rest /= 10;
            shown |= digit != 0 || place >= self.decimals;
            if shown {
                at -= 1;
                buffer[at] = b'0' + digit;
            }
        }
        if self.value < 0 {
            at -= 1;
            buffer[at] = b'-';
        }
        serializer.serialize_str(std::str::from_utf8(&buffer[at..]).expect("digits are ASCII"))
    }
}

/// An instant, shown as RFC 3339 in UTC with as many decimals of a second as it has, at most six.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeOut(pub Timestamp);

impl TimeOut {
    /// The instant as text of its own.
    pub fn text(self) -> String {
        let (text, length) = rfc3339(self.0);
        String::from_utf8_lossy(&text[..length]).into_owned()
    }
}

impl Serialize for TimeOut {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (text, length) = rfc3339(self.0);
        serializer.serialize_str(std::str::from_utf8(&text[..length]).expect("digits are ASCII"))
    }
}

/// The instant as text, and how much of the buffer it takes.
fn rfc3339(time: Timestamp) -> ([u8; 27], usize) {
    let micros = time.micros();
    let (days, of_day) = (micros.div_euclid(86_400_000_000), micros.rem_euclid(86_400_000_000));
    let (year, month, day) = civil(days);
    // Four digits of year are all that RFC 3339 has; the ledger lives well inside them.
    let year = year.clamp(0, 9999).unsigned_abs();
    let seconds = of_day.unsigned_abs() / 1_000_000;
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    put(&mut text[0..4], year);
    put(&mut text[5..7], month);
    put(&mut text[8..10], day);
    put(&mut text[11..13], seconds / 3600);
    put(&mut text[14..16], seconds / 60 % 60);
    put(&mut text[17..19], seconds % 60);
    put(&mut text[20..26], of_day.unsigned_abs() % 1_000_000);
    let mut length = 26;
    while text[length - 1] == b'0' && length > 20 {
        length -= 1;
    }
    if length == 20 {
        length = 19;
    }
    text[length] = b'Z';
    (text, length + 1)
}

fn put(place: &mut [u8], mut value: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Year, month and day of the day this many days after 1970-01-01, in the Gregorian calendar. Counts in years that
/// begin in March, so that the leap day is the last of its year.
fn civil(days: i64) -> (i64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month.unsigned_abs(), day.unsigned_abs())
}

/// A public id: prefix and base32 of tenant and number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct IdOut(String);

impl IdOut {
    /// The id of a thing of a tenant.
    pub fn new(prefix: Prefix, tenant: TenantNo, id: Id) -> IdOut {
        IdOut(render(prefix, tenant, id))
    }

    /// The id of a wallet.
    pub fn wallet(key: WalletKey) -> IdOut {
        IdOut::new(Prefix::Wallet, key.tenant, key.id.0)
    }

    /// The id of a quote, which is of no tenant before it is used: that of a user who was never seen has none.
    pub fn quote(id: Id) -> IdOut {
        IdOut::new(Prefix::Quote, TenantNo(0), id)
    }

    /// The id of a price version. Prices belong to the platform, which is tenant 0.
    pub fn price(id: Id) -> IdOut {
        IdOut::new(Prefix::Price, TenantNo(0), id)
    }
}

/// Digits of a number or hash in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

macro_rules! string_schema {
    ($name:ty, $title:literal, $description:literal, $($setter:ident $value:expr),*) => {
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let builder = ObjectBuilder::new().schema_type(Type::String).description(Some($description));
                RefOr::T(Schema::from(builder$(.$setter(Some($value)))*.build()))
            }
        }
        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed($title)
            }
        }
    };
}

string_schema!(
    AmountOut, "Amount", "A decimal in whole units, without trailing zeros.",
    pattern r"^-?(0|[1-9][0-9]*)(\.[0-9]*[1-9])?$"
);
string_schema!(
    TimeOut, "Time", "An instant in UTC, RFC 3339, at most six decimals.",
    format SchemaFormat::KnownFormat(KnownFormat::DateTime)
);
string_schema!(
    IdOut, "Id", "What kind of thing it is and which one.",
    pattern r"^[a-z]{3}_[0-9a-hjkmnp-tv-z]{39}$"
);

#[cfg(test)]
mod tests {
    use super::*;
    use purser_core::amount::render_decimal;

    fn shown(value: impl Serialize) -> String {
        serde_json::to_string(&value).expect("a string").trim_matches('"').to_string()
    }

    #[test]
    fn amounts_read_like_the_ledger_prints_them() {
        for decimals in [0, 1, 2, 6, 12, 18] {
            for value in [0, 1, -1, 10, 999_999, 1_000_000, -12_500_000, 120, i64::MAX, i64::MIN + 1] {
                assert_eq!(shown(AmountOut::new(value, decimals)), render_decimal(value, decimals));
            }
        }
        assert_eq!(shown(AmountOut::new(12_500_000, 6)), "12.5");
    }

    #[test]
    fn instants_are_rfc_3339_without_idle_digits() {
        let table = [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00Z"),
            (1_700_000_000_120_000, "2023-11-14T22:13:20.12Z"),
            (1_735_689_599_999_999, "2024-12-31T23:59:59.999999Z"),
            (4_107_542_400_000_001, "2100-03-01T00:00:00.000001Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
        ];
        for (micros, text) in table {
            assert_eq!(shown(TimeOut(Timestamp(micros))), text);
        }
    }

    #[test]
    fn hashes_are_lower_case_hexadecimal() {
        assert_eq!(hex(&[0x00, 0xff, 0x1a]), "00ff1a");
    }
}
