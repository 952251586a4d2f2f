//! Valid and invalid kubeconfigs with several clusters.

use super::super::KUBECONFIG;
use super::super::tests::secret;
use super::*;
use crate::kubeconfig::tests::CA;
use base64::{Engine, engine::general_purpose::STANDARD};
use rstest::rstest;
use secrecy::ExposeSecret;

const TWO: &str = "
clusters:
- {name: c2, cluster: {server: 'https://c2', certificate-authority-data: CA}}
- {name: c3, cluster: {server: 'https://c3'}}
contexts:
- {name: c2, context: {cluster: c2, user: me, namespace: team}}
- {name: c3, context: {cluster: c3, user: me, namespace: ''}}
users:
- {name: me, user: {token: t0ken}}
";

fn two() -> String {
    TWO.replace("CA}", &(STANDARD.encode(CA) + "}"))
}

fn of(text: &str) -> Secret {
    secret(KUBECONFIG, &[("value", text)])
}

#[test]
fn each_cluster_is_read_from_its_context() {
    let secret = of(&two());
    let configs = Reader::default().contexts(&secret).unwrap();
    let urls: Vec<_> =
        configs.iter().map(|(name, config)| (name.as_str(), config.cluster_url.host())).collect();
    assert_eq!(urls, [("c2", Some("c2")), ("c3", Some("c3"))]);
    assert_eq!(configs["c3"].default_namespace, "default");
    let managed = ["c2", "c3"].map(|name| Reader::default().managed_namespace(&secret, name).unwrap());
    assert_eq!(managed, ["team", ""]);
}

#[rstest]
#[case(
    "contexts:",
    "contexts:\n- {name: c2, context: {cluster: c2, user: me}}",
    "2 contexts with the name c2"
)]
#[case(
    "contexts:",
    "contexts:\n- {name: a, context: {cluster: c2, user: me}}",
    "several contexts for cluster c2: a, c2"
)]
#[case(
    "name: c2, context",
    "name: admin, context",
    "context admin is for cluster c2, but must have its name"
)]
#[case(
    "clusters:",
    "clusters:\n- {name: c2, cluster: {server: 'https://t0ken'}}",
    "2 clusters with the name c2"
)]
#[case("users:", "users:\n- {name: me, user: {token: t0ken}}", "2 users with the name me")]
#[case("clusters:", "clusters:\n- {name: c1, cluster: {server: 'https://c1'}}", "no context c1")]
#[case("user: me", "user: you", "context c2 refers to a cluster or user that does not exist")]
#[case("cluster: c2, user", "cluster: t0, user", "context c2 is for cluster t0")]
#[case("clusters:", "clusters: t0ken", "not a kubeconfig; add")]
#[case("https://c2", "http://c2", "cluster c2: server does not begin with https://")]
#[case("https://c2", "https://c 2", "cluster c2: server is not a URL")]
#[case("token: t0ken", "tokenFile: /etc/shadow", "user me: it has tokenFile, which is not allowed")]
#[case("token: t0ken", "exec: {command: sh, args: [t0ken]}", "user me: it has exec, which is not allowed")]
#[case(
    "token: t0ken",
    "auth-provider: {name: gcp, config: {}}",
    "user me: it has auth-provider, which is not allowed"
)]
#[case("token: t0ken", "toke: t0ken", "context c2: no credential")]
#[case(
    "certificate-authority-data: ",
    "certificate-authority-data: t0ken",
    "cluster c2: certificate-authority-data is not"
)]
#[case(
    "certificate-authority-data: ",
    "certificate-authority: /etc/passwd, x: ",
    "cluster c2: it has certificate-authority, which is not allowed"
)]
#[case("https://c2'", "https://c2', insecure-skip-tls-verify: true", "Reader::allow_insecure")]
#[case(
    "https://c2'",
    "https://c2', proxy-url: 'ftp://me:t0ken@proxy'",
    "the proxy in proxy-url is not an http"
)]
fn an_error_names_the_field_and_quotes_no_value(
    #[case] from: &str,
    #[case] to: &str,
    #[case] expected: &str,
) {
    let changed = two().replacen(from, to, 1);
    assert_ne!(changed, two(), "the case replaces nothing");
    let error = Reader::default().contexts(&of(&changed)).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("Secret argo/kubeconfig, key value") && text.contains(expected), "{text}");
    assert!(!text.contains("t0ken") && !format!("{error:?}").contains("t0ken"), "{text}");
}

#[rstest]
#[case(secret(KUBECONFIG, &[]), "no keys; add")]
#[case(secret(KUBECONFIG, &[("config", "t0ken")]), "no such key; add")]
#[case(of(""), "the kubeconfig has no contexts")]
#[case(of("apiVersion: v1\nkind: Config\n"), "the kubeconfig has no contexts")]
#[case(of(&STANDARD.encode(two())), "base64-encoded twice")]
#[case(of("dDBrZW4="), "not a kubeconfig")]
fn a_value_that_is_not_a_kubeconfig_is_an_error(#[case] secret: Secret, #[case] expected: &str) {
    let error = Reader::default().contexts(&secret).unwrap_err().to_string();
    assert!(error.contains(expected) && !error.contains("t0ken"), "{error}");
}

#[test]
fn one_cluster_is_read_despite_errors_in_another() {
    let changed =
        of(&two().replacen("https://c3", "http://c3", 1).replacen("contexts:", "contexts:\n- {name: c4}", 1));
    assert!(Reader::default().contexts(&changed).is_err());
    assert!(Reader::default().context(&changed, "c2").is_ok());
    let error = Reader::default().context(&changed, "c5").unwrap_err().to_string();
    assert!(error.contains("no context c5; add one"), "{error}");
}

#[test]
fn an_authority_that_is_encoded_twice_is_an_error() {
    let ca = STANDARD.encode(CA);
    let error =
        Reader::default().contexts(&of(&TWO.replace("CA}", &(STANDARD.encode(&ca) + "}")))).unwrap_err();
    assert!(error.to_string().contains("encode it only once"), "{error}");
}

#[test]
fn each_name_is_listed_once_even_of_contexts_that_cannot_be_used() {
    let many = "- {name: c4}\n".repeat(10_000);
    let changed = of(&two().replacen("contexts:\n", &format!("contexts:\n{many}"), 1));
    let contexts = Reader::default().kubeconfig(&changed).unwrap();
    assert_eq!(contexts.names().collect::<Vec<_>>(), ["c4", "c2", "c3"]);
    let error = Reader::default().context(&changed, "c4").unwrap_err().to_string();
    assert!(error.contains("10000 contexts with the name c4"), "{error}");
}

#[test]
fn an_error_lists_only_the_first_contexts_of_a_cluster() {
    let context = |number| format!("- {{name: other-{number}, context: {{cluster: c2, user: me}}}}\n");
    let many: String = (0..1_000).map(context).collect();
    let changed = of(&two().replacen("contexts:\n", &format!("contexts:\n{many}"), 1));
    let error = Reader::default().context(&changed, "c2").unwrap_err().to_string();
    assert!(error.contains("other-9 and 991 more") && !error.contains("other-10"), "{error}");
}

/// The kubeconfig of the controller's namespace, as in Argo's proposal.
const CONTROLLER: &str = "
clusters:
- {name: cluster-1, cluster: {server: 'https://1.2.3.4:6443'}}
contexts:
- {name: cluster-1, context: {cluster: cluster-1, namespace: remote, user: cluster-1}}
users:
- {name: cluster-1, user: {token: controller-t0ken}}
";

/// The kubeconfig of the workflows' namespace.
const WORKFLOWS: &str = "
contexts:
- {name: cluster-1, context: {cluster: cluster-1, namespace: remote, user: cluster-1}}
current-context: cluster-1
users:
- {name: cluster-1, user: {token: t0ken}}
";

fn workflow_context(clusters: &str, users: &str) -> Result<(Config, String), ArgoError> {
    let mut users = of(users);
    users.metadata.namespace = Some("local".into());
    let reader = Reader::default();
    reader.workflow_context(&reader.kubeconfig(&of(clusters))?, &reader.kubeconfig(&users)?, "cluster-1")
}

#[rstest]
#[case::in_both("remote", "remote", "remote")]
#[case::in_clusters("remote", "", "remote")]
#[case::in_users("", "remote", "remote")]
#[case::in_none("", "", "")]
fn workflows_use_the_cluster_of_the_controller_with_their_own_user(
    #[case] of_clusters: &str,
    #[case] of_users: &str,
    #[case] expected: &str,
) {
    let with = |text: &str, namespace: &str| text.replace(": remote", &format!(": '{namespace}'"));
    let read = workflow_context(&with(CONTROLLER, of_clusters), &with(WORKFLOWS, of_users));
    let (config, managed) = read.unwrap();
    assert_eq!(managed, expected);
    assert_eq!(config.cluster_url, "https://1.2.3.4:6443/");
    assert_eq!(config.auth_info.token.unwrap().expose_secret(), "t0ken");
}

#[test]
fn workflows_need_no_user_of_the_controller_and_cannot_change_its_cluster() {
    let (without_users, _) = CONTROLLER.split_once("users:").unwrap();
    let cluster = "clusters:\n- {name: cluster-1, cluster: {server: 'https://5.6.7.8'}}\n";
    let (config, _) = workflow_context(without_users, &format!("{WORKFLOWS}{cluster}")).unwrap();
    assert_eq!(config.cluster_url, "https://1.2.3.4:6443/");
}

#[rstest]
#[case(CONTROLLER, "- {name: cluster-1, context", "- {name: c2, context", "argo", "no context cluster-1")]
#[case(CONTROLLER, "cluster: cluster-1,", "cluster: c2,", "argo", "context cluster-1 is for cluster c2")]
#[case(CONTROLLER, "clusters:", "clusters:\n- {name: cluster-1}", "argo", "2 clusters with the name")]
#[case(CONTROLLER, "- {name: cluster-1, cluster", "- {name: c2, cluster", "argo", "does not exist")]
#[case(CONTROLLER, "https://", "http://", "argo", "cluster cluster-1: server does not begin with https://")]
#[case(CONTROLLER, "6443'", "6443', insecure-skip-tls-verify: true", "argo", "Reader::allow_insecure")]
#[case(CONTROLLER, "remote", "[t0ken]", "argo", "context cluster-1: namespace is not a string")]
#[case(CONTROLLER, "clusters:", "clusters: t0ken", "argo", "not a kubeconfig; add")]
#[case(
    CONTROLLER,
    "remote",
    "t0ken",
    "local",
    "namespace differs from that of Secret argo/kubeconfig, key value, context cluster-1; make them equal"
)]
#[case(WORKFLOWS, "- {name: cluster-1, context", "- {name: c2, context", "local", "no context cluster-1")]
#[case(WORKFLOWS, "cluster: cluster-1,", "cluster: c2,", "local", "context cluster-1 is for cluster c2")]
#[case(WORKFLOWS, "users:", "users:\n- {name: cluster-1}", "local", "2 users with the name cluster-1")]
#[case(WORKFLOWS, "user: cluster-1", "user: c2", "local", "does not exist")]
#[case(WORKFLOWS, "token: t0ken", "exec: {command: t0ken}", "local", "it has exec, which")]
#[case(WORKFLOWS, "token: t0ken", "tokenFile: /etc/t0ken", "local", "it has tokenFile, which")]
#[case(WORKFLOWS, "token: t0ken", "toke: t0ken", "local", "no credential")]
fn an_error_of_a_workflow_context_names_the_secret_and_quotes_no_value(
    #[case] original: &str,
    #[case] from: &str,
    #[case] to: &str,
    #[case] namespace: &str,
    #[case] expected: &str,
) {
    let changed = original.replacen(from, to, 1);
    assert_ne!(changed, original, "the case replaces nothing");
    let [clusters, users] =
        [CONTROLLER, WORKFLOWS].map(|text| if text == original { changed.as_str() } else { text });
    let error = workflow_context(clusters, users).unwrap_err();
    let text = error.to_string();
    let place = format!("Secret {namespace}/kubeconfig, key value");
    assert!(text.starts_with(&place) && text.contains(expected), "{text}");
    assert!(!text.contains("t0ken") && !format!("{error:?}").contains("t0ken"), "{text}");
}
