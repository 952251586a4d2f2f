//! Names and label values within the limits of Kubernetes.

use sha2::{Digest, Sha256};

/// The longest label value, and the longest DNS-1123 label.
pub const LABEL_MAX: usize = 63;

/// Hexadecimal digits of the hash that distinguishes shortened names: 40 bits.
pub const HASH_DIGITS: usize = 10;

/// The first `digits` hexadecimal digits of the text's SHA-256.
pub fn short_hash(text: &[u8], digits: usize) -> String {
    let mut hex: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
    hex.truncate(digits);
    hex
}

/// The name of an object as a label value. A name of more than 63 characters is shortened, and gets a hash.
///
/// Label values may have all characters of DNS-1123 subdomains
/// (<https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/>).
pub fn label_value(name: &str) -> String {
    if name.len() <= LABEL_MAX { name.to_owned() } else { with_hash(name, name) }
}

/// The beginning of `text` with a hash of `name`, at most 63 characters in total.
pub fn with_hash(text: &str, name: &str) -> String {
    let prefix = &text[..text.floor_char_boundary(LABEL_MAX - HASH_DIGITS - 1)];
    // A dash follows.
    let prefix = prefix.trim_end_matches(['-', '.']);
    format!("{prefix}-{}", short_hash(name.as_bytes(), HASH_DIGITS))
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

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

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
    fn a_short_name_is_an_unchanged_label_value() {
        assert_eq!(label_value("c2.default-pod-lister"), "c2.default-pod-lister");
    }

    #[test]
    fn long_names_have_different_label_values() {
        let (a, b) = (format!("{}a", "x".repeat(80)), format!("{}b", "x".repeat(80)));
        assert_ne!(label_value(&a), label_value(&b));
        assert_eq!(label_value(&a).len(), 63);
    }
}
