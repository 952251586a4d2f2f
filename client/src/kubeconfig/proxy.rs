//! Selects the proxy for an API server, as kubectl does: the kubeconfig's proxy, or else the environment's, except for
//! hosts in `NO_PROXY` and for this machine. (kube wrongly looks up the proxy's host in `NO_PROXY`.)

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;

/// This machine. The environment's proxy is not used for it.
const LOCAL_HOSTS: &str = "localhost,localhost.,127.0.0.0/8,::1,::ffff:127.0.0.0/104";

/// A proxy is invalid. The error does not quote it, because it may contain a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the proxy in {0} is not an http://, https:// or socks5:// URL")]
pub struct ProxyError(&'static str);

/// The proxy for `server`, if there is one.
///
/// # Errors
/// If the proxy is invalid.
pub fn proxy_for(server: &Uri, configured: Option<&str>) -> Result<Option<Uri>, ProxyError> {
    match configured {
        Some(url) => parse(url).ok_or(ProxyError("proxy-url")).map(Some),
        None => from_environment(server, &variable("HTTPS_PROXY"), &variable("NO_PROXY")),
    }
}

/// The environment variable in upper case, or else in lower case.
fn variable(name: &str) -> String {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    set(name).or_else(|| set(&name.to_ascii_lowercase())).unwrap_or_default()
}

fn from_environment(server: &Uri, proxy: &str, no_proxy: &str) -> Result<Option<Uri>, ProxyError> {
    let no_proxy = format!("{},{LOCAL_HOSTS}", no_proxy.replace("*.", "."));
    let matcher = Matcher::builder().all("http://any").no(no_proxy).build();
    if proxy.is_empty() || matcher.intercept(server).is_none() {
        return Ok(None);
    }
    let proxy = if proxy.contains("://") { proxy.to_owned() } else { format!("http://{proxy}") };
    parse(&proxy).ok_or(ProxyError("HTTPS_PROXY")).map(Some)
}

fn parse(url: &str) -> Option<Uri> {
    let url: Uri = url.parse().ok()?;
    matches!((url.scheme_str(), url.host()), (Some("http" | "https" | "socks5"), Some(_))).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("https://10.1.2.3:6443", "proxy:3128", "10.0.0.0/8,.corp,", None)]
    #[case("https://c2.corp", "proxy:3128", "10.0.0.0/8,.corp,", None)]
    #[case("https://c2.corp", "proxy:3128", "*.corp", None)]
    #[case("https://c2.example", "proxy:3128", "10.0.0.0/8,.corp,", Some("http://proxy:3128/"))]
    #[case(
        "https://c2.example",
        "http://me:pass@10.0.0.1:3128",
        "10.0.0.0/8",
        Some("http://me:pass@10.0.0.1:3128/")
    )]
    #[case("https://c2.example", "http://proxy", "*", None)]
    #[case("https://127.0.0.1:6443", "http://proxy", "", None)]
    #[case("https://[::1]:6443", "http://proxy", "", None)]
    #[case("https://[::ffff:127.0.0.1]:6443", "http://proxy", "", None)]
    #[case("https://LOCALHOST:6443", "http://proxy", "", None)]
    #[case("https://c2.localhost.", "http://proxy", "", None)]
    #[case("https://mylocalhost", "http://proxy", "", Some("http://proxy/"))]
    #[case("https://c2.example", "", "", None)]
    fn the_environment_selects_the_proxy(
        #[case] server: &str,
        #[case] proxy: &str,
        #[case] no_proxy: &str,
        #[case] expected: Option<&str>,
    ) {
        let chosen = from_environment(&server.parse().unwrap(), proxy, no_proxy).unwrap();
        assert_eq!(chosen.map(|url| url.to_string()).as_deref(), expected);
    }

    #[test]
    fn errors_do_not_quote_an_invalid_proxy() {
        let error = proxy_for(&Uri::from_static("https://c2"), Some("ftp://me:pass@proxy"));
        let error = error.unwrap_err().to_string();
        assert!(!error.contains("pass") && error.contains("proxy-url"), "{error}");
    }
}
