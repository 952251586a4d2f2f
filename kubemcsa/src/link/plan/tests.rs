use super::*;
use rstest::rstest;
use std::path::PathBuf;

use crate::link::flags::{RouteFlags, SourceFlags, TargetFlags};

const LOOPBACK: &str = "https://127.0.0.1:6441";
const REACHABLE: &str = "https://c2.example:6443";

fn chosen(name: &str, server: &str) -> ChosenContext {
    ChosenContext {
        context: format!("admin@{name}"),
        cluster_name: name.into(),
        server: server.into(),
        ca_bundle: Some("CA of the kubeconfig".into()),
        ..Default::default()
    }
}

/// A context of another kubeconfig.
fn in_other_file(name: &str) -> ChosenContext {
    ChosenContext { file: Some("other.kubeconfig".into()), ..chosen(name, REACHABLE) }
}

fn flags() -> Flags {
    Flags {
        command: "bootstrap",
        target: TargetFlags { context: Some("admin@c1".into()), ..Default::default() },
        source: SourceFlags { context: Some("admin@c2".into()), ..Default::default() },
        ..Default::default()
    }
}

fn planned(
    flags: Flags,
    target: ChosenContext,
    source: ChosenContext,
    ca_file: Option<String>,
) -> Result<(Plan, Route), PlanError> {
    let plan = plan(flags, target, source)?;
    let route = route(&plan, ca_file)?;
    Ok((plan, route))
}

fn refused(flags: Flags, target: ChosenContext, source: ChosenContext) -> String {
    planned(flags, target, source, None).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn names_and_endpoint_default_to_the_kubeconfig() {
    let (plan, route) = planned(flags(), chosen("c1", "https://c1"), chosen("c2", REACHABLE), None).unwrap();
    assert_eq!((plan.target.name.as_str(), plan.source.name.as_str()), ("c1", "c2"));
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
    match (planned(Flags { route, ..flags() }, chosen("c1", target), chosen("c2", source), None), expected) {
        (Ok((_, route)), Ok(same_host_only)) => {
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

#[rstest]
#[case("c1", "c1", "target and source are both called c1")]
#[case("gke_project_zone_prod", "c2", "--target-name gke-project-zone-prod")]
#[case("c1", "arn:aws:eks:eu-1:1:cluster/prod", "--source-name arn-aws-eks-eu-1-1-cluster-prod")]
#[case("c1", "___", "--source-name NAME")]
#[case("importer", "c2", "importer can't be the name of the target")]
#[case("default", "c2", "--target-name default-cluster")]
fn unusable_names_are_refused_with_the_flag_that_fixes_them(
    #[case] target: &str,
    #[case] source: &str,
    #[case] expected: &str,
) {
    let error = refused(flags(), chosen(target, "https://c1"), in_other_file(source));
    assert!(error.contains(expected), "{error}");
}

#[test]
fn flags_override_names_of_the_kubeconfig() {
    let mut flags = flags();
    flags.target.name = Some("prod".into());
    flags.source.name = Some("edge".into());
    let plan = plan(flags, chosen("kubernetes", "https://c1"), in_other_file("kubernetes")).unwrap();
    assert_eq!((plan.target.name.as_str(), plan.source.name.as_str()), ("prod", "edge"));
}

#[test]
fn same_context_requires_allow_self() {
    let same = || chosen("c1", REACHABLE);
    assert!(refused(flags(), same(), same()).contains("the same context admin@c1"));
    let allowed = Flags { allow_self: true, ..flags() };
    assert!(planned(allowed, same(), same(), None).is_ok());
    // kubeadm uses the same context name for all clusters, each in its own file.
    let file =
        |file: &str, name: &str| ChosenContext { file: Some(PathBuf::from(file)), ..chosen(name, REACHABLE) };
    let mut other = file("b", "c2");
    other.context = "admin@c1".into();
    assert!(planned(flags(), file("a", "c1"), other, None).is_ok());
}

#[test]
fn certificate_is_always_verified() {
    let insecure = || ChosenContext { insecure: true, ca_bundle: None, ..chosen("c2", REACHABLE) };
    let error = refused(flags(), chosen("c1", "https://c1"), insecure());
    assert!(error.contains("insecure-skip-tls-verify") && error.contains("--source-ca-file FILE"), "{error}");
    let ca_file = Some("CA of the file".into());
    let (_, route) = planned(flags(), chosen("c1", "https://c1"), insecure(), ca_file).unwrap();
    assert_eq!(route.endpoint.ca_bundle.as_deref(), Some("CA of the file"));
}

#[rstest]
#[case(None, None, Err("socks5://localhost:1080 is a proxy on a loopback address"))]
#[case(None, Some("http://proxy:3128"), Ok(Some("http://proxy:3128")))]
#[case(Some(REACHABLE), None, Ok(None))]
#[case(None, Some("proxy"), Err("--proxy-url is \"proxy\""))]
fn loopback_proxy_of_the_kubeconfig_is_refused(
    #[case] server: Option<&str>,
    #[case] proxy: Option<&str>,
    #[case] expected: Result<Option<&str>, &str>,
) {
    let source =
        ChosenContext { proxy_url: Some("socks5://localhost:1080".into()), ..chosen("c2", REACHABLE) };
    let given = |value: Option<&str>| value.map(str::to_owned);
    let route = RouteFlags { source_server: given(server), proxy_url: given(proxy), ..Default::default() };
    match (planned(Flags { route, ..flags() }, chosen("c1", "https://c1"), source, None), expected) {
        (Ok((_, route)), Ok(proxy)) => assert_eq!(route.endpoint.proxy_url.as_deref(), proxy),
        (Err(error), Err(message)) => assert!(error.to_string().contains(message), "{error}"),
        (got, _) => panic!("{got:?}"),
    }
}
