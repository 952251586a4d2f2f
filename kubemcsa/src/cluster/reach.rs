//! Classifies addresses by whether other machines can reach them.

use std::net::IpAddr;

use http::Uri;
use mcsa_credentials::url::without_credentials;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Possibly from other machines, too.
    Anywhere,
    /// Only from the machine itself.
    Loopback,
    /// `0.0.0.0` or `::`, which is no address to connect to.
    Unspecified,
}

/// Classifies the host of an API server's URL. Fails unless it is an https URL without a user and without a query:
/// clients ignore these, or send them to the API server, and every credential would contain the secrets in them.
pub(crate) fn of(url: &str) -> Result<Reach, String> {
    let shown = without_credentials(url);
    let uri = parse(url)?;
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(format!("has a user or a password, which credentials can't have; use {shown:?}"));
    }
    if uri.query().is_some() {
        return Err(format!("has a query, which credentials can't have; use {shown:?}"));
    }
    match (uri.scheme_str(), uri.host()) {
        (Some("https"), Some(host)) => Ok(of_host(host)),
        _ => Err(format!("is {shown:?}; it must begin with https://, or tokens would be sent in plain text")),
    }
}

/// Classifies the host of a proxy's URL.
pub(crate) fn of_proxy(url: &str) -> Result<Reach, String> {
    let uri = parse(url)?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https" | "socks5"), Some(host)) => Ok(of_host(host)),
        _ => Err(format!(
            "is {:?}; it must begin with http://, https:// or socks5://",
            without_credentials(url)
        )),
    }
}

fn parse(url: &str) -> Result<Uri, String> {
    url.parse().map_err(|_| format!("is {:?}, which is not a URL", without_credentials(url)))
}

fn of_host(host: &str) -> Reach {
    let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase();
    if host == "localhost" || host.ends_with(".localhost") {
        return Reach::Loopback;
    }
    match host.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(address) if address.is_loopback() => Reach::Loopback,
        Ok(address) if address.is_unspecified() => Reach::Unspecified,
        _ => Reach::Anywhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("https://127.0.0.1:6443", Reach::Loopback)]
    #[case("https://127.9.9.9", Reach::Loopback)]
    #[case("https://[::1]:6443", Reach::Loopback)]
    #[case("https://[::ffff:127.0.0.1]:6443", Reach::Loopback)]
    #[case("https://localhost:6443/k8s/clusters/c-1", Reach::Loopback)]
    #[case("https://LOCALHOST.:6443", Reach::Loopback)]
    #[case("https://c2.localhost", Reach::Loopback)]
    #[case("https://0.0.0.0:6443", Reach::Unspecified)]
    #[case("https://[::]:6443", Reach::Unspecified)]
    #[case("https://10.0.0.1", Reach::Anywhere)]
    #[case("https://localhost.example.com", Reach::Anywhere)]
    #[case("https://mylocalhost", Reach::Anywhere)]
    #[case("https://kubernetes.docker.internal:6443", Reach::Anywhere)]
    fn loopback_addresses_are_recognized(#[case] url: &str, #[case] expected: Reach) {
        assert_eq!(of(url), Ok(expected));
    }

    #[rstest]
    #[case("http://c2:6443")]
    #[case("c2:6443")]
    #[case("c2")]
    #[case("")]
    #[case("https://a b")]
    fn invalid_urls_are_rejected(#[case] url: &str) {
        assert!(of(url).is_err());
    }

    #[rstest]
    #[case("https://me:s3cret@c2")]
    #[case("https://me:s3 cret@c2")]
    #[case("http://me:s3cret@c2")]
    #[case("ftp://me:s3cret@c2")]
    #[case("me:s3cret@c2")]
    fn errors_show_no_password(#[case] url: &str) {
        for error in [of(url).err(), of_proxy(url).err()].into_iter().flatten() {
            assert!(!error.contains("cret"), "{error}");
        }
    }

    #[test]
    fn user_in_the_url_of_a_server_is_refused() {
        let error = of("https://me:s3cret@c2:6443/x").unwrap_err();
        assert!(
            error.contains("has a user or a password") && error.contains("\"https://c2:6443/x\""),
            "{error}"
        );
        assert_eq!(of("https://c2/a@b"), Ok(Reach::Anywhere));
    }

    #[test]
    fn query_in_the_url_of_a_server_is_refused() {
        let error = of("https://c2:6443/x?token=s3cret").unwrap_err();
        assert!(error.contains("has a query") && error.contains("\"https://c2:6443/x\""), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }

    #[rstest]
    #[case("socks5://localhost:1080", Some(Reach::Loopback))]
    #[case("http://proxy:3128", Some(Reach::Anywhere))]
    #[case("ftp://proxy", None)]
    fn loopback_proxies_are_recognized(#[case] url: &str, #[case] expected: Option<Reach>) {
        assert_eq!(of_proxy(url).ok(), expected);
    }
}
