//! `--capacity`: numbers that replace what the launcher would find out.

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
        if !is_resource(name) || !is_quantity(quantity) {
            return Err(example());
        }
        if names.contains(&name) {
            return Err(format!("{name} is given twice"));
        }
        names.push(name);
    }
    Ok(Choice::Given(text.to_owned()))
}

/// A resource's name: `cpu`, `nvidia.com/gpu`, `hugepages-2Mi`.
fn is_resource(name: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-._/".contains(c);
    let is_end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    name.chars().all(is_allowed) && is_end(name.chars().next()) && is_end(name.chars().last())
}

/// A quantity that is not negative: `100`, `0.5`, `500m`, `200Gi`, `1e3`.
fn is_quantity(text: &str) -> bool {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let is_number = number.chars().any(|c| c.is_ascii_digit()) && number.matches('.').count() <= 1;
    let is_unit = matches!(
        suffix,
        "" | "n" | "u" | "m" | "k" | "M" | "G" | "T" | "P" | "E" | "Ki" | "Mi" | "Gi" | "Ti" | "Pi" | "Ei"
    );
    let exponent = suffix.strip_prefix(['e', 'E']).filter(|exponent| !exponent.is_empty());
    is_number && (is_unit || exponent.is_some_and(|exponent| exponent.parse::<i8>().is_ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("cpu=100,memory=200Gi,pods=1000")]
    #[case("cpu=1500m")]
    #[case("cpu=0.5,memory=1e9")]
    #[case("nvidia.com/gpu=8")]
    fn quantities_are_kept_as_written(#[case] text: &str) {
        assert_eq!(parse(text), Ok(Choice::Given(text.into())));
    }

    #[rstest]
    #[case("", "expected RESOURCE=QUANTITY")]
    #[case("cpu", "expected RESOURCE=QUANTITY")]
    #[case("cpu=", "expected RESOURCE=QUANTITY")]
    #[case("cpu=-1", "expected RESOURCE=QUANTITY")]
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
