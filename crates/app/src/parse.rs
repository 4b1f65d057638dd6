//! From texts to values, naming the field that is wrong. Used by every use case; knows no business rule.

use crate::App;
use crate::ask::{Idempotency, Measure, PageAsk, Remarks};
use crate::caller::Caller;
use crate::error::{AppError, FieldError};
use jiff::Timestamp as Instant;
use purser_core::amount::{DecimalError, parse_decimal};
use purser_core::catalogue::Unit;
use purser_core::entry::Usage;
use purser_core::id::{self, Prefix};
use purser_core::time::{DAY, SECOND};
use purser_core::{Amount, Id, Key, Quantity, TenantNo, Timestamp};
use purser_store::{EntryText, KeyDigest};

/// How far ahead of the clock work may claim to have happened, in microseconds.
const AHEAD_MAX: i64 = 300 * SECOND;
/// How far back work may claim to have happened, in microseconds.
pub(crate) const BACK_MAX: i64 = 31 * DAY;
/// Dimensions of one usage.
const DIMENSIONS_MAX: usize = 32;
/// The longest metadata, in bytes.
const METADATA_MAX: usize = 4_096;
/// Rows of a page.
const LIMIT_MAX: u32 = 500;
/// Rows of a page that does not say.
const LIMIT_DEFAULT: u32 = 50;

pub(crate) fn field(pointer: &str, code: &'static str, detail: impl Into<String>) -> AppError {
    AppError::Invalid(vec![FieldError { pointer: pointer.into(), code, detail: detail.into() }])
}

/// An amount of `unit`: any size and sign that can be counted; whether it makes sense is for the rule book.
pub(crate) fn amount(pointer: &str, text: &str, unit: &Unit) -> Result<Amount, AppError> {
    decimal(pointer, text, unit.scale.decimals()).map(Amount)
}

/// A decimal in smallest parts.
pub(crate) fn decimal(pointer: &str, text: &str, decimals: u8) -> Result<i64, AppError> {
    parse_decimal(text, decimals).map_err(|error| match error {
        DecimalError::Malformed => {
            field(pointer, "malformed", "a decimal number such as \"12.5\" is expected")
        }
        DecimalError::TooFine => {
            field(pointer, "too_fine", format!("at most {decimals} decimals are counted here"))
        }
        DecimalError::Overflow => field(pointer, "amount_overflow", "more than can be counted"),
    })
}

/// An instant in RFC 3339.
pub(crate) fn time(pointer: &str, text: &str) -> Result<Timestamp, AppError> {
    if !is_rfc3339(text.as_bytes()) {
        let mut detail = "a time in RFC 3339 is expected, such as 2026-01-31T08:00:00Z".to_string();
        if pointer.starts_with('?') && is_rfc3339(text.replace(' ', "+").as_bytes()) {
            detail.push_str("; a + in a query is written %2B");
        }
        return Err(field(pointer, "malformed", detail));
    }
    let instant: Instant = text.parse().map_err(|_| {
        field(
            pointer,
            "out_of_range",
            "not in the calendar, or after 9999-12-30T22:00:00Z, the last time there is",
        )
    })?;
    Ok(Timestamp(instant.as_microsecond()))
}

/// Whether the text has the shape of RFC 3339, which is narrower than what the parser of times takes.
fn is_rfc3339(text: &[u8]) -> bool {
    let fits = |text: &[u8], shape: &[u8]| {
        text.len() == shape.len()
            && text.iter().zip(shape).all(|(byte, wanted)| match wanted {
                b'0' => byte.is_ascii_digit(),
                b'T' => b"Tt ".contains(byte),
                b'+' => b"+-".contains(byte),
                wanted => byte == wanted,
            })
    };
    let Some((clock, rest)) = text.split_at_checked(19) else { return false };
    let fraction = match rest {
        [b'.', digits @ ..] => 1 + digits.iter().take_while(|byte| byte.is_ascii_digit()).count(),
        _ => 0,
    };
    let zone = &rest[fraction..];
    fits(clock, b"0000-00-00T00:00:00")
        && fraction != 1
        && (zone.eq_ignore_ascii_case(b"Z") || fits(zone, b"+00:00"))
}

/// When the work happened: what the caller says, else now. Whether it may be then is for [`in_window`].
pub(crate) fn occurred_at(text: Option<&str>, now: Timestamp) -> Result<Timestamp, AppError> {
    text.map_or(Ok(now), |text| time("/occurred_at", text))
}

/// Refuses times that no work may claim to have happened at.
pub(crate) fn in_window(occurred_at: Timestamp, now: Timestamp) -> Result<(), AppError> {
    if occurred_at.0 > now.0 + AHEAD_MAX || occurred_at.0 < now.0 - BACK_MAX {
        return Err(field("/occurred_at", "out_of_range", "at most 5 minutes ahead and 31 days back"));
    }
    Ok(())
}

/// The shape of an amount whose unit is not known yet: what no unit could count is refused before anything is looked up.
pub(crate) fn well_formed(pointer: &str, text: &str) -> Result<(), AppError> {
    match decimal(pointer, text, 0) {
        Err(AppError::Invalid(fields)) if fields.iter().any(|field| field.code == "malformed") => {
            Err(AppError::Invalid(fields))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The shape of a measure whose unit is not known yet.
pub(crate) fn measure(measure: &Measure) -> Result<(), AppError> {
    match (&measure.amount, &measure.quantity, &measure.dimensions) {
        (Some(text), None, None) => well_formed("/amount", text),
        _ => usage(measure, None).map(drop),
    }
}

/// Refuses texts that are longer than what is kept beside an entry.
pub(crate) fn remarks(remarks: &Remarks) -> Result<(), AppError> {
    if remarks.metadata.as_ref().is_some_and(|text| text.len() > METADATA_MAX) {
        return Err(field("/metadata", "too_long", format!("at most {METADATA_MAX} bytes")));
    }
    for (pointer, given, most) in [("/reference", &remarks.reference, 255), ("/reason", &remarks.reason, 500)]
    {
        given.as_deref().map_or(Ok(()), |given| text(pointer, given, most))?;
    }
    Ok(())
}

/// Refuses text that is longer than `most` characters, or has the one character that not every database keeps.
pub(crate) fn text(pointer: &str, given: &str, most: usize) -> Result<(), AppError> {
    // Bytes first: nearly every text is short enough even so, and need not be counted.
    if given.len() > most && given.chars().count() > most {
        return Err(field(pointer, "too_long", format!("at most {most} characters")));
    }
    if given.contains('\0') {
        return Err(field(pointer, "malformed", "the character U+0000 is not kept"));
    }
    Ok(())
}

/// The key of an action.
pub(crate) fn action(text: &str) -> Result<Key, AppError> {
    Key::parse(text).ok_or_else(|| crate::names::invalid_key("/action"))
}

/// What was consumed. Nothing said means one.
pub(crate) fn usage(measure: &Measure, unit: Option<&Unit>) -> Result<Option<Usage>, AppError> {
    match (&measure.quantity, &measure.dimensions, &measure.amount) {
        (None, None, None) => Ok(None),
        (Some(text), None, None) => {
            quantity("/quantity", text).map(|quantity| Some(Usage::Quantity(quantity)))
        }
        (None, Some(dimensions), None) => {
            if dimensions.is_empty() || dimensions.len() > DIMENSIONS_MAX {
                return Err(field(
                    "/dimensions",
                    "out_of_range",
                    format!("1 to {DIMENSIONS_MAX} dimensions are expected"),
                ));
            }
            let mut parsed = Vec::with_capacity(dimensions.len());
            for (name, text) in dimensions {
                let pointer = format!("/dimensions/{}", name.replace('~', "~0").replace('/', "~1"));
                if Key::parse(name).is_none_or(|key| key.as_str().len() > 64) {
                    return Err(field(
                        &pointer,
                        "invalid_key",
                        "a dimension's name has 1-64 printable characters",
                    ));
                }
                parsed.push((name.clone(), quantity(&pointer, text)?));
            }
            parsed.sort();
            if parsed.windows(2).any(|pair| pair[0].0 == pair[1].0) {
                return Err(field("/dimensions", "repeated", "each dimension is named once"));
            }
            Ok(Some(Usage::Dimensions(parsed)))
        }
        (None, None, Some(text)) => {
            let unit = unit.ok_or_else(|| field("/unit", "required", "an amount needs its unit"))?;
            amount("/amount", text, unit).map(|amount| Some(Usage::Amount(amount)))
        }
        _ => Err(field("", "ambiguous", "give one of quantity, dimensions and amount")),
    }
}

pub(crate) fn quantity(pointer: &str, text: &str) -> Result<Quantity, AppError> {
    let parts = decimal(pointer, text, Quantity::DECIMALS)?;
    if parts < 0 {
        Err(field(pointer, "out_of_range", "a quantity cannot be negative"))
    } else {
        Ok(Quantity(parts))
    }
}

/// A public id of a tenant that the caller may see; others do not exist for it.
pub(crate) fn id(
    caller: &Caller,
    prefix: Prefix,
    text: &str,
    what: &'static str,
) -> Result<(TenantNo, Id), AppError> {
    let (tenant, id) = id::parse(prefix, text).ok_or(AppError::NotFound { what })?;
    let own = caller.tenant.as_ref().is_none_or(|(_, own)| *own == tenant);
    if own { Ok((tenant, id)) } else { Err(AppError::NotFound { what }) }
}

/// The size of a page.
pub(crate) fn limit(page: &PageAsk) -> Result<usize, AppError> {
    let limit = page.limit.unwrap_or(LIMIT_DEFAULT);
    if (1..=LIMIT_MAX).contains(&limit) {
        Ok(limit as usize)
    } else {
        Err(field("?limit", "out_of_range", format!("1 to {LIMIT_MAX} rows a page")))
    }
}

/// The number inside a cursor of this service's own making.
pub(crate) fn cursor<T: std::str::FromStr>(page: &PageAsk) -> Result<Option<T>, AppError> {
    let parse = |text: &String| {
        text.parse().map_err(|_| field("?cursor", "malformed", "use next_cursor as it was given"))
    };
    page.cursor.as_ref().map(parse).transpose()
}

impl App {
    /// The digest a key is stored under. The request's digest says whether it is the same request again.
    pub(crate) fn key(&self, tenant: TenantNo, key: &Idempotency) -> Result<(KeyDigest, [u8; 32]), AppError> {
        let good =
            (1..=255).contains(&key.key.len()) && key.key.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if !good {
            return Err(field("Idempotency-Key", "malformed", "1-255 printable ASCII characters"));
        }
        Ok((KeyDigest::of(tenant, &key.key), key.request))
    }

    /// Text beside an entry, under a fresh salt; none when there is none.
    pub(crate) fn text(&self, remarks: &Remarks) -> Result<Option<EntryText>, AppError> {
        self::remarks(remarks)?;
        let Remarks { reference, metadata, reason } = remarks.clone();
        if reference.is_none() && metadata.is_none() && reason.is_none() {
            return Ok(None);
        }
        Ok(Some(EntryText { salt: self.inner.ids.bytes(), reference, metadata, reason }))
    }

    /// The unit that a request names, `credit` where it names none.
    pub(crate) fn unit(&self, code: Option<&str>) -> Result<Unit, AppError> {
        let code = code.unwrap_or(Unit::CREDIT);
        let config = self.config();
        let key = Key::parse(code).ok_or_else(|| crate::names::invalid_key("/unit"))?;
        let unit = config.catalogue.unit(&key).cloned();
        unit.ok_or_else(|| field("/unit", "unknown_unit", format!("there is no unit `{code}`")))
    }
}
