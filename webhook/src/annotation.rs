//! The pod's annotation: which imports it names.

use std::collections::HashSet;

use mcsa_client::{contract, names};

use crate::text::quote;

/// An entry of the annotation that no import can have as its name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "annotation {} names {name}, which can't be the name of a ServiceAccountImport: wanted are names of lowercase \
     letters, digits, '-' and '.', separated by commas, such as c2-pod-lister,c3-pod-lister",
    contract::IMPORT_NAME
)]
pub struct InvalidName {
    name: String,
}

/// The names in the annotation's value, in its order, each once.
///
/// # Errors
/// When one of them is not the name of any object.
pub fn names(value: &str) -> Result<Vec<&str>, InvalidName> {
    let mut seen = HashSet::new();
    value
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty() && seen.insert(*name))
        .map(
            |name| {
                if names::is_dns_subdomain(name) { Ok(name) } else { Err(InvalidName { name: quote(name) }) }
            },
        )
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("a", &["a"])]
    #[case("b,a", &["b", "a"])]
    #[case(" a ,\tb\n", &["a", "b"])]
    #[case("a,b,a", &["a", "b"])]
    #[case(",a,,b,", &["a", "b"])]
    #[case("a.b,a-b", &["a.b", "a-b"])]
    #[case("", &[])]
    #[case(" , ", &[])]
    fn valid(#[case] value: &str, #[case] expected: &[&str]) {
        assert_eq!(names(value).unwrap(), expected);
    }

    #[rstest]
    #[case("a b", r#""a b""#)]
    #[case("a;b", r#""a;b""#)]
    #[case("a,../b", r#""../b""#)]
    #[case("default/a", r#""default/a""#)]
    #[case("A", r#""A""#)]
    #[case("a\nb", r#""a\nb""#)]
    fn invalid(#[case] value: &str, #[case] quoted: &str) {
        let message = names(value).unwrap_err().to_string();
        assert!(message.contains(quoted) && message.contains("separated by commas"), "{message}");
        assert!(!message.contains('\n'));
    }

    #[test]
    fn a_long_value_makes_a_short_message() {
        let message = names(&"ä".repeat(100_000)).unwrap_err().to_string();
        assert!(message.len() < 600, "{}", message.len());
    }
}
