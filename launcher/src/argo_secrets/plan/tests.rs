use k8s_openapi::ByteString;
use kube::ResourceExt;
use mcsa_client::argo::{CLUSTER_LABEL, CLUSTERS, REMOTE_NAMESPACE, WORKFLOW_NAMESPACE};
use rstest::rstest;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::*;

mod limits;
mod unusable;

fn secret(namespace: &str, name: &str, values: &[(&str, String)]) -> Secret {
    let values =
        values.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.clone().into_bytes())));
    let mut secret = Secret { data: Some(values.collect()), ..Default::default() };
    secret.metadata.namespace = Some(namespace.to_owned());
    secret.metadata.name = Some(name.to_owned());
    secret
}

/// A rest config as in Argo's first proposal.
fn rest_config(token: &str) -> String {
    json!({
        "Host": "https://0.0.0.0:57667", "APIPath": "", "Username": "", "Password": "", "BearerToken": token,
        "TLSClientConfig": {
            "Insecure": false, "ServerName": "", "CertFile": "", "KeyFile": "", "CAFile": "", "CertData": null,
            "KeyData": null, "CAData": null, "NextProtos": null,
        },
        "UserAgent": "", "DisableCompression": false, "QPS": 0, "Burst": 0, "Timeout": 0,
    })
    .to_string()
}

fn clusters(values: &[(&str, String)]) -> Secret {
    secret("argo", CLUSTERS, values)
}

/// The Secret kubeconfig as in Argo's second proposal. Without a server, it has no clusters.
fn kubeconfig(namespace: &str, cluster: &str, server: Option<&str>, managed: &str, token: &str) -> Secret {
    let mut document = document(cluster, server.unwrap_or_default(), token);
    if server.is_none() {
        document["clusters"] = Value::Null;
    }
    document["contexts"][0]["context"]["namespace"] = managed.into();
    secret(namespace, KUBECONFIG, &[("value", document.to_string())])
}

/// JSON is YAML.
fn document(cluster: &str, server: &str, token: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "preferences": {}, "current-context": cluster,
        "clusters": [{ "name": cluster, "cluster": { "server": server } }],
        "contexts": [{ "name": cluster, "context": { "cluster": cluster, "user": cluster } }],
        "users": [{ "name": cluster, "user": { "token": token } }],
    })
}

/// A profile as in Argo's third proposal.
fn profile(name: &str, cluster: &str, [workflows, remote]: [Option<&str>; 2], token: &str) -> Secret {
    let kubeconfig = document(cluster, "https://1.2.3.4:6443", token).to_string();
    let mut secret = secret("argo", name, &[("kubeconfig", kubeconfig)]);
    secret.labels_mut().insert(CLUSTER_LABEL.into(), cluster.into());
    for (annotation, value) in [(WORKFLOW_NAMESPACE, workflows), (REMOTE_NAMESPACE, remote)] {
        if let Some(value) = value {
            secret.annotations_mut().insert(annotation.into(), value.into());
        }
    }
    secret
}

/// The plan for workflows in the namespaces `argo`, which is the controller's, and `local`.
fn planned(clusters: Option<&Secret>, kubeconfigs: &[&Secret], profiles: &[&Secret]) -> Plan {
    planned_by(Reader::default(), clusters, kubeconfigs, profiles)
}

fn planned_by(
    reader: Reader,
    clusters: Option<&Secret>,
    kubeconfigs: &[&Secret],
    profiles: &[&Secret],
) -> Plan {
    let by_namespace: Vec<_> =
        kubeconfigs.iter().map(|secret| (secret.metadata.namespace.clone().unwrap(), *secret)).collect();
    let kubeconfigs = by_namespace.iter().map(|(namespace, secret)| (namespace.as_str(), *secret)).collect();
    let secrets = Secrets { reader, clusters, kubeconfigs, profiles: profiles.to_vec() };
    let plan = plan("argo", &["argo", "local"].map(str::to_owned).into(), &secrets);
    for problem in &plan.problems {
        assert!(!problem.contains("t0ken"), "{problem}");
    }
    plan
}

/// The launches as `namespace cluster/remote-namespace token`.
fn launches(plan: &Plan) -> Vec<String> {
    let line = |(launch, Access { config, .. }): (&Launch, &Access)| {
        assert_eq!(config.default_namespace, launch.remote_namespace);
        let Launch { namespace, cluster, remote_namespace } = launch;
        let token = config.auth_info.token.as_ref().map(|token| token.expose_secret()).unwrap_or_default();
        format!("{namespace} {cluster}/{remote_namespace} {token}")
    };
    plan.launches.iter().map(line).collect()
}

#[test]
fn unverified_clusters_need_the_flag() {
    let mut profile = profile("profile", "c2", [None, None], "t0ken");
    let data = profile.data.as_mut().unwrap().get_mut("kubeconfig").unwrap();
    let mut kubeconfig: Value = serde_json::from_slice(&data.0).unwrap();
    let cluster = kubeconfig["clusters"][0]["cluster"].as_object_mut().unwrap();
    cluster.remove("certificate-authority-data");
    cluster.insert("insecure-skip-tls-verify".into(), true.into());
    data.0 = serde_json::to_vec(&kubeconfig).unwrap();
    let plan = planned(None, &[], &[&profile]);
    assert!(launches(&plan).is_empty() && problem(&plan).contains("insecure"), "{:?}", plan.problems);
    let plan = planned_by(Reader::default().allow_insecure(), None, &[], &[&profile]);
    assert_eq!(launches(&plan), ["argo c2/argo t0ken"]);
}

fn problem(plan: &Plan) -> &str {
    let problems: Vec<_> = plan.problems.iter().map(String::as_str).collect();
    let [problem] = problems[..] else { panic!("{problems:?}") };
    problem
}

#[test]
fn no_secrets_give_no_launches() {
    let plan = planned(None, &[], &[]);
    assert!(plan.launches.is_empty() && plan.problems.is_empty());
}

#[test]
fn pods_run_in_the_namespace_of_the_same_name_with_a_rest_config() {
    let plan = planned(Some(&clusters(&[("other", rest_config("t0ken"))])), &[], &[]);
    assert_eq!(launches(&plan), ["argo other/argo t0ken", "local other/local t0ken"]);
    assert!(plan.problems.is_empty());
    assert!(plan.launches.values().all(|access| access.config.cluster_url == "https://0.0.0.0:57667/"));
}

#[test]
fn an_invalid_rest_config_does_not_affect_others() {
    let values = [("bad", "{ t0ken".to_owned()), ("other", rest_config("t0ken"))];
    let plan = planned(Some(&clusters(&values)), &[], &[]);
    assert_eq!(launches(&plan), ["argo other/argo t0ken", "local other/local t0ken"]);
    assert!(problem(&plan).starts_with("Secret argo/clusters, key bad: invalid JSON"), "{}", problem(&plan));
}

const SERVER: Option<&str> = Some("https://1.2.3.4:6443");

#[rstest]
#[case::managed("remote", "remote", &["argo cluster-1/remote t0ken-1", "local cluster-1/remote t0ken-2"])]
#[case::managed_by_the_controller("remote", "", &["argo cluster-1/remote t0ken-1", "local cluster-1/remote t0ken-2"])]
#[case::any("", "", &["argo cluster-1/argo t0ken-1", "local cluster-1/local t0ken-2"])]
fn each_namespace_uses_its_own_credential_of_the_second_design(
    #[case] managed: &str,
    #[case] requested: &str,
    #[case] expected: &[&str],
) {
    let controller = kubeconfig("argo", "cluster-1", SERVER, managed, "t0ken-1");
    // Its server, if it has one, has no effect.
    for server in [None, Some("https://5.6.7.8:6443")] {
        let local = kubeconfig("local", "cluster-1", server, requested, "t0ken-2");
        let plan = planned(None, &[&controller, &local], &[]);
        assert_eq!(launches(&plan), expected);
        assert!(plan.problems.is_empty());
        assert!(plan.launches.values().all(|access| access.config.cluster_url == "https://1.2.3.4:6443/"));
    }
}

#[test]
fn a_namespace_without_a_kubeconfig_has_no_access_by_the_second_design() {
    let plan = planned(None, &[&kubeconfig("argo", "cluster-1", SERVER, "remote", "t0ken")], &[]);
    assert_eq!(launches(&plan), ["argo cluster-1/remote t0ken"]);
    assert!(plan.problems.is_empty());
}

#[test]
fn a_namespace_can_add_no_cluster() {
    let local = kubeconfig("local", "cluster-2", SERVER, "", "t0ken");
    // Without the controller's Secret, this one is not for Argo.
    assert!(planned(None, &[&local], &[]).problems.is_empty());
    let controller = kubeconfig("argo", "cluster-1", SERVER, "remote", "t0ken");
    let plan = planned(None, &[&controller, &local], &[]);
    assert_eq!(launches(&plan), ["argo cluster-1/remote t0ken"]);
    let problem = problem(&plan);
    assert!(problem.starts_with("Secret local/kubeconfig") && problem.contains("cluster-2"), "{problem}");
    assert!(plan.unusable.is_empty());
}

#[test]
fn a_broken_kubeconfig_of_a_namespace_does_not_affect_others() {
    let controller = kubeconfig("argo", "cluster-1", SERVER, "remote", "t0ken");
    let local = secret("local", KUBECONFIG, &[("value", "clusters: t0ken".to_owned())]);
    let plan = planned(None, &[&controller, &local], &[]);
    assert_eq!(launches(&plan), ["argo cluster-1/remote t0ken"]);
    assert!(problem(&plan).starts_with("Secret local/kubeconfig, key value"), "{}", problem(&plan));
}

#[rstest]
#[case::as_documented([Some("argo"), Some("default")], &["argo cluster-1/default t0ken"])]
#[case::own_namespace([None, None], &["argo cluster-1/argo t0ken"])]
#[case::other_namespace([Some("local"), Some("default")], &["local cluster-1/default t0ken"])]
#[case::any([Some(""), None], &["argo cluster-1/argo t0ken", "local cluster-1/local t0ken"])]
#[case::unknown_namespace([Some("team-a"), None], &[])]
fn a_profile_is_for_its_workflow_namespace(#[case] scope: [Option<&str>; 2], #[case] expected: &[&str]) {
    let plan = planned(None, &[], &[&profile("argo.cluster-1", "cluster-1", scope, "t0ken")]);
    assert_eq!(launches(&plan), expected);
    assert!(plan.problems.is_empty());
}

#[test]
fn the_most_specific_profile_wins() {
    let shared = profile("shared", "c2", [Some(""), None], "t0ken-1");
    let local = profile("local", "c2", [Some("local"), Some("local")], "t0ken-2");
    // Its namespace of the cluster is not one for workflows in argo.
    let other = profile("other", "c2", [Some("local"), Some("batch")], "t0ken-3");
    let plan = planned(None, &[], &[&shared, &local, &other]);
    assert_eq!(launches(&plan), ["argo c2/argo t0ken-1", "local c2/batch t0ken-3", "local c2/local t0ken-2"]);
}

#[test]
fn ambiguous_and_broken_profiles_are_problems_and_do_not_affect_others() {
    let mut broken = profile("broken", "c4", [None, None], "t0ken");
    broken.data = None;
    let profiles = [
        profile("one", "c2", [None, None], "t0ken"),
        profile("two", "c2", [None, None], "t0ken"),
        profile("good", "c3", [None, None], "t0ken"),
        broken,
    ];
    let plan = planned(None, &[], &profiles.iter().collect::<Vec<_>>());
    assert_eq!(launches(&plan), ["argo c3/argo t0ken"]);
    let problems: Vec<_> = plan.problems.iter().map(String::as_str).collect();
    let [broken, ambiguous] = problems[..] else { panic!("{problems:?}") };
    assert!(broken.starts_with("Secret argo/broken, key kubeconfig"), "{broken}");
    assert!(ambiguous.starts_with("Secret argo/one: as specific as Secret argo/two"), "{ambiguous}");
}

#[test]
fn a_later_design_precedes_an_earlier_one() {
    let values = ["a", "b", "c"].map(|cluster| (cluster, rest_config("t0ken-1")));
    let document = {
        let [mut both, c] = ["b", "c"].map(|cluster| document(cluster, "https://1.2.3.4:6443", "t0ken-2"));
        for section in ["clusters", "contexts", "users"] {
            both[section].as_array_mut().unwrap().push(c[section][0].clone());
        }
        both
    };
    let kubeconfig = secret("argo", KUBECONFIG, &[("value", document.to_string())]);
    let profile = profile("profile", "c", [None, None], "t0ken-3");
    let plan = planned(Some(&clusters(&values)), &[&kubeconfig], &[&profile]);
    let of_controller: Vec<_> =
        launches(&plan).into_iter().filter(|launch| launch.starts_with("argo ")).collect();
    assert_eq!(of_controller, ["argo a/argo t0ken-1", "argo b/argo t0ken-2", "argo c/argo t0ken-3"]);
    let designs = plan.launches.iter().filter(|(launch, _)| launch.namespace == "argo");
    let designs: Vec<_> = designs.map(|(_, access)| access.design).collect();
    assert_eq!(designs, [Design::RestConfigs, Design::Kubeconfigs, Design::Profiles]);
    assert!(plan.problems.is_empty());
}

/// The Secret kubeconfig of a namespace, without clusters and users.
fn contexts(namespace: &str, names: impl IntoIterator<Item = String>) -> Secret {
    let context = |name: String| json!({ "name": name, "context": { "cluster": name, "user": name } });
    let contexts: Vec<_> = names.into_iter().map(context).collect();
    secret(namespace, KUBECONFIG, &[("value", json!({ "contexts": contexts }).to_string())])
}

fn launch(namespace: &str, cluster: &str) -> Launch {
    let [namespace, cluster, remote_namespace] = [namespace, cluster, "remote"].map(str::to_owned);
    Launch { namespace, cluster, remote_namespace }
}

#[rstest]
#[case::upper_case("Cluster")]
#[case::underscore("c_2")]
#[case::too_long(&"c".repeat(64))]
fn a_name_that_no_node_may_have_is_a_problem(#[case] cluster: &str) {
    let plan = planned(Some(&clusters(&[(cluster, rest_config("t0ken"))])), &[], &[]);
    assert!(plan.launches.is_empty());
    let problem = problem(&plan);
    assert!(problem.contains(cluster) && problem.contains("virtual node"), "{problem}");
}

#[test]
fn a_namespace_is_no_path() {
    let controller = kubeconfig("argo", "cluster-1", SERVER, "../t0ken", "t0ken");
    let plan = planned(None, &[&controller], &[]);
    assert!(plan.launches.is_empty());
    assert!(problem(&plan).contains("not a valid namespace name"), "{}", problem(&plan));
}
