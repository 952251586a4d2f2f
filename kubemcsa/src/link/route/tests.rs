use super::*;
use rstest::rstest;

use crate::link::flags::RouteFlags;
use crate::link::plan::{self, tests::flags};

const LOOPBACK: &str = "https://127.0.0.1:6441";
const REACHABLE: &str = "https://c2.example:6443";

fn chosen(name: &str, server: &str) -> ChosenContext {
    ChosenContext { ca_bundle: Some("CA of the kubeconfig".into()), ..plan::tests::chosen(name, server) }
}

fn routed(
    flags: Flags,
    target: ChosenContext,
    source: ChosenContext,
    ca_file: Option<String>,
) -> Result<Route, RouteError> {
    route(&plan::plan(flags, target, source).unwrap(), ca_file)
}

/// The route of a link whose flags are `route`, to a source whose kubeconfig has a proxy.
fn routed_past(proxy: &str, route: RouteFlags) -> Result<Route, RouteError> {
    let source = ChosenContext { proxy_url: Some(proxy.into()), ..chosen("c2", REACHABLE) };
    routed(Flags { route, ..flags() }, chosen("c1", "https://c1"), source, None)
}

#[test]
fn endpoint_defaults_to_the_kubeconfig() {
    let route = routed(flags(), chosen("c1", "https://c1"), chosen("c2", REACHABLE), None).unwrap();
    assert_eq!(route.endpoint.server, REACHABLE);
    assert_eq!(route.endpoint.ca_bundle.as_deref(), Some("CA of the kubeconfig"));
    assert!(!route.same_host_only);
}

#[rstest]
#[case(
    "https://c1",
    LOOPBACK,
    None,
    Err("c2: https://127.0.0.1:6441 is a loopback address, which c1 can't reach")
)]
#[case("https://c1", LOOPBACK, None, Err("run: kubemcsa"))]
#[case("https://c1", LOOPBACK, Some(REACHABLE), Ok(false))]
#[case("https://c1", REACHABLE, Some(LOOPBACK), Ok(true))]
#[case(LOOPBACK, "https://localhost:6442", None, Ok(true))]
#[case(LOOPBACK, REACHABLE, None, Ok(false))]
#[case(LOOPBACK, "https://0.0.0.0:6442", None, Err("an unspecified address"))]
#[case("https://c1", REACHABLE, Some("https://[::]:6442"), Err("an unspecified address"))]
#[case(
    "https://c1",
    "http://c2",
    None,
    Err("the kubeconfig's server is \"http://c2\"; it must begin with https://")
)]
#[case(
    "https://c1",
    REACHABLE,
    Some("c2:6443"),
    Err("--source-server is \"c2:6443\"; it must begin with https://")
)]
fn server_must_be_reachable_from_the_target(
    #[case] target: &str,
    #[case] source: &str,
    #[case] given: Option<&str>,
    #[case] expected: Result<bool, &str>,
) {
    let route = RouteFlags { source_server: given.map(Into::into), ..Default::default() };
    match (routed(Flags { route, ..flags() }, chosen("c1", target), chosen("c2", source), None), expected) {
        (Ok(route), Ok(same_host_only)) => {
            assert_eq!(route.same_host_only, same_host_only);
            assert_eq!(route.endpoint.server, given.unwrap_or(source));
        }
        (Err(error), Err("run: kubemcsa")) => {
            let fix = "kubemcsa bootstrap --target-context admin@c1 --source-context admin@c2 \
                        --source-server https://ADDRESS:6441";
            assert!(error.to_string().contains(fix), "{error}");
        }
        (Err(error), Err(message)) => assert!(error.to_string().contains(message), "{error}"),
        (got, _) => panic!("{got:?}"),
    }
}

#[test]
fn certificate_is_always_verified() {
    let insecure = || ChosenContext { insecure: true, ca_bundle: None, ..chosen("c2", REACHABLE) };
    let error = routed(flags(), chosen("c1", "https://c1"), insecure(), None).unwrap_err().to_string();
    assert!(error.contains("insecure-skip-tls-verify") && error.contains("--source-ca-file FILE"), "{error}");
    let ca_file = Some("CA of the file".into());
    let route = routed(flags(), chosen("c1", "https://c1"), insecure(), ca_file).unwrap();
    assert_eq!(route.endpoint.ca_bundle.as_deref(), Some("CA of the file"));
}

#[rstest]
#[case::none_given(None, None, false, Err("socks5://localhost:1080 is a proxy on a loopback address"))]
#[case::mend_without_proxy(None, None, false, Err("--source-context admin@c2 --no-proxy;"))]
#[case::mend_with_another(None, None, false, Err("--source-context admin@c2 --proxy-url URL"))]
#[case::another(None, Some("http://proxy:3128"), false, Ok(Some("http://proxy:3128")))]
#[case::other_server(Some(REACHABLE), None, false, Ok(None))]
#[case::no_proxy(None, None, true, Ok(None))]
#[case::invalid(None, Some("proxy"), false, Err("--proxy-url is \"proxy\""))]
fn loopback_proxy_of_the_kubeconfig_is_refused(
    #[case] server: Option<&str>,
    #[case] proxy: Option<&str>,
    #[case] no_proxy: bool,
    #[case] expected: Result<Option<&str>, &str>,
) {
    let given = |value: Option<&str>| value.map(str::to_owned);
    let flags =
        RouteFlags { source_server: given(server), proxy_url: given(proxy), no_proxy, ..Default::default() };
    match (routed_past("socks5://localhost:1080", flags), expected) {
        (Ok(route), Ok(proxy)) => assert_eq!(route.endpoint.proxy_url.as_deref(), proxy),
        (Err(error), Err(message)) => assert!(error.to_string().contains(message), "{error}"),
        (got, _) => panic!("{got:?}"),
    }
}

#[rstest]
#[case::of_the_kubeconfig(None, Some("proxy proxy:3128,"))]
#[case::of_a_flag(Some("http://me:s3cret@other:3128"), None)]
fn proxy_of_the_kubeconfig_is_reported(#[case] given: Option<&str>, #[case] expected: Option<&str>) {
    let flags = RouteFlags { proxy_url: given.map(str::to_owned), ..Default::default() };
    let route = routed_past("http://me:s3cret@proxy:3128/", flags).unwrap();
    let (notice, warning) = (route.proxy_notice("c2"), route.password_warning("c2").unwrap());
    assert_eq!(notice.is_some(), expected.is_some());
    assert!(notice.clone().unwrap_or_default().contains(expected.unwrap_or_default()), "{notice:?}");
    assert!(!format!("{notice:?} {warning}").contains("s3cret"), "{notice:?} {warning}");
    let plain = routed_past("http://proxy:3128", RouteFlags::default()).unwrap();
    assert_eq!(plain.password_warning("c2"), None);
}

#[rstest]
#[case::server(Some("https://me:s3cret@c2"), None, "http://proxy")]
#[case::invalid_server(Some("https://me:s3 cret@c2"), None, "http://proxy")]
#[case::proxy(None, Some("ftp://me:s3cret@proxy"), "http://proxy")]
#[case::unparsable_proxy(None, Some("http://me:s3 cret@proxy"), "http://proxy")]
#[case::proxy_of_the_kubeconfig(None, None, "socks5://me:s3cret@localhost:1080")]
#[case::invalid_proxy_of_the_kubeconfig(None, None, "socks5h://me:s3cret@proxy")]
fn no_error_shows_a_password(
    #[case] server: Option<&str>,
    #[case] proxy: Option<&str>,
    #[case] of_the_kubeconfig: &str,
) {
    let flags = RouteFlags {
        source_server: server.map(str::to_owned),
        proxy_url: proxy.map(str::to_owned),
        ..Default::default()
    };
    let error = routed_past(of_the_kubeconfig, flags).unwrap_err().to_string();
    assert!(!error.contains("cret"), "{error}");
}
