//! `--capacity`: numbers that replace what the launcher would find out. The rules are those of the launcher.

use mcsa_client::names::{LABEL_MAX, is_dns_subdomain};

/// The resources without a domain.
const OWN: [&str; 4] = ["cpu", "memory", "ephemeral-storage", "pods"];

/// Quotas prefix the domain of a resource, which has at most 253 characters, with `requests.`.
const MAX_DOMAIN: usize = 244;

/// Significant digits of a quantity.
const MAX_DIGITS: usize = 20;

/// A value of the flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// No annotation: the launcher finds out.
    None,
    /// The value of the annotation.
    Given(String),
}

impl Choice {
    /// The annotation's value, if there is one.
    pub(crate) fn value(self) -> Option<String> {
        match self {
            Self::None => None,
            Self::Given(value) => Some(value),
        }
    }
}

/// Parses the flag. *Absent:* a check of what the source has.
pub(crate) fn parse(text: &str) -> Result<Choice, String> {
    if text == "none" {
        return Ok(Choice::None);
    }
    let mut names = Vec::new();
    for entry in text.split(',') {
        let example = || format!("{entry:?}: expected RESOURCE=QUANTITY, such as memory=200Gi");
        let (name, quantity) = entry.split_once('=').ok_or_else(example)?;
        if !is_resource(name) {
            return Err(format!(
                "{name:?}: expected cpu, memory, ephemeral-storage, pods, or an extended resource, such as nvidia.com/gpu"
            ));
        }
        let is_counted = name == "pods" || is_extended(name);
        if !is_whole(quantity).ok_or_else(example)? && is_counted {
            return Err(format!("{name} must be a whole number"));
        }
        if names.contains(&name) {
            return Err(format!("{name} is given twice"));
        }
        names.push(name);
    }
    Ok(Choice::Given(text.to_owned()))
}

/// Whether a virtual node may have the resource: one of Kubernetes' own, or one with a domain, such as `nvidia.com/gpu`.
fn is_resource(name: &str) -> bool {
    OWN.contains(&name) || is_extended(name)
}

fn is_extended(name: &str) -> bool {
    let is_end = |c: char| c.is_ascii_alphanumeric();
    name.split_once('/').is_some_and(|(domain, rest)| {
        let is_reserved = domain == "kubernetes.io"
            || domain.ends_with(".kubernetes.io")
            || domain.starts_with("requests.")
            || domain.len() > MAX_DOMAIN;
        let is_qualified = rest.len() <= LABEL_MAX
            && rest.starts_with(is_end)
            && rest.ends_with(is_end)
            && rest.chars().all(|c| is_end(c) || "-_.".contains(c));
        is_dns_subdomain(domain) && !is_reserved && is_qualified
    })
}

/// Whether a quantity, such as `100`, `0.5`, `500m`, `200Gi` or `1e3`, is a whole number. `None`: it is negative, or no
/// quantity.
fn is_whole(text: &str) -> Option<bool> {
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    if digits.len() > MAX_DIGITS {
        return None;
    }
    let digits: u128 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    let (shift, exponent) = scale(suffix)?;
    let exponent = exponent.saturating_sub(i32::try_from(fraction.len()).ok()?);
    let unit = 10_u128.checked_pow(exponent.unsigned_abs());
    Some(exponent >= 0 || digits == 0 || unit.is_some_and(|unit| (digits << shift).is_multiple_of(unit)))
}

/// The powers of two and ten of a suffix.
fn scale(suffix: &str) -> Option<(u32, i32)> {
    let binary = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].into_iter().zip((10..).step_by(10));
    let decimal = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"].into_iter().zip((-9..).step_by(3));
    let mut scales =
        binary.map(|(name, shift)| (name, (shift, 0))).chain(decimal.map(|(name, ten)| (name, (0, ten))));
    let known = scales.find(|(name, _)| *name == suffix).map(|(_, scale)| scale);
    known.or_else(|| Some((0, suffix.strip_prefix(['e', 'E'])?.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("cpu=100,memory=200Gi,pods=1000")]
    #[case("cpu=1500m")]
    #[case("cpu=0.5,memory=1e9")]
    #[case("nvidia.com/gpu=8,pods=1e2")]
    #[case("pods=1.5k,ephemeral-storage=+5.")]
    fn quantities_are_kept_as_written(#[case] text: &str) {
        assert_eq!(parse(text), Ok(Choice::Given(text.into())));
    }

    #[rstest]
    #[case("", "expected RESOURCE=QUANTITY")]
    #[case("cpu", "expected RESOURCE=QUANTITY")]
    #[case("cpu=", "expected RESOURCE=QUANTITY")]
    #[case("cpu=-1", "expected RESOURCE=QUANTITY")]
    #[case("cpu=111111111111111111111", "expected RESOURCE=QUANTITY")]
    #[case("pods=0.5", "pods must be a whole number")]
    #[case("nvidia.com/gpu=500m", "nvidia.com/gpu must be a whole number")]
    #[case("hugepages-2Mi=1", "expected cpu, memory")]
    #[case("gpu=1", "expected cpu, memory")]
    #[case("a.kubernetes.io/device=1", "expected cpu, memory")]
    #[case("Example.com/device=1", "expected cpu, memory")]
    #[case("cpu=1.2.3", "expected RESOURCE=QUANTITY")]
    #[case("memory=200GB", "expected RESOURCE=QUANTITY")]
    #[case("cpu=1,,memory=1", "expected RESOURCE=QUANTITY")]
    #[case("cpu=1,cpu=2", "cpu is given twice")]
    fn wrong_quantities_are_refused(#[case] text: &str, #[case] expected: &str) {
        let error = parse(text).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn none_removes_the_annotation() {
        assert_eq!(parse("none").map(Choice::value), Ok(None));
    }
}
