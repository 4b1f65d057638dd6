//! Decimals as they are written, such as `1.5e-07`: multiplied without rounding.

use purser_core::amount::{Decimal, render_decimal};
use std::fmt;

/// Digits of a decimal that is read.
const DIGITS_MAX: usize = 30;
/// How far a decimal's point may be away.
const EXPONENT_MAX: u32 = 40;
/// The most that a rate is for.
const PER_MAX: i64 = 1_000_000_000;

/// `digits × 10^exponent`, without zeros at the end of the digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exact {
    digits: i128,
    exponent: i32,
}

impl Exact {
    /// Reads a decimal with or without an exponent; none for what is no number, or has more digits than any price.
    pub fn parse(text: &str) -> Option<Exact> {
        let (number, exponent) = match text.split_once(['e', 'E']) {
            Some((number, exponent)) => (number, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (negative, number) = match number.strip_prefix('-') {
            Some(number) => (true, number),
            None => (false, number),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = format!("{whole}{fraction}");
        let plain = !whole.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let significant = digits.trim_start_matches('0');
        if !plain || significant.len() > DIGITS_MAX || exponent.unsigned_abs() > EXPONENT_MAX {
            return None;
        }
        let value: i128 = if significant.is_empty() { 0 } else { significant.parse().ok()? };
        let exponent = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?;
        let value = if negative { -value } else { value };
        Some(Exact { digits: value, exponent }.normal())
    }

    fn normal(mut self) -> Exact {
        if self.digits == 0 {
            return Exact { digits: 0, exponent: 0 };
        }
        while self.digits % 10 == 0 {
            self.digits /= 10;
            self.exponent += 1;
        }
        self
    }

    /// Whether it is below zero.
    pub fn is_negative(self) -> bool {
        self.digits < 0
    }

    /// Whether it is above zero.
    pub fn is_positive(self) -> bool {
        self.digits > 0
    }

    /// The product; none when it has more digits than can be counted.
    pub fn times(self, other: Exact) -> Option<Exact> {
        let digits = self.digits.checked_mul(other.digits)?;
        Some(Exact { digits, exponent: self.exponent + other.exponent }.normal())
    }

    /// So much for one as a rate for `per`, or for a thousand or a million times as many where the rate has more decimals than are
    /// kept: the rate's decimal text, and for how many it is. None when no rate says it exactly.
    pub fn rate(self, per: i64) -> Option<(String, i64)> {
        let mut per = per;
        while per <= PER_MAX {
            let of_per = self.times(Exact { digits: i128::from(per), exponent: 0 }.normal())?;
            if let Some(parts) = of_per.parts(Decimal::DECIMALS) {
                return Some((render_decimal(parts, Decimal::DECIMALS), per));
            }
            per *= 1_000;
        }
        None
    }

    /// In parts of which `10^decimals` make one; none when it is finer than that or too large.
    fn parts(self, decimals: u8) -> Option<i64> {
        let zeros = u32::try_from(self.exponent + i32::from(decimals)).ok()?;
        i64::try_from(self.digits.checked_mul(10_i128.checked_pow(zeros)?)?).ok()
    }
}

impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}e{}", self.digits, self.exponent)
    }
}
