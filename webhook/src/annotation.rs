//! The pod's annotations: which imports it names, and how it wants them.

use mcsa_client::contract;
use mcsa_credentials::names::{is_dns_subdomain, listed};

use crate::message::quote;

/// How many imports a pod may name. The API server may take an annotation of a quarter of a million
/// characters, and each import is looked up and mounted in each container.
const MOST: usize = 64;

/// An annotation says something that can't be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Invalid {
    /// An entry that no import can have as its name.
    #[error(
        "annotation {} names {name}, which can't be the name of a ServiceAccountImport: wanted are names of lowercase \
         letters, digits, '-' and '.', separated by commas, such as c2-pod-lister,c3-pod-lister",
        contract::IMPORT_NAME
    )]
    Name {
        /// The entry.
        name: String,
    },
    /// More than any pod needs.
    #[error("annotation {} names more than {MOST} ServiceAccountImports; name fewer", contract::IMPORT_NAME)]
    TooMany,
    /// Neither yes nor no.
    #[error("annotation {} is {value}; wanted: \"true\" or \"false\"", contract::KUBECONFIG_ENV)]
    Choice {
        /// What it says.
        value: String,
    },
}

/// The names in the value of [`contract::IMPORT_NAME`], in its order, each once.
///
/// # Errors
/// When one of them is not the name of any object, or there are too many.
pub(crate) fn names(value: &str) -> Result<Vec<&str>, Invalid> {
    let mut names: Vec<&str> = Vec::new();
    for name in listed(value) {
        if !is_dns_subdomain(name) {
            return Err(Invalid::Name { name: quote(name) });
        }
        if names.contains(&name) {
            continue;
        }
        if names.len() == MOST {
            return Err(Invalid::TooMany);
        }
        names.push(name);
    }
    Ok(names)
}

/// Whether the value of [`contract::KUBECONFIG_ENV`] says yes.
///
/// # Errors
/// When it says neither yes nor no.
pub(crate) fn kubeconfig_env(value: Option<&str>) -> Result<bool, Invalid> {
    match value {
        Some("true") => Ok(true),
        None | Some("" | "false") => Ok(false),
        Some(value) => Err(Invalid::Choice { value: quote(value) }),
    }
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
    fn more_than_any_pod_needs_are_too_many() {
        let many = |count: usize| (0..count).map(|i| format!("a{i},a{i}")).collect::<Vec<_>>().join(",");
        assert_eq!(names(&many(64)).unwrap().len(), 64);
        assert_eq!(names(&many(65)), Err(Invalid::TooMany));
    }

    #[test]
    fn a_long_value_makes_a_short_message() {
        let message = names(&"ä".repeat(100_000)).unwrap_err().to_string();
        assert!(message.len() < 600, "{}", message.len());
    }

    #[rstest]
    #[case(None, Ok(false))]
    #[case(Some(""), Ok(false))]
    #[case(Some("false"), Ok(false))]
    #[case(Some("true"), Ok(true))]
    #[case(Some("True"), Err("\"True\""))]
    #[case(Some("yes\n"), Err("\"yes\\n\""))]
    fn choices(#[case] value: Option<&str>, #[case] expected: Result<bool, &str>) {
        let expected = expected.map_err(|quoted| {
            format!("annotation multicluster.admiralty.io/kubeconfig-env is {quoted}; wanted: \"true\" or \"false\"")
        });
        assert_eq!(kubeconfig_env(value).map_err(|invalid| invalid.to_string()), expected);
    }
}
