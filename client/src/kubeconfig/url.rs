//! URLs in messages. A URL may contain a user and a password, which messages must not show.

/// The URL without user, password and query, for messages. Drops everything before the last `@`, also if that is in a
/// path, or if the text is not a valid URL: a password with an unescaped slash looks like a path.
pub fn without_credentials(url: &str) -> String {
    let Some((before, rest)) = url.rsplit_once('@') else { return without_query(url) };
    let rest = without_query(rest);
    let is_scheme = |text: &str| text.bytes().all(|c| c.is_ascii_alphanumeric() || b"+-.".contains(&c));
    match before.split_once("://") {
        Some((scheme, _)) if is_scheme(scheme) => format!("{scheme}://{rest}"),
        _ => rest,
    }
}

fn without_query(url: &str) -> String {
    url.split('?').next().unwrap_or_default().to_owned()
}

/// Whether the text may contain a user or a password.
pub fn has_credentials(url: &str) -> bool {
    url.contains('@')
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("https://c2:6443/k8s/clusters/c-1", "https://c2:6443/k8s/clusters/c-1")]
    #[case("http://me:pass@proxy:3128", "http://proxy:3128")]
    #[case("http://me@proxy:3128/", "http://proxy:3128/")]
    #[case("socks5h://:pass@proxy", "socks5h://proxy")]
    #[case::escaped("http://me:pa%40ss@[::1]:3128", "http://[::1]:3128")]
    #[case::two_signs("http://me:pa@ss@proxy", "http://proxy")]
    #[case::slash_in_the_password("http://me:1/pass@proxy", "http://proxy")]
    #[case::no_scheme("me:pass@proxy:3128", "proxy:3128")]
    #[case::invalid_scheme("me:pass://x@proxy", "proxy")]
    #[case::space("http://me:pa ss@pro xy", "http://pro xy")]
    #[case::query("https://me:pass@c2/path?token=t0ken", "https://c2/path")]
    #[case::nothing_after("me:pass@", "")]
    #[case::empty("", "")]
    fn user_and_password_are_not_shown(#[case] url: &str, #[case] expected: &str) {
        assert_eq!(without_credentials(url), expected);
        assert_eq!(has_credentials(url), url != expected);
    }
}
