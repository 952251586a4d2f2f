//! The endpoint over real sockets, between a caller, a target and a source.

mod limits;

use futures::FutureExt;
use mcsa_client::clusters::{Clusters, Member};
use rstest::rstest;
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

use super::fixtures::{Authority, Caller, HOME_UID, Identity, Requests, Target, UID, soon, source};
use super::*;
use crate::remote_pod::RemotePod;
use crate::usage::{RunningPod, Usage};

const SPDY: &str =
    "connection: Upgrade\r\nupgrade: SPDY/3.1\r\nx-stream-protocol-version: v4.channel.k8s.io\r\n";
const EXEC: &str = "/exec/home/p/c?command=echo&command=a+b&input=1&output=1";
const TOKEN: &str = "authorization: Bearer valid\r\n";

fn args() -> EndpointArgs {
    EndpointArgs {
        endpoint_address: "127.0.0.1:0".parse().unwrap(),
        node_address: "127.0.0.1".parse().unwrap(),
        endpoint_certificate: None,
        endpoint_key: None,
        endpoint_client_ca: None,
    }
}

fn remote(member: &Member, pod: &str, uid: &str) -> RemotePod {
    RemotePod {
        member: member.clone(),
        namespace: "remote".into(),
        name: pod.into(),
        uid: uid.into(),
        node: "c2".into(),
        home_uid: HOME_UID.into(),
    }
}

/// The usage of the home pod `p`, which runs on the node `c2`.
fn usage(member: Member) -> impl Fn(&str) -> Option<BoxFuture<'static, Bytes>> + Send + Sync + 'static {
    let pod = json!({
        "metadata": { "name": "p", "namespace": "home", "uid": HOME_UID },
        "spec": { "containers": [{ "name": "c" }] },
    });
    let home = Arc::new(serde_json::from_value::<k8s_openapi::api::core::v1::Pod>(pod).unwrap());
    let (usage, pods) = (Arc::new(Usage::default()), vec![RunningPod { member, home }]);
    move |node| {
        let (usage, pods) = (usage.clone(), pods.clone());
        (node == "c2").then(|| async move { usage.report(|| pods).await }.boxed())
    }
}

/// An endpoint that runs, and what it stands between.
struct Scene {
    port: u16,
    certificate: CertificateDer<'static>,
    authority: Authority,
    target: Target,
    requests: Requests,
    counters: Counters,
    _clusters: Clusters,
    server: JoinHandle<()>,
}

impl Scene {
    /// The caller of these tests may do everything. The home pod `p` runs, `other` has been replaced in the source,
    /// `foreign` names a remote pod of another home pod, and `pending` has not started.
    async fn start() -> Self {
        Self::start_with(Maximums::default()).await
    }

    /// The same with other limits.
    async fn start_with(maximums: Maximums) -> Self {
        mcsa_runtime::tls::install_provider();
        let (clusters, member, requests) = source().await;
        let (target, authority) = (Target::default(), Authority::new("cluster CA"));
        target.set(|state| {
            state.authorities = authority.pem();
            state.rights = vec![("create", "proxy"), ("get", "proxy"), ("get", "stats")];
        });
        let endpoint = Endpoint { maximums, ..Endpoint::bind(&args()).unwrap() };
        let (port, counters) = (endpoint.local_address().port(), endpoint.counters());
        let certificate = endpoint.provider.current().cert[0].clone();
        let usage = usage(member.clone());
        let lookup = move |namespace: &str, pod: &str| {
            let uid = match (namespace, pod) {
                ("home", "p" | "foreign") => UID,
                ("home", "other") => "uid-of-an-earlier-pod",
                ("home", "pending") => {
                    return Lookup::NotStarted { node: "c2".into(), reason: "quota exceeded".into() };
                }
                _ => return Lookup::NotFound,
            };
            Lookup::Found(remote(&member, pod, uid))
        };
        let client = target.client();
        let server =
            tokio::spawn(async move { endpoint.serve(client, lookup, usage).await.map(drop).unwrap() });
        Self { port, certificate, authority, target, requests, counters, _clusters: clusters, server }
    }

    async fn connect(&self, identity: Option<Identity>) -> Caller {
        soon(Caller::connect(self.port, &self.certificate, identity)).await.unwrap()
    }

    /// A caller with a certificate, as an API server has.
    async fn api_server(&self) -> Caller {
        self.connect(Some(self.authority.issue("api-server"))).await
    }

    /// What the source received.
    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[rstest]
#[case::spdy("POST")]
#[case::websocket("GET")]
#[tokio::test]
async fn exec_passes_bytes_both_ways_and_half_close(#[case] method: &str) {
    let scene = Scene::start().await;
    let mut caller = scene.api_server().await;
    let headers = format!("{SPDY}{TOKEN}impersonate-user: admin\r\nx-remote-user: admin\r\n");
    let response = caller.request(method, EXEC, &headers).await.unwrap();
    assert_eq!(response.code, 101, "{response:?}");
    assert!(response.head.contains("x-stream-protocol-version: v4.channel.k8s.io"), "{response:?}");
    assert!(response.head.contains("upgrade: spdy/3.1") && !response.head.contains("cookie"), "{response:?}");

    // More than all buffers.
    let sent: Vec<u8> = (0..1_000_000_u32).map(|number| (number % 251) as u8).collect();
    let (mut reader, mut writer) = tokio::io::split(caller.0);
    let expected = sent.clone();
    let writes = tokio::spawn(async move {
        writer.write_all(&sent).await.unwrap();
        writer.shutdown().await.unwrap();
    });
    let mut received = Vec::new();
    soon(reader.read_to_end(&mut received)).await.unwrap();
    soon(writes).await.unwrap();
    assert!(received.strip_suffix(b"bye") == Some(&expected), "{} bytes", received.len());

    let requests = scene.requests();
    assert!(requests[0].starts_with("get /api/v1/namespaces/remote/pods/p "), "{requests:?}");
    let uri =
        "/api/v1/namespaces/remote/pods/p/exec?container=c&stdin=true&stdout=true&command=echo&command=a%20b";
    assert!(requests[1].starts_with(&format!("{} {uri} ", method.to_lowercase())), "{requests:?}");
    assert!(requests[1].contains("authorization: bearer of-the-import"), "{requests:?}");
    assert!(!requests[1].contains("valid") && !requests[1].contains("admin"), "{requests:?}");
}

#[tokio::test]
async fn refused_upgrade_has_code_and_message_of_the_source() {
    let scene = Scene::start().await;
    let mut caller = scene.api_server().await;
    let response = caller.request("POST", "/exec/home/p/c?command=refused&output=1", SPDY).await.unwrap();
    let status: Value = serde_json::from_str(&response.body).unwrap();
    assert_eq!((response.code, &status["kind"], &status["code"]), (403, &"Status".into(), &403.into()));
    assert_eq!(status["message"], "cluster c2: no exec for you");
}

#[rstest]
#[case::no_credential(None, "", 401)]
#[case::basic(None, "authorization: Basic dmFsaWQ=\r\n", 401)]
#[case::invalid_token(None, "authorization: Bearer other\r\n", 401)]
#[case::valid_token(None, TOKEN, 200)]
#[case::certificate(Some("api-server"), "", 200)]
#[case::nameless_certificate(Some(""), "", 401)]
#[tokio::test]
async fn callers_are_authenticated(#[case] user: Option<&str>, #[case] headers: &str, #[case] code: u16) {
    let scene = Scene::start().await;
    let mut caller = scene.connect(user.map(|user| scene.authority.issue(user))).await;
    let response = caller.request("GET", "/containerLogs/home/p/c", headers).await.unwrap();
    assert_eq!(response.code, code, "{response:?}");
    assert_eq!(scene.requests().is_empty(), code == 401);
    if code == 401 {
        assert!(response.head.contains("connection: close"), "{response:?}");
        assert!(scene.target.set(|state| state.access_reviews.is_empty()));
    }
}

#[tokio::test]
async fn certificate_of_an_unknown_authority_is_refused() {
    let scene = Scene::start().await;
    // It even has the authority's name.
    let identity = Authority::new("cluster CA").issue("api-server");
    let result = match soon(Caller::connect(scene.port, &scene.certificate, Some(identity))).await {
        Ok(mut caller) => caller.request("GET", "/healthz", TOKEN).await,
        Err(error) => Err(error),
    };
    assert!(result.is_err(), "{result:?}");
    // Others are served.
    assert_eq!(scene.api_server().await.request("GET", "/healthz", "").await.unwrap().code, 200);
}

#[rstest]
#[case::exec_needs_create("GET", EXEC, vec![("get", "proxy")], 403)]
#[case::exec("GET", EXEC, vec![("create", "proxy")], 101)]
#[case::port_forward_needs_create("GET", "/portForward/home/p", vec![("get", "proxy")], 403)]
#[case::port_forward("POST", "/portForward/home/p", vec![("create", "proxy")], 101)]
#[case::attach_needs_create("GET", "/attach/home/p/c?output=1", vec![("get", "proxy")], 403)]
#[case::logs_need_get("GET", "/containerLogs/home/p/c", vec![("create", "proxy")], 403)]
#[case::logs("GET", "/containerLogs/home/p/c", vec![("get", "proxy")], 200)]
#[case::pods_by_their_own_right("GET", "/pods", vec![("get", "pods")], 200)]
#[case::pods_by_proxy("GET", "/pods", vec![("get", "proxy")], 200)]
#[case::pods_without_a_right("GET", "/pods", vec![("get", "stats")], 403)]
#[case::healthz("GET", "/healthz", vec![("get", "healthz")], 200)]
#[case::stats("GET", "/stats/summary", vec![("get", "stats")], 501)]
#[case::usage_needs_a_right("GET", "/metrics/resource/c2", vec![("get", "stats")], 403)]
#[case::usage_of_another_node("GET", "/metrics/resource/c3", vec![("get", "metrics")], 404)]
#[case::usage_of_no_node("GET", "/metrics/resource", vec![("get", "metrics")], 501)]
#[case::other_metrics("GET", "/metrics/cadvisor", vec![("get", "metrics")], 501)]
#[case::unknown_path_needs_a_right("GET", "/run/home/p/c", vec![], 403)]
#[case::unknown_path("POST", "/run/home/p/c", vec![("create", "proxy")], 404)]
#[case::method("POST", "/containerLogs/home/p/c", vec![("create", "proxy")], 405)]
#[tokio::test]
async fn callers_need_a_right_on_the_node(
    #[case] method: &str,
    #[case] uri: &str,
    #[case] rights: Vec<(&'static str, &'static str)>,
    #[case] code: u16,
) {
    let scene = Scene::start().await;
    scene.target.set(|state| state.rights = rights);
    let response = scene.api_server().await.request(method, uri, SPDY).await.unwrap();
    assert_eq!(response.code, code, "{response:?}");
    assert!(code < 400 || scene.requests().is_empty());
}

#[tokio::test]
async fn review_names_user_and_node() {
    let scene = Scene::start().await;
    scene.api_server().await.request("GET", "/containerLogs/home/p/c", "").await.unwrap();
    scene.api_server().await.request("GET", "/containerLogs/home/absent/c", "").await.unwrap();
    let reviews = scene.target.set(|state| state.access_reviews.clone());
    assert_eq!(reviews[0]["user"], "api-server");
    assert_eq!(reviews[0]["groups"], serde_json::json!(["masters", "system:authenticated"]));
    assert_eq!(reviews[0]["resourceAttributes"]["name"], "c2");
    // All nodes: the pod is on none.
    assert_eq!(reviews[1]["resourceAttributes"]["name"], "");
}

#[rstest]
#[case::token(TOKEN, None)]
#[case::access("", Some("api-server"))]
#[tokio::test]
async fn failed_review_allows_nothing(#[case] headers: &str, #[case] user: Option<&str>) {
    let scene = Scene::start().await;
    scene.target.set(|state| state.broken = Some(503));
    let mut caller = scene.connect(user.map(|user| scene.authority.issue(user))).await;
    let response = caller.request("GET", "/containerLogs/home/p/c", headers).await.unwrap();
    assert_eq!(response.code, 500, "{response:?}");
    // It is not remembered, either.
    scene.target.set(|state| state.broken = None);
    assert_eq!(caller.request("GET", "/containerLogs/home/p/c", headers).await.unwrap().code, 200);
}

#[tokio::test]
async fn valid_token_is_reviewed_once_and_an_invalid_one_each_time() {
    let scene = Scene::start().await;
    let mut caller = scene.connect(None).await;
    for _ in 0..3 {
        assert_eq!(caller.request("GET", "/healthz", TOKEN).await.unwrap().code, 200);
    }
    assert_eq!(scene.target.set(|state| state.token_reviews), 1);
    for _ in 0..2 {
        let mut caller = scene.connect(None).await;
        let response = caller.request("GET", "/healthz", "authorization: Bearer other\r\n").await.unwrap();
        assert_eq!(response.code, 401);
    }
    assert_eq!(scene.target.set(|state| state.token_reviews), 3);
}

#[rstest]
#[case::replaced_in_the_source("/exec/home/other/c?output=1", 404, "no longer exists in cluster c2")]
#[case::remote_pod_of_another("/exec/home/foreign/c?output=1", 404, "was not created for this pod")]
#[case::logs_of_a_remote_pod_of_another("/containerLogs/home/foreign/c", 404, "was not created for this pod")]
#[case::unknown_pod("/exec/home/absent/c?output=1", 404, "on no virtual node")]
#[case::uid_of_another_home_pod("/exec/home/p/another-uid/c?output=1", 404, "UID is another")]
#[case::uid_of_the_home_pod("/exec/home/p/home-uid/c?output=1", 101, "")]
#[case::not_started("/exec/home/pending/c?output=1", 400, "quota exceeded")]
#[case::logs_of_a_replaced_pod("/containerLogs/home/other/c", 404, "no longer exists in cluster c2")]
#[case::logs_that_the_source_refuses("/containerLogs/home/p/waiting", 400, "waiting to start")]
#[tokio::test]
async fn only_the_pod_itself_is_reached(#[case] uri: &str, #[case] code: u16, #[case] message: &str) {
    let scene = Scene::start().await;
    let response = scene.api_server().await.request("GET", uri, SPDY).await.unwrap();
    assert_eq!(response.code, code, "{response:?}");
    assert!(response.body.contains(message), "{response:?}");
    let was_opened = scene.requests().iter().any(|request| request.contains("/exec?"));
    assert_eq!(was_opened, code == 101);
}

#[tokio::test]
async fn exec_without_an_upgrade_is_refused() {
    let scene = Scene::start().await;
    let response = scene.api_server().await.request("GET", EXEC, "").await.unwrap();
    assert_eq!(response.code, 400, "{response:?}");
    assert!(scene.requests().is_empty());
}

#[tokio::test]
async fn requests_of_one_connection_are_handled_alone() {
    let scene = Scene::start().await;
    let mut caller = scene.api_server().await;
    let pods = caller.request("GET", "/pods", "").await.unwrap();
    let pods: Value = serde_json::from_str(&pods.body).unwrap();
    assert_eq!((&pods["kind"], &pods["items"]), (&"PodList".into(), &Value::Array(Vec::new())));
    scene.target.set(|state| state.rights.retain(|(verb, _)| *verb == "create"));
    assert_eq!(caller.request("GET", "/containerLogs/home/p/c", "").await.unwrap().code, 403);
    assert_eq!(caller.request("POST", "/exec/home/absent/c", SPDY).await.unwrap().code, 404);
    assert_eq!(caller.request("POST", EXEC, SPDY).await.unwrap().code, 101);
    let mut text = String::new();
    let mut registry = prometheus_client::registry::Registry::default();
    scene.counters.register(&mut registry);
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    assert!(
        text.contains(r#"mcsa_launcher_endpoint_requests_total{kind="containerLogs",code="403"} 1"#),
        "{text}"
    );
}

#[tokio::test]
async fn usage_is_that_of_the_source() {
    let scene = Scene::start().await;
    scene.target.set(|state| state.rights = vec![("get", "metrics")]);
    let mut caller = scene.api_server().await;
    // The source is not asked for each caller.
    for _ in 0..2 {
        let response = caller.request("GET", "/metrics/resource/c2", "").await.unwrap();
        assert_eq!(response.code, 200, "{response:?}");
        let line = r#"container_memory_working_set_bytes{container="c",namespace="home",pod="p"} 1048576 "#;
        assert!(response.body.contains(line), "{response:?}");
    }
    let requests = scene.requests();
    let path = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{}/pods", "default");
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert!(requests[0].contains(&path), "{requests:?}");
}

#[tokio::test]
async fn log_arrives_before_it_ends_and_ends_with_the_caller() {
    let scene = Scene::start().await;
    let mut caller = scene.api_server().await;
    let response = caller.request("GET", "/containerLogs/home/p/c?follow=true", "").await.unwrap();
    assert_eq!(response.code, 200, "{response:?}");
    let mut line = [0; 9];
    soon(caller.0.read_exact(&mut line)).await.unwrap();
    assert_eq!(&line, b"6\r\nfirst\n");
    drop(caller);
    soon(async {
        while scene.requests().last().unwrap() != "closed" {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn serving_ends_with_the_connections() {
    let scene = Scene::start().await;
    let mut caller = scene.api_server().await;
    assert_eq!(caller.request("POST", EXEC, SPDY).await.unwrap().code, 101);
    scene.server.abort();
    let mut rest = Vec::new();
    // An error or the end.
    let _ = soon(caller.0.read_to_end(&mut rest)).await;
    assert!(rest.is_empty());
}

/// A caller that authenticated by an authority that is no longer trusted must authenticate again.
#[tokio::test]
async fn new_config_ends_connections_but_not_tunnels() {
    mcsa_runtime::tls::install_provider();
    let (_clusters, member, _requests) = source().await;
    let (target, old, new) = (Target::default(), Authority::new("old"), Authority::new("new"));
    target.set(|state| state.rights = vec![("create", "proxy"), ("get", "proxy")]);
    let provider = CertificateProvider::new(&args()).unwrap();
    let config = |authority: &Authority| {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(authority.certificate()).unwrap();
        Arc::new(tls::config(provider.current(), roots).unwrap())
    };
    let configs = tokio::sync::watch::Sender::new(config(&old));
    let counters = Counters::default();
    let usage = usage(member.clone());
    let lookup = move |_: &str, pod: &str| Lookup::Found(remote(&member, pod, UID));
    let tunnels = TunnelSlots::new(1);
    let connections = Connections {
        handler: Handler::new(&target.client(), Arc::new(lookup), Arc::new(usage), counters.clone(), tunnels),
        counters,
        strangers: Slots::new(1),
        known: Slots::new(3),
        tls: configs.subscribe(),
        certificate_refused: Arc::new(Notify::new()),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(connections.serve(listener));
    let certificate = provider.current().cert[0].clone();
    let connect = async |authority: &Authority| {
        let identity = authority.issue("api-server");
        soon(Caller::connect(port, &certificate, Some(identity))).await.unwrap()
    };

    let (mut idle, mut tunnel) = (connect(&old).await, connect(&old).await);
    assert_eq!(idle.request("GET", "/healthz", "").await.unwrap().code, 200);
    assert_eq!(tunnel.request("POST", EXEC, SPDY).await.unwrap().code, 101);
    configs.send_replace(config(&new));
    assert!(
        matches!(soon(idle.0.read_u8()).await, Err(error) if error.kind() == io::ErrorKind::UnexpectedEof)
    );
    assert!(connect(&old).await.request("GET", "/healthz", "").await.is_err());
    assert_eq!(connect(&new).await.request("GET", "/healthz", "").await.unwrap().code, 200);
    tunnel.0.write_all(b"echo").await.unwrap();
    let mut echo = [0; 4];
    soon(tunnel.0.read_exact(&mut echo)).await.unwrap();
    assert_eq!(&echo, b"echo");
    server.abort();
}
