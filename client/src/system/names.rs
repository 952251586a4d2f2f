//! Names within Kubernetes' limits.

use aws_lc_rs::digest::{SHA256, digest};

/// The longest label value, and the longest DNS-1123 label.
const LABEL_MAX: usize = 63;

/// How many hexadecimal digits of a hash keep cut names apart: 40 bits.
const HASH_DIGITS: usize = 10;

/// The first `digits` hexadecimal digits of the text's SHA-256.
pub fn short_hash(text: &[u8], digits: usize) -> String {
    let mut hex: String = digest(&SHA256, text).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    hex.truncate(digits);
    hex
}

/// `name` as a label value: itself, or, over 63 characters, its beginning and a hash of the whole.
///
/// Names of objects are DNS-1123 subdomains, all of whose characters a label value may have
/// (<https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/>).
pub fn label_value(name: &str) -> String {
    if name.len() <= LABEL_MAX { name.to_owned() } else { cut(name, LABEL_MAX) }
}

/// `prefix` and `name` as one DNS-1123 label, such as a volume's name: two different names never
/// get the same label, even where they agree once they are cut or their dots are replaced.
pub fn dns_label(prefix: &str, name: &str) -> String {
    let label = format!("{prefix}{}", name.replace('.', "-"));
    if label.len() <= LABEL_MAX && !name.contains('.') && !ends_like_a_hash(name) {
        return label;
    }
    let hash = short_hash(name.as_bytes(), HASH_DIGITS);
    format!("{}-{hash}", head(&label, LABEL_MAX - HASH_DIGITS - 1))
}

/// A name that ends like a hash gets one of its own, or it could be the label of another name.
fn ends_like_a_hash(name: &str) -> bool {
    let end = name.rsplit('-').next().unwrap_or_default();
    end.len() == HASH_DIGITS && end.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn cut(name: &str, max: usize) -> String {
    format!("{}-{}", head(name, max - HASH_DIGITS - 1), short_hash(name.as_bytes(), HASH_DIGITS))
}

/// At most `max` bytes from the start, not ending in a character that can't stand before a hash.
fn head(name: &str, max: usize) -> &str {
    name[..name.floor_char_boundary(max)].trim_end_matches(['-', '.'])
}

/// Whether `name` is a DNS-1123 subdomain, as the names of most objects must be
/// (<https://kubernetes.io/docs/concepts/overview/working-with-objects/names/>).
pub fn is_dns_subdomain(name: &str) -> bool {
    let alphanumeric = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= 253
        && name.split('.').all(|label| {
            let bytes = label.as_bytes();
            bytes.first().copied().is_some_and(alphanumeric)
                && bytes.last().copied().is_some_and(alphanumeric)
                && bytes.iter().all(|&c| alphanumeric(c) || c == b'-')
        })
}

/// The names in a list of names that are separated by commas, as an annotation has it.
pub fn listed(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|name| !name.is_empty())
}

/// The name of a namespace, as a flag gives it.
///
/// # Errors
/// When it can be that of none: a namespace's name is a DNS-1123 label.
pub fn namespace(name: &str) -> Result<String, String> {
    if name.len() <= LABEL_MAX && !name.contains('.') && is_dns_subdomain(name) {
        return Ok(name.to_owned());
    }
    Err(format!(
        "no namespace can be called that: it takes lower-case letters, digits and -, at most {LABEL_MAX} characters"
    ))
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
    fn namespaces(#[case] name: &str, #[case] valid: bool) {
        assert_eq!(namespace(name).is_ok(), valid);
    }

    #[rstest]
    #[case("c2-pod-lister", true)]
    #[case("c2.example.com", true)]
    #[case("a", true)]
    #[case("", false)]
    #[case("-a", false)]
    #[case("a-", false)]
    #[case("a..b", false)]
    #[case("A", false)]
    #[case("a_b", false)]
    #[case("../token", false)]
    #[case("ä", false)]
    #[case(&"a".repeat(254), false)]
    fn subdomains(#[case] name: &str, #[case] valid: bool) {
        assert_eq!(is_dns_subdomain(name), valid);
    }

    #[test]
    fn a_short_name_is_its_own_label_value() {
        assert_eq!(label_value("c2.default-pod-lister"), "c2.default-pod-lister");
    }

    #[test]
    fn long_names_stay_apart() {
        let (a, b) = (format!("{}a", "x".repeat(80)), format!("{}b", "x".repeat(80)));
        assert_ne!(label_value(&a), label_value(&b));
        assert_eq!(label_value(&a).len(), 63);
        assert_ne!(dns_label("sai-", &a), dns_label("sai-", &b));
        assert_eq!(dns_label("sai-", &a).len(), 63);
    }

    #[test]
    fn dots_and_dashes_stay_apart() {
        assert_eq!(dns_label("sai-", "a-b"), "sai-a-b");
        let dotted = dns_label("sai-", "a.b");
        assert_ne!(dotted, "sai-a-b");
        // Not even a name that was made up for it.
        assert_ne!(dns_label("sai-", dotted.trim_start_matches("sai-")), dotted);
    }

    #[test]
    fn a_cut_never_leaves_a_name_that_is_no_label() {
        for length in 40..120 {
            let name = format!("{}.{}", "a".repeat(length / 2), "-b".repeat(length / 2).replace("-b", "b-"));
            let name = name.trim_end_matches('-');
            let label = dns_label("sai-", name);
            assert!(label.len() <= 63 && is_dns_subdomain(&label) && !label.contains('.'), "{label}");
        }
    }
}
