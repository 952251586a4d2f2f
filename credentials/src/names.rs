//! Names within the limits of Kubernetes.

use mcsa_client::names::{HASH_DIGITS, LABEL_MAX, with_hash};
pub use mcsa_client::names::{is_dns_subdomain, label_value, short_hash};

/// A DNS-1123 label of `prefix` and `name`, for example for a volume. Different names get different labels, even if
/// they differ only in dots, or only in characters that a label is too short for.
pub fn dns_label(prefix: &str, name: &str) -> String {
    let label = format!("{prefix}{}", name.replace('.', "-"));
    if label.len() <= LABEL_MAX && !name.contains('.') && !ends_like_a_hash(name) {
        return label;
    }
    with_hash(&label, name)
}

/// The Workflow that owns the outputs of Argo's steps in a source with the kind Workflow. `account`: the launcher's
/// service account there. argoexec puts the name into a label, whose values are short.
pub fn stub_workflow(account: &str) -> String {
    dns_label("", account)
}

/// Whether a name ends like a hash. Such a name gets a hash, too, because it could equal the label of another name.
fn ends_like_a_hash(name: &str) -> bool {
    let end = name.rsplit('-').next().unwrap_or_default();
    end.len() == HASH_DIGITS && end.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Splits the value of an annotation at commas.
pub fn comma_separated(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|name| !name.is_empty())
}

/// Parses the name of a namespace in a flag.
///
/// # Errors
/// If it is not a DNS-1123 label.
pub fn namespace(name: &str) -> Result<String, String> {
    if name.len() <= LABEL_MAX && !name.contains('.') && is_dns_subdomain(name) {
        return Ok(name.to_owned());
    }
    Err(format!("not a valid namespace name: use at most {LABEL_MAX} lower-case letters, digits and -"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("team-a", true)]
    #[case(&"a".repeat(63), true)]
    #[case(&"a".repeat(64), false)]
    #[case("a.b", false)]
    #[case("", false)]
    #[case(" a", false)]
    fn namespace_must_be_a_dns_label(#[case] name: &str, #[case] valid: bool) {
        assert_eq!(namespace(name).is_ok(), valid);
    }

    #[test]
    fn long_names_get_different_labels() {
        let (a, b) = (format!("{}a", "x".repeat(80)), format!("{}b", "x".repeat(80)));
        assert_ne!(dns_label("sai-", &a), dns_label("sai-", &b));
        assert_eq!(dns_label("sai-", &a).len(), 63);
    }

    #[test]
    fn names_with_dots_and_dashes_get_different_labels() {
        assert_eq!(dns_label("sai-", "a-b"), "sai-a-b");
        let dotted = dns_label("sai-", "a.b");
        assert_ne!(dotted, "sai-a-b");
        // A name that was chosen to collide gets another label, too.
        assert_ne!(dns_label("sai-", dotted.trim_start_matches("sai-")), dotted);
    }

    #[test]
    fn a_shortened_name_is_a_dns_label() {
        for length in 40..120 {
            let name = format!("{}.{}", "a".repeat(length / 2), "-b".repeat(length / 2).replace("-b", "b-"));
            let name = name.trim_end_matches('-');
            let label = dns_label("sai-", name);
            assert!(label.len() <= 63 && is_dns_subdomain(&label) && !label.contains('.'), "{label}");
        }
    }
}
