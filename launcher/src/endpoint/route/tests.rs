use proptest::collection::vec;
use proptest::prelude::any;
use proptest::{prop_assert, prop_assert_eq, proptest};
use rstest::rstest;

use super::*;

fn source_uri(path: &str, query: &str) -> String {
    match Route::of(path, query) {
        Route::Pod(route) => route.source_uri("remote", "twin"),
        route => panic!("{route:?}"),
    }
}

#[rstest]
#[case("/containerLogs/n/p/c", "", "log?container=c")]
#[case(
    "/containerLogs/n/p/c",
    "tailLines=5&timestamps=true&follow=true&sinceTime=2026-01-02T03%3A04%3A05Z&stream=All",
    "log?container=c&follow=true&timestamps=true&sinceTime=2026-01-02T03%3A04%3A05Z&tailLines=5"
)]
#[case(
    "/containerLogs/n/p/c",
    "previous=true&sinceSeconds=9&limitBytes=7&insecureSkipTLSVerifyBackend=true&stream=Stderr&pretty=true",
    "log?container=c&previous=true&sinceSeconds=9&limitBytes=7&insecureSkipTLSVerifyBackend=true&stream=Stderr"
)]
#[case(
    "/exec/n/p/c",
    "input=1&output=1&error=1&tty=1&command=a",
    "exec?container=c&stdin=true&stdout=true&stderr=true&tty=true&command=a"
)]
#[case(
    "/exec/n/p/u-1/c",
    "command=sh&command=-c&command=a+%26%26+b+100%25&command=&command=%C3%A4%2B&output=1&input=0",
    "exec?container=c&stdout=true&command=sh&command=-c&command=a%20%26%26%20b%20100%25&command=&command=%C3%A4%2B"
)]
#[case("/exec/n/p/c", "output=1&command=%FF%00", "exec?container=c&stdout=true&command=%FF%00")]
#[case("/attach/n/p/c", "output=1&error=1&command=a", "attach?container=c&stdout=true&stderr=true")]
#[case("/attach/n/p/u-1/c", "input=1", "attach?container=c&stdin=true")]
#[case("/portForward/n/p", "", "portforward")]
#[case("/portForward/n/p/u-1", "port=80%2C443&port=8080", "portforward?ports=80&ports=443&ports=8080")]
#[case("/portForward/n/p", "ports=80", "portforward?ports=80")]
#[case("/exec/n/p/c%26tty%3Dtrue", "output=1", "exec?container=c%26tty%3Dtrue&stdout=true")]
fn request_is_rewritten_for_the_source(#[case] path: &str, #[case] query: &str, #[case] expected: &str) {
    assert_eq!(source_uri(path, query), format!("/api/v1/namespaces/remote/pods/twin/{expected}"));
}

#[test]
fn home_pod_is_named_by_the_path() {
    let Route::Pod(route) = Route::of("/exec/name%2Dspace/pod.x/u-1/c", "") else { panic!() };
    assert_eq!((&*route.namespace, &*route.pod, route.uid.as_deref()), ("name-space", "pod.x", Some("u-1")));
    let Route::Pod(route) = Route::of("/portForward/n/p", "") else { panic!() };
    assert_eq!((route.operation, route.uid), (Operation::PortForward, None));
}

/// A name can't lead to another object: it is encoded.
#[test]
fn segments_of_the_source_are_encoded() {
    let Route::Pod(route) = Route::of("/portForward/n/p", "") else { panic!() };
    assert_eq!(
        route.source_uri("n/../x", "p?a=b#c"),
        "/api/v1/namespaces/n%2F..%2Fx/pods/p%3Fa%3Db%23c/portforward"
    );
}

#[rstest]
#[case("/healthz", Route::Healthz)]
#[case("/pods", Route::Pods)]
#[case("/stats/summary", Route::Stats)]
#[case("/metrics/resource/c2", Route::Usage("c2".into()))]
#[case("/metrics/resource/", Route::Metrics)]
#[case("/metrics/resource/c2/x", Route::Metrics)]
#[case("/metrics/resource", Route::Metrics)]
#[case("/metrics", Route::Metrics)]
#[case("/", Route::Other)]
#[case("", Route::Other)]
#[case("/run/n/p/c", Route::Other)]
#[case("/exec/n/p", Route::Other)]
#[case("/exec/n//c", Route::Other)]
#[case("/exec/n/p/c/", Route::Other)]
#[case("/exec/n/p/u/c/d", Route::Other)]
#[case("/exec/n/p/%FF", Route::Other)]
#[case("/containerLogs/n/p/u/c", Route::Other)]
#[case("/portForward/n", Route::Other)]
#[case("/healthz/ping", Route::Other)]
fn other_paths(#[case] path: &str, #[case] expected: Route) {
    assert_eq!(Route::of(path, ""), expected);
}

proptest! {
    #[test]
    fn nothing_but_the_pod_is_reached(
        path in "(/(exec|attach|portForward|containerLogs))?[ -~]{0,40}",
        query in "[ -~]{0,40}",
    ) {
        if let Route::Pod(route) = Route::of(&path, &query) {
            let uri = route.source_uri("remote", "twin").parse::<http::Uri>().unwrap();
            let rest = uri.path().strip_prefix("/api/v1/namespaces/remote/pods/twin/").unwrap();
            prop_assert!(["log", "exec", "attach", "portforward"].contains(&rest));
        }
    }

    #[test]
    fn command_arrives_as_it_was_sent(command in vec(vec(any::<u8>(), 0..20), 0..9)) {
        let sent: Vec<_> = command.iter().map(|argument| ("command", argument.clone())).collect();
        let uri = source_uri("/exec/n/p/c", &query::encode(&sent));
        let received = query::decode(uri.split_once('?').unwrap().1);
        let received = received.into_iter().filter(|(name, _)| name == "command").map(|(_, value)| value);
        prop_assert_eq!(received.collect::<Vec<_>>(), command);
        // hyper sends it.
        prop_assert_eq!(uri.parse::<http::Uri>().unwrap().to_string(), uri);
    }
}
