//! Parses the pod's annotations.

use mcsa_client::contract;
use mcsa_credentials::names::{comma_separated, is_dns_subdomain};

use crate::message::quote;

/// Maximum number of imports per pod: each is looked up, and mounted in each container. An annotation of 256 KiB could
/// list thousands.
const MAX_IMPORTS: usize = 64;

/// The value of an annotation is invalid.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Invalid {
    #[error(
        "annotation {}: {name} is not a valid ServiceAccountImport name: use names of lowercase letters, digits, '-' and \
         '.', separated by commas, such as c2-pod-lister,c3-pod-lister",
        contract::IMPORT_NAME
    )]
    Name { name: String },
    #[error(
        "annotation {} lists more than {MAX_IMPORTS} ServiceAccountImports; list fewer",
        contract::IMPORT_NAME
    )]
    TooMany,
    #[error("annotation {} is {value}; it must be \"true\" or \"false\"", contract::KUBECONFIG_ENV)]
    Boolean { value: String },
}

/// Parses [`contract::IMPORT_NAME`]: names in their order, without duplicates.
pub(crate) fn names(value: &str) -> Result<Vec<&str>, Invalid> {
    let mut names: Vec<&str> = Vec::new();
    for name in comma_separated(value) {
        if !is_dns_subdomain(name) {
            return Err(Invalid::Name { name: quote(name) });
        }
        if names.contains(&name) {
            continue;
        }
        if names.len() == MAX_IMPORTS {
            return Err(Invalid::TooMany);
        }
        names.push(name);
    }
    Ok(names)
}

/// Parses [`contract::KUBECONFIG_ENV`].
pub(crate) fn kubeconfig_env(value: Option<&str>) -> Result<bool, Invalid> {
    match value {
        Some("true") => Ok(true),
        None | Some("" | "false") => Ok(false),
        Some(value) => Err(Invalid::Boolean { value: quote(value) }),
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
    fn valid_names_are_parsed(#[case] value: &str, #[case] expected: &[&str]) {
        assert_eq!(names(value).unwrap(), expected);
    }

    #[rstest]
    #[case("a b", r#""a b""#)]
    #[case("a;b", r#""a;b""#)]
    #[case("a,../b", r#""../b""#)]
    #[case("default/a", r#""default/a""#)]
    #[case("A", r#""A""#)]
    #[case("a\nb", r#""a\nb""#)]
    fn invalid_names_are_rejected(#[case] value: &str, #[case] quoted: &str) {
        let message = names(value).unwrap_err().to_string();
        assert!(message.contains(quoted) && message.contains("separated by commas"), "{message}");
        assert!(!message.contains('\n'));
    }

    #[test]
    fn too_many_imports_are_rejected() {
        let many = |count: usize| (0..count).map(|i| format!("a{i},a{i}")).collect::<Vec<_>>().join(",");
        assert_eq!(names(&many(64)).unwrap().len(), 64);
        assert_eq!(names(&many(65)), Err(Invalid::TooMany));
    }

    #[test]
    fn message_about_a_long_value_is_short() {
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
    fn kubeconfig_env_must_be_a_boolean(#[case] value: Option<&str>, #[case] expected: Result<bool, &str>) {
        let expected = expected.map_err(|quoted| {
            format!("annotation multicluster.admiralty.io/kubeconfig-env is {quoted}; it must be \"true\" or \"false\"")
        });
        assert_eq!(kubeconfig_env(value).map_err(|invalid| invalid.to_string()), expected);
    }
}
