//! Amounts, quantities, rates and money: integers with checked arithmetic, and every rounding has a name.
//!
//! An [`Amount`] counts the smallest part of a unit; the unit's [`Scale`] says how many decimals a whole one has. No
//! float exists anywhere (law 6): decimal text is parsed into integers and printed back without trailing zeros.

use std::fmt;

/// An amount in the smallest part of its wallet's unit; negative only in deltas and balances.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Amount(pub i64);

impl Amount {
    /// Nothing.
    pub const ZERO: Amount = Amount(0);
    /// The largest amount that a wallet, grant or debit may reach: a quarter of the range, so that sums of a few
    /// amounts cannot leave it unnoticed.
    pub const MAX: Amount = Amount(i64::MAX / 4);

    /// The sum, unless its size passes [`Amount::MAX`].
    pub fn checked_add(self, other: Amount) -> Option<Amount> {
        let sum = self.0.checked_add(other.0)?;
        (sum.unsigned_abs() <= Amount::MAX.0.unsigned_abs()).then_some(Amount(sum))
    }

    /// The smaller of two amounts.
    pub fn least(self, other: Amount) -> Amount {
        Amount(self.0.min(other.0))
    }

    /// Whether this is exactly nothing.
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Whether this is more than nothing.
    pub fn is_positive(self) -> bool {
        self.0 > 0
    }
}

/// Adds within a wallet whose totals are already known to be in range; leaving the range is a bug.
impl std::ops::Add for Amount {
    type Output = Amount;
    fn add(self, other: Amount) -> Amount {
        Amount(self.0.checked_add(other.0).expect("amounts of one wallet stay in range"))
    }
}

/// Subtracts within a wallet whose totals are already known to be in range; leaving the range is a bug.
impl std::ops::Sub for Amount {
    type Output = Amount;
    fn sub(self, other: Amount) -> Amount {
        Amount(self.0.checked_sub(other.0).expect("amounts of one wallet stay in range"))
    }
}

impl std::ops::Neg for Amount {
    type Output = Amount;
    fn neg(self) -> Amount {
        Amount(-self.0)
    }
}

impl std::ops::AddAssign for Amount {
    fn add_assign(&mut self, other: Amount) {
        *self = *self + other;
    }
}

impl std::ops::SubAssign for Amount {
    fn sub_assign(&mut self, other: Amount) {
        *self = *self - other;
    }
}

impl std::iter::Sum for Amount {
    fn sum<I: Iterator<Item = Amount>>(all: I) -> Amount {
        all.fold(Amount::ZERO, |sum, next| sum + next)
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Decimals of a unit, 0 to 6; fixed when the unit is made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Scale(u8);

impl Scale {
    /// The finest scale, that of `credit`.
    pub const MAX: Scale = Scale(6);

    /// `None` above six decimals.
    pub fn new(decimals: u8) -> Option<Scale> {
        (decimals <= Scale::MAX.0).then_some(Scale(decimals))
    }

    /// How many decimals.
    pub fn decimals(self) -> u8 {
        self.0
    }

    /// Smallest parts in one whole unit.
    pub fn factor(self) -> i64 {
        10_i64.pow(u32::from(self.0))
    }
}

/// Why decimal text is not a number of the wanted kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecimalError {
    /// Not digits with at most one point between them.
    Malformed,
    /// More decimals than the unit has.
    TooFine,
    /// Too large to be counted.
    Overflow,
}

/// Parses `12`, `12.5` or `-3` into smallest parts at `decimals`. Signs other than one leading `-`, exponents, spaces
/// and digit groups are malformed; trailing zeros beyond the scale are allowed, as they change nothing.
pub fn parse_decimal(text: &str, decimals: u8) -> Result<i64, DecimalError> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) =
        digits.split_once('.').map_or((digits, None), |(whole, part)| (whole, Some(part)));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(whole) || fraction.is_some_and(|part| !all_digits(part)) {
        return Err(DecimalError::Malformed);
    }
    let fraction = fraction.unwrap_or("").trim_end_matches('0');
    if fraction.len() > usize::from(decimals) {
        return Err(DecimalError::TooFine);
    }
    let padding = usize::from(decimals) - fraction.len();
    let mut value: i64 = 0;
    let digits = whole.bytes().chain(fraction.bytes()).chain(std::iter::repeat_n(b'0', padding));
    for digit in digits {
        value = value
            .checked_mul(10)
            .and_then(|value| value.checked_add(i64::from(digit - b'0')))
            .ok_or(DecimalError::Overflow)?;
    }
    Ok(if negative { -value } else { value })
}

/// Prints smallest parts as a decimal of whole units, without trailing zeros: `12.5`, `-3`, `0`.
pub fn render_decimal(value: i64, decimals: u8) -> String {
    let factor = 10_u64.pow(u32::from(decimals));
    let size = value.unsigned_abs();
    let sign = if value < 0 { "-" } else { "" };
    let (whole, part) = (size / factor, size % factor);
    if part == 0 {
        return format!("{sign}{whole}");
    }
    let text = format!("{sign}{whole}.{part:0width$}", width = usize::from(decimals));
    text.trim_end_matches('0').to_string()
}

/// A quantity of work (scans, tokens, minutes) in millionths; never negative in a usage.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Quantity(pub i64);

impl Quantity {
    /// Decimals a quantity may have.
    pub const DECIMALS: u8 = 6;
    /// One whole.
    pub const ONE: Quantity = Quantity(1_000_000);
}

/// A rate or factor from the catalogue: `mantissa / 10^12`, so that a price per token can be stated without `per`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Decimal(pub i64);

impl Decimal {
    /// Decimals a rate may have.
    pub const DECIMALS: u8 = 12;
}

/// How a fraction of the smallest part is settled. Used once per debit, or where a rule names it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Rounding {
    /// To the next larger: the default of prices, so that work is never free by rounding.
    #[default]
    Up,
    /// To the nearest, a tie to the even neighbour.
    HalfEven,
    /// To the next smaller.
    Down,
}

/// `numerator / denominator` for a non-negative numerator, rounded as told; `None` when it does not fit an i64.
pub fn divide(numerator: i128, denominator: i128, rounding: Rounding) -> Option<i64> {
    assert!(numerator >= 0 && denominator > 0, "rounding is defined for non-negative fractions");
    let (quotient, rest) = (numerator / denominator, numerator % denominator);
    // Compared against what is missing to the next one, as twice the rest could leave the range.
    let up = match rounding {
        Rounding::Up => rest > 0,
        Rounding::HalfEven => {
            let missing = denominator - rest;
            rest > missing || (rest == missing && quotient % 2 == 1)
        }
        Rounding::Down => false,
    };
    i64::try_from(quotient + i128::from(up)).ok()
}

/// An ISO 4217 currency.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

/// Currencies without a minor unit (ISO 4217).
const EXPONENT_0: &str = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF";
/// Currencies with a thousandth (ISO 4217).
const EXPONENT_3: &str = "BHD IQD JOD KWD LYD OMR TND";
/// Currencies with a hundredth (ISO 4217).
const EXPONENT_2: &str = "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD \
    CAD CDF CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG \
    HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK \
    MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS \
    SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VES WST XCD YER ZAR ZMW ZWG";

impl Currency {
    /// The currency with this code, in capitals; `None` when ISO 4217 does not list it.
    pub fn parse(code: &str) -> Option<Currency> {
        let bytes: [u8; 3] = code.as_bytes().try_into().ok()?;
        let listed = |list: &str| list.split_ascii_whitespace().any(|known| known == code);
        (listed(EXPONENT_2) || listed(EXPONENT_0) || listed(EXPONENT_3)).then_some(Currency(bytes))
    }

    /// The three letters.
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).expect("made from listed ASCII codes only")
    }

    /// The three bytes, for the encoding of entries.
    pub fn to_bytes(self) -> [u8; 3] {
        self.0
    }

    /// Decimals of the minor unit: 2 for most, 0 or 3 for some.
    pub fn exponent(&self) -> u8 {
        let listed = |list: &str| list.split_ascii_whitespace().any(|known| known == self.code());
        if listed(EXPONENT_0) {
            0
        } else if listed(EXPONENT_3) {
            3
        } else {
            2
        }
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// Money in integer minor units of one currency.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Money {
    /// Minor units (sen, cents); what a lot's money adds up to.
    pub minor: i64,
    /// The currency they count.
    pub currency: Currency,
}

/// The money that remains with a lot of which `remaining` of `granted` is left, when `paid` was paid for all of it.
///
/// What has left the lot has taken `floor(paid × (granted − remaining) / granted)`: rounding is cumulative, so the
/// parts add up to the price paid to the last minor unit, and none is off by more than one.
pub fn money_left(paid: i64, granted: Amount, remaining: Amount) -> i64 {
    if granted.is_zero() {
        return 0;
    }
    let gone = i128::from(granted.0 - remaining.0) * i128::from(paid);
    paid - divide(gone, i128::from(granted.0), Rounding::Down).expect("at most what was paid")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decimals_are_read_exactly_or_refused_with_the_reason() {
        assert_eq!(parse_decimal("12.5", 6), Ok(12_500_000));
        assert_eq!(parse_decimal("12.50", 1), Ok(125));
        assert_eq!(parse_decimal("-0.000001", 6), Ok(-1));
        assert_eq!(parse_decimal("0.0000001", 6), Err(DecimalError::TooFine));
        assert_eq!(parse_decimal("9223372036854775808", 0), Err(DecimalError::Overflow));
        assert_eq!(parse_decimal("9223372036855", 6), Err(DecimalError::Overflow));
        for bad in ["", "-", ".", ".5", "5.", "+5", "1e3", "1,000", " 1", "0x10", "--1", "1.2.3", "٣"] {
            assert_eq!(parse_decimal(bad, 6), Err(DecimalError::Malformed), "{bad:?}");
        }
    }

    #[test]
    fn rounding_follows_its_name_at_and_around_the_half() {
        let table = [
            (0, 2, [0, 0, 0]),
            (1, 2, [1, 0, 0]),
            (3, 2, [2, 2, 1]),
            (5, 2, [3, 2, 2]),
            (7, 3, [3, 2, 2]),
            (8, 3, [3, 3, 2]),
        ];
        for (numerator, denominator, [up, half_even, down]) in table {
            assert_eq!(divide(numerator, denominator, Rounding::Up), Some(up));
            assert_eq!(divide(numerator, denominator, Rounding::HalfEven), Some(half_even));
            assert_eq!(divide(numerator, denominator, Rounding::Down), Some(down));
        }
        assert_eq!(divide(i128::from(i64::MAX) + 1, 1, Rounding::Down), None);
    }

    #[test]
    fn currencies_know_their_exponent() {
        let exponent = |code| Currency::parse(code).map(|currency| currency.exponent());
        assert_eq!(exponent("MYR"), Some(2));
        assert_eq!(exponent("JPY"), Some(0));
        assert_eq!(exponent("KWD"), Some(3));
        assert_eq!(exponent("myr"), None);
        assert_eq!(exponent("XXX"), None);
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(value in any::<i64>(), decimals in 0_u8..=12) {
            prop_assume!(value != i64::MIN);
            prop_assert_eq!(parse_decimal(&render_decimal(value, decimals), decimals), Ok(value));
        }

        #[test]
        fn the_money_of_a_lot_adds_up_however_it_is_cut(
            paid in 0_i64..1_000_000, cuts in prop::collection::vec(1_i64..1_000, 1..40)
        ) {
            let granted = Amount(cuts.iter().sum());
            let (mut remaining, mut left, mut taken) = (granted, paid, 0);
            for cut in cuts {
                remaining -= Amount(cut);
                let after = money_left(paid, granted, remaining);
                prop_assert!(after <= left, "money only ever leaves");
                taken += left - after;
                left = after;
            }
            prop_assert_eq!((taken, left), (paid, 0));
        }
    }
}
