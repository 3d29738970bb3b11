//! Quantities (`100m`, `1Gi`): parsing, comparing, canonical printing, exactly as
//! `k8s.io/apimachinery/pkg/api/resource` does, over fixed-point nanounits.

#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

const NANO: i128 = 1_000_000_000;

/// How a quantity was written, and is written again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// `1500m`, `2k`
    #[default]
    DecimalSi,
    /// `2Ki`
    BinarySi,
    /// `2e3`
    DecimalExponent,
}

/// A number with up to nine decimal places. Equality and order ignore the [`Format`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Quantity {
    nano: i128,
    format: Format,
}

/// The texts of Kubernetes for a string that is no quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    #[error("unable to parse quantity's suffix")]
    Suffix,
    #[error("unable to parse numeric part of quantity")]
    Numeric,
}

impl Quantity {
    /// A whole number of units.
    pub fn units(value: i64, format: Format) -> Self {
        Self { nano: i128::from(value) * NANO, format }
    }

    /// A number of thousandths.
    pub fn millis(value: i64) -> Self {
        Self { nano: i128::from(value) * (NANO / 1000), format: Format::DecimalSi }
    }

    /// A number of billionths.
    pub fn nanos(value: i64) -> Self {
        Self { nano: i128::from(value), format: Format::DecimalSi }
    }

    /// Units, rounded away from zero; saturates.
    pub fn value(self) -> i64 {
        saturate(divide_away(self.nano, NANO))
    }

    /// Thousandths, rounded away from zero; saturates.
    pub fn milli_value(self) -> i64 {
        saturate(divide_away(self.nano, NANO / 1000))
    }

    pub fn is_zero(self) -> bool {
        self.nano == 0
    }

    pub fn is_negative(self) -> bool {
        self.nano < 0
    }

    pub fn format(self) -> Format {
        self.format
    }

    /// Rounded away from zero to thousandths, as the resources of containers are stored.
    pub fn rounded_to_milli(self) -> Self {
        let milli = NANO / 1000;
        Self { nano: divide_away(self.nano, milli) * milli, format: self.format }
    }

    /// The sum; it keeps the format of the first that is not zero. Saturates.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        Self { nano: self.nano.saturating_add(other.nano), format }
    }

    /// The difference; formats as in [`Quantity::plus`].
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        Self { nano: self.nano.saturating_sub(other.nano), format }
    }

    fn write_binary(self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut mantissa, mut power) = (self.nano / NANO, 0);
        while power < BINARY.len() && mantissa % 1024 == 0 {
            mantissa /= 1024;
            power += 1;
        }
        let suffix = if power == 0 { "" } else { BINARY[power - 1] };
        write!(out, "{mantissa}{suffix}")
    }

    fn write_decimal(self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut mantissa, mut exponent) = (self.nano, -9);
        while exponent < 18 && mantissa % 1000 == 0 {
            mantissa /= 1000;
            exponent += 3;
        }
        match (self.format, exponent) {
            (_, 0) => write!(out, "{mantissa}"),
            (Format::DecimalExponent, exponent) => write!(out, "{mantissa}e{exponent}"),
            (_, exponent) => write!(out, "{mantissa}{}", decimal_suffix(exponent)),
        }
    }
}

impl fmt::Display for Quantity {
    /// The canonical form: no fraction, the largest suffix that loses nothing.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.nano % NANO == 0;
        match self.format {
            _ if self.nano == 0 => out.write_str("0"),
            Format::BinarySi if whole && self.nano.abs() >= 1024 * NANO => self.write_binary(out),
            // Below 1024, or with a fraction, binary suffixes would round or confuse.
            Format::BinarySi => Self { format: Format::DecimalSi, ..*self }.write_decimal(out),
            Format::DecimalSi | Format::DecimalExponent => self.write_decimal(out),
        }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nano == other.nano
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nano.cmp(&other.nano)
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    /// Finer than nanounits is rounded away from zero; binary quantities are capped at 2^63-1.
    /// Decimal ones beyond 10^29 are refused, where Kubernetes goes on in big integers.
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let parts = split(text)?;
        let scale = Scale::of(parts.suffix).ok_or(QuantityError::Suffix)?;
        let digits = parts.whole.bytes().chain(parts.fraction.bytes());
        let mut mantissa: i128 = 0;
        for digit in digits {
            mantissa = mantissa
                .checked_mul(10)
                .and_then(|m| m.checked_add(i128::from(digit - b'0')))
                .ok_or(QuantityError::Numeric)?;
        }
        let places = i32::try_from(parts.fraction.len()).map_err(|_| QuantityError::Numeric)?;
        let scaled = match scale {
            Scale::Two(bits) => mantissa.checked_mul(1 << bits).and_then(|m| shift(m, 9 - places)),
            Scale::Ten(exponent) => shift(mantissa, exponent.saturating_add(9).saturating_sub(places)),
        };
        let cap = i128::from(i64::MAX) * NANO;
        let (nano, format) = match (scale, scaled) {
            (Scale::Two(_), Some(nano)) if nano < NANO => (nano, Format::DecimalSi),
            (Scale::Two(_), nano) => (nano.unwrap_or(cap).min(cap), Format::BinarySi),
            (Scale::Ten(_), Some(nano)) if is_exponent(parts.suffix) => (nano, Format::DecimalExponent),
            (Scale::Ten(_), Some(nano)) => (nano, Format::DecimalSi),
            (Scale::Ten(_), None) => return Err(QuantityError::Numeric),
        };
        Ok(Self { nano: if parts.negative { -nano } else { nano }, format })
    }
}

/// A quantity cut into its parts; `whole` without leading zeros.
struct Parts<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    suffix: &'a str,
}

fn split(text: &str) -> Result<Parts<'_>, QuantityError> {
    if text.is_empty() {
        return Err(QuantityError::Format);
    }
    let negative = text.starts_with('-');
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, rest) = digits(unsigned);
    let (fraction, suffix) = rest.strip_prefix('.').map_or(("", rest), digits);
    let after_letters = suffix.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
    let after_sign = after_letters.strip_prefix(['-', '+']).unwrap_or(after_letters);
    if !digits(after_sign).1.is_empty() {
        return Err(QuantityError::Format);
    }
    Ok(Parts { negative, whole: whole.trim_start_matches('0'), fraction, suffix })
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

#[derive(Clone, Copy)]
enum Scale {
    /// Powers of two.
    Two(u32),
    /// Powers of ten.
    Ten(i32),
}

const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];

impl Scale {
    fn of(suffix: &str) -> Option<Self> {
        if let Some((_, exponent)) = DECIMAL.iter().find(|(known, _)| *known == suffix) {
            return Some(Self::Ten(*exponent));
        }
        if let Some(index) = BINARY.iter().position(|known| *known == suffix) {
            return Some(Self::Two(10 * (index as u32 + 1)));
        }
        is_exponent(suffix).then(|| suffix[1..].parse().ok().map(Self::Ten))?
    }
}

fn is_exponent(suffix: &str) -> bool {
    suffix.len() > 1 && suffix.starts_with(['e', 'E'])
}

fn decimal_suffix(exponent: i32) -> &'static str {
    DECIMAL.iter().find(|(_, known)| *known == exponent).map_or("", |(suffix, _)| suffix)
}

/// `value * 10^exponent`, rounded up; `None` when it is too large.
fn shift(value: i128, exponent: i32) -> Option<i128> {
    if value == 0 {
        return Some(0);
    }
    let power = 10i128.checked_pow(exponent.unsigned_abs());
    if exponent >= 0 {
        return value.checked_mul(power?);
    }
    Some(power.map_or(1, |power| divide_away(value, power)))
}

fn divide_away(value: i128, by: i128) -> i128 {
    let quotient = value / by;
    if value % by == 0 { quotient } else { quotient + value.signum() }
}

fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}
