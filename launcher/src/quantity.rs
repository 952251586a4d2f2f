//! Amounts of resources, exact to a billionth, in Kubernetes' notation
//! (<https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>).

use std::iter::Sum;
use std::ops::{Add, Sub};
use std::str::FromStr;

/// The API server stores no larger number.
const MAX_NANO: u128 = i64::MAX as u128 * NANO;
const NANO: u128 = 1_000_000_000;
/// More significant digits are refused: the product with the largest suffix would overflow.
const MAX_DIGITS: usize = 20;

const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
const BINARY: [(&str, u32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];

/// An amount of a resource. Sums end at the largest amount that the API server stores, differences at zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Amount {
    nano: u128,
}

/// A text that is no amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidAmount {
    #[error("{0:?} is no quantity: write a number such as 100, 500m or 200Gi")]
    Malformed(String),
    #[error("{0:?} is negative")]
    Negative(String),
    #[error("{0:?} has more than {MAX_DIGITS} digits")]
    TooLong(String),
}

impl Amount {
    /// A whole number.
    pub(crate) const fn whole(units: u64) -> Self {
        let nano = units as u128 * NANO;
        Self { nano: if nano < MAX_NANO { nano } else { MAX_NANO } }
    }

    /// The number of billionths.
    pub(crate) fn nano(self) -> u128 {
        self.nano
    }

    pub(crate) fn is_whole(self) -> bool {
        self.nano.is_multiple_of(NANO)
    }

    /// As the API server prints it, with decimal suffixes (`1500m`, `10k`).
    pub(crate) fn to_decimal(self) -> String {
        let exact = |&&(_, exponent): &&(&str, i32)| {
            // Exponents start at -9.
            10_u128
                .checked_pow((exponent + 9).unsigned_abs())
                .is_some_and(|unit| self.nano.is_multiple_of(unit))
        };
        let largest = DECIMAL.iter().rev().find(exact).filter(|_| self.nano > 0);
        let (suffix, exponent) = largest.copied().unwrap_or(("", 0));
        format!("{}{suffix}", self.nano / 10_u128.pow((exponent + 9).unsigned_abs()))
    }

    /// As the API server prints it, with binary suffixes (`200Gi`).
    pub(crate) fn to_binary(self) -> String {
        let units = self.nano / NANO;
        let largest = BINARY.iter().rev().find(|(_, shift)| units.is_multiple_of(1 << shift));
        match largest {
            Some((suffix, shift)) if self.is_whole() && units > 0 => format!("{}{suffix}", units >> shift),
            _ if self.is_whole() => units.to_string(),
            _ => self.to_decimal(),
        }
    }
}

impl FromStr for Amount {
    type Err = InvalidAmount;

    fn from_str(text: &str) -> Result<Self, InvalidAmount> {
        let malformed = || InvalidAmount::Malformed(text.to_owned());
        if text.starts_with('-') {
            return Err(InvalidAmount::Negative(text.to_owned()));
        }
        let unsigned = text.strip_prefix('+').unwrap_or(text);
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
            return Err(malformed());
        }
        let digits = format!("{whole}{fraction}");
        let significant = digits.trim_start_matches('0');
        if significant.len() > MAX_DIGITS {
            return Err(InvalidAmount::TooLong(text.to_owned()));
        }
        let digits = if significant.is_empty() { 0 } else { significant.parse().map_err(|_| malformed())? };
        let (shift, exponent) = scale(suffix).ok_or_else(malformed)?;
        let fraction = i32::try_from(fraction.len()).map_err(|_| malformed())?;
        Ok(Self { nano: scaled(digits, shift, exponent.saturating_sub(fraction).saturating_add(9)) })
    }
}

/// The powers of two and ten of a suffix.
fn scale(suffix: &str) -> Option<(u32, i32)> {
    if let Some(&(_, shift)) = BINARY.iter().find(|(name, _)| *name == suffix) {
        return Some((shift, 0));
    }
    if let Some(&(_, exponent)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        return Some((0, exponent));
    }
    suffix.strip_prefix(['e', 'E'])?.parse().ok().map(|exponent| (0, exponent))
}

/// `digits × 2^shift × 10^exponent`, rounded up as the API server does.
fn scaled(digits: u128, shift: u32, exponent: i32) -> u128 {
    let shifted = digits.saturating_mul(1 << shift);
    let power = 10_u128.checked_pow(exponent.unsigned_abs());
    let nano = match (power, exponent >= 0) {
        (Some(power), true) => shifted.saturating_mul(power),
        (Some(power), false) => shifted.div_ceil(power),
        (None, true) => shifted.saturating_mul(MAX_NANO),
        (None, false) => shifted.min(1),
    };
    nano.min(MAX_NANO)
}

impl Add for Amount {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { nano: (self.nano + other.nano).min(MAX_NANO) }
    }
}

impl Sub for Amount {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { nano: self.nano.saturating_sub(other.nano) }
    }
}

impl Sum for Amount {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::default(), Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case::plain("100", 100 * NANO)]
    #[case::zero("0", 0)]
    #[case::zeros("000", 0)]
    #[case::plus("+5", 5 * NANO)]
    #[case::decimals("1.25", 1_250_000_000)]
    #[case::no_whole_part(".5", 500_000_000)]
    #[case::no_fraction("5.", 5 * NANO)]
    #[case::nano("7n", 7)]
    #[case::micro("7u", 7_000)]
    #[case::milli("1500m", 1_500_000_000)]
    #[case::kilo("2k", 2_000 * NANO)]
    #[case::mega("2M", 2_000_000 * NANO)]
    #[case::giga("2G", 2_000_000_000 * NANO)]
    #[case::tera("2T", 2_000_000_000_000 * NANO)]
    #[case::peta("2P", 2_000_000_000_000_000 * NANO)]
    #[case::exa("2E", 2_000_000_000_000_000_000 * NANO)]
    #[case::kibi("2Ki", (2 << 10) * NANO)]
    #[case::mebi("2Mi", (2 << 20) * NANO)]
    #[case::gibi("1.5Gi", (3 << 29) * NANO)]
    #[case::tebi("2Ti", (2 << 40) * NANO)]
    #[case::pebi("2Pi", (2 << 50) * NANO)]
    #[case::exbi("2Ei", (2 << 60) * NANO)]
    #[case::exponent("12e2", 1200 * NANO)]
    #[case::capital_exponent("1.2E2", 120 * NANO)]
    #[case::negative_exponent("5e-1", 500_000_000)]
    #[case::plus_exponent("5e+1", 50 * NANO)]
    #[case::less_than_a_billionth_is_rounded_up("0.1n", 1)]
    #[case::tiny_exponent("1e-99", 1)]
    #[case::zero_with_a_large_exponent("0e99", 0)]
    #[case::too_large("100E", MAX_NANO)]
    #[case::largest_digits("99999999999999999999Ei", MAX_NANO)]
    #[case::large_exponent("1e99", MAX_NANO)]
    fn amount_is_read_exactly(#[case] text: &str, #[case] nano: u128) {
        assert_eq!(text.parse(), Ok(Amount { nano }));
    }

    #[rstest]
    #[case::empty("")]
    #[case::suffix_alone("Gi")]
    #[case::point_alone(".")]
    #[case::two_points("1.2.3")]
    #[case::unknown_suffix("1GB")]
    #[case::wrong_case("1ki")]
    #[case::capital_kilo("1K")]
    #[case::space("1 Gi")]
    #[case::no_exponent("1e")]
    #[case::fractional_exponent("1e1.5")]
    #[case::exponent_and_suffix("1e3Ki")]
    #[case::other_digits("١")]
    #[case::two_signs("+-1")]
    fn malformed_amount_is_refused(#[case] text: &str) {
        assert_eq!(text.parse::<Amount>(), Err(InvalidAmount::Malformed(text.into())));
    }

    #[test]
    fn negative_and_endless_amounts_are_refused() {
        assert_eq!("-1".parse::<Amount>(), Err(InvalidAmount::Negative("-1".into())));
        let long = "1".repeat(21);
        assert_eq!(long.parse::<Amount>(), Err(InvalidAmount::TooLong(long.clone())));
    }

    #[rstest]
    #[case("0", "0", "0")]
    #[case("1500m", "1500m", "1500m")]
    #[case("1000", "1k", "1000")]
    #[case("1024", "1024", "1Ki")]
    #[case("1025", "1025", "1025")]
    #[case("200Gi", "214748364800", "200Gi")]
    #[case("1Pi", "1125899906842624", "1Pi")]
    #[case("2000000000", "2G", "1953125Ki")]
    #[case("0.5", "500m", "500m")]
    #[case("3n", "3n", "3n")]
    fn amount_is_printed_as_the_api_server_does(
        #[case] text: &str,
        #[case] decimal: &str,
        #[case] binary: &str,
    ) {
        let amount: Amount = text.parse().unwrap();
        assert_eq!((amount.to_decimal().as_str(), amount.to_binary().as_str()), (decimal, binary));
    }

    #[test]
    fn sums_and_differences_stay_in_range() {
        let largest = Amount { nano: MAX_NANO };
        assert_eq!(largest + largest, largest);
        assert_eq!(Amount::whole(u64::MAX), largest);
        assert_eq!(Amount::whole(1) - Amount::whole(2), Amount::default());
        let tenths = ["100m", "0.1", "100000u"].map(|text| text.parse::<Amount>().unwrap());
        assert_eq!(tenths.into_iter().sum::<Amount>(), "300m".parse().unwrap());
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(nano in 0..=MAX_NANO) {
            let amount = Amount { nano };
            // 28 digits are possible in theory; the API server has no more than 20.
            for text in [amount.to_decimal(), amount.to_binary()] {
                match text.parse::<Amount>() {
                    Ok(again) => prop_assert_eq!(again, amount),
                    Err(error) => prop_assert_eq!(error, InvalidAmount::TooLong(text)),
                }
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[-+.0-9eEkKMGTPinum]{0,40}") {
            let _ = text.parse::<Amount>();
        }
    }
}
