//! Compares endpoints. Two spellings of the same connection are equal.

use std::collections::BTreeSet;

use http::Uri;
use mcsa_credentials::credential::{CaBundle, Endpoint};

use super::kubeconfig::ChosenContext;

/// The parts in which two endpoints differ, for messages.
fn differences(one: &Endpoint, other: &Endpoint) -> Vec<&'static str> {
    let proxy = |endpoint: &Endpoint| endpoint.proxy_url.as_deref().map(Url::parse);
    let are_equal = [
        ("server", Url::parse(&one.server) == Url::parse(&other.server)),
        ("proxy", proxy(one) == proxy(other)),
        ("CA", authorities(one) == authorities(other)),
        ("TLS server name", have_same_name(one, other)),
    ];
    are_equal.into_iter().filter(|(_, are_equal)| !are_equal).map(|(part, _)| part).collect()
}

/// The parts in which an endpoint differs from the one that this machine uses for a context.
pub(crate) fn differences_from_context(endpoint: &Endpoint, chosen: &ChosenContext) -> Vec<&'static str> {
    // An insecure context does not use its CA.
    let ca_bundle = chosen.ca_bundle.clone().filter(|_| !chosen.insecure);
    differences(endpoint, &Endpoint { ca_bundle, ..chosen.endpoint() })
}

/// A URL without the spellings that make no difference.
#[derive(Debug, PartialEq, Eq)]
enum Url {
    Valid { scheme: String, user: Option<String>, host: String, port: u16, path: String },
    Invalid(String),
}

impl Url {
    fn parse(text: &str) -> Self {
        let parsed = text.parse::<Uri>().ok();
        parsed.and_then(|uri| Self::of(&uri)).unwrap_or_else(|| Self::Invalid(text.to_owned()))
    }

    fn of(uri: &Uri) -> Option<Self> {
        let scheme = uri.scheme_str()?.to_ascii_lowercase();
        let default_port = match scheme.as_str() {
            "https" => 443,
            "http" => 80,
            "socks5" => 1080,
            _ => 0,
        };
        Some(Self::Valid {
            user: uri.authority()?.as_str().rsplit_once('@').map(|(user, _)| user.to_owned()),
            host: uri.host()?.to_ascii_lowercase(),
            port: uri.port_u16().unwrap_or(default_port),
            path: uri.path().trim_end_matches('/').to_owned(),
            scheme,
        })
    }
}

/// The CAs, without their order and the text around them. An invalid bundle equals only itself.
fn authorities(endpoint: &Endpoint) -> Option<Result<BTreeSet<Vec<u8>>, &str>> {
    let bundle = endpoint.ca_bundle.as_deref()?;
    let parsed = CaBundle::parse("CA", bundle.as_bytes());
    Some(parsed.map(|parsed| parsed.der().iter().cloned().collect()).map_err(|_| bundle))
}

/// Whether the same name is expected in the certificate. The default, the host, is compared as a part of the server.
fn have_same_name(one: &Endpoint, other: &Endpoint) -> bool {
    let name = |endpoint: &Endpoint| {
        let host = || endpoint.server.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
        endpoint.tls_server_name.clone().or_else(host).map(|name| name.to_ascii_lowercase())
    };
    (one.tls_server_name.is_none() && other.tls_server_name.is_none()) || name(one) == name(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use std::collections::HashMap;
    use std::sync::{LazyLock, Mutex};

    /// Self-signed certificates. The same name is the same certificate.
    fn pem(names: &[&str]) -> String {
        static KNOWN: LazyLock<Mutex<HashMap<String, String>>> = LazyLock::new(Mutex::default);
        let mut known = KNOWN.lock().unwrap();
        let new = |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap().cert.pem();
        names
            .iter()
            .map(|&name| format!("# {name}\n{}", known.entry(name.into()).or_insert_with(|| new(name))))
            .collect()
    }

    fn endpoint(server: &str, proxy: &str, ca: &[&str], name: &str) -> Endpoint {
        let set = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Endpoint {
            server: server.into(),
            ca_bundle: set(&pem(ca)),
            tls_server_name: set(name),
            proxy_url: set(proxy),
        }
    }

    #[rstest]
    #[case::same("https://c2", "http://proxy", &["A", "B"], "", &[])]
    #[case::slash("https://c2/", "http://proxy/", &["A", "B"], "", &[])]
    #[case::default_ports("https://c2:443", "http://proxy:80", &["A", "B"], "", &[])]
    #[case::upper_case("HTTPS://C2", "http://PROXY", &["A", "B"], "", &[])]
    #[case::order_of_certificates("https://c2", "http://proxy", &["B", "A"], "", &[])]
    #[case::name_of_the_host("https://c2", "http://proxy", &["A", "B"], "C2", &[])]
    #[case::port("https://c2:6443", "http://proxy", &["A", "B"], "", &["server"])]
    #[case::path("https://c2/x", "http://proxy", &["A", "B"], "", &["server"])]
    #[case::host("https://c3", "http://proxy", &["A", "B"], "", &["server"])]
    #[case::no_url("c2", "http://proxy", &["A", "B"], "", &["server"])]
    #[case::no_proxy("https://c2", "", &["A", "B"], "", &["proxy"])]
    #[case::user_of_the_proxy("https://c2", "http://me@proxy", &["A", "B"], "", &["proxy"])]
    #[case::scheme_of_the_proxy("https://c2", "socks5://proxy", &["A", "B"], "", &["proxy"])]
    #[case::fewer_certificates("https://c2", "http://proxy", &["A"], "", &["CA"])]
    #[case::no_certificates("https://c2", "http://proxy", &[], "", &["CA"])]
    #[case::name("https://c2", "http://proxy", &["A", "B"], "kubernetes", &["TLS server name"])]
    #[case::all("https://c3", "", &[], "c2.example", &["server", "proxy", "CA", "TLS server name"])]
    fn endpoints_are_compared_as_a_whole(
        #[case] server: &str,
        #[case] proxy: &str,
        #[case] ca: &[&str],
        #[case] name: &str,
        #[case] expected: &[&str],
    ) {
        let one = endpoint("https://c2", "http://proxy", &["A", "B"], "");
        let other = endpoint(server, proxy, ca, name);
        assert_eq!(differences(&one, &other), expected);
        assert_eq!(differences(&other, &one), expected);
    }

    #[test]
    fn insecure_context_differs_in_its_ca() {
        let mut chosen =
            ChosenContext { server: "https://c2".into(), ca_bundle: Some(pem(&["A"])), ..Default::default() };
        let endpoint = chosen.endpoint();
        assert!(differences_from_context(&endpoint, &chosen).is_empty());
        chosen.insecure = true;
        assert_eq!(differences_from_context(&endpoint, &chosen), ["CA"]);
    }
}
