//! Classifies addresses by whether other machines can reach them.

use std::net::IpAddr;

use http::Uri;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Possibly from other machines, too.
    Anywhere,
    /// Only from the machine itself.
    Loopback,
    /// `0.0.0.0` or `::`, which is no address to connect to.
    Unspecified,
}

/// Classifies the host of an API server's URL. Fails unless it is an https URL.
pub(crate) fn of(url: &str) -> Result<Reach, String> {
    let uri: Uri = url.parse().map_err(|_| format!("is {url:?}, which is not a URL"))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("https"), Some(host)) => Ok(of_host(host)),
        _ => Err(format!("is {url:?}; it must begin with https://, or tokens would be sent in plain text")),
    }
}

/// Classifies the host of a proxy's URL.
pub(crate) fn of_proxy(url: &str) -> Result<Reach, String> {
    let uri: Uri = url.parse().map_err(|_| format!("is {url:?}, which is not a URL"))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https" | "socks5"), Some(host)) => Ok(of_host(host)),
        _ => Err(format!("is {url:?}; it must begin with http://, https:// or socks5://")),
    }
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
    #[case("socks5://localhost:1080", Some(Reach::Loopback))]
    #[case("http://proxy:3128", Some(Reach::Anywhere))]
    #[case("ftp://proxy", None)]
    fn loopback_proxies_are_recognized(#[case] url: &str, #[case] expected: Option<Reach>) {
        assert_eq!(of_proxy(url).ok(), expected);
    }
}
